"""Quotients and roots at zero, where solvers that have arrived stand. NaN stays NaN."""

import jax
import jax.numpy as jnp
from jax import Array


@jax.jit
def reciprocal(sums: Array) -> Array:
    """1 / sums, 0 where the sums vanish."""
    # Without the margin a sum that is nothing but rounding would make an enormous weight, or an infinite one.
    vanishes = sums <= jnp.finfo(sums.dtype).eps * jnp.max(sums)
    return jnp.where(vanishes, 0, 1 / jnp.where(vanishes, 1, sums))


def ratio(numerator: Array, denominator: Array) -> Array:
    """0 where the denominator is."""
    zero = denominator == 0
    return jnp.where(zero, 0, numerator / jnp.where(zero, 1, denominator))


def or_one(value: Array) -> Array:
    """1 for what is 0."""
    return jnp.where(value == 0, 1, value)


def where_weighed(data: Array, weights: Array) -> Array:
    """The data, 0 where they are not finite and of weight zero: zero times them would be NaN."""
    return jnp.where((weights == 0) & ~jnp.isfinite(data), 0, data)


def root(square: Array) -> Array:
    """The square root, its derivative at zero being zero."""
    zero = square == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, square)))


def norm(x: Array) -> Array:
    """The Euclidean norm of all entries; its derivative at zero is zero."""
    return root(jnp.vdot(x, x))
