"""SPDHG converges to the minimisers of PDHG, whatever subsets are drawn, and its draws can be repeated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from jaxct import priors
from jaxct.reconstruct.pdhg import constant_tv_weight, pdhg
from jaxct.reconstruct.spdhg import spdhg
from tests.matrix import COLS, ROWS, Matrix
from tests.operators import relative_error
from tests.test_pdhg import options, problem  # noqa: F401
from tests.total_variation import minimiser

jitted = jax.jit(spdhg, static_argnames=("num_iters", "num_subsets", "fit"))


@pytest.mark.parametrize("case", ["least_squares, weighted", "kullback_leibler, background", "l1"])
@pytest.mark.parametrize("num_subsets", [3, 7])
def test_finds_the_minimiser(problem, case, num_subsets):  # noqa: F811
    """Of fourteen views three subsets of five, five and four, or seven pairs."""
    matrix, data = problem[:2]
    chosen = options(problem, case)
    wanted = minimiser(matrix, data, COLS, **chosen)
    with jax.enable_x64(True):
        result = jitted(Matrix(jnp.asarray(matrix)), data, num_iters=3000, num_subsets=num_subsets, **chosen)
    assert relative_error(result.volume, wanted) < 1e-5


@pytest.mark.parametrize("seed", range(3))
def test_draws_change_the_way_and_not_the_solution(problem, seed):  # noqa: F811
    matrix, data = problem[:2]
    with jax.enable_x64(True):
        A = Matrix(jnp.asarray(matrix))  # noqa: N806
        run = lambda n, key: jitted(A, data, num_iters=n, num_subsets=7, tv_weight=0.4, key=key).volume  # noqa: E731
        key = jax.random.key(10 + seed)
        np.testing.assert_array_equal(run(2, key), run(2, key))
        assert relative_error(run(2, key), run(2, jax.random.key(0))) > 1e-3
        wanted = pdhg(A, data, num_iters=4000, tv_weight=0.4).volume
        assert relative_error(run(1500, key), wanted) < 1e-4


def test_with_one_subset_it_is_the_method_that_extrapolates_the_dual_variables(problem):  # noqa: F811
    """Written out in NumPy, from an initial volume."""
    matrix, data, weights, _ = problem
    d = np.stack([np.kron(np.eye(2), [[-1, 1, 0], [0, -1, 1], [0, 0, 0]]), np.kron([[-1, 1], [0, 0]], np.eye(3))])
    step = 0.1 * weights
    diagonal = matrix.T @ (step * matrix.sum(1))
    beta = 0.3 * diagonal.mean()
    x = np.ones(6)
    clipped = lambda p: p * np.minimum(1, 0.4 / np.maximum(np.sqrt((p**2).sum(0)), 1e-300))  # noqa: E731
    prox = lambda v: weights * (v - step * data) / (weights + step)  # noqa: E731
    y, p = prox(step * (matrix @ x)), clipped(beta / 8 * (d @ x))
    z = extrapolated = matrix.T @ y + np.einsum("aij,ai->j", d, p)
    for _ in range(6):
        x = np.maximum(x - extrapolated / (diagonal + beta), 0.9)
        y, p = prox(y + step * (matrix @ x)), clipped(p + beta / 8 * (d @ x))
        before, z = z, matrix.T @ y + np.einsum("aij,ai->j", d, p)
        extrapolated = 2 * z - before
    with jax.enable_x64(True):
        got = jitted(
            Matrix(jnp.asarray(matrix)), data, num_iters=6, num_subsets=1, tv_weight=0.4, weights=weights, lower=0.9,
            init=np.ones(COLS),
        )  # fmt: skip
    np.testing.assert_allclose(got.volume.ravel(), x, rtol=1e-10)


def test_the_sum_that_is_kept_is_that_of_the_dual_variables(problem):  # noqa: F811
    """After many updates of parts of it, filled-up subsets among them."""
    matrix, data = problem[:2]
    kept = []
    with jax.enable_x64(True):
        spdhg(
            Matrix(jnp.asarray(matrix)), data, num_iters=40, num_subsets=3, tv_weight=0.4, init=np.ones(COLS),
            callback=lambda iteration, state, record: kept.append(jax.device_get(state._replace(key=0))),
        )  # fmt: skip
        state = kept[-1]
        gradient = priors.transposed_differences(jnp.stack(state.dual_gradient)).ravel()
        np.testing.assert_allclose(state.adjoint.ravel(), matrix.T @ state.dual + gradient, rtol=1e-11, atol=1e-12)


def test_an_iteration_is_one_application_of_the_operator_and_one_of_its_transpose(problem):  # noqa: F811
    """Counted in views, with those of the start."""
    seen = {"A": 0, "A^T": 0}

    class Counted(Matrix):
        def __getitem__(self, rows):
            return Counted(self.values[rows])

        def __call__(self, x):
            jax.debug.callback(lambda: seen.update({"A": seen["A"] + self.out_shape[0]}))
            return super().__call__(x)

        @property
        def T(self):  # noqa: N802
            jax.debug.callback(lambda: seen.update({"A^T": seen["A^T"] + self.out_shape[0]}))
            return super().T

    jax.tree_util.register_dataclass(Counted, ["values"], [])
    A = Counted(jnp.asarray(problem[0], jnp.float32))  # noqa: N806
    jax.block_until_ready(spdhg(A, problem[1], num_iters=4, num_subsets=7, tv_weight=0.1))
    jax.effects_barrier()
    assert seen == {"A": 5 * ROWS, "A^T": 6 * ROWS}


def test_subsets_are_ahead_of_the_whole_on_a_scan():
    """After the same number of applications of the operator, from the same start."""
    beam = jaxct.ParallelBeam(jaxct.geometry.trajectories.circle(24, arc=np.pi), detector_shape=(36,))
    A = jaxct.Projector(beam, jaxct.VolumeGrid((24, 24)))  # noqa: N806
    y, x = np.mgrid[:24, :24] - 11.5
    truth = (np.hypot(y, x) < 10) * 1.0 + (np.hypot(y - 3, x + 2) < 3)

    @jax.jit
    def solve(truth):
        data = A(truth)
        weight = 1e-3 * constant_tv_weight(A, data)
        best = pdhg(A, data, num_iters=2000, tv_weight=weight, lower=0.0)
        whole = pdhg(A, data, num_iters=12, tv_weight=weight, lower=0.0)
        parts = spdhg(A, data, num_iters=12, num_subsets=8, tv_weight=weight, lower=0.0)
        return best.volume, whole.volume, parts.volume

    best, whole, parts = solve(truth.astype(np.float32))
    assert relative_error(parts, best) < 0.3 * relative_error(whole, best)


def test_derivative_of_an_iterate(problem):  # noqa: F811
    matrix, data = problem[:2]
    with jax.enable_x64(True):
        A, v = Matrix(jnp.asarray(matrix)), jnp.asarray(np.random.default_rng(3).normal(size=COLS))  # noqa: N806

        @jax.jit
        def f(t):
            return jnp.vdot(v, spdhg(A, data * (1 + t), num_iters=3, num_subsets=3, tv_weight=0.4 + t).volume)

        h = 1e-6
        np.testing.assert_allclose(jax.grad(f)(0.0), (f(h) - f(-h)) / (2 * h), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"num_subsets": ROWS + 1}, ValueError, "num_subsets must be at most the number of views, 14, got 15"),
        ({"num_subsets": 0}, ValueError, "num_subsets .* 0"),
        ({"tv_weight": -1.0}, ValueError, "tv_weight must not be negative"),
        ({"fit": "poisson"}, ValueError, "fit must be one of .*'poisson'"),
        ({"step_ratio": -1.0}, ValueError, "step_ratio .* -1"),
        ({"key": 3}, TypeError, "key must be a single one of jax.random.key, got 3"),
    ],
)
def test_bad_input_names_the_argument(problem, change, error, message):  # noqa: F811
    arguments = {"data": problem[1], "num_iters": 1, "num_subsets": 2, "tv_weight": 0.1, **change}
    with pytest.raises(error, match=message):
        spdhg(Matrix(jnp.asarray(problem[0])), **arguments)


def test_an_operator_without_views_is_refused(problem):  # noqa: F811
    class Whole:
        in_shape, out_shape = COLS, (ROWS,)

    with pytest.raises(TypeError, match="views"):
        spdhg(Whole(), problem[1], num_iters=1, num_subsets=2, tv_weight=0.1)
