"""Joseph's model: along its dominant axis a ray meets each plane of voxel centres once, and is interpolated there.

P. M. Joseph, "An improved algorithm for reprojecting rays through pixel images", IEEE Trans. Med. Imaging 1 (1982).
"""

import jax
import jax.numpy as jnp

from jaxct.geometry import ConeVectors, VolumeGrid
from jaxct.reference.detector import View
from jaxct.reference.numerics import linear_weights, safe_divide
from jaxct.reference.rays import index_rays


def forward_view(volume: jax.Array, view: View, grid: VolumeGrid) -> jax.Array:
    """Project ``volume`` onto the detector of one view.

    With D a ray's direction in voxels, the dominant axis is the one of largest abs(D), the first of equals, and
    ``p = sum_k volume(k, interpolated) * length of the ray between two planes``.
    """
    origin, direction, mm_per_t = index_rays(view, grid)
    dominant = jnp.argmax(jnp.abs(direction), axis=-1)
    half_line = isinstance(view, ConeVectors)
    projection = jnp.zeros_like(mm_per_t, volume.dtype)
    for axis in range(volume.ndim):
        mm_per_plane = safe_divide(mm_per_t, jnp.abs(direction[..., axis]))
        along_axis = _sum_over_planes(volume, origin, direction, axis, half_line) * mm_per_plane
        projection = projection + jnp.where(dominant == axis, along_axis, 0)
    return projection


def _sum_over_planes(
    volume: jax.Array, origin: jax.Array, direction: jax.Array, axis: int, half_line: bool
) -> jax.Array:
    """Sum of the samples of ``volume`` where each ray meets the planes of voxel centres across ``axis``."""
    planes = jnp.arange(volume.shape[axis])
    ahead = planes - origin[..., axis, None]
    t = safe_divide(ahead, direction[..., axis, None])
    counted = (t > 0) if half_line else jnp.ones_like(t, bool)
    weights = []
    for other in (k for k in range(volume.ndim) if k != axis):
        position = origin[..., other, None] + t * direction[..., other, None]
        weights.append(linear_weights(position, volume.shape[other]))
    terms = "...ka,kab,...kb,...k->..." if len(weights) == 2 else "...ka,ka,...k->..."
    operands = [weights[0], jnp.moveaxis(volume, axis, 0), *weights[1:], counted.astype(volume.dtype)]
    return jnp.einsum(terms, *operands, precision="highest")
