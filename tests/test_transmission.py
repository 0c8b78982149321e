"""MLTR climbs the likelihood of transmission counts to its top, and needs fewer of them than their logarithms do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxct
from jaxct.metrics import nrmse
from jaxct.phantoms.noise import photon_counts
from jaxct.reconstruct.fbp import fbp
from jaxct.reconstruct.sirt import sirt
from jaxct.reconstruct.subsets import ordered_subsets
from jaxct.reconstruct.transmission import CURVATURES, _optimum, _Rays, mltr
from tests.matrix import COLS, ROWS, Matrix
from tests.operators import relative_error

jitted = jax.jit(mltr, static_argnames=("num_iters", "curvature", "num_subsets", "order"))


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def problem():
    """A positive matrix with counts that no image explains: matrix, counts, blank."""
    rng = np.random.default_rng(0)
    matrix = rng.uniform(size=(ROWS, 6)) * (rng.uniform(size=(ROWS, 6)) < 0.5)
    matrix[np.arange(ROWS), np.arange(ROWS) % 6] += 1
    blank = rng.uniform(20, 60, size=ROWS)
    return matrix, rng.poisson(blank * np.exp(-matrix @ rng.uniform(0, 1, size=6))).astype(float), blank


def expected_counts(lines, blank, background):
    return blank * np.exp(-lines) + background


def log_likelihood(counts, expected):
    safe = np.where(counts > 0, counts, 1)
    return np.sum(counts * np.log(expected / safe) - expected + counts)


def mean_curvature(lines, counts, blank, background):
    """The mean of -h'' over [0, l] with the weight 2 s / l^2, by a rule of 200 points."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    s = (1 + nodes) / 2 * lines[:, None]
    behind, expected = blank[:, None] * np.exp(-s), expected_counts(s, blank[:, None], background[:, None])
    return behind * (1 - counts[:, None] * background[:, None] / expected**2) @ (weights * (1 + nodes) / 2)


def numpy_mltr(parts, volume, num_iters, curvature, upper=np.inf):
    """The last image and the likelihoods as the parts found them; a part: rows, counts, blank, background."""
    likelihoods = []
    for _ in range(num_iters):
        likelihoods.append(0.0)
        for rows, counts, blank, background in parts:
            lines = rows @ volume
            behind, expected = expected_counts(lines, blank, 0), expected_counts(lines, blank, background)
            likelihoods[-1] += log_likelihood(counts, expected)
            if curvature == "precomputed":
                whole = np.concatenate([p[0].sum(1) * np.maximum(p[1] - p[3], 0) ** 2 / p[1] for p in parts])
                denominator = np.concatenate([p[0] for p in parts]).T @ whole / len(parts)
            else:
                optimum = np.maximum(mean_curvature(lines, counts, blank, background), 0)
                denominator = rows.T @ (rows.sum(1) * (optimum if curvature == "optimum" else behind**2 / expected))
            volume = np.clip(volume + rows.T @ (behind * (1 - counts / expected)) / denominator, 0, upper)
    return volume, likelihoods


@pytest.mark.parametrize("curvature", CURVATURES)
@pytest.mark.parametrize("num_subsets", [1, 3])
def test_agrees_with_the_formula_on_the_explicit_matrix(problem, curvature, num_subsets):
    matrix, counts, blank = problem
    counts = counts + 1
    rng = np.random.default_rng(1)
    init, background = rng.uniform(-0.2, 1, size=COLS), rng.uniform(0, 3, size=ROWS)
    subsets = ordered_subsets(ROWS, num_subsets)
    counted = np.ones(subsets.views.shape, bool) if subsets.counted is None else np.asarray(subsets.counted)
    views = [np.asarray(v)[c] for v, c in zip(subsets.views, counted, strict=True)]
    parts = [(matrix[v], counts[v], blank[v], background[v]) for v in views]
    options = {"num_iters": 4, "curvature": curvature, "upper": 0.55}
    result = jitted(
        Matrix(jnp.asarray(matrix)), counts, blank=blank, background=background, init=init,
        num_subsets=num_subsets, **options,
    )  # fmt: skip
    volume, likelihoods = numpy_mltr(parts, np.clip(init.ravel(), 0, 0.55), **options)
    assert relative_error(np.ravel(result.volume), volume) < 1e-11
    assert (np.asarray(result.volume) == 0.55).any()
    if num_subsets == 1:  # after the steps, not before
        last = log_likelihood(counts, expected_counts(matrix @ volume, blank, background))
        likelihoods = [*likelihoods[1:], last]
    np.testing.assert_allclose(result.history["log_likelihood"], likelihoods, rtol=1e-10)


@pytest.mark.parametrize(("dtype", "bound"), [(np.float32, 2e-5), (np.float64, 1e-13)])
@pytest.mark.parametrize("with_background", [False, True])
def test_the_optimum_curvature_keeps_its_digits_at_short_and_long_lines(dtype, bound, with_background):
    lines = np.repeat(np.geomspace(1e-6, 40, 60), 3)
    lines[:3] = 0
    blank, background = np.full(lines.size, 1e4), np.tile([1e-3, 3.0, 1e5], 60) * with_background
    counts = np.round(expected_counts(0.9 * lines, blank, background))
    wanted = mean_curvature(lines, counts, blank, background)
    arrays = [jnp.asarray(a, dtype) for a in (lines, counts, blank, background)]
    rays = _Rays(*arrays[1:3], arrays[3] if with_background else None, arrays[0])
    got = np.asarray(_optimum(arrays[0], rays))
    assert got.dtype == dtype
    scale = mean_curvature(lines, 0 * counts, blank, background)  # what it is the difference of
    assert (np.abs(got - np.maximum(wanted, 0)) <= bound * np.maximum(scale, 1)).all()


def test_the_paraboloids_lie_below_the_likelihood():
    rng = np.random.default_rng(3)
    touch, blank, background = rng.uniform(0, 8, 200), rng.uniform(1, 1e3, 200), rng.uniform(0, 50, 200)
    counts = rng.poisson(expected_counts(rng.uniform(0, 8, 200), blank, background)).astype(float)
    curvature = np.asarray(_optimum(touch, _Rays(counts, blank, background, touch)))

    def h(lines):
        expected = expected_counts(lines, blank, background)
        return counts * np.log(expected) - expected

    behind = expected_counts(touch, blank, 0)
    slope = behind * (1 - counts / (behind + background))
    for lines in np.linspace(0, 12, 100):
        paraboloid = h(touch) + slope * (lines - touch) - curvature / 2 * (lines - touch) ** 2
        assert (paraboloid <= h(lines) + 1e-11 * np.abs(h(touch))).all()


@pytest.mark.parametrize("start", [0.0, 3.0])
@pytest.mark.parametrize("background", [None, 5.0])
def test_the_likelihood_never_falls_and_the_end_is_the_most_likely_image(problem, background, start):
    """By the conditions of Karush, Kuhn and Tucker, with voxels at both bounds."""
    matrix, counts, blank = problem
    counts[matrix[:, 1] > 0] += 30
    upper = np.array([[np.inf, np.inf, 0.3], [np.inf] * 3])
    result = jitted(
        Matrix(jnp.asarray(matrix)), counts, blank=blank, background=background, upper=upper,
        init=np.full(COLS, start), num_iters=3000,
    )  # fmt: skip
    likelihoods = np.asarray(result.history["log_likelihood"])
    assert (np.diff(likelihoods) >= -1e-13 * np.abs(likelihoods[0])).all()
    assert likelihoods[-1] < -1, "no image explains the counts"
    image = np.ravel(result.volume)
    expected = expected_counts(matrix @ image, blank, background or 0)
    gradient = matrix.T @ ((expected - (background or 0)) * (1 - counts / expected))
    assert image[2] == 0.3
    assert gradient[2] > 0
    assert image[1] == 0
    assert gradient[1] < 0
    inside = (image > 0) & (image < upper.ravel())
    assert inside.sum() >= 2
    assert np.abs(gradient[inside]).max() < 1e-9 * blank.sum()


@pytest.mark.parametrize("curvature", CURVATURES)
def test_exact_counts_of_an_image_give_the_image(problem, curvature):
    matrix, _, blank = problem
    image = np.random.default_rng(1).uniform(0.2, 1, size=COLS)
    counts = expected_counts(matrix @ image.ravel(), blank, 2.0)
    result = jitted(
        Matrix(jnp.asarray(matrix)), counts, blank=blank, background=2.0, num_iters=2000, curvature=curvature
    )
    np.testing.assert_allclose(result.volume, image, rtol=1e-8)


@pytest.fixture(scope="module")
def scan():
    """Few photons: operator, image (up to 4.5 in a line integral), noisy counts, blank, background."""
    geometry = jaxct.ParallelBeam(np.linspace(0, np.pi, 48, endpoint=False), detector_shape=(32,))
    A = jaxct.Projector(geometry, jaxct.VolumeGrid((24, 24)))  # noqa: N806
    y, x = np.mgrid[-11.5:12, -11.5:12]
    image = 0.16 * (x**2 + y**2 < 110) + 0.12 * ((x - 4) ** 2 + y**2 < 9) - 0.1 * ((x + 4) ** 2 + (y - 2) ** 2 < 12)
    image = jnp.asarray(image, jnp.float32)
    counts = photon_counts(jax.random.key(0), A(image), 60.0)
    return A, image, counts + jax.random.poisson(jax.random.key(1), 1.0, counts.shape), 60.0, 1.0


def test_with_few_counts_it_beats_sirt_of_the_logarithms(scan):
    """Each stopped where it is best."""
    A, image, counts, blank, background = scan  # noqa: N806
    assert (counts < 2).mean() > 0.05
    logarithms = jnp.log(blank / jnp.maximum(counts - background, 0.5))
    best = []
    for solve, data, options in (
        (mltr, counts, {"blank": blank, "background": background}),
        (sirt, logarithms, {"lower": 0.0}),
    ):
        errors = []
        solve(
            A, data, num_iters=60, callback=lambda i, s, r, e=errors: e.append(float(nrmse(s.volume, image))), **options
        )
        best.append(min(errors))
    assert best[0] < 0.9 * best[1]


@pytest.mark.parametrize("curvature", CURVATURES)
def test_a_pass_is_worth_about_as_many_iterations_as_there_are_subsets(scan, curvature):
    A, _, counts, blank, background = scan  # noqa: N806
    logarithms = jnp.log(blank / jnp.maximum(counts - background, 0.5))
    start = fbp(logarithms, A.geometry, A.grid, window="hann")
    options = {"blank": blank, "background": background, "init": start, "curvature": curvature}
    whole = np.asarray(jitted(A, counts, num_iters=16, **options).history["log_likelihood"])
    image = jitted(A, counts, num_iters=2, num_subsets=6, **options).volume
    by_parts = log_likelihood(np.asarray(counts), expected_counts(np.asarray(A(image)), blank, background))
    assert whole[7] < by_parts < whole[15]


@pytest.mark.parametrize(("options", "calls"), [({}, "A A^T A^T A"), ({"curvature": "precomputed"}, "A A^T A^T A")])
def test_what_an_iteration_costs(problem, options, calls):
    """One projection for the rays' lengths (and one back, of what is computed once), then the iteration's own."""
    seen = []

    class Counted(Matrix):
        def __call__(self, x):
            seen.append("A")
            return super().__call__(x)

        @property
        def T(self):  # noqa: N802
            seen.append("A^T")
            return super().T

    jax.tree_util.register_dataclass(Counted, ["values"], [])
    matrix, counts, blank = problem
    operator = Counted(jnp.asarray(matrix))
    jax.eval_shape(lambda d: mltr(operator, d, blank=blank, num_iters=4, **options), counts)
    assert " ".join(seen) == calls


def test_single_precision_stays_single_and_climbs_too(problem):
    matrix, counts, blank = problem
    result = mltr(
        Matrix(jnp.asarray(matrix, jnp.float32)), counts.astype(np.float32), blank=blank, background=0.5, num_iters=200
    )
    assert result.volume.dtype == result.history["log_likelihood"].dtype == np.float32
    likelihoods = np.asarray(result.history["log_likelihood"])
    assert (np.diff(likelihoods) >= -1e-5 * np.abs(likelihoods).max()).all()


@pytest.mark.parametrize("num_subsets", [1, 4])
def test_derivatives_of_an_iterate(problem, num_subsets):
    matrix, counts, blank = problem

    def run(matrix, counts, blank, background):
        return mltr(
            Matrix(matrix),
            counts,
            blank=blank,
            background=background,
            num_iters=3 - num_subsets // 2,
            num_subsets=num_subsets,
        )

    arguments = (matrix + 0.1, counts + 0.5, blank, np.full(ROWS, 0.2))
    check_grads(jax.jit(run), arguments, order=1, modes=("rev",), eps=1e-6)


def test_nothing_counted_and_nothing_seen(problem):
    """Rays without counts, a ray that misses the volume, a voxel that no ray meets."""
    matrix, counts, blank = problem
    matrix[3], matrix[:, 4], counts[5] = 0, 0, 0
    for options in ({}, {"background": 0.5}, {"curvature": "fisher"}, {"num_subsets": 4, "background": 1.0}):
        init = np.full(COLS, 0.2)
        result = mltr(Matrix(jnp.asarray(matrix)), counts, blank=blank, num_iters=20, init=init, **options)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result))
        assert result.volume[1, 1] == 0.2


def test_data_that_are_nan_show(problem):
    matrix, counts, blank = problem
    counts[3] = np.nan
    result = mltr(Matrix(jnp.asarray(matrix)), counts, blank=blank, num_iters=3)
    assert np.isnan(result.volume).any()
    assert np.isnan(result.history["log_likelihood"]).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"data": np.full(ROWS, -1.0)}, ValueError, "data must not be negative, got -1"),
        ({"blank": 0.0}, ValueError, "blank must be positive .* 0"),
        ({"blank": np.ones(3)}, ValueError, r"blank must broadcast to .*\(14,\), got shape \(3,\)"),
        ({"background": -0.5}, ValueError, "background must not be negative, got -0.5"),
        ({"upper": -1.0}, ValueError, "upper, got 0 above -1"),
        ({"curvature": "maximum"}, ValueError, "curvature .* 'maximum'"),
        ({"num_subsets": 15}, ValueError, "num_subsets .* 14, got 15"),
        ({"num_subsets": 2, "order": "golden"}, ValueError, "order .* 'golden'"),
        ({"order": "golden"}, ValueError, "order .* 'golden'"),
        ({"num_subsets": 1.0}, TypeError, "num_subsets .* 1.0"),
        ({"key": 3}, TypeError, "key must be a single one of jax.random.key, got 3"),
    ],
)
def test_bad_input_names_the_argument(problem, change, error, message):
    matrix, counts, blank = problem
    with pytest.raises(error, match=message):
        mltr(Matrix(jnp.asarray(matrix)), **{"data": counts, "blank": blank, "num_iters": 1, **change})
