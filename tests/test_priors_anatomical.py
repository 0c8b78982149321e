"""Penalties with an anatomical image against their definitions in loops, with right derivatives and no price on edges
that the two images share."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxct import priors, priors_anatomical
from jaxct.priors_anatomical import bowsher, bowsher_curvature, bowsher_weights, parallel_level_sets
from tests.operators import random

SHAPE, SPACING = (3, 2, 4), (2.0, 1.0, 0.5)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def image():
    return np.random.default_rng(0).uniform(0.1, 1.5, size=SHAPE)


@pytest.fixture
def anatomy():
    """Of few values, so that many neighbours are equal."""
    return np.random.default_rng(1).integers(0, 3, size=SHAPE).astype(float)


def chosen(anatomy, j, num_neighbours, neighbourhood, mask):
    """The neighbours of j that are most like it, and of equal ones the nearest."""
    found = []
    for k in np.ndindex(anatomy.shape):
        offset = np.abs(np.subtract(j, k))
        if offset.max() != 1 or (neighbourhood == "faces" and offset.sum() > 1) or not (mask[j] and mask[k]):
            continue
        found.append((abs(anatomy[j] - anatomy[k]), np.linalg.norm(offset * SPACING), k))
    found.sort(key=lambda entry: entry[:2])
    return found[:num_neighbours]


@pytest.mark.parametrize("neighbourhood", ["faces", "full"])
@pytest.mark.parametrize("masked", [False, True])
def test_bowsher_is_its_definition(image, neighbourhood, masked):
    """An anatomical image whose differences all differ, so that the choice is no matter of order."""
    anatomy = np.random.default_rng(3).normal(size=SHAPE)
    mask = np.random.default_rng(2).random(SHAPE) < (0.7 if masked else 2)
    wanted = 0.0
    for j in np.ndindex(SHAPE):
        for _, distance, k in chosen(anatomy, j, 3, neighbourhood, mask):
            wanted += (image[j] - image[k]) ** 2 / 2 / distance / 2
    options = {"neighbourhood": neighbourhood, "spacing": SPACING, "mask": mask if masked else None}
    weights = bowsher_weights(anatomy, num_neighbours=3, **options)
    got = bowsher(image, weights, neighbourhood=neighbourhood)
    assert got == pytest.approx(wanted, rel=1e-12)


def test_among_equals_the_nearest_are_taken(anatomy):
    """Of a voxel's neighbours, in number and in distance."""
    weights = np.asarray(bowsher_weights(np.zeros(SHAPE), num_neighbours=1, spacing=SPACING))
    along = [offset for _, _, offset in priors_anatomical.neighbours(3, "full")]
    assert [offset for offset, w in zip(along, weights, strict=True) if w.any()] == [(0, 0, 1)]


def test_with_all_neighbours_it_is_the_penalty_without_anatomy(image, anatomy):
    for neighbourhood, number in (("faces", 6), ("full", 26)):
        options = {"neighbourhood": neighbourhood, "spacing": SPACING}
        weights = bowsher_weights(anatomy, num_neighbours=number, **options)
        options_of_pairs = {"neighbourhood": neighbourhood}
        wanted = priors.quadratic(image, **options)
        np.testing.assert_allclose(bowsher(image, weights, **options_of_pairs), wanted, rtol=1e-13)
        relative = bowsher(image, weights, potential="relative_difference", gamma=1.5, epsilon=0.1, **options_of_pairs)
        wanted = priors.relative_difference(image, gamma=1.5, epsilon=0.1, **options)
        np.testing.assert_allclose(relative, wanted, rtol=1e-13)
        curvature = bowsher_curvature(weights, **options_of_pairs)
        np.testing.assert_allclose(curvature, priors.pair_curvature(SHAPE, **options), rtol=1e-13)


def test_curvature_is_above_the_hessian(image, anatomy):
    weights = bowsher_weights(anatomy, num_neighbours=4)
    hessian = np.asarray(jax.hessian(lambda x: bowsher(x, weights))(image)).reshape(image.size, image.size)
    above = np.diag(np.ravel(bowsher_curvature(weights))) - hessian
    assert np.linalg.eigvalsh(above).min() > -1e-12


def test_a_shared_edge_costs_nothing():
    step = np.where(np.arange(8) < 4, 0.0, 1.0)[:, None] * np.ones(9)
    weights = bowsher_weights(step, num_neighbours=3)
    assert bowsher(7 - 3 * step, weights) == 0
    assert bowsher(step.T[:8, :8], weights[:, :, :8]) > 1
    unshared = parallel_level_sets(step, np.zeros_like(step), eta=1e-3)
    np.testing.assert_allclose(unshared, priors.total_variation(step), rtol=1e-12)
    assert parallel_level_sets(7 - 3 * step, step, eta=1e-3) < 3 * 1.01e-3 * unshared


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("masked", [False, True])
def test_parallel_level_sets_are_their_definition(image, smoothing, masked):
    anatomy, eta = np.random.default_rng(3).normal(size=SHAPE), 0.4
    factors = np.random.default_rng(4).uniform(0.5, 2, SHAPE)
    mask = np.random.default_rng(2).random(SHAPE) < (0.7 if masked else 2)

    def gradient(x, i):
        d = np.zeros(3)
        for axis, step in enumerate(SPACING):
            j = tuple(n + (k == axis) for k, n in enumerate(i))
            if j[axis] < SHAPE[axis] and mask[i] and mask[j]:
                d[axis] = (x[j] - x[i]) / step
        return d

    wanted = 0.0
    for i in np.ndindex(SHAPE):
        d, a = gradient(image, i), gradient(anatomy, i)
        xi = a / np.sqrt(a @ a + eta**2)
        wanted += factors[i] * (np.sqrt(max(d @ d - (xi @ d) ** 2, 0) + smoothing**2) - smoothing)
    options = {"smoothing": smoothing, "spacing": SPACING, "weights": factors, "mask": mask if masked else None}
    assert parallel_level_sets(image, anatomy, eta=eta, **options) == pytest.approx(wanted, rel=1e-12)


PENALTIES = {
    "bowsher": lambda x, a: bowsher(x, bowsher_weights(a, num_neighbours=4)),
    "bowsher_relative": lambda x, a: bowsher(
        x, bowsher_weights(a, num_neighbours=4), potential="relative_difference", epsilon=0.1
    ),
    "parallel_level_sets": partial(parallel_level_sets, eta=0.5, smoothing=0.2),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_derivatives_vmap_and_single_precision(image, anatomy, name):
    penalty = PENALTIES[name]
    check_grads(jax.jit(lambda x: penalty(x, anatomy)), (image,), order=1, modes=("rev",))
    images = jnp.stack([image, image[::-1]])
    each = [penalty(x, anatomy) for x in images]
    np.testing.assert_allclose(jax.vmap(lambda x: penalty(x, anatomy))(images), each, rtol=1e-13)
    single = penalty(jnp.asarray(image, jnp.float32), jnp.asarray(anatomy, jnp.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, each[0], rtol=1e-5)


def test_flat_images_have_a_gradient():
    flat, edges = jnp.ones(SHAPE), random(0, SHAPE)
    slope = jax.grad(lambda x: parallel_level_sets(x, edges, eta=0.3))(flat)
    np.testing.assert_array_equal(slope, 0)


def test_masked_voxels_have_no_say(image, anatomy):
    mask = np.ones(SHAPE, bool)
    mask[1, 1, 2] = False
    spoiled = np.where(mask, image, np.nan)
    slope = jax.grad(lambda x: parallel_level_sets(x, anatomy, eta=0.3, mask=mask))(spoiled)
    assert np.isfinite(slope).all()
    assert slope[1, 1, 2] == 0
    weights = np.asarray(bowsher_weights(np.where(mask, anatomy, np.nan), num_neighbours=3, mask=mask))
    assert bowsher(jnp.zeros(SHAPE).at[1, 1, 2].set(5.0), weights) == 0
    assert bowsher(jnp.zeros(SHAPE).at[1, 0, 2].set(5.0), weights) > 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: bowsher_weights(x, num_neighbours=27), ValueError, "num_neighbours must be at most 26, got 27"),
        (lambda x: bowsher_weights(x, num_neighbours=0), ValueError, "num_neighbours must be a positive integer"),
        (lambda x: bowsher_weights(x, num_neighbours=2, neighbourhood="all"), ValueError, "neighbourhood .* 'all'"),
        (lambda x: bowsher_weights(x, num_neighbours=2, spacing=0.0), ValueError, "spacing must be positive"),
        (lambda x: bowsher(x, np.ones(SHAPE)), ValueError, r"weights must have shape .*\(13, 3, 2, 4\)"),
        (lambda x: bowsher(x, -np.ones((13, *SHAPE))), ValueError, "weights must not be negative, got -1"),
        (lambda x: bowsher(x, np.ones((13, *SHAPE)), potential="l1"), ValueError, "potential .* 'l1'"),
        (lambda x: parallel_level_sets(x, x[0], eta=1.0), ValueError, r"anatomy .*\(3, 2, 4\), got \(2, 4\)"),
        (lambda x: parallel_level_sets(x, x, eta=0.0), ValueError, "eta must be positive"),
        (lambda x: parallel_level_sets(x, x, eta=1.0, smoothing=-1.0), ValueError, "smoothing must not be negative"),
    ],
)
def test_bad_input_names_the_argument(image, call, error, message):
    with pytest.raises(error, match=message):
        call(image)
