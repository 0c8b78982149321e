"""SVRG arrives at the most probable image with steps of one length, whatever subsets it draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxct
from jaxct.reconstruct import mlem
from jaxct.reconstruct._poisson import log_likelihood
from jaxct.reconstruct.subsets import ordered_subsets
from jaxct.reconstruct.svrg import svrg
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


def numpy_svrg(matrix, data, x, num_iters, views, background, key, step, decay, refresh):
    """By the formula as it stands, with the quadratic prior and its curvature."""
    s, least, count = matrix.sum(0), 1e-6 * data.sum() / matrix.sum(), len(views)

    def slope(x, chosen):
        return matrix[chosen].T @ (data[chosen] / (matrix[chosen] @ x + background[chosen]) - 1)

    for n in range(num_iters):
        if n % refresh == 0:
            z = x
            kept = [slope(x, chosen) for chosen in views]
        key, now = jax.random.split(key)
        for draw in np.asarray(jax.random.randint(now, (count,), 0, count, jnp.int32)):
            direction = count * (slope(x, views[draw]) - kept[draw]) + sum(kept)
            direction -= np.ravel(jax.grad(quadratic)(x.reshape(COLS)))
            w = np.minimum(x, z) + least
            scale = w / (s + np.ravel(np.broadcast_to(CURVATURE, COLS)) * w)
            x = np.maximum(x + step / (1 + decay * n) * scale * direction, 0)
    return x


def test_agrees_with_the_formula_on_the_explicit_matrix(problem):
    matrix, data = problem
    rng = np.random.default_rng(1)
    init, background = rng.uniform(0.5, 2, size=COLS), rng.uniform(0.1, 1, size=ROWS)
    subsets = ordered_subsets(ROWS, 4, order="sequential")
    views = [np.asarray(v)[np.asarray(c)] for v, c in zip(subsets.views, subsets.counted, strict=True)]
    key = jax.random.key(3)
    wanted = numpy_svrg(matrix, data, init.ravel(), 7, views, background, key, 0.8, 0.1, 3)
    result = svrg(
        Matrix(jnp.asarray(matrix)),
        data,
        num_iters=7,
        num_subsets=4,
        prior=quadratic,
        curvature=CURVATURE,
        step=0.8,
        decay=0.1,
        refresh=3,
        init=init,
        background=background,
        key=key,
    )
    assert relative_error(np.ravel(result.volume), wanted) < 1e-12


@pytest.mark.parametrize("prior", [None, quadratic, relative_differences])
def test_it_arrives_where_no_image_is_more_probable(problem, prior):
    matrix, data = problem
    A = Matrix(jnp.asarray(matrix))  # noqa: N806

    def objective(x):
        return log_likelihood(data, A(x) + 0.5) - (0 if prior is None else prior(x))

    @jax.jit
    def run(data):
        return svrg(A, data, num_iters=1500, num_subsets=5, prior=prior, curvature=0.4, background=0.5).volume

    image = run(data)
    slope = np.asarray(jax.grad(objective)(image))
    assert np.abs(np.asarray(image) * slope).max() < 1e-4
    assert slope.max() < 1e-2


def test_few_counts_without_a_background_do_not_blow_it_up():
    """Many lines that nothing is expected of, and some with a count that no voxel explains at the time."""
    ring = jaxct.pet.Scanner.cylindrical(num_crystals=96, radius=150.0, rings=[0.0], crystal_size=(8, 8))
    A = jaxct.Projector(ring.sinogram(), jaxct.VolumeGrid((1, 40, 40), 5.0))  # noqa: N806
    activity = 0.02 * jaxct.phantoms.ball(45.0).rasterize(A.grid)
    solve = jax.jit(lambda y, key: svrg(A, y, num_iters=8, num_subsets=24, key=key))
    for seed in range(3):
        counts = jax.random.poisson(jax.random.key(seed), A(activity)).astype(float)
        volume, history = solve(counts, jax.random.key(seed))
        likely = log_likelihood(counts, A(mlem(A, counts, num_iters=20).volume))
        assert history["objective"][-1] > 1.2 * likely
        assert A(volume).sum() < 1.5 * counts.sum()


def test_draws_come_from_the_key(problem):
    matrix, data = problem
    solve = jax.jit(lambda key: svrg(Matrix(jnp.asarray(matrix)), data, num_iters=2, num_subsets=5, key=key).volume)
    plain = svrg(Matrix(jnp.asarray(matrix)), data, num_iters=2, num_subsets=5)
    assert relative_error(solve(jax.random.key(0)), plain.volume) < 1e-13
    assert relative_error(solve(jax.random.key(1)), solve(jax.random.key(0))) > 1e-6


def test_all_gradients_are_computed_only_when_they_are_due(problem):
    """Between, a pass is one of A and one of the transpose."""
    matrix, data = problem
    state = []
    svrg(
        Matrix(jnp.asarray(matrix)),
        data,
        num_iters=4,
        num_subsets=5,
        refresh=3,
        callback=lambda i, s, r: state.append(np.asarray(s.slopes)) and None,
    )
    np.testing.assert_array_equal(state[0], state[1])
    np.testing.assert_array_equal(state[0], state[2])
    assert relative_error(state[3], state[0]) > 1e-3


def test_nothing_seen_nothing_expected_nothing_counted(problem):
    matrix, data = problem
    matrix[3], matrix[:, 4] = 0, 0
    result = svrg(Matrix(jnp.asarray(matrix)), data, num_iters=5, num_subsets=4, prior=quadratic)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result))
    assert np.ravel(result.volume)[4] == 0


def test_derivatives_of_an_iterate(problem):
    matrix, data = problem

    def run(matrix, data, background):
        return svrg(Matrix(matrix), data, num_iters=2, num_subsets=3, background=background, prior=quadratic, step=0.3)

    check_grads(jax.jit(run), (matrix + 0.1, data + 0.5, np.full(ROWS, 0.2)), order=1, modes=("rev",), eps=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"data": np.full(ROWS, -1.0)}, ValueError, "data must not be negative, got -1"),
        ({"prior": 2.0}, TypeError, "prior must be a function, got 2.0"),
        ({"curvature": -1.0}, ValueError, "curvature must not be negative, got -1"),
        ({"step": 0.0}, ValueError, "step must be positive"),
        ({"decay": -0.1}, ValueError, "decay must not be negative"),
        ({"refresh": 0}, ValueError, "refresh must be a positive integer, got 0"),
        ({"num_subsets": 15}, ValueError, "num_subsets .* 14, got 15"),
        ({"key": 3}, TypeError, "key must be a single one of jax.random.key, got 3"),
    ],
)
def test_bad_input_names_the_argument(problem, change, error, message):
    matrix, data = problem
    with pytest.raises(error, match=message):
        svrg(Matrix(jnp.asarray(matrix)), **{"data": data, "num_iters": 1, "num_subsets": 2, **change})
