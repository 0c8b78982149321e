"""MAP-EM climbs the posterior without a step size, to where no image is more probable; with a pull in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxct import priors
from jaxct._emission import pulled_em_step
from jaxct.reconstruct._poisson import log_likelihood
from jaxct.reconstruct.map_em import map_em, map_em_step
from jaxct.reconstruct.mlem import mlem
from tests.emission import CURVATURE, counted_problem, quadratic
from tests.matrix import COLS, ROWS, Matrix
from tests.operators import relative_error


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def problem():
    return counted_problem()


def huber(x):
    return 0.7 * priors.huber(x, delta=0.3)


PRIORS = {
    "none": (None, None),
    "quadratic": (quadratic, CURVATURE),
    "huber": (huber, 0.7 * priors.pair_curvature(COLS)),
}


def test_the_step_is_the_positive_root(problem):
    matrix, data = problem
    A, rng = Matrix(jnp.asarray(matrix)), np.random.default_rng(1)  # noqa: N806
    x, target = rng.uniform(0.5, 2, COLS), 3 * rng.normal(size=COLS)
    rho = np.array([[0.0, 1e-3, 0.5], [2.0, 1e3, 1e6]])
    s, background = A.T(np.ones(ROWS)), 0.3
    em = x / s * A.T(data / (A(x) + background))
    got = map_em_step(A, data, x, sensitivity=s, pull=rho, target=target, background=background)
    for j in np.ndindex(COLS):
        coefficients = [rho[j], float(s[j]) - rho[j] * target[j], -float(s[j] * em[j])]
        roots = [r for r in np.roots(coefficients) if r >= 0]
        assert got[j] == pytest.approx(max(roots), rel=1e-9)
    assert got[0, 0] == em[0, 0]


@pytest.mark.parametrize("rho", [1e-6, 1.0, 1e6])
def test_the_root_has_all_its_digits_in_single_precision(rho):
    rng = np.random.default_rng(2)
    em, s, m = rng.uniform(0, 2, 1000), rng.uniform(0.1, 10, 1000), rng.normal(scale=3, size=1000)
    exact = pulled_em_step(*(jnp.asarray(a) for a in (em, s, rho * np.ones(1000), rho * m)))
    single = pulled_em_step(*(jnp.asarray(a, jnp.float32) for a in (em, s, rho * np.ones(1000), rho * m)))
    assert single.dtype == jnp.float32
    # s - rho m may cancel to what is left of the rounding of its terms: of the result it is a share of the larger one.
    slope = np.abs(s - rho * m)
    conditioned = slope > 0.01 * (s + rho * np.abs(m))
    np.testing.assert_allclose(np.asarray(single)[conditioned], np.asarray(exact)[conditioned], rtol=5 * 2**-23 / 0.01)


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("pull", [0.0, 0.8])
def test_the_objective_never_falls_and_the_end_is_the_most_probable_image(problem, name, pull):
    matrix, data = problem
    prior, curvature = PRIORS[name]
    A, target = Matrix(jnp.asarray(matrix)), np.linspace(-2, 3, 6).reshape(COLS)  # noqa: N806
    result = jax.jit(
        lambda data: map_em(
            A, data, num_iters=3000, prior=prior, curvature=curvature, pull=pull, target=target, background=1.5
        )
    )(data)

    def objective(x):
        cost = jnp.sum(pull * (x - target) ** 2) / 2 + (0 if prior is None else prior(x))
        return log_likelihood(data, A(x) + 1.5) - cost

    values = np.asarray(result.history["objective"])
    assert (np.diff(values) >= -1e-12 * np.abs(values[:-1])).all()
    assert values[-1] == pytest.approx(float(objective(result.volume)), rel=1e-12)
    image, slope = np.ravel(result.volume), np.ravel(jax.grad(objective)(result.volume))
    assert (slope < 1e-4).all()
    np.testing.assert_allclose(image * slope, 0, atol=1e-5)


def test_without_a_prior_it_is_mlem(problem):
    matrix, data = problem
    A, options = Matrix(jnp.asarray(matrix)), {"num_iters": 5, "background": 0.5, "init": np.ones(COLS)}  # noqa: N806
    got, wanted = map_em(A, data, **options), mlem(A, data, **options)
    assert relative_error(got.volume, wanted.volume) < 1e-14
    np.testing.assert_allclose(got.history["objective"], wanted.history["log_likelihood"], rtol=1e-12)


def test_a_prior_that_pulls_is_the_pull(problem):
    """A parabola as a prior, with its own curvature, is taken exactly."""
    matrix, data = problem
    A, target = Matrix(jnp.asarray(matrix)), np.linspace(-1, 3, 6).reshape(COLS)  # noqa: N806
    as_prior = map_em(A, data, num_iters=6, prior=lambda x: 0.35 * jnp.sum((x - target) ** 2), curvature=0.7)
    as_pull = map_em(A, data, num_iters=6, pull=0.7, target=target)
    assert relative_error(as_prior.volume, as_pull.volume) < 1e-13
    np.testing.assert_allclose(as_prior.history["objective"], as_pull.history["objective"], rtol=1e-11)


def test_events_give_the_images_of_their_histogram(problem):
    matrix, data = problem
    rays = np.repeat(np.arange(ROWS), data.astype(int))
    options = {"num_iters": 6, "prior": quadratic, "curvature": PRIORS["quadratic"][1], "background": 0.4}
    s = matrix.sum(0).reshape(COLS)
    listed = map_em(Matrix(jnp.asarray(matrix[rays])), np.ones(len(rays)), sensitivity=s, **options)
    binned = map_em(Matrix(jnp.asarray(matrix)), data, **options)
    assert relative_error(listed.volume, binned.volume) < 1e-13
    apart = listed.history["objective"] - binned.history["objective"]
    np.testing.assert_allclose(apart, apart[0], rtol=1e-12)


def test_voxels_that_nothing_sees_go_where_they_are_pulled_or_stay(problem):
    matrix, data = problem
    matrix[:, 1] = matrix[:, 4] = 0
    A, target = Matrix(jnp.asarray(matrix)), np.array([[1.0, -3.0, 1.0], [1.0, 5.0, 1.0]])  # noqa: N806
    assert np.ravel(map_em(A, data, num_iters=3, pull=0.2, target=target).volume)[[1, 4]].tolist() == [0, 5]
    step = map_em_step(A, data, jnp.ones(COLS), sensitivity=A.T(np.ones(ROWS)), pull=0.0, target=target)
    assert np.ravel(step)[[1, 4]].tolist() == [1, 1]


def test_derivatives_of_a_step_in_image_target_and_pull(problem):
    matrix, data = problem
    A = Matrix(jnp.asarray(matrix))  # noqa: N806
    s, rng = A.T(np.ones(ROWS)), np.random.default_rng(3)

    def step(x, target, pull, data):
        return map_em_step(A, data, x, sensitivity=s, pull=pull, target=target, background=0.3)

    at = (rng.uniform(0.5, 2, COLS), 3 * rng.normal(size=COLS), jnp.array(0.7), data + 0.5)
    check_grads(jax.jit(step), at, order=1, modes=("rev",), eps=1e-6)


def test_images_alone_are_kept_for_the_derivative_of_a_step(problem):
    """Beside the data and the background, which are there anyway."""
    matrix, data = problem
    A = Matrix(jnp.asarray(matrix))  # noqa: N806
    s, data, background = A.T(np.ones(ROWS)), jnp.asarray(data), jnp.full(ROWS, 0.3)
    step = lambda x, m: map_em_step(A, data, x, sensitivity=s, pull=0.7, target=m, background=background)  # noqa: E731
    _, pull_back = jax.vjp(lambda x, m: step(step(x, m), m), jnp.ones(COLS), jnp.ones(COLS))
    kept = [leaf for leaf in jax.tree.leaves(pull_back) if jnp.shape(leaf) == (ROWS,)]
    assert all(any(np.array_equal(leaf, given) for given in (data, background)) for leaf in kept)
    images = [leaf for leaf in jax.tree.leaves(pull_back) if jnp.shape(leaf) == COLS]
    assert len(images) >= 2
    calls = []

    class Counted(Matrix):
        def __call__(self, x):
            calls.append("A")
            return super().__call__(x)

        @property
        def T(self):  # noqa: N802
            calls.append("A^T")
            return super().T

    jax.tree_util.register_dataclass(Counted, ["values"], [])
    jax.eval_shape(lambda x: map_em_step(Counted(A.values), data, x, sensitivity=s, pull=0.7, target=x), jnp.ones(COLS))
    assert calls == ["A", "A^T"] or calls == ["A^T", "A"]


def test_a_step_takes_operators_that_are_no_pytrees(problem):
    matrix, data = problem

    class Plain:
        in_shape, out_shape, T = COLS, (ROWS,), staticmethod(Matrix(jnp.asarray(matrix)).T)

        def __call__(self, x):
            return Matrix(jnp.asarray(matrix))(x)

    def step(x, A):  # noqa: N803
        s = A.T(jnp.ones(ROWS))
        return jnp.sum(map_em_step(A, jnp.asarray(data), x, sensitivity=s, pull=0.7, target=x**2) ** 2)

    got, wanted = (jax.grad(step)(jnp.ones(COLS), A) for A in (Plain(), Matrix(jnp.asarray(matrix))))
    np.testing.assert_allclose(got, wanted, rtol=1e-12)


def test_derivatives_of_an_iterate(problem):
    matrix, data = problem

    def run(matrix, data, background, target):
        return map_em(
            Matrix(matrix),
            data,
            num_iters=3,
            prior=quadratic,
            curvature=PRIORS["quadratic"][1],
            pull=0.3,
            target=target,
            background=background,
        )

    at = (matrix + 0.1, data + 0.5, np.full(ROWS, 0.2), np.linspace(-1, 2, 6).reshape(COLS))
    check_grads(jax.jit(run), at, order=1, modes=("rev",), eps=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"data": np.full(ROWS, -1.0)}, ValueError, "data must not be negative, got -1"),
        ({"background": -0.5}, ValueError, "background must not be negative, got -0.5"),
        ({"sensitivity": -0.5}, ValueError, "sensitivity must not be negative, got -0.5"),
        ({"prior": quadratic}, ValueError, "prior and curvature belong together"),
        ({"curvature": 1.0}, ValueError, "prior and curvature belong together"),
        ({"prior": 3.0, "curvature": 1.0}, TypeError, "prior must be a function, got 3.0"),
        ({"prior": quadratic, "curvature": -1.0}, ValueError, "curvature must not be negative, got -1"),
        ({"pull": -1.0}, ValueError, "pull must not be negative, got -1"),
        ({"target": np.ones(6)}, ValueError, r"target .*\(2, 3\), got shape \(6,\)"),
        ({"target": np.inf}, ValueError, "target must be finite"),
    ],
)
def test_bad_input_names_the_argument(problem, change, error, message):
    matrix, data = problem
    with pytest.raises(error, match=message):
        map_em(Matrix(jnp.asarray(matrix)), **{"data": data, "num_iters": 1, **change})
