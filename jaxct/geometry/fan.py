"""Fan beams on a circular orbit (2-D)."""

import dataclasses
from collections.abc import Sequence

import jax
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.geometry._base import Geometry
from jaxct.geometry._fields import register, set_fields
from jaxct.geometry._orbit import beam_vectors, orbit_frame
from jaxct.geometry.vectors import ConeVectors


@register(angles=0, source_origin_distance=0, source_detector_distance=0, pixel_size=1, detector_offset=1)
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class FanBeam(Geometry):
    """A point source and a line detector, turning about the origin of the (y, x) plane.

    At angle a (counter-clockwise) the source is at ``source_origin_distance * (-cos a, sin a)`` and the foot of the
    perpendicular on the detector at ``(source_detector_distance - source_origin_distance) * (cos a, -sin a)``, columns
    along (sin a, cos a), all in (y, x). Pixel c has its centre at ``detector_offset + (c - (cols - 1)/2) * pixel_size``
    along the
    detector: on its line if flat; if curved, as arc length on the circle about the source.

    Args:
        angles: (views,), in radians, in any order.
        source_origin_distance: source to rotation centre in mm, a scalar or (views,).
        source_detector_distance: source to detector in mm, a scalar or (views,); not less than
            ``source_origin_distance`` (``ConeVectors`` takes a detector between the source and the rotation centre).
        detector_shape: (cols,).
        pixel_size: in mm; stored with shape (1,).
        detector_offset: in mm along the detector: a scalar, (views,) or (views, 1). Stored as (1,) or (views, 1).
        detector: "flat" (equidistant) or "curved" (equiangular, centred on the source).

    Raises:
        ValueError: a wrong shape, no views, a non-finite value, a size or distance that is not positive, distances that
            put the detector before the rotation centre.
        TypeError: a shape that is not made of integers, values that are not real numbers.
    """

    angles: jax.Array
    source_origin_distance: jax.Array
    source_detector_distance: jax.Array
    pixel_size: jax.Array
    detector_offset: jax.Array
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
        detector: str = "flat",
    ):
        angles = _validate.angles(angles)
        sod, sdd = _validate.distances(source_origin_distance, source_detector_distance, angles.shape[0])
        set_fields(
            self,
            angles=angles,
            source_origin_distance=sod,
            source_detector_distance=sdd,
            pixel_size=_validate.per_axis("pixel_size", pixel_size, 1, positive=True),
            detector_offset=_validate.detector_offset(detector_offset, 1, angles.shape[0]),
            detector_shape=_validate.shape_tuple("detector_shape", detector_shape, (1,)),
            detector=_validate.choice("detector", detector, ("flat", "curved")),
        )

    def to_vectors(self) -> ConeVectors:
        """Per-view vectors with two components (y, x)."""
        return beam_vectors(
            orbit_frame(self),
            source_origin_distance=self.source_origin_distance,
            source_detector_distance=self.source_detector_distance,
            pixel_size=self.pixel_size,
            detector_offset=self.detector_offset,
            source_z=None,
            detector_shape=self.detector_shape,
            detector=self.detector,
        )
