"""Checks on the arguments of shapes, and their common family axis.

Concrete arguments are kept in NumPy until a shape is complete: JAX would compile every one of the small steps.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.geometry._fields import leaf_ranks

Array = jax.Array | np.ndarray

_ROTATION_TOLERANCE = 1e-4  # a float32 matrix composed of a few rotations


def center(value: ArrayLike | Sequence[ArrayLike], ndim: int | None = None) -> Array:
    """(ndim,) or (members, ndim)."""
    return _vector("center", value, (2, 3) if ndim is None else (ndim,))


def lengths(name: str, value: ArrayLike | Sequence[ArrayLike], axes: int) -> Array:
    """Positive lengths, a scalar for all axes, (axes,) or (members, axes)."""
    array = _floats(name, value, positive=True)
    if array.ndim > 2 or (array.ndim and array.shape[-1] not in (1, axes)):
        raise ValueError(f"{name} must be a scalar, ({axes},), (members, 1) or (members, {axes}), got {array.shape}")
    return library(array).broadcast_to(array, (*array.shape[:-1], axes))


def radii(value: ArrayLike | Sequence[ArrayLike]) -> Array:
    """(2,) or (members, 2), not negative, not both zero."""
    array = _vector("radii", value, (2,))
    if concrete(array) and ((array < 0).any() or (array.sum(-1) == 0).any()):
        raise ValueError(f"radii must not be negative and not both zero, got {array.tolist()}")
    return array


def number(name: str, value: ArrayLike, *, positive: bool = False) -> Array:
    """One finite number, or one per member."""
    array = _floats(name, value, positive=positive)
    if array.ndim > 1:
        raise ValueError(f"{name} must be a scalar or have one value per member, got shape {array.shape}")
    return array


def unit(name: str, value: ArrayLike | Sequence[ArrayLike], ndim: int | None = None) -> tuple[Array, Array]:
    """A vector's direction and length."""
    array = _vector(name, value, (2, 3) if ndim is None else (ndim,))
    norm = library(array).linalg.norm(array, axis=-1)
    if concrete(norm) and not (norm > 0).all():
        raise ValueError(f"{name} must not be zero, got {array.tolist()}")
    return array / norm[..., None], norm


def rotation(value: ArrayLike | None, ndim: int) -> Array:
    """(ndim, ndim) or (members, ndim, ndim), from a matrix, an angle or None."""
    array = _floats("rotation", 0.0 if value is None else value)
    if array.ndim <= 1:
        return _from_angle(array, ndim)
    if array.ndim > 3 or array.shape[-2:] != (ndim, ndim):
        raise ValueError(f"rotation must be an angle or a ({ndim}, {ndim}) matrix, got shape {array.shape}")
    if concrete(array):
        gap = np.abs(array @ np.swapaxes(array, -1, -2) - np.eye(ndim)).max()
        if gap > _ROTATION_TOLERANCE:
            raise ValueError(f"rotation must be orthonormal, got a matrix with |R R^T - 1| = {gap:g}")
    return array


def parts(value: Sequence[Any], shape: type, half_space: type) -> tuple[Any, ...]:
    """Shapes and half-spaces of one dimension, at least one a shape."""
    result = tuple(value)
    for part in result:
        if not isinstance(part, shape | half_space):
            raise TypeError(f"parts must be shapes or half-spaces, got {type(part).__name__}")
    if not any(isinstance(part, shape) for part in result):
        raise ValueError("parts must contain a shape: half-spaces alone have no bounded intersection")
    if len({part.ndim for part in result}) != 1:
        raise ValueError(f"parts must all be 2-D or all 3-D, got dimensions {[part.ndim for part in result]}")
    return result


def as_family(fields: dict[str, Array], cls: type) -> dict[str, jax.Array]:
    """All fields as JAX arrays, with the family's leading axis if one of them has it."""
    ranks = leaf_ranks(cls)
    size = family_size([x.shape[0] if x.ndim > ranks[n] else None for n, x in fields.items()], cls.__name__)
    if size is not None:
        fields = {n: x if x.ndim > ranks[n] else repeat(x, size) for n, x in fields.items()}
    return {n: jnp.asarray(x) for n, x in fields.items()}


def family_size(sizes: Sequence[int | None], name: str) -> int | None:
    """The common number of members, None for a single shape."""
    found = {n for n in sizes if n is not None}
    if len(found) > 1 or 0 in found:
        raise ValueError(f"the members of a family of {name} must agree in number and not be none, got {sorted(found)}")
    return found.pop() if found else None


def repeat(array: Array, size: int) -> Array:
    """One more axis in front, of ``size`` equal members."""
    return library(array).broadcast_to(array, (size, *array.shape))


def concrete(*arrays: Array) -> bool:
    """Whether none of the arrays is traced, so that their values may be looked at."""
    return not any(isinstance(a, jax.core.Tracer) for a in arrays)


def _floats(name: str, value: Any, *, positive: bool = False) -> Array:
    array = _validate.floats(name, value, positive=positive)
    return np.asarray(array) if concrete(array) else array


def _vector(name: str, value: ArrayLike | Sequence[ArrayLike], sizes: tuple[int, ...]) -> Array:
    array = _floats(name, value)
    if array.ndim not in (1, 2) or array.shape[-1] not in sizes:
        wanted = " or ".join(f"({n},)" for n in sizes)
        raise ValueError(f"{name} must have shape {wanted}, or one axis more for a family, got {array.shape}")
    return array


def library(*arrays: Array) -> Any:
    """NumPy, or JAX if an array is traced."""
    return np if concrete(*arrays) else jnp


def _from_angle(angle: Array, ndim: int) -> Array:
    """Counter-clockwise from x to y, as a matrix on (y, x) or (z, y, x)."""
    xp = library(angle)
    cos, sin = xp.cos(angle), xp.sin(angle)
    zero, one = xp.zeros_like(cos), xp.ones_like(cos)
    rows = [[cos, sin], [-sin, cos]] if ndim == 2 else [[one, zero, zero], [zero, cos, sin], [zero, -sin, cos]]
    return xp.stack([xp.stack(row, -1) for row in rows], -2)
