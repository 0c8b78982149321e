"""The U-Net."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxct.geometry import _validate
from jaxct.nn._layers import GroupNorm, check_ndim, conv, double

SKIPS = ("add", "concatenate")
NORMS = ("group", "instance", "none")
_GROUP_SIZES = {"group": 8, "instance": 1}


class _Layer(nnx.Module):
    """Convolution, normalisation, leaky ReLU."""

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        *,
        strides: int = 1,
        norm: str,
        negative_slope: float,
        dtype: Any,
        param_dtype: Any,
        rngs: nnx.Rngs,
    ):
        # A bias would be no more than what the normalisation subtracts.
        options = {"use_bias": norm == "none", "dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        self.conv = conv(ndim, in_channels, out_channels, strides=strides, **options)
        self.norm = None if norm == "none" else GroupNorm(ndim, out_channels, _GROUP_SIZES[norm], param_dtype)
        self.negative_slope = negative_slope

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        return nnx.leaky_relu(x, self.negative_slope)


class UNet(nnx.Module):
    r"""A U-Net of convolutions of 3^ndim voxels: ``(..., *spatial, in_channels) -> (..., *spatial, out_channels)``.

    Level i has ``features[i]`` channels. On the way down a convolution of stride 2 leads to the next level, on the way
    up (bi-, tri-) linear interpolation and a convolution to the one before, where what was there on the way down is
    added or appended; every level has ``convs_per_level`` further convolutions each way. Each convolution is followed
    by a normalisation and a leaky ReLU, but for the last one, of single voxels.

    Any size will do: one that is odd is halved upwards, and interpolation is cut to the size that it came from.

    Args:
        ndim: 2 for images, 3 for volumes.
        features: channels of each level, the finest first; 4 levels if not given.
        in_channels, out_channels: channels of the input and of the output.
        skip: "add" or "concatenate".
        norm: "group": over the voxels and the channels of groups of 8 (of the greatest common divisor of 8 and the
            channels, if that is less); "instance": over voxels alone; "none".
        convs_per_level: convolutions of each level, each way, beside those that change it.
        negative_slope: of the leaky ReLU.
        final_activation: a function of the output, such as ``nnx.relu`` or ``nnx.softplus`` where nothing negative may
            come out; none if None.
        dtype: what is computed in; that of the input if None. The last convolution is computed in the input's, which
            is the output's, too.
        param_dtype: of the parameters.
        rngs: where the parameters' first values come from.

    Raises:
        TypeError, ValueError: numbers that are no such counts, unknown modes; when called, an input of another rank or
            number of channels, or one of which "instance" would leave nothing, a single voxel on the coarsest level.

    References:
        O. Ronneberger, P. Fischer, T. Brox, "U-Net: convolutional networks for biomedical image segmentation", MICCAI
        2015, 234-241. With added skips, strides and interpolation: K. Gong, C. Catana, J. Qi, Q. Li, "PET image
        reconstruction using deep image prior", IEEE Trans. Med. Imaging 38 (2019) 1655-1665.
    """

    def __init__(
        self,
        ndim: int = 2,
        *,
        features: Sequence[int] = (16, 32, 64, 128),
        in_channels: int = 1,
        out_channels: int = 1,
        skip: str = "add",
        norm: str = "group",
        convs_per_level: int = 2,
        negative_slope: float = 0.2,
        final_activation: Callable[[jax.Array], jax.Array] | None = None,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.ndim = check_ndim(ndim)
        self.features = tuple(_validate.count("features", n) for n in features)
        if not self.features:
            raise ValueError("features must have a number of channels for one level or more, got none")
        self.in_channels = _validate.count("in_channels", in_channels)
        self.out_channels = _validate.count("out_channels", out_channels)
        self.skip, self.norm = _validate.choice("skip", skip, SKIPS), _validate.choice("norm", norm, NORMS)
        self.final_activation, self.dtype = final_activation, dtype
        convs = _validate.count("convs_per_level", convs_per_level)

        def layer(before: int, after: int, strides: int = 1) -> _Layer:
            types = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
            return _Layer(ndim, before, after, strides=strides, norm=norm, negative_slope=negative_slope, **types)

        def level(before: int, after: int) -> nnx.Sequential:
            return nnx.Sequential(layer(before, after), *(layer(after, after) for _ in range(convs - 1)))

        first, *rest = self.features
        pairs = list(zip(self.features[:-1], rest, strict=True))
        self.first = level(in_channels, first)
        self.down = nnx.List([nnx.Sequential(layer(*pair, strides=2), level(pair[1], pair[1])) for pair in pairs])
        self.up = nnx.List([layer(after, before) for before, after in reversed(pairs)])
        joined = 2 if skip == "concatenate" else 1
        self.merge = nnx.List([level(joined * before, before) for before, _ in reversed(pairs)])
        self.last = conv(ndim, first, out_channels, size=1, param_dtype=param_dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """The output, of the input's leading axes, size and dtype."""
        self._check(x)
        dtype = x.dtype
        x = self.first(x.astype(self.dtype or dtype))
        skips = [x]
        for down in self.down:
            x = down(x)
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, reversed(skips[:-1]), strict=True):
            x = up(double(x, skip.shape[-self.ndim - 1 : -1]))
            x = merge(x + skip if self.skip == "add" else jnp.concatenate([x, skip], -1))
        x = self.last(x.astype(dtype))
        return x if self.final_activation is None else self.final_activation(x)

    def _check(self, x: jax.Array) -> None:
        wanted = f"(..., {'z, ' if self.ndim == 3 else ''}y, x, {self.in_channels})"
        if x.ndim < self.ndim + 1 or x.shape[-1] != self.in_channels:
            raise ValueError(f"x must have shape {wanted}, got {x.shape}")
        factor = 2 ** (len(self.features) - 1)
        alone = self.norm != "none" and math.gcd(_GROUP_SIZES[self.norm], self.features[-1]) == 1
        if alone and max(x.shape[-self.ndim - 1 : -1]) <= factor:
            raise ValueError(
                f"x must be more than {factor} voxels long along an axis, got shape {x.shape}: normalising a channel "
                "by itself leaves nothing of a single voxel; take another norm or fewer levels"
            )
