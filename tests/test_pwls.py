"""PWLS computes what its formula says, falls, arrives at the minimum, and is quick with subsets and momentum."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxct
from jaxct import data_fit, priors
from jaxct.reconstruct import ordered_subsets
from jaxct.reconstruct.minimize import minimize
from jaxct.reconstruct.pwls import pwls
from tests.matrix import COLS, ROWS, Matrix
from tests.solvers import positive_problem

DELTA, STRENGTH = 0.2, 0.7


def prior(x):
    return STRENGTH * priors.huber(x, delta=DELTA)


@pytest.fixture
def problem():
    """With a lower bound that some voxels want to fall below."""
    matrix, image, _ = positive_problem()
    image = 3 * (image - 1.3)
    return matrix, matrix @ image.ravel(), np.random.default_rng(1).uniform(0.5, 3, size=ROWS)


def curvature():
    return STRENGTH * priors.pair_curvature(COLS)


def prior_gradient(x):
    """The sum over neighbours of the difference, no more than delta."""
    gradient = np.zeros_like(x)
    for axis in (0, 1):
        steps = STRENGTH * np.clip(np.diff(x, axis=axis), -DELTA, DELTA)
        front, back = [(0, 0), (0, 0)], [(0, 0), (0, 0)]
        front[axis], back[axis] = (1, 0), (0, 1)
        gradient += np.pad(steps, front) - np.pad(steps, back)
    return gradient


def numpy_pwls(matrix, data, weights, num_iters, groups, momentum):
    hessian = matrix.T @ (weights * (matrix @ np.ones(6)))
    neighbours = np.array([[2, 3, 2], [2, 3, 2]])
    scale = hessian.reshape(COLS) + 2 * STRENGTH * neighbours
    x = z = np.zeros(COLS)
    t = 1.0
    for _ in range(num_iters):
        for rows in groups:
            residual = weights[rows] * (matrix[rows] @ z.ravel() - data[rows])
            gradient = len(groups) * (matrix[rows].T @ residual).reshape(COLS) + prior_gradient(z)
            following = np.clip(z - gradient / scale, 0.0, None)
            longer = (1 + np.sqrt(1 + 4 * t**2)) / 2
            z = following + ((t - 1) / longer * (following - x) if momentum else 0)
            x, t = following, longer
    return x


def objective(matrix, data, weights, x):
    return np.sum(weights * (matrix @ np.ravel(x) - data) ** 2) / 2 + float(prior(jnp.asarray(x)))


@pytest.mark.parametrize("momentum", [False, True])
@pytest.mark.parametrize("num_subsets", [1, 4])
def test_agrees_with_the_formula(num_subsets, momentum, problem):
    """14 rays in 4 subsets: two of them are smaller."""
    matrix, data, weights = problem
    subsets = ordered_subsets(ROWS, num_subsets)
    counted = np.ones(subsets.views.shape, bool) if subsets.counted is None else np.asarray(subsets.counted)
    groups = [np.asarray(v)[c] for v, c in zip(subsets.views, counted, strict=True)]
    assert sum(map(len, groups)) == ROWS
    with jax.enable_x64(True):
        result = pwls(
            Matrix(jnp.asarray(matrix)),
            data,
            num_iters=5,
            weights=weights,
            prior=prior,
            curvature=curvature(),
            num_subsets=num_subsets,
            momentum=momentum,
        )
    wanted = numpy_pwls(matrix, data, weights, 5, groups, momentum)
    assert (wanted == 0).any()
    np.testing.assert_allclose(result.volume, wanted, rtol=1e-12)


def test_without_subsets_and_momentum_the_objective_never_rises(problem):
    matrix, data, weights = problem
    with jax.enable_x64(True):
        volumes = [jnp.full(COLS, 3.0)]
        history = pwls(
            Matrix(jnp.asarray(matrix)),
            data,
            num_iters=40,
            weights=weights,
            prior=prior,
            curvature=curvature(),
            momentum=False,
            init=volumes[0],
            callback=lambda i, state, record: volumes.append(state.volume),
        ).history
        values = np.array([objective(matrix, data, weights, x) for x in volumes])
    np.testing.assert_allclose(history["objective"], values[:-1], rtol=1e-12)
    assert (np.diff(values) <= 1e-14 * values[1:]).all()
    assert values[-1] < 0.1 * values[0]


def test_arrives_at_the_minimum(problem):
    """Where Karush, Kuhn and Tucker's conditions hold, and where L-BFGS arrives, too."""
    matrix, data, weights = problem
    with jax.enable_x64(True):
        A = Matrix(jnp.asarray(matrix))  # noqa: N806
        solve = lambda momentum: pwls(  # noqa: E731
            A, data, num_iters=3000, weights=weights, prior=prior, curvature=curvature(), momentum=momentum
        )
        total = lambda x, fit: fit(x) + prior(x)  # noqa: E731
        args = (data_fit.LeastSquares(A, data, weights),)
        other = minimize(total, jnp.zeros(COLS), optimizer=optax.lbfgs(), num_iters=40, lower=0.0, args=args)
        for result in (solve(True), solve(False)):
            gradient = np.asarray(jax.grad(total)(result.volume, *args))
            volume = np.asarray(result.volume)
            assert (volume == 0).any()
            assert (gradient[volume == 0] > 0).all()
            np.testing.assert_allclose(gradient[volume > 0], 0, atol=1e-8)
            np.testing.assert_allclose(volume, other.volume, atol=1e-8)


def test_subsets_and_momentum_both_save_passes():
    """Of a disc, to which the excess over the least objective is compared after 5 passes."""
    geometry = jaxct.ParallelBeam(np.linspace(0, np.pi, 24, endpoint=False), detector_shape=(17,))
    A = jaxct.Projector(geometry, jaxct.VolumeGrid((12, 12)))  # noqa: N806
    disk = jaxct.phantoms.disk(4.0, center=(1.0, -1.0), value=1.0).rasterize(jaxct.VolumeGrid((12, 12)))
    with jax.enable_x64(True):
        data = A(jnp.asarray(disk, float)) + 0.1 * np.random.default_rng(0).normal(size=A.out_shape)
        smooth = lambda x: 0.5 * priors.quadratic(x, neighbourhood="full")  # noqa: E731
        bend = 0.5 * priors.pair_curvature((12, 12), neighbourhood="full")

        def excess(num_iters=5, **options):
            x = pwls(A, data, num_iters=num_iters, prior=smooth, curvature=bend, **options).volume
            return float(jnp.sum((A(x) - data) ** 2) / 2 + smooth(x))

        least = excess(400)
        plain, fast, subsets, both = (
            excess(momentum=momentum, num_subsets=n) - least for n in (1, 6) for momentum in (False, True)
        )
    assert least > 0
    assert fast < 0.5 * plain
    assert subsets < 0.2 * plain
    assert both < 0.5 * subsets


def test_a_voxel_without_data_and_prior_stays(problem):
    matrix, data, _ = problem
    matrix = matrix * (np.arange(6) != 2)
    result = pwls(Matrix(jnp.asarray(matrix, jnp.float32)), data.astype(np.float32), num_iters=20, init=np.ones(COLS))
    assert result.volume[0, 2] == 1
    assert np.isfinite(result.volume).all()


def test_rays_of_weight_zero_may_have_any_data(problem):
    matrix, data, weights = problem
    out = np.arange(ROWS) == 3
    for num_subsets in (1, 4):
        spoilt, wanted = (
            pwls(
                Matrix(jnp.asarray(matrix)),
                np.where(out, value, data),
                num_iters=3,
                weights=np.where(out, 0, weights),
                num_subsets=num_subsets,
            )
            for value in (np.nan, 5.0)
        )
        np.testing.assert_array_equal(spoilt.volume, wanted.volume)
        assert np.isfinite(spoilt.volume).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"prior": prior}, ValueError, "prior and curvature belong together"),
        ({"curvature": 1.0}, ValueError, "prior and curvature belong together, got prior None"),
        ({"prior": 3, "curvature": 1.0}, TypeError, "prior must be a function, got 3"),
        ({"prior": prior, "curvature": -1.0}, ValueError, "curvature must not be negative, got -1"),
        ({"weights": -np.ones(ROWS)}, ValueError, "weights must not be negative, got -1"),
        ({"weights": np.ones(3)}, ValueError, r"weights must broadcast .*\(14,\), got shape \(3,\)"),
        ({"num_subsets": 15}, ValueError, "num_subsets must be at most the number of views, 14, got 15"),
        ({"num_subsets": 2, "order": "up"}, ValueError, "order .* 'up'"),
        ({"order": "up"}, ValueError, "order .* 'up'"),
        ({"num_subsets": 1.0}, TypeError, "num_subsets .* 1.0"),
        ({"key": 3}, TypeError, "key must be a single one of jax.random.key, got 3"),
        ({"lower": 1.0, "upper": 0.0}, ValueError, "lower must nowhere be above upper"),
    ],
)
def test_bad_input_names_the_argument(change, error, message, problem):
    matrix, data, _ = problem
    with pytest.raises(error, match=message):
        pwls(Matrix(jnp.asarray(matrix)), data, **{"num_iters": 1, **change})
