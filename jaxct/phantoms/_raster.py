"""Voxel averages: exact along x, sampled by lines across."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxct.geometry import VolumeGrid
from jaxct.phantoms._sums import dtype_of, sum_over
from jaxct.phantoms.shapes import Shape


@functools.partial(jax.jit, static_argnums=2)
def rasterize(shapes: tuple[Shape, ...], grid: VolumeGrid, oversample: int) -> jax.Array:
    """Averages over the voxels of a grid, ``oversample`` lines per voxel along y and along z."""
    dtype = dtype_of(shapes, grid)
    grid = jax.tree.map(lambda x: x.astype(dtype), grid)
    image = functools.partial(_image, shapes, grid, oversample)
    lines_y = _sub_centers(grid, -2, oversample)
    if grid.ndim == 2:
        return image(jnp.stack([lines_y, jnp.zeros_like(lines_y)]), lambda shape: True)

    @jax.checkpoint
    def slice_at(lines_z: jax.Array) -> jax.Array:
        def reached(shape: Shape) -> jax.Array:
            lower, upper = shape.bounds()
            return (lower[0] <= lines_z[-1]) & (upper[0] >= lines_z[0])

        z, y = (x.ravel() for x in jnp.meshgrid(lines_z, lines_y, indexing="ij"))
        return image(jnp.stack([z, y, jnp.zeros_like(z)]), reached)

    return jax.lax.map(slice_at, _sub_centers(grid, -3, oversample).reshape(-1, oversample))


def _image(
    shapes: tuple[Shape, ...], grid: VolumeGrid, oversample: int, points: jax.Array, reached: Callable[[Shape], Any]
) -> jax.Array:
    """One slice (y, x) from the lines along x through points (ndim, n), without the shapes that do not reach it."""
    ny, nx = grid.shape[-2:]
    edges = grid.center[-1] + (jnp.arange(nx + 1) - nx / 2).astype(points.dtype) * grid.voxel_size[-1]
    direction = jnp.zeros_like(points).at[-1].set(1.0)
    empty = jnp.zeros((ny, nx), points.dtype)

    def coverage(shape: Shape) -> jax.Array:
        enter, leave = shape.interval(points, direction)
        length = jnp.minimum(edges[1:], leave[:, None]) - jnp.maximum(edges[:-1], enter[:, None])
        # Divided by the same differences of edges: in the middle of a shape every line covers exactly 1.
        covered = jnp.maximum(length, 0.0) / (edges[1:] - edges[:-1])
        return shape.value * covered.reshape(-1, ny, oversample, nx).mean((0, 2))

    return sum_over(shapes, lambda s: jax.lax.cond(reached(s), coverage, lambda _: empty, s), empty)


def _sub_centers(grid: VolumeGrid, axis: int, oversample: int) -> jax.Array:
    """Centres of the equal parts into which the voxels of one axis are divided."""
    n = grid.shape[axis] * oversample
    steps = (jnp.arange(n) - (n - 1) / 2).astype(grid.voxel_size.dtype)
    return grid.center[axis] + steps * (grid.voxel_size[axis] / oversample)
