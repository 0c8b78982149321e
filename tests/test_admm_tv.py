"""The alternating direction method minimises total variation plus least squares; its residuals say how far it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxct.reconstruct.admm_tv import admm_tv
from tests.matrix import COLS, ROWS, Matrix
from tests.operators import relative_error
from tests.test_pdhg import problem  # noqa: F401
from tests.total_variation import difference_matrix, fit_value, minimiser, total_variation

jitted = jax.jit(admm_tv, static_argnames=("num_iters", "cg_iters"))
BOUNDS = {"lower": 0.9, "upper": np.array([1.6, np.inf, 1.7])}


@pytest.mark.parametrize("cg_iters", [1, 4])
@pytest.mark.parametrize("bounds", [{}, BOUNDS])
def test_finds_the_minimiser(problem, bounds, cg_iters):  # noqa: F811
    """From any start, with penalties that differ by a factor of hundred."""
    matrix, data, weights, _ = problem
    chosen = {"weights": weights, "spacing": (1.0, 2.0), **bounds}
    wanted = minimiser(matrix, data, COLS, 0.4, **chosen)
    with jax.enable_x64(True):
        for penalty, init in ((1.0, np.zeros(COLS)), (0.3, np.full(COLS, 5.0)), (30.0, np.zeros(COLS))):
            result = jitted(
                Matrix(jnp.asarray(matrix)), data, num_iters=3000, tv_weight=0.4, penalty=penalty, cg_iters=cg_iters,
                init=init, **chosen,
            )  # fmt: skip
            assert relative_error(result.volume, wanted) < 1e-6
            assert float(result.history["primal_residual"][-1]) < 1e-5
            assert float(result.history["dual_residual"][-1]) < 1e-5


def test_solves_an_exact_system_without_a_penalty(problem):  # noqa: F811
    matrix, image = problem[0], np.arange(6.0).reshape(COLS)
    with jax.enable_x64(True):
        result = jitted(Matrix(jnp.asarray(matrix)), matrix @ image.ravel(), num_iters=300, tv_weight=0.0)
    np.testing.assert_allclose(result.volume, image, atol=1e-8)


def test_iterates_are_those_of_the_formulas_where_the_inner_problem_is_solved(problem):  # noqa: F811
    """Six inner iterations for six voxels; with the whole state, and the history from it."""
    matrix, data, weights, _ = problem
    d, norm = difference_matrix(COLS), np.linalg.norm(np.sqrt(weights)[:, None] * matrix, 2) ** 2
    rho, mu = norm / 8, norm / 100
    stiff = matrix.T @ (weights[:, None] * matrix) + rho * np.einsum("aij,aik->jk", d, d) + mu * np.eye(6)
    x = v = np.ones(6)
    z, u, s = np.einsum("aij,j->ai", d, x), np.zeros((2, 6)), np.zeros(6)
    kept = []
    with jax.enable_x64(True):
        history = admm_tv(
            Matrix(jnp.asarray(matrix)), data, num_iters=5, tv_weight=0.4, weights=weights, lower=1.1, cg_iters=6,
            squared_norm=norm, init=np.ones(COLS), callback=lambda i, state, record: kept.append(jax.device_get(state)),
        ).history  # fmt: skip
    for k, state in enumerate(kept):
        z_before, v_before = z, v
        x = np.linalg.solve(stiff, matrix.T @ (weights * data) + rho * np.einsum("aij,ai->j", d, z - u) + mu * (v - s))
        raised = np.einsum("aij,j->ai", d, x) + u
        length = np.sqrt((raised**2).sum(0))
        z = raised * np.maximum(1 - 0.4 / rho / np.where(length > 0, length, 1), 0)
        v = np.maximum(x + s, 1.1)
        u, s = raised - z, s + x - v
        np.testing.assert_allclose(state.volume.ravel(), v, rtol=1e-9)
        np.testing.assert_allclose(state.image.ravel(), x, rtol=1e-9)
        np.testing.assert_allclose(state.projections, matrix @ x, rtol=1e-9)
        np.testing.assert_allclose(np.stack(state.split).reshape(2, 6), z, atol=1e-9)
        gap = np.concatenate([(np.einsum("aij,j->ai", d, x) - z).ravel(), x - v])
        moved = rho * np.einsum("aij,ai->j", d, z - z_before) + mu * (v - v_before)
        objective = fit_value("least_squares", matrix @ x, data, weights) + 0.4 * total_variation(x.reshape(COLS))
        np.testing.assert_allclose(history["primal_residual"][k], np.linalg.norm(gap), rtol=1e-7)
        np.testing.assert_allclose(history["dual_residual"][k], np.linalg.norm(moved), rtol=1e-7)
        np.testing.assert_allclose(history["objective"][k], objective, rtol=1e-9)


def test_what_is_kept_up_to_date_stays_so_in_single_precision(problem):  # noqa: F811
    matrix, data = problem[:2]
    kept = []
    admm_tv(
        Matrix(jnp.asarray(matrix, jnp.float32)), data, num_iters=300, tv_weight=0.4, lower=0.9,
        callback=lambda i, state, record: kept.append(state),
    )  # fmt: skip
    assert relative_error(kept[-1].projections, matrix @ np.ravel(kept[-1].image)) < 1e-5
    assert relative_error(np.ravel(kept[-1].normal), matrix.T @ matrix @ np.ravel(kept[-1].image)) < 1e-5


def test_an_iteration_is_as_many_pairs_of_projections_as_inner_ones(problem):  # noqa: F811
    seen = {"A": 0, "A^T": 0}

    class Counted(Matrix):
        def __call__(self, x):
            jax.debug.callback(lambda: seen.update({"A": seen["A"] + 1}))
            return super().__call__(x)

        @property
        def T(self):  # noqa: N802
            jax.debug.callback(lambda: seen.update({"A^T": seen["A^T"] + 1}))
            return super().T

    jax.tree_util.register_dataclass(Counted, ["values"], [])
    A = Counted(jnp.asarray(problem[0], jnp.float32))  # noqa: N806
    jax.block_until_ready(admm_tv(A, problem[1], num_iters=5, tv_weight=0.1, cg_iters=2, squared_norm=9.0))
    jax.effects_barrier()
    assert seen == {"A": 5 * 2, "A^T": 5 * 2 + 1}


def test_derivative_of_an_iterate(problem):  # noqa: F811
    matrix, data = problem[:2]
    with jax.enable_x64(True):
        A, v = Matrix(jnp.asarray(matrix)), jnp.asarray(np.random.default_rng(3).normal(size=COLS))  # noqa: N806

        @jax.jit
        def f(t):
            return jnp.vdot(v, admm_tv(A, data * (1 + t), num_iters=4, tv_weight=0.4 + t, lower=0.9).volume)

        h = 1e-6
        np.testing.assert_allclose(jax.grad(f)(0.0), (f(h) - f(-h)) / (2 * h), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"tv_weight": -1.0}, ValueError, "tv_weight must not be negative, got -1"),
        ({"penalty": 0.0}, ValueError, "penalty .* 0"),
        ({"cg_iters": 0}, ValueError, "cg_iters .* 0"),
        ({"squared_norm": -1.0}, ValueError, "squared_norm must be positive"),
        ({"weights": -np.ones(ROWS)}, ValueError, "weights must not be negative"),
        ({"spacing": 0.0}, ValueError, "spacing .* 0"),
        ({"lower": 1.0, "upper": 0.0}, ValueError, "lower must nowhere be above upper"),
    ],
)
def test_bad_input_names_the_argument(problem, change, error, message):  # noqa: F811
    with pytest.raises(error, match=message):
        admm_tv(Matrix(jnp.asarray(problem[0])), problem[1], **{"num_iters": 1, "tv_weight": 0.1, **change})
