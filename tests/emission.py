"""Emission counts for the solvers that look for the most probable image, and priors to look with."""

import jax
import numpy as np

from jaxct import priors
from tests.matrix import COLS, ROWS

CURVATURE = 0.4 * priors.pair_curvature(COLS)  # of `quadratic`


def counted_problem() -> tuple[np.ndarray, np.ndarray]:
    """A positive matrix with counts that no image explains."""
    rng = np.random.default_rng(0)
    matrix = rng.uniform(size=(ROWS, 6)) * (rng.uniform(size=(ROWS, 6)) < 0.5)
    matrix[np.arange(ROWS), np.arange(ROWS) % 6] += 1
    return matrix, rng.poisson(2.5 * matrix.sum(1)).astype(float)


def quadratic(x: jax.Array) -> jax.Array:
    return 0.4 * priors.quadratic(x)


def relative_differences(x: jax.Array) -> jax.Array:
    return 0.5 * priors.relative_difference(x)
