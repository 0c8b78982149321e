"""Checks of arguments that several algorithms take.

Values that are known are looked at, inside jit as well; traced ones are not.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.reconstruct.subsets import Subsets, ordered_subsets


def check_relaxation(relaxation: ArrayLike) -> Array:
    """A factor of steps, above 0 and below 2."""
    with jax.ensure_compile_time_eval():  # inside jit, too, a number is looked at now
        value = _validate.scalar("relaxation", relaxation)
        if _validate.concrete(value) and not 0 < value < 2:
            raise ValueError(f"relaxation must be above 0 and below 2, got {value:g}")
    return value


def check_positive(name: str, value: ArrayLike, dtype: Any) -> Array:
    """A number above 0."""
    with jax.ensure_compile_time_eval():
        return _validate.scalar(name, value, positive=True).astype(dtype)


def check_bounds(
    lower: ArrayLike | None, upper: ArrayLike | None, shape: tuple[int, ...], dtype: Any
) -> tuple[Array | None, Array | None]:
    """Bounds of voxels that nowhere cross, each None or an array that broadcasts to ``shape``; may be infinite."""
    with jax.ensure_compile_time_eval():
        low, high = _bound("lower", lower, shape, dtype), _bound("upper", upper, shape, dtype)
        if low is not None and high is not None and _validate.concrete(low, high):
            crossed = np.asarray(low > high)
            if crossed.any():
                first = (b[crossed][0] for b in np.broadcast_arrays(np.asarray(low), np.asarray(high)))
                raise ValueError("lower must nowhere be above upper, got {:g} above {:g}".format(*first))
    return low, high


def check_nonnegative(name: str, value: ArrayLike, shape: tuple[int, ...], dtype: Any) -> Array:
    """Finite numbers of which none is negative, that broadcast to ``shape``."""
    with jax.ensure_compile_time_eval():
        array = _broadcasting(name, _validate.floats(name, value), shape).astype(dtype)
        require_nonnegative(name, array)
    return array


def check_reals(name: str, value: ArrayLike, shape: tuple[int, ...], dtype: Any) -> Array:
    """Finite numbers that broadcast to ``shape``."""
    with jax.ensure_compile_time_eval():
        return _broadcasting(name, _validate.floats(name, value), shape).astype(dtype)


def require_nonnegative(name: str, value: ArrayLike) -> None:
    """NaN passes, so that it shows in the result."""
    with jax.ensure_compile_time_eval():
        array = jnp.asarray(value)
        if _validate.concrete(array) and array.size and (least := float(jnp.min(array))) < 0:
            raise ValueError(f"{name} must not be negative, got {least:g}")


def check_key(key: Any) -> Array | None:
    """A single random key, or None."""
    if key is None:
        return None
    if not (isinstance(key, Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ()):
        raise TypeError(f"key must be a single one of jax.random.key, got {key!r}")
    return key


def check_views(A: Any) -> int:  # noqa: N803
    """The number of views of an operator that can be restricted to some of them."""
    if not hasattr(type(A), "__getitem__"):
        raise TypeError(f"A must be an operator whose views can be taken, A[views], got a {type(A).__name__}")
    return A.out_shape[0]


def check_subsets(A: Any, num_subsets: int, order: str) -> Subsets | None:  # noqa: N803
    """Subsets of the views; None for all at once, which an operator without views can do."""
    subsets = ordered_subsets(A.out_shape[0] if num_subsets == 1 else check_views(A), num_subsets, order=order)
    return None if subsets.num_subsets == 1 else subsets


def _bound(name: str, value: ArrayLike | None, shape: tuple[int, ...], dtype: Any) -> Array | None:
    if value is None:
        return None
    return _broadcasting(name, _validate.floats(name, value, finite=False), shape).astype(dtype)


def _broadcasting(name: str, array: Array, shape: tuple[int, ...]) -> Array:
    try:
        fits = np.broadcast_shapes(array.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name} must broadcast to the shape {shape}, got shape {array.shape}")
    return array
