"""The back projection of ones, for each of the ordered subsets: what their steps are divided by."""

from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxct.reconstruct.run import LinearOperator
from jaxct.reconstruct.subsets import Subsets, ViewOperator

MOST_KEPT = 8
"""So many volumes are kept; of more subsets the sums are computed anew in every pass."""


def kept_sums(A: ViewOperator, subsets: Subsets, dtype: Any) -> Array | None:  # noqa: N803
    """``A_s^T 1`` of every subset s, ``(subsets, *A.in_shape)``; None if that would be more than MOST_KEPT volumes."""
    if subsets.num_subsets > MOST_KEPT:
        return None
    # Not a loop of jax: outside of jit that would be compiled anew in every call.
    return jnp.stack([_sums(subsets.operator(A, index), dtype) for index in range(subsets.num_subsets)])


def sums_of(part: LinearOperator, kept: Array | None, index: ArrayLike, dtype: Any) -> Array:
    """``A_s^T 1`` of the subset of this number, whose operator is ``part``."""
    return _sums(part, dtype) if kept is None else kept[index]


def _sums(part: LinearOperator, dtype: Any) -> Array:
    return part.T(jnp.ones(part.out_shape, dtype))
