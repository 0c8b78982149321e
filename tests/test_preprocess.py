"""Counts become line integrals: values, guards, dead pixels, background, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxct.io import line_integrals, negative_log, normalize_background, subtract_background, transmission

VIEWS, ROWS, COLS = 5, 4, 12


def beam(rng):
    """Line integrals, and the counts, flats and darks a detector with uneven gain and offset makes of them."""
    truth = rng.uniform(0, 3, (VIEWS, ROWS, COLS))
    gain = rng.uniform(2e4, 3e4, (ROWS, COLS))
    dark = rng.uniform(90, 110, (ROWS, COLS))
    counts = gain * np.exp(-truth) + dark
    drift = rng.normal(0, 50, (6, 1, 1))
    flats = gain + dark + drift - drift.mean()
    darks = np.broadcast_to(dark, (3, ROWS, COLS))
    return truth, counts.astype(np.float32), flats.astype(np.float32), darks.astype(np.float32)


def test_line_integrals_undo_gain_and_offset(rng):
    truth, counts, flats, darks = beam(rng)
    values, guarded = line_integrals(counts, flats, darks)
    np.testing.assert_allclose(values, truth, atol=2e-4)
    assert int(guarded) == 0


def test_integer_counts_become_float32(rng):
    truth, counts, flats, darks = beam(rng)
    values, _ = line_integrals(counts.round().astype(np.uint16), flats.astype(np.uint16), darks.astype(np.uint16))
    assert values.dtype == jnp.float32
    np.testing.assert_allclose(values, truth, atol=2e-2)


def test_float64_stays_float64(rng):
    with jax.enable_x64(True):
        truth, _, _, _ = beam(rng)
        values, _ = negative_log(np.exp(-truth))
        assert values.dtype == jnp.float64
        np.testing.assert_allclose(values, truth, atol=1e-12)


def test_one_flat_frame_equals_a_stack_of_it(rng):
    _, counts, flats, _ = beam(rng)
    one, stack = transmission(counts, flats[0]), transmission(counts, flats[:1])
    np.testing.assert_array_equal(one, stack)


def test_without_flats_only_the_dark_field_is_taken_off():
    np.testing.assert_array_equal(transmission(np.full((2, 3), 5.0), None, np.full(3, 2.0)), np.full((2, 3), 3.0))


def test_dead_pixels_are_filled_from_live_columns():
    ramp = np.linspace(0.2, 0.9, COLS, dtype=np.float32)
    flats = np.full((1, COLS), 1000.0)
    dead = [0, 4, 5, COLS - 1]
    flats[:, dead] = 0.0
    counts = np.tile(1000 * ramp, (VIEWS, 1))
    counts[:, dead] = 7.0
    expected = ramp.copy()
    expected[0], expected[-1] = ramp[1], ramp[-2]
    np.testing.assert_allclose(transmission(counts, flats), np.tile(expected, (VIEWS, 1)), rtol=1e-6)


def test_a_row_without_live_pixels_becomes_air():
    flats = np.ones((2, 3))
    flats[1] = 0
    result = transmission(np.full((4, 2, 3), 0.5), flats)
    np.testing.assert_array_equal(result[:, 0], 0.5)
    np.testing.assert_array_equal(result[:, 1], 1.0)


def test_bad_samples_are_floored_and_counted():
    values = np.array([[1.0, 0.0, -0.3, np.nan, np.inf, 1e-3]], np.float32)
    result, guarded = negative_log(values, floor=1e-4)
    assert int(guarded) == 4
    np.testing.assert_allclose(result[0], [0, *[-np.log(1e-4)] * 4, -np.log(1e-3)], rtol=1e-6)


def test_gradient_is_finite_at_guarded_samples():
    values = jnp.array([[0.5, 0.0, -1.0, jnp.nan]])
    gradient = jax.grad(lambda v: negative_log(v).values.sum())(values)
    np.testing.assert_allclose(gradient, [[-2.0, 0.0, 0.0, 0.0]])


def test_background_makes_air_one_in_every_view(rng):
    drift = rng.uniform(0.5, 2, VIEWS)
    values = np.full((VIEWS, ROWS, COLS), 0.4)
    values[:, :2, :3] = 1.0
    region = (slice(0, 2), slice(0, 3))
    corrected = normalize_background(values * drift[:, None, None], region)
    np.testing.assert_allclose(corrected, values, rtol=1e-6)


def test_background_of_line_integrals_is_subtracted(rng):
    values = rng.normal(size=(VIEWS, COLS)).astype(np.float32)
    values[:, :3] = 0
    np.testing.assert_allclose(subtract_background(values + 0.7, (slice(3),)), values, atol=1e-6)


def test_works_under_jit_and_vmap(rng):
    truth, counts, flats, darks = beam(rng)
    batch = jnp.stack([counts, counts])
    values, guarded = jax.jit(jax.vmap(line_integrals, in_axes=(0, None, None)))(batch, flats, darks)
    np.testing.assert_allclose(values[1], truth, atol=2e-4)
    assert guarded.shape == (2,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: transmission(x[0, 0]), "counts"),
        (lambda x: transmission(x, np.ones((2, 9))), "flats"),
        (lambda x: transmission(x, np.ones((0, 4, 12))), "flats"),
        (lambda x: transmission(x, None, np.ones((3, 12))), "darks"),
        (lambda x: negative_log(x, floor=0.0), "floor"),
        (lambda x: normalize_background(x, (slice(2),)), "background"),
        (lambda x: normalize_background(x, (slice(0), slice(2))), "background"),
    ],
)
def test_bad_input_names_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.ones((VIEWS, ROWS, COLS)))


@pytest.fixture
def rng():
    return np.random.default_rng(3)
