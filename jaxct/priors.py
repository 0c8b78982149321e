"""Penalties on images: how unlikely one is before any data are looked at. Functions of arrays, any number of axes."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def differences(x: jax.Array, spacing: ArrayLike | Sequence[float] = 1.0) -> jax.Array:
    """Forward differences along every axis, ``d_k[i] = (x[i + e_k] - x[i]) / spacing_k``, 0 at the last index.

    Args:
        x: of any shape.
        spacing: distance between neighbours, one for all axes or one for each; with the voxel size in mm the result is
            per mm.

    Returns:
        ``(x.ndim, *x.shape)``.
    """
    steps = jnp.broadcast_to(jnp.asarray(spacing, x.dtype), (x.ndim,))
    return jnp.stack([_difference(x, axis) / steps[axis] for axis in range(x.ndim)])


def transposed_differences(d: jax.Array, spacing: ArrayLike | Sequence[float] = 1.0) -> jax.Array:
    """The exact transpose of :func:`differences`: minus the divergence of the field d."""
    ndim = d.ndim - 1
    steps = jnp.broadcast_to(jnp.asarray(spacing, d.dtype), (ndim,))
    return sum((_transposed(d[axis], axis) / steps[axis] for axis in range(ndim)), jnp.zeros(d.shape[1:], d.dtype))


def _difference(x: jax.Array, axis: int) -> jax.Array:
    return jnp.diff(x, axis=axis, append=jax.lax.slice_in_dim(x, x.shape[axis] - 1, None, axis=axis))


def _transposed(d: jax.Array, axis: int) -> jax.Array:
    """The last difference is always 0, whatever d holds there."""
    inner = jax.lax.slice_in_dim(d, 0, d.shape[axis] - 1, axis=axis)
    pad = [(0, 0)] * d.ndim
    before, after = pad.copy(), pad.copy()
    before[axis], after[axis] = (1, 0), (0, 1)
    return jnp.pad(inner, before) - jnp.pad(inner, after)
