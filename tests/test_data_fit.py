"""Objectives of measured data: their definitions, their limits at zero, and views drawn at random without bias."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxct
from jaxct._divergence import kullback_leibler
from jaxct.data_fit import LeastSquares, Poisson, TransmissionPoisson
from tests.matrix import COLS, ROWS, Matrix
from tests.solvers import positive_problem

RNG = np.random.default_rng(3)
COUNTS = RNG.poisson(2.0, size=ROWS).astype(float)
WEIGHTS = RNG.uniform(0.5, 2, size=ROWS)
BACKGROUND = RNG.uniform(0.2, 1, size=ROWS)
BLANK = RNG.uniform(20, 40, size=ROWS)


def deviance(mean, counts):
    """The Poisson log-likelihood of the counts, of the mean that is best less of this one."""
    logs = np.where(counts > 0, counts * np.log(np.where(counts > 0, counts, 1) / mean), 0)
    return np.sum(mean - counts + logs)


# What is built of an operator, and the same as a function of A x in NumPy.
FITS = {
    "least_squares": (
        lambda op: LeastSquares(op, COUNTS),
        lambda p: np.sum((p - COUNTS) ** 2) / 2,
    ),
    "weighted": (
        lambda op: LeastSquares(op, COUNTS, WEIGHTS),
        lambda p: np.sum(WEIGHTS * (p - COUNTS) ** 2) / 2,
    ),
    "poisson": (lambda op: Poisson(op, COUNTS), lambda p: deviance(p, COUNTS)),
    "poisson_background": (
        lambda op: Poisson(op, COUNTS, BACKGROUND),
        lambda p: deviance(p + BACKGROUND, COUNTS),
    ),
    "transmission": (
        lambda op: TransmissionPoisson(op, COUNTS, 30.0),
        lambda p: deviance(30 * np.exp(-p), COUNTS),
    ),
    "transmission_background": (
        lambda op: TransmissionPoisson(op, COUNTS, BLANK, BACKGROUND),
        lambda p: deviance(BLANK * np.exp(-p) + BACKGROUND, COUNTS),
    ),
}
each_fit = pytest.mark.parametrize("name", FITS)


@pytest.fixture
def matrix():
    return positive_problem()[0]


@pytest.fixture
def image():
    return positive_problem()[1]


@each_fit
def test_values_and_derivatives(name, matrix, image):
    build, wanted = FITS[name]
    assert (COUNTS == 0).any()
    with jax.enable_x64(True):
        fit = build(Matrix(jnp.asarray(matrix)))
        np.testing.assert_allclose(jax.jit(fit)(image), wanted(matrix @ image.ravel()), rtol=1e-12)
        check_grads(jax.jit(fit), (image,), order=1, eps=1e-5, rtol=1e-7)
        check_grads(jax.jit(jax.grad(fit)), (image,), order=1, modes=["fwd"], eps=1e-5, rtol=1e-7)


def test_the_constant_of_a_likelihood_does_not_depend_on_the_image(matrix, image):
    with jax.enable_x64(True):
        fit = Poisson(Matrix(jnp.asarray(matrix)), COUNTS, BACKGROUND)
        mean = lambda x: matrix @ x.ravel() + BACKGROUND  # noqa: E731
        likelihood = lambda x: np.sum(mean(x) - COUNTS * np.log(mean(x)))  # noqa: E731
        change = likelihood(2 * image) - likelihood(image)
        np.testing.assert_allclose(fit(2 * image) - fit(image), change, rtol=1e-12)


@pytest.mark.parametrize("transmission", [False, True])
def test_a_good_fit_of_many_counts_keeps_its_digits_in_single_precision(transmission):
    """The terms m and y log m are 1e7, and what is left of them is about 1."""
    mean = 1e6 + 1e3 * np.arange(6.0).reshape(COLS)
    image = np.float32(-np.log((mean - 10) / 2e6) if transmission else mean - 10)
    counts = np.float32(mean + 1e3 * RNG.normal(size=COLS)).ravel()
    values = []
    for dtype in (np.float32, np.float64):
        with jax.enable_x64(dtype == np.float64):
            operator = Matrix(jnp.eye(6, dtype=dtype))
            arguments = (operator, counts.astype(dtype), *([2e6] if transmission else []), 10.0)
            value = (TransmissionPoisson if transmission else Poisson)(*arguments)(image.astype(dtype))
            assert value.dtype == dtype
            values.append(float(value))
    np.testing.assert_allclose(*values, rtol=1e-3)


def test_the_distance_of_poisson_data_has_all_digits():
    """Against extended precision, from means that agree to a thousandth to ones of other orders of magnitude."""
    rng = np.random.default_rng(0)
    counts = np.float32(10 ** rng.uniform(-3, 7, 2000))
    mean = np.float32(counts * np.exp(rng.normal(size=2000) * 10 ** rng.uniform(-3, 1, 2000)))
    mean = np.where(mean == counts, 2 * counts, mean)
    y, m = (a.astype(np.longdouble) for a in (counts, mean))
    excess = (m - y) / y
    np.testing.assert_allclose(kullback_leibler(counts, mean), y * (excess - np.log1p(excess)), rtol=2e-6)
    slopes = jax.vmap(jax.grad(kullback_leibler, 1))(counts, mean)
    np.testing.assert_allclose(slopes, excess * y / m, rtol=1e-6)


@pytest.mark.parametrize(
    ("counts", "mean", "distance", "slope"),
    [
        (0.0, 0.0, 0, 1),
        (0.0, 2.0, 2, 1),
        (0.0, -1.0, -1, 1),
        (1.0, 0.0, np.inf, 0),
        (1.0, -1.0, np.inf, 0),
        (1, 1, 0, 0),
    ],
)
def test_the_distance_of_poisson_data_at_its_ends(counts, mean, distance, slope):
    value, derivative = jax.value_and_grad(kullback_leibler, 1)(float(counts), float(mean))
    assert (value, derivative) == (distance, slope)
    assert np.isfinite(jax.grad(jax.grad(kullback_leibler, 1), 1)(float(counts), float(mean)))
    assert np.isnan(kullback_leibler(np.nan, mean))
    assert np.isnan(kullback_leibler(1.0, np.nan))


def test_zero_counts_and_zero_means():
    operator = Matrix(jnp.eye(6))
    counts, x = jnp.asarray([0.0, 0.0, 3.0, 3.0, 3.0, 1e4]), jnp.asarray([[0.0, 2.0, 3.0], [0.0, -1.0, 1e-9]])
    f = jax.jit(jax.value_and_grad(Poisson(operator, counts)))
    value, gradient = f(x)
    assert np.isfinite(value)
    np.testing.assert_allclose(gradient[0], [1, 1, 0], atol=1e-6)
    assert (gradient[1] < -1e9).all()
    assert np.isfinite(gradient).all()
    value, gradient = f(jnp.full(COLS, 3.0).at[1, 2].set(1e4).at[0, :2].set(0.0))
    np.testing.assert_allclose(value, 0, atol=1e-12)
    np.testing.assert_allclose(gradient, [[1, 1, 0], [0, 0, 0]], atol=1e-6)


def test_below_the_floor_a_term_is_its_taylor_polynomial():
    with jax.enable_x64(True):
        fit = jax.jit(Poisson(Matrix(jnp.eye(6)), jnp.full(6, 2.0), floor=0.5))
        at = lambda m: float(fit(jnp.full(COLS, m))) / 6  # noqa: E731
        exact = lambda m: m - 2 + 2 * np.log(2 / m)  # noqa: E731
        for m in (0.5, 0.7, 3.0):
            np.testing.assert_allclose(at(m), exact(m), rtol=1e-12)
        for m in (0.49, 0.1, 0.0, -2.0):
            step = m - 0.5
            np.testing.assert_allclose(at(m), exact(0.5) + (1 - 2 / 0.5) * step + 2 / 0.25 * step**2 / 2, rtol=1e-12)


def test_a_dense_object_and_a_blind_pixel_have_finite_gradients():
    """exp(-200) is 0 in single precision, whose logarithm the counts would be multiplied by."""
    x = jnp.full(COLS, 200.0)
    for background in (None, 0.0, [0, 0, 0, 1, 1, 1]):
        fit = TransmissionPoisson(Matrix(jnp.eye(6)), [0, 5, 10, 0, 5, 10], 1e5, background)
        value, gradient = jax.jit(jax.value_and_grad(fit))(x)
        assert np.isfinite(value)
        without = np.array([0, 5, 10])
        np.testing.assert_allclose(gradient[0], without, rtol=1e-6)
        np.testing.assert_allclose(gradient[1], 0 if np.ndim(background) else without, atol=1e-5)


def test_rays_of_weight_zero_may_have_any_data(matrix, image):
    with jax.enable_x64(True):
        A = Matrix(jnp.asarray(matrix))  # noqa: N806
        weights = np.where(np.arange(ROWS) == 4, 0, WEIGHTS)
        fits = [LeastSquares(A, np.where(np.arange(ROWS) == 4, bad, COUNTS), weights) for bad in (np.nan, 7.0)]
        (value, gradient), wanted = (jax.jit(jax.value_and_grad(f))(image) for f in fits)
        assert value == wanted[0]
        np.testing.assert_array_equal(gradient, wanted[1])


@each_fit
def test_subsets_have_the_whole_objective_as_their_mean(name, matrix, image):
    with jax.enable_x64(True):
        fit = FITS[name][0](Matrix(jnp.asarray(matrix)))
        parts = np.arange(ROWS).reshape(7, 2)

        @jax.jit
        def results(fit, x):
            gradients = jax.vmap(lambda v: jax.value_and_grad(fit.subset(v))(x))(parts)
            nested = fit.subset(np.arange(6)).subset(np.array([1, 4]))(x), fit.subset([1, 4])(x)
            return jax.value_and_grad(fit)(x), gradients, nested, fit.subset(np.arange(ROWS))(x)

        (value, gradient), (values, gradients), nested, whole = results(fit, image)
        np.testing.assert_allclose(np.mean(values), value, rtol=1e-12)
        np.testing.assert_allclose(np.mean(gradients, 0), gradient, rtol=1e-12)
        np.testing.assert_allclose(*nested, rtol=1e-12)
        np.testing.assert_allclose(whole, value, rtol=1e-12)


def test_samples_are_views_without_repetition_and_each_as_often(matrix, image):
    with jax.enable_x64(True):
        fit = LeastSquares(Matrix(jnp.asarray(matrix)), COUNTS, WEIGHTS)
        single = np.array(jax.jit(jax.vmap(lambda v: fit.subset(v[None])(image)))(np.arange(ROWS)))
        draw = jax.jit(jax.vmap(lambda key: fit.sample(key, 2)(image)))
        values = np.array(draw(jax.random.split(jax.random.key(0), 400)))
        pairs = [(single[i] + single[j]) / 2 for i, j in itertools.combinations(range(ROWS), 2)]
        found = np.isclose(values[:, None], pairs, rtol=1e-12)
        assert found.any(1).all(), "every sample is one of the pairs"
        assert found.any(0).mean() > 0.9
        # The mean of 400 draws is within four standard errors of the objective.
        assert abs(values.mean() - fit(image)) < 4 * np.std(pairs) / 20
        np.testing.assert_allclose(fit.sample(jax.random.key(1), ROWS)(image), fit(image), rtol=1e-12)


def test_subsets_of_a_projector_with_values_that_views_share():
    geometry = jaxct.ParallelBeam(np.linspace(0, 3, 6), detector_shape=(7,))
    A = jaxct.Projector(geometry, jaxct.VolumeGrid((5, 5)))  # noqa: N806
    x = jnp.asarray(RNG.uniform(0.1, 0.3, size=(5, 5)), jnp.float32)
    counts = RNG.poisson(20.0, size=(6, 7))
    per_view = RNG.uniform(20, 40, size=(6, 1)).astype(np.float32)
    views = jnp.asarray([4, 1])
    for blank, shared in ((per_view, per_view[[4, 1]]), (30.0, 30.0), (per_view[0], per_view[0])):
        fit = TransmissionPoisson(A, counts, blank)
        part = TransmissionPoisson(A[views], counts[[4, 1]], shared)
        np.testing.assert_allclose(jax.jit(fit.subset)(views)(x), 3 * part(x), rtol=1e-6)


def test_arrays_are_leaves_and_structures_are_equal(matrix):
    traces = []

    @jax.jit
    def value(fit, x):
        traces.append(1)
        return fit(x)

    A, x = Matrix(jnp.asarray(matrix, jnp.float32)), jnp.ones(COLS)  # noqa: N806
    for factor in (1.0, 2.0):
        fit = Poisson(A, factor * COUNTS, BACKGROUND)
        assert {leaf.shape for leaf in jax.tree.leaves(fit)} == {matrix.shape, (ROWS,)}
        value(fit, x)
    assert len(traces) == 1
    stacked = jax.tree.map(lambda *a: jnp.stack(a), Poisson(A, COUNTS), Poisson(A, 2 * COUNTS))
    wanted = [Poisson(A, COUNTS)(x), Poisson(A, 2 * COUNTS)(x)]
    np.testing.assert_allclose(jax.vmap(lambda fit: fit(x))(stacked), wanted, rtol=1e-5)
    assert "Poisson(A=<Matrix>, counts=float32[14]" in repr(Poisson(A, COUNTS))


def test_dtypes(matrix):
    A = Matrix(jnp.asarray(matrix, jnp.float32))  # noqa: N806
    assert LeastSquares(A, np.arange(ROWS)).data.dtype == jnp.float32
    assert LeastSquares(A, COUNTS.astype(np.float16)).data.dtype == jnp.float32
    with jax.enable_x64(True):
        assert Poisson(A, COUNTS, 1.0).counts.dtype == Poisson(A, COUNTS, 1.0).background.dtype == jnp.float64


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda op: LeastSquares(op, COUNTS[1:]), ValueError, r"data: expected .*\(14,\), got \(13,\)"),
        (lambda op: LeastSquares(op, 1j * COUNTS), TypeError, "data: expected real values, got complex"),
        (lambda op: LeastSquares(op, COUNTS, -WEIGHTS), ValueError, "weights must not be negative, got -1"),
        (lambda op: LeastSquares(op, COUNTS, np.ones(3)), ValueError, r"weights .*\(14,\), got shape \(3,\)"),
        (lambda op: Poisson(op, COUNTS - 1), ValueError, "counts must not be negative, got -1"),
        (lambda op: Poisson(op, COUNTS, -1.0), ValueError, "background must not be negative, got -1"),
        (lambda op: Poisson(op, COUNTS, floor=0.0), ValueError, "floor must be positive"),
        (lambda op: TransmissionPoisson(op, COUNTS, 0.0), ValueError, "blank must be positive, got 0"),
        (lambda op: Poisson(op, COUNTS).subset(np.ones(2)), TypeError, "views must be integers, got .*float"),
        (lambda op: Poisson(op, COUNTS).subset(3), ValueError, r"views .* got shape \(\)"),
        (lambda op: Poisson(op, COUNTS).sample(jax.random.key(0), 15), ValueError, "num_views .* 14, got 15"),
        (lambda op: Poisson(op, COUNTS).sample(jax.random.key(0), 0), ValueError, "num_views must be .* 0"),
        (lambda op: LeastSquares(Whole(op), COUNTS).subset([0]), TypeError, r"A must .* A\[views\], got a Whole"),
    ],
)
def test_bad_input_names_the_argument(call, error, message, matrix):
    with pytest.raises(error, match=message):
        call(Matrix(jnp.asarray(matrix)))


class Whole:
    """An operator whose views cannot be taken."""

    def __init__(self, matrix):
        self.in_shape, self.out_shape, self.T = matrix.in_shape, matrix.out_shape, matrix.T
