"""Simulated scans have the counts, fractions and statistics that were asked for, as sinograms and as lists."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxct.pet.simulate import draw_events, expected_counts, list_events, realisations, simulate


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


RNG = np.random.default_rng(1)
PROJECTIONS = RNG.uniform(0, 3, (6, 4, 5))
ATTENUATION = RNG.uniform(0.1, 0.9, (6, 4, 5))
EFFICIENCY = RNG.uniform(0.5, 1.5, (4, 5))


def test_totals_and_fractions(x64):
    profile = RNG.uniform(size=(1, 4, 5))
    found = expected_counts(
        PROJECTIONS,
        counts=1000.0,
        attenuation=ATTENUATION,
        normalisation=EFFICIENCY,
        scatter_fraction=0.35,
        randoms_fraction=0.2,
        scatter=profile,
    )
    assert float(found.prompts.sum()) == pytest.approx(1000)
    assert float(found.randoms.sum()) == pytest.approx(200)
    assert float(found.scatter.sum() / (found.scatter + found.trues).sum()) == pytest.approx(0.35)
    np.testing.assert_allclose(found.trues, found.scale * ATTENUATION * EFFICIENCY * PROJECTIONS, rtol=1e-12)
    np.testing.assert_allclose(found.factors, ATTENUATION * EFFICIENCY, rtol=1e-12)
    np.testing.assert_allclose(found.scatter[2] / found.scatter[0, 0, 0], profile[0] / profile[0, 0, 0], rtol=1e-12)
    np.testing.assert_allclose(found.randoms[3] / found.randoms[0, 0, 0], EFFICIENCY / EFFICIENCY[0, 0], rtol=1e-12)
    np.testing.assert_allclose(found.background, found.scatter + found.randoms)


def test_without_background_all_counts_are_trues(x64):
    found = expected_counts(PROJECTIONS, counts=50.0)
    np.testing.assert_allclose(found.trues, PROJECTIONS * 50 / PROJECTIONS.sum(), rtol=1e-12)
    assert float(found.background.max()) == 0


def test_factors_of_lines_serve_all_their_bins(x64):
    tof = RNG.uniform(size=(6, 4, 5, 3))
    found = expected_counts(tof, counts=10.0, attenuation=ATTENUATION[..., None])
    np.testing.assert_allclose(found.trues / found.scale, tof * ATTENUATION[..., None], rtol=1e-12)


def test_realisations_have_poisson_mean_and_variance():
    """Of 4000 draws the mean is known to sd/sqrt(4000), the variance to about sqrt(2/4000 + 1/(4000 m)) of itself."""
    mean = np.array([0.0, 0.05, 1.0, 30.0, 5e5], np.float32)
    draws = np.asarray(realisations(jax.random.key(0), mean, 4000), np.float64)
    assert draws.shape == (4000, 5)
    assert (draws[:, 0] == 0).all()
    np.testing.assert_array_equal(draws, draws.round())
    for m, column in zip(mean[1:].astype(float), draws.T[1:], strict=True):
        assert abs(column.mean() - m) < 5 * np.sqrt(m / 4000)
        assert abs(column.var(ddof=1) / m - 1) < 5 * np.sqrt(2 / 4000 + 1 / (4000 * m))


def test_realisations_differ_and_repeat_with_the_key():
    mean = np.full((40, 5), 7.0, np.float32)
    first, again = (np.asarray(realisations(jax.random.key(3), mean, 3)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1]).any()
    assert (first != np.asarray(realisations(jax.random.key(4), mean, 3))).any()


def test_simulated_scans_fit_their_model():
    matrix = RNG.uniform(0, 1, (300, 12)).astype(np.float32)
    activity = RNG.uniform(0, 2, 12).astype(np.float32)
    attenuation = RNG.uniform(0.2, 1, 300).astype(np.float32)
    scan = simulate(
        jax.random.key(5),
        lambda x: jnp.asarray(matrix) @ x,
        activity,
        counts=3e5,
        num_realisations=4,
        attenuation=attenuation,
        randoms_fraction=0.3,
        scatter_fraction=0.25,
    )
    np.testing.assert_allclose(scan.trues, scan.factors * (matrix @ (scan.scale * activity)), rtol=1e-4)
    expected = np.asarray(scan.trues + scan.background)
    assert expected.sum() == pytest.approx(3e5, rel=1e-5)
    assert scan.data.shape == (4, 300)
    # Pearson's chi^2 has 1200 degrees of freedom; five of its standard deviations are allowed.
    chi2 = ((np.asarray(scan.data) - expected) ** 2 / expected).sum()
    assert abs(chi2 - 1200) < 5 * np.sqrt(2 * 1200)


def test_simulations_are_compiled_and_batched():
    operator = jnp.asarray(RNG.uniform(0, 1, (20, 6)), jnp.float32)

    def run(key, activity, counts):
        return simulate(key, lambda x: operator @ x, activity, counts=counts, scatter_fraction=0.5)

    keys = jax.random.split(jax.random.key(0), 3)
    batch = jax.jit(jax.vmap(run, (0, None, 0)))(keys, jnp.ones(6), jnp.array([10.0, 100.0, 1000.0]))
    np.testing.assert_allclose((batch.trues + batch.background).sum(1), [10, 100, 1000], rtol=1e-5)
    assert batch.data.shape == (3, 1, 20)


def test_lists_hold_the_histogram_in_random_order():
    counts = RNG.poisson(1.3, (3, 4, 5))
    events = np.asarray(list_events(jax.random.key(0), counts.astype(np.float32)))
    assert events.shape == (counts.sum(), 3)
    assert events.dtype == np.int32
    again = np.zeros_like(counts)
    np.add.at(again, tuple(events.T), 1)
    np.testing.assert_array_equal(again, counts)
    order = np.ravel_multi_index(events.T, counts.shape)
    assert (np.diff(order) < 0).mean() > 0.3  # sorted, there would be none


def test_drawn_events_follow_the_expectation():
    expected = RNG.uniform(0, 1, (7, 3, 6)) * (RNG.random((7, 3, 6)) > 0.3)
    expected[2] = 0
    number = 40000
    events = np.asarray(draw_events(jax.random.key(2), expected, number))
    found = np.zeros(expected.shape)
    np.add.at(found, tuple(events.T), 1)
    mean = number * expected / expected.sum()
    assert (found[mean == 0] == 0).all()
    some = mean > 0
    degrees = some.sum() - 1
    chi2 = ((found - mean)[some] ** 2 / mean[some]).sum()
    assert abs(chi2 - degrees) < 5 * np.sqrt(2 * degrees)


def test_drawing_events_is_compiled_and_batched():
    expected = jnp.asarray(RNG.uniform(0, 1, (2, 5, 3)), jnp.float32)
    keys = jax.random.split(jax.random.key(1), 2)
    batch = jax.jit(jax.vmap(lambda k, m: draw_events(k, m, 100)))(keys, expected)
    assert batch.shape == (2, 100, 2)
    for key, mean, found in zip(keys, expected, batch, strict=True):
        np.testing.assert_array_equal(found, draw_events(key, mean, 100))
    assert (batch >= 0).all()
    assert (batch < jnp.array([5, 3])).all()


def test_a_single_bin_takes_all_events():
    expected = np.zeros((3, 1, 4))
    expected[1, 0, 2] = 1e-3
    np.testing.assert_array_equal(draw_events(jax.random.key(0), expected, 50), np.tile([1, 0, 2], (50, 1)))


KEY = jax.random.key(0)
BAD = [
    (lambda: expected_counts(-PROJECTIONS, counts=1.0), ValueError, "projections"),
    (lambda: expected_counts(PROJECTIONS, counts=0.0), ValueError, "counts"),
    (lambda: expected_counts(0 * PROJECTIONS, counts=1.0), ValueError, "projections"),
    (lambda: expected_counts(PROJECTIONS, counts=1.0, scatter_fraction=1.0), ValueError, "scatter_fraction"),
    (lambda: expected_counts(PROJECTIONS, counts=1.0, randoms_fraction=-0.1), ValueError, "randoms_fraction"),
    (lambda: expected_counts(PROJECTIONS, counts=1.0, attenuation=np.ones(3)), ValueError, "attenuation"),
    (lambda: expected_counts(PROJECTIONS, counts=1.0, normalisation=-EFFICIENCY), ValueError, "normalisation"),
    (lambda: expected_counts(PROJECTIONS, counts=1.0, randoms=0.0, randoms_fraction=0.1), ValueError, "randoms"),
    (lambda: realisations(KEY, [-1.0], 1), ValueError, "expected"),
    (lambda: realisations(KEY, [1.0], 0), ValueError, "num_realisations"),
    (lambda: realisations(KEY, [1.0], 1.5), TypeError, "num_realisations"),
    (lambda: list_events(KEY, [1.0, 0.5]), ValueError, "counts"),
    (lambda: list_events(KEY, [1, -1]), ValueError, "counts"),
    (lambda: list_events(KEY, [0, 0]), ValueError, "counts"),
    (lambda: list_events(KEY, ["a"]), TypeError, "counts"),
    (lambda: draw_events(KEY, 1.0, 3), ValueError, "expected"),
    (lambda: draw_events(KEY, [0.0], 3), ValueError, "expected"),
    (lambda: draw_events(KEY, [1.0], 0), ValueError, "num_events"),
]


@pytest.mark.parametrize(("call", "error", "name"), BAD)
def test_bad_input_is_named(call, error, name):
    with pytest.raises(error, match=name):
        call()
