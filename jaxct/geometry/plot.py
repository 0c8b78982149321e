"""Drawing a set-up, so that a convention can be seen."""

from typing import Any

import numpy as np

from jaxct.geometry._base import Geometry
from jaxct.geometry.grid import VolumeGrid
from jaxct.geometry.vectors import ConeVectors, ParallelVectors

_SOURCE, _VOLUME, _COLUMN, _ROW = "#d1495b", "#555555", "#00798c", "#edae49"
_ARC_PIECES = 24


def plot(geometry: Geometry, grid: VolumeGrid | None = None, ax: Any = None, views: Any = None) -> Any:
    """Draw the source's path, some detectors with the directions of their rows and columns, rays and the volume.

    Axes are x, y, z in mm (2-D: x, y), to scale. Column arrows start at pixel (0, 0), as row arrows do. The detector of
    a parallel beam is drawn beyond the volume, since its place along the rays does not matter.

    Args:
        geometry: any geometry with concrete leaves.
        grid: the voxel grid to draw as a box, if any.
        ax: matplotlib axes to draw on, made with ``projection="3d"`` in three dimensions; by default a new figure's.
        views: which views' detectors to draw, an index array or slice; by default three, spread over the scan.

    Returns:
        The axes.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: grid and geometry differ in dimension, or ``ax`` is not of the geometry's dimension.
    """
    if grid is not None and grid.ndim != geometry.ndim:
        raise ValueError(f"grid must be {geometry.ndim}-D as the geometry, got a {grid.ndim}-D grid")
    ax = _axes(ax, geometry.ndim)
    vectors = geometry.to_vectors()
    every = np.arange(vectors.num_views)
    # Fractions that no number of turns brings to the same angle.
    chosen = np.unique((vectors.num_views * np.array([0, 0.22, 0.62])).astype(int)) if views is None else every[views]
    reach = _reach(vectors, grid)
    if isinstance(vectors, ConeVectors):
        _draw_path(ax, _xyz(vectors.source))
    if grid is not None:
        _draw_box(ax, grid)
    for number in chosen:
        _draw_view(ax, vectors[int(number)], reach, name=f"view {number}", first=number == chosen[0])
    _finish(ax, geometry.ndim)
    return ax


def _axes(ax: Any, ndim: int) -> Any:
    if ax is not None:
        if (getattr(ax, "name", "") == "3d") != (ndim == 3):
            raise ValueError(f"ax must be {ndim}-D axes for a {ndim}-D geometry, got {type(ax).__name__}")
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("drawing a geometry needs matplotlib: pip install 'jaxct[plot]'") from error
    figure = plt.figure(figsize=(8, 7), layout=None if ndim == 3 else "constrained")
    if ndim == 2:
        return figure.add_subplot()
    return figure.add_axes((0, 0, 0.93, 1), projection="3d")


def _xyz(vectors: Any) -> np.ndarray:
    """Components reversed into (x, y, z), in double precision."""
    return np.asarray(vectors, np.float64)[..., ::-1]


def _reach(vectors: ParallelVectors | ConeVectors, grid: VolumeGrid | None) -> float:
    """How far from the origin a parallel beam's rays are drawn: past the volume and half a detector."""
    sizes = [np.linalg.norm(np.asarray(vectors.col_axis[0])) * vectors.detector_shape[-1] / 2]
    if vectors.row_axis is not None:
        sizes.append(np.linalg.norm(np.asarray(vectors.row_axis[0])) * vectors.detector_shape[0] / 2)
    if grid is not None:
        sizes.append(max(np.linalg.norm(np.asarray(bound)) for bound in grid.bounds()))
    return 1.25 * float(max(sizes))


def _outline(vectors: ParallelVectors | ConeVectors) -> np.ndarray:
    """The detector's edges, (2, pieces + 1, ndim) in (x, y, z): its pixels replaced by a few that span it all."""
    pieces = _ARC_PIECES if isinstance(vectors, ConeVectors) and vectors.detector == "curved" else 1
    col_axis = vectors.col_axis * vectors.detector_shape[-1] / pieces
    row_axis = None if vectors.row_axis is None else vectors.row_axis * vectors.detector_shape[0]
    shape = (pieces + 1,) if row_axis is None else (2, pieces + 1)
    if isinstance(vectors, ParallelVectors):
        coarse: Any = ParallelVectors.unchecked(vectors.direction, vectors.detector_center, row_axis, col_axis, shape)
    else:
        coarse = ConeVectors.unchecked(
            vectors.source, vectors.detector_center, row_axis, col_axis, shape, vectors.detector
        )
    return np.atleast_3d(_xyz(coarse.pixel_centers()[0])) if row_axis is not None else _xyz(coarse.pixel_centers())


def _draw_path(ax: Any, source: np.ndarray) -> None:
    """The sources, joined where they follow one another closely enough to be a path."""
    steps = np.linalg.norm(np.diff(source, axis=0), axis=1)
    span = np.linalg.norm(np.ptp(source, axis=0))
    ax.plot(*source.T, ".", color=_SOURCE, markersize=3, label="source")
    path = source.copy()
    path[1:][steps > 0.2 * span] = np.nan
    ax.plot(*path.T, "-", color=_SOURCE, linewidth=1, alpha=0.5)


def _draw_view(ax: Any, view: ParallelVectors | ConeVectors, reach: float, *, name: str, first: bool) -> None:
    center, edges = _xyz(view.detector_center[0]), _outline(view)
    if isinstance(view, ConeVectors):
        source = _xyz(view.source[0])
        ax.plot(*source[:, None], "o", color=_SOURCE, markersize=6)
        ends = [edges[i, j] for i in range(len(edges)) for j in (0, -1)]
        rays = [(source, end) for end in ends]
    else:
        along = _xyz(view.direction[0]) / np.linalg.norm(_xyz(view.direction[0]))
        # Out to the plane through reach * along, wherever on the rays the given centre lies.
        shift = (reach - center @ along) * along
        center, edges = center + shift, edges + shift
        source = center - 2 * reach * along
        rays = [(edges[i, j] - 2 * reach * along, edges[i, j]) for i in range(len(edges)) for j in (0, -1)]
    for start, end in rays:
        ax.plot(*np.stack([start, end], 1), "-", color=_SOURCE, linewidth=0.6, alpha=0.35)
    ax.plot(*np.stack([source, center], 1), "--", color=_SOURCE, linewidth=1.2, label="central ray" if first else None)
    ax.text(*source, f" {name}", fontsize="small")
    _draw_detector(ax, edges)
    _draw_arrow(ax, edges[0], _COLUMN, "columns, from the first on" if first else None)
    if view.row_axis is not None:
        _draw_arrow(ax, edges[:, 0], _ROW, "rows, from the first on" if first else None)


def _draw_detector(ax: Any, edges: np.ndarray) -> None:
    if len(edges) == 1:
        ax.plot(*edges[0].T, "-", color=_COLUMN, linewidth=3, alpha=0.4, solid_capstyle="butt")
        return
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    quads = [np.stack([edges[0, i], edges[0, i + 1], edges[1, i + 1], edges[1, i]]) for i in range(edges.shape[1] - 1)]
    ax.add_collection3d(Poly3DCollection(quads, facecolor=_COLUMN, edgecolor="none", alpha=0.18))
    rim = np.concatenate([edges[0], edges[1, ::-1], edges[0, :1]])
    ax.plot(*rim.T, "-", color=_COLUMN, linewidth=1)


def _draw_arrow(ax: Any, edge: np.ndarray, color: str, label: str | None) -> None:
    """An arrow along the first 40 % of a detector's edge, from pixel (0, 0) on."""
    stop = edge[0] + 0.4 * (edge[-1] - edge[0]) if len(edge) == 2 else edge[int(0.4 * (len(edge) - 1))]
    step = stop - edge[0]
    if len(step) == 3:
        ax.quiver(*edge[0], *step, color=color, linewidth=2.5, arrow_length_ratio=0.25, label=label)
    else:
        ax.quiver(
            *edge[0], *step, color=color, angles="xy", scale_units="xy", scale=1, width=0.008, zorder=3, label=label
        )


def _draw_box(ax: Any, grid: VolumeGrid) -> None:
    """The edges of the volume, in any number of dimensions."""
    bounds = np.stack([_xyz(bound) for bound in grid.bounds()])
    ndim = grid.ndim
    corners = np.array(list(np.ndindex(*(2,) * ndim)))
    label: str | None = "volume"
    for corner in corners:
        for axis in range(ndim):
            if corner[axis] == 0:
                other = corner.copy()
                other[axis] = 1
                ends = np.stack([bounds[pick, np.arange(ndim)] for pick in (corner, other)], 1)
                ax.plot(*ends, "-", color=_VOLUME, linewidth=1.2, label=label)
                label = None


def _finish(ax: Any, ndim: int) -> None:
    ax.plot(*np.zeros((ndim, 1)), "+", color="black", markersize=9, label="rotation centre")
    ax.set_xlabel("x [mm]")
    ax.set_ylabel("y [mm]")
    if ndim == 3:
        ax.set_zlabel("z [mm]")
        ax.view_init(elev=24, azim=-62)
        ax.locator_params(nbins=5)
    ax.set_aspect("equal")
    if ndim == 3:
        ax.legend(loc="upper left", fontsize="small")
    else:
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize="small")
