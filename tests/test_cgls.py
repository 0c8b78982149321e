"""CGLS solves least-squares problems, and its loop can be compiled, mapped, watched and stopped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from jaxct.reconstruct.cgls import cgls
from jaxct.reconstruct.run import Result, iterate
from tests.matrix import COLS, ROWS, Matrix


class Opaque:
    """The same matrix in a class that JAX knows nothing of."""

    in_shape, out_shape = COLS, (ROWS,)

    def __init__(self, matrix):
        self._matrix = matrix
        self.T = matrix.T

    __hash__ = None

    def __call__(self, x):
        return self._matrix(x)


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    return rng.normal(size=(ROWS, np.prod(COLS))), rng.normal(size=ROWS)


def objective(matrix, data, damping=0.0):
    """Normal equations' solution of the damped problem, as a stacked least-squares problem."""
    stacked = np.vstack([matrix, damping * np.eye(matrix.shape[1])])
    return np.linalg.lstsq(stacked, np.append(data, np.zeros(matrix.shape[1])), rcond=None)[0].reshape(COLS)


@pytest.mark.parametrize("damping", [0.0, 1.7])
def test_reaches_the_least_squares_solution_in_as_many_steps_as_unknowns(problem, damping):
    matrix, data = problem
    with jax.enable_x64(True):
        result = cgls(Matrix(jnp.asarray(matrix)), data, num_iters=6, damping=damping)
        np.testing.assert_allclose(result.volume, objective(matrix, data, damping), rtol=1e-10)


def test_each_iterate_is_optimal_in_its_krylov_space(problem):
    matrix, data = problem
    with jax.enable_x64(True):
        krylov = [matrix.T @ data]
        for k in range(1, 5):
            result = cgls(Matrix(jnp.asarray(matrix)), data, num_iters=k)
            basis = np.stack(krylov, axis=1)
            best = basis @ np.linalg.lstsq(matrix @ basis, data, rcond=None)[0]
            np.testing.assert_allclose(result.volume.ravel(), best, rtol=1e-7)
            krylov.append(matrix.T @ (matrix @ krylov[-1]))


def test_history_holds_the_true_norms(problem):
    matrix, data = problem
    with jax.enable_x64(True):
        history = cgls(Matrix(jnp.asarray(matrix)), data, num_iters=4).history
        for k in range(1, 5):
            residual = data - matrix @ np.ravel(cgls(Matrix(jnp.asarray(matrix)), data, num_iters=k).volume)
            np.testing.assert_allclose(history["residual_norm"][k - 1], np.linalg.norm(residual), rtol=1e-10)
            np.testing.assert_allclose(history["gradient_norm"][k - 1], np.linalg.norm(matrix.T @ residual), rtol=1e-8)
    assert (np.diff(history["residual_norm"]) <= 0).all()


def test_continues_from_an_initial_volume(problem):
    matrix, data = problem
    with jax.enable_x64(True):
        solution = objective(matrix, data)
        start = solution + np.random.default_rng(1).normal(size=COLS)
        result = cgls(Matrix(jnp.asarray(matrix)), data, num_iters=6, init=start)
        np.testing.assert_allclose(result.volume, solution, rtol=1e-9)
        np.testing.assert_array_equal(cgls(Matrix(jnp.asarray(matrix)), data, num_iters=0, init=start).volume, start)


def test_iterating_past_the_exact_solution_changes_nothing():
    eye = Matrix(jnp.eye(ROWS, 6))
    data = jnp.arange(ROWS, dtype=jnp.float32)
    result = cgls(eye, data, num_iters=10)
    np.testing.assert_array_equal(result.volume.ravel(), data[:6])
    assert np.isfinite(result.history["residual_norm"]).all()


def test_iterating_past_rounding_changes_nothing():
    """Rounding feeds directions that a projector hardly sees; summed up over many iterations they would take over."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    with jax.enable_x64(True):
        fan = jaxct.FanBeam(
            angles, source_origin_distance=66.0, source_detector_distance=99.0, detector_shape=(44,), pixel_size=1.1
        )
        projector = jaxct.Projector(fan, jaxct.VolumeGrid((24, 24)), model="joseph")
        data = jnp.asarray(np.random.default_rng(0).normal(size=fan.projection_shape))
        runs = [jax.device_get(cgls(projector, data, num_iters=n)) for n in (1000, 2000)]
    np.testing.assert_array_equal(*(run.volume for run in runs))
    assert runs[0].history["gradient_norm"][-1] < 1e-12 * runs[0].history["gradient_norm"][0]


def test_zero_data_give_zero(problem):
    np.testing.assert_array_equal(cgls(Matrix(jnp.asarray(problem[0])), np.zeros(ROWS), num_iters=3).volume, 0)


def test_data_that_are_nan_show(problem):
    matrix, data = problem
    data[3] = np.nan
    assert np.isnan(cgls(Matrix(jnp.asarray(matrix)), data, num_iters=3).volume).all()


def test_float32_by_default_and_half_floats_are_widened(problem):
    matrix, data = problem
    operator = Matrix(jnp.asarray(matrix, jnp.float32))
    assert cgls(operator, data, num_iters=1).volume.dtype == jnp.float32
    assert cgls(operator, data.astype(np.float16), num_iters=1).volume.dtype == jnp.float32


def test_jit_vmap_and_python_loop_agree(problem):
    matrix, data = problem
    operator = Matrix(jnp.asarray(matrix, jnp.float32))
    plain = cgls(operator, data, num_iters=4)
    jitted = jax.jit(cgls, static_argnames="num_iters")(operator, data, num_iters=4)
    looped = cgls(operator, data, num_iters=4, callback=lambda *_: None)
    mapped = jax.vmap(lambda d: cgls(operator, d, num_iters=4))(jnp.stack([data, 2 * data]))
    for other in (jitted, looped, jax.tree.map(lambda x: x[0], mapped)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), other, plain)
    np.testing.assert_allclose(mapped.volume[1], 2 * plain.volume, rtol=1e-4)


def test_derivative_of_the_solution_with_respect_to_the_data(problem):
    matrix, data = problem
    with jax.enable_x64(True):
        operator = Matrix(jnp.asarray(matrix))
        jacobian = jax.jacrev(lambda d: cgls(operator, d, num_iters=6).volume.ravel())(jnp.asarray(data))
        np.testing.assert_allclose(jacobian, np.linalg.pinv(matrix), atol=1e-8)


def test_an_operator_that_is_no_pytree_works(problem):
    matrix, data = problem
    operator = Matrix(jnp.asarray(matrix, jnp.float32))
    expected = cgls(operator, data, num_iters=3).volume
    for callback in (None, lambda *_: None):
        np.testing.assert_allclose(
            cgls(Opaque(operator), data, num_iters=3, callback=callback).volume, expected, rtol=1e-5
        )


def test_compiled_once_for_every_call_with_the_same_shapes(problem):
    matrix, data = problem
    traces = []

    class Counted(Matrix):
        def __call__(self, x):
            traces.append(1)
            return super().__call__(x)

    jax.tree_util.register_dataclass(Counted, ["values"], [])
    operator = Counted(jnp.asarray(matrix, jnp.float32))
    cgls(operator, data, num_iters=3)
    first = len(traces)
    cgls(operator, 2 * data, num_iters=3)
    assert len(traces) == first


def test_callback_sees_every_iteration_and_can_stop(problem):
    matrix, data = problem
    operator = Matrix(jnp.asarray(matrix, jnp.float32))
    seen = []

    def callback(iteration, state, record):
        seen.append((iteration, record["residual_norm"], np.asarray(state.volume)))
        return iteration == 3

    result = cgls(operator, data, num_iters=10, callback=callback)
    assert [iteration for iteration, _, _ in seen] == [1, 2, 3]
    np.testing.assert_allclose([norm for _, norm, _ in seen], result.history["residual_norm"])
    np.testing.assert_array_equal(seen[-1][2], result.volume)


def test_interrupt_keeps_what_is_done(problem):
    matrix, data = problem
    operator = Matrix(jnp.asarray(matrix, jnp.float32))

    def callback(iteration, state, record):
        if iteration == 2:
            raise KeyboardInterrupt

    result = cgls(operator, data, num_iters=10, callback=callback)
    assert isinstance(result, Result)
    np.testing.assert_allclose(result.volume, cgls(operator, data, num_iters=2).volume, rtol=1e-5)
    assert len(result.history["residual_norm"]) == 2


def test_interrupt_before_the_first_step_returns_the_start_and_an_empty_history():
    def step(state, operands):
        return state + 1, {"value": state}

    def interrupted(iteration, state, record):
        raise AssertionError("no step should have been done")

    state, history = iterate(step, jnp.zeros(()), num_iters=0, callback=interrupted)
    assert float(state) == 0
    assert history["value"].shape == (0,)


def test_progress_bar_names_the_algorithm(problem, capsys):
    pytest.importorskip("rich")
    matrix, data = problem
    cgls(Matrix(jnp.asarray(matrix, jnp.float32)), data, num_iters=2, progress=True)
    captured = capsys.readouterr()
    assert "CGLS" in captured.err
    assert "2/2" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"data": np.zeros(ROWS + 1)}, ValueError, "data"),
        ({"data": np.zeros(ROWS, complex)}, TypeError, "data"),
        ({"init": np.zeros(6)}, ValueError, "init"),
        ({"num_iters": -1}, ValueError, "num_iters"),
        ({"num_iters": 2.0}, TypeError, "num_iters"),
        ({"num_iters": True}, TypeError, "num_iters"),
    ],
)
def test_bad_input_names_the_argument(problem, change, error, message):
    matrix, data = problem
    with pytest.raises(error, match=message):
        cgls(Matrix(jnp.asarray(matrix)), **{"data": data, "num_iters": 1, **change})


def test_callback_under_jit_is_refused(problem):
    matrix, data = problem
    operator = Matrix(jnp.asarray(matrix, jnp.float32))
    with pytest.raises(ValueError, match="callback"):
        jax.jit(lambda d: cgls(operator, d, num_iters=2, callback=lambda *_: None).volume)(data)
