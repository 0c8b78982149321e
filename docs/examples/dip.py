"""A deep image prior on few noisy views of a walnut: no training data, an untrained network, one sinogram.

The middle axial slice of the walnut that comes with jaxct, reconstructed by FDK from all its measured views, is
projected from 24 directions with noise. A U-Net that sees nothing but random numbers is fitted to this sinogram alone.
It makes the slice first and the noise later, so the iteration to end with matters; it is found from the outputs alone,
by the variance of the last hundred. Prints the errors beside those of FBP, CGLS and total variation, draws dip.png.

python docs/examples/dip.py [FILE]
"""

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import jaxct

VIEWS, NOISE, SEED = 24, 0.02, 0
# Patience for all iterations, far beyond the best one, so that it can be seen what ending there is worth.
ITERATIONS, WINDOW = 2000, 100
RANGE = 0.06  # attenuation of the shell in 1/mm


class Problem(NamedTuple):
    """The slice (y, x), its noisy sinogram (view, col), and the operator."""

    truth: jax.Array
    sinogram: jax.Array
    A: jaxct.Projector


class Run(NamedTuple):
    """What a deep image prior found; by iteration: the error of its average in dB, and the variance over the window."""

    volume: jax.Array
    psnr: np.ndarray
    variance: np.ndarray


def middle_slice(size: int) -> tuple[jax.Array, float]:
    """The walnut's middle axial slice by FDK, and its pixel size in mm."""
    scan = jaxct.io.open_scan(jaxct.io.WALNUT)
    width = float(scan.grid.shape[-1] * scan.grid.voxel_size[-1])
    grid = jaxct.VolumeGrid((1, size, size), voxel_size=(scan.grid.voxel_size[0], width / size, width / size))
    volume = jaxct.reconstruct.fdk(scan.line_integrals().values, scan.geometry, grid, window="hann")
    return jnp.maximum(volume[0], 0), width / size


def make_problem(size: int = 64, num_views: int = VIEWS) -> Problem:
    """Projections with Gaussian noise of 2 % of their largest value, by another model than the reconstruction's."""
    truth, pixel = middle_slice(size)
    beam = jaxct.FanBeam(
        jaxct.geometry.trajectories.circle(num_views),
        source_origin_distance=210.0,
        source_detector_distance=550.0,
        detector_shape=(3 * size // 2,),
        pixel_size=pixel * 550.0 / 210.0,
    )
    grid = jaxct.VolumeGrid((size, size), voxel_size=pixel)
    exact = jaxct.forward_project(truth, beam, grid, model="separable_footprint")
    noise = NOISE * exact.max() * jax.random.normal(jax.random.key(SEED), exact.shape)
    return Problem(truth, exact + noise, jaxct.Projector(beam, grid, model="joseph"))


def decibels(image: jax.Array, truth: jax.Array) -> float:
    """Peak signal-to-noise ratio, the shell's attenuation being the peak."""
    return float(jaxct.metrics.psnr(image, truth, data_range=RANGE))


def prior_of(problem: Problem, *, num_iters: int = ITERATIONS, **options: Any) -> Run:
    """The deep image prior, watched: the truth is looked at for the curve, and for nothing else."""
    errors = []
    error = jax.jit(partial(jaxct.metrics.psnr, data_range=RANGE))
    found = jaxct.reconstruct.dip(
        problem.A,
        problem.sinogram,
        num_iters=num_iters,
        window=WINDOW,
        patience=num_iters,
        key=jax.random.key(SEED),
        callback=lambda iteration, state, record: errors.append(float(error(state.volume, problem.truth))),
        **options,
    )
    return Run(found.volume, np.asarray(errors), np.asarray(found.history["variance"]))


def others(problem: Problem) -> dict[str, jax.Array]:
    """FBP, and two methods whose one parameter is the best that there is, which only the truth can tell."""
    truth, sinogram, A = problem  # noqa: N806
    images = {
        "FBP (Hann)": [jaxct.reconstruct.fbp(sinogram, A.geometry, A.grid, window="hann")],
        "CGLS": [jaxct.reconstruct.cgls(A, sinogram, num_iters=n).volume for n in range(3, 13)],
        "total variation": total_variation(problem),
    }
    return {name: max(candidates, key=lambda x: decibels(x, truth)) for name, candidates in images.items()}


def total_variation(problem: Problem) -> jax.Array:
    weights = jaxct.reconstruct.constant_tv_weight(problem.A, problem.sinogram) * 10 ** jnp.linspace(-4, -1, 13)
    solve = partial(jaxct.reconstruct.pdhg, problem.A, problem.sinogram, num_iters=400, lower=0.0)
    return jax.vmap(lambda weight: solve(tv_weight=weight).volume)(weights)


def draw(problem: Problem, run: Run, images: dict[str, jax.Array]) -> Figure:
    figure = Figure(figsize=(12, 5.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1.9])
    curve = left.subplots()
    iterations = np.arange(1, len(run.psnr) + 1)
    curve.plot(iterations, run.psnr, label="PSNR of the average (dB)")
    curve.set(xlabel="iteration", ylabel="PSNR (dB)", ylim=(run.psnr.max() - 9, run.psnr.max() + 1))
    watched = curve.twinx()
    watched.semilogy(iterations[WINDOW - 1 :], run.variance[WINDOW - 1 :], color="C1")
    watched.set_ylabel("variance of the last outputs (1/mm$^2$)", color="C1")
    curve.axvline(best_iteration(run), color="0.4", linestyle="--", linewidth=1)
    (bottom, left_edge), (top, right_edge) = problem.A.grid.bounds()
    shown = {"truth": problem.truth, **images}
    panels = right.subplots(2, 3).ravel()
    for panel, (name, image) in zip(panels, shown.items(), strict=False):
        extent = (left_edge, right_edge, bottom, top)
        picture = panel.imshow(image, cmap="gray", origin="lower", extent=extent, vmin=0, vmax=RANGE)
        title = name if name == "truth" else f"{name}\n{decibels(image, problem.truth):.1f} dB"
        panel.set_title(title, fontsize=9)
        panel.tick_params(labelsize=7)
    for panel in panels[len(shown) :]:
        panel.set_visible(False)
    right.colorbar(picture, ax=list(panels), shrink=0.8, label="attenuation (1/mm)")
    return figure


def best_iteration(run: Run) -> int:
    """Where the variance is least, counted from 1."""
    return int(run.variance[WINDOW - 1 :].argmin()) + WINDOW


def main(target: Path) -> None:
    start = time.perf_counter()
    problem = make_problem()
    run = prior_of(problem)
    print(f"least variance after iteration {best_iteration(run)}: {run.psnr[best_iteration(run) - 1]:.2f} dB")
    print(f"the best that there was, after {run.psnr.argmax() + 1}: {run.psnr.max():.2f} dB")
    print(f"the last, after {len(run.psnr)}: {run.psnr[-1]:.2f} dB")
    images = {**others(problem), "deep image prior": run.volume}
    for name, image in images.items():
        error = jaxct.metrics.nrmse(image, problem.truth)
        print(f"  {name:18} {decibels(image, problem.truth):.2f} dB, relative error {error:.3f}")
    print(f"wall time {time.perf_counter() - start:.0f} s")
    draw(problem, run, images).savefig(target, dpi=75)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
