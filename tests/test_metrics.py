"""Metrics against closed forms, their definitions in NumPy, and their limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxct import metrics


@pytest.fixture
def images():
    rng = np.random.default_rng(5)
    reference = rng.normal(3.0, 1.0, (20, 24))
    return reference + rng.normal(0.1, 0.4, reference.shape), reference


@pytest.fixture
def mask():
    return np.random.default_rng(6).random((20, 24)) < 0.3


def test_errors_by_hand():
    image, reference = jnp.array([1.0, 2.0, 3.0, 8.0]), jnp.array([1.0, 4.0, 0.0, 4.0])
    inside = np.array([True, True, False, True])
    assert float(metrics.rmse(image, reference)) == pytest.approx(np.sqrt(29 / 4))
    assert float(metrics.rmse(image, reference, mask=inside)) == pytest.approx(np.sqrt(20 / 3))
    assert float(metrics.nrmse(image, reference)) == pytest.approx(np.sqrt(29 / 33))
    assert float(metrics.psnr(image, reference, data_range=10.0)) == pytest.approx(10 * np.log10(100 / (29 / 4)))
    assert float(metrics.masked_mean(image, inside)) == pytest.approx(11 / 3)


@pytest.mark.parametrize("metric", [metrics.rmse, metrics.nrmse])
def test_errors_have_a_gradient_at_equal_images(metric):
    image = jnp.arange(1.0, 7.0).reshape(2, 3)
    np.testing.assert_array_equal(jax.grad(metric)(image, image), 0)
    assert np.isfinite(jax.grad(metric)(image.at[0, 0].add(1.0), image)).all()


def test_equal_images():
    image = jnp.arange(400.0).reshape(20, 20)
    assert metrics.rmse(image, image) == 0
    assert metrics.nrmse(image, image) == 0
    assert metrics.psnr(image, image, data_range=1.0) == np.inf
    assert float(metrics.ssim(image, image, data_range=400.0)) == pytest.approx(1.0, abs=1e-6)
    assert float(metrics.correlation(image, image)) == pytest.approx(1.0, abs=1e-6)


def test_definitions_with_and_without_mask(images, mask):
    x, y = images
    for inside in (None, mask):
        u, v = (x.ravel(), y.ravel()) if inside is None else (x[inside], y[inside])
        np.testing.assert_allclose(metrics.rmse(x, y, mask=inside), np.sqrt(np.mean((u - v) ** 2)), rtol=1e-5)
        expected = np.linalg.norm(u - v) / np.linalg.norm(v)
        np.testing.assert_allclose(metrics.nrmse(x, y, mask=inside), expected, rtol=1e-5)
        np.testing.assert_allclose(metrics.correlation(x, y, mask=inside), np.corrcoef(u, v)[0, 1], rtol=1e-5)
    np.testing.assert_allclose(metrics.masked_mean(x, mask), x[mask].mean(), rtol=1e-6)


def test_values_outside_the_mask_do_not_count(images, mask):
    x, y = images
    spoiled = np.where(mask, x, np.nan)
    for measure in (metrics.rmse, metrics.nrmse, metrics.correlation):
        assert measure(spoiled, y, mask=mask) == measure(x, y, mask=mask)
    assert metrics.masked_mean(spoiled, mask) == metrics.masked_mean(x, mask)


def test_correlation_knows_no_scale_but_sign(images):
    x, y = images
    for a, b in ((2.0, 5.0), (1e-3, -40.0)):
        np.testing.assert_allclose(metrics.correlation(a * x + b, y), metrics.correlation(x, y), rtol=1e-4)
    np.testing.assert_allclose(metrics.correlation(-x, y), -metrics.correlation(x, y), rtol=1e-5)
    assert np.isnan(metrics.correlation(np.ones_like(y), y))


def ssim_by_windows(x, y, data_range, sigma, window, k1, k2):
    """The definition, window by window."""
    profile = np.exp(-0.5 * ((np.arange(window) - window // 2) / sigma) ** 2)
    weights = profile
    for _ in range(x.ndim - 1):
        weights = weights[..., None] * profile
    weights = weights / weights.sum()
    c1, c2, values = (k1 * data_range) ** 2, (k2 * data_range) ** 2, []
    for start in np.ndindex(*(n - window + 1 for n in x.shape)):
        where = tuple(slice(s, s + window) for s in start)
        u, v = x[where], y[where]
        mu, mv = (weights * u).sum(), (weights * v).sum()
        su, sv = (weights * (u - mu) ** 2).sum(), (weights * (v - mv) ** 2).sum()
        suv = (weights * (u - mu) * (v - mv)).sum()
        values.append((2 * mu * mv + c1) * (2 * suv + c2) / ((mu**2 + mv**2 + c1) * (su + sv + c2)))
    return np.mean(values)


@pytest.mark.parametrize(("shape", "window"), [((20, 24), 11), ((7, 8, 9), 5)])
def test_ssim_follows_its_definition(shape, window):
    rng = np.random.default_rng(7)
    y = rng.normal(3.0, 1.0, shape)
    x = 0.8 * y + rng.normal(0.3, 0.5, shape)
    expected = ssim_by_windows(x, y, 4.0, 1.5, window, 0.01, 0.03)
    assert 0.2 < expected < 0.95
    np.testing.assert_allclose(metrics.ssim(x, y, data_range=4.0, window=window), expected, rtol=2e-5)
    with jax.enable_x64(True):
        np.testing.assert_allclose(metrics.ssim(x, y, data_range=4.0, window=window), expected, rtol=1e-12)


def test_ssim_of_constant_images_is_its_luminance_term():
    x, y, c1 = 2.0, 3.0, 0.01**2
    expected = (2 * x * y + c1) / (x**2 + y**2 + c1)
    found = metrics.ssim(np.full((12, 13), x), np.full((12, 13), y), data_range=1.0)
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_ssim_keeps_its_digits_on_a_high_pedestal():
    """Hounsfield units plus 1000, with a contrast of a few units: the variances are a millionth of the squares."""
    rng = np.random.default_rng(8)
    y = 1000.0 + rng.normal(0.0, 2.0, (30, 30))
    x = y + rng.normal(0.0, 1.0, y.shape)
    expected = ssim_by_windows(x, y, 10.0, 1.5, 11, 0.01, 0.03)
    np.testing.assert_allclose(metrics.ssim(x, y, data_range=10.0), expected, rtol=1e-4)


def test_ssim_is_symmetric_and_falls_with_noise(images):
    _, y = images
    noise = np.random.default_rng(9).normal(size=y.shape)
    values = [float(metrics.ssim(y + s * noise, y, data_range=5.0)) for s in (0.1, 0.3, 1.0)]
    assert 1 > values[0] > values[1] > values[2] > 0
    assert float(metrics.ssim(y, y + noise, data_range=5.0)) == pytest.approx(values[2], rel=1e-5)


@pytest.mark.parametrize(
    ("tp", "tn", "fp", "fn"),
    [(6, 3, 1, 2), (50, 900, 30, 20), (0, 5, 5, 0), (3, 0, 0, 7), (40, 60, 0, 0), (0, 0, 4, 6)],
)
def test_mcc_from_the_counts(tp, tn, fp, fn):
    prediction = np.repeat([True, False, True, False], [tp, tn, fp, fn])
    truth = np.repeat([True, False, False, True], [tp, tn, fp, fn])
    product = float((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    expected = (tp * tn - fp * fn) / np.sqrt(product) if product else 0.0
    assert float(metrics.mcc(prediction, truth)) == pytest.approx(expected, abs=1e-5)


def test_mcc_of_a_large_image_does_not_overflow():
    truth = np.zeros((1024, 1024), bool)
    truth[:, :300] = True
    prediction = np.roll(truth, 30, 1)
    n, t, both = truth.size, truth.sum(), (truth & prediction).sum()
    assert float(metrics.mcc(prediction, truth)) == pytest.approx(
        (both / n - (t / n) ** 2) / (t / n * (1 - t / n)), rel=1e-4
    )


def test_long_sums_in_float32():
    image = np.full((200, 300, 300), 0.1, np.float32)
    assert float(metrics.masked_mean(image, np.ones(1, bool))) == pytest.approx(0.1, rel=1e-6)


def test_metrics_jit_vmap_and_grad(images):
    x, y = (jnp.asarray(image, jnp.float32) for image in images)
    batch = jnp.stack([x, y, 0.5 * x])
    measures = [
        metrics.rmse,
        metrics.nrmse,
        metrics.correlation,
        lambda a, b: metrics.psnr(a, b, data_range=5.0),
        lambda a, b: metrics.ssim(a, b, data_range=5.0),
    ]
    for measure in measures:
        batched = jax.jit(jax.vmap(measure, (0, None)))(batch, y)
        np.testing.assert_allclose(batched[2], measure(batch[2], y), rtol=1e-4)
    gradient = jax.grad(lambda a: metrics.ssim(a, y, data_range=5.0))(x)
    assert np.isfinite(gradient).all()
    step = metrics.ssim(x + 10.0 * gradient, y, data_range=5.0)
    assert step > metrics.ssim(x, y, data_range=5.0)


A = np.zeros((12, 12), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "name"),
    [
        (lambda: metrics.rmse(A, A[:3]), ValueError, "image and reference"),
        (lambda: metrics.rmse(A[:0], A[:0]), ValueError, "image and reference"),
        (lambda: metrics.rmse(A.astype(complex), A), TypeError, "image"),
        (lambda: metrics.nrmse(A, A, mask=A), TypeError, "mask"),
        (lambda: metrics.correlation(A, A, mask=np.ones(5, bool)), ValueError, "mask"),
        (lambda: metrics.ssim(A, A[:, :11], data_range=1.0), ValueError, "image and reference"),
        (lambda: metrics.ssim(A[0], A[0], data_range=1.0), ValueError, "rank"),
        (lambda: metrics.ssim(A[:5], A[:5], data_range=1.0), ValueError, "voxels along every axis"),
        (lambda: metrics.ssim(A, A, data_range=1.0, window=4), ValueError, "window"),
        (lambda: metrics.ssim(A, A, data_range=1.0, sigma=0.0), ValueError, "sigma"),
        (lambda: metrics.mcc(A, A > 0), TypeError, "prediction"),
        (lambda: metrics.mcc(A > 0, A[:2] > 0), ValueError, "prediction and truth"),
        (lambda: metrics.masked_mean(A, A), TypeError, "mask"),
    ],
)
def test_bad_input_is_named(call, error, name):
    with pytest.raises(error, match=name):
        call()
