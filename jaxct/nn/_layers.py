"""What the networks are made of. Channels last; leading axes, if there are any, are a batch."""

import itertools
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxct.geometry import _validate


def num_parameters(module: nnx.Module) -> int:
    """How many numbers of a module are trained: the sizes of its ``nnx.Param`` together."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


def check_ndim(ndim: int) -> int:
    if _validate.count("ndim", ndim) not in (2, 3):
        raise ValueError(f"ndim must be 2 or 3, got {ndim}")
    return ndim


def conv(
    ndim: int, in_channels: int, out_channels: int, *, size: int = 3, strides: int = 1, **options: Any
) -> nnx.Conv:
    """A convolution with an odd kernel, its centre on every voxel or, with strides, on every second, from the first."""
    padding = [(size // 2, size // 2)] * ndim
    return nnx.Conv(
        in_channels, out_channels, (size,) * ndim, strides, padding=padding, conv_general_dilated=convolve, **options
    )


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    *,
    precision: Any = None,
    lhs_dilation: Any = None,
    rhs_dilation: Any = None,
    feature_group_count: int = 1,
    preferred_element_type: Any = None,
    **_: Any,
) -> jax.Array:
    """Images ``(n, y, x, in)`` or volumes ``(n, z, y, x, in)`` with a kernel ``(*size, in, out)``, as ``nnx.Conv`` asks
    for it: without dilations and groups, which none of the networks has. (What else it says is the order of axes, which
    is known, and ``out_sharding``, None.) Has derivatives in reverse mode only.

    A volume is a batch of slices, with the slices beside each as further channels: the same sums as a convolution in
    3-D; XLA's on CPUs is several times slower, its gradient most of all.
    """
    dilated = any(d is not None and set(np.ravel(d).tolist()) != {1} for d in (lhs_dilation, rhs_dilation))
    if dilated or feature_group_count != 1 or preferred_element_type is not None:
        raise NotImplementedError("convolutions with dilations, groups, or an element type of their own")
    if x.ndim == 4:
        return _convolve(x, kernel, tuple(strides), tuple(padding), (1, 1), (1, 1), precision)
    depth, step = kernel.shape[0], strides[0]
    padded = jnp.pad(x, ((0, 0), padding[0], *[(0, 0)] * 3))
    count = (padded.shape[1] - depth) // step + 1
    beside = [jax.lax.slice_in_dim(padded, k, k + (count - 1) * step + 1, step, axis=1) for k in range(depth)]
    slices = jnp.concatenate(beside, -1).reshape(-1, *x.shape[2:-1], depth * x.shape[-1])
    out = convolve(slices, jnp.concatenate(list(kernel), -2), strides[1:], padding[1:], precision=precision)
    return out.reshape(x.shape[0], count, *out.shape[1:])


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4, 5, 6))
def _convolve(
    x: jax.Array,
    kernel: jax.Array,
    strides: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    x_dilation: tuple[int, ...],
    kernel_dilation: tuple[int, ...],
    precision: Any,
) -> jax.Array:
    """Images ``(n, y, x, in)`` with a kernel ``(y, x, in, out)``.

    XLA on CPUs calls its library for convolutions in this order of axes alone, and brings others into it only outside
    loops; inside, the gradients of ``conv_general_dilated`` take some thirty times as long (jax-ml/jax#12868). So ours
    are convolutions in this order too.
    """
    return jax.lax.conv_general_dilated(
        x, kernel, strides, padding, x_dilation, kernel_dilation, ("NHWC", "HWIO", "NHWC"), precision=precision
    )


def _convolve_fwd(x: jax.Array, kernel: jax.Array, *static: Any) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _convolve(x, kernel, *static), (x, kernel)


def _convolve_bwd(
    strides: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    x_dilation: tuple[int, ...],
    kernel_dilation: tuple[int, ...],
    precision: Any,
    residuals: tuple[jax.Array, jax.Array],
    cotangent: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    extent = lambda array, dilation: [(n - 1) * d + 1 for n, d in zip(array, dilation, strict=True)]  # noqa: E731
    for_x, for_kernel = [], []
    for seen, width, out, (low, _) in zip(
        extent(x.shape[1:3], x_dilation),
        extent(kernel.shape[:2], kernel_dilation),
        extent(cotangent.shape[1:3], strides),
        padding,
        strict=True,
    ):
        for_x.append((width - 1 - low, seen - out + low))
        for_kernel.append((low, out + width - seen - 1 - low))
    # The kernel turned round leads from the output to the input.
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    to_x = _convolve(cotangent, turned, x_dilation, tuple(for_x), strides, kernel_dilation, precision)
    # The channels are the batch, and the batch, which is summed over, the channels.
    by_channel, weights = x.transpose(3, 1, 2, 0), cotangent.transpose(1, 2, 0, 3)
    to_kernel = _convolve(by_channel, weights, kernel_dilation, tuple(for_kernel), x_dilation, strides, precision)
    return to_x.astype(x.dtype), to_kernel.transpose(1, 2, 0, 3).astype(kernel.dtype)


_convolve.defvjp(_convolve_fwd, _convolve_bwd)


class GroupNorm(nnx.Module):
    """Zero mean and unit variance over the voxels and the channels of a group, then a gain and an offset by channel.

    The statistics are those of one image, whatever axes come before it, in float32 or better. (That of flax wants
    exactly one axis in front.)
    """

    def __init__(self, ndim: int, channels: int, group_size: int, param_dtype: Any):
        self.gain = nnx.Param(jnp.ones(channels, param_dtype))
        self.offset = nnx.Param(jnp.zeros(channels, param_dtype))
        self.axes = (*range(-ndim - 2, -2), -1)
        self.group_size = math.gcd(group_size, channels)

    def __call__(self, x: jax.Array) -> jax.Array:
        grouped = x.reshape(*x.shape[:-1], -1, self.group_size).astype(jnp.promote_types(x.dtype, jnp.float32))
        centred = grouped - jnp.mean(grouped, self.axes, keepdims=True)
        variance = jnp.mean(centred**2, self.axes, keepdims=True)
        normal = (centred * jax.lax.rsqrt(variance + 1e-5)).reshape(x.shape)
        return (self.gain[...] * normal + self.offset[...]).astype(x.dtype)


class ConvStack(nnx.Module):
    """Convolutions of 3 voxels with a parametric ReLU between them, as unrolled networks have for each step.

    Computed in ``dtype``, returned in the dtype of what came. ``zero``: the last one starts at zero.
    """

    def __init__(
        self, ndim: int, channels: tuple[int, ...], *, zero: bool, dtype: Any, param_dtype: Any, rngs: nnx.Rngs
    ):
        types = {"dtype": dtype, "param_dtype": param_dtype}
        pairs = list(itertools.pairwise(channels))
        hidden = [conv(ndim, *pair, rngs=rngs, **types) for pair in pairs[:-1]]
        start = nnx.initializers.zeros if zero else nnx.initializers.lecun_normal()
        self.last = conv(ndim, *pairs[-1], kernel_init=start, rngs=rngs, **types)
        self.hidden = nnx.List(hidden)
        self.activations = nnx.List([nnx.PReLU(0.1, **types) for _ in hidden])

    def __call__(self, x: jax.Array) -> jax.Array:
        dtype = x.dtype
        for layer, activation in zip(self.hidden, self.activations, strict=True):
            x = activation(layer(x))
        return self.last(x).astype(dtype)


def double(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Linear interpolation to twice as many voxels, cut to ``shape``: the axes before the last of x.

    The two halves of a voxel get 3/4 of its value and 1/4 of the neighbour's on their side; at the rim, all of it. Sums
    of shifted copies: the gradient needs no scatter and is the same in every run.
    """
    for axis, size in enumerate(shape, start=x.ndim - 1 - len(shape)):
        last = x.shape[axis] - 1
        first_half = jax.lax.slice_in_dim(x, 0, 1, axis=axis), jax.lax.slice_in_dim(x, 0, last, axis=axis)
        second_half = jax.lax.slice_in_dim(x, 1, None, axis=axis), jax.lax.slice_in_dim(x, last, None, axis=axis)
        halves = [0.75 * x + 0.25 * jnp.concatenate(pair, axis) for pair in (first_half, second_half)]
        whole = jnp.stack(halves, axis + 1).reshape(*x.shape[:axis], 2 * (last + 1), *x.shape[axis + 1 :])
        x = jax.lax.slice_in_dim(whole, 0, size, axis=axis)
    return x
