"""Exact line integrals, in chunks of detector rows."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxct.geometry import Geometry
from jaxct.phantoms import _rays
from jaxct.phantoms._sums import dtype_of, sum_over
from jaxct.phantoms.shapes import Shape

# Rays held at once: a few tens of MB of intermediates in float32.
_RAYS_AT_ONCE = 1 << 18


@functools.partial(jax.jit, static_argnums=2)
def project(shapes: tuple[Shape, ...], geometry: Geometry, oversample: int) -> jax.Array:
    """Line integrals averaged over ``oversample`` rays per pixel and detector axis, of the geometry's shape."""
    vectors = geometry.to_vectors()
    dtype = dtype_of(shapes, vectors)
    vectors = jax.tree.map(lambda x: x.astype(dtype), vectors)
    cols = geometry.detector_shape[-1]

    def project_row(row: Any) -> jax.Array:
        rays = _rays.rays(row)

        def line_integral(shape: Shape) -> jax.Array:
            enter, leave = shape.interval(rays.point, rays.direction)
            return shape.value * jnp.maximum(leave - jnp.maximum(enter, rays.start), 0.0)

        total = sum_over(shapes, line_integral, jnp.zeros(rays.point.shape[1], dtype))
        return total.reshape(-1, cols, oversample).mean((0, 2))

    # In 3-D a detector row is the unit of work: even one view of a large oversampled detector stays small.
    rows = _rays.refine(_rays.split_rows(vectors), oversample)
    projections = _map_chunks(project_row, rows, _RAYS_AT_ONCE // (oversample ** (geometry.ndim - 1) * cols))
    return projections.reshape(geometry.projection_shape)


def _map_chunks(function: Callable[[Any], jax.Array], items: Any, at_once: int) -> jax.Array:
    """``function`` of every item (leading axis of all leaves), at most ``at_once`` vectorised.

    The last chunk is filled up by repeating the last item, so that there is one program for chunks of one size.
    """
    count = jax.tree.leaves(items)[0].shape[0]
    chunks = -(-count // max(1, at_once))
    size = -(-count // chunks)
    index = jnp.minimum(jnp.arange(chunks * size), count - 1).reshape(chunks, size)
    chunk = jax.checkpoint(lambda i: jax.vmap(function)(jax.tree.map(lambda x: x[i], items)))
    result = jax.lax.map(chunk, index)
    return result.reshape(-1, *result.shape[2:])[:count]
