"""ASD-POCS does what the paper says, arrives at the tolerance it is given, and near the least total variation there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from jaxct.reconstruct.asd_pocs import asd_pocs
from tests.matrix import COLS, ROWS, Matrix
from tests.operators import relative_error
from tests.test_pdhg import problem  # noqa: F401
from tests.total_variation import difference_matrix, minimiser, total_variation

jitted = jax.jit(asd_pocs, static_argnames=("num_iters", "num_subsets", "ng", "order"))


def numpy_asd_pocs(matrix, data, x, num_iters, epsilon, subsets, beta, beta_red, ng, alpha, alpha_red, r_max):
    """By the formulas as they stand; volumes and lengths of every iteration."""
    d, dtvg, kept = difference_matrix(COLS), None, []
    reciprocal = lambda sums: np.divide(1, sums, out=np.zeros_like(sums), where=sums > 0)  # noqa: E731
    for _ in range(num_iters):
        start = x
        for rows in subsets:
            a = matrix[rows]
            step = reciprocal(a.sum(0)) * (a.T @ (reciprocal(a.sum(1)) * (data[rows] - a @ x)))
            x = x + beta * step
        x = volume = np.maximum(x, 0)
        dd, dp = np.linalg.norm(matrix @ x - data), np.linalg.norm(x - start)
        dtvg = alpha * dp if dtvg is None else dtvg
        for _ in range(ng):
            slopes = np.einsum("aij,j->ai", d, x)
            length = np.sqrt((slopes**2).sum(0))
            slope = np.einsum("aij,ai->j", d, np.divide(slopes, length, out=np.zeros_like(slopes), where=length > 0))
            x = x - dtvg * slope / np.linalg.norm(slope)
        dg = np.linalg.norm(x - volume)
        kept.append((volume, dd, dp, dg, dtvg))
        if dg > r_max * dp and dd > epsilon:
            dtvg = dtvg * alpha_red
        beta = beta * beta_red
    return kept


@pytest.mark.parametrize("num_subsets", [1, 3])
def test_agrees_with_the_formulas(problem, num_subsets):  # noqa: F811
    matrix, data = problem[:2]
    init = np.random.default_rng(1).uniform(0.5, 1.5, COLS)
    parameters = {"beta": 0.9, "beta_red": 0.98, "ng": 4, "alpha": 0.3, "alpha_red": 0.8, "r_max": 0.9}
    subsets = [np.arange(ROWS)[s::num_subsets] for s in range(num_subsets)]
    wanted = numpy_asd_pocs(matrix, data, init.ravel(), 12, 1.5, subsets, **parameters)
    volumes = []
    with jax.enable_x64(True):
        history = asd_pocs(
            Matrix(jnp.asarray(matrix)), data, num_iters=12, epsilon=1.5, num_subsets=num_subsets, init=init,
            order="sequential", callback=lambda i, state, record: volumes.append(np.ravel(state.volume)), **parameters,
        ).history  # fmt: skip
    for k, (volume, dd, dp, dg, _) in enumerate(wanted):
        np.testing.assert_allclose(volumes[k], volume, rtol=1e-8)
        row = [history[name][k] for name in ("residual_norm", "data_step", "descent", "total_variation")]
        np.testing.assert_allclose(row, [dd, dp, dg, total_variation(volume.reshape(COLS))], rtol=1e-8)
    assert len({dtvg for *_, dtvg in wanted}) > 1, "the length of the descent was adapted"


def test_arrives_at_the_tolerance_and_near_the_least_total_variation(problem):  # noqa: F811
    """Near: the data step's metric is not the plain one, in which the tolerance is measured."""
    matrix, data = problem[:2]
    best = minimiser(matrix, data, COLS, 0.4, lower=0.0)
    epsilon = np.linalg.norm(matrix @ best.ravel() - data)
    with jax.enable_x64(True):
        result = jitted(Matrix(jnp.asarray(matrix)), data, num_iters=4000, epsilon=epsilon)
    volume = np.asarray(result.volume)
    assert np.linalg.norm(matrix @ volume.ravel() - data) < (1 + 1e-6) * epsilon
    assert (volume >= 0).all()
    assert total_variation(best) * (1 - 1e-6) < total_variation(volume) < 1.01 * total_variation(best)


def test_finds_a_piecewise_constant_image_from_few_views():
    """Ten views of 24 x 24 pixels, exact: less than half as many numbers as pixels."""
    beam = jaxct.ParallelBeam(jaxct.geometry.trajectories.circle(10, arc=np.pi), detector_shape=(24,))
    A = jaxct.Projector(beam, jaxct.VolumeGrid((24, 24)))  # noqa: N806
    y, x = np.mgrid[:24, :24] - 11.5
    truth = (np.hypot(y, x) < 9) * 1.0 + (np.hypot(y - 3, x + 2) < 3)

    @jax.jit
    def solve(truth):
        data = A(truth)
        epsilon = 1e-3 * jnp.linalg.norm(data)
        result = asd_pocs(A, data, num_iters=1500, epsilon=epsilon, num_subsets=5, beta_red=0.999)
        residual = result.history["residual_norm"][-1] / epsilon
        return result.volume, jaxct.reconstruct.sirt(A, data, num_iters=1500, lower=0.0).volume, residual

    volume, plain, residual = solve(truth.astype(np.float32))
    assert residual < 1
    assert relative_error(volume, truth) < 0.25 * relative_error(plain, truth)


def test_rays_that_meet_nothing_are_left_out(problem):  # noqa: F811
    matrix, data = problem[:2]
    matrix[3], data[3] = 0, 1e9
    result = jitted(Matrix(jnp.asarray(matrix, jnp.float32)), data, num_iters=5, epsilon=0.1)
    assert float(result.history["residual_norm"][-1]) < 100
    assert (np.abs(result.volume) < 100).all()


def test_a_constant_image_that_fits_stays(problem):  # noqa: F811
    matrix = problem[0]
    result = jitted(
        Matrix(jnp.asarray(matrix)), matrix.sum(1), num_iters=3, epsilon=0.0, init=np.ones(COLS)
    )  # fmt: skip
    np.testing.assert_allclose(result.volume, 1, rtol=1e-5)


def test_derivative_of_an_iterate(problem):  # noqa: F811
    matrix, data = problem[:2]
    with jax.enable_x64(True):
        A, v = Matrix(jnp.asarray(matrix)), jnp.asarray(np.random.default_rng(3).normal(size=COLS))  # noqa: N806

        @jax.jit
        def f(t):
            return jnp.vdot(v, asd_pocs(A, data * (1 + t), num_iters=3, epsilon=0.5, ng=2).volume)

        h = 1e-6
        np.testing.assert_allclose(jax.grad(f)(0.1), (f(0.1 + h) - f(0.1 - h)) / (2 * h), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"epsilon": -1.0}, ValueError, "epsilon must not be negative, got -1"),
        ({"beta": 2.0}, ValueError, "beta must be above 0 and below 2, got 2"),
        ({"beta_red": 1.1}, ValueError, r"beta_red must be above 0 and at most 1, got 1\.1"),
        ({"alpha": 0.0}, ValueError, "alpha .* 0"),
        ({"alpha_red": 2.0}, ValueError, "alpha_red must be above 0 and at most 1, got 2"),
        ({"r_max": -1.0}, ValueError, "r_max .* -1"),
        ({"ng": 0}, ValueError, "ng .* 0"),
        ({"key": 3}, TypeError, "key must be a single one of jax.random.key, got 3"),
        ({"num_subsets": ROWS + 1}, ValueError, "num_subsets must be at most"),
        ({"spacing": 0.0}, ValueError, "spacing .* 0"),
        ({"upper": -1.0}, ValueError, "lower must nowhere be above upper, got 0 above -1"),
    ],
)
def test_bad_input_names_the_argument(problem, change, error, message):  # noqa: F811
    with pytest.raises(error, match=message):
        asd_pocs(Matrix(jnp.asarray(problem[0])), problem[1], **{"num_iters": 1, "epsilon": 0.1, **change})
