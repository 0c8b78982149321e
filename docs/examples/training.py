"""A small unrolled network with a projector inside, trained on a walnut: few views, noise, held-out slices.

Axial slices of the walnut that comes with jaxct, reconstructed by FDK from all its measured views, are projected from
24 directions with noise. The network takes gradient steps x <- x - step_k A^T (A x - y) with a small convolutional
correction after each. It is trained on slices of one part of the walnut and watched on slices of another, with a gap
between them. It is one walnut: the figures say that the training works, not what it would do to another object. Prints
the errors beside those of FBP, CGLS and gradient descent, draws training.png.

python docs/examples/training.py [FILE]
"""

import sys
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from matplotlib.figure import Figure

import jaxct

VIEWS, NOISE, SEED = 24, 0.01, 0
# Of 128 slices, from below: 12 between the parts, 3.7 mm, are used for neither.
TRAIN, HELD_OUT = slice(60, 108), slice(32, 48)
SHELL = 0.06  # attenuation of the shell in 1/mm


class Slices(NamedTuple):
    """Images (n, y, x), their sinograms (n, view, col), and the FBP that the network starts from."""

    images: jax.Array
    sinograms: jax.Array
    fbp: jax.Array


class Problem(NamedTuple):
    A: jaxct.Projector
    train: Slices
    held_out: Slices


def walnut_slices(size: int) -> tuple[np.ndarray, float]:
    """All 128 axial slices of the walnut's FDK, in units of its shell's attenuation, and their pixel size in mm."""
    scan = jaxct.io.open_scan(jaxct.io.WALNUT)
    height, _, width = (float(n * v) for n, v in zip(scan.grid.shape, scan.grid.voxel_size, strict=True))
    grid = jaxct.VolumeGrid((128, size, size), voxel_size=(height / 128, width / size, width / size))
    volume = jaxct.reconstruct.fdk(scan.line_integrals().values, scan.geometry, grid, window="hann")
    return np.asarray(volume) / SHELL, width / size


def make_problem(size: int = 64, num_views: int = VIEWS, every: int = 1) -> Problem:
    """Simulated few-view scans of the slices that are trained on and of those that are held out."""
    volume, pixel = walnut_slices(size)
    beam = jaxct.FanBeam(
        jaxct.geometry.trajectories.circle(num_views),
        source_origin_distance=210.0,
        source_detector_distance=550.0,
        detector_shape=(3 * size // 2,),
        pixel_size=pixel * 550.0 / 210.0,
    )
    grid = jaxct.VolumeGrid((size, size), voxel_size=pixel)
    keys = jax.random.split(jax.random.key(SEED))
    train, held_out = (measure(volume[p][::every], beam, grid, k) for p, k in zip((TRAIN, HELD_OUT), keys, strict=True))
    return Problem(jaxct.Projector(beam, grid, model="joseph"), train, held_out)


def measure(images: np.ndarray, beam: jaxct.FanBeam, grid: jaxct.VolumeGrid, key: jax.Array) -> Slices:
    """Projections with Gaussian noise of 1 % of their largest value, by another model than the network's."""
    exact = jax.vmap(jaxct.Projector(beam, grid, model="separable_footprint"))(jnp.asarray(images))
    sinograms = exact + NOISE * exact.max() * jax.random.normal(key, exact.shape)
    fbp = jax.vmap(lambda y: jaxct.reconstruct.fbp(y, beam, grid, window="hann"))(sinograms)
    return Slices(jnp.asarray(images), sinograms, fbp)


class Unrolled(nnx.Module):
    """x <- x - step_k A^T (A x - y) + CNN_k(x, gradient), from FBP; the steps are relative to 1 / |A|^2."""

    def __init__(self, num_steps: int, features: int, squared_norm: jax.Array, rngs: nnx.Rngs):
        self.squared_norm = nnx.Variable(squared_norm)  # no nnx.Param: it is not trained
        self.steps = nnx.Param(jnp.ones(num_steps))
        self.corrections = nnx.List([correction(features, rngs) for _ in range(num_steps)])

    def __call__(self, A: jaxct.Projector, data: jax.Array, x: jax.Array) -> jax.Array:  # noqa: N803
        for step, correct in zip(self.steps[...], self.corrections, strict=True):
            gradient = A.T(A(x) - data) / self.squared_norm[...]
            x = x - step * gradient + correct(jnp.stack([x, gradient], -1))[..., 0]
        return x


def correction(features: int, rngs: nnx.Rngs) -> nnx.Sequential:
    """Three convolutions. The last starts at zero, so that training starts from plain gradient descent."""
    conv = partial(nnx.Conv, kernel_size=(3, 3), rngs=rngs)
    last = conv(features, 1, kernel_init=nnx.initializers.zeros)
    return nnx.Sequential(conv(2, features), nnx.relu, conv(features, features), nnx.relu, last)


def squared_norm(A: jaxct.Projector) -> jax.Array:  # noqa: N803
    """|A|^2 by power iteration."""
    x = jnp.ones(A.in_shape)
    for _ in range(20):
        x = A.T(A(x / jnp.linalg.norm(x)))
    return jnp.linalg.norm(x)


def improve(net: Unrolled, A: jaxct.Projector, slices: Slices) -> jax.Array:  # noqa: N803
    return jax.vmap(lambda data, fbp: net(A, data, fbp))(slices.sinograms, slices.fbp)


def mean_square_error(net: Unrolled, A: jaxct.Projector, slices: Slices) -> jax.Array:  # noqa: N803
    return jnp.mean((improve(net, A, slices) - slices.images) ** 2)


@nnx.jit
def train_step(net: Unrolled, optimizer: nnx.Optimizer, A: jaxct.Projector, batch: Slices) -> jax.Array:  # noqa: N803
    loss, gradients = nnx.value_and_grad(mean_square_error)(net, A, batch)
    optimizer.update(net, gradients)
    return loss


class Training(NamedTuple):
    """The network, and as it was before; the losses of both parts of the walnut, at the start and after each epoch."""

    net: Unrolled
    untrained: Unrolled
    train: list[float]
    held_out: list[float]


def train(problem: Problem, num_epochs: int, *, num_steps: int = 4, features: int = 16, batch: int = 8) -> Training:
    net = Unrolled(num_steps, features, squared_norm(problem.A), nnx.Rngs(SEED))
    untrained = nnx.clone(net)
    count = len(problem.train.images) // batch
    schedule = optax.cosine_decay_schedule(3e-3, num_epochs * count)
    optimizer = nnx.Optimizer(net, optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule)), wrt=nnx.Param)
    evaluate = nnx.jit(mean_square_error)
    losses = [[float(evaluate(net, problem.A, part))] for part in (problem.train, problem.held_out)]
    shuffle = np.random.default_rng(SEED)
    for _ in range(num_epochs):
        for chosen in shuffle.permutation(len(problem.train.images))[: count * batch].reshape(count, batch):
            part = jax.tree.map(lambda a, i=chosen: a[i], problem.train)
            train_step(net, optimizer, problem.A, part)
        for part, curve in zip((problem.train, problem.held_out), losses, strict=True):
            curve.append(float(evaluate(net, problem.A, part)))
    return Training(net, untrained, *losses)


def reconstruct(training: Training, problem: Problem) -> dict[str, jax.Array]:
    """The held-out slices by each method. CGLS stops where its error is least, which only the truth can tell."""
    images, sinograms, fbp = problem.held_out
    cgls = [
        jax.vmap(lambda data, n=n: jaxct.reconstruct.cgls(problem.A, data, num_iters=n).volume)(sinograms)
        for n in (6, 8, 10, 12, 16)
    ]
    return {
        "FBP": fbp,
        "gradient steps": improve(training.untrained, problem.A, problem.held_out),
        "CGLS": min(cgls, key=lambda x: float(jnp.mean((x - images) ** 2))),
        "network": improve(training.net, problem.A, problem.held_out),
    }


def draw(training: Training, problem: Problem, images: dict[str, jax.Array], errors: dict[str, float]) -> Figure:
    figure = Figure(figsize=(13, 3.5), layout="constrained")
    curve, *panels = figure.subplots(1, 1 + len(images), width_ratios=[1.25] + [1] * len(images))
    for name, losses in (("training slices", training.train), ("held-out slices", training.held_out)):
        curve.plot(losses, label=name)
    for name, style in (("FBP", ":"), ("CGLS", "--")):
        curve.axhline(errors[name], color="0.4", linestyle=style, linewidth=1, label=f"{name}, held-out")
    curve.set(
        ylim=(0, None), xlabel="epoch", ylabel="mean square error (shell = 1)", title="one walnut, two parts of it"
    )
    curve.legend(fontsize=8)
    (bottom, left), (top, right) = problem.A.grid.bounds()
    for panel, (name, image) in zip(panels, images.items(), strict=True):
        extent = (left, right, bottom, top)
        picture = panel.imshow(image * SHELL, cmap="gray", origin="lower", extent=extent, vmin=0, vmax=SHELL)
        panel.set(xlabel="x (mm)", title=name)
        panel.tick_params(labelleft=panel is panels[0])
    panels[0].set_ylabel("y (mm)")
    figure.colorbar(picture, ax=panels, shrink=0.8, label="attenuation (1/mm)")
    return figure


def main(target: Path) -> None:
    start = time.perf_counter()
    problem = make_problem()
    training = train(problem, num_epochs=30)
    print(f"loss of training slices {training.train[0]:.5f} -> {training.train[-1]:.5f}")
    print(f"loss of held-out slices {training.held_out[0]:.5f} -> {training.held_out[-1]:.5f}")
    found, truth = reconstruct(training, problem), problem.held_out.images
    errors = {name: float(jnp.mean((images - truth) ** 2)) for name, images in found.items()}
    for name, error in errors.items():
        print(
            f"  {name:15} mean square error {error:.5f}, relative error {jaxct.metrics.nrmse(found[name], truth):.3f}"
        )
    middle = len(truth) // 2
    shown = {"held-out slice": truth, **{f"{name}, {VIEWS} views": found[name] for name in ("FBP", "CGLS", "network")}}
    draw(training, problem, {k: v[middle] for k, v in shown.items()}, errors).savefig(target, dpi=75)
    print(f"wall time {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
