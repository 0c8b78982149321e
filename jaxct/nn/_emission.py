"""What unrolled networks for counts share: a scan with its units, and the U-Net of a step."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from jaxct._emission import first_image, units_of
from jaxct.nn._unroll import check_scan
from jaxct.nn.unet import UNet


class ScanInUnits(NamedTuple):
    """Counts and image of one float type, checked against the operator, and the units that the image sets."""

    data: jax.Array
    background: jax.Array
    sensitivity: jax.Array
    x: jax.Array
    scale: jax.Array
    """Of :class:`jaxct._emission.Units`: networks see images divided by it."""
    stiffness: jax.Array
    """What the gradient of a penalty is measured in."""


def scan_in_units(
    A: Any,  # noqa: N803
    data: ArrayLike,
    x: ArrayLike | None,
    background: ArrayLike,
    sensitivity: ArrayLike | None,
    ndim: int,
) -> ScanInUnits:
    """From the uniform image that expects as many counts as there are, if x is None."""
    counts, start = check_scan(A, data, x, ndim)
    background = _broadcasting("background", background, counts.shape, counts.dtype)
    if sensitivity is None:
        s = A.T(jnp.ones(counts.shape, counts.dtype))
    else:
        s = jnp.broadcast_to(_broadcasting("sensitivity", sensitivity, start.shape, counts.dtype), start.shape)
    image = first_image(counts, None if x is None else start, s)
    return ScanInUnits(counts, background, s, image, *units_of(image, s))


class Correction(nnx.Module):
    """A U-Net from image to image in units of the scale, whose last convolution starts at zero."""

    def __init__(
        self, ndim: int, features: Sequence[int], convs_per_level: int, dtype: Any, param_dtype: Any, rngs: nnx.Rngs
    ):
        types = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        self.unet = UNet(ndim, features=features, convs_per_level=convs_per_level, **types)
        self.unet.last.kernel[...] = jnp.zeros_like(self.unet.last.kernel[...])

    def __call__(self, x: jax.Array, scale: jax.Array) -> jax.Array:
        return self.unet((x / scale)[..., None])[..., 0].astype(x.dtype)


def not_negative(x: jax.Array) -> jax.Array:
    # Not jnp.maximum, whose derivative at 0, where EM leaves many voxels, is one half.
    return jnp.where(x > 0, x, 0)


def _broadcasting(name: str, value: ArrayLike, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    array = jnp.asarray(value, dtype)
    if array.ndim > len(shape) or any(n not in (1, m) for n, m in zip(array.shape[::-1], shape[::-1], strict=False)):
        raise ValueError(f"{name} must broadcast to the operator's shape {shape}, got {array.shape}")
    return array
