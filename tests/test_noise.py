"""Noise has the mean, variance and distribution that its formula promises, and comes from its key alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxct.phantoms import noise

KEY = jax.random.key(20)
N = 40_000


def check_moments(samples, mean, variance, fourth=3.0):
    """Mean and variance within five standard errors; ``fourth`` is the kurtosis."""
    samples = np.asarray(samples, np.float64)
    n = samples.size
    assert abs(samples.mean() - mean) < 5 * np.sqrt(variance / n)
    assert abs(samples.var() - variance) < 5 * variance * np.sqrt((fourth - 1) / n)


@pytest.mark.parametrize("expected", [0.2, 3.0, 40.0, 3e3, 9e4, 1.1e5, 1e6, 1e9])
def test_counts_are_poisson_at_every_flux(expected):
    counts = noise.photon_counts(KEY, jnp.zeros(N), expected)
    check_moments(counts, expected, expected, fourth=3 + 1 / expected)
    np.testing.assert_array_equal(counts, np.round(counts))
    assert counts.min() >= 0


def test_few_counts_have_poisson_probabilities():
    counts = np.asarray(noise.photon_counts(KEY, jnp.full(N, np.log(2.0)), 3.0)).astype(int)
    rate, probability = 1.5, np.exp(-1.5)
    for k in range(5):
        assert abs(np.mean(counts == k) - probability) < 5 * np.sqrt(probability * (1 - probability) / N)
        probability *= rate / (k + 1)


def test_counts_follow_the_attenuation_and_the_flux_of_every_pixel():
    p, flux = jnp.array([[0.0, 1.0, 4.0]]), jnp.array([1e3, 2e3, 4e5])
    counts = noise.photon_counts(KEY, jnp.tile(p, (N, 1)), flux)
    for column in range(3):
        rate = float(flux[column] * jnp.exp(-p[0, column]))
        check_moments(counts[:, column], rate, rate, fourth=3 + 1 / rate)
    correlation = np.corrcoef(np.asarray(counts).T)
    assert np.abs(correlation - np.eye(3)).max() < 5 / np.sqrt(N)


def test_electronic_noise_adds_its_variance():
    counts = noise.photon_counts(KEY, jnp.zeros(N), 50.0, electronic_noise=12.0)
    check_moments(counts, 50.0, 50.0 + 144.0, fourth=3 + 50 / 194**2)


@pytest.mark.parametrize("p", [0.0, 1.5, 4.0])
def test_line_integrals_have_the_variance_of_their_photons(p):
    i0 = 2e5
    measured = noise.poisson(KEY, jnp.full(N, p), i0)
    rate = i0 * np.exp(-p)
    # log(1 + x) for x of variance 1/rate has mean -1/(2 rate), to first order.
    check_moments(np.asarray(measured, np.float64) - 0.5 / rate, p, 1 / rate)


def test_pixels_without_photons_stay_finite():
    p = jnp.full(N, 30.0)
    np.testing.assert_allclose(noise.poisson(KEY, p, 100.0), np.log(200.0), rtol=1e-6)
    np.testing.assert_allclose(noise.poisson(KEY, p, 100.0, min_counts=2.0), np.log(50.0), rtol=1e-6)
    negative = noise.poisson(KEY, p, 100.0, electronic_noise=3.0)
    assert np.isfinite(negative).all()
    assert negative.max() == pytest.approx(np.log(200.0), rel=1e-6)


def test_gaussian_moments_per_pixel():
    sigma = jnp.array([0.1, 2.0])
    noisy = noise.gaussian(KEY, jnp.tile(jnp.array([5.0, -1.0]), (N, 1)), sigma)
    check_moments(noisy[:, 0], 5.0, 0.01)
    check_moments(noisy[:, 1], -1.0, 4.0)


@pytest.mark.parametrize(
    "add", [lambda k, p: noise.poisson(k, p, 1e3, electronic_noise=2.0), lambda k, p: noise.gaussian(k, p, 0.1)]
)
def test_noise_is_a_function_of_its_key(add):
    p = jnp.linspace(0, 3, N)
    first = add(KEY, p)
    assert first.shape == p.shape
    assert first.dtype == p.dtype
    keys = jnp.stack([KEY, jax.random.key(21)])
    batched = jax.jit(jax.vmap(add, (0, None)))(keys, p)
    np.testing.assert_allclose(batched[0], first, rtol=1e-5, atol=1e-5)
    assert np.mean(batched[0] != batched[1]) > 0.9


def test_double_precision_stays():
    with jax.enable_x64(True):
        p = jnp.ones(5)
        assert jax.eval_shape(lambda p: noise.poisson(KEY, p, 1e3), p).dtype == np.float64
        assert jax.eval_shape(lambda p: noise.gaussian(KEY, p, 0.1), p).dtype == np.float64


P = np.zeros((4, 6), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "name"),
    [
        (lambda: noise.poisson(KEY, P, 0.0), ValueError, "i0"),
        (lambda: noise.poisson(KEY, P, np.ones(5)), ValueError, "i0"),
        (lambda: noise.poisson(KEY, P, np.ones((2, 4, 6))), ValueError, "i0"),
        (lambda: noise.poisson(KEY, P, 1e3, electronic_noise=-1.0), ValueError, "electronic_noise"),
        (lambda: noise.poisson(KEY, P, 1e3, min_counts=0.0), ValueError, "min_counts"),
        (lambda: noise.poisson(KEY, P.astype(complex), 1e3), TypeError, "projections"),
        (lambda: noise.gaussian(KEY, P, -0.1), ValueError, "sigma"),
        (lambda: noise.gaussian(KEY, P, np.ones(4)), ValueError, "sigma"),
        (lambda: noise.gaussian(KEY, P, "much"), (TypeError, ValueError), "sigma"),
    ],
)
def test_bad_input_is_named(call, error, name):
    with pytest.raises(error, match=name):
        call()
