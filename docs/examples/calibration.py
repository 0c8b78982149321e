"""Where is the axis, is the detector tilted, how far is the source? A measured scan tells, with no marker in it.

The walnut that comes with jaxct, its geometry made wrong by 3 pixels, 1 degree and 10 mm, is calibrated by Gauss-Newton
and by L-BFGS. Prints the estimates, draws calibration.png.

python docs/examples/calibration.py [FILE]
"""

import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxct
from jaxct import calibration
from jaxct.geometry import poses
from jaxct.plot import plot_slices

# What is added to the published geometry. The solver starts from the sum and is told nothing else.
WRONG = {"axis offset": 3.0, "tilt": 1.0, "source distance": 10.0}
RIGHT = dict.fromkeys(WRONG, 0.0)
UNITS = {"axis offset": "pixels", "tilt": "degrees", "source distance": "mm"}


class Walnut:
    """The scan, its pixels binned ``binning`` x ``binning``, and its geometry for errors of the published one."""

    def __init__(self, binning: int, step: int = 1):
        scan = jaxct.io.open_scan(jaxct.io.WALNUT)
        self.beam, self.binning = scan.geometry[::step], binning
        views = np.asarray(scan.line_integrals().values, np.float32)[::step]
        count, rows, cols = (views.shape[0], *(n // binning for n in views.shape[1:]))
        self.projections = jnp.asarray(views.reshape(count, rows, binning, cols, binning).mean((2, 4)))
        # A quarter more slices than the detector sees at the axis: the stand goes on below.
        self.grid = jaxct.VolumeGrid((rows * 5 // 4, cols, cols), voxel_size=scan.grid.voxel_size * binning)

    def geometry(self, error: dict[str, jax.Array]) -> jaxct.ConeVectors:
        """With the magnification kept: at given cone angles, how large the object is no projection can tell."""
        origin = self.beam.source_origin_distance + error["source distance"]
        pixel = self.beam.pixel_size[1]
        beam = jaxct.ConeBeam(
            self.beam.angles,
            source_origin_distance=origin,
            source_detector_distance=origin * self.beam.source_detector_distance / self.beam.source_origin_distance,
            detector_shape=self.projections.shape[1:],
            pixel_size=self.beam.pixel_size * self.binning,
            detector_offset=jnp.stack([jnp.zeros(()), error["axis offset"] * pixel]),
        )
        return poses.turn_detector(beam, jnp.stack([jnp.deg2rad(error["tilt"]), jnp.zeros(()), jnp.zeros(())]))


def gauss_newton(start: dict[str, float], coarse: Walnut, fine: Walnut, **options: Any) -> calibration.Calibration:
    """From far away with large pixels, then with small ones."""
    near = calibration.calibrate(coarse.geometry, start, coarse.projections, coarse.grid, num_iters=5, **options)
    return calibration.calibrate(
        fine.geometry, near.parameters, fine.projections, fine.grid, num_iters=2, ramp_power=1.0, **options
    )


def gradient(start: dict[str, float], walnut: Walnut, num_iters: int = 12) -> dict[str, jax.Array]:
    """L-BFGS with a line search on the misfit, in units in which it curves alike: pixels, degrees and 50 mm."""
    scale = {"axis offset": 1.0, "tilt": 1.0, "source distance": 50.0}

    def loss(scaled):
        error = jax.tree.map(jnp.multiply, scaled, scale)
        return calibration.misfit(error, walnut.geometry, walnut.projections, walnut.grid)

    optimizer = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(loss)

    @jax.jit
    def step(scaled, state):
        value, slope = value_and_grad(scaled, state=state)
        updates, state = optimizer.update(slope, state, scaled, value=value, grad=slope, value_fn=loss)
        return optax.apply_updates(scaled, updates), state

    scaled = jax.tree.map(lambda e, s: jnp.asarray(e / s), start, scale)
    state = optimizer.init(scaled)
    for _ in range(num_iters):
        scaled, state = step(scaled, state)
    return jax.tree.map(jnp.multiply, scaled, scale)


def main(target: Path) -> None:
    coarse, fine = Walnut(4), Walnut(2)
    estimates = {}
    for name, estimate in {
        "Gauss-Newton from the published geometry": lambda: gauss_newton(RIGHT, coarse, fine),
        "Gauss-Newton from the wrong one": lambda: gauss_newton(WRONG, coarse, fine),
    }.items():
        start = time.perf_counter()
        estimates[name] = jax.block_until_ready(estimate())
        print(f"{name}, {time.perf_counter() - start:.0f} s")
        for key, unit in UNITS.items():
            value, error = (float(tree[key]) for tree in estimates[name][:2])
            print(f"  {key:16} {value:8.4f} +- {error:.4f} {unit}")
    start = time.perf_counter()
    found = jax.block_until_ready(gradient(WRONG, coarse))
    print(f"L-BFGS from the wrong geometry, {time.perf_counter() - start:.0f} s")
    for key, unit in UNITS.items():
        print(f"  {key:16} {float(found[key]):8.4f} {unit}")
    full = Walnut(1)
    errors = {"wrong": WRONG, "recovered": estimates["Gauss-Newton from the wrong one"].parameters, "published": RIGHT}
    volumes = {
        name: jaxct.reconstruct.cgls(
            jaxct.Projector(full.geometry(jax.tree.map(jnp.asarray, error)), full.grid, model="joseph"),
            full.projections,
            num_iters=12,
        ).volume
        for name, error in errors.items()
    }
    figure = plot_slices(volumes, full.grid, title="The walnut, calibrated by its own projections")
    figure.savefig(target, dpi=48, facecolor=figure.get_facecolor())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
