"""Plug and play: denoisers that are proximal maps lead to the known minimum, others to their fixed point."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxct import priors, wavelets
from jaxct.reconstruct.plug_and_play import plug_and_play
from tests.matrix import COLS, ROWS, Matrix


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    return rng.normal(size=(ROWS, 6)), rng.normal(size=ROWS), rng.uniform(0.5, 2, size=ROWS)


@pytest.mark.parametrize("penalty", [2.0, 20.0])
@pytest.mark.parametrize("num_inner", [2, 6])
def test_the_proximal_map_of_a_square_leads_to_tikhonovs_solution(penalty, num_inner, problem):
    """Also where the conjugate gradients are cut short: they go on from where they were."""
    matrix, data, weights = problem
    strength = 3.0
    wanted = np.linalg.solve((matrix.T * weights) @ matrix + strength * np.eye(6), matrix.T @ (weights * data))
    with jax.enable_x64(True):
        volume, history = plug_and_play(
            Matrix(jnp.asarray(matrix)),
            data,
            lambda x: x * penalty / (penalty + strength),
            num_iters=200,
            weights=weights,
            penalty=penalty,
            num_inner=num_inner,
        )
    np.testing.assert_allclose(np.ravel(volume), wanted, rtol=1e-9)
    for residuals in map(np.asarray, history.values()):
        assert residuals[-1] < 1e-9 * residuals[0]


def test_within_bounds_it_is_the_bounded_minimum(problem):
    matrix, data, _ = problem
    with jax.enable_x64(True):
        operator = Matrix(jnp.asarray(matrix))
        volume = plug_and_play(operator, data, lambda x: x / 1.5, num_iters=400, penalty=4.0, lower=0.0).volume
        gradient = operator.T(operator(volume) - data) + 2.0 * volume
    volume, gradient = np.asarray(volume), np.asarray(gradient)
    assert (volume == 0).any()
    assert (gradient[volume == 0] > 0).all()
    np.testing.assert_allclose(gradient[volume > 0], 0, atol=1e-9)


def test_a_wavelet_threshold_leads_to_the_sparse_minimum(problem):
    """Of ``f + penalty threshold |details|_1``, by the conditions on its subgradient."""
    matrix, data, _ = problem
    penalty, threshold = 10.0, 0.05
    with jax.enable_x64(True):
        operator = Matrix(jnp.asarray(matrix))
        denoiser = lambda x: priors.wavelet_threshold(x, threshold, levels=2)  # noqa: E731
        volume = plug_and_play(operator, data, denoiser, num_iters=500, penalty=penalty).volume
        gradient = operator.T(operator(volume) - data)
        slopes, details = (np.asarray(wavelets.haar(x, levels=2)) for x in (gradient, volume))
    inner = wavelets.approximation(COLS, 2)
    zero = (np.abs(details) < 1e-10) & ~inner
    assert 0 < zero.sum() < 5
    seen, strength = ~inner & ~zero, penalty * threshold
    np.testing.assert_allclose(slopes[inner], 0, atol=1e-8)
    np.testing.assert_allclose(slopes[seen], -strength * np.sign(details[seen]), atol=1e-8)
    assert (np.abs(slopes[zero]) <= strength).all()


def smooth(x):
    """A linear denoiser that is no proximal map: not symmetric."""
    return 0.5 * x + 0.3 * jnp.roll(x, 1, 0) + 0.1 * jnp.roll(x, 1, 1)


def test_any_denoiser_ends_at_its_fixed_point(problem):
    matrix, data, _ = problem
    with jax.enable_x64(True):
        operator = Matrix(jnp.asarray(matrix))
        volume, history = plug_and_play(operator, data, smooth, num_iters=300, penalty=30.0)
        moved = smooth(volume - operator.T(operator(volume) - data) / 30.0)
        np.testing.assert_allclose(volume, moved, atol=1e-9)
        assert np.linalg.norm(volume) > 0.1
        assert history["primal_residual"][-1] < 1e-9
        # The penalty that is chosen: a little above the largest eigenvalue.
        weights = np.linspace(0.5, 2, ROWS)
        largest = np.linalg.eigvalsh((matrix.T * weights) @ matrix)[-1]
        chosen, given = (
            plug_and_play(operator, data, smooth, num_iters=20, weights=weights, penalty=p).volume
            for p in (None, largest)
        )
        np.testing.assert_allclose(chosen, given, rtol=1e-6)


def test_the_first_iteration_by_its_formula(problem):
    matrix, data, weights = problem
    start = np.random.default_rng(2).normal(size=COLS)
    normal = (matrix.T * weights) @ matrix + 4.0 * np.eye(6)
    fitted = np.linalg.solve(normal, matrix.T @ (weights * data) + 4.0 * start.ravel()).reshape(COLS)
    volume = np.clip(np.tanh(fitted), -0.1, 0.3)
    second = np.linalg.solve(normal, matrix.T @ (weights * data) + 4.0 * (volume - fitted + volume).ravel())
    with jax.enable_x64(True):
        result = plug_and_play(
            Matrix(jnp.asarray(matrix)), data, jnp.tanh, num_iters=2, weights=weights, penalty=4.0, num_inner=6,
            init=start, lower=-0.1, upper=0.3,
        )  # fmt: skip
    wanted = np.clip(np.tanh(second.reshape(COLS) + fitted - volume), -0.1, 0.3)
    np.testing.assert_allclose(result.volume, wanted, rtol=1e-9)
    np.testing.assert_allclose(result.history["primal_residual"][0], np.linalg.norm(fitted - volume), rtol=1e-9)
    np.testing.assert_allclose(result.history["dual_residual"][0], 4 * np.linalg.norm(volume - start), rtol=1e-9)


def test_a_module_of_flax_is_a_denoiser_and_its_parameters_are_arguments(problem):
    matrix, data, _ = (a.astype(np.float32) for a in problem)
    operator = Matrix(jnp.asarray(matrix))

    class Denoiser(nnx.Module):
        traces = 0

        def __init__(self, strength):
            self.strength = nnx.Param(jnp.asarray(strength))

        def __call__(self, x):
            type(self).traces += 1
            return x / (1 + self.strength[...])

    def solve(denoiser):
        return plug_and_play(operator, data, denoiser, num_iters=60, penalty=10.0).volume

    for strength in (0.1, 0.4):
        wanted = solve(lambda x, strength=strength: x / (1 + strength))
        np.testing.assert_allclose(solve(Denoiser(strength)), wanted, rtol=1e-5)
        traces = Denoiser.traces
        np.testing.assert_allclose(solve(Denoiser(strength)), wanted, rtol=1e-5)
        assert Denoiser.traces == traces > 0


def test_rays_of_weight_zero_may_have_any_data(problem):
    matrix, data, weights = problem
    out = np.arange(ROWS) == 3
    operator, weights = Matrix(jnp.asarray(matrix)), np.where(out, 0, weights)
    spoilt, wanted = (
        plug_and_play(operator, np.where(out, value, data), smooth, num_iters=3, weights=weights).volume
        for value in (np.nan, 5.0)
    )
    np.testing.assert_array_equal(spoilt, wanted)
    assert np.isfinite(spoilt).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"denoiser": 3}, TypeError, "denoiser must be a function, got 3"),
        ({"denoiser": jnp.ravel}, ValueError, r"denoiser must return .*\(2, 3\), got shape \(6,\)"),
        ({"penalty": 0.0}, ValueError, "penalty must be positive"),
        ({"weights": -1.0}, ValueError, "weights must not be negative, got -1"),
        ({"num_inner": 0}, ValueError, "num_inner must be a positive integer, got 0"),
        ({"lower": 1.0, "upper": 0.0}, ValueError, "lower must nowhere be above upper"),
    ],
)
def test_bad_input_names_the_argument(change, error, message, problem):
    matrix, data, _ = problem
    options = {"denoiser": smooth, "num_iters": 1, **change}
    with pytest.raises(error, match=message):
        plug_and_play(Matrix(jnp.asarray(matrix)), data, options.pop("denoiser"), **options)
