"""From a pixel to its ray: the line through the pixel's centre, from the source or along the parallel beam."""

import jax
import jax.numpy as jnp

from jaxct.geometry import ConeVectors, VolumeGrid
from jaxct.reference.detector import View, cylinder, is_curved, pixel_measure, plane
from jaxct.reference.numerics import dot


def pixel_positions(view: View) -> jax.Array:
    """World positions of the pixel centres, shape ``(*detector_shape, ndim)``."""
    columns = _steps_from_middle(view.detector_shape[-1], view.col_axis.dtype)[:, None]
    if is_curved(view):
        arc = cylinder(view)
        angle = columns * jnp.linalg.norm(view.col_axis) / arc.radius
        toward = jnp.cos(angle) * arc.forward + jnp.sin(angle) * arc.tangent
        line = view.source + arc.radius * toward + arc.rise
    else:
        line = view.detector_center + columns * view.col_axis
    if view.row_axis is None:
        return line
    return line + _steps_from_middle(view.detector_shape[0], line.dtype)[:, None, None] * view.row_axis


def _steps_from_middle(count: int, dtype: jnp.dtype) -> jax.Array:
    return jnp.arange(count, dtype=dtype) - (count - 1) / 2


def pixel_rays(view: View) -> tuple[jax.Array, jax.Array]:
    """Origins and directions of all pixels' rays, each of shape ``(*detector_shape, ndim)``.

    Cone: the origin is the source, and ``origin + direction`` the pixel. Parallel: the origin is the pixel itself.
    """
    positions = pixel_positions(view)
    if isinstance(view, ConeVectors):
        return jnp.broadcast_to(view.source, positions.shape), positions - view.source
    return positions, jnp.broadcast_to(view.direction, positions.shape)


def index_rays(view: View, grid: VolumeGrid) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The rays in index units, where voxel i is centred on i: origins, directions, and a direction's length in mm."""
    origin, direction = pixel_rays(view)
    return grid.to_index(origin), direction / grid.voxel_size, jnp.linalg.norm(direction, axis=-1)


def pixel_cosines(view: View) -> jax.Array:
    """Cosine of the angle between each pixel's ray and the detector's normal there, shape ``detector_shape``."""
    _, direction = pixel_rays(view)
    length = jnp.linalg.norm(direction, axis=-1)
    if is_curved(view):
        # The normal is the ray's own part perpendicular to the cylinder's axis, of length radius.
        return cylinder(view).radius / length
    return jnp.abs(dot(direction, plane(view).normal)) / (length * pixel_measure(view))
