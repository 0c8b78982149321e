"""Blur that depends on where in the scanner a voxel lies."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxct.geometry import VolumeGrid, _validate
from jaxct.geometry._fields import register, set_fields
from jaxct.operators._base import Operator, floating
from jaxct.operators.gaussian import convolve, gaussian, reach_of, require_nonnegative


@register(transaxial=3, axial=3)
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class RadialBlur(Operator):
    """What is in a voxel spread as a Gaussian whose widths depend on where the voxel lies: along the radius, across it
    and along the axis, as crystals see the edge of the field of view through each other.

    Every voxel's kernel is the Gaussian at the voxels' distances, cut off at 4 sigma and divided by its sum; so it
    keeps what was in it, but for what leaves the image. The transpose gathers with the same weights, and is not the
    operator itself: the kernel belongs to where the activity is, not to where it is seen.

    Memory is ``(2 ry + 1) (2 rx + 1)`` transaxial images of weights, made once; the cost is one pass over the image for
    each of these.

    Args:
        grid: of the image, 2-D or 3-D; the radius is measured in its last two axes.
        radial, tangential: standard deviations in mm, positive, each a scalar or an array that broadcasts to the shape
            of a transaxial image: of functions of the radius, with ``grid.coordinates()``.
        axial: the same along z, 0 or more; None for none, and for 2-D images.
        center: of the scanner, (y, x) in mm.
        radius: at how many voxels to cut off, (y, x) or (z, y, x) or for all axes (static); needed where widths or the
            voxel size are traced. As many as 4 times the largest sigma needs if None.

    Raises:
        ValueError: shapes that do not fit, values that are not positive, an axial width of a 2-D image, no radius where
            it cannot be known.
        TypeError: values that are not real numbers.

    References:
        J. Cloquet, F. C. Sureau, M. Defrise, G. Van Simaeys, N. Trotta and S. Goldman, "Non-Gaussian space-variant
        resolution modelling for list-mode reconstruction", Phys. Med. Biol. 55 (2010) 5045-5066.
    """

    transaxial: Array
    axial: Array | None
    shape: tuple[int, ...]
    radius: tuple[int, ...]

    def __init__(
        self,
        grid: VolumeGrid,
        radial: ArrayLike,
        tangential: ArrayLike,
        axial: ArrayLike | None = None,
        *,
        center: ArrayLike | Sequence[float] = 0.0,
        radius: int | Sequence[int] | None = None,
    ):
        if axial is not None and grid.ndim == 2:
            raise ValueError("axial: a 2-D image has no axis")
        plane, steps = grid.shape[-2:], grid.voxel_size
        with jax.ensure_compile_time_eval():  # inside jit, too, numbers are looked at now
            outwards = _widths("radial", radial, plane, positive=True)
            across = _widths("tangential", tangential, plane, positive=True)
            along = None if axial is None else _widths("axial", axial, plane)
            widest = jnp.maximum(outwards, across)
            pairs = [(jnp.zeros(()) if along is None else along, steps[0])] if grid.ndim == 3 else []
            reach = reach_of(radius, [*pairs, (widest, steps[-2]), (widest, steps[-1])])
        origin = _validate.per_axis("center", center, 2)
        kernels = _transaxial_kernels(grid, outwards, across, origin, reach[-2:])
        column = None if along is None else gaussian(along, steps[0], reach[0])
        set_fields(self, transaxial=kernels, axial=column, shape=grid.shape, radius=reach)

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of an image."""
        return self.shape

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of an image."""
        return self.shape

    def __call__(self, x: ArrayLike, /) -> Array:
        image = self._along_the_axis(floating("x", x, self.shape))

        def spread(total: Array, part: tuple[Array, Array]) -> tuple[Array, None]:
            kernel, corner = part
            start = self._start(corner)
            seen = jax.lax.dynamic_slice(total, start, self.shape)
            return jax.lax.dynamic_update_slice(total, seen + kernel.astype(image.dtype) * image, start), None

        total, _ = jax.lax.scan(spread, jnp.pad(jnp.zeros_like(image), self._margin()), self._parts())
        return total[tuple(slice(low, low + n) for (low, _), n in zip(self._margin(), self.shape, strict=True))]

    def transposed(self, y: ArrayLike, /) -> Array:
        """Every voxel gathers, with its own kernel, from where it was spread to."""
        image = floating("y", y, self.shape)
        padded = jnp.pad(image, self._margin())

        def gather(total: Array, part: tuple[Array, Array]) -> tuple[Array, None]:
            kernel, corner = part
            seen = jax.lax.dynamic_slice(padded, self._start(corner), self.shape)
            return total + kernel.astype(image.dtype) * seen, None

        total, _ = jax.lax.scan(gather, jnp.zeros_like(image), self._parts())
        return self._along_the_axis(total)

    def _along_the_axis(self, image: Array) -> Array:
        """Within a column all kernels are alike, so that this is symmetric."""
        return image if self.axial is None else convolve(image, self.axial.astype(image.dtype), 0)

    def _parts(self) -> tuple[Array, Array]:
        """Kernels, and where the image lies on a padded one for each of them."""
        starts = np.stack(np.meshgrid(*(np.arange(2 * r + 1) for r in self.radius[-2:]), indexing="ij"), -1)
        return self.transaxial, jnp.asarray(starts.reshape(-1, 2))

    def _start(self, transaxial: Array) -> tuple[Any, ...]:
        return (*[0] * (len(self.shape) - 2), transaxial[0], transaxial[1])

    def _margin(self) -> list[tuple[int, int]]:
        return [(0, 0)] * (len(self.shape) - 2) + [(r, r) for r in self.radius[-2:]]


def _transaxial_kernels(
    grid: VolumeGrid, radial: Array, tangential: Array, center: Array, radius: tuple[int, ...]
) -> Array:
    """``(offsets, ny, nx)``, the kernel of every voxel of a plane; offsets in C order."""
    y, x = jnp.meshgrid(*(c - o for c, o in zip(grid.coordinates()[-2:], center, strict=True)), indexing="ij")
    length = jnp.hypot(jnp.where((y == 0) & (x == 0), 1, y), x)  # no direction in the centre: any will do
    outwards = jnp.where((y == 0) & (x == 0), 1, y) / length, x / length
    steps = [jnp.arange(-r, r + 1) * grid.voxel_size[k - 2] for k, r in enumerate(radius)]
    dy, dx = (d.reshape(-1, 1, 1) for d in jnp.meshgrid(*steps, indexing="ij"))
    along, across = dy * outwards[0] + dx * outwards[1], dx * outwards[0] - dy * outwards[1]
    weights = jnp.exp(-((along / radial) ** 2 + (across / tangential) ** 2) / 2)
    return weights / jnp.sum(weights, 0)


def _widths(name: str, value: ArrayLike, plane: tuple[int, ...], *, positive: bool = False) -> Array:
    array = _validate.floats(name, value, positive=positive)
    require_nonnegative(name, array)
    try:
        return jnp.broadcast_to(array, plane)
    except ValueError as error:
        raise ValueError(f"{name} must broadcast to a transaxial image, {plane}, got shape {array.shape}") from error
