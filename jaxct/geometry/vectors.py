"""Geometries given view by view as vectors: what the projectors see, and the most general way to describe a scan."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.geometry._base import Geometry
from jaxct.geometry._fields import build, register, set_fields

# The smallest sine between a ray and the detector, or between the detector's axes, that float32 vectors still resolve.
_MIN_SINE = 1e-6
# How far (cosine) a curved detector's tangent may lean before it is no tangent to the arc about the source.
_MAX_TANGENT_COSINE = 1e-4


@register(direction=1, detector_center=1, row_axis=1, col_axis=1)
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class ParallelVectors(Geometry):
    """Parallel rays along ``direction``, one per detector pixel.

    Pixel (r, c) of a (rows, cols) detector has its centre at
    ``detector_center + (r - (rows - 1)/2) * row_axis + (c - (cols - 1)/2) * col_axis``.
    Arrays are (views, 3) in (z, y, x), in 2-D (views, 2) in (y, x) with ``row_axis=None``; lengths in mm.

    Args:
        direction: direction of the rays; its length does not matter.
        detector_center: the middle of the detector, offset included.
        row_axis: step from one row to the next (its length is the pixel pitch); None in 2-D.
        col_axis: step from one column to the next.
        detector_shape: (rows, cols), in 2-D (cols,).

    Raises:
        ValueError: shapes that disagree, non-finite values, axes that are parallel or zero, rays along the detector.
        TypeError: values that are not real numbers.
    """

    direction: jax.Array
    detector_center: jax.Array
    row_axis: jax.Array | None
    col_axis: jax.Array
    detector_shape: tuple[int, ...]

    def __init__(
        self,
        direction: ArrayLike,
        detector_center: ArrayLike,
        row_axis: ArrayLike | None,
        col_axis: ArrayLike,
        detector_shape: Sequence[int],
    ):
        detector_shape = _validate.shape_tuple("detector_shape", detector_shape, (1, 2))
        direction = _first_vectors("direction", direction, len(detector_shape) + 1)
        center, row, col = _detector_vectors(detector_center, row_axis, col_axis, direction.shape)
        direction, center, row, col = _one_dtype(direction, center, row, col)
        if _validate.concrete(direction, row, col):
            _check_detector("direction", direction, row, col)
        set_fields(
            self,
            direction=direction,
            detector_center=center,
            row_axis=row,
            col_axis=col,
            detector_shape=detector_shape,
        )

    @classmethod
    def unchecked(
        cls,
        direction: jax.Array,
        detector_center: jax.Array,
        row_axis: jax.Array | None,
        col_axis: jax.Array,
        detector_shape: tuple[int, ...],
    ) -> "ParallelVectors":
        """Build from vectors derived by formula, without the constructor's checks."""
        return build(
            cls,
            direction=direction,
            detector_center=detector_center,
            row_axis=row_axis,
            col_axis=col_axis,
            detector_shape=detector_shape,
        )

    def to_vectors(self) -> "ParallelVectors":
        """Itself."""
        return self

    def pixel_centers(self) -> jax.Array:
        """World positions of the pixel centres, (views, rows, cols, 3) or (views, cols, 2)."""
        return _flat_pixel_centers(self)


@register(source=1, detector_center=1, row_axis=1, col_axis=1)
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class ConeVectors(Geometry):
    """Rays from a point source to every pixel of a flat or curved detector, for cone (3-D) and fan (2-D) beams.

    Flat: pixel (r, c) has its centre at
    ``detector_center + (r - (rows - 1)/2) * row_axis + (c - (cols - 1)/2) * col_axis``.

    Curved (equiangular): the detector is an arc, in 3-D a cylinder whose axis runs through the source along
    ``row_axis``. ``detector_center`` lies on it, ``col_axis`` is the tangent there times the arc-length pitch. With R
    the distance from the source to ``detector_center`` perpendicular to ``row_axis``, e_n the unit vector along that
    way and e_c along ``col_axis``, pixel (r, c) lies at the angle ``gamma = (c - (cols - 1)/2) |col_axis| / R``, at
    ``detector_center + R (cos gamma - 1) e_n + R sin gamma e_c + (r - (rows - 1)/2) row_axis``.

    Arrays are (views, 3) in (z, y, x), in 2-D (views, 2) in (y, x) with ``row_axis=None``; lengths in mm.

    Args:
        source: position of the source.
        detector_center: the middle of the detector, offset included.
        row_axis: step from one row to the next (its length is the pixel pitch); None in 2-D.
        col_axis: step from one column to the next.
        detector_shape: (rows, cols), in 2-D (cols,).
        detector: "flat" or "curved".

    Raises:
        ValueError: shapes that disagree, non-finite values, axes that are parallel or zero, a source in the plane of
            the detector, a curved detector whose ``col_axis`` is not a tangent.
        TypeError: values that are not real numbers.
    """

    source: jax.Array
    detector_center: jax.Array
    row_axis: jax.Array | None
    col_axis: jax.Array
    detector_shape: tuple[int, ...]
    detector: str

    def __init__(
        self,
        source: ArrayLike,
        detector_center: ArrayLike,
        row_axis: ArrayLike | None,
        col_axis: ArrayLike,
        detector_shape: Sequence[int],
        detector: str = "flat",
    ):
        detector = _validate.choice("detector", detector, ("flat", "curved"))
        detector_shape = _validate.shape_tuple("detector_shape", detector_shape, (1, 2))
        source = _first_vectors("source", source, len(detector_shape) + 1)
        center, row, col = _detector_vectors(detector_center, row_axis, col_axis, source.shape)
        source, center, row, col = _one_dtype(source, center, row, col)
        if _validate.concrete(source, center, row, col):
            _check_detector("detector_center - source", center - source, row, col)
            if detector == "curved":
                _check_tangent(center - source, row, col)
        set_fields(
            self,
            source=source,
            detector_center=center,
            row_axis=row,
            col_axis=col,
            detector_shape=detector_shape,
            detector=detector,
        )

    @classmethod
    def unchecked(
        cls,
        source: jax.Array,
        detector_center: jax.Array,
        row_axis: jax.Array | None,
        col_axis: jax.Array,
        detector_shape: tuple[int, ...],
        detector: str = "flat",
    ) -> "ConeVectors":
        """Build from vectors derived by formula, without the constructor's checks."""
        return build(
            cls,
            source=source,
            detector_center=detector_center,
            row_axis=row_axis,
            col_axis=col_axis,
            detector_shape=detector_shape,
            detector=detector,
        )

    def to_vectors(self) -> "ConeVectors":
        """Itself."""
        return self

    def pixel_centers(self) -> jax.Array:
        """World positions of the pixel centres, (views, rows, cols, 3) or (views, cols, 2)."""
        return _flat_pixel_centers(self) if self.detector == "flat" else _curved_pixel_centers(self)


def _steps(count: int, dtype: np.dtype) -> jax.Array:
    return jnp.arange(count, dtype=dtype) - (count - 1) / 2


def _flat_pixel_centers(v: ParallelVectors | ConeVectors) -> jax.Array:
    cols = _steps(v.detector_shape[-1], v.col_axis.dtype)[:, None] * v.col_axis[:, None, :]
    line = v.detector_center[:, None, :] + cols
    return line if v.row_axis is None else line[:, None] + _row_shifts(v.row_axis, v.detector_shape[0])


def _curved_pixel_centers(v: ConeVectors) -> jax.Array:
    to_center = v.detector_center - v.source
    if v.row_axis is not None:
        row_unit = v.row_axis / jnp.linalg.norm(v.row_axis, axis=-1, keepdims=True)
        to_center = to_center - jnp.sum(to_center * row_unit, -1, keepdims=True) * row_unit
    radius = jnp.linalg.norm(to_center, axis=-1, keepdims=True)
    pitch = jnp.linalg.norm(v.col_axis, axis=-1, keepdims=True)
    gamma = (_steps(v.detector_shape[-1], pitch.dtype) * pitch / radius)[..., None]
    # cos - 1 loses its digits at small angles; -2 sin^2(gamma/2) keeps them.
    along = -2 * jnp.sin(gamma / 2) ** 2 * to_center[:, None, :]
    line = v.detector_center[:, None, :] + along + jnp.sin(gamma) * (radius / pitch * v.col_axis)[:, None, :]
    return line if v.row_axis is None else line[:, None] + _row_shifts(v.row_axis, v.detector_shape[0])


def _row_shifts(row_axis: jax.Array, rows: int) -> jax.Array:
    return (_steps(rows, row_axis.dtype)[:, None] * row_axis[:, None, :])[:, :, None, :]


def _first_vectors(name: str, value: ArrayLike, ndim: int) -> jax.Array:
    array = _validate.floats(name, value)
    if array.ndim != 2 or array.shape[0] == 0 or array.shape[1] != ndim:
        raise ValueError(f"{name} must have shape (views, {ndim}) with at least one view, got {array.shape}")
    return array


def _detector_vectors(
    center: ArrayLike, row: ArrayLike | None, col: ArrayLike, shape: tuple[int, ...]
) -> tuple[jax.Array, jax.Array | None, jax.Array]:
    if (row is None) != (shape[1] == 2):
        raise ValueError(f"row_axis must be None in 2-D and given in 3-D, got {row!r} with {shape[1]} components")
    return (
        _validate.vectors("detector_center", center, shape),
        None if row is None else _validate.vectors("row_axis", row, shape),
        _validate.vectors("col_axis", col, shape),
    )


def _one_dtype(
    first: jax.Array, center: jax.Array, row: jax.Array | None, col: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array | None, jax.Array]:
    """The same vectors in the widest of their float types."""
    dtype = jnp.result_type(first, center, col, col if row is None else row)
    row = None if row is None else row.astype(dtype)
    return first.astype(dtype), center.astype(dtype), row, col.astype(dtype)


def _check_detector(name: str, ray: jax.Array, row: jax.Array | None, col: jax.Array) -> None:
    """The detector spans a line or plane that the rays cross."""
    axes = [np.asarray(a, np.float64) for a in (ray, row, col) if a is not None]
    names = [name, "row_axis", "col_axis"] if row is not None else [name, "col_axis"]
    for label, vectors in zip(names, axes, strict=True):
        _refuse(label, "must not be zero", ~(np.linalg.norm(vectors, axis=-1) > 0), vectors)
    units = np.stack([a / np.linalg.norm(a, axis=-1, keepdims=True) for a in axes], -2)
    if row is not None:
        sine = np.linalg.norm(np.cross(units[:, 1], units[:, 2]), axis=-1)
        _refuse("row_axis", "must not be parallel to col_axis", sine < _MIN_SINE, axes[1])
    _refuse(name, "must not lie in the detector", np.abs(np.linalg.det(units)) < _MIN_SINE, axes[0])


def _check_tangent(to_center: jax.Array, row: jax.Array | None, col: jax.Array) -> None:
    axes = [np.asarray(a, np.float64) for a in (col, to_center, row) if a is not None]
    units = [a / np.linalg.norm(a, axis=-1, keepdims=True) for a in axes]
    for label, unit in zip(("detector_center - source", "row_axis"), units[1:], strict=False):
        cosine = np.abs(np.sum(units[0] * unit, -1))
        _refuse(
            "col_axis", f"of a curved detector must be perpendicular to {label}", cosine > _MAX_TANGENT_COSINE, axes[0]
        )


def _refuse(name: str, rule: str, bad: np.ndarray, vectors: np.ndarray) -> None:
    if bad.any():
        view = int(np.argmax(bad))
        raise ValueError(f"{name} {rule}, got {tuple(vectors[view].tolist())} in view {view}")
