"""Blur that is alike everywhere, and what all blurs are made of."""

import dataclasses
import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxct.geometry import VolumeGrid, _validate
from jaxct.geometry._fields import register, set_fields
from jaxct.operators._base import Operator, floating

NUM_SIGMAS = 4
"""Where a Gaussian is cut off: 6e-5 of it lie beyond."""


@register(sigma=1, voxel_size=1)
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class GaussianBlur(Operator):
    """Convolution of an image with a Gaussian, zero outside of the image: resolution that is alike everywhere.

    Axis by axis, with the Gaussian at the voxels' distances, cut off at 4 sigma and divided by its sum. What a voxel
    spreads adds up to what was in it, but for what leaves the image. A sigma well below half a voxel is as good as
    none. The matrix is symmetric. The cost is a multiplication and an addition for each voxel that is reached, along
    each axis.

    Args:
        grid: of the image.
        sigma: standard deviation in mm, for all axes or one for each, in array order; 0 for none. Scanners are
            described by the full width at half maximum: :func:`fwhm_to_sigma`.
        radius: at how many voxels to cut off, for all axes or one for each (static); needed where sigma or the voxel
            size is traced. As many as 4 sigma need if None.

    Raises:
        ValueError: values that are negative or not finite; no radius where it cannot be known.
        TypeError: values that are not real numbers.
    """

    sigma: Array
    voxel_size: Array
    shape: tuple[int, ...]
    radius: tuple[int, ...]

    def __init__(
        self,
        grid: VolumeGrid,
        sigma: ArrayLike | Sequence[float],
        *,
        radius: int | Sequence[int] | None = None,
    ):
        with jax.ensure_compile_time_eval():  # inside jit, too, numbers are looked at now
            widths = _validate.per_axis("sigma", sigma, grid.ndim)
            require_nonnegative("sigma", widths)
            reach = reach_of(radius, [(widths[k], grid.voxel_size[k]) for k in range(grid.ndim)])
        set_fields(self, sigma=widths, voxel_size=grid.voxel_size, shape=grid.shape, radius=reach)

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of an image."""
        return self.shape

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of an image."""
        return self.shape

    def __call__(self, x: ArrayLike, /) -> Array:
        image = floating("x", x, self.shape)
        for axis, reach in enumerate(self.radius):
            if reach:
                kernel = gaussian(self.sigma[axis], self.voxel_size[axis], reach)
                image = convolve(image, kernel.astype(image.dtype), axis)
        return image

    def transposed(self, y: ArrayLike, /) -> Array:
        """The same: the kernel is symmetric."""
        return self(y)


def fwhm_to_sigma(fwhm: ArrayLike) -> Array:
    """The standard deviation of a Gaussian of this full width at half maximum, ``fwhm / sqrt(8 log 2)``."""
    return _validate.floats("fwhm", fwhm) / math.sqrt(8 * math.log(2))


def gaussian(sigma: Array, step: Array, radius: int) -> Array:
    """At the distances ``-radius ... radius`` times step, the leading axis, with the sum 1; a single 1 for no width."""
    distances = jnp.arange(-radius, radius + 1).reshape(-1, *[1] * sigma.ndim) * step
    none = sigma == 0
    weights = jnp.where(none, distances == 0, jnp.exp(-((distances / jnp.where(none, 1, sigma)) ** 2) / 2))
    return weights / jnp.sum(weights, 0)


@functools.partial(jax.jit, static_argnames="axis")
def convolve(image: Array, kernel: Array, axis: int) -> Array:
    """Along an axis; entries of the kernel, odd in number, may be images of the other axes."""
    reach, size = kernel.shape[0] // 2, image.shape[axis]
    pad = [(reach, reach) if k == axis else (0, 0) for k in range(image.ndim)]
    padded = jnp.pad(image, pad)
    total = jnp.zeros_like(image)
    for k in range(kernel.shape[0]):
        total = total + kernel[k] * jax.lax.slice_in_dim(padded, k, k + size, axis=axis)
    return total


def reach_of(radius: int | Sequence[int] | None, pairs: list[tuple[Array, Array]]) -> tuple[int, ...]:
    """Voxels to either side, for each pair of widths and voxel size."""
    if radius is not None:
        given = [radius] * len(pairs) if isinstance(radius, int) else list(radius)
        if len(given) != len(pairs) or any(isinstance(r, bool) or not isinstance(r, int) or r < 0 for r in given):
            raise ValueError(f"radius must be a number of voxels or {len(pairs)} of them, 0 or more, got {radius!r}")
        return tuple(given)
    if not _validate.concrete(*(a for pair in pairs for a in pair)):
        raise ValueError("radius must be given where sigma or the voxel size is traced")
    return tuple(math.ceil(NUM_SIGMAS * float(jnp.max(sigma) / step)) for sigma, step in pairs)


def require_nonnegative(name: str, array: Array) -> None:
    if _validate.concrete(array) and (least := float(jnp.min(array))) < 0:
        raise ValueError(f"{name} must not be negative, got {least:g}")
