"""Measures of agreement between an image and a reference, in pure JAX: they work under jit, vmap and grad.

Images are arrays of any rank unless said otherwise; batches are ``jax.vmap``'s job. A ``mask`` (boolean, of the images'
shape or broadcasting to it) restricts a measure to the voxels where it is true.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


def rmse(image: ArrayLike, reference: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
    """Root of the mean squared error, ``sqrt(mean((image - reference)^2))``.

    Its gradient at equal images, where it has a kink, is zero.

    Raises:
        ValueError: shapes that differ, empty images, a mask that does not fit.
        TypeError: values that are not real numbers, a mask that is not boolean.
    """
    image, reference, mask = _images(image, reference, mask)
    return _sqrt(_mean((image - reference) ** 2, mask))


def nrmse(image: ArrayLike, reference: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
    """Relative error in the Euclidean norm, ``||image - reference|| / ||reference||``.

    Its gradient at equal images, where it has a kink, is zero.

    Raises:
        ValueError, TypeError: as for :func:`rmse`.
    """
    image, reference, mask = _images(image, reference, mask)
    return _sqrt(_mean((image - reference) ** 2, mask) / _mean(reference**2, mask))


def psnr(image: ArrayLike, reference: ArrayLike, *, data_range: ArrayLike, mask: ArrayLike | None = None) -> jax.Array:
    """Peak signal-to-noise ratio in decibels, ``20 log10(data_range / rmse)``; infinite for equal images.

    Args:
        image, reference: the images.
        data_range: largest minus smallest value that the signal can have. It is never guessed from the images, so that
            numbers stay comparable.
        mask: the voxels that count.

    Raises:
        ValueError, TypeError: as for :func:`rmse`.
    """
    return 20 * jnp.log10(jnp.asarray(data_range) / rmse(image, reference, mask=mask))


def ssim(
    image: ArrayLike,
    reference: ArrayLike,
    *,
    data_range: ArrayLike,
    sigma: float = 1.5,
    window: int = 11,
    k1: float = 0.01,
    k2: float = 0.03,
) -> jax.Array:
    """Mean structural similarity of two images (2-D) or volumes (3-D).

    Averages ``(2 mx my + C1)(2 sxy + C2) / ((mx^2 + my^2 + C1)(sx^2 + sy^2 + C2))`` over all places where a Gaussian
    window fits into the image whole; m and s are means and (co)variances weighted by the window, of total weight one,
    ``C1 = (k1 data_range)^2`` and ``C2 = (k2 data_range)^2``. A volume has a window of three dimensions.

    Args:
        image, reference: of rank 2 or 3, at least ``window`` long along every axis.
        data_range: largest minus smallest value that the signal can have.
        sigma: of the Gaussian, in voxels.
        window: its width in voxels, odd.
        k1, k2: the constants of the paper.

    Returns:
        A scalar, 1 for equal images.

    Raises:
        ValueError: shapes that differ, another rank, images smaller than the window, an even window.
        TypeError: values that are not real numbers.

    References:
        Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, IEEE Trans. Image Process. 13(4) (2004), 600-612,
        doi:10.1109/TIP.2003.819861.
    """
    x, y, _ = _images(image, reference, None)
    if x.ndim not in (2, 3):
        raise ValueError(f"image must be of rank 2 or 3, got shape {x.shape}")
    if window < 1 or window % 2 == 0 or not sigma > 0:
        raise ValueError(f"window must be odd and sigma positive, got window {window} and sigma {sigma}")
    if min(x.shape) < window:
        raise ValueError(f"image must be at least {window} voxels along every axis, got shape {x.shape}")
    return _ssim(x, y, data_range, sigma, window, k1, k2)


def correlation(image: ArrayLike, reference: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
    """Pearson's correlation coefficient, between -1 and 1; NaN if one image is constant.

    Raises:
        ValueError, TypeError: as for :func:`rmse`.
    """
    image, reference, mask = _images(image, reference, mask)
    x, y = image - _mean(image, mask), reference - _mean(reference, mask)
    return _mean(x * y, mask) / jnp.sqrt(_mean(x * x, mask) * _mean(y * y, mask))


def mcc(prediction: ArrayLike, truth: ArrayLike) -> jax.Array:
    """Matthews' correlation coefficient of two segmentations into two classes.

    ``(TP TN - FP FN) / sqrt((TP + FP)(TP + FN)(TN + FP)(TN + FN))``: 1 for agreement, 0 for chance or if a class is
    missing from one of them, -1 for disagreement everywhere. It scores limited-angle challenges such as HTC 2022.

    Args:
        prediction, truth: boolean arrays of one shape.

    Raises:
        ValueError: shapes that differ, empty arrays.
        TypeError: arrays that are not boolean (threshold them first).

    References:
        B. W. Matthews, Biochim. Biophys. Acta 405(2) (1975), 442-451, doi:10.1016/0005-2795(75)90109-9.
    """
    prediction, truth = _mask("prediction", prediction), _mask("truth", truth)
    if prediction.shape != truth.shape or truth.size == 0:
        raise ValueError(f"prediction and truth must have one shape, got {prediction.shape} and {truth.shape}")
    # Fractions of all pixels, not counts, whose products would overflow; TP TN - FP FN = TP - p t for fractions.
    dtype = jnp.result_type(float)
    p, t, both = (_mean(x.astype(dtype), None) for x in (prediction, truth, prediction & truth))
    variance = p * (1 - p) * t * (1 - t)
    return jnp.where(variance > 0, (both - p * t) / jnp.sqrt(jnp.where(variance > 0, variance, 1.0)), 0.0)


def masked_mean(image: ArrayLike, mask: ArrayLike) -> jax.Array:
    """Mean of an image over the voxels where ``mask`` is true (NaN if there are none).

    Raises:
        ValueError: a mask that does not fit, an empty image.
        TypeError: values that are not real numbers, a mask that is not boolean.
    """
    values, _, inside = _images(image, image, mask)
    return _mean(values, inside)


def _images(image: Any, reference: Any, mask: Any) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    x, y = _real("image", image), _real("reference", reference)
    if x.shape != y.shape or x.size == 0:
        raise ValueError(f"image and reference must have one shape and not be empty, got {x.shape} and {y.shape}")
    dtype = jnp.promote_types(jnp.result_type(x, y), jnp.float32)
    if mask is None:
        return x.astype(dtype), y.astype(dtype), None
    mask = _mask("mask", mask)
    try:
        mask = jnp.broadcast_to(mask, x.shape)
    except ValueError as error:
        raise ValueError(f"mask must broadcast to the images' shape {x.shape}, got {mask.shape}") from error
    return x.astype(dtype), y.astype(dtype), mask


def _real(name: str, value: ArrayLike) -> jax.Array:
    array = jnp.asarray(value)
    if jnp.issubdtype(array.dtype, np.integer):
        array = array.astype(jnp.result_type(float))
    if not jnp.issubdtype(array.dtype, np.floating):
        raise TypeError(f"{name} must be real numbers, got an array of {array.dtype}")
    return array


def _mask(name: str, value: ArrayLike) -> jax.Array:
    array = jnp.asarray(value)
    if array.dtype != bool:
        raise TypeError(f"{name} must be boolean, got an array of {array.dtype}")
    return array


def _sqrt(x: jax.Array) -> jax.Array:
    """Square root with the gradient 0 at 0, in place of an infinite one that turns into NaN along the chain."""
    is_zero = x == 0
    return jnp.where(is_zero, 0, jnp.sqrt(jnp.where(is_zero, 1, x)))


def _mean(x: jax.Array, mask: jax.Array | None) -> jax.Array:
    if mask is None:
        return _sum(x) / x.size
    return _sum(jnp.where(mask, x, 0)) / _sum(mask.astype(x.dtype))


def _sum(x: jax.Array) -> jax.Array:
    """Axis by axis: partial sums keep the rounding of a float32 sum over 1e9 voxels small."""
    while x.ndim:
        x = jnp.sum(x, -1)
    return x


@functools.partial(jax.jit, static_argnums=(3, 4))
def _ssim(
    x: jax.Array, y: jax.Array, data_range: ArrayLike, sigma: float, window: int, k1: float, k2: float
) -> jax.Array:
    # (Co)variances do not depend on the origin of the values: near zero the differences of squares keep their digits.
    origin = _mean(y, None)
    x, y = x - origin, y - origin
    mx, my = _gaussian(x, sigma, window), _gaussian(y, sigma, window)
    sxx = _gaussian(x * x, sigma, window) - mx**2
    syy = _gaussian(y * y, sigma, window) - my**2
    sxy = _gaussian(x * y, sigma, window) - mx * my
    mx, my = mx + origin, my + origin
    c1, c2 = (k1 * data_range) ** 2, (k2 * data_range) ** 2
    similarity = (2 * mx * my + c1) * (2 * sxy + c2) / ((mx**2 + my**2 + c1) * (sxx + syy + c2))
    return _mean(similarity, None)


def _gaussian(x: jax.Array, sigma: float, window: int) -> jax.Array:
    """Weighted means over all windows that fit, axis by axis."""
    distance = np.arange(window) - (window - 1) / 2
    weights = np.exp(-0.5 * (distance / sigma) ** 2)
    weights = weights / weights.sum()
    for axis in range(x.ndim):
        count = x.shape[axis] - window + 1
        x = sum(w * jax.lax.slice_in_dim(x, k, k + count, axis=axis) for k, w in enumerate(weights.tolist()))
    return x
