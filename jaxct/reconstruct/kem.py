"""The kernel method: an image of the same patient says which voxels belong together."""

import dataclasses
import itertools
import math
from functools import partial
from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxct._arithmetic import or_one
from jaxct.geometry import _validate
from jaxct.geometry._fields import register, set_fields
from jaxct.operators import Compose, Operator
from jaxct.operators._base import floating
from jaxct.reconstruct.mlem import mlem
from jaxct.reconstruct.osem import osem
from jaxct.reconstruct.run import LinearOperator, LoopOptions, Result


@register(steps=3, weights=3)
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Kernel(Operator):
    r"""The matrix K of the kernel method, ``(K a)_j = sum_k K_jk a_k``: a voxel is an average over the voxels of its
    neighbourhood that look most like it in a prior image.

    Voxels are compared by patches around them, of which every one is scaled by its standard deviation over the image:
    ``K_jk = exp(-|f_j - f_k|^2 / (2 sigma^2 n))`` for the k among the ``num_neighbours`` nearest to j, itself one of
    them, with ``|f_j - f_k|^2`` the sum over the n voxels of a patch (outside of the image it goes on as at its edge),
    and the rows are divided by their sums. K is not symmetric: j may be near to k, whose own nearest are others. Its
    transpose is exact, and gathers, so that sums are in one order on every device.

    Args:
        prior: an image, 2-D or 3-D, on the grid of the image to come; or several, the leading axis, with
            ``channels=True``.
        num_neighbours: how many, static; fewer where the window reaches out of the image.
        patch: edge of the cube that voxels are compared by, odd (static).
        window: edge of the cube that neighbours are looked for in, odd (static).
        sigma: width of the Gaussian, positive, in units of the patches' standard deviation; infinite for equal weights.
        channels: whether the prior is several images.

    Raises:
        ValueError: a prior that is no such image or not finite, even edges, more neighbours than there are in a window,
            a sigma that is not positive.
        TypeError: values that are not real numbers.

    References:
        G. Wang and J. Qi, "PET image reconstruction using kernel method", IEEE Trans. Med. Imaging 34 (2015) 61-71;
        W. Hutchcroft, G. Wang, K. T. Chen, C. Catana and J. Qi, "Anatomically-aided PET reconstruction using the
        kernel method", Phys. Med. Biol. 61 (2016) 6668-6683.
    """

    steps: Array
    weights: Array
    shape: tuple[int, ...]
    window: int

    def __init__(
        self,
        prior: ArrayLike,
        *,
        num_neighbours: int = 48,
        patch: int = 3,
        window: int = 7,
        sigma: ArrayLike = 1.0,
        channels: bool = False,
    ):
        images = _validate.floats("prior", prior)
        images = images if channels else images[None]
        if images.ndim not in (3, 4):
            wanted = "2-D or 3-D images" if channels else "a 2-D or 3-D image"
            raise ValueError(f"prior must be {wanted}, got shape {jnp.shape(prior)}")
        for name, edge in (("patch", patch), ("window", window)):
            if _validate.count(name, edge) % 2 == 0:
                raise ValueError(f"{name} must be odd, got {edge}")
        shape = images.shape[1:]
        if _validate.count("num_neighbours", num_neighbours) > window ** len(shape):
            most = window ** len(shape)
            raise ValueError(f"num_neighbours must be at most the voxels of a window, {most}, got {num_neighbours}")
        with jax.ensure_compile_time_eval():
            width = _validate.floats("sigma", sigma, positive=True, finite=False)
        numbers, weights = _nearest(images, width, num_neighbours=num_neighbours, patch=patch, window=window)
        set_fields(self, steps=numbers, weights=weights, shape=shape, window=window)

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of an image."""
        return self.shape

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of an image."""
        return self.shape

    def __call__(self, a: ArrayLike, /) -> Array:
        image = floating("a", a, self.shape)
        padded = jnp.pad(image, self.window // 2)
        return jnp.sum(self.weights.astype(image.dtype) * padded.ravel()[self._index()], -1)

    def transposed(self, y: ArrayLike, /) -> Array:
        """``(K^T y)_k = sum_j K_jk y_j``."""
        image = floating("y", y, self.shape)
        # Elsewhere additions to one place happen in no order; on a CPU they do, and a tenth of the work is enough.
        padded = jax.lax.platform_dependent(self, image, cpu=_scatter, default=_spread)
        return padded[tuple(slice(self.window // 2, self.window // 2 + n) for n in self.shape)]

    def _index(self) -> Array:
        """Where the neighbours are in an image with a margin of half a window, in C order."""
        padded = tuple(n + self.window - 1 for n in self.shape)
        inner = tuple(slice(self.window // 2, self.window // 2 + n) for n in self.shape)
        here = jnp.arange(math.prod(padded), dtype=jnp.int32).reshape(padded)[inner]
        strides = np.cumprod([1, *padded[:0:-1]])[::-1]
        return here[..., None] + jnp.asarray(_offsets(self.window, len(self.shape)) @ strides, jnp.int32)[self.steps]


def kem(
    A: LinearOperator,  # noqa: N803
    data: ArrayLike,
    *,
    kernel: Operator,
    num_iters: int,
    num_subsets: int = 1,
    init: ArrayLike | None = None,
    background: ArrayLike | None = None,
    sensitivity: ArrayLike | None = None,
    order: str = "herman_meyer",
    key: Array | None = None,
    **loop: Unpack[LoopOptions],
) -> Result:
    r"""Maximise the likelihood of ``data ~ Poisson(A K a + background)`` over coefficients ``a >= 0``, the image being
    ``x = K a``, by :func:`~jaxct.reconstruct.mlem` or, with subsets, :func:`~jaxct.reconstruct.osem`, of the operator
    ``A K``:

        a <- a / (K^T s) * K^T A^T (data / (A K a + background)),    s = A^T 1

    What K cannot make is not in the image: noise between voxels that look alike in the prior image, but structures that
    the prior image does not show are smoothed, too. The likelihood never falls (with one subset).

    One application of A and K and of their transposes an iteration, and what mlem or osem take to start.

    Args:
        A: a linear operator with weights that are not negative and a matched transpose.
        data: counts, not negative, of shape ``A.out_shape``.
        kernel: K, such as a :class:`Kernel`; any operator without negative weights.
        num_iters: number of iterations (static under ``jit``).
        num_subsets: 1 for MLEM, more for OSEM, for which A must have views to choose from.
        init: first coefficients, not negative; uniform if None.
        background: what is expected besides the image, as for mlem.
        sensitivity: s, of the image (not of the coefficients), where the rays of A are events: see mlem.
        order, key: of the subsets, as for osem.
        loop: callback (with the state of mlem or osem, whose volume are the coefficients), progress, stop, checkpoint:
            see :class:`~jaxct.reconstruct.LoopOptions`.

    Returns:
        ``Result(volume, history)``, the image ``K a``, and the history of mlem or osem.

    Raises:
        ValueError, TypeError: as mlem and osem; a kernel whose shape is not that of the image.

    References:
        As for :class:`Kernel`.
    """
    product = Compose(A, kernel)
    if sensitivity is not None:
        sensitivity = kernel.T(jnp.broadcast_to(jnp.asarray(sensitivity), tuple(A.in_shape)))
    options: dict[str, Any] = {"init": init, "background": background, "sensitivity": sensitivity, **loop}
    if num_subsets == 1:
        result = mlem(product, data, num_iters=num_iters, **options)
    else:
        options |= {"num_subsets": num_subsets, "order": order, "key": key}
        result = osem(product, data, num_iters=num_iters, **options)
    return Result(kernel(result.volume), result.history)


def _offsets(window: int, ndim: int) -> np.ndarray:
    """All of a window, in C order."""
    reach = window // 2
    return np.array(list(itertools.product(range(-reach, reach + 1), repeat=ndim)), np.int32)


def _scatter(kernel: Kernel, image: Array) -> Array:
    """``K^T y`` on an image with a margin, voxel by voxel."""
    padded = tuple(n + kernel.window - 1 for n in kernel.shape)
    shares = kernel.weights.astype(image.dtype) * image[..., None]
    return jnp.zeros(math.prod(padded), image.dtype).at[kernel._index()].add(shares).reshape(padded)


def _spread(kernel: Kernel, image: Array) -> Array:
    """The same, offset by offset."""
    weights, last = kernel.weights.astype(image.dtype), kernel.weights.shape[-1] - 1

    def add(carry: tuple[Array, Array], part: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        total, cursor = carry
        number, corner = part
        # A voxel's steps are in rising order: only the next one can be of this number.
        at = jnp.minimum(cursor, last)[..., None]
        hit = (jnp.take_along_axis(kernel.steps, at, -1)[..., 0] == number) & (cursor <= last)
        share = jnp.where(hit, jnp.take_along_axis(weights, at, -1)[..., 0] * image, 0)
        start = tuple(corner)
        seen = jax.lax.dynamic_slice(total, start, kernel.shape)
        return (jax.lax.dynamic_update_slice(total, seen + share, start), cursor + hit), None

    corners = jnp.asarray(_offsets(kernel.window, len(kernel.shape)) + kernel.window // 2)
    start = (jnp.pad(jnp.zeros_like(image), kernel.window // 2), jnp.zeros(kernel.shape, jnp.int32))
    (total, _), _ = jax.lax.scan(add, start, (jnp.arange(len(corners), dtype=jnp.int32), corners))
    return total


@partial(jax.jit, static_argnames=("num_neighbours", "patch", "window"))
def _nearest(images: Array, sigma: Array, *, num_neighbours: int, patch: int, window: int) -> tuple[Array, Array]:
    """Numbers of the offsets to the nearest voxels, in rising order, and the weights; slice by slice."""
    shape, reach, margin = images.shape[1:], window // 2, patch // 2
    deviation = jnp.std(images, axis=range(1, images.ndim), keepdims=True)
    scaled = images / or_one(deviation)
    padded = jnp.pad(scaled, [(0, 0)] + [(reach + margin,) * 2] * len(shape), mode="edge")
    inside = jnp.pad(jnp.ones(shape, bool), reach)
    thick, zero = (1, *shape[1:]), jnp.int32(0)

    def of_slice(z: Array) -> tuple[Array, Array]:
        around = tuple(n + 2 * margin for n in thick)
        cut = partial(jax.lax.dynamic_slice, padded, slice_sizes=(images.shape[0], *around))
        here = cut((zero, z + reach, *[zero + reach] * (len(shape) - 1)))

        def distance(offset: Array) -> Array:
            corner = offset.at[0].add(z)
            square = jnp.sum((cut((zero, *corner)) - here) ** 2, 0)
            for axis in range(len(shape)):
                shifted = [jax.lax.slice_in_dim(square, p, p + thick[axis], axis=axis) for p in range(patch)]
                square = jnp.sum(jnp.stack(shifted), 0)
            return jnp.where(jax.lax.dynamic_slice(inside, tuple(corner), thick), square, jnp.inf)[0]

        distances = jnp.moveaxis(jax.lax.map(distance, jnp.asarray(_offsets(window, len(shape)) + reach)), 0, -1)
        nearest, numbers = jax.lax.top_k(-distances, num_neighbours)
        weights = jnp.exp(nearest / (2 * sigma**2 * images.shape[0] * patch ** len(shape)))
        weights = jnp.where(jnp.isinf(nearest), 0, weights)
        rising = jnp.argsort(numbers, -1)
        weights = weights / jnp.sum(weights, -1, keepdims=True)
        return jnp.take_along_axis(numbers, rising, -1), jnp.take_along_axis(weights, rising, -1)

    numbers, weights = jax.lax.map(of_slice, jnp.arange(shape[0], dtype=jnp.int32))
    return numbers.astype(jnp.int32), weights
