"""Proximal maps minimise what they say, and the fields of total variation are what their definitions make them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxct import priors
from jaxct.reconstruct import proximal
from jaxct.reconstruct.proximal import DataFit, prox_total_variation
from tests.total_variation import difference_matrix, fit_value, minimiser, prox_fit, total_variation

SHAPES = [(7,), (3, 4), (2, 3, 4), (1, 5)]
SPACINGS = {1: (0.5,), 2: (0.5, 2.0), 3: (0.5, 1.0, 2.0)}


def image(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_is_the_differences_of_priors_axis_by_axis(shape):
    with jax.enable_x64(True):
        x, spacing = jnp.asarray(image(shape)), jnp.asarray(SPACINGS[len(shape)])
        field = proximal.gradient(x, spacing)
        np.testing.assert_allclose(jnp.stack(field), priors.differences(x, spacing), rtol=1e-15)
        dual = jnp.asarray(image((len(shape), *shape), 1))
        np.testing.assert_allclose(
            proximal.transposed_gradient(tuple(dual), spacing),
            priors.transposed_differences(dual, spacing),
            rtol=1e-13,
            atol=1e-15,
        )
        np.testing.assert_allclose(proximal.field_norm(field), total_variation(np.asarray(x), spacing), rtol=1e-14)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_bound_of_the_gradients_norm_holds_and_is_close(shape):
    spacing = np.asarray(SPACINGS[len(shape)])
    d = difference_matrix(shape, spacing)
    largest = np.linalg.norm(d.reshape(-1, d.shape[-1]), 2) ** 2
    with jax.enable_x64(True):
        bound = float(proximal.squared_gradient_norm(shape, jnp.asarray(spacing)))
    assert largest <= bound <= 2.1 * largest


def test_vectors_in_the_dual_ball_keep_their_bits_and_longer_ones_their_direction():
    field = tuple(jnp.asarray(image((2, 4, 5), 3), jnp.float32))
    shorter = proximal.project_dual_ball(field, jnp.float32(1.0))
    lengths, after = np.linalg.norm(np.stack(field), axis=0), np.linalg.norm(np.stack(shorter), axis=0)
    inside = lengths <= 1
    assert inside.any()
    assert not inside.all()
    np.testing.assert_array_equal(np.stack(shorter)[:, inside], np.stack(field)[:, inside])
    np.testing.assert_allclose(after[~inside], 1, rtol=1e-6)
    np.testing.assert_allclose((np.stack(shorter) * lengths)[:, ~inside], np.stack(field)[:, ~inside], rtol=1e-6)


def test_a_ball_without_extent_is_zero_and_has_a_derivative():
    field = (jnp.asarray([0.0, 3.0]), jnp.asarray([0.0, 4.0]))
    np.testing.assert_array_equal(np.stack(proximal.project_dual_ball(field, 0.0)), 0)
    slopes = jax.grad(lambda f: sum(part.sum() for part in proximal.project_dual_ball(f, 1.0)))(field)
    assert np.isfinite(slopes).all()
    assert np.isfinite(jax.grad(lambda x: proximal.field_norm((x, x)))(field[0])).all()


def test_soft_threshold_and_box():
    np.testing.assert_allclose(proximal.soft_threshold(jnp.asarray([-3.0, -0.5, 0.2, 2.0]), 1.0), [-2, 0, 0, 1])
    np.testing.assert_array_equal(
        proximal.box(np.array([-1.0, 0.5, 2.0]), 0.0, [1.0, 0.2, np.inf]), np.float32([0, 0.2, 2])
    )
    np.testing.assert_array_equal(proximal.box(np.array([-1.0, 2.0])), [-1, 2])


@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 2), (1, 5)])
@pytest.mark.parametrize("bounds", [{}, {"lower": -0.3, "upper": 0.6}])
def test_denoising_finds_the_minimiser(shape, bounds):
    spacing = SPACINGS[len(shape)]
    x = image(shape)
    wanted = minimiser(np.eye(x.size), x.ravel(), shape, 0.2, spacing=spacing, **bounds)
    with jax.enable_x64(True):
        got = prox_total_variation(x, 0.2, num_iters=3000, spacing=spacing, **bounds)
    np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_the_reference_is_a_minimum():
    """No image near it has a smaller objective, for any of the fits."""
    rng = np.random.default_rng(0)
    matrix, data, shape = rng.uniform(size=(8, 6)), rng.uniform(1, 3, 8), (2, 3)
    for fit in proximal.FITS:
        best = minimiser(matrix, data, shape, 0.1, fit=fit, lower=0.2)
        assert (best >= 0.2).all()
        value = lambda x, fit=fit: fit_value(fit, matrix @ x.ravel(), data) + 0.1 * total_variation(x)  # noqa: E731
        for size in (1e-1, 1e-2, 1e-3):
            others = np.maximum(best + size * rng.normal(size=(100, *shape)), 0.2)
            assert min(map(value, others)) > value(best)


def test_denoising_at_the_ends_of_the_weight():
    x = image((3, 4))
    np.testing.assert_allclose(prox_total_variation(x, 0.0), x, rtol=1e-6)
    np.testing.assert_allclose(prox_total_variation(x, 100.0, num_iters=500), np.full((3, 4), x.mean()), atol=1e-4)


def test_denoising_goes_on_from_the_dual_field():
    """Two calls end nearer to the minimiser than the first; a field at the solution stays there."""
    with jax.enable_x64(True):
        x, spacing = jnp.asarray(image((3, 4))), jnp.ones(2)
        start = (jnp.zeros_like(x),) * 2
        run = lambda field, n: proximal.total_variation_dual(x, 0.3, field, spacing, num_iters=n)  # noqa: E731
        solution, field = run(start, 5000)
        first, carried = run(start, 20)
        second, _ = run(carried, 20)
        stayed, _ = run(field, 1)
    assert np.abs(second - solution).max() < 0.5 * np.abs(first - solution).max()
    np.testing.assert_allclose(stayed, solution, atol=1e-8)


def test_denoising_has_derivatives_and_batches():
    with jax.enable_x64(True):
        x, v = jnp.asarray(image((3, 4))), jnp.asarray(image((3, 4), 1))
        f = lambda x: jnp.vdot(v, prox_total_variation(x, 0.2, num_iters=30))  # noqa: E731
        slope, h = jax.grad(f)(x), 1e-6
        np.testing.assert_allclose(jnp.vdot(slope, v), (f(x + h * v) - f(x - h * v)) / (2 * h), rtol=1e-6)
        mapped = jax.vmap(lambda w: prox_total_variation(x, w, num_iters=30))(jnp.asarray([0.1, 0.2]))
        np.testing.assert_allclose(mapped[1], prox_total_variation(x, 0.2, num_iters=30), rtol=1e-12)


@pytest.mark.parametrize("kind", proximal.FITS)
@pytest.mark.parametrize("with_background", [False, True])
def test_conjugate_maps_are_moreaus_complement_of_the_direct_ones(kind, with_background):
    """prox_{s f*}(v) = v - s prox_{f / s}(v / s), the latter from its own formula."""
    rng = np.random.default_rng(0)
    data, weights = rng.poisson(1.0, 40).astype(float), rng.uniform(0.5, 2, 40)
    r = rng.uniform(0, 1, 40) if with_background and kind == "kullback_leibler" else None
    v, step = 3 * rng.normal(size=40), rng.uniform(0.2, 3, 40)
    assert (data == 0).any()
    weights[:3] = 0
    with jax.enable_x64(True):
        fit = DataFit(jnp.asarray(data), jnp.asarray(weights), None if r is None else jnp.asarray(r), kind)
        got = fit.prox_conjugate(jnp.asarray(v), jnp.asarray(step))
        wanted = v - step * prox_fit(kind, v / step, 1 / step, data, weights, 0.0 if r is None else r)
        np.testing.assert_allclose(got[3:], wanted[3:], rtol=1e-10, atol=1e-12)
        np.testing.assert_array_equal(got[:3], 0)
        q = rng.uniform(0.1, 3, 40)
        np.testing.assert_allclose(
            fit.value(jnp.asarray(q)), fit_value(kind, q, data, weights, 0.0 if r is None else r), rtol=1e-13
        )
        np.testing.assert_allclose(jax.grad(fit.value)(jnp.asarray(q)), fit.derivative(jnp.asarray(q)), rtol=1e-12)


def test_poisson_data_without_expected_counts_are_infinitely_unlikely():
    def value(mean, data):
        fit = DataFit(jnp.asarray([data]), jnp.ones(1), None, "kullback_leibler")
        return float(fit.value(jnp.asarray([mean])))

    assert value(0.0, 1.0) == np.inf
    assert value(-0.1, 0.0) == np.inf
    assert value(0.0, 0.0) == 0
    assert value(2.0, 0.0) == 2
    assert np.isnan(value(np.nan, 1.0))


def test_the_poisson_distance_keeps_its_digits_in_single_precision():
    """A million counts, and a distance of the means of three standard deviations, which is exact in float32."""
    b, excess = 1e6, 3e-3
    with jax.enable_x64(False):
        fit = DataFit(jnp.full(1, b), jnp.ones(1), None, "kullback_leibler")
        value = fit.value(jnp.full(1, b + 3000))
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, b * (excess - np.log1p(excess)), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": 1j * np.ones(3)}, TypeError, "x .*complex"),
        ({"num_iters": 0}, ValueError, "num_iters .* 0"),
        ({"weight": -0.5}, ValueError, "weight must not be negative, got -0.5"),
        ({"lower": 1.0, "upper": 0.0}, ValueError, "lower must nowhere be above upper, got 1 above 0"),
        ({"spacing": 0.0}, ValueError, "spacing .* 0"),
        ({"spacing": [1.0, 1.0]}, ValueError, r"spacing .*\(2,\)"),
    ],
)
def test_bad_input_names_the_argument(change, error, message):
    with pytest.raises(error, match=message):
        prox_total_variation(**{"x": np.ones(3), "weight": 1.0, **change})
