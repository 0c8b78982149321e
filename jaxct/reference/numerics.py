"""Small functions that stay finite, derivatives included, where a plain formula would divide zero by zero."""

import jax
import jax.numpy as jnp


def safe_divide(numerator: jax.Array, denominator: jax.Array, otherwise: float = 0.0) -> jax.Array:
    """``numerator / denominator``, or ``otherwise`` (with zero derivatives) where the denominator is zero."""
    nonzero = denominator != 0
    # Both branches of a `where` are differentiated, so the division itself must never see the zero.
    return jnp.where(nonzero, numerator / jnp.where(nonzero, denominator, 1), otherwise)


def overlap(a0: jax.Array, a1: jax.Array, b0: jax.Array, b1: jax.Array) -> jax.Array:
    """Length of the intersection of the intervals [a0, a1] and [b0, b1]."""
    return jnp.maximum(jnp.minimum(a1, b1) - jnp.maximum(a0, b0), 0)


def linear_weights(position: jax.Array, count: int) -> jax.Array:
    """Weights of linear interpolation at ``position`` between ``count`` samples at 0, 1, ..., count - 1.

    Shape ``(*position.shape, count)``. Samples outside the range count as zero: the weights of a position beyond the
    first or last sample fade to nothing over one sample distance.
    """
    return jnp.maximum(1 - jnp.abs(position[..., None] - jnp.arange(count)), 0)


def dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """Inner product over the last axis, whose length is the space's dimension (never a matrix unit's low precision)."""
    return jnp.sum(a * b, axis=-1)
