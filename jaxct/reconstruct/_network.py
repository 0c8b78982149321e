"""Images that a network makes of an input that stays: what deep image priors share."""

import dataclasses
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from jaxct._arithmetic import or_one
from jaxct.geometry import _validate
from jaxct.nn import UNet
from jaxct.reconstruct._line_search import evaluated
from jaxct.reconstruct._static import as_operands, restored

# Channels of the noise that the default network sees.
_CHANNELS = 16


class Weights(NamedTuple):
    """A network's parameters, what else it holds, and the state of their optimiser."""

    parameters: Any
    other: Any
    optimizer: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Generator:
    """Images ``scale * network(input)``, and the optimiser of the network's parameters."""

    input: Array
    scale: Array
    optimizer: Any
    graphdef: Any = dataclasses.field(metadata={"static": True})

    def image(self, parameters: Any, other: Any, seen: Array | None = None) -> tuple[Array, Any]:
        """What the network makes of its input, or of another one, and what it holds afterwards beside parameters."""
        # A copy: in a derivative, what a network keeps beside its parameters can be changed only where it was made.
        network = nnx.merge(self.graphdef, parameters, other, copy=True)
        output = network(self.input if seen is None else seen)[..., 0].astype(self.scale.dtype)
        return self.scale * output, split(network)[2]

    def weights(self, parameters: Any, other: Any) -> Weights:
        """With an optimiser that has seen nothing yet."""
        return Weights(parameters, other, restored(self.optimizer).init(parameters))

    def move(
        self, parameters: Any, optimizer: Any, loss: Array, gradient: Any, function: Callable[[Any], Array]
    ) -> tuple[Any, Any]:
        """Parameters after a step of the optimiser, and its state; ``function`` is for those that search along a
        line."""
        updates, optimizer = restored(self.optimizer).update(
            gradient, optimizer, parameters, value=loss, grad=gradient, value_fn=function
        )
        return optax.apply_updates(parameters, updates), optimizer


def generator(
    network: nnx.Module | None,
    image: ArrayLike | None,
    optimizer: optax.GradientTransformation,
    *,
    shape: tuple[int, ...],
    dtype: Any,
    key: Array,
    input_key: Array,
) -> tuple[Generator, Weights]:
    """Of images of this shape and dtype in the scale 1, from the network or the default one, and what it sees:
    ``image``, or noise."""
    seen = None if image is None else _standardised(image, shape, dtype)
    if network is None:
        if len(shape) not in (2, 3):
            raise ValueError(f"network must be given for images of shape {shape}: the default takes 2 or 3 axes")
        channels = _CHANNELS if seen is None else seen.shape[-1]
        graphdef, (parameters, other) = _default_graph(len(shape), channels), _draw(len(shape), channels, key)
    else:
        graphdef, parameters, other = split(network)
        channels = getattr(network, "in_channels", 0)
    if seen is None:
        if not channels:
            raise ValueError("input must be given for a network that has no in_channels")
        seen = normal(input_key, (*shape, channels), dtype)
    # In the data's precision: the steps of an optimiser are rounded to that of the parameters.
    parameters, other = jax.tree.map(
        lambda leaf: leaf.astype(jnp.promote_types(leaf.dtype, dtype)) if _is_float(leaf) else leaf,
        (parameters, other),
    )
    output = jax.eval_shape(lambda p, o, z: nnx.merge(graphdef, p, o, copy=True)(z), parameters, other, seen)
    if output.shape != (*shape, 1):
        raise ValueError(f"network must turn {seen.shape} into {(*shape, 1)}, got {output.shape}")
    made = Generator(seen, jnp.ones((), dtype), as_operands(optax.with_extra_args_support(optimizer)), graphdef)
    return made, made.weights(parameters, other)


def fit_step(weights: Weights, operands: tuple[Generator, Array]) -> tuple[Weights, dict[str, Array]]:
    """A step of the optimiser towards an image: on the mean square of the difference, in units of the scale."""
    make, image = operands

    def objective(parameters: Any) -> tuple[Array, Any]:
        volume, other = make.image(parameters, weights.other)
        return jnp.mean(((volume - image) / make.scale) ** 2), other

    value_of = lambda parameters: objective(parameters)[0]  # noqa: E731
    other = weights.other
    if jax.tree.leaves(other):
        (loss, other), gradient = jax.value_and_grad(objective, has_aux=True)(weights.parameters)
    else:
        loss, gradient = evaluated(value_of, weights.parameters, weights.optimizer, exact=True)
    parameters, optimizer = make.move(weights.parameters, weights.optimizer, loss, gradient, value_of)
    return Weights(parameters, other, optimizer), {"loss": loss}


def split(network: nnx.Module) -> tuple[Any, Any, Any]:
    """The graph, parameters, and what else there is."""
    parts: Any = nnx.split(network, nnx.Param, ...)
    return parts


def normal(key: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """The same numbers in either precision, up to their rounding."""
    return jax.random.normal(key, shape, jnp.float32).astype(dtype)


@cache
def adam() -> optax.GradientTransformation:
    """One for all runs, so that their compiled steps are the same.

    With the usual eps, 1e-8, steps stay as long as ever when the gradient has become small, and some runs blow up.
    """
    return optax.adam(0.01, eps=1e-5)


@cache
def lbfgs() -> optax.GradientTransformation:
    """With a line search; one for all runs, likewise."""
    return optax.lbfgs()


def _is_float(leaf: Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.floating)


def _make(ndim: int, channels: int, key: Array) -> UNet:
    return UNet(ndim, in_channels=channels, final_activation=nnx.softplus, rngs=nnx.Rngs(key))


@partial(jax.jit, static_argnums=(0, 1))
def _draw(ndim: int, channels: int, key: Array) -> tuple[Any, Any]:
    """Parameters of the default network and its other state, in one program instead of one for each shape."""
    return split(_make(ndim, channels, key))[1:]


def _default_graph(ndim: int, channels: int) -> Any:
    return split(nnx.eval_shape(lambda: _make(ndim, channels, jax.random.key(0))))[0]


def _standardised(image: ArrayLike, shape: tuple[int, ...], dtype: Any) -> Array:
    """With channels, each of zero mean and unit variance (zero where it is constant)."""
    array = _validate.floats("input", image).astype(dtype)
    if array.shape == shape:
        array = array[..., None]
    if array.shape[:-1] != shape or array.shape[-1] == 0:
        raise ValueError(f"input must have shape {shape} or {(*shape, 'channels')}, got {array.shape}")
    axes = tuple(range(len(shape)))
    centred = array - jnp.mean(array, axes)
    return centred / or_one(jnp.sqrt(jnp.mean(centred**2, axes)))
