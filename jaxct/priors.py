"""Penalties on images: how unlikely one is before any data are looked at. Functions of arrays, any number of axes.

Every penalty takes ``spacing``, the distance between neighbours along every axis (the voxel size), and ``mask``, the
voxels that count: where it is False a voxel may have any value, NaN too, and the gradient is zero. Batches are
``jax.vmap``'s job.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxct import wavelets
from jaxct._penalties import (
    NEIGHBOURHOODS,
    as_image,
    half_square,
    neighbours,
    not_negative,
    relative_difference_term,
    require_not_negative,
    smoothed_length,
)
from jaxct.geometry import _validate


def total_variation(
    x: ArrayLike,
    *,
    smoothing: ArrayLike = 0.0,
    isotropic: bool = True,
    spacing: ArrayLike | Sequence[float] = 1.0,
    weights: ArrayLike | None = None,
    mask: ArrayLike | None = None,
) -> jax.Array:
    r"""Total variation, ``sum_i w_i (sqrt(|D x|_i^2 + eps^2) - eps)`` with the :func:`differences` D.

    A difference one of whose voxels is masked out is zero. Where ``eps = 0`` there is a kink at ``|D x|_i = 0``, whose
    subgradient zero is taken; elsewhere, and everywhere for eps > 0, it is smooth. The gradient is then Lipschitz with
    the constant ``4 max(w) sum_k spacing_k^-2 / eps``, which as a diagonal matrix is above the Hessian.

    Args:
        x: of any shape.
        smoothing: eps, in the unit of ``|D x|``: differences far below it are penalised quadratically.
        isotropic: take the length of the gradient; else the sum of its components' sizes, each smoothed.
        spacing: distance between neighbours, one for all axes or one for each.
        weights: factors of the voxels' terms, broadcasting to the shape of x.
        mask: boolean, broadcasting to the shape of x.

    Returns:
        A scalar.

    Raises:
        ValueError: shapes that do not fit, a spacing that is not positive, a smoothing that is negative.
        TypeError: values that are not real numbers, a mask that is not boolean.

    References:
        L. I. Rudin, S. Osher and E. Fatemi, "Nonlinear total variation based noise removal algorithms", Physica D 60
        (1992) 259-268; C. R. Vogel and M. E. Oman, "Iterative methods for total variation denoising", SIAM J. Sci.
        Comput. 17 (1996) 227-238.
    """
    image, factors, inside = as_image(x, weights, mask)
    smoothing = not_negative("smoothing", smoothing).astype(image.dtype)
    steps = _validate.per_axis("spacing", spacing, image.ndim, positive=True)
    return _total_variation(image, smoothing, isotropic, steps, factors, inside)


def quadratic(
    x: ArrayLike,
    *,
    neighbourhood: str = "faces",
    spacing: ArrayLike | Sequence[float] = 1.0,
    weights: ArrayLike | None = None,
    mask: ArrayLike | None = None,
) -> jax.Array:
    r"""Quadratic penalty on differences, ``sum_{j,k} v_jk (x_j - x_k)^2 / 2`` over pairs of neighbours, each once.

    ``v_jk = w_j w_k / distance_jk``. With the weights of Fessler and Rogers resolution becomes about uniform.

    Args:
        x: of any shape.
        neighbourhood: "faces": voxels that share a face; "full": also those that share an edge or a corner.
        spacing: distance between neighbours, one for all axes or one for each.
        weights: w, not negative, broadcasting to the shape of x.
        mask: boolean, broadcasting to the shape of x; a pair counts if both of its voxels do.

    Returns:
        A scalar.

    Raises:
        ValueError: shapes that do not fit, a spacing that is not positive, negative weights, an unknown neighbourhood.
        TypeError: values that are not real numbers, a mask that is not boolean.

    References:
        J. A. Fessler and W. L. Rogers, "Spatial resolution properties of penalized-likelihood image reconstruction:
        space-invariant tomographs", IEEE Trans. Image Process. 5 (1996) 1346-1358.
    """
    return _pair_sum(half_square, (), x, neighbourhood, spacing, weights, mask)


def huber(
    x: ArrayLike,
    *,
    delta: ArrayLike,
    neighbourhood: str = "faces",
    spacing: ArrayLike | Sequence[float] = 1.0,
    weights: ArrayLike | None = None,
    mask: ArrayLike | None = None,
) -> jax.Array:
    r"""Huber's penalty on differences, ``sum_{j,k} v_jk h(x_j - x_k)`` over pairs of neighbours, each once.

    ``h(t) = t^2 / 2`` up to ``|t| = delta`` and ``delta (|t| - delta / 2)`` from there on: small differences are
    smoothed, edges kept. It is continuously differentiable; its curvature jumps at delta.

    Args:
        x: of any shape.
        delta: largest difference that counts as noise, in the unit of x.
        neighbourhood, spacing, weights, mask: as for :func:`quadratic`, with the same ``v_jk``.

    Returns:
        A scalar.

    Raises:
        ValueError, TypeError: as for :func:`quadratic`; a delta that is not positive.

    References:
        P. J. Huber, "Robust estimation of a location parameter", Ann. Math. Statist. 35 (1964) 73-101; R. L. Stevenson
        and E. J. Delp, "Fitting curves with discontinuities", Proc. IEEE Workshop on Robust Computer Vision (1990)
        127-136.
    """
    delta = _validate.scalar("delta", delta, positive=True)
    return _pair_sum(_huber, (delta,), x, neighbourhood, spacing, weights, mask)


def relative_difference(
    x: ArrayLike,
    *,
    gamma: ArrayLike = 2.0,
    epsilon: ArrayLike = 0.0,
    neighbourhood: str = "full",
    spacing: ArrayLike | Sequence[float] = 1.0,
    weights: ArrayLike | None = None,
    mask: ArrayLike | None = None,
) -> jax.Array:
    r"""Relative difference penalty of an image without negative values, over pairs of neighbours, each once:
    ``sum_{j,k} v_jk (x_j - x_k)^2 / (x_j + x_k + gamma |x_j - x_k| + epsilon)``.

    Differences are judged by the activity around them, as their noise is. Where the denominator is not positive (two
    zeros, with ``epsilon = 0``) the term and its gradient are zero; that is the one place where it has a kink.

    Args:
        x: of any shape, not negative.
        gamma: how soon large relative differences are penalised less than quadratically; 0 or more.
        epsilon: added to the denominator, in the unit of x; 0 or more. Above zero the penalty is differentiable at
            zero, too.
        neighbourhood, spacing, weights, mask: as for :func:`quadratic`, with the same ``v_jk``.

    Returns:
        A scalar.

    Raises:
        ValueError, TypeError: as for :func:`quadratic`; gamma or epsilon that is negative.

    References:
        J. Nuyts, D. Beque, P. Dupont and L. Mortelmans, "A concave prior penalizing relative differences for
        maximum-a-posteriori reconstruction in emission tomography", IEEE Trans. Nucl. Sci. 49 (2002) 56-60.
    """
    parameters = (not_negative("gamma", gamma), not_negative("epsilon", epsilon))
    return _pair_sum(relative_difference_term, parameters, x, neighbourhood, spacing, weights, mask)


def pair_curvature(
    shape: Sequence[int],
    *,
    neighbourhood: str = "faces",
    spacing: ArrayLike | Sequence[float] = 1.0,
    weights: ArrayLike | None = None,
    mask: ArrayLike | None = None,
) -> jax.Array:
    r"""``2 sum_k v_jk``, a diagonal matrix above the Hessian of :func:`quadratic` and of :func:`huber`.

    So ``penalty(y) <= penalty(x) + <gradient(x), y - x> + sum_j curvature_j (y_j - x_j)^2 / 2`` for all x and y. It
    holds for every penalty ``sum v_jk h(x_j - x_k)`` whose h has a second derivative of at most 1.

    Args:
        shape: of the image.
        neighbourhood, spacing, weights, mask: those of the penalty.

    Returns:
        An array of that shape, in the default float type.

    Raises:
        ValueError, TypeError: as for :func:`quadratic`.

    References:
        H. Erdogan and J. A. Fessler, "Ordered subsets algorithms for transmission tomography", Phys. Med. Biol. 44
        (1999) 2835-2851, section 3.
    """
    zeros = jnp.zeros(tuple(shape))
    return 2 * jax.grad(lambda x: _pair_sum(jnp.add, (), x, neighbourhood, spacing, weights, mask))(zeros)


def wavelet(x: ArrayLike, *, levels: int = 1, smoothing: ArrayLike = 0.0) -> jax.Array:
    r"""Sum of the sizes ``sqrt(c^2 + eps^2) - eps`` of the Haar transform's details c, see :func:`jaxct.wavelets.haar`.

    Constants have no penalty. Where ``eps = 0`` it is the l1 norm, with a kink where a detail vanishes; the
    subgradient zero is taken there.

    Args:
        x: of any shape.
        levels: of the transform.
        smoothing: eps, in the unit of the details.

    Returns:
        A scalar.

    Raises:
        ValueError: a smoothing that is negative, a number of levels that is not positive.
        TypeError: values that are not real numbers.

    References:
        D. L. Donoho and I. M. Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81 (1994) 425-455.
    """
    image, _, _ = as_image(x)
    coefficients = wavelets.haar(image, levels=levels)
    smoothing = not_negative("smoothing", smoothing).astype(coefficients.dtype)
    sizes = smoothed_length(coefficients**2, smoothing)
    return jnp.sum(jnp.where(wavelets.approximation(coefficients.shape, levels), 0, sizes))


def wavelet_threshold(x: ArrayLike, threshold: ArrayLike, *, levels: int = 1) -> jax.Array:
    r"""``argmin_z |z - x|^2 / 2 + threshold wavelet(z)``, the proximal map of :func:`wavelet` without smoothing.

    The transform is orthonormal, so that its details are simply drawn ``threshold`` closer to zero.

    Args:
        x: of any shape.
        threshold: not negative, in the unit of the details.
        levels: of the transform.

    Returns:
        An image of the same shape.

    Raises:
        ValueError, TypeError: as for :func:`wavelet`.
    """
    image, _, _ = as_image(x)
    coefficients = wavelets.haar(image, levels=levels)
    threshold = not_negative("threshold", threshold).astype(coefficients.dtype)
    shrunk = coefficients - jnp.clip(coefficients, -threshold, threshold)
    return wavelets.inverse_haar(
        jnp.where(wavelets.approximation(shrunk.shape, levels), coefficients, shrunk), levels=levels
    )


def differences(x: jax.Array, spacing: ArrayLike | Sequence[float] = 1.0) -> jax.Array:
    """Forward differences along every axis, ``d_k[i] = (x[i + e_k] - x[i]) / spacing_k``, 0 at the last index.

    Args:
        x: of any shape.
        spacing: distance between neighbours, one for all axes or one for each; with the voxel size in mm the result is
            per mm.

    Returns:
        ``(x.ndim, *x.shape)``.
    """
    steps = jnp.broadcast_to(jnp.asarray(spacing, x.dtype), (x.ndim,))
    return jnp.stack([_difference(x, axis) / steps[axis] for axis in range(x.ndim)])


def transposed_differences(d: jax.Array, spacing: ArrayLike | Sequence[float] = 1.0) -> jax.Array:
    """The exact transpose of :func:`differences`: minus the divergence of the field d."""
    ndim = d.ndim - 1
    steps = jnp.broadcast_to(jnp.asarray(spacing, d.dtype), (ndim,))
    return sum((_transposed(d[axis], axis) / steps[axis] for axis in range(ndim)), jnp.zeros(d.shape[1:], d.dtype))


def _difference(x: jax.Array, axis: int) -> jax.Array:
    return jnp.diff(x, axis=axis, append=jax.lax.slice_in_dim(x, x.shape[axis] - 1, None, axis=axis))


def _transposed(d: jax.Array, axis: int) -> jax.Array:
    """The last difference is always 0, whatever d holds there."""
    inner = jax.lax.slice_in_dim(d, 0, d.shape[axis] - 1, axis=axis)
    pad = [(0, 0)] * d.ndim
    before, after = pad.copy(), pad.copy()
    before[axis], after[axis] = (1, 0), (0, 1)
    return jnp.pad(inner, before) - jnp.pad(inner, after)


@functools.partial(jax.jit, static_argnames="isotropic")
def _total_variation(
    x: jax.Array,
    smoothing: jax.Array,
    isotropic: bool,
    steps: jax.Array,
    weights: jax.Array | None,
    mask: jax.Array | None,
) -> jax.Array:
    d = differences(x, steps)
    if mask is not None:
        # The last voxel's neighbour would be the first; but its difference is zero anyway.
        both = jnp.stack([mask & jnp.roll(mask, -1, axis) for axis in range(x.ndim)])
        d = jnp.where(both, d, 0)
    lengths = (
        smoothed_length(jnp.sum(d**2, 0), smoothing) if isotropic else jnp.sum(smoothed_length(d**2, smoothing), 0)
    )
    return jnp.sum(lengths if weights is None else weights * lengths)


def _huber(a: jax.Array, b: jax.Array, delta: jax.Array) -> jax.Array:
    size = jnp.abs(a - b)
    return jnp.where(size <= delta, (a - b) ** 2 / 2, delta * (size - delta / 2))


def _pair_sum(
    potential: Callable[..., jax.Array],
    parameters: tuple[jax.Array, ...],
    x: ArrayLike,
    neighbourhood: str,
    spacing: ArrayLike | Sequence[float],
    weights: ArrayLike | None,
    mask: ArrayLike | None,
) -> jax.Array:
    """``sum v_jk potential(x_j, x_k, *parameters)`` over pairs of neighbours, each once."""
    image, factors, inside = as_image(x, weights, mask)
    steps = _validate.per_axis("spacing", spacing, image.ndim, positive=True).astype(image.dtype)
    _validate.choice("neighbourhood", neighbourhood, NEIGHBOURHOODS)
    parameters = tuple(p.astype(image.dtype) for p in parameters)
    if weights is not None:
        require_not_negative("weights", weights)
    return _sum_over_pairs(potential, neighbourhood, parameters, image, steps, factors, inside)


@functools.partial(jax.jit, static_argnames=("potential", "neighbourhood"))
def _sum_over_pairs(
    potential: Callable[..., jax.Array],
    neighbourhood: str,
    parameters: tuple[jax.Array, ...],
    x: jax.Array,
    steps: jax.Array,
    weights: jax.Array | None,
    mask: jax.Array | None,
) -> jax.Array:
    total = jnp.zeros((), x.dtype)
    for here, there, offset in neighbours(x.ndim, neighbourhood):
        terms = potential(x[here], x[there], *parameters)
        if weights is not None:
            terms = weights[here] * weights[there] * terms
        if mask is not None:
            terms = jnp.where(mask[here] & mask[there], terms, 0)
        total = total + jnp.sum(terms) / jnp.linalg.norm(jnp.asarray(offset, x.dtype) * steps)
    return total
