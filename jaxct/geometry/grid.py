"""The voxel grid that volumes live on."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.geometry._fields import describe, register, set_fields


@register(voxel_size=1, center=1)
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class VolumeGrid:
    """A regular grid of voxels: ``volume[z, y, x]``, or ``image[y, x]`` in 2-D.

    Voxel ``i`` has its centre at ``center + (i - (shape - 1)/2) * voxel_size`` in each axis; the world's origin is the
    rotation centre. All tuples are in array order, (z, y, x) or (y, x).

    Args:
        shape: number of voxels along each axis, two or three integers (static).
        voxel_size: edge lengths in mm, a scalar or one per axis; stored with shape (ndim,).
        center: position of the grid's middle in mm, a scalar or one per axis; stored with shape (ndim,).

    Raises:
        ValueError: a wrong shape, a non-finite value, a voxel size that is not positive.
        TypeError: a shape that is not made of integers, values that are not real numbers.
    """

    shape: tuple[int, ...]
    voxel_size: jax.Array
    center: jax.Array

    def __init__(
        self,
        shape: Sequence[int],
        voxel_size: ArrayLike | Sequence[ArrayLike] = 1.0,
        center: ArrayLike | Sequence[ArrayLike] = 0.0,
    ):
        shape = _validate.shape_tuple("shape", shape, (2, 3))
        set_fields(
            self,
            voxel_size=_validate.per_axis("voxel_size", voxel_size, len(shape), positive=True),
            center=_validate.per_axis("center", center, len(shape)),
            shape=shape,
        )

    @property
    def ndim(self) -> int:
        """2 or 3."""
        return len(self.shape)

    def bounds(self) -> tuple[jax.Array, jax.Array]:
        """The lower and upper corner of the box that the voxels fill, (ndim,) each, in mm."""
        half = (self._middle() + 0.5) * self.voxel_size
        return self.center - half, self.center + half

    def coordinates(self) -> tuple[jax.Array, ...]:
        """World coordinates of the voxel centres, one 1-D array per axis, in mm."""
        return tuple(
            self.center[k] + (jnp.arange(n, dtype=self.voxel_size.dtype) - (n - 1) / 2) * self.voxel_size[k]
            for k, n in enumerate(self.shape)
        )

    def to_index(self, points: ArrayLike) -> jax.Array:
        """Index coordinates of world points (..., ndim): ``(x - center)/voxel_size + (shape - 1)/2``."""
        return (jnp.asarray(points) - self.center) / self.voxel_size + self._middle()

    def to_world(self, indices: ArrayLike) -> jax.Array:
        """World points of index coordinates (..., ndim), the inverse of :meth:`to_index`."""
        return self.center + (jnp.asarray(indices) - self._middle()) * self.voxel_size

    def _middle(self) -> jax.Array:
        return jnp.asarray([(n - 1) / 2 for n in self.shape], self.voxel_size.dtype)

    def __repr__(self) -> str:
        return describe(self)
