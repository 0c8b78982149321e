"""Source trajectories: view angles, and cone beams that leave the circle.

Functions that need a scanner take the keyword arguments of :class:`ConeParameters`, which are those of
:class:`~jaxct.geometry.ConeBeam`. All are plain JAX, so that distances, pitches and amplitudes can be differentiated.
"""

import dataclasses
from collections.abc import Sequence
from typing import Required, TypedDict, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.geometry._orbit import beam_vectors, column, orbit_frame
from jaxct.geometry.cone import ConeBeam
from jaxct.geometry.vectors import ConeVectors


class ConeParameters(TypedDict, total=False):
    """What a cone-beam scanner is, whichever way it moves; see :class:`~jaxct.geometry.ConeBeam`."""

    source_origin_distance: Required[ArrayLike]
    source_detector_distance: Required[ArrayLike]
    detector_shape: Required[Sequence[int]]
    pixel_size: Required[ArrayLike | Sequence[ArrayLike]]
    detector_offset: ArrayLike | Sequence[ArrayLike]
    detector: str


def circle(num_views: int, *, arc: ArrayLike = 2 * np.pi, start: ArrayLike = 0.0) -> jax.Array:
    """Equally spaced angles ``start + arc * i / num_views``; the end of the arc is left out.

    Args:
        num_views: number of views.
        arc: in radians; 2 pi for a full turn, pi for a parallel beam, negative to turn clockwise.
        start: the first angle in radians.

    Returns:
        Angles (num_views,) in radians.
    """
    steps = jnp.arange(_validate.count("num_views", num_views)) / num_views
    return _validate.scalar("start", start) + _validate.scalar("arc", arc) * steps


def short_scan_range(
    *,
    source_detector_distance: ArrayLike,
    detector_shape: Sequence[int],
    pixel_size: ArrayLike | Sequence[ArrayLike],
    detector_offset: ArrayLike | Sequence[ArrayLike] = 0.0,
    detector: str = "flat",
) -> jax.Array:
    """The smallest arc from which every line through the field of view is measured, ``pi + 2 gamma``.

    ``gamma`` is the angle between the central ray and the detector's farther edge: ``atan(edge / distance)`` on a flat
    detector, ``edge / distance`` on a curved one (Parker 1982, Med. Phys. 9(2):254).

    Args:
        source_detector_distance: in mm, a scalar.
        detector_shape: (cols,) or (rows, cols).
        pixel_size: in mm, a scalar or one per detector axis.
        detector_offset: in mm, a scalar or one per detector axis.
        detector: "flat" or "curved".

    Returns:
        The arc in radians, a scalar.
    """
    shape = _validate.shape_tuple("detector_shape", detector_shape, (1, 2))
    distance = _validate.scalar("source_detector_distance", source_detector_distance, positive=True)
    pitch = _validate.per_axis("pixel_size", pixel_size, len(shape), positive=True)[-1]
    offset = _validate.per_axis("detector_offset", detector_offset, len(shape))[-1]
    slope = (jnp.abs(offset) + shape[-1] * pitch / 2) / distance
    curved = _validate.choice("detector", detector, ("flat", "curved")) == "curved"
    return jnp.pi + 2 * (slope if curved else jnp.arctan(slope))


def short_scan(
    num_views: int,
    *,
    source_detector_distance: ArrayLike,
    detector_shape: Sequence[int],
    pixel_size: ArrayLike | Sequence[ArrayLike],
    detector_offset: ArrayLike | Sequence[ArrayLike] = 0.0,
    detector: str = "flat",
    start: ArrayLike = 0.0,
) -> jax.Array:
    """Equally spaced angles from ``start`` to ``start + short_scan_range(...)``, both ends included.

    Args:
        num_views: number of views, at least two.
        source_detector_distance: as in :func:`short_scan_range`, and so the following.
        detector_shape: (cols,) or (rows, cols).
        pixel_size: in mm.
        detector_offset: in mm.
        detector: "flat" or "curved".
        start: the first angle in radians.

    Returns:
        Angles (num_views,) in radians.
    """
    if _validate.count("num_views", num_views) < 2:
        raise ValueError(f"num_views must be at least 2 for a short scan, got {num_views}")
    arc = short_scan_range(
        source_detector_distance=source_detector_distance,
        detector_shape=detector_shape,
        pixel_size=pixel_size,
        detector_offset=detector_offset,
        detector=detector,
    )
    return _validate.scalar("start", start) + arc * (jnp.arange(num_views) / (num_views - 1))


def helix(
    num_views: int,
    *,
    turns: ArrayLike,
    pitch: ArrayLike,
    start: ArrayLike = 0.0,
    center_z: ArrayLike = 0.0,
    **scanner: Unpack[ConeParameters],
) -> ConeBeam:
    """A helix centred at ``center_z``: at angle a past ``start``,
    ``source_z = center_z + pitch * (a/(2 pi) - turns/2)``.

    Args:
        num_views: number of views over all turns; view i is at ``a = 2 pi turns (i + 1/2) / num_views``.
        turns: number of turns; negative to turn clockwise.
        pitch: travel in z per turn, in mm.
        start: the angle at the lower end of the helix, in radians.
        center_z: height of the helix's middle, in mm.
        **scanner: see :class:`ConeParameters`.
    """
    turns, pitch = _validate.scalar("turns", turns), _validate.scalar("pitch", pitch)
    passed = turns * (jnp.arange(_validate.count("num_views", num_views)) + 0.5) / num_views
    angles = _validate.scalar("start", start) + 2 * jnp.pi * passed
    source_z = _validate.scalar("center_z", center_z) + pitch * (passed - turns / 2)
    return ConeBeam(angles, source_z=source_z, **scanner)


def circle_plus_line(
    num_views: int,
    *,
    num_line_views: int,
    line_length: ArrayLike,
    line_angle: ArrayLike = 0.0,
    start: ArrayLike = 0.0,
    **scanner: Unpack[ConeParameters],
) -> ConeBeam:
    """A full circle at z = 0, then a straight line along z through it; complete in Tuy's sense where the line is long
    enough (Tuy 1983, SIAM J. Appl. Math. 43(3):546; Zeng and Gullberg 1992, Phys. Med. Biol. 37(3):563).

    Args:
        num_views: number of views on the circle.
        num_line_views: number of views on the line, at the middles of equal pieces.
        line_length: in mm; the line reaches from ``-line_length/2`` to ``line_length/2``.
        line_angle: where on the circle the line stands, in radians.
        start: the first angle of the circle, in radians.
        **scanner: see :class:`ConeParameters`.
    """
    turn = circle(num_views, start=start)
    count = _validate.count("num_line_views", num_line_views)
    line = _validate.scalar("line_length", line_length, positive=True) * ((jnp.arange(count) + 0.5) / count - 0.5)
    angles = jnp.concatenate([turn, jnp.full(count, _validate.scalar("line_angle", line_angle))])
    return ConeBeam(angles, source_z=jnp.concatenate([jnp.zeros(num_views), line]), **scanner)


def saddle(
    num_views: int, *, amplitude: ArrayLike, start: ArrayLike = 0.0, **scanner: Unpack[ConeParameters]
) -> ConeVectors:
    """A saddle on the cylinder of radius ``source_origin_distance``: at angle a the source is at height
    ``amplitude * cos 2a``, aimed at the origin (Pack, Noo and Kudo 2004, Phys. Med. Biol. 49(11):2317).

    Args:
        num_views: number of views over the full turn.
        amplitude: height of the saddle's tops in mm.
        start: the first angle in radians.
        **scanner: see :class:`ConeParameters`. ``source_detector_distance`` is measured along the central ray.
    """
    angles = circle(num_views, start=start)
    height = _validate.scalar("amplitude", amplitude) * jnp.cos(2 * angles)
    level = ConeBeam(angles, **scanner)
    radius = level.source_origin_distance
    beam = dataclasses.replace(level, source_origin_distance=jnp.hypot(radius, height))
    return _aimed_at_origin(beam, jnp.arctan2(height, radius))


def sphere(
    num_views: int, *, max_elevation: ArrayLike = np.pi / 2, start: ArrayLike = 0.0, **scanner: Unpack[ConeParameters]
) -> ConeVectors:
    """Sources spread evenly over a sphere on a Fibonacci spiral, aimed at the origin.

    View i has ``sin(elevation) = sin(max_elevation) * ((2i + 1)/num_views - 1)`` and the angle
    ``start + i * pi (3 - sqrt 5)``: every view covers the same area (Gonzalez 2010, Math. Geosci. 42:49).

    Args:
        num_views: number of views.
        max_elevation: the largest angle above and below the xy plane, in radians, up to pi/2 (the whole sphere).
        start: the first angle in radians.
        **scanner: see :class:`ConeParameters`.
    """
    index = jnp.arange(_validate.count("num_views", num_views))
    # The golden angle as a fraction of a turn, wrapped in double precision: many turns would eat float32's digits.
    turns = np.arange(num_views) * (3 - np.sqrt(5)) / 2 % 1
    angles = _validate.scalar("start", start) + 2 * jnp.pi * jnp.asarray(turns, jnp.result_type(float))
    return _on_sphere(angles, (2 * index + 1) / num_views - 1, max_elevation, scanner)


def random(
    num_views: int, *, key: jax.Array, max_elevation: ArrayLike = np.pi / 2, **scanner: Unpack[ConeParameters]
) -> ConeVectors:
    """Sources drawn uniformly from a sphere (or its zone up to ``max_elevation``), aimed at the origin.

    Args:
        num_views: number of views.
        key: a JAX random key.
        max_elevation: the largest angle above and below the xy plane, in radians, up to pi/2 (the whole sphere).
        **scanner: see :class:`ConeParameters`.
    """
    angle_key, height_key = jax.random.split(key)
    shape = (_validate.count("num_views", num_views),)
    angles = jax.random.uniform(angle_key, shape, maxval=2 * jnp.pi)
    return _on_sphere(angles, jax.random.uniform(height_key, shape, minval=-1.0), max_elevation, scanner)


def _on_sphere(angles: jax.Array, height: jax.Array, max_elevation: ArrayLike, scanner: ConeParameters) -> ConeVectors:
    limit = _validate.scalar("max_elevation", max_elevation, positive=True)
    if _validate.concrete(limit) and limit > np.pi / 2 * (1 + 1e-6):
        raise ValueError(f"max_elevation must not exceed pi/2, got {limit:g}")
    return _aimed_at_origin(ConeBeam(angles, **scanner), jnp.arcsin(height * jnp.sin(limit)))


def _aimed_at_origin(beam: ConeBeam, elevation: jax.Array) -> ConeVectors:
    """Turn source and detector up by ``elevation`` about the column axis through the origin.

    The azimuth fixes the columns' direction, so that nothing is singular at the poles.
    """
    ray, row, col = orbit_frame(beam)
    assert row is not None  # three dimensions
    cos, sin = column(jnp.cos(elevation)), column(jnp.sin(elevation))
    return beam_vectors(
        (cos * ray - sin * row, cos * row + sin * ray, col),
        source_origin_distance=beam.source_origin_distance,
        source_detector_distance=beam.source_detector_distance,
        pixel_size=beam.pixel_size,
        detector_offset=beam.detector_offset,
        source_z=beam.source_z,
        detector_shape=beam.detector_shape,
        detector=beam.detector,
    )
