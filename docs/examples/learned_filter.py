"""The filter of filtered back projection, learned from ten noisy scans: does it become the discrete ramp?

The textbook's filter |f|, sampled in frequency, is wrong: it takes the mean out of the image. The discrete ramp, which
is right, comes from sampling in space instead. Ten simulated scans of random blobs, with photon noise, have to find it:
the filter is an array of parameters, FBP is differentiated by it, and the loss is the error of the image. Started from
|f| and from a filter that is far off (|f| times a Hann window), for three doses and two losses. Prints how near to the
discrete ramp they come, draws learned_filter.png.

python docs/examples/learned_filter.py [FILE]
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxct
from jaxct import filters
from jaxct.geometry import trajectories
from jaxct.phantoms import noise

SEED, DOSE, NUM_SCANS = 0, 1e6, 10
NUM_ITERS = 120


class Blobs(NamedTuple):
    """Sums of Gaussians: centres (scan, blob, yx), widths and heights (scan, blob).

    Their projections and their values at points are known in closed form, and nearly all of it is below Nyquist's
    frequency: so it is known which filter is right. Of sharp edges no filter makes the pixels' true averages.
    """

    centers: jax.Array
    widths: jax.Array
    values: jax.Array


class Problem(NamedTuple):
    """Each scan is taken twice, with half of the photons; the scans are the rows of one parallel beam, and the images
    its slices, which do not mix."""

    beam: jaxct.ParallelBeam
    grid: jaxct.VolumeGrid
    targets: jax.Array
    halves: jax.Array
    inside: jax.Array


Loss = Callable[[jax.Array, Problem], jax.Array]


def random_blobs(key: jax.Array, size: int, num_blobs: int = 300) -> Blobs:
    """Widths of 1 to 3 pixels, heights up to 1 / width, all within the circle that every view sees whole."""
    keys = jax.random.split(key, 4)
    radius, angle, width, value = (jax.random.uniform(k, (NUM_SCANS, num_blobs)) for k in keys)
    width = 3**width
    radius, angle = jnp.sqrt(radius) * (size / 2 - 3 * width), 2 * jnp.pi * angle
    return Blobs(radius[..., None] * jnp.stack([jnp.sin(angle), jnp.cos(angle)], -1), width, value / width)


def bell(distance: jax.Array, width: jax.Array) -> jax.Array:
    return jnp.exp(-0.5 * (distance / width) ** 2)


def project(blobs: Blobs, angles: jax.Array, columns: jax.Array) -> jax.Array:
    """Line integrals (view, scan, column)."""

    def scan(blobs):
        position = blobs.centers @ jnp.stack([jnp.sin(angles), jnp.cos(angles)])
        areas = jnp.sqrt(2 * jnp.pi) * blobs.widths * blobs.values
        return jnp.einsum("b,bvc->vc", areas, bell(columns - position[..., None], blobs.widths[:, None, None]))

    return jnp.moveaxis(jax.lax.map(scan, blobs), 0, 1)


def image(blobs: Blobs, points: jax.Array) -> jax.Array:
    """Values (scan, y, x) at the points of a square grid."""
    y, x = (bell(points - blobs.centers[..., k, None], blobs.widths[..., None]) for k in (0, 1))
    return jnp.einsum("sb,sby,sbx->syx", blobs.values, y, x)


def as_resolved(images: jax.Array) -> jax.Array:
    """Images as FBP can show them: it interpolates linearly between columns, a factor of sinc(f)^2 at frequency f."""
    size = images.shape[-1]
    spectrum = jnp.fft.rfft2(images, s=(2 * size, 2 * size))
    frequency = jnp.hypot(jnp.fft.fftfreq(2 * size)[:, None], jnp.fft.rfftfreq(2 * size))
    return jnp.fft.irfft2(spectrum * jnp.sinc(frequency) ** 2)[:, :size, :size]


def make_problem(dose: float = DOSE, *, size: int = 64, num_views: int = 120, sharp: bool = False) -> Problem:
    """``dose`` photons a pixel in all, of which about 5 % arrive along the most opaque line.

    ``sharp``: the targets are the objects' values, not what FBP can resolve of them.
    """
    beam = jaxct.ParallelBeam(trajectories.circle(num_views, arc=np.pi), detector_shape=(NUM_SCANS, size))
    points = jnp.arange(size) - (size - 1) / 2
    blob_key, *scan_keys = jax.random.split(jax.random.key(SEED), 3)
    blobs = random_blobs(blob_key, size)
    exact = project(blobs, beam.angles, points)
    scale = 3 / exact.max()
    truth = scale * image(blobs, points)
    halves = jnp.stack([noise.poisson(key, scale * exact, dose / 2) for key in scan_keys])
    # Not the outermost pixels: there is no column beyond the last one to interpolate to.
    inside = jnp.hypot(points[:, None], points) < size / 2 - 1
    grid = jaxct.VolumeGrid((NUM_SCANS, size, size))
    return Problem(beam, grid, truth if sharp else as_resolved(truth), halves, inside)


def errors(response: jax.Array, projections: jax.Array, problem: Problem) -> jax.Array:
    # Whether the detector is displaced cannot be seen of a beam that is an argument of a jitted function: it is not.
    found = jaxct.reconstruct.fbp(projections, problem.beam, problem.grid, window=response, offset_detector=False)
    return jnp.where(problem.inside, found - problem.targets, 0)


def split_loss(response: jax.Array, problem: Problem) -> jax.Array:
    """Product of the two halves' errors. Their noise is independent: on average the squared error without noise."""
    first, second = (errors(response, half, problem) for half in problem.halves)
    return jnp.sum(first * second) / jnp.sum(problem.targets**2)


def squared_loss(response: jax.Array, problem: Problem) -> jax.Array:
    """Squared error of both halves together: as many photons. It is smaller for filters that let less noise pass."""
    return jnp.sum(errors(response, problem.halves.mean(0), problem) ** 2) / jnp.sum(problem.targets**2)


def power(problem: Problem) -> tuple[np.ndarray, float]:
    """Mean power of the projections at the filter's frequencies, and of their noise, from what the halves share."""
    length = filters.filter_length(problem.beam.detector_shape[-1])
    first, second = (np.fft.rfft(np.asarray(half, np.float64), n=length) for half in problem.halves)
    return (first * second.conj()).real.mean((0, 1)), float((np.abs(first - second) ** 2).mean() / 4)


def band(problem: Problem) -> np.ndarray:
    """Frequencies up to half of Nyquist's, if the projections' power is at least 100 times their noise's there.

    Further up the ghosts of linear interpolation, sinc(1 - f)^2 at frequency f, are what the filter is fitted to.
    """
    signal, floor = power(problem)
    frequency = np.fft.rfftfreq(filters.filter_length(problem.beam.detector_shape[-1]))
    return (frequency <= 0.25) & (signal > 100 * floor)


def steps(problem: Problem) -> jax.Array:
    """How far the filter's values move for a step of 1: further where the data say less, for the loss to curve alike.

    The loss curves like power / frequency; 30 is as much as the steps may differ.
    """
    signal, floor = power(problem)
    length = filters.filter_length(problem.beam.detector_shape[-1])
    frequency = np.arange(signal.size) / length + 0.5 / length
    step = np.sqrt(frequency / np.maximum(signal, max(floor, 1e-5 * signal[1:].max())))
    return jnp.asarray(np.maximum(step / step.max(), 1 / 30), jnp.float32)


OPTIMIZER = optax.lbfgs(memory_size=20)


@partial(jax.jit, static_argnums=0)
def improve(loss: Loss, moved: jax.Array, state: Any, start: jax.Array, scale: jax.Array, problem: Problem) -> tuple:
    """A step of L-BFGS on what ``start`` is moved by, in units of ``scale``."""

    def value(moved):
        return loss(start + scale * moved, problem)

    now, slope = optax.value_and_grad_from_state(value)(moved, state=state)
    updates, state = OPTIMIZER.update(slope, state, moved, value=now, grad=slope, value_fn=value)
    return optax.apply_updates(moved, updates), state, now


def learn(loss: Loss, start: jax.Array, problem: Problem, num_iters: int = NUM_ITERS) -> tuple[jax.Array, list[float]]:
    """The filter after so many steps, and the losses before each."""
    scale, moved, losses = steps(problem), jnp.zeros_like(start), []
    state = OPTIMIZER.init(moved)
    for _ in range(num_iters):
        moved, state, now = improve(loss, moved, state, start, scale, problem)
        losses.append(float(now))
    return start + scale * moved, losses


def starts(num_cols: int) -> dict[str, jax.Array]:
    frequency = jnp.fft.rfftfreq(filters.filter_length(num_cols))
    return {"|f|": frequency, "|f| Hann": frequency * (0.5 + 0.5 * jnp.cos(2 * jnp.pi * frequency))}


def distance(response: jax.Array, reference: jax.Array, where: np.ndarray) -> float:
    """Relative difference in the Euclidean norm over some frequencies."""
    chosen, other = np.asarray(response)[where], np.asarray(reference)[where]
    return float(np.linalg.norm(chosen - other) / np.linalg.norm(other))


class HeldOut(NamedTuple):
    """The Shepp-Logan head, exact projections without noise, and where its brain is."""

    beam: jaxct.ParallelBeam
    grid: jaxct.VolumeGrid
    truth: jax.Array
    brain: jax.Array
    projections: jax.Array

    def reconstruct(self, response: jax.Array) -> jax.Array:
        return jaxct.reconstruct.fbp(self.projections, self.beam, self.grid, window=response)

    def offset(self, response: jax.Array) -> float:
        return float(jaxct.metrics.masked_mean(self.reconstruct(response) - self.truth, self.brain))


def held_out(size: int, num_views: int = 120) -> HeldOut:
    beam = jaxct.ParallelBeam(trajectories.circle(num_views, arc=np.pi), detector_shape=(size,))
    grid = jaxct.VolumeGrid((size, size))
    radius = 0.47 * size
    head = jaxct.phantoms.shepp_logan(radius=radius)
    brain = jaxct.phantoms.Phantom(jaxct.phantoms.Ellipsoid((0.0, 0.0), (0.78 * radius, 0.56 * radius), 1.0))
    return HeldOut(beam, grid, head.rasterize(grid), brain.rasterize(grid) == 1, head.project(beam, oversample=4))


def draw(responses: dict[str, jax.Array], ramp: jax.Array, inside: np.ndarray, head: HeldOut) -> Figure:
    """Responses by name: dashed where the name says start. Whole, near zero, their difference to the ramp, an image."""
    figure = Figure(figsize=(11.5, 7.4), layout="constrained")
    (whole, low), (difference, profile) = figure.subplots(2, 2)
    frequency = np.fft.rfftfreq(2 * (ramp.size - 1))
    colors = {name: f"C{k // 2}" for k, name in enumerate(responses)}
    near = slice(5)
    for panel, part in ((whole, slice(None)), (low, near)):
        panel.plot(frequency[part], ramp[part], color="black", linewidth=3, alpha=0.3, label="discrete ramp")
    for name, response in responses.items():
        style = {"color": colors[name], "linestyle": "--" if "start" in name else "-", "label": name}
        whole.plot(frequency, response, **style)
        low.plot(frequency[near], response[near], marker=".", **style)
        gap = np.maximum(np.abs(np.asarray(response) - np.asarray(ramp)), 1e-6)
        difference.semilogy(frequency, gap, linewidth=1.2, **style)
    for panel in (whole, difference):
        panel.axvspan(frequency[inside].max(), 0.5, color="0.92", zorder=0)
        panel.set(xlabel="frequency (1/pixel)", xlim=(0, 0.5))
    whole.set(ylabel="filter", title="before (dashed) and after; grey: outside the band")
    low.set(xlabel="frequency (1/pixel)", ylim=(-0.002, None), title="near the zero frequency")
    difference.set(ylabel="|filter - discrete ramp|", title="difference from the discrete ramp")
    row = head.truth.shape[0] // 2
    profile.plot(head.truth[row], color="black", linewidth=3, alpha=0.3, label="phantom")
    for name, response in responses.items():
        profile.plot(head.reconstruct(response)[row], "--" if "start" in name else "-", color=colors[name], label=name)
    profile.set(xlabel="x (pixels)", title="the middle row of a phantom that was not trained on", ylim=(-0.1, 0.35))
    low.legend(fontsize=8)
    return figure


def report(name: str, response: jax.Array, ramp: jax.Array, inside: np.ndarray, head: HeldOut) -> None:
    print(
        f"  {name:22} distance {100 * distance(response, ramp, inside):6.2f} %, "
        f"zero frequency {float(response[0]):.6f}, offset of the brain {head.offset(response):+.4f}"
    )


def main(target: Path) -> None:
    began = time.perf_counter()
    problem = make_problem()
    size = problem.beam.detector_shape[-1]
    ramp, inside, head = filters.ramp_response(size), band(problem), held_out(size)
    frequency = np.fft.rfftfreq(filters.filter_length(size))
    print(f"{DOSE:.0e} photons; band: {inside.sum()} frequencies up to {frequency[inside].max():.3f} of 0.5 per pixel")
    report("discrete ramp", ramp, ramp, inside, head)
    responses = {}
    for name, start in starts(size).items():
        responses[f"{name}, start"] = start
        responses[f"{name}, learned"], losses = learn(split_loss, start, problem)
        for kind in ("start", "learned"):
            report(f"{name}, {kind}", responses[f"{name}, {kind}"], ramp, inside, head)
        print(f"    loss {losses[0]:.2e} -> {losses[-1]:.2e}; discrete ramp {float(split_loss(ramp, problem)):.2e}")
    print("noise, from |f| Hann: distance over the same band, by the product of halves and by the square")
    for dose in (1e4, 1e5, 1e6):
        noisy = make_problem(dose)
        found = [learn(loss, starts(size)["|f| Hann"], noisy)[0] for loss in (split_loss, squared_loss)]
        print(f"  {dose:.0e} photons:", ", ".join(f"{100 * distance(h, ramp, inside):.2f} %" for h in found))
    found, _ = learn(split_loss, starts(size)["|f|"], make_problem(sharp=True))
    undone = ramp / np.sinc(frequency) ** 2
    print("against the objects themselves, not what FBP resolves:", end=" ")
    print(f"{100 * distance(found, ramp, inside):.1f} % from the ramp,", end=" ")
    print(f"{100 * distance(found, undone, inside):.1f} % from the ramp / sinc(f)^2")
    draw(responses, ramp, inside, head).savefig(target, dpi=70)
    print(f"wall time {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
