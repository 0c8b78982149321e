"""Penalties against their definitions in loops, with derivatives that are right, kinks and masked voxels included."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxct import priors, wavelets
from tests.operators import random

SHAPE, SPACING = (3, 2, 4), (2.0, 1.0, 0.5)

POTENTIALS = {
    "quadratic": (priors.quadratic, {}, lambda a, b: (a - b) ** 2 / 2),
    "huber": (
        priors.huber,
        {"delta": 0.3},
        lambda a, b: (a - b) ** 2 / 2 if abs(a - b) < 0.3 else 0.3 * (abs(a - b) - 0.15),
    ),
    "relative_difference": (
        priors.relative_difference,
        {"gamma": 1.5, "epsilon": 0.1},
        lambda a, b: (a - b) ** 2 / (a + b + 1.5 * abs(a - b) + 0.1),
    ),
}
PENALTIES = {
    **{name: (penalty, options) for name, (penalty, options, _) in POTENTIALS.items()},
    "relative_difference": (priors.relative_difference, {"epsilon": 0.1, "neighbourhood": "faces"}),
    "quadratic_full": (priors.quadratic, {"neighbourhood": "full"}),
    "total_variation": (priors.total_variation, {}),
    "total_variation_smooth": (priors.total_variation, {"smoothing": 0.2}),
    "total_variation_anisotropic": (priors.total_variation, {"smoothing": 0.2, "isotropic": False}),
}
each_penalty = pytest.mark.parametrize("name", PENALTIES)


@pytest.fixture
def image():
    return np.random.default_rng(0).uniform(0.1, 1.5, size=SHAPE)


@pytest.fixture
def weights():
    return np.random.default_rng(1).uniform(0.5, 2, size=SHAPE)


@pytest.fixture
def mask():
    return np.random.default_rng(2).random(SHAPE) < 0.7


def pair_sum(potential, x, neighbourhood, weights, mask):
    """Every ordered pair of voxels whose indices differ by at most 1, and half of it."""
    total = 0.0
    for i, j in itertools.product(np.ndindex(x.shape), repeat=2):
        offset = np.abs(np.subtract(i, j))
        if i != j and offset.max() == 1 and (neighbourhood == "full" or offset.sum() == 1) and mask[i] and mask[j]:
            total += 0.5 * weights[i] * weights[j] * potential(x[i], x[j]) / np.linalg.norm(offset * SPACING)
    return total


@pytest.mark.parametrize("neighbourhood", ["faces", "full"])
@pytest.mark.parametrize("name", POTENTIALS)
def test_pairs_of_neighbours_by_their_definition(name, neighbourhood, image, weights, mask):
    penalty, options, potential = POTENTIALS[name]
    plain = np.ones(SHAPE)
    with jax.enable_x64(True):
        for w, m in ((plain, plain > 0), (weights, plain > 0), (weights, mask)):
            value = penalty(image, neighbourhood=neighbourhood, spacing=SPACING, weights=w, mask=m, **options)
            np.testing.assert_allclose(value, pair_sum(potential, image, neighbourhood, w, m), rtol=1e-12)
        value = penalty(image, neighbourhood=neighbourhood, spacing=SPACING, **options)
        np.testing.assert_allclose(value, pair_sum(potential, image, neighbourhood, plain, plain > 0), rtol=1e-12)


@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.4])
def test_total_variation_by_its_definition(isotropic, smoothing, image, weights, mask):
    size = lambda square: np.sqrt(square + smoothing**2) - smoothing  # noqa: E731
    for inside in (np.ones(SHAPE, bool), mask):
        total = 0.0
        for i in np.ndindex(SHAPE):
            squares = []
            for axis in range(3):
                j = tuple(np.add(i, np.eye(3, dtype=int)[axis]))
                if j[axis] < SHAPE[axis] and inside[i] and inside[j]:
                    squares.append(((image[j] - image[i]) / SPACING[axis]) ** 2)
            total += weights[i] * (size(sum(squares)) if isotropic else sum(map(size, squares)))
        with jax.enable_x64(True):
            value = priors.total_variation(
                image, smoothing=smoothing, isotropic=isotropic, spacing=SPACING, weights=weights, mask=inside
            )
        np.testing.assert_allclose(value, total, rtol=1e-12)


@each_penalty
def test_derivatives(name, image, weights, mask):
    penalty, options = PENALTIES[name]
    with jax.enable_x64(True):
        f = lambda x: penalty(x, spacing=SPACING, weights=weights, mask=mask, **options)  # noqa: E731
        check_grads(jax.jit(f), (image,), order=1, eps=1e-5, rtol=1e-6)
        if name != "huber":  # whose second derivative jumps
            check_grads(jax.jit(jax.grad(f)), (image,), order=1, modes=["fwd"], eps=1e-5, rtol=1e-6)


@each_penalty
def test_a_constant_has_no_penalty_and_no_gradient(name):
    penalty, options = PENALTIES[name]
    for value in (0.0, 0.7):
        result, gradient = jax.jit(jax.value_and_grad(lambda x: penalty(x, **options)))(jnp.full(SHAPE, value))
        assert result == 0
        np.testing.assert_array_equal(gradient, 0)


def test_two_zeros_have_no_relative_difference_where_epsilon_is_zero():
    x = jnp.zeros(SHAPE).at[0, 0, :2].set(1.0)
    value, gradient = jax.jit(jax.value_and_grad(priors.relative_difference))(x)
    assert value > 0
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[2:], 0)


@each_penalty
def test_a_mirror_image_and_a_voxel_size_that_goes_with_its_axis(name, image):
    """Total variation takes forward differences, whose length depends on the direction in which they are taken."""
    penalty, options = PENALTIES[name]
    with jax.enable_x64(True):
        wanted = penalty(image, spacing=SPACING, **options)
        turned = penalty(image.transpose(2, 0, 1), spacing=np.take(SPACING, (2, 0, 1)), **options)
        np.testing.assert_allclose(turned, wanted, rtol=1e-12)
        assert abs(penalty(image, spacing=SPACING[::-1], **options) - wanted) > 1e-3 * wanted
        if name not in ("total_variation", "total_variation_smooth"):
            for axis in range(3):
                flipped = penalty(np.flip(image, axis), spacing=SPACING, **options)
                np.testing.assert_allclose(flipped, wanted, rtol=1e-12)


@each_penalty
def test_what_is_masked_out_has_no_say(name, image, mask):
    penalty, options = PENALTIES[name]
    f = jax.jit(jax.value_and_grad(lambda x: penalty(x, mask=mask, **options)))
    value, gradient = f(image)
    spoilt, spoilt_gradient = f(np.where(mask, image, np.nan))
    assert value == spoilt
    np.testing.assert_array_equal(gradient, spoilt_gradient)
    np.testing.assert_array_equal(gradient[~mask], 0)
    assert (gradient[mask] != 0).any()


@each_penalty
def test_dtypes_and_batches(name, image):
    penalty, options = PENALTIES[name]
    f = lambda x: penalty(x, spacing=SPACING, **options)  # noqa: E731
    assert f(image.astype(np.float32)).dtype == f(image.astype(np.float16)).dtype == jnp.float32
    assert f(np.ones(SHAPE, int)).dtype == jnp.float32
    images = np.stack([image, 2 * image]).astype(np.float32)
    np.testing.assert_allclose(jax.vmap(f)(images), [f(images[0]), f(images[1])], rtol=1e-6)
    with jax.enable_x64(True):
        assert f(image).dtype == jnp.float64


@pytest.mark.parametrize("name", ["quadratic", "huber", "quadratic_full"])
def test_the_curvature_majorises_between_any_two_images(name, weights, mask):
    penalty, options = PENALTIES[name]
    options = {**options, "spacing": SPACING, "weights": weights, "mask": mask}
    f = jax.jit(lambda x: penalty(x, **options))
    with jax.enable_x64(True):
        curvature = priors.pair_curvature(SHAPE, **{k: v for k, v in options.items() if k != "delta"})
        assert (np.asarray(curvature)[~mask] == 0).all()
        gradient = jax.jit(jax.grad(f))
        for seed in range(5):
            x, y = random(seed, SHAPE), random(seed + 10, SHAPE)
            bound = f(x) + jnp.vdot(gradient(x), y - x) + jnp.sum(curvature * (y - x) ** 2) / 2
            assert f(y) <= bound * (1 + 1e-12)
        if name != "huber":
            gap = jnp.diag(curvature.ravel()) - jax.jit(jax.hessian(f))(x).reshape(x.size, x.size)
            eigenvalues = jnp.linalg.eigvalsh(gap)
            assert eigenvalues[0] > -1e-12 * eigenvalues[-1]
            assert eigenvalues[0] < 1e-12 * eigenvalues[-1], "no smaller multiple would do"


def test_smoothed_total_variation_bends_no_more_than_its_bound(image, weights):
    f = lambda x: priors.total_variation(x, smoothing=0.05, spacing=SPACING, weights=weights)  # noqa: E731
    bound = 4 * weights.max() * np.sum(np.power(SPACING, -2)) / 0.05
    with jax.enable_x64(True):
        hessian = jax.jit(jax.hessian(f))
        for scale in (0.0, 1e-3, 1.0):
            eigenvalues = np.linalg.eigvalsh(hessian(scale * image).reshape(image.size, image.size))
            assert eigenvalues[0] > -1e-12 * bound
            assert eigenvalues[-1] <= bound
            assert scale > 0 or eigenvalues[-1] > 0.3 * bound


def test_smoothing_loses_no_digits_to_cancellation():
    value = priors.total_variation(jnp.asarray([0.0, 1e-6], jnp.float32), smoothing=1.0)
    np.testing.assert_allclose(value, 5e-13, rtol=1e-5)


@pytest.mark.parametrize("shape", [(8,), (1,), (4, 7), (5, 6, 3)])
@pytest.mark.parametrize("levels", [1, 2, 9])
def test_the_haar_transform_is_orthonormal(shape, levels):

    @jax.jit
    def results(x):
        transform = partial(wavelets.haar, levels=levels)
        coefficients = transform(x)
        back = wavelets.inverse_haar(coefficients, levels=levels)
        transposed = jax.linear_transpose(transform, x)(coefficients)[0]
        return coefficients, back, transposed, transform(jnp.ones_like(x))

    with jax.enable_x64(True):
        x = np.random.default_rng(0).normal(size=shape)
        coefficients, back, transposed, constant = results(x)
        assert coefficients.shape == shape
        np.testing.assert_allclose(np.sum(np.square(coefficients)), np.sum(x**2), rtol=1e-13)
        np.testing.assert_allclose(back, x, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(transposed, x, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(np.where(wavelets.approximation(shape, levels), 0, constant), 0, atol=1e-14)


def test_the_haar_transform_of_a_power_of_two_is_the_textbooks():
    root = np.sqrt(2)
    with jax.enable_x64(True):
        got = wavelets.haar(np.array([9.0, 7.0, 3.0, 5.0]), levels=2)
        np.testing.assert_allclose(got, [12, 4, root, -root], rtol=1e-14)
        image = np.array([[1.0, 2.0], [3.0, 5.0]])
        np.testing.assert_allclose(wavelets.haar(image), [[5.5, -1.5], [-2.5, 0.5]], rtol=1e-14)
    assert (wavelets.approximation((4, 5), 1) == np.outer([1, 1, 0, 0], [1, 1, 1, 0, 0])).all()


def test_the_wavelet_penalty_is_the_l1_norm_of_the_details():
    with jax.enable_x64(True):
        x = random(0, (5, 6))
        details = np.asarray(wavelets.haar(x, levels=2))[~wavelets.approximation((5, 6), 2)]
        assert details.size == 30 - 4
        np.testing.assert_allclose(priors.wavelet(x, levels=2), np.abs(details).sum(), rtol=1e-13)
        smoothed = np.sum(np.sqrt(details**2 + 0.01) - 0.1)
        np.testing.assert_allclose(priors.wavelet(x, levels=2, smoothing=0.1), smoothed, rtol=1e-13)
        np.testing.assert_allclose(priors.wavelet(x + 3, levels=2), np.abs(details).sum(), rtol=1e-12)
        check_grads(jax.jit(lambda x: priors.wavelet(x, levels=2, smoothing=0.1)), (x,), order=1)
        np.testing.assert_array_equal(jax.grad(partial(priors.wavelet, levels=2))(jnp.full((4, 4), 0.1)), 0)


def test_the_wavelet_threshold_is_the_proximal_map():
    """No image nearby has a smaller objective, and the subgradient condition holds for every detail."""
    threshold, levels = 0.4, 2
    with jax.enable_x64(True):
        x = random(0, (5, 6))
        z = priors.wavelet_threshold(x, threshold, levels=levels)
        objective = lambda z: jnp.sum((z - x) ** 2) / 2 + threshold * priors.wavelet(z, levels=levels)  # noqa: E731
        for seed in range(20):
            assert objective(z + 10.0 ** -(seed % 5) * random(seed + 1, x.shape)) > objective(z)
        gap, details = (np.asarray(wavelets.haar(a, levels=levels)) for a in (x - z, z))
        inner = wavelets.approximation(x.shape, levels)
        np.testing.assert_allclose(gap[inner], 0, atol=1e-14)
        zero = np.abs(details) < 1e-13
        assert (zero & ~inner).any()
        np.testing.assert_allclose(gap[~inner & ~zero], threshold * np.sign(details[~inner & ~zero]), rtol=1e-12)
        assert (np.abs(gap) <= threshold * (1 + 1e-12)).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: priors.total_variation(x, smoothing=-1.0), ValueError, "smoothing must not be negative, got -1"),
        (lambda x: priors.total_variation(x, spacing=(1.0, 2.0)), ValueError, r"spacing .*\(3,\), got shape \(2,\)"),
        (lambda x: priors.quadratic(x, spacing=0.0), ValueError, "spacing must be positive"),
        (lambda x: priors.quadratic(x, neighbourhood="edges"), ValueError, "neighbourhood .* 'edges'"),
        (lambda x: priors.quadratic(x, weights=jnp.ones(2)), ValueError, r"weights .*\(3, 2, 4\), got \(2,\)"),
        (lambda x: priors.quadratic(x, weights=-1.0), ValueError, "weights must not be negative, got -1"),
        (lambda x: priors.quadratic(x, mask=jnp.ones(SHAPE)), TypeError, "mask must be boolean, got .*float32"),
        (lambda x: priors.quadratic(x * 1j), TypeError, "x must be real numbers, got .*complex"),
        (lambda x: priors.huber(x, delta=0.0), ValueError, "delta must be positive"),
        (lambda x: priors.relative_difference(x, gamma=-0.5), ValueError, "gamma must not be negative, got -0.5"),
        (lambda x: priors.wavelet(x, levels=0), ValueError, "levels must be a positive integer, got 0"),
        (lambda x: priors.wavelet_threshold(x, -1.0), ValueError, "threshold must not be negative, got -1"),
    ],
)
def test_bad_input_names_the_argument(call, error, message):
    for wrapped in (call, jax.jit(call)):
        with pytest.raises(error, match=message):
            wrapped(jnp.ones(SHAPE))
