"""LSQR's iterates are those of conjugate gradients, from any start."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxct.reconstruct import cgls
from jaxct.reconstruct.lsqr import lsqr
from tests.matrix import COLS, ROWS, Matrix
from tests.operators import relative_error


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    return rng.normal(size=(ROWS, 6)), rng.normal(size=ROWS)


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


def test_derivative_of_the_solution_is_the_pseudo_inverse(problem):
    matrix, data = problem
    operator = Matrix(jnp.asarray(matrix))
    jacobian = jax.jit(jax.jacrev(lambda d: lsqr(operator, d, num_iters=6).volume.ravel()))(data)
    assert relative_error(jacobian, np.linalg.pinv(matrix)) < 1e-8
