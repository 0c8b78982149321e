"""Draws models.png, one voxel's projection in every model, and prints the models' errors against exact projections.

python docs/figures/models.py [FILE]
"""

import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxct
from jaxct import linear, phantoms
from jaxct.geometry import Geometry, trajectories

ANGLE = 0.4
STYLES = {"siddon": "-", "joseph": "--", "distance_driven": "-.", "separable_footprint": "-"}


def voxel_profile(model: str, pixel_size: float, positions: jax.Array) -> jax.Array:
    """What a pixel centred at each position sees of one voxel of unit size and value, turned by ``ANGLE``."""
    voxel = jaxct.VolumeGrid((1, 1))

    def seen(position: jax.Array) -> jax.Array:
        pixel = jaxct.ParallelBeam([ANGLE], detector_shape=(1,), pixel_size=pixel_size, detector_offset=position)
        return jaxct.forward_project(jnp.ones((1, 1)), pixel, voxel, model=model)[0, 0]

    return jax.vmap(seen)(positions)


def disk_scans() -> dict[str, tuple[phantoms.Phantom, Geometry, jaxct.VolumeGrid]]:
    """Objects off the rotation axis, whose projections are known exactly."""
    orbit = {"source_origin_distance": 500.0, "source_detector_distance": 750.0}
    half_turn, turn = trajectories.circle(180, arc=np.pi), trajectories.circle(180)
    disk = phantoms.disk(75.0, center=(-15.0, 20.0))
    ball = phantoms.ball(18.0, center=(2.0, -4.0, 5.0))
    image, volume = jaxct.VolumeGrid((256, 256)), jaxct.VolumeGrid((64, 64, 64))
    cone = jaxct.ConeBeam(turn[::6], **orbit, detector_shape=(96, 96), pixel_size=1.5)
    return {
        "parallel": (disk, jaxct.ParallelBeam(half_turn, detector_shape=(384,)), image),
        "fan": (disk, jaxct.FanBeam(turn, **orbit, detector_shape=(384,), pixel_size=1.5), image),
        "cone": (ball, cone, volume),
    }


def errors(scan: tuple[phantoms.Phantom, Geometry, jaxct.VolumeGrid], model: str) -> tuple[float, float, float]:
    """Relative Euclidean distance of a voxelised object's projections from the exact rays, from their averages over
    pixels, and from what the separable footprint makes of it."""
    phantom, geometry, grid = scan
    volume = phantom.rasterize(grid, oversample=8)
    projected = jaxct.forward_project(volume, geometry, grid, model=model)
    others = (
        phantom.project(geometry),
        phantom.project(geometry, oversample=8),
        jaxct.forward_project(volume, geometry, grid),
    )
    ray, pixel, model_gap = (float(jnp.linalg.norm(projected - p) / jnp.linalg.norm(p)) for p in others)
    return ray, pixel, model_gap


def draw() -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.9), layout="constrained")
    positions = jnp.linspace(-1.6, 1.6, 641)
    for ax, pixel_size in zip(figure.subplots(1, 2, sharey=True), (1.0, 0.25), strict=True):
        for model, style in STYLES.items():
            ax.plot(positions, voxel_profile(model, pixel_size, positions), style, label=model)
        ax.set(title=f"pixels of {pixel_size:g} voxel", xlabel="pixel centre from the voxel's shadow, in voxels")
        ax.grid(alpha=0.3)
    figure.axes[0].set_ylabel("weight (mm)")
    figure.axes[0].legend(fontsize=8, loc="upper left")
    return figure


if __name__ == "__main__":
    target = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_suffix(".png")
    draw().savefig(target, dpi=85)
    for name, scan in disk_scans().items():
        for model in linear.PROJECTOR_MODELS:
            ray, pixel, gap = errors(scan, model)
            print(f"{name:10}{model:22}rays {ray:.4f}   pixels {pixel:.4f}   separable footprint {gap:.4f}")
