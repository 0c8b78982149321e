"""PET image quality on images whose answers are known by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxct.geometry import VolumeGrid
from jaxct.pet import metrics
from jaxct.pet.phantoms import nema_background_centers, nema_image_quality, nema_sphere_centers
from jaxct.pet.phantoms.nema import SPHERE_DIAMETERS

LABELS = np.array([[1, 1, 0, 2], [1, 1, 0, 2], [0, 0, 3, 3]])
IMAGE = np.arange(12.0).reshape(3, 4)
MEANS = [2.5, 5.0, 10.5]


def masks():
    return np.stack([k == LABELS for k in (1, 2, 3)])


@pytest.mark.parametrize("regions", [LABELS, masks(), masks().astype(np.float32), 7.0 * masks()])
def test_region_means_by_hand(regions):
    np.testing.assert_allclose(metrics.region_means(IMAGE, regions), MEANS, rtol=1e-6)


def test_region_means_weigh_voxels_that_are_partly_inside():
    weights = np.array([0.0, 0.25, 1.0, 0.5])
    np.testing.assert_allclose(metrics.region_means([7.0, 4.0, 2.0, 6.0], weights), [6 / 1.75], rtol=1e-6)


def test_one_mask_is_one_region():
    np.testing.assert_allclose(metrics.region_means(IMAGE, LABELS == 2), [5.0])


def test_what_lies_outside_does_not_count():
    spoiled = np.where(LABELS > 0, IMAGE, np.nan)
    np.testing.assert_allclose(metrics.region_means(spoiled, masks()), MEANS, rtol=1e-6)
    np.testing.assert_allclose(metrics.region_means(spoiled, LABELS), MEANS, rtol=1e-6)


def test_labels_may_be_traced_or_have_gaps():
    found = jax.jit(lambda labels: metrics.region_means(IMAGE, labels, num_regions=2))(LABELS)
    np.testing.assert_allclose(found, MEANS[:2])
    assert np.isnan(metrics.region_means(IMAGE, np.where(LABELS == 2, 0, LABELS))[1])


def test_means_of_large_regions_keep_their_digits():
    """Three sums of 64 and 128 terms, each of which rounds by half an eps."""
    image = np.full((64, 128, 128), 0.1, np.float32)
    for regions in (np.ones(image.shape, np.int32), np.ones(image.shape, bool)):
        np.testing.assert_allclose(metrics.region_means(image, regions), [np.float32(0.1)], rtol=320 * 6e-8)


def realisations():
    """Three realisations with the means a = (9, 5, 7) in two targets and b = (2, 1, 3) in two background regions."""
    targets, backgrounds = (
        np.array([[8.0, 10.0], [4.0, 6.0], [7.0, 7.0]]),
        np.array([[1.0, 3.0], [1.0, 1.0], [2.0, 4.0]]),
    )
    labels = np.array([[1, 1, 0, 2, 2, 2], [3, 3, 3, 0, 4, 4]])
    values = np.concatenate([np.full((3, 1), 99.0), targets, backgrounds], 1)
    images = values[:, labels]
    return images, np.where(labels <= 2, labels, 0), np.maximum(labels - 2, 0)


def test_crc_by_hand():
    images, target, background = realisations()
    expected = np.mean([9 / 2 - 1, 5 / 1 - 1, 7 / 3 - 1]) / (4 - 1)
    found = metrics.contrast_recovery_coefficient(images, target, background, 4.0)
    assert float(found) == pytest.approx(expected, rel=1e-6)
    # Regions count alike, however large they are: the second target has three voxels, the first two.
    whole = metrics.contrast_recovery_coefficient(images, target > 0, background > 0, 4.0)
    assert float(whole) != pytest.approx(expected, rel=1e-3)


def test_std_by_hand():
    images, _, background = realisations()
    b = np.array([[1.0, 3.0], [1.0, 1.0], [2.0, 4.0]])
    expected = np.mean(np.std(b, 0, ddof=1) / b.mean(0))
    assert float(metrics.background_std(images, background)) == pytest.approx(expected, rel=1e-6)


def test_perfect_images_have_crc_one_and_no_std():
    truth = np.where(LABELS == 1, 4.0, 1.0)
    images = np.stack([truth, 2 * truth])
    assert float(metrics.contrast_recovery_coefficient(images, LABELS == 1, LABELS == 3, 4.0)) == pytest.approx(1.0)
    assert float(metrics.background_std(np.stack([truth, truth]), LABELS == 3)) == 0.0


def test_contrast_recovery_of_each_region():
    found = metrics.contrast_recovery(IMAGE, np.array([1, 2])[:, None, None] == LABELS, LABELS == 3, (0.5, 2.0))
    np.testing.assert_allclose(found, [(2.5 / 10.5 - 1) / -0.5, 5 / 10.5 - 1], rtol=1e-6)


def test_ensemble_statistics_by_hand_and_by_identity():
    images, truth = np.array([[1.0, 5.0], [3.0, 5.0], [8.0, 2.0]]), np.array([2.0, 6.0])
    found = metrics.ensemble_statistics(images, truth)
    np.testing.assert_allclose(found.mean, [4, 4])
    np.testing.assert_allclose(found.bias, [2, -2])
    np.testing.assert_allclose(found.variance, [13, 3])
    np.testing.assert_allclose(found.mse, [(1 + 1 + 36) / 3, (1 + 1 + 16) / 3], rtol=1e-6)
    np.testing.assert_allclose(found.mse, found.bias**2 + 2 / 3 * found.variance, rtol=1e-6)


GRID = VolumeGrid((26, 60, 76), (4.0, 4.0, 4.0))


def coordinates():
    return np.meshgrid(*(np.asarray(c) for c in GRID.coordinates()), indexing="ij")


def test_nema_of_a_volume_that_rises_along_x_and_z():
    """Means in circles are the values at their centres: everything is known from where the circles are."""
    z, _, x = coordinates()
    volume = 10 + 0.02 * x + 0.03 * z
    found = metrics.nema_image_quality(volume, GRID, contrast=3.0)
    # Slices lie at 2, 6, 10 ...: of two that are as near the lower one is taken.
    slices = np.array([-22.0, -10.0, -2.0, 10.0, 18.0])
    b = 10 + 0.02 * nema_background_centers()[:, 2] + 0.03 * slices[:, None]
    c = 10 + 0.02 * nema_sphere_centers()[:, 2] + 0.03 * -2.0
    np.testing.assert_allclose(found.contrast, (c / b.mean() - 1) / 2 * 100, atol=0.03)
    np.testing.assert_allclose(found.variability, 6 * [b.std(ddof=1) / b.mean() * 100], rtol=5e-3)
    np.testing.assert_allclose(found.lung_z, np.arange(-50, 51, 4))
    np.testing.assert_allclose(found.lung_error, (10 + 0.03 * np.arange(-50, 51, 4)) / b.mean() * 100, rtol=1e-3)


def test_nema_of_the_phantom_itself():
    grid = VolumeGrid((21, 116, 150), (3.0, 2.0, 2.0))
    contrast = (4.0, 4.0, 4.0, 8.0, 0.0, 0.0)
    volume = nema_image_quality(contrast, background=0.3, sphere_wall=0.0).activity.rasterize(grid, oversample=2)
    found = jax.jit(lambda v: metrics.nema_image_quality(v, grid, contrast=contrast))(volume)
    # A circle as wide as the sphere, in a slice of 3 mm: it sees a little background at the rim, the less the larger.
    assert (np.asarray(found.contrast) < 100.1).all()
    assert (np.asarray(found.contrast) > [84, 89, 91, 93, 94.5, 96]).all()
    np.testing.assert_allclose(found.variability, 0, atol=1e-3)
    np.testing.assert_allclose(found.lung_error, 0, atol=1e-3)


def test_nema_follows_the_phantom_and_counts_lung_slices():
    grid = VolumeGrid((70, 60, 76), (4.0, 4.0, 4.0), (-17.0, 5.0, 3.0))
    center = (10.0, 5.0, 3.0)
    z, y, x = np.meshgrid(*(np.asarray(c) for c in grid.coordinates()), indexing="ij")
    volume = np.where(np.hypot(y - 5, x - 3) < 24, 0.2, 1.0) + 0 * z
    found = metrics.nema_image_quality(volume, grid, center=center)
    np.testing.assert_allclose(found.lung_error, 20, rtol=1e-5)
    assert found.lung_z.shape == (48,)  # 194 mm in whole slices of 4 mm
    assert float(found.lung_z.min()) - 2 >= 10 + 70 - 194
    assert float(found.lung_z.max()) + 2 <= 10 + 70
    np.testing.assert_allclose(found.contrast, 0, atol=1e-4)


def test_background_variability_is_the_spread_of_the_sixty_means():
    """One slice of the five brighter by half: 12 of 60 means at 1.5, 48 at 1."""
    z, _, _ = coordinates()
    volume = np.where(np.abs(z - 10) < 1, 1.5, 1.0)
    found = metrics.nema_image_quality(volume, GRID)
    means = np.array([1.5] * 12 + [1.0] * 48)
    np.testing.assert_allclose(found.variability, means.std(ddof=1) / means.mean() * 100, rtol=1e-5)
    assert len(SPHERE_DIAMETERS) == found.variability.shape[0]


def test_everything_is_batched_and_compiled():
    images, target, background = realisations()
    batch = jnp.stack([images, 2 * images + 1])
    for measure in (
        lambda x: metrics.contrast_recovery_coefficient(x, target, background, 4.0),
        lambda x: metrics.background_std(x, background),
        lambda x: metrics.contrast_recovery(x[0], target, background, 4.0),
        lambda x: metrics.ensemble_statistics(x, images[0]).mse,
    ):
        found = jax.jit(jax.vmap(measure))(batch)
        for one, image in zip(found, batch, strict=True):
            np.testing.assert_allclose(one, measure(image), rtol=1e-5)
    gradient = jax.grad(lambda x: metrics.contrast_recovery_coefficient(x, target, background, 4.0))(batch[0])
    assert (np.asarray(gradient)[:, target > 0] > 0).all()
    assert (np.asarray(gradient)[:, (target == 0) & (background == 0)] == 0).all()


IMAGES = np.ones((3, 2, 2))
BAD = [
    (lambda: metrics.region_means(IMAGE, LABELS[:2]), ValueError, "regions"),
    (lambda: metrics.region_means(IMAGE, masks()[:, :2]), ValueError, "regions"),
    (lambda: metrics.region_means(IMAGE, 0 * LABELS), ValueError, "regions"),
    (lambda: metrics.region_means(IMAGE, -1.0 * masks()), ValueError, "regions"),
    (lambda: metrics.region_means(1j * IMAGE, LABELS), TypeError, "image"),
    (lambda: metrics.region_means(IMAGE, LABELS, num_regions=0), ValueError, "num_regions"),
    (lambda: jax.jit(lambda k: metrics.region_means(IMAGE, k))(LABELS), TypeError, "num_regions"),
    (lambda: metrics.contrast_recovery(IMAGE, LABELS, LABELS == 3, 1.0), ValueError, "true_ratio"),
    (lambda: metrics.contrast_recovery(IMAGE, LABELS, LABELS == 3, (2.0, 3.0)), ValueError, "true_ratio"),
    (
        lambda: metrics.contrast_recovery_coefficient(IMAGES, np.ones((3, 3)), np.ones((2, 2)), 2.0),
        ValueError,
        "target",
    ),
    (lambda: metrics.background_std(IMAGES, np.ones((3, 3))), ValueError, "background"),
    (lambda: metrics.background_std(IMAGES[:1], np.ones((2, 2))), ValueError, "images"),
    (lambda: metrics.ensemble_statistics(IMAGES, np.ones(3)), ValueError, "truth"),
    (lambda: metrics.nema_image_quality(np.ones((3, 3, 3)), GRID), ValueError, "volume"),
    (lambda: metrics.nema_image_quality(np.ones((3, 3, 3)), (3, 3, 3)), TypeError, "grid"),
    (lambda: metrics.nema_image_quality(np.ones((8, 8, 8)), VolumeGrid((8, 8, 8), 30.0)), ValueError, "grid"),
    (lambda: metrics.nema_image_quality(np.ones(GRID.shape), GRID, contrast=1.0), ValueError, "contrast"),
]


@pytest.mark.parametrize(("call", "error", "name"), BAD)
def test_bad_input_is_named(call, error, name):
    with pytest.raises(error, match=name):
        call()
