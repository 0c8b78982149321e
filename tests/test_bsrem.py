"""BSREM starts like OSEM and, other than it, arrives: at the most probable image, whatever the prior."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxct.reconstruct._poisson import log_likelihood
from jaxct.reconstruct.bsrem import bsrem
from jaxct.reconstruct.map_em import map_em
from jaxct.reconstruct.osem import osem
from jaxct.reconstruct.subsets import ordered_subsets
from tests.emission import CURVATURE, counted_problem, quadratic, relative_differences
from tests.matrix import COLS, ROWS, Matrix
from tests.operators import relative_error


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def problem():
    return counted_problem()


def numpy_bsrem(matrix, data, x, num_iters, views, background, bound, relaxation, decay):
    """By the formula as it stands, with the quadratic prior and its curvature."""
    s, least = matrix.sum(0), 1e-6 * data.sum() / matrix.sum()
    for n in range(num_iters):
        for chosen in views:
            rows = matrix[chosen]
            slope = len(views) * rows.T @ (data[chosen] / (rows @ x + background[chosen]) - 1)
            slope -= np.ravel(jax.grad(quadratic)(x.reshape(COLS)))
            scale = np.minimum(x, bound - x) / (s + np.ravel(np.broadcast_to(CURVATURE, COLS)) * x)
            x = x + relaxation / (1 + decay * n) * scale * slope
            x = np.where(x <= 0, least, np.where(x >= bound, bound - least, x))
    return x


@pytest.mark.parametrize("bound", [None, 2.2])
def test_agrees_with_the_formula_on_the_explicit_matrix(problem, bound):
    matrix, data = problem
    rng = np.random.default_rng(1)
    init, background = rng.uniform(0.5, 2, size=COLS), rng.uniform(0.1, 1, size=ROWS)
    subsets = ordered_subsets(ROWS, 4)
    views = [np.asarray(v)[np.asarray(c)] for v, c in zip(subsets.views, subsets.counted, strict=True)]
    limit = data.sum() / matrix.sum(0) if bound is None else bound
    wanted = numpy_bsrem(matrix, data, init.ravel(), 6, views, background, limit, 1.7, 0.2)
    result = bsrem(
        Matrix(jnp.asarray(matrix)),
        data,
        num_iters=6,
        num_subsets=4,
        prior=quadratic,
        curvature=CURVATURE,
        relaxation=1.7,
        decay=0.2,
        init=init,
        background=background,
        upper=bound,
    )
    assert relative_error(np.ravel(result.volume), wanted) < 1e-12
    assert (bound is None) == (np.max(wanted) > 2.2)


@pytest.mark.parametrize("prior", [None, quadratic, relative_differences])
def test_it_arrives_where_no_image_is_more_probable(problem, prior):
    """The gap to the maximum closes as the steps do; OSEM's stays."""
    matrix, data = problem
    A = Matrix(jnp.asarray(matrix))  # noqa: N806

    def objective(x):
        return log_likelihood(data, A(x) + 0.5) - (0 if prior is None else prior(x))

    run = jax.jit(
        lambda data, num_iters: bsrem(
            A, data, num_iters=num_iters, num_subsets=7, prior=prior, curvature=0.2, background=0.5
        ),
        static_argnames="num_iters",
    )
    slopes = []
    for num_iters in (100, 3000):
        image = run(data, num_iters).volume
        slope = np.asarray(jax.grad(objective)(image))
        # What is left of the conditions of Karush, Kuhn and Tucker.
        slopes.append(np.abs(np.asarray(image) * slope).max() + np.maximum(slope, 0).max())
    # What is left is as large as the steps: 1 / 301 after 1 / 11 of the first.
    assert slopes[1] < 2 * 11 / 301 * slopes[0]
    if prior is None:
        cycle = osem(A, data, num_iters=3000, num_subsets=7, background=0.5).volume
        assert np.abs(np.asarray(cycle) * np.asarray(jax.grad(objective)(cycle))).max() > 10 * slopes[1]


def test_one_subset_with_whole_steps_is_mlem_at_first(problem):
    matrix, data = problem
    A, init = Matrix(jnp.asarray(matrix)), np.random.default_rng(1).uniform(0.5, 2, COLS)  # noqa: N806
    got = bsrem(A, data, num_iters=1, num_subsets=1, init=init)
    wanted = map_em(A, data, num_iters=1, init=init)
    assert relative_error(got.volume, wanted.volume) < 1e-13
    after = bsrem(A, data, num_iters=2, num_subsets=1, init=init).history["log_likelihood"][1]
    np.testing.assert_allclose(after, wanted.history["log_likelihood"][0], rtol=1e-12)


def test_events_have_the_sensitivity_of_the_scan(problem):
    matrix, data = problem
    rays = np.repeat(np.arange(ROWS), data.astype(int))
    options = {"num_iters": 5, "num_subsets": 1, "init": np.ones(COLS), "background": 0.2, "prior": quadratic}
    binned = bsrem(Matrix(jnp.asarray(matrix)), data, **options)
    listed = bsrem(
        Matrix(jnp.asarray(matrix[rays])), np.ones(len(rays)), sensitivity=matrix.sum(0).reshape(COLS), **options
    )
    assert relative_error(listed.volume, binned.volume) < 1e-13
    apart = listed.history["objective"] - binned.history["objective"]
    np.testing.assert_allclose(apart, apart[0], rtol=1e-11)


def test_zeros_of_the_start_are_a_mask_and_unseen_voxels_are_zero(problem):
    matrix, data = problem
    matrix[3], matrix[:, 4] = 0, 0
    init = np.ones(COLS)
    init[0, 1] = 0
    result = bsrem(Matrix(jnp.asarray(matrix)), data, num_iters=5, num_subsets=4, init=init, prior=quadratic)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result))
    image = np.ravel(result.volume)
    assert image[1] == image[4] == 0
    assert (image[[0, 2, 3, 5]] > 0).all()


def test_derivatives_of_an_iterate(problem):
    matrix, data = problem

    def run(matrix, data, background):
        return bsrem(Matrix(matrix), data, num_iters=2, num_subsets=3, background=background, prior=quadratic)

    check_grads(jax.jit(run), (matrix + 0.1, data + 0.5, np.full(ROWS, 0.2)), order=1, modes=("rev",), eps=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"data": np.full(ROWS, -1.0)}, ValueError, "data must not be negative, got -1"),
        ({"prior": 2.0}, TypeError, "prior must be a function, got 2.0"),
        ({"curvature": -1.0}, ValueError, "curvature must not be negative, got -1"),
        ({"relaxation": 0.0}, ValueError, "relaxation must be positive"),
        ({"decay": 0.0}, ValueError, "decay must be positive"),
        ({"upper": 0.0}, ValueError, "upper must be positive"),
        ({"upper": np.ones(6)}, ValueError, r"upper .*\(2, 3\), got shape \(6,\)"),
        ({"num_subsets": 15}, ValueError, "num_subsets .* 14, got 15"),
        ({"key": 3}, TypeError, "key must be a single one of jax.random.key, got 3"),
    ],
)
def test_bad_input_names_the_argument(problem, change, error, message):
    matrix, data = problem
    with pytest.raises(error, match=message):
        bsrem(Matrix(jnp.asarray(matrix)), **{"data": data, "num_iters": 1, "num_subsets": 2, **change})
