"""Checks on what users pass to constructors. Shapes and dtypes always; values only where they are concrete."""

import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


def floats(name: str, value: ArrayLike | Sequence[Any], *, positive: bool = False, finite: bool = True) -> jax.Array:
    """A floating JAX array: float32 and float64 are kept (as far as x64 allows), half types become float32, integers
    the default float. Concrete values must be finite (unless ``finite`` is False: not NaN), and above zero if
    ``positive``."""
    array = _as_array(name, value)
    if not (jnp.issubdtype(array.dtype, np.floating) or jnp.issubdtype(array.dtype, np.integer)):
        raise TypeError(f"{name} must be real numbers, got {_kind(value, array)}")
    dtype = _working_dtype(array.dtype)
    if isinstance(array, jax.core.Tracer):
        return array.astype(dtype)
    with np.errstate(over="ignore"):
        rounded = np.asarray(array).astype(dtype)
    _check_values(name, rounded, positive, finite)
    return array if isinstance(array, jax.Array) and array.dtype == dtype else jnp.asarray(rounded)


def per_axis(name: str, value: ArrayLike | Sequence[Any], axes: int, *, positive: bool = False) -> jax.Array:
    """Shape (axes,): a scalar broadcasts over the axes."""
    array = floats(name, value, positive=positive)
    if array.shape not in ((), (axes,)):
        raise ValueError(f"{name} must be a scalar or have shape ({axes},), got shape {array.shape}")
    return jnp.broadcast_to(array, (axes,))


def per_view(name: str, value: ArrayLike, num_views: int, *, positive: bool = False) -> jax.Array:
    """Shape () for a value that all views share, or (num_views,)."""
    array = floats(name, value, positive=positive)
    if array.shape not in ((), (num_views,)):
        raise ValueError(
            f"{name} must be a scalar or have one value per view, shape ({num_views},), got shape {array.shape}"
        )
    return array


def detector_offset(value: ArrayLike | Sequence[Any], axes: int, num_views: int) -> jax.Array:
    """Shape (axes,) shared or (num_views, axes). A one-axis (2-D) detector also takes (num_views,)."""
    array = floats("detector_offset", value)
    if array.ndim == 0 or array.shape == (axes,):
        return jnp.broadcast_to(array, (axes,))
    if axes == 1 and array.shape == (num_views,):
        return array[:, None]
    if array.shape != (num_views, axes):
        wanted = "a scalar, (num_views,) or (num_views, 1)" if axes == 1 else "a scalar, (row, col) or (num_views, 2)"
        raise ValueError(f"detector_offset must be {wanted} with num_views = {num_views}, got shape {array.shape}")
    return array


def distances(origin: ArrayLike, detector: ArrayLike, num_views: int) -> tuple[jax.Array, jax.Array]:
    """Source to rotation centre and source to detector, each () or (num_views,), the second not the smaller.

    A detector before the rotation centre is nearly always the distance from the centre to the detector, or the two
    swapped, so it is refused here; vector geometries take it.
    """
    sod = per_view("source_origin_distance", origin, num_views, positive=True)
    sdd = per_view("source_detector_distance", detector, num_views, positive=True)
    if concrete(sod, sdd):
        gap = np.asarray(sdd, np.float64) - np.asarray(sod, np.float64)
        if (gap < 0).any():
            raise ValueError(
                "source_detector_distance is measured from the source and must not be less than "
                f"source_origin_distance, got a difference of {np.min(gap):g} mm"
            )
    return sod, sdd


def angles(value: ArrayLike) -> jax.Array:
    """Shape (views,), at least one."""
    array = floats("angles", value)
    if array.ndim != 1 or array.shape[0] == 0:
        raise ValueError(f"angles must have shape (views,) with at least one view, got shape {array.shape}")
    return array


def vectors(name: str, value: ArrayLike, shape: tuple[int, ...]) -> jax.Array:
    """Shape (views, ndim), exactly."""
    array = floats(name, value)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape (views, ndim) = {shape}, got {array.shape}")
    return array


def shape_tuple(name: str, value: Sequence[int], ranks: tuple[int, ...]) -> tuple[int, ...]:
    """A tuple of positive Python integers whose length is one of ``ranks``."""
    wanted = f"a tuple of {' or '.join(map(str, ranks))} positive integers"
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        raise TypeError(f"{name} must be {wanted}, got {value!r}")
    if any(isinstance(n, bool | np.bool_) for n in value):
        raise TypeError(f"{name} must be {wanted}, got {value!r}")
    try:
        shape = tuple(operator.index(n) for n in value)
    except TypeError as error:
        raise TypeError(f"{name} must be {wanted}, got {value!r}") from error
    if len(shape) not in ranks or min(shape, default=0) < 1:
        raise ValueError(f"{name} must be {wanted}, got {shape}")
    return shape


def count(name: str, value: int) -> int:
    """A positive Python integer."""
    try:
        number = operator.index(value)
    except TypeError as error:
        raise TypeError(f"{name} must be a positive integer, got {value!r}") from error
    if isinstance(value, bool) or number < 1:
        raise (TypeError if isinstance(value, bool) else ValueError)(
            f"{name} must be a positive integer, got {value!r}"
        )
    return number


def scalar(name: str, value: ArrayLike, *, positive: bool = False) -> jax.Array:
    """Shape ()."""
    array = floats(name, value, positive=positive)
    if array.shape != ():
        raise ValueError(f"{name} must be a scalar, got shape {array.shape}")
    return array


def choice(name: str, value: str, options: tuple[str, ...]) -> str:
    """One of a few mode strings."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {', '.join(map(repr, options))}, got {value!r}")
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, got {value!r}")
    return value


def concrete(*arrays: jax.Array | None) -> bool:
    """Whether none of the arrays is traced, so that their values may be looked at."""
    return not any(isinstance(a, jax.core.Tracer) for a in arrays)


def _as_array(name: str, value: Any) -> np.ndarray | jax.Array:
    if isinstance(value, np.ndarray | jax.Array):
        return value
    try:
        if any(isinstance(v, jax.core.Tracer) for v in jax.tree.leaves(value)):
            return jnp.asarray(value)
        return np.asarray(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} must be a number or an array of numbers, got {value!r}") from error


def _working_dtype(dtype: np.dtype) -> np.dtype:
    if not jnp.issubdtype(dtype, np.floating):
        return np.dtype(jnp.result_type(float))
    if dtype.itemsize < 4:
        return np.dtype(np.float32)
    return np.dtype(np.float32 if dtype.itemsize == 4 else jax.dtypes.canonicalize_dtype(np.float64))


def _check_values(name: str, values: np.ndarray, positive: bool, finite: bool) -> None:
    bad = (~np.isfinite(values) if finite else np.isnan(values)) | (values <= 0 if positive else False)
    if bad.any():
        wanted = ("positive and " if positive else "") + ("finite" if finite else "a number")
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(f"{name} must be {wanted}, got {values[where]:g}" + (f" at index {where}" if where else ""))


def _kind(value: Any, array: np.ndarray | jax.Array) -> str:
    return f"an array of {array.dtype}" if isinstance(value, np.ndarray | jax.Array) else repr(value)
