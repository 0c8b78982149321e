"""The orthonormal Haar transform of images with any number of axes of any length."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxct.geometry import _validate


def haar(x: ArrayLike, *, levels: int = 1) -> jax.Array:
    r"""The orthonormal Haar transform along all axes.

    A level turns neighbours a, b along an axis into ``(a + b) / sqrt 2`` and ``(a - b) / sqrt 2``, axis after axis; the
    next one goes on with the sums. These fill the first half of every axis, rounded up, the details the rest. Where a
    length is odd the last sample waits for the next level; then ``sqrt(p / (p + q)) a + sqrt(q / (p + q)) b`` and
    ``sqrt(q / (p + q)) a - sqrt(p / (p + q)) b`` join what stands for p and for q samples, so that the transform is
    orthonormal, and a constant has no details, for every length.

    Args:
        x: of any shape.
        levels: from one on; when a single sum is left, more change nothing.

    Returns:
        The coefficients, in the shape of x.

    Raises:
        ValueError: a number of levels that is not positive.

    References:
        S. Mallat, "A theory for multiresolution signal decomposition", IEEE Trans. Pattern Anal. Mach. Intell. 11
        (1989) 674-693; M. Girardi and W. Sweldens, "A new class of unbalanced Haar wavelets", J. Fourier Anal. Appl. 3
        (1997) 457-474.
    """
    return _transform(_floating(x), levels)


def inverse_haar(coefficients: ArrayLike, *, levels: int = 1) -> jax.Array:
    """The inverse of :func:`haar`, which is its transpose.

    Raises:
        ValueError: as for :func:`haar`.
    """
    return _inverse(_floating(coefficients), levels)


def approximation(shape: tuple[int, ...], levels: int) -> np.ndarray:
    """Where the coefficients of :func:`haar` are sums and no details: a boolean array of the image's shape."""
    inside = np.zeros(shape, bool)
    inside[tuple(slice(-(-n // 2 ** min(levels, n.bit_length()))) for n in shape)] = True
    return inside


def _floating(x: ArrayLike) -> jax.Array:
    array = jnp.asarray(x)
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


@functools.partial(jax.jit, static_argnames="levels")
def _transform(x: jax.Array, levels: int) -> jax.Array:
    for counts in _levels(x.shape, levels):
        corner = tuple(slice(len(c)) for c in counts)
        block = x[corner]
        for axis, c in enumerate(counts):
            block = jnp.moveaxis(_analyse(jnp.moveaxis(block, axis, -1), c), -1, axis)
        x = x.at[corner].set(block)
    return x


@functools.partial(jax.jit, static_argnames="levels")
def _inverse(x: jax.Array, levels: int) -> jax.Array:
    for counts in reversed(_levels(x.shape, levels)):
        corner = tuple(slice(len(c)) for c in counts)
        block = x[corner]
        for axis, c in enumerate(counts):
            block = jnp.moveaxis(_synthesise(jnp.moveaxis(block, axis, -1), c), -1, axis)
        x = x.at[corner].set(block)
    return x


def _levels(shape: tuple[int, ...], levels: int) -> list[list[np.ndarray]]:
    """For each level and axis: of how many samples each of the sums is made that the level takes."""
    levels = _validate.count("levels", levels)
    found: list[list[np.ndarray]] = []
    counts = [np.ones(n) for n in shape]
    while len(found) < levels and any(len(c) > 1 for c in counts):
        found.append(counts)
        counts = [np.append(c[0 : len(c) // 2 * 2 : 2] + c[1::2], c[len(c) // 2 * 2 :]) for c in counts]
    return found


def _rotation(counts: np.ndarray, dtype: Any) -> tuple[jax.Array, jax.Array, int]:
    """Factors of a pair's first and second sample, and how many samples are in pairs."""
    paired = len(counts) // 2 * 2
    first, second = counts[0:paired:2], counts[1:paired:2]
    share = first / (first + second)
    return jnp.asarray(np.sqrt(share), dtype), jnp.asarray(np.sqrt(1 - share), dtype), paired


def _analyse(x: jax.Array, counts: np.ndarray) -> jax.Array:
    """One level of :func:`haar` along the last axis."""
    c, s, paired = _rotation(counts, x.dtype)
    first, second = x[..., 0:paired:2], x[..., 1:paired:2]
    # s first - c second, written so that equal samples with equal counts have exactly no detail.
    details = s * (first - second) + (s - c) * second
    return jnp.concatenate([c * first + s * second, x[..., paired:], details], -1)


def _synthesise(x: jax.Array, counts: np.ndarray) -> jax.Array:
    c, s, paired = _rotation(counts, x.dtype)
    sums, details = x[..., : paired // 2], x[..., x.shape[-1] - paired // 2 :]
    pairs = jnp.stack([c * sums + s * details, s * sums - c * details], -1)
    rest = x[..., paired // 2 : x.shape[-1] - paired // 2]
    return jnp.concatenate([pairs.reshape(*x.shape[:-1], paired), rest], -1)
