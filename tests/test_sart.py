"""SART and OS-SART compute what their formula says, subset by subset, in the order that was asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxct
from jaxct.reconstruct import _subset_sums
from jaxct.reconstruct.sart import os_sart, sart
from jaxct.reconstruct.sirt import sirt
from jaxct.reconstruct.subsets import ordered_subsets
from tests.matrix import COLS, ROWS, Matrix
from tests.operators import relative_error


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def problem():
    """Every ray meets one voxel or a few; the data are the projections of nothing."""
    rng = np.random.default_rng(0)
    matrix = rng.uniform(size=(ROWS, 6)) * (rng.uniform(size=(ROWS, 6)) < 0.3)
    matrix[np.arange(ROWS), np.arange(ROWS) % 6] += 1
    return matrix, rng.normal(size=ROWS)


def over(ones):
    """1 / ones, 0 where that is infinite."""
    return np.divide(1, ones, out=np.zeros_like(ones), where=ones > 0)


def numpy_sart(parts, volume, num_iters, relaxation=1.0, lower=-np.inf, upper=np.inf):
    """The last iterate and the norms; a part has the rows and the data of a subset."""
    norms = []
    for _ in range(num_iters):
        square = 0.0
        for rows, data in parts:
            residual = data - rows @ volume
            square += np.sum(over(rows.sum(1)) * residual**2)
            step = relaxation * over(rows.sum(0)) * (rows.T @ (over(rows.sum(1)) * residual))
            volume = np.clip(volume + step, lower, upper)
        norms.append(np.sqrt(square))
    return volume, norms


def parts_of(matrix, data, num_subsets, order):
    """Of a system whose views are given by the leading axis of ``data``."""
    subsets = ordered_subsets(len(data), num_subsets, order=order)
    counted = np.ones(subsets.views.shape, bool) if subsets.counted is None else np.asarray(subsets.counted)
    rows = matrix.reshape(*data.shape, -1)
    chosen = [np.asarray(views)[kept] for views, kept in zip(subsets.views, counted, strict=True)]
    return [(rows[views].reshape(-1, matrix.shape[1]), data[views].ravel()) for views in chosen]


@pytest.mark.parametrize("num_subsets", [1, 3, 5, 11])
def test_agrees_with_the_formula_on_the_explicit_matrix(num_subsets):
    """Of a projector some of whose rays miss the grid; subsets equal or not, weights kept or computed anew."""
    rng = np.random.default_rng(2)
    geometry = jaxct.ParallelBeam(np.linspace(0.1, 3, 11), detector_shape=(9,), detector_offset=3.0)
    operator = jaxct.Projector(geometry, jaxct.VolumeGrid((6, 7)))
    data, init = rng.normal(size=operator.out_shape), rng.normal(size=operator.in_shape)
    options = {"num_iters": 4, "relaxation": 1.3, "lower": -0.5, "upper": 0.9}

    @jax.jit
    def solve(data, init):
        units = jnp.eye(init.size).reshape(-1, *init.shape)
        return jax.vmap(operator)(units), os_sart(operator, data, num_subsets=num_subsets, init=init, **options)

    rows, result = solve(data, init)
    matrix = np.asarray(rows).reshape(init.size, -1).T
    assert (matrix.sum(1) == 0).any()
    volume, norms = numpy_sart(parts_of(matrix, data, num_subsets, "herman_meyer"), init.ravel(), **options)
    assert relative_error(np.ravel(result.volume), volume) < 1e-11
    assert relative_error(result.history["residual_norm"], norms) < 1e-11


def test_sart_takes_the_views_one_by_one(problem):
    matrix, data = problem
    for order in ("herman_meyer", "sequential"):
        result = sart(Matrix(jnp.asarray(matrix)), data, num_iters=3, order=order)
        volume, norms = numpy_sart(parts_of(matrix, data, ROWS, order), np.zeros(6), 3)
        assert relative_error(np.ravel(result.volume), volume) < 1e-12
        assert relative_error(result.history["residual_norm"], norms) < 1e-12


def test_one_subset_is_sirt(problem):
    matrix, data = problem
    options = {"num_iters": 5, "relaxation": 1.5, "lower": -0.1}
    got = os_sart(Matrix(jnp.asarray(matrix)), data, num_subsets=1, **options)
    wanted = sirt(Matrix(jnp.asarray(matrix)), data, **options)
    assert relative_error(got.volume, wanted.volume) < 1e-13
    assert relative_error(got.history["residual_norm"][1:], wanted.history["residual_norm"][:-1]) < 1e-13


def test_reaches_the_solution_of_an_exact_system(problem):
    matrix, _ = problem
    solution = np.random.default_rng(1).uniform(size=COLS)
    result = sart(Matrix(jnp.asarray(matrix)), matrix @ solution.ravel(), num_iters=150)
    np.testing.assert_allclose(result.volume, solution, rtol=1e-10)
    assert result.history["residual_norm"][-1] < 1e-10


def test_a_pass_is_worth_about_as_many_of_sirt_as_there_are_subsets():
    geometry = jaxct.ParallelBeam(np.linspace(0, np.pi, 24, endpoint=False), detector_shape=(24,))
    A = jaxct.Projector(geometry, jaxct.VolumeGrid((16, 16)))  # noqa: N806
    image = np.zeros(A.in_shape)
    image[3:12, 5:11], image[6:8, 6:9] = 1, 2
    data = A(image)
    left = lambda volume: relative_error(A(volume), data)  # noqa: E731
    passes = left(os_sart(A, data, num_subsets=6, num_iters=3).volume)
    assert left(sirt(A, data, num_iters=27).volume) < passes < left(sirt(A, data, num_iters=12).volume)


def test_random_orders_are_drawn_anew_for_every_pass_from_the_key(problem):
    matrix, data = problem
    A, key = Matrix(jnp.asarray(matrix)), jax.random.key(5)  # noqa: N806
    solve = jax.jit(lambda key: os_sart(A, data, num_iters=3, num_subsets=7, order="random", key=key))
    parts = parts_of(matrix, data, 7, "random")
    volume, orders = np.zeros(6), []
    for _ in range(3):
        key, now = jax.random.split(key)
        orders.append(np.asarray(jax.random.permutation(now, 7)).tolist())
        volume, _ = numpy_sart([parts[i] for i in orders[-1]], volume, 1)
    assert len({tuple(order) for order in orders}) == 3
    result = solve(jax.random.key(5))
    assert relative_error(np.ravel(result.volume), volume) < 1e-12
    assert relative_error(solve(jax.random.key(6)).volume, result.volume) > 1e-6
    default = os_sart(A, data, num_iters=3, num_subsets=7, order="random")
    np.testing.assert_allclose(default.volume, solve(jax.random.key(0)).volume, rtol=1e-12)


@pytest.mark.parametrize("num_subsets", [2, 14])
def test_one_pair_of_projections_an_iteration_and_one_more_where_weights_are_not_kept(problem, num_subsets):
    calls = []

    class Counted(Matrix):
        def __call__(self, x):
            calls.append("A")
            return super().__call__(x)

        @property
        def T(self):  # noqa: N802
            calls.append("A^T")
            return super().T

        def __getitem__(self, rows):
            return Counted(self.values[rows])

    jax.tree_util.register_dataclass(Counted, ["values"], [])
    operator = Counted(jnp.asarray(problem[0]))
    jax.eval_shape(lambda d: os_sart(operator, d, num_iters=4, num_subsets=num_subsets), problem[1])
    kept = num_subsets <= _subset_sums.MOST_KEPT
    start = ["A"] + kept * num_subsets * ["A^T"]
    assert calls == start + (["A", "A^T"] if kept else ["A", "A^T", "A^T"]), "the loop's body is traced once"


def test_rays_and_voxels_without_weight_are_left_out(problem):
    matrix, data = problem
    matrix[3], matrix[:, 4], matrix[3, 4] = 0, 0, 1e-40
    data[3] = 1e30
    init = np.arange(6.0).reshape(COLS)
    result = sart(Matrix(jnp.asarray(matrix)), data, num_iters=5, init=init)
    assert np.asarray(result.volume)[1, 1] == 4
    assert (np.abs(result.volume) < 20).all()


def test_derivatives_of_an_iterate(problem):
    matrix, data = problem

    def run(matrix, data, init):
        return os_sart(Matrix(matrix), data, num_iters=2, num_subsets=4, init=init)

    check_grads(jax.jit(run), (matrix + 0.1, data, np.full(COLS, 0.1)), order=1, modes=("rev",), eps=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"num_subsets": 15}, ValueError, "num_subsets .* 14, got 15"),
        ({"num_subsets": 0}, ValueError, "num_subsets .* 0"),
        ({"order": "golden"}, ValueError, "order .* 'golden'"),
        ({"key": 3}, TypeError, "key must be a single one of jax.random.key, got 3"),
        ({"relaxation": 2.0}, ValueError, "relaxation must be above 0 and below 2, got 2"),
        ({"lower": 1.0, "upper": 0.0}, ValueError, "lower .*above upper, got 1 above 0"),
    ],
)
def test_bad_input_names_the_argument(problem, change, error, message):
    matrix, data = problem
    with pytest.raises(error, match=message):
        os_sart(Matrix(jnp.asarray(matrix)), data, **{"num_iters": 1, "num_subsets": 2, **change})


def test_an_operator_without_views_is_refused():
    class Whole:
        in_shape, out_shape = COLS, (ROWS,)

    with pytest.raises(TypeError, match=r"A must be .* A\[views\], got a Whole"):
        sart(Whole(), np.zeros(ROWS), num_iters=1)
