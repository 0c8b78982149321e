"""FISTA minimises least squares plus any penalty that has a proximal map, at its rate, in three kinds of momentum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxct.reconstruct.fista import MOMENTA, fista
from jaxct.reconstruct.proximal import soft_threshold
from tests.matrix import COLS, ROWS, Matrix
from tests.operators import relative_error
from tests.test_pdhg import problem  # noqa: F401
from tests.total_variation import fit_value, minimiser, total_variation

jitted = jax.jit(fista, static_argnames=("num_iters", "momentum", "prox_iters", "prox", "penalty"))


def l1(x):
    return jnp.sum(jnp.abs(x))


def identity(x, step):
    return x


@pytest.mark.parametrize("momentum", MOMENTA)
@pytest.mark.parametrize("bounds", [{}, {"lower": 0.9, "upper": [1.6, np.inf, 1.7]}])
def test_finds_the_minimiser_of_total_variation(problem, momentum, bounds):  # noqa: F811
    matrix, data, weights, _ = problem
    chosen = {"weights": weights, "spacing": (1.0, 2.0), **bounds}
    wanted = minimiser(matrix, data, COLS, 0.4, **chosen)
    with jax.enable_x64(True):
        result = jitted(
            Matrix(jnp.asarray(matrix)), data, num_iters=600, weight=0.4, momentum=momentum, prox_iters=15, **chosen
        )
    assert relative_error(result.volume, wanted) < 1e-6


def test_finds_the_minimiser_of_sizes(problem):  # noqa: F811
    """Optimality of the lasso: every component of the gradient is the weight's, against the sign of the voxel."""
    matrix, data = problem[:2]
    with jax.enable_x64(True):
        result = jitted(
            Matrix(jnp.asarray(matrix)), data - 2.5, num_iters=800, weight=1.5, prox=soft_threshold, penalty=l1
        )
    x = np.ravel(result.volume)
    slope = matrix.T @ (matrix @ x - data + 2.5)
    zero = x == 0
    assert zero.any()
    assert not zero.all()
    np.testing.assert_allclose(slope[~zero], -1.5 * np.sign(x[~zero]), atol=1e-8)
    assert (np.abs(slope[zero]) <= 1.5).all()
    np.testing.assert_allclose(
        result.history["objective"][-1],
        fit_value("least_squares", matrix @ x, data - 2.5) + 1.5 * np.abs(x).sum(),
        rtol=1e-12,
    )


def test_solves_an_exact_system_without_a_penalty(problem):  # noqa: F811
    matrix, image = problem[0], np.arange(6.0).reshape(COLS)
    with jax.enable_x64(True):
        result = jitted(Matrix(jnp.asarray(matrix)), matrix @ image.ravel(), num_iters=400, weight=0.0)
    np.testing.assert_allclose(result.volume, image, atol=1e-8)


@pytest.mark.parametrize("momentum", ["plain", "monotone"])
def test_the_objective_keeps_below_its_bound(problem, momentum):  # noqa: F811
    """2 L |x*|^2 / (k + 1)^2 above the least value, with the L that it is given; monotone where that is promised."""
    matrix, data = problem[:2]
    matrix = matrix @ np.diag([1, 0.3, 0.1, 0.03, 0.01, 1])
    norm = np.linalg.norm(matrix, 2) ** 2
    with jax.enable_x64(True):
        A = Matrix(jnp.asarray(matrix))  # noqa: N806
        run = lambda n, kind: jitted(  # noqa: E731
            A, data, num_iters=n, weight=0.01, prox=soft_threshold, penalty=l1, momentum=kind, squared_norm=norm
        )
        best = run(20000, "restart")
        values = np.asarray(run(300, momentum).history["objective"])
    excess = values - float(best.history["objective"][-1])
    k = np.arange(1, 301)
    assert (excess <= 2 * norm * np.sum(np.square(best.volume)) / (k + 1) ** 2).all()
    assert excess.max() > 0
    rises = (np.diff(values) > 1e-13 * values[0]).any()
    assert rises == (momentum == "plain")


def test_the_history_is_that_of_the_iterates(problem):  # noqa: F811
    matrix, data, weights, _ = problem
    iterates = []
    with jax.enable_x64(True):
        history = fista(
            Matrix(jnp.asarray(matrix)), data, num_iters=6, weight=0.4, weights=weights, momentum="monotone",
            init=np.ones(COLS), callback=lambda iteration, state, record: iterates.append(np.asarray(state.volume)),
        ).history  # fmt: skip
    for x, norm, objective in zip(iterates, history["residual_norm"], history["objective"], strict=True):
        fit = fit_value("least_squares", matrix @ x.ravel(), data, weights)
        np.testing.assert_allclose(norm, np.sqrt(2 * fit), rtol=1e-12)
        np.testing.assert_allclose(objective, fit + 0.4 * total_variation(x), rtol=1e-12)


def test_the_norm_is_that_of_the_weighted_operator(problem):  # noqa: F811
    matrix, data, weights, _ = problem
    norm = np.linalg.norm(np.sqrt(weights)[:, None] * matrix, 2) ** 2
    with jax.enable_x64(True):
        A = Matrix(jnp.asarray(matrix))  # noqa: N806
        run = lambda **known: jitted(A, data, num_iters=5, weight=0.4, weights=weights, **known).volume  # noqa: E731
        assert relative_error(run(), run(squared_norm=norm)) < 1e-8
        assert relative_error(run(), run(squared_norm=2 * norm)) > 1e-3


def test_one_pair_of_projections_an_iteration_and_twelve_for_the_norm(problem):  # noqa: F811
    calls = []

    class Counted(Matrix):
        def __call__(self, x):
            calls.append("A")
            return super().__call__(x)

        @property
        def T(self):  # noqa: N802
            calls.append("A^T")
            return super().T

    jax.tree_util.register_dataclass(Counted, ["values"], [])
    A = Counted(jnp.asarray(problem[0]))  # noqa: N806
    jax.clear_caches()  # only what is traced is counted
    jax.eval_shape(lambda d: fista(A, d, num_iters=4, weight=0.1, squared_norm=10.0), problem[1])
    assert calls == ["A^T", "A"], "the loop's body is traced once"
    jax.eval_shape(lambda d: fista(A, d, num_iters=5, weight=0.1), problem[1])
    assert calls[2:] == ["A", "A^T", "A^T", "A"], "and that of the norm"


def test_without_a_value_of_the_penalty_there_is_no_objective(problem):  # noqa: F811
    result = jitted(Matrix(jnp.asarray(problem[0])), problem[1], num_iters=3, weight=1.0, prox=identity)
    assert list(result.history) == ["residual_norm"]


def test_derivative_of_an_iterate(problem):  # noqa: F811
    matrix, data = problem[:2]
    with jax.enable_x64(True):
        A, v = Matrix(jnp.asarray(matrix)), jnp.asarray(np.random.default_rng(3).normal(size=COLS))  # noqa: N806

        @jax.jit
        def f(t):
            return jnp.vdot(v, fista(A, data * (1 + t), num_iters=5, weight=0.4 + t, lower=0.9).volume)

        h = 1e-6
        np.testing.assert_allclose(jax.grad(f)(0.0), (f(h) - f(-h)) / (2 * h), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"weight": -1.0}, ValueError, "weight must not be negative, got -1"),
        ({"momentum": "nesterov"}, ValueError, "momentum must be one of .*'nesterov'"),
        ({"momentum": "monotone", "prox": identity}, ValueError, "'monotone' needs the value of g"),
        ({"prox": identity, "lower": 0.0}, ValueError, "lower, upper: for total variation"),
        ({"penalty": l1}, ValueError, "penalty: .* prox, which is not given"),
        ({"prox_iters": 0}, ValueError, "prox_iters .* 0"),
        ({"squared_norm": -1.0}, ValueError, "squared_norm must be positive"),
        ({"weights": -np.ones(ROWS)}, ValueError, "weights must not be negative"),
        ({"spacing": 0.0}, ValueError, "spacing .* 0"),
        ({"lower": 1.0, "upper": 0.0}, ValueError, "lower must nowhere be above upper"),
    ],
)
def test_bad_input_names_the_argument(problem, change, error, message):  # noqa: F811
    with pytest.raises(error, match=message):
        fista(Matrix(jnp.asarray(problem[0])), problem[1], **{"num_iters": 1, "weight": 0.1, **change})
