"""DIPRecon: the steps of its ADMM, its limits, where it ends, what its step is made of; and that it is worth it."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxct
from jaxct.nn import UNet
from jaxct.reconstruct._poisson import log_likelihood
from jaxct.reconstruct.diprecon import diprecon
from jaxct.reconstruct.map_em import map_em_step
from jaxct.reconstruct.mlem import mlem
from jaxct.reconstruct.osem import osem
from tests.emission import counted_problem
from tests.matrix import COLS, ROWS, Matrix
from tests.networks import TwoConvolutions, filled
from tests.operators import relative_error


@pytest.fixture
def problem():
    """In double precision, where equal is equal; counts that no image explains."""
    matrix, data = counted_problem()
    with jax.enable_x64(True):
        yield Matrix(jnp.asarray(matrix)), jnp.asarray(data)


def small(**options):
    sizes = {"num_iters": 3, "network": filled(TwoConvolutions), "warmup": 4, "fit_iters": 4, "prefit_iters": 5}
    return {**sizes, "background": 0.5, **options}


def states_of(A, data, **options):  # noqa: N803
    """The state after every iteration."""
    seen = []
    diprecon(A, data, **small(**options), callback=lambda _, state, record: seen.append(state))
    return seen


def steepest():
    return optax.sgd(0.02, momentum=0.9)


def by_definition(A, data, optimizer, restart, penalty=0.7):  # noqa: N803
    """The algorithm as it stands, with plain loops: state after two iterations."""
    s, x = A.T(jnp.ones(ROWS)), mlem(A, data, num_iters=4, background=0.5).volume
    rho, scale = penalty * jnp.sum(s * x) / jnp.sum(x * x), jnp.sum(x * x) / jnp.sum(x)
    graphdef, theta, _ = nnx.split(filled(TwoConvolutions), nnx.Param, ...)
    theta = jax.tree.map(lambda leaf: leaf.astype(float), theta)
    z = jax.random.normal(jax.random.split(jax.random.key(0), 3)[1], (*COLS, 2), jnp.float32).astype(float)
    network = lambda theta: scale * nnx.merge(graphdef, theta)(z)[..., 0]  # noqa: E731

    @jax.jit
    def move(theta, state, image):
        loss = lambda theta: jnp.mean((network(theta) - image) ** 2) / scale**2  # noqa: E731
        value, gradient = jax.value_and_grad(loss)(theta)
        updates, state = optimizer.update(gradient, state, theta, value=value, grad=gradient, value_fn=loss)
        return optax.apply_updates(theta, updates), state

    def fit(theta, state, image, count):
        for _ in range(count):
            theta, state = move(theta, state, image)
        return theta, state

    theta, _ = fit(theta, optimizer.init(theta), x, 5)
    state, f, u = optimizer.init(theta), network(theta), jnp.zeros(COLS)
    for _ in range(2):
        target = f - u
        for _ in range(2):
            x = map_em_step(A, data, x, sensitivity=s, pull=rho, target=target, background=0.5)
        theta, state = fit(theta, optimizer.init(theta) if restart else state, x + u, 4)
        f = network(theta)
        u = u + x - f
    return x, f, u, theta


def searching():
    return optax.chain(optax.sgd(1.0), optax.scale_by_zoom_linesearch(10))


@pytest.mark.parametrize(("optimizer", "restart"), [(steepest, False), (optax.lbfgs, True), (searching, True)])
def test_an_iteration_is_one_of_admm(problem, optimizer, restart):
    """Momentum goes on from one iteration to the next, what a line search knows of another objective does not."""
    A, data = problem  # noqa: N806
    x, f, u, theta = by_definition(A, data, optax.with_extra_args_support(optimizer()), restart)
    state = states_of(A, data, num_iters=2, optimizer=optimizer(), penalty=0.7)[-1]
    for got, wanted in ((state.fitted, x), (state.volume, f), (state.dual, u)):
        np.testing.assert_allclose(got, wanted, rtol=1e-7, atol=1e-9)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8), state.parameters, theta)


def test_without_a_penalty_the_counts_alone_are_fitted(problem):
    A, data = problem  # noqa: N806
    options = {"optimizer": steepest(), "fit_iters": 1}
    likely = mlem(A, data, num_iters=4 + 2 * 3, background=0.5).volume
    assert relative_error(states_of(A, data, **options, penalty=0.0)[-1].fitted, likely) < 1e-12
    assert relative_error(states_of(A, data, **options, penalty=1e-7)[-1].fitted, likely) < 1e-5
    by_parts = osem(A, data, num_iters=4 + 2 * 3, num_subsets=3, background=0.5).volume
    subsets = states_of(A, data, **options, penalty=0.0, num_subsets=3)[-1]
    assert relative_error(subsets.fitted, by_parts) < 1e-12


@pytest.mark.parametrize("num_subsets", [1, 3])
def test_with_a_great_penalty_the_network_alone_is_followed(problem, num_subsets):
    """Where it was when it had been fitted to the first image, and not that image, is where it stays."""
    A, data = problem  # noqa: N806
    states = states_of(A, data, optimizer=steepest(), penalty=1e9, num_subsets=num_subsets)
    for before, last in itertools.pairwise(states):
        np.testing.assert_allclose(last.fitted, np.maximum(before.volume - before.dual, 0), atol=1e-6)
    np.testing.assert_allclose(states[-1].volume, states[0].fitted, atol=1e-6)
    first = osem(A, data, num_iters=4, num_subsets=num_subsets, background=0.5).volume
    assert relative_error(states[0].fitted, first) > 0.01


@pytest.mark.parametrize("optimizer", [None, optax.adam(0.01)], ids=["lbfgs", "adam"])
def test_image_and_network_come_together_at_the_most_likely_image(problem, optimizer):
    """Of all images: the network has more parameters than there are voxels."""
    A, data = problem  # noqa: N806
    options = small(num_iters=150, fit_iters=2 if optimizer is None else 10, optimizer=optimizer, penalty=1.0)
    options |= {"input": np.random.default_rng(0).normal(size=COLS), "network": filled(TwoConvolutions, 2, 1, 8)}
    volume, history = diprecon(A, data, **options)
    likely = mlem(A, data, num_iters=2000, background=0.5)
    most = float(likely.history["log_likelihood"][-1])
    start = float(mlem(A, data, num_iters=4, background=0.5).history["log_likelihood"][-1])
    reached = float(log_likelihood(data, A(volume) + 0.5))
    assert most - reached < 0.02 * (most - start)
    residuals = np.asarray(history["primal_residual"])
    assert residuals[-10:].max() < 0.05 * residuals[:3].max()
    assert np.asarray(history["dual_residual"])[-10:].max() < 0.05 * history["dual_residual"][0]
    assert (np.diff(np.asarray(history["log_likelihood"])[::30]) > 0).all()


def head(size=32):
    """Gray and white matter with two hot spots, its anatomy without them, and counts with a background."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    radius, angle = np.hypot(y / 14, x / 12), np.arctan2(y, x)
    white, brain = radius < 0.7 + 0.1 * np.cos(6 * angle), radius < 1
    hot = np.any([np.hypot(y - a, x - b) < 2.2 for a, b in ((3, 5), (-6, -3))], 0)
    activity = np.where(hot, 6.0, np.where(white, 1.0, np.where(brain, 4.0, 0.0)))
    beam = jaxct.ParallelBeam(np.linspace(0, np.pi, 40, endpoint=False), detector_shape=(45,))
    A = jaxct.Projector(beam, jaxct.VolumeGrid((size, size)))  # noqa: N806
    expected = A(jnp.asarray(activity, jnp.float32))
    scale, background = 45e3 / expected.sum(), 6.0
    data = np.random.default_rng(0).poisson(scale * expected + background)
    anatomy = np.where(white, 1.0, np.where(brain, 0.6, 0.0))
    return A, data, background, anatomy, scale * activity


def test_with_the_anatomy_it_is_nearer_to_the_truth_than_mlem_ever_is():
    A, data, background, anatomy, truth = head()  # noqa: N806
    error = lambda x: relative_error(x, truth)  # noqa: E731
    errors = []
    mlem(A, data, num_iters=40, background=background, callback=lambda _, s, r: errors.append(error(s.volume)))
    make = lambda: UNet(2, features=(8, 16), convs_per_level=1, final_activation=nnx.softplus, rngs=nnx.Rngs(0))  # noqa: E731
    found = diprecon(A, data, num_iters=12, background=background, input=anatomy, network=nnx.jit(make)()).volume
    assert (found >= 0).all()
    assert errors[0] > min(errors) < errors[-1]
    assert error(found) < 0.93 * min(errors)


def test_the_history_is_that_of_the_states(problem):
    A, data = problem  # noqa: N806
    states, records = [], []
    options = small(em_iters=1, optimizer=steepest(), penalty=2.0)
    diprecon(A, data, **options, callback=lambda _, state, record: (states.append(state), records.append(record))[2:])
    x, s = mlem(A, data, num_iters=4, background=0.5).volume, A.T(jnp.ones(ROWS))
    rho = float(2.0 * jnp.sum(s * x) / jnp.sum(x * x))
    for k in (1, 2):
        state, before = states[k], states[k - 1]
        assert records[k]["primal_residual"] == pytest.approx(float(np.linalg.norm(state.fitted - state.volume)))
        assert records[k]["dual_residual"] == pytest.approx(rho * float(np.linalg.norm(state.volume - before.volume)))
        found = float(log_likelihood(data, A(before.fitted) + 0.5))
        assert records[k]["log_likelihood"] == pytest.approx(found, rel=1e-10)


def test_units_do_not_matter(problem):
    """The counts', the operator's, and the prior image's: penalty and scale are relative."""
    A, data = problem  # noqa: N806
    image = np.random.default_rng(0).normal(size=(*COLS, 2))
    solve = jax.jit(
        lambda A, d, z, b: diprecon(A, d, **small(input=z, background=b, optimizer=optax.adam(0.01))).volume  # noqa: N803
    )
    wanted = solve(A, data, image, 0.5)
    np.testing.assert_allclose(solve(A, 1e3 * data, image, 500.0), 1e3 * wanted, rtol=1e-8)
    np.testing.assert_allclose(solve(Matrix(1e-2 * A.values), data, 7 * image + 3, 0.5), 100 * wanted, rtol=1e-8)


def test_events_give_the_images_of_their_histogram(problem):
    A, data = problem  # noqa: N806
    rays = np.repeat(np.arange(ROWS), np.asarray(data, int))
    options = small(optimizer=steepest())
    listed = diprecon(Matrix(A.values[rays]), np.ones(len(rays)), sensitivity=A.T(jnp.ones(ROWS)), **options)
    assert relative_error(listed.volume, diprecon(A, data, **options).volume) < 1e-10


class WithStatistics(nnx.Module):
    """A network that holds more than parameters: running statistics."""

    in_channels = 2

    def __init__(self):
        self.network, self.norm = filled(TwoConvolutions), nnx.BatchNorm(2, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.network(self.norm(x[None])[0])


def test_a_run_of_subsets_in_random_order_that_was_cut_off_ends_in_the_same_bits(problem, tmp_path):
    """And the network that was given is not changed."""
    pytest.importorskip("orbax.checkpoint")
    A, data = problem  # noqa: N806
    network = WithStatistics()
    given = jax.tree.map(np.asarray, nnx.state(network))

    def cut_off(iteration, state, record):
        if iteration == 4:
            raise RuntimeError

    options = small(num_iters=6, network=network, num_subsets=3, order="random", optimizer=optax.adam(0.01))
    options["checkpoint_every"] = 2
    whole = diprecon(A, data, **options, checkpoint=tmp_path / "whole")
    with pytest.raises(RuntimeError):
        diprecon(A, data, **options, checkpoint=tmp_path / "cut", callback=cut_off)
    states = []
    resumed = diprecon(A, data, **options, checkpoint=tmp_path / "cut", callback=lambda *args: states.append(args[1]))
    for a, b in zip(jax.tree.leaves(resumed), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(a, b)
    jax.tree.map(np.testing.assert_array_equal, nnx.state(network), given)
    first, last = (jax.tree.leaves(nnx.filter_state(states[k].other, nnx.BatchStat)) for k in (0, -1))
    assert any(np.abs(a - b).max() > 1e-4 for a, b in zip(first, last, strict=True))


def test_a_whole_run_is_one_program_that_calls_nobody():
    """No callback to Python, no transfer: the line search and the network's fits are loops on the device."""
    A = jaxct.Projector(jaxct.ParallelBeam(np.arange(3.0), detector_shape=(7,)), jaxct.VolumeGrid((5, 6)))  # noqa: N806
    text = jax.jit(lambda d: diprecon(A, d, **small())).lower(jnp.ones(A.out_shape)).as_text()
    assert text.count("stablehlo.while") > 4
    calls = {line.split("@")[1].split("(")[0] for line in text.splitlines() if "stablehlo.custom_call" in line}
    assert calls
    assert all(name.startswith("jaxct") for name in calls), calls
    assert not {"infeed", "outfeed", "stablehlo.send", "stablehlo.recv"} & set(text.split())


@pytest.mark.parametrize(
    ("shape", "detector"), [pytest.param((9, 10), (12,), id="image"), pytest.param((3, 4, 5), (3, 7), id="volume")]
)
def test_images_and_volumes_have_a_default_network(shape, detector):
    A = jaxct.Projector(jaxct.ParallelBeam(np.arange(4.0), detector_shape=detector), jaxct.VolumeGrid(shape))  # noqa: N806
    options = {"num_iters": 2, "input": np.ones(shape), "optimizer": optax.adam(0.01)}
    found = jax.eval_shape(lambda d: diprecon(A, d, **options), jnp.ones(A.out_shape))
    assert found.volume.shape == shape
    assert found.history["fit_loss"].shape == (2,)


def test_zero_counts_do_no_harm(problem):
    for background in (0.0, 0.5):
        result = diprecon(problem[0], np.zeros(ROWS), **small(background=background, optimizer=steepest()))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"data": np.full(ROWS, -1.0)}, ValueError, "data must not be negative, got -1"),
        ({"init": np.full(COLS, -1.0)}, ValueError, "init must not be negative, got -1"),
        ({"background": -0.5}, ValueError, "background must not be negative, got -0.5"),
        ({"sensitivity": -0.5}, ValueError, "sensitivity must not be negative, got -0.5"),
        ({"penalty": -1.0}, ValueError, "penalty must not be negative, got -1"),
        ({"penalty": np.ones(COLS)}, ValueError, r"penalty .* got shape \(2, 3\)"),
        ({"em_iters": 0}, ValueError, "em_iters must be a positive integer, got 0"),
        ({"fit_iters": 0}, ValueError, "fit_iters must be a positive integer, got 0"),
        ({"warmup": 0}, ValueError, "warmup must be a positive integer, got 0"),
        ({"prefit_iters": 1.5}, TypeError, "prefit_iters must be .* 1.5"),
        ({"num_subsets": ROWS + 1}, ValueError, "num_subsets must be at most the number of views, 14, got 15"),
        ({"order": "sorted"}, ValueError, "order must be one of .* got 'sorted'"),
        ({"key": 3}, TypeError, "key must be a single one of jax.random.key, got 3"),
        ({"input": np.ones(6)}, ValueError, r"input must have shape \(2, 3\) or \(2, 3, 'channels'\), got \(6,\)"),
        ({"network": nnx.Sequential(nnx.relu)}, ValueError, "input must be given"),
    ],
)
def test_bad_input_names_the_argument(problem, change, error, message):
    A, data = problem  # noqa: N806
    with pytest.raises(error, match=message):
        diprecon(A, **{"data": data, **small(**change)})
