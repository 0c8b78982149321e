"""PDHG minimises fit plus total variation, whatever the fit, and as its theory says."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from jaxct.reconstruct.pdhg import constant_tv_weight, pdhg
from jaxct.reconstruct.spdhg import spdhg
from tests.matrix import COLS, ROWS, Matrix
from tests.operators import relative_error
from tests.solvers import positive_problem
from tests.total_variation import fit_value, minimiser, total_variation

jitted = jax.jit(pdhg, static_argnames=("num_iters", "fit"))
UPPER = np.where(np.arange(6).reshape(COLS) == 2, 0.7, np.inf)


@pytest.fixture
def problem():
    """Noisy enough that neither the exact image nor a constant one is the answer."""
    matrix, _, data = positive_problem()
    rng = np.random.default_rng(5)
    return matrix, np.maximum(data + rng.normal(0, 0.5, ROWS), 0), rng.uniform(0.3, 2, ROWS), rng.uniform(0, 0.4, ROWS)


CASES = {
    "least_squares": {"tv_weight": 0.4},
    "least_squares, weighted": {"tv_weight": 0.4, "weights": True},
    "least_squares, bounded": {"tv_weight": 0.2, "lower": 0.9, "upper": UPPER + 1},
    "least_squares, anisotropic": {"tv_weight": 0.4, "spacing": (0.5, 2.0)},
    "kullback_leibler": {"fit": "kullback_leibler", "tv_weight": 0.15, "lower": 0.0},
    "kullback_leibler, background": {
        "fit": "kullback_leibler",
        "tv_weight": 0.15,
        "lower": 0.0,
        "background": True,
        "weights": True,
    },
    "l1": {"fit": "l1", "tv_weight": 0.3, "weights": True},
}


def options(problem, case):
    """The case's options, weights and background filled in."""
    given = {name: value for name, value in CASES[case].items() if value is not True}
    filled = {"weights": problem[2], "background": problem[3]}
    return given | {name: filled[name] for name, value in CASES[case].items() if value is True}


@pytest.mark.parametrize("case", CASES)
def test_finds_the_minimiser(problem, case):
    matrix, data = problem[:2]
    chosen = options(problem, case)
    wanted = minimiser(matrix, data, COLS, **chosen)
    with jax.enable_x64(True):
        result = jitted(Matrix(jnp.asarray(matrix)), data, num_iters=4000, **chosen)
    assert relative_error(result.volume, wanted) < 1e-5
    assert np.ptp(wanted) > 0.1, "not all of one value"
    assert float(result.history["fixed_point_residual"][-1]) < 1e-6


@pytest.mark.parametrize("case", CASES)
def test_the_history_is_that_of_the_iterates(problem, case):
    matrix, data = problem[:2]
    chosen = options(problem, case)
    terms = {name: chosen[name] for name in ("weights", "background") if name in chosen}
    with jax.enable_x64(True):
        A = Matrix(jnp.asarray(matrix))  # noqa: N806
        iterates = []
        keep = lambda iteration, state, record: iterates.append(np.asarray(state.volume))  # noqa: E731
        result = pdhg(A, data, num_iters=5, init=np.ones(COLS), callback=keep, **chosen)
    for x, objective in zip(iterates, result.history["objective"], strict=True):
        value = fit_value(chosen.get("fit", "least_squares"), matrix @ x.ravel(), data, **terms)
        value += chosen["tv_weight"] * total_variation(x, chosen.get("spacing", 1.0))
        np.testing.assert_allclose(objective, value, rtol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_the_fixed_point_residual_never_rises(problem, case):
    """With steps of any size; nor is it the same all the time."""
    matrix, data = problem[:2]
    chosen = options(problem, case)
    with jax.enable_x64(True):
        A = Matrix(jnp.asarray(matrix))  # noqa: N806
        run = lambda ratio: pdhg(A, data, num_iters=300, step_ratio=ratio, **chosen).history  # noqa: E731
        steps = np.asarray(jax.jit(jax.vmap(run))(np.array([0.1, 1.0, 30.0]))["fixed_point_residual"])
    assert (np.diff(steps) <= 1e-12 * steps[:, :1]).all()
    assert (steps[:, -1] < steps[:, 0] / 2).all()


def test_an_exact_system_is_solved_without_a_penalty(problem):
    matrix, image, _ = positive_problem()
    with jax.enable_x64(True):
        result = jitted(Matrix(jnp.asarray(matrix)), matrix @ image.ravel(), num_iters=3000, tv_weight=0.0)
    np.testing.assert_allclose(result.volume, image, rtol=1e-8)


def test_step_ratio_changes_the_way_and_not_the_solution(problem):
    matrix, data = problem[:2]
    with jax.enable_x64(True):
        A = Matrix(jnp.asarray(matrix))  # noqa: N806
        run = lambda n, r: jitted(A, data, num_iters=n, tv_weight=0.4, step_ratio=r).volume  # noqa: E731
        assert relative_error(run(3, 5.0), run(3, 1.0)) > 1e-2
        assert relative_error(run(8000, 5.0), run(8000, 1.0)) < 1e-6


@pytest.mark.parametrize("fit", ["least_squares", "kullback_leibler"])
def test_from_the_constant_weight_on_the_solution_is_constant_and_the_best_of_them(problem, fit):
    matrix, data, weights, background = problem
    terms = {"weights": weights} | ({"background": background} if fit == "kullback_leibler" else {})
    with jax.enable_x64(True):
        A = Matrix(jnp.asarray(matrix))  # noqa: N806
        unit = float(constant_tv_weight(A, data, fit=fit, **terms))
        run = lambda share: np.asarray(  # noqa: E731
            jitted(A, data, num_iters=6000, fit=fit, tv_weight=share * unit, **terms).volume
        )
        flat, less = run(1.2), run(0.3)
    assert np.ptp(flat) < 1e-6 * flat.mean()
    assert np.ptp(less) > 1e-2 * less.mean()
    value = lambda c: fit_value(fit, c * matrix.sum(1), data, **terms)  # noqa: E731
    best = flat.mean()
    assert value(best) < min(value(best * 1.001), value(best * 0.999))


def test_the_constant_weight_scales_as_the_weight_does(problem):
    matrix, data = problem[:2]
    with jax.enable_x64(True):
        A = Matrix(jnp.asarray(matrix))  # noqa: N806
        unit = constant_tv_weight(A, data)
        np.testing.assert_allclose(constant_tv_weight(A, 3 * data), 3 * unit, rtol=1e-12)
        np.testing.assert_allclose(constant_tv_weight(A, data, spacing=0.5), unit / 2, rtol=1e-12)
        np.testing.assert_allclose(constant_tv_weight(A, data, weights=2.0), 2 * unit, rtol=1e-12)
        np.testing.assert_allclose(
            constant_tv_weight(A, 7 * matrix.sum(1), fit="kullback_leibler"), 0, atol=1e-12, err_msg="constant data"
        )
    with pytest.raises(ValueError, match=r"fit .*'l1'"):
        constant_tv_weight(A, data, fit="l1")


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_units_do_not_matter(problem, scale):
    """Of the data; of lengths; of both dual variables: single precision is enough in any of them."""
    matrix, data = problem[:2]
    A = Matrix(jnp.asarray(matrix, jnp.float32))  # noqa: N806
    wanted = jitted(A, data, num_iters=50, tv_weight=0.4).volume
    data_scaled = jitted(A, scale * data, num_iters=50, tv_weight=0.4 * scale).volume
    B = Matrix(jnp.asarray(scale * matrix, jnp.float32))  # noqa: N806
    path_scaled = jitted(B, data, num_iters=50, tv_weight=0.4 * scale).volume
    spaced = jitted(A, data, num_iters=50, tv_weight=0.4 * scale, spacing=scale).volume
    weighted = jitted(A, data, num_iters=50, tv_weight=0.4 * scale, weights=scale).volume
    for got in (data_scaled / scale, path_scaled * scale, spaced, weighted):
        assert relative_error(got, wanted) < 1e-5


def test_one_pair_of_projections_for_the_steps_and_one_an_iteration(problem):
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
    A = Counted(jnp.asarray(problem[0]))  # noqa: N806
    jax.eval_shape(lambda d: pdhg(A, d, num_iters=4, tv_weight=0.1), problem[1])
    assert calls == ["A", "A^T", "A^T", "A"], "the loop's body is traced once"


def test_rays_without_weight_are_left_out(problem):
    """Whatever their data: those of weight zero, and those that meet no voxel."""
    matrix, data = problem[:2]
    matrix[3] = 0
    weights = np.ones(ROWS)
    weights[7] = 0
    kept = np.delete(np.arange(ROWS), (3, 7))
    for fit in ("least_squares", "kullback_leibler"):
        chosen = {"num_iters": 50, "tv_weight": 0.2, "fit": fit}
        with jax.enable_x64(True):
            wanted = jitted(Matrix(jnp.asarray(matrix[kept])), data[kept], **chosen)
            data[[3, 7]] = 1e9
            got = jitted(Matrix(jnp.asarray(matrix)), data, weights=weights, **chosen)
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("fit", ["least_squares", "kullback_leibler"])
def test_rays_without_weight_may_have_data_that_are_nan(problem, fit):
    """In the iterates, their derivative in the image's operator, and the weight from which on they are constant."""
    matrix, data, weights, background = problem
    weights[7] = 0
    unknown = np.where(np.arange(ROWS) == 7, np.nan, data)
    options = {"fit": fit, "weights": weights} | ({"background": background} if fit == "kullback_leibler" else {})

    def reached(matrix, data):
        result = jitted(Matrix(matrix), data, num_iters=5, tv_weight=0.2, **options)
        return result.history["objective"][-1], constant_tv_weight(Matrix(matrix), data, **options)

    with jax.enable_x64(True):
        for f in (reached, jax.jacfwd(reached)):
            for got, wanted in zip(f(jnp.asarray(matrix), unknown), f(jnp.asarray(matrix), data), strict=True):
                assert np.isfinite(wanted).all()
                np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("solve", [partial(pdhg, tv_weight=0.1), partial(spdhg, tv_weight=0.1, num_subsets=2)])
def test_negative_counts_are_refused_under_jit_too(problem, solve):
    A = Matrix(jnp.asarray(problem[0]))  # noqa: N806
    with pytest.raises(ValueError, match="data must not be negative, got -1"):
        jax.jit(lambda: solve(A, -np.ones(ROWS), num_iters=1, fit="kullback_leibler"))()


def test_a_voxel_that_no_ray_meets_takes_its_neighbours_value(problem):
    matrix, data = problem[:2]
    matrix[:, 1] = 0
    with jax.enable_x64(True):
        x = np.asarray(jitted(Matrix(jnp.asarray(matrix)), data, num_iters=4000, tv_weight=0.3).volume)
    assert min(x[0, 0], x[0, 2], x[1, 1]) - 1e-6 <= x[0, 1] <= max(x[0, 0], x[0, 2], x[1, 1]) + 1e-6


def test_nan_is_not_hidden(problem):
    unsound = Matrix(jnp.full((ROWS, 6), jnp.nan))
    assert np.isnan(jitted(unsound, problem[1], num_iters=3, tv_weight=0.1).volume).all()
    data = problem[1].copy()
    data[2] = np.nan
    assert np.isnan(jitted(Matrix(jnp.asarray(problem[0])), data, num_iters=3, tv_weight=0.1).volume).any()


def test_data_of_nothing_give_nothing(problem):
    for fit in ("least_squares", "kullback_leibler", "l1"):
        result = jitted(
            Matrix(jnp.asarray(problem[0])), np.zeros(ROWS), num_iters=60, tv_weight=0.1, lower=0.0, fit=fit
        )
        np.testing.assert_allclose(result.volume, 0, atol=1e-6)


@pytest.mark.parametrize("case", ["least_squares, bounded", "kullback_leibler, background", "l1"])
def test_derivatives_of_an_iterate(problem, case):
    """In the data and the weight of total variation, by finite differences."""
    matrix, data = problem[:2]
    chosen = options(problem, case)
    weight = chosen.pop("tv_weight")
    direction = np.random.default_rng(2).normal(size=ROWS)
    with jax.enable_x64(True):
        A, v = Matrix(jnp.asarray(matrix)), jnp.asarray(np.random.default_rng(3).normal(size=COLS))  # noqa: N806

        @jax.jit
        def f(t):
            d = data + 0.3 + t * direction
            return jnp.vdot(v, pdhg(A, d, num_iters=8, tv_weight=weight * (1 + t), **chosen).volume)

        h = 1e-6
        np.testing.assert_allclose(jax.grad(f)(0.0), (f(h) - f(-h)) / (2 * h), rtol=1e-5)


def test_beats_fdk_where_views_are_few():
    """Eight views of a disc with two inserts, reconstructed on 32 x 32 pixels."""
    beam = jaxct.ParallelBeam(jaxct.geometry.trajectories.circle(8, arc=np.pi), detector_shape=(48,))
    grid = jaxct.VolumeGrid((32, 32))
    y, x = np.mgrid[:32, :32] - 15.5
    truth = (np.hypot(y, x) < 13) * 1.0 + (np.hypot(y - 4, x + 3) < 4) - 0.6 * (np.hypot(y + 5, x - 2) < 3)
    A = jaxct.Projector(beam, grid)  # noqa: N806

    @jax.jit
    def solve(truth):
        data = A(truth)
        volume = pdhg(A, data, num_iters=300, tv_weight=3e-4 * constant_tv_weight(A, data), lower=0.0).volume
        return volume, jaxct.reconstruct.fbp(data, beam, grid)

    volume, analytic = solve(truth.astype(np.float32))
    assert relative_error(volume, truth) < 0.2 * relative_error(analytic, truth)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"fit": "poisson"}, ValueError, "fit must be one of .*'poisson'"),
        ({"tv_weight": -0.1}, ValueError, "tv_weight must not be negative, got -0.1"),
        ({"tv_weight": np.ones(2)}, ValueError, r"tv_weight .*\(2,\)"),
        ({"weights": -np.ones(ROWS)}, ValueError, "weights must not be negative, got -1"),
        ({"weights": np.ones(3)}, ValueError, r"weights .*\(14,\), got shape \(3,\)"),
        ({"background": 1.0}, ValueError, "background: only for fit='kullback_leibler'"),
        ({"fit": "kullback_leibler", "background": -1.0}, ValueError, "background must not be negative"),
        ({"fit": "kullback_leibler", "data": -np.ones(ROWS)}, ValueError, "data must not be negative"),
        ({"spacing": (1.0, 0.0)}, ValueError, "spacing .* 0"),
        ({"spacing": (1.0, 1.0, 1.0)}, ValueError, r"spacing .*\(2,\), got shape \(3,\)"),
        ({"step_ratio": 0.0}, ValueError, "step_ratio .* 0"),
        ({"lower": 1.0, "upper": 0.0}, ValueError, "lower must nowhere be above upper"),
    ],
)
def test_bad_input_names_the_argument(problem, change, error, message):
    arguments = {"data": problem[1], "num_iters": 1, "tv_weight": 0.1, **change}
    with pytest.raises(error, match=message):
        pdhg(Matrix(jnp.asarray(problem[0])), **arguments)
