"""Cone beams on a circular or helical orbit."""

import dataclasses
from collections.abc import Sequence

import jax
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.geometry._base import Geometry
from jaxct.geometry._fields import register, set_fields
from jaxct.geometry._orbit import beam_vectors, orbit_frame
from jaxct.geometry.vectors import ConeVectors


@register(angles=0, source_origin_distance=0, source_detector_distance=0, pixel_size=1, detector_offset=1, source_z=0)
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class ConeBeam(Geometry):
    """A point source and an area detector, turning about the z axis.

    At angle a (counter-clockwise seen from +z), in (z, y, x), the source is at
    ``source_origin_distance * (0, -cos a, sin a) + source_z * (1, 0, 0)`` and the foot of the perpendicular on the
    detector at ``(source_detector_distance - source_origin_distance) * (0, cos a, -sin a) + source_z * (1, 0, 0)``,
    columns along (0, sin a, cos a) and rows along (1, 0, 0). Pixel j of an axis has its centre at
    ``detector_offset + (j - (n - 1)/2) * pixel_size`` along it; on a curved detector the columns are counted as arc
    length on the cylinder about the source.

    Args:
        angles: (views,), in radians, in any order.
        source_origin_distance: source to rotation axis in mm, a scalar or (views,).
        source_detector_distance: source to detector in mm, a scalar or (views,); not less than
            ``source_origin_distance`` (``ConeVectors`` takes a detector between the source and the rotation axis).
        detector_shape: (rows, cols).
        pixel_size: in mm, a scalar or (row, col); stored with shape (2,).
        detector_offset: in mm: a scalar for both axes, (row, col), or (views, 2). Stored as (2,) or (views, 2). A
            sequence of two is always (row, col).
        source_z: height of the source in mm, a scalar or (views,); the detector moves with it.
        detector: "flat" or "curved" (equiangular columns, a cylinder along z through the source).

    Raises:
        ValueError: a wrong shape, no views, a non-finite value, a size or distance that is not positive, distances that
            put the detector before the rotation axis.
        TypeError: a shape that is not made of integers, values that are not real numbers.
    """

    angles: jax.Array
    source_origin_distance: jax.Array
    source_detector_distance: jax.Array
    pixel_size: jax.Array
    detector_offset: jax.Array
    source_z: jax.Array
    detector_shape: tuple[int, ...]
    detector: str

    def __init__(
        self,
        angles: ArrayLike,
        *,
        source_origin_distance: ArrayLike,
        source_detector_distance: ArrayLike,
        detector_shape: Sequence[int],
        pixel_size: ArrayLike | Sequence[ArrayLike],
        detector_offset: ArrayLike | Sequence[ArrayLike] = 0.0,
        source_z: ArrayLike = 0.0,
        detector: str = "flat",
    ):
        angles = _validate.angles(angles)
        num_views = angles.shape[0]
        sod, sdd = _validate.distances(source_origin_distance, source_detector_distance, num_views)
        set_fields(
            self,
            angles=angles,
            source_origin_distance=sod,
            source_detector_distance=sdd,
            pixel_size=_validate.per_axis("pixel_size", pixel_size, 2, positive=True),
            detector_offset=_validate.detector_offset(detector_offset, 2, num_views),
            source_z=_validate.per_view("source_z", source_z, num_views),
            detector_shape=_validate.shape_tuple("detector_shape", detector_shape, (2,)),
            detector=_validate.choice("detector", detector, ("flat", "curved")),
        )

    def to_vectors(self) -> ConeVectors:
        """Per-view vectors with three components (z, y, x)."""
        return beam_vectors(
            orbit_frame(self),
            source_origin_distance=self.source_origin_distance,
            source_detector_distance=self.source_detector_distance,
            pixel_size=self.pixel_size,
            detector_offset=self.detector_offset,
            source_z=self.source_z,
            detector_shape=self.detector_shape,
            detector=self.detector,
        )
