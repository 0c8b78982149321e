"""What LSQR and LSMR promise alike: scipy's iterates, any start, true norms, and to stay where they have arrived."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxct
from jaxct.reconstruct.lsmr import lsmr
from jaxct.reconstruct.lsqr import lsqr
from tests.matrix import COLS, ROWS, Matrix
from tests.operators import relative_error

both = pytest.mark.parametrize("solve", [lsqr, lsmr])


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    return rng.normal(size=(ROWS, 6)), rng.normal(size=ROWS)


def solution(matrix, data, damping):
    """As a stacked least-squares problem."""
    stacked = np.vstack([matrix, damping * np.eye(6)])
    return np.linalg.lstsq(stacked, np.append(data, np.zeros(6)), rcond=None)[0].reshape(COLS)


@both
@pytest.mark.parametrize("damping", [0.0, 1.7])
def test_reaches_the_damped_solution_from_anywhere_in_as_many_steps_as_unknowns(solve, problem, damping):
    matrix, data = problem
    run = jax.jit(lambda init: solve(Matrix(jnp.asarray(matrix)), data, num_iters=6, init=init, damping=damping))
    for init in (np.zeros(COLS), np.random.default_rng(1).normal(size=COLS)):
        np.testing.assert_allclose(run(init).volume, solution(matrix, data, damping), rtol=1e-10)


def iterates(solve, matrix, data, num_iters, **options):
    """And the history."""
    volumes = []
    result = solve(
        Matrix(jnp.asarray(matrix)), data, num_iters=num_iters, **options,
        callback=lambda iteration, state, record: volumes.append(np.ravel(state.volume)),
    )  # fmt: skip
    return volumes, jax.device_get(result.history)


def reference(solve, matrix, data, num_iters, **options):
    """The iterate of scipy's algorithm of the same name, and what it says of the gradient's norm."""
    linalg = pytest.importorskip("scipy.sparse.linalg")
    options |= {"atol": 0, "btol": 0, "conlim": 0, "iter_lim" if solve is lsqr else "maxiter": num_iters}
    found = getattr(linalg, solve.__name__)(matrix, data, **options)
    return found[0], found[7 if solve is lsqr else 4]


@both
@pytest.mark.parametrize("damping", [0.0, 1.7])
def test_every_iterate_is_that_of_scipy(solve, problem, damping):
    matrix, data = problem
    volumes, history = iterates(solve, matrix, data, 6, damping=damping)
    for k in range(6):
        volume, gradient_norm = reference(solve, matrix, data, k + 1, damp=damping)
        assert relative_error(volumes[k], volume) < 1e-12
        assert history["gradient_norm"][k] == pytest.approx(gradient_norm, rel=1e-9, abs=1e-12)


@both
def test_scipy_from_a_start_too(solve, problem):
    """Without damping: with it scipy pulls towards the start."""
    matrix, data = problem
    init = np.random.default_rng(1).normal(size=6)
    volumes, _ = iterates(solve, matrix, data, 4, init=init.reshape(COLS))
    for k in range(4):
        assert relative_error(volumes[k], reference(solve, matrix, data, k + 1, x0=init)[0]) < 1e-12


@both
@pytest.mark.parametrize("damping", [0.0, 1.7])
def test_history_holds_the_true_norms(solve, problem, damping):
    matrix, data = problem
    init = np.random.default_rng(1).normal(size=COLS)
    volumes, history = iterates(solve, matrix, data, 5, init=init, damping=damping)
    residuals = [data - matrix @ x for x in volumes]
    gradients = [matrix.T @ r - damping**2 * x for r, x in zip(residuals, volumes, strict=True)]
    np.testing.assert_allclose(history["residual_norm"], np.linalg.norm(residuals, axis=1), rtol=1e-12)
    np.testing.assert_allclose(history["gradient_norm"], np.linalg.norm(gradients, axis=1), rtol=1e-9)


@both
def test_damping_may_be_traced_and_mapped(solve, problem):
    matrix, data = problem
    run = lambda damping: solve(Matrix(jnp.asarray(matrix)), data, num_iters=4, damping=damping).volume  # noqa: E731
    mapped = jax.jit(jax.vmap(run))(jnp.array([0.0, 1.7]))
    for got, damping in zip(mapped, (0.0, 1.7), strict=True):
        np.testing.assert_allclose(got, run(damping), rtol=1e-12)


@both
def test_iterating_past_rounding_changes_nothing(solve):
    """Rounding feeds directions that a projector hardly sees; summed up over many iterations they would take over."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    fan = jaxct.FanBeam(
        angles, source_origin_distance=46.0, source_detector_distance=69.0, detector_shape=(30,), pixel_size=1.1
    )
    projector = jaxct.Projector(fan, jaxct.VolumeGrid((16, 16)), model="joseph")
    data = jnp.asarray(np.random.default_rng(0).normal(size=fan.projection_shape))
    run = solve(projector, data, num_iters=1500)
    gradients = np.asarray(run.history["gradient_norm"])
    arrived = int(np.argmax(np.diff(gradients) == 0))
    assert 0 < arrived < 1400
    assert (gradients[arrived:] == gradients[-1]).all()
    assert gradients[-1] < 1e-12 * gradients[0]
    true = np.linalg.norm(projector.T(data - projector(run.volume)))
    assert true < 1e-11 * gradients[0], "what the recurrence says is so"
    np.testing.assert_array_equal(solve(projector, data, num_iters=arrived + 1).volume, run.volume)


@both
def test_an_exact_solution_ends_it(solve):
    """The second vector of the basis is zero, or rounding."""
    data = jnp.arange(ROWS, dtype=jnp.float32)
    eye = Matrix(jnp.eye(ROWS, 6, dtype=jnp.float32))

    @jax.jit
    def run(data, init):
        result = solve(eye, data, num_iters=10, init=init)
        return result, jax.jacrev(lambda d: solve(eye, d, num_iters=10, init=init).volume)(data)

    result, jacobian = run(data, jnp.zeros(COLS, jnp.float32))
    assert result.volume.dtype == jnp.float32
    np.testing.assert_allclose(result.volume.ravel(), data[:6], rtol=1e-6)
    assert all(np.isfinite(values).all() for values in jax.tree.leaves((result, jacobian)))
    start = data[:6].reshape(COLS)
    result, jacobian = run(data, start)
    np.testing.assert_array_equal(result.volume, start)
    assert np.isfinite(jacobian).all()


@both
@pytest.mark.parametrize("damping", [0.0, 1.0])
def test_zero_data_give_zero(solve, problem, damping):
    result = solve(Matrix(jnp.asarray(problem[0])), np.zeros(ROWS), num_iters=3, damping=damping)
    np.testing.assert_array_equal(result.volume, 0)
    np.testing.assert_array_equal(result.history["residual_norm"], 0)


@both
def test_data_that_are_nan_show(solve, problem):
    matrix, data = problem
    data[3] = np.nan
    assert np.isnan(solve(Matrix(jnp.asarray(matrix)), data, num_iters=3).volume).all()


@both
def test_derivatives_of_an_iterate(solve, problem):
    matrix, data = problem

    def run(matrix, data, init, damping):
        return solve(Matrix(matrix), data, num_iters=3, init=init, damping=damping).volume

    check_grads(jax.jit(run), (matrix, data, np.full(COLS, 0.1), 0.7), order=1, modes=("rev",), eps=1e-6)


@both
@pytest.mark.parametrize(
    ("damping", "error", "message"),
    [
        (np.ones(2), ValueError, r"damping .*\(2,\)"),
        (np.inf, ValueError, "damping .* inf"),
        ("low", TypeError, "'low'"),
    ],
)
def test_bad_damping_is_named(solve, problem, damping, error, message):
    with pytest.raises(error, match=message):
        solve(Matrix(jnp.asarray(problem[0])), problem[1], num_iters=1, damping=damping)
