"""Overlapping patches of an image, a slab of its first axis at a time, and their sum back into an image."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

Edges = tuple[int, ...]


def corners(size: int, edge: int, stride: int) -> np.ndarray:
    """Where patches begin on an axis: ``stride`` apart, and one more at the end, so that none of it is left out."""
    return np.unique(np.append(np.arange(0, size - edge + 1, stride), size - edge))


def coverage(shape: Sequence[int], edges: Edges, stride: int) -> np.ndarray:
    """In how many patches each voxel is."""
    counts = np.ones(())
    for size, edge in zip(shape, edges, strict=True):
        inside = corners(size, edge, stride)[:, None] + np.arange(edge)
        counts = np.multiply.outer(counts, np.bincount(inside.ravel(), minlength=size))
    return counts


def patch_counts(shape: Sequence[int], edges: Edges, stride: int) -> tuple[int, ...]:
    """How many patches there are along each axis."""
    return tuple(len(corners(size, edge, stride)) for size, edge in zip(shape, edges, strict=True))


def slab_patches(slab: Array, edges: Edges, stride: int) -> Array:
    """The patches of a slab as thick as they are: (those along the other axes, voxels of a patch)."""
    ndim = len(edges)
    for axis in range(1, ndim):
        at = 2 * axis - 1  # what came before has become two axes each
        inside = corners(slab.shape[at], edges[axis], stride)[:, None] + np.arange(edges[axis])
        slab = jnp.take(slab, inside, at)
    positions, within = range(1, 2 * ndim - 1, 2), range(2, 2 * ndim - 1, 2)
    return slab.transpose(*positions, 0, *within).reshape(-1, int(np.prod(edges)))


def slab_sum(patches: Array, shape: Sequence[int], edges: Edges, stride: int) -> Array:
    """The transpose of :func:`slab_patches`, for an image of ``shape``; in one order on every device."""
    ndim, counts = len(edges), patch_counts(shape, edges, stride)[1:]
    parts = patches.reshape(*counts, *edges)
    order = [ndim - 1, *(a for axis in range(ndim - 1) for a in (axis, ndim + axis))]
    slab = parts.transpose(order)  # the thickness, then for every axis where patches are and what is in them
    for axis in range(ndim - 1, 0, -1):
        at = 2 * axis - 1
        begin = corners(shape[axis], edges[axis], stride)
        total = jnp.zeros((*slab.shape[:at], shape[axis], *slab.shape[at + 2 :]), slab.dtype)
        for offset in range(edges[axis]):
            share = jax.lax.index_in_dim(slab, offset, at + 1, keepdims=False)
            where = (*[slice(None)] * at, begin + offset)
            total = total.at[where].add(share, unique_indices=True, indices_are_sorted=True)
        slab = total
    return slab


def summed(
    function: Callable[[Array, Any], tuple[Array, Any]], image: Array, given: Any, edges: Edges, stride: int
) -> tuple[Array, Any]:
    """``sum_j R_j^T p_j`` of what a function makes of the patches ``R_j x`` of an image.

    Args:
        function: of the patches of a slab, (patches, voxels), and its part of ``given``, to as many patches and
            anything else.
        image: 2-D or 3-D.
        given: arrays whose first axis goes with the slabs.
        edges: of a patch.
        stride: from one patch to the next.

    Returns:
        The sum, and what else the function returned, stacked over the slabs.
    """
    begin = jnp.asarray(corners(image.shape[0], edges[0], stride), jnp.int32)

    def step(total: Array, at: tuple[Array, Any]) -> tuple[Array, Any]:
        first, part = at
        slab = jax.lax.dynamic_slice_in_dim(image, first, edges[0])
        patches, more = function(slab_patches(slab, edges, stride), part)
        sums = jax.lax.dynamic_slice_in_dim(total, first, edges[0]) + slab_sum(patches, image.shape, edges, stride)
        return jax.lax.dynamic_update_slice_in_dim(total, sums, first, 0), more

    return jax.lax.scan(step, jnp.zeros_like(image), (begin, given))
