"""MLEM climbs the likelihood, keeps the counts, and ends where no image is more likely."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxct.reconstruct._poisson import log_likelihood
from jaxct.reconstruct.mlem import mlem
from tests.matrix import COLS, ROWS, Matrix
from tests.operators import relative_error

jitted = jax.jit(mlem, static_argnames="num_iters")


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def problem():
    """A positive matrix with counts that no image explains; some are zero."""
    rng = np.random.default_rng(0)
    matrix = rng.uniform(size=(ROWS, 6)) * (rng.uniform(size=(ROWS, 6)) < 0.5)
    matrix[np.arange(ROWS), np.arange(ROWS) % 6] += 1
    return matrix, rng.poisson(2.5 * matrix.sum(1)) * (np.arange(ROWS) % 5 > 0.0)


def relative_log_likelihood(data, expected):
    positive = data > 0
    return np.sum(data[positive] * np.log(expected[positive] / data[positive])) - np.sum(expected - data)


def numpy_mlem(matrix, data, volume, num_iters, background=0.0):
    """The last image, the log-likelihoods and the totals, by the formula as it stands."""
    records = []
    for _ in range(num_iters):
        volume = volume / matrix.sum(0) * (matrix.T @ (data / (matrix @ volume + background)))
        expected = matrix @ volume + background
        records.append((relative_log_likelihood(data, expected), expected.sum()))
    return volume, *np.transpose(records)


@pytest.mark.parametrize("background", [None, 0.7, np.linspace(0, 2, ROWS)])
def test_agrees_with_the_formula_on_the_explicit_matrix(problem, background):
    matrix, data = problem
    init = np.random.default_rng(1).uniform(0.5, 2, size=COLS)
    result = jitted(Matrix(jnp.asarray(matrix)), data.astype(float), num_iters=12, init=init, background=background)
    volume, likelihoods, totals = numpy_mlem(matrix, data, init.ravel(), 12, 0.0 if background is None else background)
    assert relative_error(np.ravel(result.volume), volume) < 1e-12
    np.testing.assert_allclose(result.history["log_likelihood"], likelihoods, rtol=1e-11)
    np.testing.assert_allclose(result.history["total"], totals, rtol=1e-13)


@pytest.mark.parametrize("background", [None, 1.5])
def test_the_likelihood_never_falls_and_the_end_is_the_most_likely_image(problem, background):
    """By the conditions of Karush, Kuhn and Tucker, with a voxel at its bound."""
    matrix, data = problem
    data = np.where(matrix[:, 2] > 0, 0, data) + (np.arange(ROWS) == 2)
    result = jitted(Matrix(jnp.asarray(matrix)), data.astype(float), num_iters=1000, background=background)
    likelihoods = np.asarray(result.history["log_likelihood"])
    assert (np.diff(likelihoods) >= -1e-13 * np.abs(likelihoods[0])).all()
    assert likelihoods[-1] < -0.1, "no image explains the data"
    image = np.ravel(result.volume)
    expected = matrix @ image + (background or 0)
    gradient = matrix.T @ (data / expected) - matrix.sum(0)
    assert (gradient < 1e-12).all()
    assert np.abs(image * gradient).max() < 1e-12
    assert image.min() == 0 < 0.1 < image.max()


def test_every_iterate_expects_the_counts_of_the_data(problem):
    matrix, data = problem
    run = lambda dtype: mlem(Matrix(jnp.asarray(matrix, dtype)), data.astype(dtype), num_iters=10)  # noqa: E731
    np.testing.assert_allclose(run(np.float64).history["total"], data.sum(), rtol=1e-14)
    single = run(np.float32)
    assert single.volume.dtype == np.float32
    np.testing.assert_allclose(single.history["total"], data.sum(), rtol=1e-6)


def test_the_default_start_is_uniform_with_the_counts_of_the_data(problem):
    matrix, data = problem
    matrix[:, 4] = 0
    for background in (None, 3.0):
        start = np.ravel(mlem(Matrix(jnp.asarray(matrix)), data, num_iters=0, background=background).volume)
        assert start[4] == 0
        np.testing.assert_array_equal(np.delete(start, 4), start[0])
        assert (matrix @ start).sum() == pytest.approx(data.sum(), rel=1e-6)


@pytest.mark.parametrize("background", [None, 0.5])
def test_exact_data_of_an_image_give_the_image(problem, background):
    matrix, _ = problem
    image = np.random.default_rng(1).uniform(0.5, 2, size=COLS)
    data = matrix @ image.ravel() + (background or 0)
    result = jitted(Matrix(jnp.asarray(matrix)), data, num_iters=3000, background=background)
    np.testing.assert_allclose(result.volume, image, rtol=1e-8)
    assert -1e-12 < result.history["log_likelihood"][-1] <= 1e-15
    stays = jitted(Matrix(jnp.asarray(matrix)), data, num_iters=3, init=image, background=background)
    np.testing.assert_allclose(stays.volume, image, rtol=1e-14)


def test_nothing_seen_nothing_expected_nothing_counted(problem):
    """A ray that misses the volume, with counts or without; a voxel that no ray meets; zeros of the start."""
    matrix, data = problem
    matrix[3], matrix[:, 4] = 0, 0
    init = np.ones(COLS)
    init[0, 1] = 0
    run = lambda counts: jitted(Matrix(jnp.asarray(matrix)), counts, num_iters=5, init=init)  # noqa: E731
    data = data.astype(float)
    data[3] = 0
    nothing = run(data)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(nothing))
    image = np.ravel(nothing.volume)
    assert image[1] == image[4] == 0
    assert (np.delete(image, [1, 4]) > 0).all()
    data[3] = 7
    jax.tree.map(np.testing.assert_array_equal, run(data), nothing)
    np.testing.assert_array_equal(run(np.zeros(ROWS)).volume, 0)


def test_small_gains_of_likelihood_show_in_single_precision():
    """Millions of counts a ray, which sum up to 1e8 and more, whose last digit is 8. Rounding errs by half a count in
    what is expected, and the likelihood by a thousandth of that, as the two differ by a thousandth."""
    rng = np.random.default_rng(2)
    matrix = rng.uniform(size=(ROWS, 6)).astype(np.float32)
    data = rng.poisson(1e6 * matrix.sum(1)).astype(np.float32)
    likelihoods = mlem(Matrix(jnp.asarray(matrix)), data, num_iters=300).history["log_likelihood"]
    expected = jitted(Matrix(jnp.asarray(matrix, float)), data.astype(float), num_iters=300)
    np.testing.assert_allclose(likelihoods, expected.history["log_likelihood"], rtol=0, atol=ROWS * 5e-4)
    assert -10 < likelihoods[-1] < 0


@pytest.mark.parametrize("expected", [1e-8, 1e-20, 0.5, 1.5, 1 + 2.0**-10, 1e10])
def test_the_likelihood_of_one_count_has_all_digits_in_single_precision(expected):
    """However little is expected of it."""
    expected = np.float32(expected)
    value = log_likelihood(jnp.ones(1, jnp.float32), jnp.full(1, expected))
    assert value.dtype == np.float32
    excess = float(expected) - 1
    np.testing.assert_allclose(value, np.log(float(expected)) - excess, rtol=1e-6)


def test_derivatives_of_an_iterate(problem):
    matrix, data = problem

    def run(matrix, data, init, background):
        return mlem(Matrix(matrix), data, num_iters=3, init=init, background=background)

    arguments = (matrix + 0.1, data + 0.5, np.full(COLS, 1.3), np.full(ROWS, 0.2))
    check_grads(jax.jit(run), arguments, order=1, modes=("rev",), eps=1e-6)


def test_derivatives_are_finite_where_nothing_is_expected(problem):
    matrix, data = problem
    matrix[3] = 0
    gradient = jax.grad(lambda d: mlem(Matrix(jnp.asarray(matrix)), d, num_iters=3).volume.sum())(data * 1.0)
    assert np.isfinite(gradient).all()


def test_data_that_are_nan_show(problem):
    matrix, data = problem
    data = np.where(np.arange(ROWS) == 3, np.nan, data)
    result = mlem(Matrix(jnp.asarray(matrix)), data, num_iters=3)
    assert np.isnan(result.volume).all()
    assert np.isnan(result.history["log_likelihood"]).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"data": np.full(ROWS, -1.0)}, ValueError, "data must not be negative, got -1"),
        ({"init": np.full(COLS, -2.0)}, ValueError, "init must not be negative, got -2"),
        ({"background": -0.5}, ValueError, "background must not be negative, got -0.5"),
        ({"background": np.inf}, ValueError, "background must be finite, got inf"),
        ({"background": np.ones(3)}, ValueError, r"background must broadcast to .*\(14,\), got shape \(3,\)"),
        ({"background": "low"}, TypeError, "background .* 'low'"),
    ],
)
def test_bad_input_names_the_argument(problem, change, error, message):
    matrix, data = problem
    call = lambda A: mlem(A, **{"data": data, "num_iters": 1, **change})  # noqa: E731, N803
    for solve in (call, jax.jit(call)):
        with pytest.raises(error, match=message):
            solve(Matrix(jnp.asarray(matrix)))
