"""What every iterative algorithm promises, whatever it computes: compiled, mapped, watched, killed, resumed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxct.reconstruct import Result
from jaxct.reconstruct.diprecon import diprecon
from tests.matrix import COLS, ROWS, Matrix
from tests.solvers import SOLVERS, positive_problem

every_solver = pytest.mark.parametrize("solve", SOLVERS, ids=repr)


@pytest.fixture
def problem():
    matrix, _, data = positive_problem()
    return Matrix(jnp.asarray(matrix, jnp.float32)), jnp.asarray(data, jnp.float32)


def assert_close(got, wanted, tolerance=1e-4):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * float(np.abs(b).max()))


@every_solver
def test_a_result_has_a_volume_and_a_row_of_history_for_each_iteration(solve, problem):
    result = solve(*problem)
    assert isinstance(result, Result)
    assert result.volume.shape == COLS
    assert result.volume.dtype == jnp.float32
    assert result.history
    assert all(values.shape == (6,) and np.isfinite(values).all() for values in result.history.values())


@every_solver
def test_it_brings_the_volume_nearer_to_the_data(solve, problem):
    A, data = problem  # noqa: N806
    assert jnp.linalg.norm(A(solve(A, data).volume) - data) < 0.5 * jnp.linalg.norm(data)


@every_solver
def test_jit_vmap_and_the_loop_in_python_agree(solve):
    matrix, _, data = positive_problem()
    with jax.enable_x64(True):
        A, data = Matrix(jnp.asarray(matrix)), jnp.asarray(data)  # noqa: N806
        plain = solve(A, data)
        operators = jax.tree.map(lambda x: jnp.stack([x, x[::-1]]), A)
        by_data = jax.vmap(lambda d: solve(A, d))(jnp.stack([data, 1.5 * data]))
        by_operator = jax.vmap(solve, (0, None))(operators, data)
        for got, wanted in (
            (jax.jit(lambda A, d: solve(A, d))(A, data), plain),  # noqa: N803
            (solve(A, data, callback=lambda *_: None), plain),
            (jax.tree.map(lambda x: x[0], by_data), plain),
            (jax.tree.map(lambda x: x[1], by_data), solve(A, 1.5 * data)),
            (jax.tree.map(lambda x: x[0], by_operator), plain),
        ):
            assert_close(got, wanted, 1e-9)


@every_solver
def test_double_precision_is_kept(solve):
    matrix, _, data = positive_problem()
    with jax.enable_x64(True):
        result = solve(Matrix(jnp.asarray(matrix)), data)
        assert all(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(result))
    single = solve(Matrix(jnp.asarray(matrix, jnp.float32)), data.astype(np.float32))
    assert_close(single.volume, result.volume, 1e-3)


@every_solver
def test_it_starts_from_what_it_is_given(solve, problem):
    A, data = problem  # noqa: N806
    image = jnp.asarray(positive_problem()[1], jnp.float32)
    if solve.run is not diprecon:  # whose image is what its network has made of this one
        assert_close(solve(A, data, num_iters=0, init=image).volume, image)
    assert np.abs(solve(A, data, num_iters=1, init=image).volume - solve(A, data, num_iters=1).volume).max() > 0


@every_solver
def test_a_run_that_was_cut_off_ends_in_the_same_bits(solve, problem, tmp_path):
    pytest.importorskip("orbax.checkpoint")
    A, data = problem  # noqa: N806

    def cut_off(iteration, state, record):
        if iteration == 4:
            raise RuntimeError

    whole = solve(A, data, checkpoint=tmp_path / "whole", checkpoint_every=2)
    with pytest.raises(RuntimeError):
        solve(A, data, checkpoint=tmp_path / "cut", checkpoint_every=2, callback=cut_off)
    seen = []
    resumed = solve(A, data, checkpoint=tmp_path / "cut", callback=lambda iteration, *_: seen.append(iteration))
    assert seen == [3, 4, 5, 6]
    for a, b in zip(jax.tree.leaves(resumed), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(a, b)


@every_solver
def test_a_checkpoint_is_refused_to_other_data_and_another_start(solve, problem, tmp_path):
    pytest.importorskip("orbax.checkpoint")
    A, data = problem  # noqa: N806
    solve(A, data, num_iters=1, checkpoint=tmp_path)
    for change in ({"data": data[::-1]}, {"init": jnp.asarray(positive_problem()[1], jnp.float32)}):
        with pytest.raises(ValueError, match=r"checkpoint: .* holds another run"):
            solve(A, **{"data": data, "num_iters": 2, "checkpoint": tmp_path, **change})


@every_solver
def test_an_interrupt_leaves_the_last_whole_iterate(solve, problem):
    A, data = problem  # noqa: N806

    def interrupt(iteration, state, record):
        if iteration == 3:
            raise KeyboardInterrupt

    result = solve(A, data, callback=interrupt)
    assert all(len(values) == 3 for values in result.history.values())
    assert_close(result, solve(A, data, num_iters=3, callback=lambda *_: None))


@every_solver
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"data": np.ones(ROWS + 1)}, ValueError, r"data: expected .*\(14,\), got \(15,\)"),
        ({"data": np.ones(ROWS, complex)}, TypeError, "data.*complex"),
        ({"init": np.ones(6)}, ValueError, r"init: expected .*\(2, 3\), got \(6,\)"),
        ({"num_iters": -1}, ValueError, "num_iters.* -1"),
        ({"num_iters": 2.0}, TypeError, "num_iters.* 2.0"),
        ({"tolerance": 1e-3}, TypeError, "unexpected keyword argument 'tolerance'"),
        ({"checkpoint_every": 0}, ValueError, "checkpoint_every .* 0"),
    ],
)
def test_bad_input_names_the_argument(solve, problem, change, error, message):
    A, data = problem  # noqa: N806
    with pytest.raises(error, match=message):
        solve(A, **{"data": data, **change})


@every_solver
def test_what_watches_a_run_is_refused_under_jit(solve, problem):
    A, data = problem  # noqa: N806
    watched = {"callback": lambda *_: None, "progress": True, "stop": lambda *_: False, "checkpoint": "folder"}
    for option in ({name: value} for name, value in watched.items()):
        with pytest.raises(ValueError, match=f"{next(iter(option))}: need concrete arrays"):
            jax.jit(lambda d, option=option: solve(A, d, **option).volume)(data)
