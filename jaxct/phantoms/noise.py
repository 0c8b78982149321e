"""Noise on projections: photon statistics before the logarithm, or plain Gaussian after it.

Everything takes a ``jax.random`` key and works under ``jit`` and ``vmap``.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxct.geometry import _validate

# Float32 rejection sampling loses the variance of a Poisson variable above some 1e6 counts. From here on a normal
# variable replaces it, whose skewness is off by 1/sqrt(1e5) = 0.003.
_NORMAL_ABOVE = 1e5


def photon_counts(
    key: jax.Array, projections: ArrayLike, i0: ArrayLike, *, electronic_noise: ArrayLike = 0.0
) -> jax.Array:
    """What a photon-counting detector (or, with electronic noise, an integrating one) reads behind the object.

    ``N = Poisson(i0 exp(-p)) + electronic_noise * Normal(0, 1)``, independent in every pixel. Above 1e5 expected
    photons the Poisson variable is drawn as ``round(Normal(lambda, lambda))``.

    Args:
        key: a ``jax.random`` key.
        projections: line integrals p, dimensionless (value in 1/mm times mm), any shape.
        i0: expected photons a pixel without object: a scalar, or anything that broadcasts against ``projections``
            (a bow-tie filter, a drifting tube).
        electronic_noise: standard deviation of the read-out in photons; with it counts can be negative.

    Returns:
        Counts with the shape and dtype of ``projections``. Their derivative by ``projections`` is zero.

    Raises:
        ValueError: ``i0`` not positive, negative ``electronic_noise``, shapes that do not broadcast.
        TypeError: values that are not real numbers.
    """
    p = _validate.floats("projections", projections)
    i0 = _fitting("i0", _validate.floats("i0", i0, positive=True), p)
    sigma = _deviation("electronic_noise", electronic_noise, p)
    few_key, many_key, read_key = jax.random.split(key, 3)
    expected = jax.lax.stop_gradient(i0 * jnp.exp(-p))
    few = jax.random.poisson(few_key, jnp.minimum(expected, _NORMAL_ABOVE), p.shape).astype(p.dtype)
    many = jnp.round(expected + jnp.sqrt(expected) * jax.random.normal(many_key, p.shape, p.dtype))
    counts = jnp.where(expected < _NORMAL_ABOVE, few, many)
    return counts + sigma * jax.random.normal(read_key, p.shape, p.dtype)


def poisson(
    key: jax.Array,
    projections: ArrayLike,
    i0: ArrayLike,
    *,
    electronic_noise: ArrayLike = 0.0,
    min_counts: ArrayLike = 0.5,
) -> jax.Array:
    """Line integrals as measured with ``i0`` photons a pixel: ``-log(max(N, min_counts) / i0)``.

    N is :func:`photon_counts`. Where many photons arrive the result has mean p and variance ``exp(p) / i0``; where few
    do, the logarithm is biased upwards by about half the variance, as in a real scan.

    Args:
        key, projections, i0, electronic_noise: as for :func:`photon_counts`.
        min_counts: replaces smaller counts, so that a pixel without photons (or with a negative reading) has a finite
            logarithm: half a photon says "fewer than one".

    Raises:
        ValueError, TypeError: as for :func:`photon_counts`; ``min_counts`` not positive.
    """
    p = _validate.floats("projections", projections)
    floor = _fitting("min_counts", _validate.floats("min_counts", min_counts, positive=True), p)
    counts = photon_counts(key, p, i0, electronic_noise=electronic_noise)
    return -jnp.log(jnp.maximum(counts, floor) / jnp.asarray(i0, p.dtype))


def gaussian(key: jax.Array, projections: ArrayLike, sigma: ArrayLike) -> jax.Array:
    """White Gaussian noise: ``p + sigma * Normal(0, 1)``.

    Args:
        key: a ``jax.random`` key.
        projections: any shape.
        sigma: standard deviation, in the unit of the projections: a scalar, or broadcasting against ``projections``.

    Raises:
        ValueError: negative ``sigma``, shapes that do not broadcast.
        TypeError: values that are not real numbers.
    """
    p = _validate.floats("projections", projections)
    return p + _deviation("sigma", sigma, p) * jax.random.normal(key, p.shape, p.dtype)


def _deviation(name: str, value: ArrayLike, projections: jax.Array) -> jax.Array:
    sigma = _validate.floats(name, value)
    if _validate.concrete(sigma) and (sigma < 0).any():
        raise ValueError(f"{name} must not be negative, got {sigma.min():g}")
    return _fitting(name, sigma, projections)


def _fitting(name: str, array: jax.Array, projections: jax.Array) -> jax.Array:
    try:
        fits = jnp.broadcast_shapes(array.shape, projections.shape) == projections.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name} must broadcast to the projections' shape {projections.shape}, got {array.shape}")
    return array.astype(projections.dtype)
