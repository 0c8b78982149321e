"""The rays of a geometry, one detector row at a time."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxct.geometry import ConeVectors, ParallelVectors

Vectors = ParallelVectors | ConeVectors


class Rays(NamedTuple):
    """Lines ``point + t * direction``, t > start, with components first.

    ``point`` is the point nearest to the world's origin, so that coordinates stay as small as the object however far
    away the source is.
    """

    point: jax.Array  # (ndim, n)
    direction: jax.Array  # (ndim, n), unit vectors
    start: jax.Array  # (n,): where the source is, minus infinity for parallel rays


def split_rows(vectors: Vectors) -> Vectors:
    """One view for each detector row, view after view. A 2-D detector is one row already."""
    if vectors.row_axis is None:
        return vectors
    rows, cols = vectors.detector_shape
    steps = (jnp.arange(rows, dtype=vectors.row_axis.dtype) - (rows - 1) / 2)[:, None]
    centers = vectors.detector_center[:, None] + steps * vectors.row_axis[:, None]
    fields: dict[str, Any] = {
        "detector_center": centers.reshape(-1, 3),
        "row_axis": jnp.repeat(vectors.row_axis, rows, 0),
        "col_axis": jnp.repeat(vectors.col_axis, rows, 0),
        "detector_shape": (1, cols),
    }
    if isinstance(vectors, ParallelVectors):
        return ParallelVectors.unchecked(jnp.repeat(vectors.direction, rows, 0), **fields)
    return ConeVectors.unchecked(jnp.repeat(vectors.source, rows, 0), **fields, detector=vectors.detector)


def refine(vectors: Vectors, factor: int) -> Vectors:
    """The same detector with every pixel divided into ``factor`` (x ``factor``) pixels."""
    fields: dict[str, Any] = {
        "detector_center": vectors.detector_center,
        "row_axis": None if vectors.row_axis is None else vectors.row_axis / factor,
        "col_axis": vectors.col_axis / factor,
        "detector_shape": tuple(factor * n for n in vectors.detector_shape),
    }
    if isinstance(vectors, ParallelVectors):
        return ParallelVectors.unchecked(vectors.direction, **fields)
    return ConeVectors.unchecked(vectors.source, **fields, detector=vectors.detector)


def rays(view: Vectors) -> Rays:
    """The rays of one view (a geometry whose leaves have lost their view axis), pixels in row-major order."""
    view = jax.tree.map(lambda x: x[None], view)
    pixels = view.pixel_centers().reshape(-1, view.ndim).T
    if isinstance(view, ParallelVectors):
        direction = jnp.broadcast_to(_unit(view.direction.T), pixels.shape)
        return Rays(_across(pixels, direction), direction, jnp.full(pixels.shape[1:], -jnp.inf, pixels.dtype))
    source = view.source.T
    direction = _unit(pixels - source)
    return Rays(_across(source, direction), direction, jnp.sum(source * direction, 0))


def _unit(vectors: jax.Array) -> jax.Array:
    return vectors / jnp.sqrt(jnp.sum(vectors**2, 0))


def _across(points: jax.Array, direction: jax.Array) -> jax.Array:
    return points - jnp.sum(points * direction, 0) * direction
