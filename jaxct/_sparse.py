"""The system matrix of a projector, stored: row by row, each the back projection of one ray."""

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxct.geometry import _validate

FORMATS = ("scipy", "bcoo")
BLOCK = 2**24
"""Numbers of the dense matrix that are held at once."""


def system_matrix(A: Any, format: str, max_entries: int) -> Any:  # noqa: N803
    """See :meth:`jaxct.Projector.to_sparse`."""
    _validate.choice("format", format, FORMATS)
    _validate.count("max_entries", max_entries)
    rows, cols = math.prod(A.out_shape), math.prod(A.in_shape)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(A)):
        raise ValueError(
            "to_sparse needs a concrete geometry and grid: under jit, vmap or grad the zeros are not known"
        )
    if rows * cols > max_entries:
        raise ValueError(
            f"max_entries: the matrix has {rows} x {cols} = {rows * cols:.3g} entries, zeros included, which are all "
            f"looked at, and the limit is {max_entries}; use the projector itself, or raise the limit"
        )
    build = _scipy if format == "scipy" else _bcoo
    blocks = list(_blocks(A))
    counts, indices, values = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return build(counts, indices, values, (rows, cols))


def _blocks(A: Any) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:  # noqa: N803
    """For some rays after the other: how many voxels each meets, which, and with what weights."""
    views, *detector = A.out_shape
    pixels, voxels = math.prod(detector), math.prod(A.in_shape)
    size = min(pixels, max(1, BLOCK // (voxels + pixels)))
    for view in range(views):
        for start in range(0, pixels, size):
            # All blocks have one shape, so that this is compiled once; what is beyond the last pixel is cut off.
            dense = np.asarray(_rows(A, view, start, size=size)).reshape(size, voxels)[: pixels - start]
            ray, voxel = dense.nonzero()
            yield np.bincount(ray, minlength=len(dense)), voxel.astype(np.int32), dense[ray, voxel]


def _rows_of(A: Any, view: Array, start: Array, *, size: int) -> Array:  # noqa: N803
    part = A[view[None]]
    pixels = math.prod(part.out_shape)
    units = jax.nn.one_hot(start + jnp.arange(size), pixels, dtype=jnp.result_type(float))
    return jax.vmap(part.T)(units.reshape(size, *part.out_shape))


_rows = jax.jit(_rows_of, static_argnames="size")


def _scipy(counts: np.ndarray, indices: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> Any:
    try:
        from scipy.sparse import csr_array
    except ImportError as error:
        raise ImportError("to_sparse: needs scipy; pip install 'jaxct[io]'") from error
    return csr_array((values, indices, np.concatenate([[0], np.cumsum(counts)])), shape=shape)


def _bcoo(counts: np.ndarray, indices: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> Any:
    from jax.experimental.sparse import BCOO

    rows = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    positions = jnp.asarray(np.stack([rows, indices], axis=1))
    return BCOO((jnp.asarray(values), positions), shape=shape, indices_sorted=True, unique_indices=True)
