"""Draws conventions.png: every point and arrow comes from a geometry's or grid's own methods.

python docs/figures/conventions.py [FILE]
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

import jaxct
from jaxct.geometry import ConeVectors, trajectories

SOURCE, DETECTOR, ROW, GREY = "#d1495b", "#00798c", "#c98a12", "#555555"
SCANNER = {"source_origin_distance": 100.0, "source_detector_distance": 160.0}


def xy(vectors: Any) -> np.ndarray:
    """Components (..., y, x) as (..., x, y), the order in which matplotlib takes them."""
    return np.asarray(vectors, float)[..., ::-1]


def draw_plan(ax: Any) -> None:
    """The plane z = 0 seen from +z: grid, source and detector at angles 0 and a, column axis."""
    grid = jaxct.VolumeGrid((4, 5), voxel_size=16.0)
    turned = 0.9
    fan = jaxct.FanBeam([0.0, turned], **SCANNER, detector_shape=(8,), pixel_size=16.0)
    vectors = fan.to_vectors()
    draw_image_grid(ax, grid)
    orbit = jaxct.FanBeam(np.linspace(0, 2 * np.pi, 181), **SCANNER, detector_shape=(1,), pixel_size=1.0)
    ax.plot(*xy(orbit.to_vectors().source).T, ":", color=SOURCE, linewidth=1, alpha=0.6)
    for view, alpha in ((0, 0.4), (1, 1.0)):
        draw_fan(ax, vectors[view], alpha)
    draw_angle(ax, turned)
    source, pixels = xy(vectors.source), xy(vectors.pixel_centers())
    ax.annotate("source, a = 0", source[0], (10, -4), textcoords="offset points", color=SOURCE, alpha=0.7)
    ax.annotate("source\nat angle a", source[1], (7, -16), textcoords="offset points", color=SOURCE)
    normal = xy(vectors.detector_center)[1] / np.linalg.norm(xy(vectors.detector_center)[1])
    for c in (0, 7):
        ax.text(*(pixels[1, c] + 9 * normal), f"col {c}", color=DETECTOR, ha="right", va="center", fontsize=9)
    draw_arrow(ax, pixels[1, 0] + 5 * normal, 3.2 * xy(vectors.col_axis)[1], DETECTOR, "columns", (-12, -4), "right")
    finish_plan(ax, "Seen from +z: a turns counter-clockwise")
    ax.text(0, 37, "image[y, x]", ha="center", va="center", fontsize=9, color=GREY)
    ax.set(xlim=(-116, 124), ylim=(-112, 102))


def draw_image_grid(ax: Any, grid: jaxct.VolumeGrid) -> None:
    """Voxel faces, centres, and the indices of three voxels."""
    low, high = (xy(bound) for bound in grid.bounds())
    size = xy(grid.voxel_size)
    for x in np.arange(low[0], high[0] + 1, size[0]):
        ax.plot([x, x], [low[1], high[1]], color=GREY, linewidth=0.7)
    for y in np.arange(low[1], high[1] + 1, size[1]):
        ax.plot([low[0], high[0]], [y, y], color=GREY, linewidth=0.7)
    y, x = (np.asarray(c) for c in grid.coordinates())
    for i, j in ((0, 0), (0, grid.shape[1] - 1), (grid.shape[0] - 1, 0)):
        index = ax.text(x[j], y[i], f"{i},{j}", fontsize=9, ha="center", va="center", color=GREY, zorder=4)
        index.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1.5})
    ax.plot(0, 0, "k+", markersize=12, markeredgewidth=1.6, zorder=5)


def draw_fan(ax: Any, view: ConeVectors, alpha: float) -> None:
    source, center, pixels = xy(view.source[0]), xy(view.detector_center[0]), xy(view.pixel_centers()[0])
    half = xy(view.col_axis[0]) / 2
    ax.plot(*np.stack([pixels[0] - half, pixels[-1] + half], 1), color=DETECTOR, linewidth=2, alpha=alpha)
    ax.plot(*pixels.T, "o", color=DETECTOR, markersize=4, alpha=alpha)
    ax.plot(*source, "o", color=SOURCE, markersize=8, alpha=alpha)
    ax.plot(*np.stack([source, center], 1), "--", color=SOURCE, linewidth=1.2, alpha=alpha)
    for pixel in pixels[[0, -1]]:
        ax.plot(*np.stack([source, pixel], 1), color=SOURCE, linewidth=0.7, alpha=0.5 * alpha)


def draw_angle(ax: Any, turned: float) -> None:
    """The angle at the rotation centre, as the path of a source that turns on a smaller circle."""
    circle = jaxct.FanBeam(
        np.linspace(0, turned, 40),
        source_origin_distance=55.0,
        source_detector_distance=60.0,
        detector_shape=(1,),
        pixel_size=1.0,
    )
    arc = xy(circle.to_vectors().source)
    ax.plot(*arc.T, color="black", linewidth=1.2)
    ax.annotate("", arc[-1], arc[-4], arrowprops={"arrowstyle": "-|>", "color": "black"})
    ax.text(*(1.13 * arc[20]), "a", fontsize=13, style="italic", ha="center", va="center")


def draw_arrow(ax: Any, start: np.ndarray, step: np.ndarray, color: str, name: str, shift: tuple, align: str) -> None:
    ax.annotate("", start + step, start, arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 2, "shrinkA": 0})
    ax.annotate(name, start + step / 2, shift, textcoords="offset points", color=color, ha=align)


def finish_plan(ax: Any, title: str) -> None:
    ax.set(title=title, xlabel="x (mm)", ylabel="y (mm)")
    ax.set_aspect("equal")


def draw_helix(ax: Any) -> None:
    """A helix in three dimensions, by the geometry's own drawing."""
    grid = jaxct.VolumeGrid((6, 6, 6), voxel_size=10.0)
    helix = trajectories.helix(
        180, turns=2.0, pitch=40.0, **SCANNER, detector_shape=(8, 10), pixel_size=9.0, start=np.pi / 2
    )
    helix.plot(grid, ax=ax, views=[20])
    ax.set_title("Cone beam on a helix: source_z moves source and detector")
    ax.get_legend().set_bbox_to_anchor((-0.12, 0.98))
    ax.view_init(elev=22, azim=-66)


def draw_detector(ax: Any) -> None:
    """A detector as the source sees it, its position taken along its own axes from the foot of the central ray."""
    cone = jaxct.ConeBeam([0.7], **SCANNER, detector_shape=(4, 6), pixel_size=(8.0, 10.0), detector_offset=(6.0, 15.0))
    v = cone.to_vectors()
    frame = np.stack([np.asarray(a[0], float) / np.linalg.norm(a[0]) for a in (v.col_axis, v.row_axis)])
    foot = np.asarray(v.source[0], float) * (1 - SCANNER["source_detector_distance"] / 100.0)
    pixels = (np.asarray(v.pixel_centers()[0], float) - foot) @ frame.T
    step = frame @ np.stack([v.row_axis[0], v.col_axis[0]], 1)
    for (r, c), (x, y) in zip(np.ndindex(4, 6), pixels.reshape(-1, 2), strict=True):
        box = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]) / 2 * (step[0, 1], step[1, 0]) + (x, y)
        ax.plot(*box.T, color=DETECTOR, linewidth=0.8)
        ax.text(x, y + 0.8, f"{r},{c}", fontsize=8, ha="center", va="bottom", color=GREY)
        ax.plot(x, y - 0.6, ".", color=DETECTOR, markersize=4)
    corner = pixels[0, 0] - step.sum(1) / 2
    draw_arrow(ax, corner - (0, 3), 2 * step[:, 1], DETECTOR, "columns", (0, -14), "center")
    draw_arrow(ax, corner - (3, 0), 2 * step[:, 0], ROW, "rows", (-6, -3), "right")
    middle = (np.asarray(v.detector_center[0], float) - foot) @ frame.T
    ax.plot(0, 0, "+", color=SOURCE, markersize=13, markeredgewidth=2)
    ax.annotate("", middle, (0, 0), arrowprops={"arrowstyle": "-|>", "color": SOURCE, "linewidth": 1.8, "shrinkA": 0})
    leader = {"color": SOURCE, "fontsize": 9, "arrowprops": {"arrowstyle": "-", "color": SOURCE, "linewidth": 0.7}}
    ax.annotate("foot of the central ray", (0, 0), (22, -18), ha="left", va="center", **leader)
    ax.annotate("detector_offset = (6, 15)", middle / 2, (-14, 27), ha="left", va="center", **leader)
    ax.set(title="The detector as the source sees it: projections[view, row, col]", xlim=(-38, 58), ylim=(-24, 32))
    ax.set(xlabel="along the columns (mm)", ylabel="along the rows (mm)")
    ax.set_aspect("equal")


def draw_curved(ax: Any) -> None:
    """Flat and curved detectors of the same pixel size and offset, and their rays."""
    for kind, color in (("flat", GREY), ("curved", DETECTOR)):
        fan = jaxct.FanBeam(
            [0.0], **SCANNER, detector_shape=(11,), pixel_size=16.0, detector_offset=24.0, detector=kind
        )
        v = fan.to_vectors()
        pixels, source, center = xy(v.pixel_centers()[0]), xy(v.source[0]), xy(v.detector_center[0])
        ax.plot(*pixels.T, "o-", color=color, markersize=4.5, linewidth=1, label=f'"{kind}"')
        ax.plot(*center, "s", color=color, markersize=9, fillstyle="none", label=f"detector_center, {kind}")
        for pixel in pixels:
            ax.plot(*np.stack([source, pixel], 1), color=color, linewidth=0.4, alpha=0.6)
    centered = jaxct.FanBeam([0.0], **SCANNER, detector_shape=(1,), pixel_size=16.0).to_vectors()
    foot = xy(centered.detector_center[0])
    ax.plot(*np.stack([source, foot], 1), "--", color=SOURCE, linewidth=1.4, label="central ray")
    ax.plot(*source, "o", color=SOURCE, markersize=8)
    ax.plot(0, 0, "k+", markersize=12, markeredgewidth=1.6)
    ax.legend(loc="lower right", fontsize=8, framealpha=1)
    finish_plan(ax, "Flat and curved, pixel_size and detector_offset alike")
    ax.set(xlim=(-78, 120), ylim=(-108, 76))


def draw() -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.5, 10.6), layout="constrained")
    draw_plan(figure.add_subplot(2, 2, 1))
    draw_helix(figure.add_subplot(2, 2, 2, projection="3d"))
    draw_detector(figure.add_subplot(2, 2, 3))
    draw_curved(figure.add_subplot(2, 2, 4))
    return figure


if __name__ == "__main__":
    target = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_suffix(".png")
    draw().savefig(target, dpi=85)
