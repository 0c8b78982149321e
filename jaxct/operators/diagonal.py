"""Factors of the rays or of the voxels."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.geometry._fields import build, register, set_fields
from jaxct.operators._base import Operator, floating


@register(weights=0)
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Diagonal(Operator):
    """A factor for every entry, ``(D x)_i = w_i x_i``: attenuation and normalisation of rays, or scales of voxels.

    Args:
        weights: an array.
        shape: of x, if the weights merely broadcast to it (static).

    Raises:
        ValueError: weights that do not broadcast to the shape.
        TypeError: weights that are not real numbers.
    """

    weights: Array
    shape: tuple[int, ...]
    by_view: ClassVar[bool] = True

    def __init__(self, weights: ArrayLike, shape: Sequence[int] | None = None):
        array = _validate.floats("weights", weights)
        full = array.shape if shape is None else tuple(int(n) for n in shape)
        try:
            fits = np.broadcast_shapes(array.shape, full) == full
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(f"weights must broadcast to the shape {full}, got shape {array.shape}")
        set_fields(self, weights=array, shape=full)

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of x."""
        return self.shape

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of x."""
        return self.shape

    def __call__(self, x: ArrayLike, /) -> Array:
        array = floating("x", x, self.shape)
        return self.weights.astype(array.dtype) * array

    def transposed(self, y: ArrayLike, /) -> Array:
        """The same: the matrix is diagonal."""
        return self(y)

    def __getitem__(self, views: int | slice | ArrayLike) -> "Diagonal":
        """The factors of some views, the leading axis, which stays for a single index, too."""
        index = _view_index(views)
        own = self.weights.ndim == len(self.shape) and self.weights.shape[0] == self.shape[0]
        chosen = jax.eval_shape(lambda: jnp.zeros(self.shape[0])[index]).shape
        weights = self.weights[index] if own else self.weights
        return build(Diagonal, weights=weights, shape=(*chosen, *self.shape[1:]))


def _view_index(views: int | slice | ArrayLike) -> Any:
    if isinstance(views, slice):
        return views
    index = views if isinstance(views, jax.Array) else np.asarray(views)
    return index.reshape(-1) if index.ndim == 0 else index
