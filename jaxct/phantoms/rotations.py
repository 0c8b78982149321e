"""Rotation matrices from directions."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxct.phantoms import _checks

_SMALLEST_SINE = 1e-4


def frame(axis: ArrayLike | Sequence[ArrayLike], second: ArrayLike | Sequence[ArrayLike] | None = None) -> jax.Array:
    """A rotation matrix (3, 3) whose first column is along ``axis``: the ``rotation`` of a cylinder along it.

    Args:
        axis: (3,) in (z, y, x), any length.
        second: (3,), where the shape's second axis shall point; its part along ``axis`` is dropped. None: anywhere.

    Returns:
        Orthonormal columns (axis, second, axis x second) of determinant 1 in array order.

    Raises:
        ValueError: zero vectors, or ``second`` parallel to ``axis``.
        TypeError: values that are not real numbers.
    """
    first, _ = _checks.unit("axis", axis, 3)
    xp = _checks.library(first)
    if second is None:
        second = xp.eye(3, dtype=first.dtype)[xp.argmin(abs(first))]
    towards, _ = _checks.unit("second", second, 3)
    for name, vector in (("axis", first), ("second", towards)):
        if vector.ndim != 1:
            raise ValueError(f"{name} must have shape (3,), got {vector.shape}")
    xp = _checks.library(first, towards)
    across = towards - xp.sum(towards * first) * first
    sine = xp.linalg.norm(across)
    if _checks.concrete(sine) and sine < _SMALLEST_SINE:
        raise ValueError(f"second must not be parallel to axis, got {towards.tolist()} and {first.tolist()}")
    across = across / sine
    return jnp.asarray(xp.stack([first, across, xp.cross(first, across)], -1))
