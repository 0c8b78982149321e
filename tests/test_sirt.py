"""SIRT computes what its formula says, falls in its own norm and keeps its bounds, however it is called."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from jaxct.reconstruct.sirt import sirt
from tests.matrix import COLS, ROWS, Matrix
from tests.operators import relative_error

jitted = jax.jit(sirt, static_argnames="num_iters")


@pytest.fixture
def problem():
    """Every ray meets one voxel or a few; the data are the projections of nothing."""
    rng = np.random.default_rng(0)
    matrix = rng.uniform(size=(ROWS, 6)) * (rng.uniform(size=(ROWS, 6)) < 0.3)
    matrix[np.arange(ROWS), np.arange(ROWS) % 6] += 1
    return matrix, rng.normal(size=ROWS)


def numpy_sirt(matrix, data, volume, num_iters, relaxation=1.0, lower=-np.inf, upper=np.inf):
    """The last iterate and the norms, by the formula as it stands."""
    rows, cols = matrix.sum(1), matrix.sum(0)
    r = np.divide(1, rows, out=np.zeros_like(rows), where=rows > 0)
    c = np.divide(1, cols, out=np.zeros_like(cols), where=cols > 0)
    norms = []
    for _ in range(num_iters):
        volume = np.clip(volume + relaxation * c * (matrix.T @ (r * (data - matrix @ volume))), lower, upper)
        norms.append(np.sqrt(np.sum(r * (data - matrix @ volume) ** 2)))
    return volume, norms


def test_reaches_the_solution_of_an_exact_system(problem):
    matrix, _ = problem
    solution = np.random.default_rng(1).uniform(size=COLS)
    with jax.enable_x64(True):
        result = jitted(Matrix(jnp.asarray(matrix)), matrix @ solution.ravel(), num_iters=500)
    np.testing.assert_allclose(result.volume, solution, rtol=1e-10)
    assert np.asarray(result.history["residual_norm"])[-1] < 1e-10


@pytest.mark.parametrize(("dtype", "bound"), [(np.float32, 1e-5), (np.float64, 1e-10)])
def test_agrees_with_the_formula_on_the_explicit_matrix(dtype, bound):
    """Of a projector some of whose rays miss the grid and some of whose voxels no ray meets."""
    rng = np.random.default_rng(2)
    data, init = rng.normal(size=(2, 9)).astype(dtype), rng.normal(size=(6, 7)).astype(dtype)
    options = {"num_iters": 12, "relaxation": 1.7, "lower": -0.5, "upper": 0.9}
    geometry = jaxct.ParallelBeam([0.3, 0.9], detector_shape=(9,), pixel_size=1.0, detector_offset=3.0)
    operator = jaxct.Projector(geometry, jaxct.VolumeGrid(init.shape))

    @jax.jit
    def solve(units):
        return jax.vmap(operator)(units), sirt(operator, data, init=init, **options)

    with jax.enable_x64(dtype == np.float64):
        rows, result = solve(np.eye(init.size, dtype=dtype).reshape(-1, *init.shape))
    matrix = np.asarray(rows, np.float64).reshape(init.size, data.size).T
    assert (matrix.sum(0) == 0).any()
    assert (matrix.sum(1) == 0).any()
    assert result.volume.dtype == result.history["residual_norm"].dtype == dtype
    volume, norms = numpy_sirt(matrix, data.ravel().astype(np.float64), init.ravel().astype(np.float64), **options)
    assert relative_error(np.ravel(result.volume), volume) <= bound
    assert relative_error(result.history["residual_norm"], norms) <= bound


def test_the_weighted_residual_never_rises(problem):
    """With and without bounds, from outside of them, for steps short and long."""
    matrix, data = problem
    with jax.enable_x64(True):
        solve = jax.vmap(
            lambda relaxation, lower: sirt(
                Matrix(jnp.asarray(matrix)), data, num_iters=60, init=-np.ones(COLS), relaxation=relaxation, lower=lower
            )
        )
        result = jax.jit(solve)(np.array([0.1, 1.0, 1.99] * 2), np.repeat([-np.inf, 0.0], 3))
    norms = np.asarray(result.history["residual_norm"])
    assert (np.diff(norms) <= 1e-14 * norms[:, 1:]).all()
    assert (norms[:, -1] > 0.1).all(), "no solution is exact"
    assert (np.asarray(result.volume)[3:] == 0).any(), "the bound is active"


def test_python_loop_jit_and_vmap_agree_within_bounds(problem, capsys):
    pytest.importorskip("rich")
    matrix, data = problem
    operator = Matrix(jnp.asarray(matrix, jnp.float32))
    lower, upper = np.float32(-0.1), np.where(np.arange(3) == 1, 0, np.inf).astype(np.float32)
    seen = []

    def callback(iteration, state, record):
        seen.append((np.asarray(state.volume), record["residual_norm"]))
        return iteration == 5

    looped = sirt(operator, data, num_iters=9, lower=lower, upper=upper, callback=callback, progress=True)
    assert len(seen) == len(looped.history["residual_norm"]) == 5
    assert all((lower <= volume).all() and (volume <= upper).all() for volume, _ in seen)
    assert "SIRT" in capsys.readouterr().err
    np.testing.assert_array_equal(seen[-1][0], looped.volume)
    np.testing.assert_allclose([norm for _, norm in seen], looped.history["residual_norm"])

    @jax.jit
    def solve(data):
        solve_one = lambda d: sirt(operator, d, num_iters=5, lower=lower, upper=upper)  # noqa: E731
        return solve_one(data), jax.vmap(solve_one)(jnp.stack([data[::-1], data]))

    compiled, mapped = solve(data)
    for other in (compiled, jax.tree.map(lambda x: x[1], mapped)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), other, looped)


def test_one_pair_of_projections_for_the_weights_and_one_an_iteration(problem):
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
    jax.eval_shape(lambda d: sirt(Counted(jnp.asarray(problem[0])), d, num_iters=4), problem[1])
    assert calls == ["A", "A^T", "A^T", "A"], "the loop's body is traced once"


def test_rays_and_voxels_without_weight_are_left_out(problem):
    """A sum that is nothing but rounding counts as none; data of a ray that meets nothing do not matter."""
    matrix, data = problem
    matrix[3], matrix[:, 4], matrix[3, 4] = 0, 0, 1e-40
    data[3] = 1e30
    init = np.arange(6.0).reshape(COLS)
    result = jitted(Matrix(jnp.asarray(matrix, jnp.float32)), data, num_iters=5, init=init)
    assert np.asarray(result.volume)[1, 1] == 4
    assert (np.abs(result.volume) < 10).all()
    assert (np.asarray(result.history["residual_norm"]) < 10).all()


def test_nan_from_the_operator_is_not_hidden():
    """An unsound geometry that is traced gives NaN on a GPU."""
    unsound = Matrix(jnp.full((ROWS, 6), jnp.nan))
    assert np.isnan(jitted(unsound, np.ones(ROWS), num_iters=5, init=np.zeros(COLS)).volume).all()


def test_derivative_of_an_iterate_with_respect_to_the_data(problem):
    """From zero and without bounds an iterate is linear in the data."""
    matrix, data = problem
    with jax.enable_x64(True):
        operator = Matrix(jnp.asarray(matrix))
        jacobian = jax.jit(jax.jacrev(lambda d: sirt(operator, d, num_iters=3).volume.ravel()))(data)
    columns = [numpy_sirt(matrix, unit, np.zeros(6), 3)[0] for unit in np.eye(ROWS)]
    np.testing.assert_allclose(jacobian, np.stack(columns, axis=1), atol=1e-12)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"data": np.zeros(ROWS + 1)}, ValueError, r"data: expected .*\(14,\), got \(15,\)"),
        ({"init": np.zeros(6)}, ValueError, r"init: expected .*\(2, 3\), got \(6,\)"),
        ({"num_iters": -1}, ValueError, "num_iters.* -1"),
        ({"relaxation": 0}, ValueError, "relaxation must be above 0 and below 2, got 0"),
        ({"relaxation": 2.0}, ValueError, "relaxation must be above 0 and below 2, got 2"),
        ({"relaxation": np.nan}, ValueError, "relaxation .* nan"),
        ({"relaxation": [1.0, 1.5]}, ValueError, r"relaxation .*\(2,\)"),
        ({"relaxation": "fast"}, TypeError, "relaxation .* 'fast'"),
        ({"lower": 1, "upper": np.array([2, 0.5, 3])}, ValueError, "lower .*above upper, got 1 above 0.5"),
        ({"lower": np.nan}, ValueError, "lower .* nan"),
        ({"lower": True}, TypeError, "lower .* True"),
        ({"upper": 1j}, TypeError, "upper .* 1j"),
        ({"upper": np.zeros((1, 2, 3))}, ValueError, r"upper .*\(2, 3\), got shape \(1, 2, 3\)"),
        ({"upper": np.zeros(2)}, ValueError, r"upper .*\(2, 3\), got shape \(2,\)"),
    ],
)
def test_bad_input_names_the_argument(problem, change, error, message):
    matrix, data = problem
    with pytest.raises(error, match=message):
        sirt(Matrix(jnp.asarray(matrix)), **{"data": data, "num_iters": 1, **change})


def test_bounds_may_be_lists_of_traced_numbers(problem):
    operator = Matrix(jnp.asarray(problem[0]))
    solve = jax.jit(lambda low: sirt(operator, problem[1], num_iters=3, lower=[low, -np.inf, 2 * low]).volume)
    wanted = jitted(operator, problem[1], num_iters=3, lower=np.array([0.1, -np.inf, 0.2]))
    np.testing.assert_allclose(solve(0.1), wanted.volume, rtol=1e-5)


def test_known_numbers_are_looked_at_under_jit_too(problem):
    operator = Matrix(jnp.asarray(problem[0]))
    for wrong in ({"relaxation": 2.5}, {"lower": 1.0, "upper": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            jax.jit(lambda d, wrong=wrong: sirt(operator, d, num_iters=1, **wrong).volume)(problem[1])
