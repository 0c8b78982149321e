"""Thirty views of a cone beam: total variation beside FDK, SIRT and CGLS, on a phantom and on a measured walnut.

The three-dimensional Shepp-Logan head, exact projections with photon noise, and a quarter of the views of the walnut
that comes with jaxct. Total variation is minimised by PDHG, its weight a fraction of the one that makes the volume
constant. Prints errors and times, draws few_views.png.

python docs/examples/few_views.py [FILE]
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import jaxct
from jaxct.geometry import trajectories
from jaxct.phantoms import noise
from jaxct.plot import grey_window
from jaxct.reconstruct.pdhg import constant_tv_weight, pdhg

SEED, PHOTONS, SKULL = 0, 1e5, 0.02  # photons a pixel; attenuation of the skull in 1/mm
NUM_VIEWS = 30
# Fractions of the weight from which on the volume is constant.
HEAD_WEIGHT, WALNUT_WEIGHT = 1e-3, 1e-3


class Scan(NamedTuple):
    """Projections of a few views, where they were taken, and what to compare with."""

    projections: jax.Array
    beam: jaxct.ConeBeam
    grid: jaxct.VolumeGrid
    reference: jax.Array


def head_scan(size: int = 96, num_views: int = NUM_VIEWS) -> Scan:
    """The phantom's voxel averages are the reference; a pixel's shadow at the axis is as wide as a voxel."""
    voxel, magnification = 200.0 / size, 1.6
    cols = size * 5 // 4
    beam = jaxct.ConeBeam(
        trajectories.circle(num_views),
        source_origin_distance=600.0,
        source_detector_distance=600.0 * magnification,
        detector_shape=(cols, cols),
        pixel_size=voxel * magnification,
    )
    grid = jaxct.VolumeGrid((size, size, size), voxel_size=voxel)
    head = jaxct.phantoms.shepp_logan(3, scale=SKULL)
    exact = head.project(beam, oversample=3)
    return Scan(noise.poisson(jax.random.key(SEED), exact, PHOTONS), beam, grid, head.rasterize(grid))


def walnut_scan(num_views: int = NUM_VIEWS, binning: int = 1) -> Scan:
    """Every so many views, equally spaced; the reference is FDK from all of them."""
    scan = jaxct.io.open_scan(jaxct.io.WALNUT)
    views = np.asarray(scan.line_integrals().values, np.float32)
    count, rows, cols = (views.shape[0], *(n // binning for n in views.shape[1:]))
    binned = jnp.asarray(views.reshape(count, rows, binning, cols, binning).mean((2, 4)))
    full = scan.geometry
    beam = jaxct.ConeBeam(
        full.angles,
        source_origin_distance=full.source_origin_distance,
        source_detector_distance=full.source_detector_distance,
        detector_shape=(rows, cols),
        pixel_size=full.pixel_size * binning,
        detector_offset=full.detector_offset,
    )
    grid = jaxct.VolumeGrid((rows, cols, cols), voxel_size=scan.grid.voxel_size * binning, center=scan.grid.center)
    every = count // num_views
    return Scan(binned[::every], beam[::every], grid, jaxct.reconstruct.fdk(binned, beam, grid))


def total_variation(scan: Scan, fraction: float, num_iters: int) -> jax.Array:
    A = jaxct.Projector(scan.beam, scan.grid)  # noqa: N806
    spacing = scan.grid.voxel_size
    weight = fraction * constant_tv_weight(A, scan.projections, spacing=spacing)
    return pdhg(A, scan.projections, num_iters=num_iters, tv_weight=weight, spacing=spacing, lower=0.0).volume


def methods(scan: Scan, tv_fraction: float, num_iters: int = 100) -> dict[str, Callable[[], jax.Array]]:
    A = jaxct.Projector(scan.beam, scan.grid)  # noqa: N806
    return {
        "FDK": lambda: jaxct.reconstruct.fdk(scan.projections, scan.beam, scan.grid),
        "SIRT": lambda: jaxct.reconstruct.sirt(A, scan.projections, num_iters=50, lower=0.0).volume,
        "CGLS": lambda: jaxct.reconstruct.cgls(A, scan.projections, num_iters=12).volume,
        "TV": lambda: total_variation(scan, tv_fraction, num_iters),
    }


def psnr(volume: jax.Array, scan: Scan, peak: float) -> float:
    return float(jaxct.metrics.psnr(volume, scan.reference, data_range=peak))


def reconstruct(title: str, scan: Scan, peak: float, chosen: dict[str, Callable]) -> dict[str, np.ndarray]:
    """The reference and the volume of each method, with what it took printed."""
    print(f"{title}: {scan.beam.num_views} views, {' x '.join(map(str, scan.grid.shape))} voxels")
    volumes = {"reference": np.asarray(scan.reference)}
    for name, method in chosen.items():
        start = time.perf_counter()
        volume = jax.block_until_ready(method())
        print(f"  {name:5} PSNR {psnr(volume, scan, peak):.2f} dB, {time.perf_counter() - start:.0f} s", flush=True)
        volumes[name] = np.asarray(volume)
    return volumes


def draw(rows: dict[str, tuple[Scan, dict[str, np.ndarray], float]]) -> Figure:
    """A row of axial slices for each scan: its reference by the row's name, then the methods."""
    figure = Figure(figsize=(13.0, 5.6), layout="constrained")
    count = max(len(volumes) for _, volumes, _ in rows.values())
    panels = figure.subplots(len(rows), count, squeeze=False)
    for (title, (scan, volumes, height)), line in zip(rows.items(), panels, strict=True):
        low, high = (np.asarray(corner) for corner in scan.grid.bounds())
        z = np.abs(np.asarray(scan.grid.coordinates()[0]) - height).argmin()
        extent = (low[2], high[2], low[1], high[1])
        top = grey_window(volumes["reference"])[1] if "walnut" in title else 0.5 * SKULL
        for (name, volume), panel in zip(volumes.items(), line, strict=True):
            picture = panel.imshow(volume[z], cmap="gray", origin="lower", extent=extent, vmin=0, vmax=top)
            panel.set(title=title if name == "reference" else name, xlabel="x (mm)")
            panel.tick_params(labelleft=name == "reference")
        line[0].set_ylabel("y (mm)")
        figure.colorbar(picture, ax=line, shrink=0.8, label="attenuation (1/mm)")
    return figure


def main(target: Path) -> None:
    start = time.perf_counter()
    head, walnut = head_scan(), walnut_scan()
    peak = float(jnp.max(walnut.reference))
    rows = {
        "phantom": (head, reconstruct("phantom", head, SKULL, methods(head, HEAD_WEIGHT)), -25.0),
        "walnut, FDK of 120 views": (
            walnut,
            reconstruct("walnut, against FDK of 120 views", walnut, peak, methods(walnut, WALNUT_WEIGHT)),
            0.0,
        ),
    }
    draw(rows).savefig(target, dpi=65)
    print(f"wall time {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
