"""The networks of the PET study: which they are, and their training, which goes on where it was interrupted."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _pet_study_scan import Sample, Scan, Settings, attenuated, save
from flax import nnx

from jaxct import nn

KEEP_EVERY = 25  # steps between two checkpoints
NETWORKS = ("em_net", "mapem_net", "unet")


class PostUNet(nnx.Module):
    """What a U-Net adds to an image, which it sees in units of its mean weighted by itself; at first nothing."""

    def __init__(self, features: tuple[int, ...], rngs: nnx.Rngs):
        self.unet = nn.UNet(3, features=features, rngs=rngs)
        self.unet.last.kernel[...] = jnp.zeros_like(self.unet.last.kernel[...])

    def __call__(self, image: jax.Array) -> jax.Array:
        scale = jnp.vdot(image, image) / jnp.sum(image)
        improved = image + scale * self.unet(image[..., None] / scale)[..., 0]
        return jnp.where(improved > 0, improved, 0)


class Trained(NamedTuple):
    call: Callable[..., jax.Array]
    state: Any
    losses: np.ndarray


def make(name: str, settings: Settings) -> tuple[Any, Any]:
    """Graph and parameters, untrained."""
    graphdef, state = nnx.split(nnx.jit(_kinds(settings)[name])())
    return graphdef, state


def _kinds(settings: Settings) -> dict[str, Callable[[], nnx.Module]]:
    options = {"ndim": 3, "features": settings.features}
    return {
        "em_net": lambda: nn.EMNet(settings.unrolls, **options, rngs=nnx.Rngs(settings.seed)),
        "mapem_net": lambda: nn.MAPEMNet(settings.unrolls, **options, rngs=nnx.Rngs(settings.seed)),
        "unet": lambda: PostUNet(matched_features(settings), nnx.Rngs(settings.seed)),
    }


def matched_features(settings: Settings) -> tuple[int, ...]:
    """Channels with which the U-Net that stands alone has about as many parameters as the MAPEM-Net."""
    wanted = num_parameters("mapem_net", settings)
    levels = len(settings.features)

    def count(*features: int) -> int:
        return nn.num_parameters(nnx.eval_shape(lambda: PostUNet(features, nnx.Rngs(0))))

    def doubling(width: int) -> list[int]:
        return [width * 2**level for level in range(levels)]

    width = 4
    while count(*doubling(width + 4)) <= wanted:
        width += 4
    *upper, last = doubling(width)
    while count(*upper, last + 2) <= wanted:
        last += 2
    nearest = min((last, last + 2), key=lambda n: abs(count(*upper, n) - wanted))
    return (*upper, nearest)


def num_parameters(name: str, settings: Settings) -> int:
    return nn.num_parameters(nnx.eval_shape(_kinds(settings)[name]))


def reconstruct(net: Any, A: Any, data: Any, background: Any, start: Any, late: Any) -> jax.Array:  # noqa: N803
    """An image from the first passes of OSEM and the data, or from the last pass alone."""
    return net(late) if isinstance(net, PostUNet) else net(A, data, start, background=background)


def apply(trained: Trained, scan: Scan, late: jax.Array) -> jax.Array:
    return trained.call(trained.state, scan.A, scan.data, scan.background, scan.start, late)


def train(
    name: str,
    settings: Settings,
    P: Any,  # noqa: N803
    sample: Callable[[int], Sample],
    path: Path,
) -> Trained:
    """From the checkpoint if there is one; a scan a step, in an order that depends on the step alone."""
    graphdef, state = make(name, settings)
    rate = optax.cosine_decay_schedule(settings.learning_rate, settings.training_steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    moments = optimizer.init(state)
    state, moments, losses = _load(path, state, moments)

    @jax.jit
    def step(state: Any, moments: Any, P: Any, sample: Sample) -> tuple[Any, Any, jax.Array]:  # noqa: N803
        A = attenuated(P, sample.factors)  # noqa: N806

        def loss(state: Any) -> jax.Array:
            seen = (A, sample.data, sample.background, sample.start, sample.late)
            error = reconstruct(nnx.merge(graphdef, state), *seen) - sample.truth
            return jnp.mean(error**2) / jnp.mean(sample.truth**2)

        value, gradient = jax.value_and_grad(loss)(state)
        updates, moments = optimizer.update(gradient, moments, state)
        return optax.apply_updates(state, updates), moments, value

    start = time.perf_counter()
    for number in range(len(losses), settings.training_steps):
        chosen = np.random.default_rng((settings.seed, 2, number)).integers(settings.anatomies)
        state, moments, loss = step(state, moments, P, sample(int(chosen)))
        losses.append(float(loss))
        if len(losses) % KEEP_EVERY == 0 or len(losses) == settings.training_steps:
            _save(path, state, moments, losses)
            seconds = time.perf_counter() - start
            recent = np.mean(losses[-KEEP_EVERY:])
            print(
                f"{name} step {len(losses)} of {settings.training_steps}: loss {recent:.4f}  {seconds:.1f} s",
                flush=True,
            )
    call = jax.jit(lambda state, *seen: reconstruct(nnx.merge(graphdef, state), *seen))
    return Trained(call, state, np.asarray(losses))


def _save(path: Path, state: Any, moments: Any, losses: list[float]) -> None:
    leaves = jax.device_get(jax.tree.leaves((state, moments)))
    save(path, {"losses": np.asarray(losses)} | {f"leaf_{i}": leaf for i, leaf in enumerate(leaves)})


def _load(path: Path, state: Any, moments: Any) -> tuple[Any, Any, list[float]]:
    if not path.exists():
        return state, moments, []
    leaves, structure = jax.tree.flatten((state, moments))
    with np.load(path) as stored:
        state, moments = structure.unflatten([jnp.asarray(stored[f"leaf_{i}"]) for i in range(len(leaves))])
        return state, moments, list(stored["losses"])
