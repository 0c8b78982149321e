"""Parallel beams on a circular orbit."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.geometry._base import Geometry
from jaxct.geometry._fields import register, set_fields
from jaxct.geometry._orbit import column, orbit_frame
from jaxct.geometry.vectors import ParallelVectors


@register(angles=0, pixel_size=1, detector_offset=1)
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class ParallelBeam(Geometry):
    """Parallel rays, turning about the z axis.

    At angle a (counter-clockwise seen from +z) the rays run along (0, cos a, -sin a), columns along (0, sin a, cos a)
    and rows along (1, 0, 0), all in (z, y, x). Column position is therefore ``t = x cos a + y sin a``. Pixel j of an
    axis has its centre at ``detector_offset + (j - (n - 1)/2) * pixel_size``.

    Args:
        angles: (views,), in radians, in any order.
        detector_shape: (rows, cols), in 2-D (cols,).
        pixel_size: in mm, a scalar or (row, col); stored with one entry per detector axis.
        detector_offset: in mm along the detector's axes: a scalar for all axes, (row, col), or (views, 2); in 2-D a
            scalar, (views,) or (views, 1). Stored as (axes,) or (views, axes). A sequence of two is always (row, col).

    Raises:
        ValueError: a wrong shape, no views, a non-finite value, a pixel size that is not positive.
        TypeError: a shape that is not made of integers, values that are not real numbers.
    """

    angles: jax.Array
    pixel_size: jax.Array
    detector_offset: jax.Array
    detector_shape: tuple[int, ...]

    def __init__(
        self,
        angles: ArrayLike,
        *,
        detector_shape: Sequence[int],
        pixel_size: ArrayLike | Sequence[ArrayLike] = 1.0,
        detector_offset: ArrayLike | Sequence[ArrayLike] = 0.0,
    ):
        angles = _validate.angles(angles)
        detector_shape = _validate.shape_tuple("detector_shape", detector_shape, (1, 2))
        axes = len(detector_shape)
        set_fields(
            self,
            angles=angles,
            pixel_size=_validate.per_axis("pixel_size", pixel_size, axes, positive=True),
            detector_offset=_validate.detector_offset(detector_offset, axes, angles.shape[0]),
            detector_shape=detector_shape,
        )

    def to_vectors(self) -> ParallelVectors:
        """Per-view vectors, with the detector through the rotation axis (along the rays its place does not matter)."""
        ray, row, col = orbit_frame(self)
        center = column(self.detector_offset[..., -1]) * col
        row_axis = None
        if row is not None:
            center = center + column(self.detector_offset[..., 0]) * row
            row_axis = self.pixel_size[0] * row
        center = jnp.broadcast_to(center, ray.shape)
        return ParallelVectors.unchecked(ray, center, row_axis, self.pixel_size[-1] * col, self.detector_shape)
