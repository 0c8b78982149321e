"""The ramp filter is Kak and Slaney's kernel, linearly convolved; windows and learned filters are multiplied in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxct import filters


def kak_slaney(lags: np.ndarray, fan_step: float | None = None) -> np.ndarray:
    kernel = np.zeros(lags.shape)
    kernel[lags == 0] = 1 / 4
    odd = lags % 2 == 1
    kernel[odd] = -1 / (np.pi * lags[odd]) ** 2
    if fan_step is not None:
        kernel[odd] *= (lags[odd] * fan_step / np.sin(lags[odd] * fan_step)) ** 2
    return kernel


def direct_convolution(rows: np.ndarray, pixel_size: float, fan_step: float | None = None) -> np.ndarray:
    num = rows.shape[-1]
    lags = np.abs(np.arange(num)[:, None] - np.arange(num))
    return rows @ kak_slaney(lags, fan_step) / pixel_size


@pytest.fixture
def rng():
    return np.random.default_rng(4)


@pytest.mark.parametrize("num_cols", [1, 2, 3, 7, 64, 97, 561])
def test_length_holds_a_linear_convolution_and_is_fast(num_cols):
    length = filters.filter_length(num_cols)
    assert length >= 2 * num_cols - 1
    assert length % 2 == 0
    for prime in (2, 3, 5):
        while length % prime == 0:
            length //= prime
    assert length == 1


@pytest.mark.parametrize("num_cols", [1, 2, 5, 32, 61])
@pytest.mark.parametrize("fan_step", [None, 0.013])
def test_equals_the_direct_sum(rng, num_cols, fan_step):
    rows = rng.normal(size=(3, num_cols)).astype(np.float32)
    expected = direct_convolution(rows, 0.7, fan_step)
    result = filters.filter_projections(rows, 0.7, fan_step=fan_step)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, expected, atol=2e-6)


def test_float64_is_exact(rng):
    rows = rng.normal(size=(2, 41))
    with jax.enable_x64(True):
        result = filters.filter_projections(rows, 0.7)
        assert result.dtype == jnp.float64
        np.testing.assert_allclose(result, direct_convolution(rows, 0.7), atol=1e-14)


def test_zero_frequency_is_not_forced_to_zero():
    response = np.asarray(filters.ramp_response(64))
    np.testing.assert_allclose(response[0], kak_slaney(np.abs(np.arange(-63, 65))).sum(), rtol=1e-3)
    assert response[0] > 1e-3
    np.testing.assert_allclose(response, np.arange(65) / 128, atol=1.7e-3)


def test_curved_ramp_tends_to_the_flat_one():
    np.testing.assert_allclose(filters.ramp_response(50, fan_step=1e-4), filters.ramp_response(50), atol=1e-5)


@pytest.mark.parametrize(
    ("window", "at_half", "at_end"),
    [
        ("ram-lak", 1.0, 1.0),
        ("shepp-logan", np.sin(np.pi / 4) / (np.pi / 4), 2 / np.pi),
        ("cosine", np.sqrt(0.5), 0.0),
        ("hamming", 0.54, 0.08),
        ("hann", 0.5, 0.0),
    ],
)
@pytest.mark.parametrize("cutoff", [1.0, 0.5, 0.3])
def test_named_windows(window, at_half, at_end, cutoff):
    size = 600
    gain = np.asarray(filters.window_response(window, size, cutoff=cutoff))
    last = round(size * cutoff)
    assert gain.shape == (size + 1,)
    np.testing.assert_allclose(gain[[0, last // 2, last]], [1.0, at_half, at_end], atol=1e-6)
    assert np.all(gain[last + 1 :] == 0)


@pytest.mark.parametrize("num_cols", [11, 33, 50, 97])
def test_cutoff_of_one_keeps_the_nyquist_frequency(num_cols):
    assert filters.window_response("ram-lak", num_cols)[-1] == 1


def test_function_and_array_equal_the_named_window(rng):
    rows = rng.normal(size=(4, 30)).astype(np.float32)
    named = filters.filter_projections(rows, 2.0, window="hann", cutoff=0.8)
    function = filters.filter_projections(rows, 2.0, window=lambda f: 0.5 + 0.5 * jnp.cos(jnp.pi * f), cutoff=0.8)
    array = filters.ramp_response(30) * filters.window_response("hann", 30, cutoff=0.8)
    np.testing.assert_allclose(function, named, atol=1e-7)
    np.testing.assert_allclose(filters.filter_projections(rows, 2.0, window=array), named, atol=1e-7)


def test_complex_response_may_shift():
    num_cols = 16
    length = filters.filter_length(num_cols)
    shift = np.exp(-2j * np.pi * np.arange(length // 2 + 1) / length * 3)
    rows = np.eye(num_cols, dtype=np.float32)[4:6]
    expected = np.eye(num_cols)[7:9]
    np.testing.assert_allclose(filters.filter_projections(rows, window=shift), expected, atol=1e-6)


def test_every_view_may_have_its_own_filter(rng):
    rows = rng.normal(size=(3, 2, 12)).astype(np.float32)
    bank = rng.uniform(size=(3, 1, filters.filter_length(12) // 2 + 1)).astype(np.float32)
    result = filters.filter_projections(rows, window=bank)
    for view in range(3):
        alone = filters.filter_projections(rows[view], window=bank[view, 0])
        np.testing.assert_allclose(result[view], alone, atol=1e-6)


@pytest.mark.parametrize("own_filters", [False, True])
def test_blocks_of_views_give_the_same(rng, monkeypatch, own_filters):
    rows = jnp.asarray(rng.normal(size=(7, 2, 10)), jnp.float32)
    bank = jnp.asarray(rng.uniform(size=(7 if own_filters else 1, 1, 11)), jnp.float32)

    def loss(rows, bank):
        return jnp.sum(filters.map_views(filters.convolve_rows, rows, bank) ** 2)

    whole = jax.value_and_grad(loss, argnums=(0, 1))(rows, bank)
    monkeypatch.setattr(filters, "_BLOCK_SAMPLES", 3 * 2 * 20)
    blocks = jax.value_and_grad(loss, argnums=(0, 1))(rows, bank)
    assert "scan" in str(jax.make_jaxpr(loss)(rows, bank))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), whole, blocks)


def test_symmetric_filter_is_its_own_transpose(rng):
    p, q = (jnp.asarray(rng.normal(size=(3, 25)), jnp.float32) for _ in range(2))
    forth = jnp.vdot(filters.filter_projections(p), q)
    np.testing.assert_allclose(forth, jnp.vdot(p, filters.filter_projections(q)), rtol=1e-5)


def test_gradients(rng):
    with jax.enable_x64(True):
        rows, response = jnp.asarray(rng.normal(size=(2, 9))), filters.ramp_response(9)

        def filtered(rows, pixel_size, response):
            return filters.filter_projections(rows, pixel_size, window=response)

        check_grads(filtered, (rows, jnp.asarray(0.8), response), order=1)
        check_grads(lambda step: filters.ramp_response(9, fan_step=step), (jnp.asarray(0.05),), order=1)
        check_grads(jax.jit(lambda c: filters.window_response("hann", 9, cutoff=c)), (jnp.asarray(0.77),), order=1)


def test_integers_and_half_precision_are_filtered_in_float32():
    rows = np.arange(12).reshape(2, 6)
    expected = direct_convolution(rows, 1.0)
    for dtype in (np.int32, np.float16):
        result = filters.filter_projections(rows.astype(dtype))
        assert result.dtype == jnp.float32
        np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"window": "blackman"}, ValueError, "window must be one of ram-lak.*'blackman'"),
        ({"window": None}, TypeError, "window must be a name, an array or a function, got NoneType"),
        ({"window": np.ones(5)}, ValueError, r"must have 9 values.*got shape \(5,\)"),
        ({"window": np.ones((4, 9))}, ValueError, "does not broadcast"),
        ({"window": np.ones((1, 1, 9))}, ValueError, "does not broadcast"),
        ({"window": lambda f: 1.0}, ValueError, r"window must return an array of shape \(9,\)"),
        ({"window": np.ones(9), "cutoff": 0.5}, ValueError, "cutoff applies to named windows"),
        ({"cutoff": 0.0}, ValueError, "cutoff must be a fraction"),
        ({"cutoff": 1.2}, ValueError, "cutoff must be a fraction"),
        ({"cutoff": np.nan}, ValueError, "cutoff must be a fraction"),
        ({"projections": np.ones((3, 0))}, ValueError, r"projections must have at least one.*\(3, 0\)"),
        ({"projections": np.float32(1)}, ValueError, "projections must have at least one"),
        ({"projections": np.ones((3, 8), complex)}, TypeError, "projections must be real, got complex"),
    ],
)
def test_errors_name_the_argument(options, error, words):
    projections = options.pop("projections", np.ones((3, 8), np.float32))
    with pytest.raises(error, match=words):
        filters.filter_projections(projections, **options)


def test_no_columns_is_an_error():
    with pytest.raises(ValueError, match="num_cols must be at least 1, got 0"):
        filters.filter_length(0)
