"""Siddon's model: a weight is the length of the intersection of a ray and a voxel.

R. L. Siddon, "Fast calculation of the exact radiological path for a three-dimensional CT array", Med. Phys. 12 (1985).
"""

import math

import jax
import jax.numpy as jnp

from jaxct.geometry import ConeVectors, VolumeGrid
from jaxct.reference.detector import View
from jaxct.reference.numerics import safe_divide
from jaxct.reference.rays import index_rays


def forward_view(volume: jax.Array, view: View, grid: VolumeGrid) -> jax.Array:
    """Project ``volume`` onto the detector of one view."""
    weights = intersection_lengths(view, grid)
    return jnp.sum(weights * volume, axis=tuple(range(-volume.ndim, 0)))


def intersection_lengths(view: View, grid: VolumeGrid) -> jax.Array:
    """Length in mm of every ray in every voxel, shape ``(*detector_shape, *grid.shape)``.

    A voxel is the box between three pairs of planes; the ray ``origin + t direction`` is between the planes of a pair
    for an interval of t, and inside the voxel for the intersection of the three.
    """
    origin, direction, mm_per_t = index_rays(view, grid)
    # A source emits ahead of itself only; a parallel ray is a whole line.
    enter = jnp.zeros_like(mm_per_t) if isinstance(view, ConeVectors) else jnp.full_like(mm_per_t, -math.inf)
    leave = jnp.full_like(mm_per_t, math.inf)
    rays, ndim = mm_per_t.ndim, grid.ndim
    enter, leave, mm_per_t = (jnp.expand_dims(x, tuple(range(rays, rays + ndim))) for x in (enter, leave, mm_per_t))
    for axis, count in enumerate(grid.shape):
        first, last = _between_faces(origin[..., axis], direction[..., axis], count)
        others = tuple(rays + k for k in range(ndim) if k != axis)
        enter = jnp.maximum(enter, jnp.expand_dims(first, others))
        leave = jnp.minimum(leave, jnp.expand_dims(last, others))
    return jnp.where(leave > enter, leave - enter, 0) * mm_per_t


def _between_faces(origin: jax.Array, direction: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """The interval of t for which ``i - 1/2 <= origin + t direction < i + 1/2``, for each voxel i along one axis.

    A ray parallel to the faces is between them always or never. The half-open voxel gives one that lies in a face to
    the upper neighbour.
    """
    lower = jnp.arange(count) - 0.5
    origin, direction = origin[..., None], direction[..., None]
    at_lower = safe_divide(lower - origin, direction)
    at_upper = safe_divide(lower + 1 - origin, direction)
    inside = (lower <= origin) & (origin < lower + 1)
    parallel_first = jnp.where(inside, -math.inf, math.inf)
    parallel = direction == 0
    first = jnp.where(parallel, parallel_first, jnp.minimum(at_lower, at_upper))
    last = jnp.where(parallel, -parallel_first, jnp.maximum(at_lower, at_upper))
    return first, last
