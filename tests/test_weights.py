"""The weights of analytic reconstruction: quadrature adds up to the arc, shares of one line add up to one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxct import ConeBeam, FanBeam, ParallelBeam, weights
from tests.chords import pixel_rays

TURN = 2 * np.pi
VIEWS = 180  # the same everywhere: a size is compiled once


def fan(angles, **options):
    options = {"source_origin_distance": 100.0, "source_detector_distance": 150.0, "pixel_size": 2.0} | options
    return FanBeam(angles, detector_shape=(17,), **options)


def cone(angles, **options):
    options = {"source_origin_distance": 100.0, "source_detector_distance": 150.0, "pixel_size": (3.0, 2.0)} | options
    return ConeBeam(angles, detector_shape=(4, 17), **options)


# Angular quadrature


@pytest.mark.parametrize("start", [0.0, -1.3, 40.0])
@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("period", [np.pi, TURN])
def test_equal_steps_have_equal_weights_in_any_order(start, direction, period):
    angles = start + direction * np.random.default_rng(0).permutation(VIEWS) * period / VIEWS
    np.testing.assert_allclose(weights.angular_weights(jnp.asarray(angles), period), period / VIEWS, rtol=2e-3)


def test_a_repeated_end_view_shares_its_weight():
    result = np.asarray(weights.angular_weights(jnp.linspace(0, TURN, 721)))
    step = TURN / 720
    np.testing.assert_allclose(result[[0, -1]], step / 2, rtol=1e-3)
    np.testing.assert_allclose(result[1:-1], step, rtol=1e-3)


@pytest.mark.parametrize("turns", [2, 2.25, 3])
def test_several_turns_share_the_weight_of_an_angle(turns):
    per_turn = round(VIEWS / turns)
    result = np.asarray(weights.angular_weights(jnp.arange(VIEWS) * TURN / per_turn))
    count = np.bincount(np.arange(VIEWS) % per_turn)[np.arange(VIEWS) % per_turn]
    np.testing.assert_allclose(result, TURN / per_turn / count, rtol=2e-3)


def test_parallel_rays_over_a_turn_fold_onto_half_a_turn():
    result = weights.angular_weights(jnp.arange(VIEWS) * TURN / VIEWS, np.pi)
    np.testing.assert_allclose(result, np.pi / VIEWS, rtol=1e-3)


@pytest.mark.parametrize("kind", ["random", "golden", "two speeds"])
def test_uneven_angles_integrate_smooth_functions(kind):
    num = 400
    angles = {
        "random": np.random.default_rng(1).uniform(-3, 20, num),
        "golden": np.arange(num) * np.pi * (np.sqrt(5) - 1),
        "two speeds": np.r_[np.linspace(0, 1, 300), np.linspace(1.01, TURN - 0.05, 100)],
    }[kind]
    result = np.asarray(weights.angular_weights(jnp.asarray(angles, jnp.float32)))
    np.testing.assert_allclose(result.sum(), TURN, rtol=1e-5)
    np.testing.assert_allclose((result * np.exp(np.sin(angles))).sum(), TURN * 1.2660658777520084, rtol=3e-3)


def test_an_open_arc_reaches_half_a_step_beyond_its_ends():
    angles = 3.0 + 0.01 * jnp.arange(VIEWS)
    assert weights.is_open_arc(angles)
    np.testing.assert_allclose(weights.angular_weights(angles), 0.01, rtol=1e-3)
    start, length = weights.scan_arc(angles[::-1])
    np.testing.assert_allclose([start, length], [2.995, 1.8], rtol=1e-5)


def test_full_turns_are_closed():
    steps = jnp.arange(VIEWS) * TURN / VIEWS
    for angles in (
        steps,
        2.4 * steps,
        jnp.linspace(0, TURN, VIEWS),
        steps.at[40].set(0.0),  # a view is missing
        jnp.asarray(np.random.default_rng(2).uniform(0, TURN, VIEWS), jnp.float32),
    ):
        assert not weights.is_open_arc(angles)
        np.testing.assert_allclose(weights.scan_arc(angles)[1], TURN)


@pytest.mark.parametrize("period", [np.pi, TURN])
def test_several_gaps_leave_an_arc_open(period):
    """Parallel views over 0 to 60 and 90 to 150 degrees: two gaps alike."""
    angles = np.r_[np.arange(0, 60, 1), np.arange(90, 150, 1)] * period / 180
    assert weights.is_open_arc(jnp.asarray(angles), period)
    assert weights.is_open_arc(jnp.asarray(np.delete(angles, np.s_[20:32])), period)


def test_turns_that_repeat_coarse_angles_are_closed():
    once = np.arange(40) * TURN / 40
    assert not weights.is_open_arc(jnp.asarray(np.tile(once, 6)))
    assert not weights.is_open_arc(jnp.asarray(np.r_[once, once + 0.1 * TURN / 40]))


def test_one_view_stands_for_the_whole_period():
    np.testing.assert_allclose(weights.angular_weights(jnp.asarray([0.3]), np.pi), [np.pi], rtol=1e-6)


def test_traced_and_batched_angles_give_the_same():
    batch = jnp.arange(VIEWS) * jnp.asarray([[0.035], [0.02], [-0.3]])
    result = jax.jit(jax.vmap(weights.angular_weights))(batch)
    for angles, row in zip(batch, result, strict=True):
        np.testing.assert_allclose(row, weights.angular_weights(angles), rtol=1e-5)


def test_quadrature_is_differentiable_in_the_angles():
    with jax.enable_x64(True):
        angles = jnp.asarray(np.random.default_rng(3).uniform(0, TURN, 12))
        check_grads(weights.angular_weights, (angles,), order=1)
        arc = jnp.sort(jnp.asarray(np.random.default_rng(3).uniform(0, 4.0, 12)))
        gamma = jnp.linspace(-0.2, 0.25, 5)
        check_grads(weights.short_scan_weights, (arc, gamma), order=1)


# Redundancy


def conjugate_pairs(num_steps: int, arc_steps: int, max_lag: int):
    """Views half a step inside an arc, fan angles in half steps: the partner of (view, gamma) is again one of them."""
    step = np.pi / num_steps
    views = np.arange(arc_steps)
    lags = np.arange(-max_lag, max_lag + 1)
    partner = views[:, None] + num_steps - lags
    return views * step, lags * step / 2, partner


@pytest.mark.parametrize("extra", [0, 40, 84])
@pytest.mark.parametrize("start", [0.0, 2.5])
def test_short_scan_shares_of_a_line_add_up_to_one(extra, start):
    num_steps, max_lag = 90, 6
    angles, gamma, partner = conjugate_pairs(num_steps, num_steps + 2 * max_lag - max_lag + extra, max_lag)
    result = np.asarray(weights.short_scan_weights(jnp.asarray(start + angles), jnp.asarray(gamma)))
    assert result.min() >= 0
    assert result.max() <= 1
    for view in range(len(angles)):
        for col in range(len(gamma)):
            partners = [p for p in (partner[view, col], partner[view, col] - 2 * num_steps) if 0 <= p < len(angles)]
            shares = result[view, col] + sum(result[p, -1 - col] for p in partners)
            np.testing.assert_allclose(shares, 1.0, atol=2e-5)


def test_shortest_scan_has_parkers_weights():
    half_fan = 0.3
    step = (np.pi + 2 * half_fan) / VIEWS
    beta = (np.arange(VIEWS) + 0.5) * step
    gamma = np.linspace(-0.29, 0.29, 7)
    b, g = np.meshgrid(beta, -gamma, indexing="ij")  # Parker's fan angle is positive on the other side
    expected = np.ones((VIEWS, 7))
    rising, falling = b < 2 * (half_fan - g), b > np.pi - 2 * g
    expected[rising] = np.sin(np.pi / 4 * b / (half_fan - g))[rising] ** 2
    expected[falling] = np.sin(np.pi / 4 * (np.pi + 2 * half_fan - b) / (half_fan + g))[falling] ** 2
    result = weights.short_scan_weights(jnp.asarray(1.0 + beta), jnp.asarray(gamma))
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_short_scan_depends_on_neither_order_nor_turn():
    angles, gamma = jnp.arange(VIEWS) * 0.02, jnp.linspace(-0.2, 0.2, 9)
    expected = weights.short_scan_weights(angles, gamma)
    order = np.random.default_rng(0).permutation(VIEWS)
    shuffled = weights.short_scan_weights(angles[order] - 2 * TURN, gamma)
    np.testing.assert_allclose(shuffled, expected[order], atol=1e-4)  # 4 pi costs float32 digits


@pytest.mark.parametrize("shift", [3.3, -3.3, 0.0])
def test_offset_detector_shares_add_up_to_one(shift):
    position = jnp.linspace(-5, 5, 101) + shift
    result = np.asarray(weights.offset_detector_weights(position))
    short, long = sorted([abs(float(position[0])), abs(float(position[-1]))])
    partner = np.interp(-np.asarray(position), position, result)
    overlap = np.abs(position) <= short
    np.testing.assert_allclose((result + partner)[overlap], 1.0, atol=2e-3)
    beyond = np.abs(position) > short
    np.testing.assert_allclose(result[beyond], 1.0)
    assert beyond.any() == (long > short + 1e-3)
    assert result[np.argmin(np.sign(shift or 1) * np.asarray(position))] < 1e-6


def test_offset_detector_overlap_is_what_all_views_share():
    position = jnp.linspace(-5, 5, 11) + jnp.asarray([[2.0], [3.0]])
    result = np.asarray(weights.offset_detector_weights(position))
    common = np.abs(position) >= 2
    np.testing.assert_allclose(result[common], (np.asarray(position)[common] > 0), atol=1e-6)


# Angles and cosines of rays


@pytest.mark.parametrize("detector", ["flat", "curved"])
@pytest.mark.parametrize("make", [fan, cone])
@pytest.mark.parametrize("per_view", [False, True])
def test_cosines_and_fan_angles_are_those_of_the_rays(detector, make, per_view):
    angles = np.array([0.3, 1.9, 4.0])
    axes = 1 if make is fan else 2
    offset = np.array([[1.0, 7.0], [-2.0, -4.0], [0.5, 30.0]])[:, -axes:]
    geometry = make(
        angles,
        detector=detector,
        detector_offset=offset if per_view else offset[0],
        source_detector_distance=np.array([150.0, 170.0, 200.0]) if per_view else 150.0,
    )
    _, rays = pixel_rays(geometry)
    central = np.stack([np.cos(angles), -np.sin(angles)], -1).reshape(3, *(1,) * axes, 2)
    across = np.stack([np.sin(angles), np.cos(angles)], -1).reshape(3, *(1,) * axes, 2)
    forward, aside = (rays[..., -2:] * central).sum(-1), (rays[..., -2:] * across).sum(-1)
    cosine, gamma = weights.cosine_weights(geometry), weights.fan_angles(geometry)
    assert cosine.shape == geometry.projection_shape[0 if per_view else 1 :]
    np.testing.assert_allclose(np.broadcast_to(cosine, forward.shape), forward, atol=1e-6)
    gamma = np.broadcast_to(gamma, (3, 17)).reshape(3, *(1,) * (axes - 1), 17)
    np.testing.assert_allclose(np.broadcast_to(gamma, forward.shape), np.arctan2(aside, forward), atol=1e-6)


def test_positions_include_pixel_size_and_offset():
    geometry = ParallelBeam([0.0, 1.0], detector_shape=(2, 3), pixel_size=(3.0, 2.0), detector_offset=(1.0, 0.5))
    np.testing.assert_allclose(weights.row_positions(geometry), [-0.5, 2.5])
    np.testing.assert_allclose(weights.column_positions(geometry), [-1.5, 0.5, 2.5])
