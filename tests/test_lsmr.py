"""LSMR's iterates have the smallest gradients there are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxct.reconstruct.lsmr import lsmr
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
def test_each_iterate_has_the_smallest_gradient_in_its_krylov_space(problem, damping):
    matrix, data = problem
    init = np.random.default_rng(1).normal(size=6)
    normal = matrix.T @ matrix + damping**2 * np.eye(6)
    start = matrix.T @ data - normal @ init
    krylov = [start]
    volumes = []
    lsmr(
        Matrix(jnp.asarray(matrix)), data, num_iters=4, init=init.reshape(COLS), damping=damping,
        callback=lambda iteration, state, record: volumes.append(np.ravel(state.volume)),
    )  # fmt: skip
    for k in range(1, 5):
        basis = np.stack(krylov, axis=1)
        best = init + basis @ np.linalg.lstsq(normal @ basis, start, rcond=None)[0]
        assert relative_error(volumes[k - 1], best) < 1e-7
        krylov.append(normal @ krylov[-1])


def test_gradient_and_residual_fall_monotonically_the_gradient_below_that_of_lsqr(problem):
    matrix, data = problem
    matrix = matrix * 3.0 ** -np.arange(6)
    history, other = (solve(Matrix(jnp.asarray(matrix)), data, num_iters=8).history for solve in (lsmr, lsqr))
    for values in history.values():
        assert (np.diff(values) <= 1e-14 * values[0]).all()
    assert (history["gradient_norm"] <= other["gradient_norm"] + 1e-14 * other["gradient_norm"][0]).all()
    assert (history["gradient_norm"][1:4] < 0.99 * other["gradient_norm"][1:4]).all()
