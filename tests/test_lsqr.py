"""LSQR's iterates are those of Paige and Saunders' algorithm, and of conjugate gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxct.reconstruct import cgls
from jaxct.reconstruct.lsqr import lsqr
from tests.matrix import COLS, ROWS, Matrix
from tests.operators import relative_error

reference = pytest.importorskip("scipy.sparse.linalg").lsqr


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    return rng.normal(size=(ROWS, 6)), rng.normal(size=ROWS)


def iterates(matrix, data, num_iters, **options):
    """And the history."""
    volumes = []
    result = lsqr(
        Matrix(jnp.asarray(matrix)), data, num_iters=num_iters, **options,
        callback=lambda iteration, state, record: volumes.append(np.ravel(state.volume)),
    )  # fmt: skip
    return volumes, jax.device_get(result.history)


@pytest.mark.parametrize("damping", [0.0, 1.7])
def test_every_iterate_is_that_of_scipy(problem, damping):
    matrix, data = problem
    volumes, history = iterates(matrix, data, 6, damping=damping)
    for k in range(1, 7):
        wanted = reference(matrix, data, damp=damping, atol=0, btol=0, conlim=0, iter_lim=k)
        assert relative_error(volumes[k - 1], wanted[0]) < 1e-12
        assert history["residual_norm"][k - 1] == pytest.approx(np.linalg.norm(data - matrix @ wanted[0]), rel=1e-12)
        assert history["gradient_norm"][k - 1] == pytest.approx(wanted[7], rel=1e-9, abs=1e-12)


def test_scipy_from_a_start_too(problem):
    """Without damping: with it scipy pulls towards the start."""
    matrix, data = problem
    init = np.random.default_rng(1).normal(size=6)
    volumes, _ = iterates(matrix, data, 4, init=init.reshape(COLS))
    for k in range(1, 5):
        wanted = reference(matrix, data, x0=init, atol=0, btol=0, conlim=0, iter_lim=k)[0]
        assert relative_error(volumes[k - 1], wanted) < 1e-12


@pytest.mark.parametrize("damping", [0.0, 1.7])
def test_from_any_start_it_is_cgls(problem, damping):
    matrix, data = problem
    init = np.random.default_rng(1).normal(size=COLS)
    got, wanted = (
        solve(Matrix(jnp.asarray(matrix)), data, num_iters=4, init=init, damping=damping) for solve in (lsqr, cgls)
    )
    assert relative_error(got.volume, wanted.volume) < 1e-12
    for name, values in wanted.history.items():
        np.testing.assert_allclose(got.history[name], values, rtol=1e-10)


def test_the_residual_falls_monotonically(problem):
    matrix, data = problem
    norms = np.asarray(lsqr(Matrix(jnp.asarray(matrix)), data, num_iters=20).history["residual_norm"])
    assert (np.diff(norms) <= 0).all()
