"""What every geometry can do, whatever its parameters."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxct.geometry._fields import describe, leaf_ranks, replace_leaves

if TYPE_CHECKING:
    from typing import Self

    from jax.typing import ArrayLike

    from jaxct.geometry.grid import VolumeGrid
    from jaxct.geometry.vectors import ConeVectors, ParallelVectors


class Acquisition(abc.ABC):
    """Base of all that is measured view by view: frozen pytrees whose first field has one entry per view.

    Two of them are equal only if they are the same object; compare leaves with ``jax.tree`` functions.
    """

    detector_shape: tuple[int, ...]

    @property
    @abc.abstractmethod
    def ndim(self) -> int:
        """2 for slices, 3 for volumes."""

    @property
    def num_views(self) -> int:
        """Number of views (of each member, if the leaves are batched)."""
        name, rank = next(iter(leaf_ranks(self).items()))
        return getattr(self, name).shape[-1 - rank]

    @property
    def projection_shape(self) -> tuple[int, ...]:
        """Shape of the projections: ``(views, *detector_shape)``."""
        return (self.num_views, *self.detector_shape)

    def __getitem__(self, views: int | slice | ArrayLike) -> Self:
        """The geometry of some views: a slice, an index, an index array (may be traced) or a boolean mask.

        The view axis stays, also for a single index. Values that all views share stay shared.

        Raises:
            IndexError: a concrete index is out of range, or nothing is selected.
            TypeError: the selection is neither integer nor boolean.
        """
        first, rank = next(iter(leaf_ranks(self).items()))
        if getattr(self, first).ndim != rank + 1:
            raise ValueError(f"views of a batched {type(self).__name__} can only be selected inside vmap")
        index = _view_index(views, self.num_views)
        return replace_leaves(self, lambda leaf, rank: leaf[index] if leaf.ndim > rank else leaf)

    def __repr__(self) -> str:
        return describe(self)


class Geometry(Acquisition):
    """Base of all beams: rays from a source, or parallel ones, to the pixels of a detector."""

    @abc.abstractmethod
    def to_vectors(self) -> ParallelVectors | ConeVectors:
        """The same geometry as per-view vectors, in pure JAX: differentiable with respect to every leaf."""

    @property
    def ndim(self) -> int:
        """2 for slices with a line detector, 3 for volumes with an area detector."""
        return len(self.detector_shape) + 1

    def plot(self, grid: VolumeGrid | None = None, ax: Any = None, views: ArrayLike | None = None) -> Any:
        """Draw the set-up with matplotlib; see :func:`jaxct.geometry.plot.plot`."""
        from jaxct.geometry.plot import plot

        return plot(self, grid, ax=ax, views=views)


def _view_index(views: Any, num_views: int) -> slice | np.ndarray | jax.Array:
    if isinstance(views, slice):
        if len(range(*views.indices(num_views))) == 0:
            raise IndexError(f"views {views} selects nothing of {num_views} views")
        return views
    index: Any = views if isinstance(views, jax.core.Tracer) else np.asarray(views)
    if index.dtype == bool and index.shape == (num_views,) and not isinstance(index, jax.core.Tracer):
        index = np.flatnonzero(index)
    if index.shape == (0,):
        raise IndexError(f"views selects nothing of {num_views} views")
    if not jnp.issubdtype(index.dtype, np.integer) or index.ndim > 1:
        raise TypeError(f"views must be a slice, integers or a concrete mask of {num_views} booleans, got {views!r}")
    index = index.reshape(-1)
    if not isinstance(index, jax.core.Tracer) and not ((-num_views <= index) & (index < num_views)).all():
        raise IndexError(f"views must lie in [-{num_views}, {num_views}), got {views!r}")
    return index
