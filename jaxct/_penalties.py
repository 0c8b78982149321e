"""What penalties on images share: checks of their arguments, pairs of neighbours, lengths without a kink."""

import itertools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxct.geometry import _validate

NEIGHBOURHOODS = ("faces", "full")
Slices = tuple[slice, ...]


def smoothed_length(square: jax.Array, smoothing: jax.Array) -> jax.Array:
    """``sqrt(square + eps^2) - eps`` without its cancellation, the gradient 0 where both are."""
    total = square + smoothing**2
    zero = total == 0
    return jnp.where(zero, 0, square / (jnp.sqrt(jnp.where(zero, 1, total)) + smoothing))


def half_square(a: jax.Array, b: jax.Array) -> jax.Array:
    return (a - b) ** 2 / 2


def relative_difference_term(a: jax.Array, b: jax.Array, gamma: jax.Array, epsilon: jax.Array) -> jax.Array:
    scale = a + b + gamma * jnp.abs(a - b) + epsilon
    return jnp.where(scale > 0, (a - b) ** 2 / jnp.where(scale > 0, scale, 1), 0)


def neighbours(ndim: int, neighbourhood: str) -> Iterator[tuple[Slices, Slices, tuple[int, ...]]]:
    """Slices of an image that hold voxels and their neighbours, and where these lie; one of two opposite directions."""
    cuts = {-1: (slice(1, None), slice(None, -1)), 0: (slice(None), slice(None)), 1: (slice(None, -1), slice(1, None))}
    for offset in itertools.product((-1, 0, 1), repeat=ndim):
        if offset > (0,) * ndim and (neighbourhood == "full" or np.abs(offset).sum() == 1):
            yield tuple(cuts[o][0] for o in offset), tuple(cuts[o][1] for o in offset), offset


def as_image(
    x: ArrayLike, weights: ArrayLike | None = None, mask: ArrayLike | None = None
) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
    """The image in a working float type, zero where masked out; weights and mask in its shape."""
    image = jnp.asarray(x)
    if jnp.issubdtype(image.dtype, np.integer):
        image = image.astype(jnp.result_type(float))
    if not jnp.issubdtype(image.dtype, np.floating):
        raise TypeError(f"x must be real numbers, got an array of {image.dtype}")
    image = image.astype(jnp.promote_types(image.dtype, jnp.float32))
    factors = None
    if weights is not None:
        factors = fit_to("weights", _validate.floats("weights", weights).astype(image.dtype), image.shape)
    if mask is None:
        return image, factors, None
    inside = jnp.asarray(mask)
    if inside.dtype != bool:
        raise TypeError(f"mask must be boolean, got an array of {inside.dtype}")
    inside = fit_to("mask", inside, image.shape)
    return jnp.where(inside, image, 0), factors, inside


def fit_to(name: str, array: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    try:
        return jnp.broadcast_to(array, shape)
    except ValueError as error:
        raise ValueError(f"{name} must broadcast to the image's shape {shape}, got {array.shape}") from error


def not_negative(name: str, value: ArrayLike) -> jax.Array:
    with jax.ensure_compile_time_eval():  # inside jit, too, a number is looked at now
        number = _validate.scalar(name, value)
        require_not_negative(name, number)
    return number


def require_not_negative(name: str, value: ArrayLike) -> None:
    """As it is given: what is made of it is traced under jit."""
    with jax.ensure_compile_time_eval():
        array = jnp.asarray(value)
        if _validate.concrete(array) and array.size and (least := float(jnp.min(array))) < 0:
            raise ValueError(f"{name} must not be negative, got {least:g}")
