"""OSEM is MLEM by parts: exactly with one subset, and about as far in one pass as MLEM in one iteration a subset."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxct
from jaxct.reconstruct import _subset_sums
from jaxct.reconstruct._poisson import log_likelihood
from jaxct.reconstruct.mlem import mlem
from jaxct.reconstruct.osem import osem
from jaxct.reconstruct.subsets import ordered_subsets
from tests.matrix import COLS, ROWS, Matrix
from tests.operators import relative_error


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def problem():
    """A positive matrix with counts that no image explains."""
    rng = np.random.default_rng(0)
    matrix = rng.uniform(size=(ROWS, 6)) * (rng.uniform(size=(ROWS, 6)) < 0.5)
    matrix[np.arange(ROWS), np.arange(ROWS) % 6] += 1
    return matrix, rng.poisson(2.5 * matrix.sum(1)).astype(float)


@pytest.fixture
def scan():
    """Counts of a disc with a hot spot, and a background."""
    geometry = jaxct.ParallelBeam(np.linspace(0, np.pi, 24, endpoint=False), detector_shape=(24,))
    A = jaxct.Projector(geometry, jaxct.VolumeGrid((16, 16)))  # noqa: N806
    y, x = np.mgrid[-7.5:8, -7.5:8]
    image = 5.0 * (x**2 + y**2 < 49) + 15.0 * ((x - 2) ** 2 + (y + 1) ** 2 < 4)
    background = np.full(A.out_shape, 4.0)
    return A, np.random.default_rng(0).poisson(A(image) + background).astype(float), background


def numpy_osem(matrix, data, volume, num_iters, views, background):
    """The last image, and the totals as the subsets found them, by the formula as it stands."""
    totals = []
    for _ in range(num_iters):
        total = 0.0
        for chosen in views:
            rows = matrix[chosen]
            expected = rows @ volume + background[chosen]
            total += expected.sum()
            seen = rows.sum(0) > 0
            step = np.divide(rows.T @ (data[chosen] / expected), rows.sum(0), out=np.ones(6), where=seen)
            volume = volume * step
        totals.append(total)
    return volume, totals


@pytest.mark.parametrize("num_subsets", [3, 14])
def test_agrees_with_the_formula_on_the_explicit_matrix(problem, num_subsets):
    """Subsets of different sizes, which do not see all voxels; sensitivities kept or computed anew."""
    matrix, data = problem
    rng = np.random.default_rng(1)
    init, background = rng.uniform(0.5, 2, size=COLS), rng.uniform(0.1, 1, size=ROWS)
    subsets = ordered_subsets(ROWS, num_subsets)
    counted = np.ones(subsets.views.shape, bool) if subsets.counted is None else np.asarray(subsets.counted)
    views = [np.asarray(v)[c] for v, c in zip(subsets.views, counted, strict=True)]
    assert num_subsets == 3 or any((matrix[v].sum(0) == 0).any() for v in views)
    assert (num_subsets > _subset_sums.MOST_KEPT) == (num_subsets == 14)
    A = Matrix(jnp.asarray(matrix))  # noqa: N806
    result = osem(A, data, num_iters=4, num_subsets=num_subsets, init=init, background=background)
    volume, totals = numpy_osem(matrix, data, init.ravel(), 4, views, background)
    assert relative_error(np.ravel(result.volume), volume) < 1e-12
    np.testing.assert_allclose(result.history["total"], totals, rtol=1e-12)


@pytest.mark.parametrize("background", [None, 0.7])
def test_one_subset_is_mlem(problem, background):
    matrix, data = problem
    matrix[:, 4] = 0
    A, init = Matrix(jnp.asarray(matrix)), np.random.default_rng(1).uniform(0.5, 2, size=COLS)  # noqa: N806
    got = osem(A, data, num_iters=6, num_subsets=1, init=init, background=background)
    wanted = mlem(A, data, num_iters=6, init=init, background=background)
    assert relative_error(got.volume, wanted.volume) < 1e-14
    for name, values in wanted.history.items():
        np.testing.assert_allclose(got.history[name][1:], values[:-1], rtol=1e-12)


def test_a_pass_is_worth_about_as_many_iterations_of_mlem_as_there_are_subsets(scan):
    A, data, background = scan  # noqa: N806
    reached = lambda image: float(log_likelihood(data, A(image) + background))  # noqa: E731
    by_parts = reached(osem(A, data, num_iters=2, num_subsets=6, background=background).volume)
    whole = mlem(A, data, num_iters=15, background=background).history["log_likelihood"]
    assert whole[8] < by_parts < whole[14]


def test_exact_data_of_an_image_give_the_image(problem):
    matrix, _ = problem
    image = np.random.default_rng(1).uniform(0.5, 2, size=COLS)
    run = jax.jit(lambda data: osem(Matrix(jnp.asarray(matrix)), data, num_iters=1000, num_subsets=2))
    result = run(matrix @ image.ravel())
    np.testing.assert_allclose(result.volume, image, rtol=1e-8)
    assert result.history["log_likelihood"][-1] > -1e-12


def test_random_orders_are_drawn_anew_for_every_pass_from_the_key(problem):
    matrix, data = problem
    A = Matrix(jnp.asarray(matrix))  # noqa: N806
    views = np.asarray(ordered_subsets(ROWS, 7, order="random").views)
    key, volume, orders = jax.random.key(5), np.ones(6), []
    for _ in range(3):
        key, now = jax.random.split(key)
        orders.append(tuple(np.asarray(jax.random.permutation(now, 7)).tolist()))
        volume, _ = numpy_osem(matrix, data, volume, 1, [views[i] for i in orders[-1]], np.zeros(ROWS))
    assert len(set(orders)) == 3
    solve = jax.jit(
        lambda key: osem(A, data, num_iters=3, num_subsets=7, order="random", key=key, init=np.ones(COLS)).volume
    )
    assert relative_error(np.ravel(solve(jax.random.key(5))), volume) < 1e-12
    assert relative_error(solve(jax.random.key(6)), solve(jax.random.key(5))) > 1e-6


def test_nothing_seen_nothing_expected_nothing_counted(problem):
    matrix, data = problem
    matrix[3], matrix[:, 4] = 0, 0
    init = np.ones(COLS)
    init[0, 1] = 0
    result = osem(Matrix(jnp.asarray(matrix)), data, num_iters=5, num_subsets=4, init=init)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result))
    image = np.ravel(result.volume)
    assert image[1] == image[4] == 0


def test_derivatives_of_an_iterate(problem):
    matrix, data = problem

    def run(matrix, data, background):
        return osem(Matrix(matrix), data, num_iters=2, num_subsets=3, background=background)

    check_grads(jax.jit(run), (matrix + 0.1, data + 0.5, np.full(ROWS, 0.2)), order=1, modes=("rev",), eps=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"data": np.full(ROWS, -1.0)}, ValueError, "data must not be negative, got -1"),
        ({"background": -0.5}, ValueError, "background must not be negative, got -0.5"),
        ({"num_subsets": 15}, ValueError, "num_subsets .* 14, got 15"),
        ({"order": "golden"}, ValueError, "order .* 'golden'"),
        ({"key": 3}, TypeError, "key must be a single one of jax.random.key, got 3"),
    ],
)
def test_bad_input_names_the_argument(problem, change, error, message):
    matrix, data = problem
    with pytest.raises(error, match=message):
        osem(Matrix(jnp.asarray(matrix)), **{"data": data, "num_iters": 1, "num_subsets": 2, **change})
