"""Phantoms: sums of shapes, with exact line integrals for every geometry and voxel averages on every grid."""

import dataclasses
import operator
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxct.geometry import Geometry, VolumeGrid
from jaxct.geometry._fields import register, set_fields
from jaxct.geometry.lors import LineGeometry
from jaxct.phantoms import _lors, _projection, _raster, _sums
from jaxct.phantoms.shapes import Shape


@register(shapes=0)
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Phantom:
    """An object that is a sum of shapes: ``f(x) = sum_k value_k [x in shape_k]``, in 1/mm.

    A pytree whose leaves are the shapes' centres, axes, values ...: ``jax.grad`` and ``jax.vmap`` work on all of it.
    ``a + b`` is the sum of two phantoms (or shapes), ``factor * a`` scales the values.

    Args:
        shapes: shapes and families of shapes, all 2-D or all 3-D.

    Raises:
        ValueError: no shapes, or shapes of different dimension.
        TypeError: something that is not a shape.
    """

    shapes: tuple[Any, ...]

    __array_ufunc__ = None  # NumPy numbers leave ``number * phantom`` to the phantom

    def __init__(self, *shapes: Shape):
        for shape in shapes:
            if not isinstance(shape, Shape):
                raise TypeError(f"shapes must be shapes such as Ellipsoid or Box, got {type(shape).__name__}")
        if len({shape.ndim for shape in shapes}) != 1:
            raise ValueError(f"shapes must be at least one, all 2-D or all 3-D, got {[s.ndim for s in shapes]}")
        set_fields(self, shapes=shapes)

    @property
    def ndim(self) -> int:
        """2 or 3."""
        return self.shapes[0].ndim

    def bounds(self) -> tuple[jax.Array, jax.Array]:
        """Lower and upper corner, (ndim,) each, of an axis-parallel box that holds every shape."""
        lower, upper = zip(*(shape.bounds() for shape in self.shapes), strict=True)
        rows = [jnp.concatenate([x.reshape(-1, self.ndim) for x in corner]) for corner in (lower, upper)]
        return rows[0].min(0), rows[1].max(0)

    def __call__(self, points: ArrayLike) -> jax.Array:
        """Values at points (..., ndim) in mm. A shape's surface belongs to it on one side only."""
        points = jnp.asarray(points)
        if points.ndim == 0 or points.shape[-1] != self.ndim:
            raise ValueError(f"points must have shape (..., {self.ndim}), got {points.shape}")
        return _sums.evaluate(self.shapes, points)

    def project(self, geometry: Geometry | LineGeometry, *, oversample: int = 1) -> jax.Array:
        """Exact line integrals over the rays of a geometry, parallel, fan, cone or arbitrary vectors, or over LORs.

        ``p = sum_k value_k * length(ray inside shape_k)``. Rays run from the source (parallel: from infinity) through
        the pixel and on without end: what lies behind the source does not count, what lies behind the detector does.
        Lines of response (LORs, ListMode, SinogramLORs) are integrated from end to end; with time of flight, every
        chord is folded with its bins' profile in closed form.
        Intermediates stay below a few tens of MB whatever the number of views; derivatives are recomputed piecewise.

        Args:
            geometry: any geometry, of the phantom's dimension.
            oversample: k averages over k rays a pixel (k x k in 3-D), on a regular sub-grid of the pixel: the mean
                of the line integrals over the pixel's area as k grows. Of LORs, k x k lines from face to face of the
                two crystals, as the model "multi_ray" has them.

        Returns:
            Projections (views, rows, cols), in 2-D (views, cols), of LORs their ``projection_shape``, in units of
            value x mm.

        Raises:
            ValueError: a geometry of the other dimension, ``oversample < 1``, more than 1 for LORs without widths.
            TypeError: not a geometry, ``oversample`` not an integer.
        """
        if not isinstance(geometry, Geometry | LineGeometry):
            raise TypeError(f"geometry must be a jaxct geometry, got {type(geometry).__name__}")
        if geometry.ndim != self.ndim:
            raise ValueError(f"geometry must be {self.ndim}-D like the phantom, got a {geometry.ndim}-D geometry")
        oversample = _positive_int("oversample", oversample)
        if isinstance(geometry, Geometry):
            return _projection.project(self.shapes, geometry, oversample)
        if oversample > 1 and not geometry.has_widths:
            raise ValueError(f"oversample must be 1 for LORs that have no widths, got {oversample}")
        return _lors.project(self.shapes, geometry, oversample)

    def rasterize(self, grid: VolumeGrid, *, oversample: int = 4) -> jax.Array:
        """Voxel averages on a grid.

        Along x the average is exact, the length of each line inside each voxel; across, k (k x k in 3-D) lines a voxel
        are averaged. Works slice by slice; a slice skips the shapes that do not reach it.

        Args:
            grid: a grid of the phantom's dimension.
            oversample: k, lines per voxel and axis across x.

        Returns:
            volume[z, y, x] or image[y, x], in the values' unit.

        Raises:
            ValueError: a grid of the other dimension, ``oversample < 1``.
            TypeError: not a grid, ``oversample`` not an integer.
        """
        if not isinstance(grid, VolumeGrid):
            raise TypeError(f"grid must be a VolumeGrid, got {type(grid).__name__}")
        if grid.ndim != self.ndim:
            raise ValueError(f"grid must be {self.ndim}-D like the phantom, got shape {grid.shape}")
        return _raster.rasterize(self.shapes, grid, _positive_int("oversample", oversample))

    def __add__(self, other: "Phantom | Shape") -> "Phantom":
        if isinstance(other, Shape):
            return Phantom(*self.shapes, other)
        return Phantom(*self.shapes, *other.shapes) if isinstance(other, Phantom) else NotImplemented

    def __mul__(self, factor: ArrayLike) -> "Phantom":
        return Phantom(*(shape.scaled(factor) for shape in self.shapes))

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return f"Phantom({', '.join(map(repr, self.shapes))})"


def _positive_int(name: str, value: int) -> int:
    try:
        number = operator.index(value)
    except TypeError as error:
        raise TypeError(f"{name} must be a positive integer, got {value!r}") from error
    if number < 1:
        raise ValueError(f"{name} must be a positive integer, got {number}")
    return number
