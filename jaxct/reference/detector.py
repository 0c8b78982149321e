"""The detector of one view, as a plane or as a cylinder around the source.

A *view* is a ``ParallelVectors`` or ``ConeVectors`` whose leaves have lost their view axis: vectors of shape
``(ndim,)``.
"""

from typing import NamedTuple, TypeGuard

import jax
import jax.numpy as jnp

from jaxct.geometry import ConeVectors, ParallelVectors
from jaxct.reference.numerics import dot

View = ParallelVectors | ConeVectors


class Plane(NamedTuple):
    """A flat detector: a normal, as long as a pixel is large, and the vectors that read off pixel numbers.

    ``duals``, of shape ``(ndim - 1, ndim)`` for (row, col), is the dual basis of the pixel axes, which therefore need
    not be perpendicular.
    """

    normal: jax.Array
    duals: jax.Array


class Cylinder(NamedTuple):
    """A curved detector around the source: an arc in 2-D, in 3-D a cylinder with its axis along the rows' step.

    ``forward`` and ``tangent`` are unit vectors in the plane of the arc, towards its middle and along the columns;
    ``rise`` is what is left of the way from the source to the detector's middle, along the axis.
    """

    radius: jax.Array
    forward: jax.Array
    tangent: jax.Array
    rise: jax.Array


def is_curved(view: View) -> TypeGuard[ConeVectors]:
    return isinstance(view, ConeVectors) and view.detector == "curved"


def plane(view: View) -> Plane:
    """The plane spanned by the pixel axes."""
    row, col = view.row_axis, view.col_axis
    if row is None:
        return Plane(jnp.stack([col[1], -col[0]]), (col / dot(col, col))[None])
    normal = jnp.cross(row, col)
    return Plane(normal, jnp.stack([jnp.cross(col, normal), jnp.cross(normal, row)]) / dot(normal, normal))


def cylinder(view: ConeVectors) -> Cylinder:
    """The arc or cylinder of a curved detector."""
    across = view.detector_center - view.source
    rise = jnp.zeros_like(across)
    if view.row_axis is not None:
        rise = dot(across, view.row_axis) / dot(view.row_axis, view.row_axis) * view.row_axis
        across = across - rise
    radius = jnp.linalg.norm(across)
    return Cylinder(radius, across / radius, view.col_axis / jnp.linalg.norm(view.col_axis), rise)


def pixel_measure(view: View) -> jax.Array:
    """Area of a pixel, in 2-D its length."""
    return jnp.linalg.norm(plane(view).normal)
