"""From a point of space to the detector: its pixel coordinates and magnification."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxct.geometry import ConeVectors, ParallelVectors, VolumeGrid
from jaxct.reference.detector import View, cylinder, is_curved, plane
from jaxct.reference.numerics import dot, safe_divide


class Projected(NamedTuple):
    """Where points fall on the detector.

    ``pixel`` holds (row, col), in 2-D (col,), on its last axis: pixel j covers [j - 1/2, j + 1/2]. Where ``in_front``
    is False (a point beside or behind the source) the other values are finite and meaningless.
    """

    pixel: jax.Array
    magnification: jax.Array
    in_front: jax.Array


def voxel_centers(grid: VolumeGrid) -> jax.Array:
    """World positions of the voxel centres, shape ``(*grid.shape, ndim)``."""
    return jnp.stack(jnp.meshgrid(*grid.coordinates(), indexing="ij"), axis=-1)


def project(points: jax.Array, view: View) -> Projected:
    """Project world points of shape ``(..., ndim)`` onto the detector of one view."""
    if is_curved(view):
        steps, magnification, in_front = _onto_cylinder(points, view)
    elif isinstance(view, ConeVectors):
        steps, magnification, in_front = _onto_plane(points, view)
    else:
        steps, magnification, in_front = _along_beam(points, view)
    return Projected(steps + (jnp.asarray(view.detector_shape, steps.dtype) - 1) / 2, magnification, in_front)


def _along_beam(points: jax.Array, view: ParallelVectors) -> tuple[jax.Array, jax.Array, jax.Array]:
    flat = plane(view)
    offset = points - view.detector_center
    distance = dot(offset, flat.normal) / dot(view.direction, flat.normal)
    hit = offset - distance[..., None] * view.direction
    return dot(hit[..., None, :], flat.duals), jnp.ones_like(distance), jnp.full(distance.shape, True)


def _onto_plane(points: jax.Array, view: ConeVectors) -> tuple[jax.Array, jax.Array, jax.Array]:
    flat = plane(view)
    to_point, to_detector = points - view.source, view.detector_center - view.source
    ratio = dot(to_point, flat.normal) / dot(to_detector, flat.normal)
    in_front = ratio > 0
    magnification = safe_divide(jnp.ones_like(ratio), jnp.where(in_front, ratio, 0))
    # Read off before subtracting: across the detector both terms are small, which their sum along the ray is not.
    steps = magnification[..., None] * dot(to_point[..., None, :], flat.duals) - dot(to_detector, flat.duals)
    return steps, magnification, in_front


def _onto_cylinder(points: jax.Array, view: ConeVectors) -> tuple[jax.Array, jax.Array, jax.Array]:
    arc = cylinder(view)
    to_point = points - view.source
    depth, aside = dot(to_point, arc.forward), dot(to_point, arc.tangent)
    in_front = depth > 0
    depth, aside = jnp.where(in_front, depth, 1), jnp.where(in_front, aside, 0)
    magnification = arc.radius / jnp.hypot(depth, aside)
    steps = [jnp.arctan2(aside, depth) * arc.radius / jnp.linalg.norm(view.col_axis)]
    if view.row_axis is not None:
        height = dot(magnification[..., None] * to_point - arc.rise, view.row_axis)
        steps.insert(0, height / dot(view.row_axis, view.row_axis))
    return jnp.stack(steps, axis=-1), magnification, in_front
