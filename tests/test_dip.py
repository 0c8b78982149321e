"""The deep image prior: what it minimises, when it stops, what it is fed; and that it is worth it."""

import itertools
import runpy
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxct
from jaxct import priors
from jaxct.nn import UNet
from jaxct.reconstruct import cgls, fbp, stopping
from jaxct.reconstruct.dip import dip
from tests.matrix import COLS, ROWS, Matrix
from tests.networks import TwoConvolutions, filled
from tests.operators import relative_error
from tests.solvers import positive_problem

EXAMPLE = Path(__file__).resolve().parents[1] / "docs" / "examples" / "dip.py"


@pytest.fixture
def problem():
    """In double precision, where equal is equal; a few compiled steps serve all that have it."""
    matrix, image, data = positive_problem()
    with jax.enable_x64(True):
        yield Matrix(jnp.asarray(matrix)), jnp.asarray(data), jnp.asarray(image)


def small(**options):
    return {"num_iters": 8, "network": filled(TwoConvolutions), **options}


def outputs_of(A, data, **options):  # noqa: N803
    """The network's output in every iteration."""
    seen = []
    dip(A, data, averaging=0.0, callback=lambda _, state, record: seen.append(np.asarray(state.volume)), **options)
    return seen


def scan_of_disks(size=40, num_views=12, noise=0.03):
    """Disks, their fan-beam projections, computed exactly and with noise, and the operator."""
    beam = jaxct.FanBeam(
        jaxct.geometry.trajectories.circle(num_views),
        source_origin_distance=3.0 * size,
        source_detector_distance=4.5 * size,
        detector_shape=(3 * size // 2,),
        pixel_size=1.5,
    )
    grid = jaxct.VolumeGrid((size, size))
    # Radius, y, x, value.
    places = (
        size
        / 48
        * np.array([[20.0, 0.0, 0.0, 0.6], [6.0, -7.0, 6.0, 0.6], [5.0, 8.0, 5.0, -0.6], [4.0, 2.0, -10.0, 0.36]])
    )
    disks = [jaxct.phantoms.disk(r, center=(y, x), value=value) for r, y, x, value in places]
    exact = sum(disk.project(beam) for disk in disks)
    data = exact + noise * exact.max() * jax.random.normal(jax.random.key(1), exact.shape)
    return sum(disk.rasterize(grid) for disk in disks), data, jaxct.Projector(beam, grid, model="joseph")


def test_it_beats_fbp_by_four_decibels_from_few_noisy_views():
    """And by three CGLS, which is stopped where the truth says it is best."""
    truth, data, A = scan_of_disks()  # noqa: N806
    psnr = lambda x: float(jaxct.metrics.psnr(x, truth, data_range=1.0))  # noqa: E731
    make = lambda: UNet(2, features=(16, 32, 32), in_channels=8, final_activation=nnx.softplus, rngs=nnx.Rngs(0))  # noqa: E731
    found = dip(A, data, num_iters=450, network=nnx.jit(make)()).volume
    assert float(found.min()) >= 0
    assert psnr(found) > 4 + max(psnr(fbp(data, A.geometry, A.grid, window=window)) for window in ("ram-lak", "hann"))
    assert psnr(found) > 3 + max(psnr(cgls(A, data, num_iters=n).volume) for n in (3, 4, 5, 6, 8, 10))


@pytest.mark.parametrize("tv_weight", [0.0, 0.3])
def test_a_step_goes_down_the_gradient_of_the_objective(problem, tv_weight):
    A, data, _ = problem  # noqa: N806
    states = []
    options = {"tv_weight": tv_weight, "spacing": (2.0, 0.5), "input_noise": 0.0, "optimizer": optax.sgd(0.25)}
    dip(A, data, **small(num_iters=2, **options), callback=lambda *args: states.append(args[1]), averaging=0.0)
    scale = np.abs(cgls(A, data, num_iters=1).volume).max()
    graphdef, start, _ = nnx.split(filled(TwoConvolutions), nnx.Param, ...)
    z = jax.random.normal(jax.random.split(jax.random.key(0), 3)[1], (*COLS, 2), jnp.float32).astype(float)

    def objective(parameters):
        x = scale * nnx.merge(graphdef, parameters)(z)[..., 0]
        variation = priors.total_variation(x, smoothing=0.01 * scale, spacing=(2.0, 0.5))
        return (0.5 * jnp.sum((A(x) - data) ** 2) + tv_weight * variation) / jnp.sum(data**2), x

    start = jax.tree.map(lambda leaf: leaf.astype(float), start)
    gradient, x = jax.grad(objective, has_aux=True)(start)
    moved = jax.tree.map(lambda p, g: p - 0.25 * g, start, gradient)
    np.testing.assert_allclose(states[0].volume, x, rtol=1e-10)
    np.testing.assert_allclose(states[1].volume, objective(moved)[1], rtol=1e-10)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), states[0].parameters, moved)


def test_the_residual_is_that_of_the_outputs_and_the_volume_their_weighted_mean(problem):
    A, data, _ = problem  # noqa: N806
    outputs = outputs_of(A, data, **small())
    result = dip(A, data, **small(), averaging=0.8)
    weights = 0.8 ** np.arange(8)[::-1]
    np.testing.assert_allclose(result.volume, np.average(outputs, 0, weights), rtol=1e-9)
    norms = [np.linalg.norm(A(x) - data) for x in outputs]
    np.testing.assert_allclose(result.history["residual_norm"], norms, rtol=1e-9)


def wang_et_al(outputs, window, patience):
    """Their algorithm as it stands: the output of least variance, the variances, the iteration that it ends with.

    Before the queue is full, variances are those of what is in it.
    """
    queue, variances, least, best, since = [], [], np.inf, None, 0
    for x in outputs:
        queue = [*queue, x][-window:]
        variances.append(np.mean(np.var(queue, 0)))
        if len(queue) < window:
            continue
        since += 1
        if variances[-1] < least:
            least, best, since = variances[-1], x, 0
        if since == patience:
            break
    return best, variances, len(variances)


def test_the_windowed_variance_says_when_to_stop_and_what_was_best(problem):
    A, data, _ = problem  # noqa: N806
    # Steps and noise so large that the variance goes up and down.
    options = small(num_iters=40, optimizer=optax.adam(0.1), input_noise=0.5)
    outputs = outputs_of(A, data, **options)
    best, variances, last = wang_et_al(outputs, 4, 6)
    assert 10 < last < 40
    assert min(wang_et_al(outputs, 4, 99)[1][3:]) < min(variances[3:]), "what comes later must not count"
    watched = dip(A, data, **options, averaging=0.0, window=4, patience=6)
    np.testing.assert_allclose(watched.volume, best, rtol=1e-8)
    np.testing.assert_allclose(watched.history["variance"], variances, rtol=1e-6, atol=1e-12)
    compiled = jax.jit(lambda d: dip(A, d, **options, averaging=0.0, window=4, patience=6))(data)
    np.testing.assert_allclose(compiled.volume, best, rtol=1e-8)
    assert compiled.history["variance"].shape == (40,)
    earlier = dip(A, data, **options, averaging=0.0, window=4, patience=6, stop=lambda *_: True)
    assert earlier.history["variance"].shape == (1,)
    np.testing.assert_allclose(earlier.volume, outputs[0], rtol=1e-8)


def test_of_many_voxels_some_are_watched(problem, monkeypatch):
    monkeypatch.setattr(sys.modules[dip.__module__], "_WATCHED_VOXELS", 4)
    A, data, _ = problem  # noqa: N806
    states = []
    dip(A, data, **small(num_iters=3), window=3, callback=lambda *args: states.append(args[1]), averaging=0.0)
    recent = np.asarray(states[-1].early.recent)
    assert recent.shape == (3, 4)
    for values, state in zip(recent, states, strict=True):
        assert set(values) < set(np.ravel(state.volume))


def test_a_watched_run_that_was_cut_off_ends_in_the_same_bits(problem, tmp_path):
    pytest.importorskip("orbax.checkpoint")
    A, data, _ = problem  # noqa: N806

    def cut_off(iteration, state, record):
        if iteration == 5:
            raise RuntimeError

    options = small(num_iters=12, network=WithStatistics(), window=3, checkpoint_every=2)
    whole = dip(A, data, **options, checkpoint=tmp_path / "whole")
    with pytest.raises(RuntimeError):
        dip(A, data, **options, checkpoint=tmp_path / "cut", callback=cut_off)
    resumed = dip(A, data, **options, checkpoint=tmp_path / "cut")
    for a, b in zip(jax.tree.leaves(resumed), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(a, b)


class WithStatistics(nnx.Module):
    """A network that holds more than parameters: running statistics, and a random key."""

    in_channels = 2

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.network, self.norm = filled(TwoConvolutions), nnx.BatchNorm(2, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)

    def __call__(self, x):
        return self.network(self.dropout(self.norm(x[None])[0]))


def test_a_network_is_not_changed_and_its_statistics_move_in_the_run(problem):
    A, data, _ = problem  # noqa: N806
    network, states = WithStatistics(), []
    before = jax.tree.map(np.asarray, nnx.state(network, nnx.Not(nnx.RngState)))
    dip(
        A,
        data,
        **small(num_iters=3, network=network),
        callback=lambda *args: states.append(args[1]),
        input=np.random.default_rng(0).normal(size=(*COLS, 2)),
    )
    jax.tree.map(np.testing.assert_array_equal, nnx.state(network, nnx.Not(nnx.RngState)), before)
    changed = [jax.tree.leaves(nnx.filter_state(state.other, nnx.BatchStat)) for state in states]
    for earlier, later in itertools.pairwise(changed):
        assert any(np.abs(a - b).max() > 1e-4 for a, b in zip(earlier, later, strict=True))


def test_units_do_not_matter(problem):
    """The data's, such as attenuation in 1/mm, and those of a prior image."""
    A, data, image = problem  # noqa: N806
    solve = jax.jit(lambda d, image: dip(A, d, **small(), input=jnp.stack([image, image**2], -1)).volume)
    wanted = solve(data, image)
    np.testing.assert_allclose(solve(0.02 * data, image), 0.02 * wanted, rtol=1e-9)
    np.testing.assert_allclose(solve(data, 5e3 * image), wanted, rtol=1e-9)


def test_a_key_makes_the_input_the_noise_and_the_default_network(problem):
    A, data, _ = problem  # noqa: N806
    keys = [jax.random.key(n) for n in (0, 1)]
    for options in (small(num_iters=2), small(num_iters=2, input=np.eye(2, 3)[..., None] + np.ones(2))):
        default, first, second = (dip(A, data, **options, key=key).volume for key in (None, *keys))
        np.testing.assert_array_equal(default, first)
        assert relative_error(second, first) > 1e-3
        still = dip(A, data, **options, key=keys[1], input_noise=0.0).volume
        assert relative_error(second, still) > 1e-3


@pytest.mark.parametrize(
    ("shape", "detector"), [pytest.param((9, 10), (12,), id="image"), pytest.param((3, 4, 5), (3, 7), id="volume")]
)
def test_images_and_volumes(shape, detector):
    A = jaxct.Projector(jaxct.ParallelBeam(np.arange(4.0), detector_shape=detector), jaxct.VolumeGrid(shape))  # noqa: N806
    data = A(jnp.ones(shape))
    by_default = jax.eval_shape(lambda d: dip(A, d, num_iters=2).volume, data)
    assert by_default.shape == shape
    result = dip(A, data, **small(num_iters=30, network=filled(TwoConvolutions, len(shape))), averaging=0.0)
    assert result.volume.shape == shape
    assert (result.volume > 0).all()
    norms = np.asarray(result.history["residual_norm"])
    assert norms[-1] < 0.5 * norms[0]


def test_an_optimiser_that_searches_along_a_line_lowers_the_objective_in_every_iteration(problem):
    A, data, _ = problem  # noqa: N806
    result = dip(A, data, **small(num_iters=15), optimizer=optax.lbfgs(), input_noise=0.0)
    norms = np.asarray(result.history["residual_norm"])
    assert (np.diff(norms) < 1e-4 * norms[:-1]).all()
    assert norms[-1] < 0.5 * norms[0]


def test_the_network_is_fitted_to_the_first_image(problem):
    A, data, image = problem  # noqa: N806
    outputs = [
        outputs_of(A, data, **small(num_iters=1, fit_iters=n), init=image, optimizer=optax.adam(0.03))[0]
        for n in (1, 400)
    ]
    assert relative_error(outputs[1], image) < 0.1 < relative_error(outputs[0], image)


def test_other_rules_stop_it_too(problem):
    A, data, _ = problem  # noqa: N806
    norms = np.asarray(dip(A, data, **small()).history["residual_norm"])
    assert (np.diff(norms) < 0).all()
    stopped = dip(A, data, **small(), window=5, stop=stopping.discrepancy(float(norms[2:4].mean())))
    assert stopped.history["residual_norm"].shape == (4,)


def test_zero_data_do_no_harm(problem):
    assert np.isfinite(dip(problem[0], np.zeros(ROWS), **small()).volume).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"averaging": 1.0}, ValueError, "averaging must be 0 or more and below 1, got 1"),
        ({"tv_weight": -1.0}, ValueError, "tv_weight must not be negative, got -1"),
        ({"input_noise": -0.1}, ValueError, "input_noise must not be negative, got -0.1"),
        ({"window": 1}, ValueError, "window must be 2 or more, got 1"),
        ({"patience": 0}, ValueError, "patience must be a positive integer, got 0"),
        ({"spacing": (1.0, 0.0)}, ValueError, "spacing must be positive"),
        ({"input": np.ones(6)}, ValueError, r"input must have shape \(2, 3\) or \(2, 3, 'channels'\), got \(6,\)"),
        ({"input": "noise"}, TypeError, "input must be real numbers, got 'noise'"),
        ({"init": np.ones(COLS), "fit_iters": 0}, ValueError, "fit_iters must be a positive integer, got 0"),
        ({"network": nnx.Sequential(nnx.relu)}, ValueError, "input must be given"),
        (
            {"network": nnx.Sequential(nnx.relu), "input": np.ones((*COLS, 2))},
            ValueError,
            r"network must turn \(2, 3, 2\) into \(2, 3, 1\), got \(2, 3, 2\)",
        ),
    ],
)
def test_bad_input_names_the_argument(problem, change, error, message):
    with pytest.raises(error, match=message):
        dip(problem[0], problem[1], **small(**change))


def test_images_of_other_ranks_need_a_network_of_their_own():
    class Line(Matrix):
        in_shape = (6,)

    with pytest.raises(ValueError, match=r"network must be given for images of shape \(6,\)"):
        dip(Line(jnp.ones((ROWS, 6))), np.ones(ROWS), num_iters=1)


def test_the_example_ends_where_the_rule_says(tmp_path):
    """A few iterations of it with a network of two convolutions; the page has the real one's figures."""
    pytest.importorskip("h5py")
    pytest.importorskip("matplotlib")
    example = runpy.run_path(str(EXAMPLE))
    problem = example["make_problem"](size=24, num_views=12)
    run = example["prior_of"](problem, num_iters=110, network=filled(TwoConvolutions))
    best = example["best_iteration"](run)
    assert 100 <= best <= 110 == len(run.psnr)
    assert example["decibels"](run.volume, problem.truth) == pytest.approx(run.psnr[best - 1], abs=1e-3)
    images = example["others"](problem)
    errors = {name: example["decibels"](image, problem.truth) for name, image in images.items()}
    assert errors["FBP (Hann)"] < errors["CGLS"] < errors["total variation"]
    example["draw"](problem, run, {**images, "prior": run.volume}).savefig(tmp_path / "dip.png", dpi=40)
    assert (tmp_path / "dip.png").stat().st_size > 5_000
