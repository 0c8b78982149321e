"""Parallel and fan beam, side by side: projections, filtered back projection, gradient descent through the projector.

The Shepp-Logan head, exact line integrals with photon noise. Both beams go through the same functions. The iterative
image is found by optax: jax.grad differentiates the misfit through the projector, momentum does the rest. Prints errors
and losses, draws beams.png.

python docs/examples/beams.py [FILE]
"""

import sys
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxct
from jaxct.geometry import trajectories
from jaxct.phantoms import noise
from jaxct.reconstruct.norms import squared_norm

SEED, PHOTONS, SKULL = 0, 1e5, 0.02  # photons a pixel; attenuation of the skull in 1/mm
Beam = jaxct.ParallelBeam | jaxct.FanBeam


class Images(NamedTuple):
    """A scan's sinogram and what is made of it; the losses of the iterations."""

    sinogram: jax.Array
    fbp: jax.Array
    descent: jax.Array
    losses: jax.Array


def make_grid(size: int = 128) -> jaxct.VolumeGrid:
    return jaxct.VolumeGrid((size, size), voxel_size=200.0 / size)


def make_beams(size: int = 128) -> dict[str, Beam]:
    """Half a turn of parallel rays; a full turn of a fan whose magnified pixels are as wide at the axis."""
    num_views, num_cols, pixel = 3 * size // 2, size * 5 // 4, 200.0 / size
    parallel = jaxct.ParallelBeam(
        trajectories.circle(num_views, arc=np.pi), detector_shape=(num_cols,), pixel_size=pixel
    )
    fan = jaxct.FanBeam(
        trajectories.circle(2 * num_views),
        source_origin_distance=400.0,
        source_detector_distance=800.0,
        detector_shape=(num_cols,),
        pixel_size=2 * pixel,
    )
    return {"parallel beam": parallel, "fan beam": fan}


def measure(beam: Beam) -> jax.Array:
    """Means over the pixels of exact line integrals, as so many photons show them."""
    exact = jaxct.phantoms.shepp_logan(scale=SKULL).project(beam, oversample=4)
    return noise.poisson(jax.random.key(SEED), exact, PHOTONS)


def misfit(image: jax.Array, A: jaxct.Projector, sinogram: jax.Array) -> jax.Array:  # noqa: N803
    """The squared difference, as a part of that of an empty image."""
    return jnp.sum((A(image) - sinogram) ** 2) / jnp.sum(sinogram**2)


def descend(A: jaxct.Projector, sinogram: jax.Array, num_iters: int = 60) -> tuple[jax.Array, jax.Array]:  # noqa: N803
    """Gradient descent with Nesterov's momentum from an empty image; the step is the inverse of the curvature."""
    curvature = 2 * squared_norm(A) / jnp.sum(sinogram**2)
    optimizer = optax.sgd(1 / curvature, momentum=0.9, nesterov=True)

    def step(carry, _):
        image, state = carry
        loss, gradient = jax.value_and_grad(misfit)(image, A, sinogram)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(image, updates), state), loss

    empty = jnp.zeros(A.in_shape)
    (image, _), losses = jax.lax.scan(step, (empty, optimizer.init(empty)), length=num_iters)
    return image, losses


def reconstruct(beam: Beam, grid: jaxct.VolumeGrid, num_iters: int = 60) -> Images:
    sinogram = measure(beam)
    A = jaxct.Projector(beam, grid)  # noqa: N806
    image, losses = jax.jit(descend, static_argnames="num_iters")(A, sinogram, num_iters=num_iters)
    return Images(sinogram, jaxct.reconstruct.fbp(sinogram, beam, grid, window="hann"), image, losses)


def draw(results: dict[str, Images], grid: jaxct.VolumeGrid) -> Figure:
    figure = Figure(figsize=(12.5, 6.0), layout="constrained")
    rows = figure.subplots(2, 4, width_ratios=[1, 1, 1, 1.1])
    (bottom, left), (top, right) = (np.asarray(corner) for corner in grid.bounds())
    for (name, images), (first, *panels, curve) in zip(results.items(), rows, strict=True):
        first.imshow(images.sinogram, cmap="gray", aspect="auto")
        first.set(xlabel="column", ylabel="view", title=f"{name}: sinogram")
        for panel, kind in zip(panels, ("fbp", "descent"), strict=True):
            extent = (left, right, bottom, top)
            picture = panel.imshow(
                getattr(images, kind), cmap="gray", origin="lower", extent=extent, vmin=0, vmax=0.5 * SKULL
            )
            panel.set(xlabel="x (mm)", title={"fbp": "FBP, Hann window", "descent": "gradient descent"}[kind])
        panels[0].set_ylabel("y (mm)")
        figure.colorbar(picture, ax=panels, shrink=0.8, label="attenuation (1/mm)")
        curve.semilogy(np.arange(images.losses.size), images.losses, color="tab:blue")
        curve.set(xlabel="iteration", title="misfit (empty image: 1)")
    return figure


def main(target: Path) -> None:
    start = time.perf_counter()
    grid = make_grid()
    truth = jaxct.phantoms.shepp_logan(scale=SKULL).rasterize(grid)
    results = {}
    for name, beam in make_beams().items():
        images = results[name] = jax.block_until_ready(reconstruct(beam, grid))
        errors = {
            kind: float(jaxct.metrics.psnr(getattr(images, kind), truth, data_range=SKULL))
            for kind in ("fbp", "descent")
        }
        print(
            f"{name}: {beam.num_views} views, PSNR of FBP {errors['fbp']:.2f} dB, of gradient descent "
            f"{errors['descent']:.2f} dB, misfit after {images.losses.size} iterations {float(images.losses[-1]):.2e}"
        )
    draw(results, grid).savefig(target, dpi=66)
    print(f"wall time {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
