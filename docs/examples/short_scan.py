"""A cone-beam scan of 200 degrees: why a short scan needs Parker's weights.

248 views over 200 degrees of the three-dimensional Shepp-Logan head, exact projections on a flat detector, are
reconstructed by FDK of 256 x 256 x 256 voxels: with every ray counted alike, with Parker's weights, and, to compare,
from a full turn of views as dense. FDK is written out in its parts, so that only the weights differ. Prints errors,
times and the peak memory, draws short_scan.png.

python docs/examples/short_scan.py [FILE]
"""

import resource
import sys
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import jaxct
from jaxct import filters, weights
from jaxct.geometry import trajectories

# Where the head's parts differ: the skull is 1, the brain 0.2, what lies in it 0 to 0.4.
WINDOW = (0.0, 0.5)
FEATURE = -25.0  # height in mm of the plane that most parts cross
# The brain, 5 mm away from the skull: there the blur of its edge does not hide what the weights do.
BRAIN = jaxct.phantoms.Ellipsoid((0.0, -1.84, 0.0), (83.0, 82.4, 61.2), 1.0)


class Setup(NamedTuple):
    """The phantom's voxels and the scanner: the head fits into a ball of 92 mm, and that into every view."""

    phantom: jaxct.phantoms.Phantom
    grid: jaxct.VolumeGrid
    num_cols: int
    pixel_size: float

    def beam(self, num_views: int, degrees: float) -> jaxct.ConeBeam:
        return jaxct.ConeBeam(
            trajectories.circle(num_views, arc=np.deg2rad(degrees)),
            source_origin_distance=750.0,
            source_detector_distance=1200.0,
            detector_shape=(self.num_cols, self.num_cols),
            pixel_size=self.pixel_size,
        )


def make_setup(size: int = 256) -> Setup:
    """As many voxels along each axis; a pixel's shadow at the axis is 0.8 voxels wide."""
    grid = jaxct.VolumeGrid((size, size, size), voxel_size=200.0 / size)
    num_cols = size * 5 // 4
    return Setup(jaxct.phantoms.shepp_logan(3), grid, num_cols, 320.0 / num_cols)


def alike(beam: jaxct.ConeBeam) -> jax.Array:
    """Shares of pi / arc for every ray: of the lines in the plane each counts once, but on the average only."""
    _, arc = weights.scan_arc(beam.angles)
    return jnp.full((beam.num_views, 1), jnp.pi / arc)


def parker(beam: jaxct.ConeBeam) -> jax.Array:
    """A line that two views measure counts once in all, shared out so that nothing jumps from ray to ray."""
    return weights.short_scan_weights(beam.angles, weights.fan_angles(beam))


@jax.jit
def fdk(projections: jax.Array, beam: jaxct.ConeBeam, grid: jaxct.VolumeGrid, shares: jax.Array) -> jax.Array:
    """Feldkamp, Davis and Kress in three lines, for shares (views, cols) of every ray."""
    step = weights.angular_weights(beam.angles) * beam.source_origin_distance / beam.source_detector_distance
    weighted = projections * weights.cosine_weights(beam) * (step[:, None] * shares)[:, None, :]
    filtered = filters.filter_projections(weighted, beam.pixel_size[1], window="ram-lak")
    return jaxct.back_project(filtered, beam, grid, model="voxel_driven")


def errors(volume: jax.Array, truth: jax.Array, grid: jaxct.VolumeGrid) -> dict[str, float]:
    inside = jaxct.phantoms.Phantom(BRAIN).rasterize(grid) == 1
    middle = grid.shape[0] // 2
    slices = slice(middle - 1, middle + 1)
    return {
        "RMSE": float(jaxct.metrics.rmse(volume, truth)),
        "SSIM": float(jaxct.metrics.ssim(volume, truth, data_range=1.0)),
        "RMSE of the brain": float(jaxct.metrics.rmse(volume, truth, mask=inside)),
        "in the source's plane": float(jaxct.metrics.rmse(volume[slices], truth[slices], mask=inside[slices])),
    }


def fan_degrees(beam: jaxct.ConeBeam) -> float:
    return float(jnp.rad2deg(2 * jnp.max(weights.fan_angles(beam))))


def peak_memory() -> float:
    """Of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def draw(volumes: dict[str, np.ndarray], grid: jaxct.VolumeGrid) -> Figure:
    """Slices through the features, axial and coronal, and the profile along y, where the missing weights show most."""
    figure = Figure(figsize=(12.5, 8.6), layout="constrained")
    names = list(volumes)
    rows = [[f"{kind} {name}" for name in names] for kind in ("axial", "coronal")]
    cells = [*rows, ["profile"] * len(names)]
    axes = figure.subplot_mosaic(cells, height_ratios=[1, 1, 0.75])
    z, y, x = (np.asarray(c) for c in grid.coordinates())
    row, column = np.abs(z - FEATURE).argmin(), np.abs(x).argmin()
    low, high = (np.asarray(corner) for corner in grid.bounds())
    for name, volume in volumes.items():
        for kind, image in {"axial": volume[row], "coronal": volume[:, y.size // 2]}.items():
            down = 1 if kind == "axial" else 0
            extent = (low[2], high[2], low[down], high[down])
            panel = axes[f"{kind} {name}"]
            picture = panel.imshow(image, "gray", origin="lower", extent=extent, vmin=WINDOW[0], vmax=WINDOW[1])
            panel.set(xlabel="x (mm)", title=name if kind == "axial" else None)
            panel.tick_params(labelleft=name == names[0])
        axes["profile"].plot(y, volume[row, :, column], label=name, linewidth=1.2)
    for line, label in zip(rows, ("y (mm)", "z (mm)"), strict=True):
        axes[line[0]].set_ylabel(label)
    axes["profile"].set(xlabel="y (mm)", ylabel="value (skull = 1)", xlim=(low[1], high[1]), ylim=(-0.1, 0.6))
    axes["profile"].set_title(f"along y at x = {x[column]:.0f} mm, z = {z[row]:.0f} mm; the skull's peaks are cut")
    axes["profile"].legend(ncols=len(names), loc="upper center", fontsize=9)
    figure.colorbar(picture, ax=[axes[cell] for line in rows for cell in line], shrink=0.6, label="skull = 1")
    return figure


def main(target: Path) -> None:
    start = time.perf_counter()
    setup = make_setup()
    short, full = setup.beam(248, 200.0), setup.beam(446, 360.0)
    print(f"fan angle {fan_degrees(short):.2f} degrees: a short scan needs {180 + fan_degrees(short):.2f} of the 200")
    volumes = {}
    for name, beam, shares in (
        ("Parker's weights, 200 degrees", short, parker),
        ("no weights, 200 degrees", short, alike),
        ("full turn", full, alike),
    ):
        began = time.perf_counter()
        projections = jax.block_until_ready(setup.phantom.project(beam))
        projected = time.perf_counter()
        volumes[name] = jax.block_until_ready(fdk(projections, beam, setup.grid, shares(beam)))
        times = f"projections {projected - began:.1f} s, FDK {time.perf_counter() - projected:.1f} s"
        print(f"{name}: {times}, peak memory {peak_memory():.2f} GB")
    truth = setup.phantom.rasterize(setup.grid)
    for name, volume in volumes.items():
        values = [f"{key} {value:.4f}" for key, value in errors(volume, truth, setup.grid).items()]
        print(f"  {name:30}", ", ".join(values))
    shown = ["no weights, 200 degrees", "Parker's weights, 200 degrees", "full turn"]
    pictures = {"phantom": np.asarray(truth)} | {name: np.asarray(volumes[name]) for name in shown}
    draw(pictures, setup.grid).savefig(target, dpi=60)
    print(f"wall time {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
