"""Landweber's iteration computes what its formula says, and falls in its norm at any step that is allowed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxct
from jaxct.reconstruct.landweber import landweber
from jaxct.reconstruct.sirt import sirt
from tests.matrix import COLS, ROWS, Matrix
from tests.operators import relative_error

jitted = jax.jit(landweber, static_argnames="num_iters")


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def problem():
    """Weights of either sign: unlike SIRT this needs no others."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(ROWS, 6)), rng.normal(size=ROWS)


def numpy_landweber(matrix, data, volume, num_iters, relaxation, weights, lower=-np.inf, upper=np.inf):
    """The last iterate and the norms, by the formula as it stands."""
    step = relaxation / np.linalg.norm(np.sqrt(weights)[:, None] * matrix, 2) ** 2
    norms = []
    for _ in range(num_iters):
        volume = np.clip(volume + step * matrix.T @ (weights * (data - matrix @ volume)), lower, upper)
        norms.append(np.sqrt(np.sum(weights * (data - matrix @ volume) ** 2)))
    return volume, norms


def test_agrees_with_the_formula_on_the_explicit_matrix(problem):
    """Of six unknowns the estimate of the norm is exact."""
    matrix, data = problem
    rng = np.random.default_rng(1)
    init, weights = rng.normal(size=COLS), rng.uniform(size=ROWS) * (np.arange(ROWS) != 3)
    options = {"num_iters": 15, "relaxation": 1.7, "weights": weights, "lower": -0.5, "upper": 0.4}
    result = jitted(Matrix(jnp.asarray(matrix)), data, init=init, **options)
    volume, norms = numpy_landweber(matrix, data, init.ravel(), **options)
    assert relative_error(np.ravel(result.volume), volume) < 1e-9
    assert relative_error(result.history["residual_norm"], norms) < 1e-9


def test_reaches_the_solution_of_an_exact_system(problem):
    matrix, _ = problem
    solution = np.random.default_rng(1).normal(size=COLS)
    result = jitted(Matrix(jnp.asarray(matrix)), matrix @ solution.ravel(), num_iters=1000, relaxation=1.9)
    np.testing.assert_allclose(result.volume, solution, rtol=1e-9)
    assert result.history["residual_norm"][-1] < 1e-9


def test_reaches_the_weighted_least_squares_solution(problem):
    matrix, data = problem
    weights = np.random.default_rng(2).uniform(0.1, 10, size=ROWS)
    result = jitted(Matrix(jnp.asarray(matrix)), data, num_iters=2000, relaxation=1.9, weights=weights)
    roots = np.sqrt(weights)
    wanted = np.linalg.lstsq(roots[:, None] * matrix, roots * data, rcond=None)[0]
    np.testing.assert_allclose(result.volume.ravel(), wanted, rtol=1e-8)


@pytest.mark.parametrize("relaxation", [0.1, 1.0, 1.99])
def test_the_residual_never_rises(relaxation):
    """Of a projector, whose norm is an estimate; with the bound active."""
    geometry = jaxct.ParallelBeam(np.linspace(0, 3, 12), detector_shape=(20,))
    A = jaxct.Projector(geometry, jaxct.VolumeGrid((12, 12)))  # noqa: N806
    data = np.random.default_rng(3).normal(size=A.out_shape)
    result = jitted(A, data, num_iters=80, relaxation=relaxation, lower=0.0)
    norms = np.asarray(result.history["residual_norm"])
    assert (np.diff(norms) <= 1e-14 * norms[1:]).all()
    assert (np.asarray(result.volume) == 0).any()
    assert (np.asarray(result.volume) > 0).any()


def test_with_the_weights_of_sirt_and_equal_columns_it_is_sirt():
    """A circulant matrix has the same sums in all rows and columns, so that SIRT's weights are one number."""
    matrix = np.stack([np.roll([3.0, 1.0, 0.5, 0, 0, 1.0], k) for k in range(6)])
    data = np.random.default_rng(4).uniform(size=6)
    A = Matrix(jnp.asarray(matrix))  # noqa: N806
    got = jitted(A, data, num_iters=7, weights=1 / 5.5)
    wanted = jax.jit(lambda d: sirt(A, d, num_iters=7))(data)  # |R^(1/2) A C^(1/2)| = 1
    assert relative_error(got.volume, wanted.volume) < 1e-9, "the norm is that good"
    assert relative_error(got.history["residual_norm"], wanted.history["residual_norm"]) < 1e-9


def test_derivatives_of_an_iterate(problem):
    matrix, data = problem
    A = Matrix(jnp.asarray(matrix))  # noqa: N806

    def solve(data, init, relaxation):
        return landweber(A, data, num_iters=3, init=init, relaxation=relaxation)

    check_grads(jax.jit(solve), (data, np.full(COLS, 0.1), 1.3), order=1, modes=("fwd", "rev"))


def test_an_operator_of_zeros_leaves_the_start():
    result = jitted(Matrix(jnp.zeros((ROWS, 6))), np.ones(ROWS), num_iters=3, init=np.ones(COLS))
    np.testing.assert_array_equal(result.volume, 1)


def test_data_that_are_nan_show(problem):
    matrix, data = problem
    data[3] = np.nan
    assert np.isnan(jitted(Matrix(jnp.asarray(matrix)), data, num_iters=3).volume).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rays_without_weight_are_left_out_whatever_their_data(problem, value):
    matrix, data = problem
    A, weights = Matrix(jnp.asarray(matrix)), np.arange(ROWS) != 3.0  # noqa: N806
    for init in (None, np.ones(COLS)):
        options = {"num_iters": 5, "init": init, "weights": weights.astype(float)}
        wanted = jitted(A, data, **options)
        got = jitted(A, np.where(weights, data, value), **options)
        jax.tree.map(np.testing.assert_array_equal, got, wanted)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"relaxation": 2.0}, "relaxation must be above 0 and below 2, got 2"),
        ({"weights": -1.0}, "weights must not be negative, got -1"),
        ({"weights": np.full(ROWS, np.nan)}, "weights must be finite, got nan"),
        ({"weights": np.ones(3)}, r"weights must broadcast to .*\(14,\), got shape \(3,\)"),
        ({"lower": 1.0, "upper": 0.0}, "lower .*above upper, got 1 above 0"),
    ],
)
def test_bad_input_names_the_argument(problem, change, message):
    matrix, data = problem
    for call in (landweber, jax.jit(lambda *a, **k: landweber(*a, **{**k, **change}), static_argnames="num_iters")):
        with pytest.raises(ValueError, match=message):
            call(Matrix(jnp.asarray(matrix)), data, **{"num_iters": 1, **(change if call is landweber else {})})
