"""The best of 64 candidate geometries in one call: where on the detector does a measured scan's rotation axis fall?

The middle rows of the walnut that comes with jaxct are a measured fan-beam sinogram. 64 positions of its detector, a
tenth of a pixel apart, are scored by how well a few iterations of CGLS explain it, under one ``jax.vmap`` in one jitted
call. Prints the best, the published position and the times, draws candidates.png.

python docs/examples/candidates.py [FILE]
"""

import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import jaxct
from jaxct.plot import grey_window

# The published position is none of them: offset 0 lies between -0.05 and 0.05.
PIXELS = np.linspace(-3.15, 3.15, 64)


def fan_scan(step: int = 1) -> tuple[jax.Array, jaxct.FanBeam]:
    """The plane of the orbit: the two middle rows' mean, of every ``step``-th view, and its published geometry."""
    scan = jaxct.io.open_scan(jaxct.io.WALNUT)
    cone, views = scan.geometry, np.asarray(scan.line_integrals().values, np.float32)
    middle = views.shape[1] // 2
    beam = jaxct.FanBeam(
        cone.angles[::step],
        source_origin_distance=cone.source_origin_distance,
        source_detector_distance=cone.source_detector_distance,
        detector_shape=cone.detector_shape[1:],
        pixel_size=cone.pixel_size[1],
    )
    return jnp.asarray(views[::step, middle - 1 : middle + 1].mean(1)), beam


def moved(beam: jaxct.FanBeam, pixels: jax.Array) -> jaxct.FanBeam:
    return dataclasses.replace(beam, detector_offset=pixels * beam.pixel_size)


def coarse_grid(beam: jaxct.FanBeam) -> jaxct.VolumeGrid:
    """Pixels of twice the size: scores need fewer of them than pictures."""
    grid = jaxct.io.suggest_grid(beam)
    return jaxct.VolumeGrid(tuple(n // 2 for n in grid.shape), voxel_size=2 * grid.voxel_size)


def score(beam: jaxct.FanBeam, sinogram: jax.Array, grid: jaxct.VolumeGrid, num_iters: int = 8) -> jax.Array:
    """What the image of a few iterations leaves unexplained of the sinogram, as a part of it."""
    A = jaxct.Projector(beam, grid, model="joseph")  # noqa: N806
    _, history = jaxct.reconstruct.cgls(A, sinogram, num_iters=num_iters)
    return history["residual_norm"][-1] / jnp.linalg.norm(sinogram)


def score_all(candidates: jaxct.FanBeam, sinogram: jax.Array, grid: jaxct.VolumeGrid) -> jax.Array:
    return jax.vmap(score, in_axes=(0, None, None))(candidates, sinogram, grid)


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def compare_times(candidates: jaxct.FanBeam, sinogram: jax.Array, grid: jaxct.VolumeGrid, repeats: int = 3) -> None:
    """One call for all beside a compiled call for each, in turns, so that both meet the same other load."""
    beams = [jax.tree.map(lambda leaf, k=k: leaf[k], candidates) for k in range(PIXELS.size)]
    one_call, one = jax.jit(score_all), jax.jit(score)
    calls = (lambda: one_call(candidates, sinogram, grid), lambda: [one(beam, sinogram, grid) for beam in beams])
    for call in calls:
        call()
    times = np.array([[seconds(call) for call in calls] for _ in range(repeats)])
    together, apart = np.median(times, axis=0)
    ratios = np.sort(times[:, 1] / times[:, 0])
    print(f"one call {together:.2f} s, {len(beams)} calls {apart:.2f} s (medians of {repeats} turns)")
    print(f"{len(beams)} calls / one call: {np.median(ratios):.2f} (from {ratios[0]:.2f} to {ratios[-1]:.2f})")


def draw(scores: np.ndarray, images: dict[str, np.ndarray], grid: jaxct.VolumeGrid) -> Figure:
    figure = Figure(figsize=(11.5, 3.8), layout="constrained")
    curve, *panels = figure.subplots(1, 1 + len(images), width_ratios=[1.25] + [1] * len(images))
    curve.plot(PIXELS, scores, ".-", color="tab:blue", markersize=5)
    curve.axvline(0, color="0.6", linestyle="--", linewidth=1, label="published")
    curve.plot(PIXELS[scores.argmin()], scores.min(), "o", color="tab:red", label="best candidate")
    curve.set(xlabel="axis offset (pixels)", ylabel="unexplained part of the sinogram", title="64 candidates, one call")
    curve.legend(loc="upper center")
    (bottom, left), (top, right) = grid.bounds()
    high = max(grey_window(image)[1] for image in images.values())
    for panel, (name, image) in zip(panels, images.items(), strict=True):
        extent = (left, right, bottom, top)
        picture = panel.imshow(image, cmap="gray", origin="lower", extent=extent, vmin=0, vmax=high)
        panel.set(xlabel="x (mm)", ylabel="y (mm)", title=name)
    figure.colorbar(picture, ax=panels, shrink=0.8, label="attenuation (1/mm)")
    return figure


def main(target: Path) -> None:
    start = time.perf_counter()
    sinogram, beam = fan_scan()
    fine, grid = jaxct.io.suggest_grid(beam), coarse_grid(beam)
    candidates = jax.vmap(moved, in_axes=(None, 0))(beam, jnp.asarray(PIXELS, jnp.float32))
    scores = np.asarray(jax.jit(score_all)(candidates, sinogram, grid))
    best = PIXELS[scores.argmin()]
    print(f"best candidate: {best:+.2f} pixels, {scores.min():.4f} unexplained (published: 0)")
    print(f"2 pixels further: {scores[np.abs(PIXELS - best - 2).argmin()]:.4f} unexplained")
    compare_times(candidates, sinogram, grid)
    images = {
        name: np.asarray(jaxct.reconstruct.fbp(sinogram, moved(beam, jnp.float32(pixels)), fine, window="hann"))
        for name, pixels in {f"FBP at the best, {best:+.2f} pixels": best, "FBP 2 pixels off": best + 2}.items()
    }
    draw(scores, images, fine).savefig(target, dpi=75)
    print(f"wall time {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
