"""The circular orbit shared by parallel, fan and cone beams, as vectors in (z, y, x) or (y, x)."""

import jax
import jax.numpy as jnp

from jaxct.geometry._base import Geometry
from jaxct.geometry.vectors import ConeVectors


def orbit_frame(beam: Geometry) -> tuple[jax.Array, jax.Array | None, jax.Array]:
    """Unit vectors (views, ndim) along the central ray, rows (None in 2-D) and columns of a beam that has ``angles``.

    At angle a, counter-clockwise seen from +z: ray (0, cos a, -sin a), row (1, 0, 0), column (0, sin a, cos a).
    """
    angles: jax.Array = beam.angles  # type: ignore[attr-defined]
    if angles.ndim != 1:
        raise ValueError(f"angles must have shape (views,), got {angles.shape}; use a batched geometry inside vmap")
    # In the widest of the beam's float types, so that all its vectors come out in one.
    angles = angles.astype(jnp.result_type(*jax.tree.leaves(beam)))
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    if beam.ndim == 2:
        return jnp.stack([cos, -sin], -1), None, jnp.stack([sin, cos], -1)
    zero, one = jnp.zeros_like(angles), jnp.ones_like(angles)
    ray, row, col = [zero, cos, -sin], [one, zero, zero], [zero, sin, cos]
    return jnp.stack(ray, -1), jnp.stack(row, -1), jnp.stack(col, -1)


def column(value: jax.Array) -> jax.Array:
    """Make a shared () or per-view (views,) value multiply vectors (views, ndim)."""
    return value[..., None]


def beam_vectors(
    frame: tuple[jax.Array, jax.Array | None, jax.Array],
    *,
    source_origin_distance: jax.Array,
    source_detector_distance: jax.Array,
    pixel_size: jax.Array,
    detector_offset: jax.Array,
    source_z: jax.Array | None,
    detector_shape: tuple[int, ...],
    detector: str,
) -> ConeVectors:
    """Vectors of a fan or cone beam whose central ray, rows and columns follow ``frame``, all unit vectors.

    The central ray passes through the origin, or at the height ``source_z`` above it.

    On a curved detector a column offset is arc length: it turns the middle of the array about the source.
    """
    ray, row, col = frame
    radius, to_source = column(source_detector_distance), column(source_origin_distance)
    across = column(detector_offset[..., -1])
    if detector == "flat":
        center, tangent = (radius - to_source) * ray + across * col, col
    else:
        cos, sin = jnp.cos(across / radius), jnp.sin(across / radius)
        center = (radius * cos - to_source) * ray + radius * sin * col
        tangent = cos * col - sin * ray
    source, row_axis = -to_source * ray, None
    if row is not None and source_z is not None:
        source = source + column(source_z) * row
        center = center + column(source_z + detector_offset[..., 0]) * row
        row_axis = pixel_size[0] * row
    return ConeVectors.unchecked(source, center, row_axis, pixel_size[-1] * tangent, detector_shape, detector)
