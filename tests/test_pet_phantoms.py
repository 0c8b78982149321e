"""PET phantoms are what they say they are: sizes, places, values, totals, and a brain that stands upright."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from jaxct.geometry import VolumeGrid
from jaxct.geometry.lors import LORs
from jaxct.io import load_volume
from jaxct.pet.phantoms import brain, jaszczak, nema_background_centers, nema_image_quality, nema_sphere_centers
from jaxct.pet.phantoms.parts import ACRYLIC, NEMA_LUNG, SKULL, WATER

needs_nilearn = pytest.mark.skipif(importlib.util.find_spec("nilearn") is None, reason="nilearn is not installed")

DIAMETERS = np.array([10.0, 13.0, 17.0, 22.0, 28.0, 37.0])


def ball_volume(diameter):
    return np.pi / 6 * np.asarray(diameter) ** 3


def total(phantom, lower, upper):
    """The integral of a phantom over all space: lines along x, 2 mm apart along z and 1 mm along y."""
    z, y = (np.arange(a + p / 2, b, p) for a, b, p in zip(lower, upper, (2.0, 1.0), strict=True))
    zy = np.stack(np.meshgrid(z, y, indexing="ij"), -1).reshape(-1, 2)
    start, end = (np.concatenate([zy, np.full((len(zy), 1), x)], 1) for x in (-200.0, 200.0))
    return float(phantom.project(LORs(start, end)).sum()) * 2.0


def torso_area(wall=0.0):
    return np.pi / 2 * ((147 + wall) ** 2 + (77 + wall) ** 2) + 140 * (77 + wall)


def test_nema_totals_are_those_of_the_published_sizes():
    contrast = np.array([4.0, 4.0, 4.0, 4.0, 0.0, 0.0])
    phantom = nema_image_quality(contrast, background=2.0)
    lung = np.pi * 25**2 * 194
    filled = torso_area() * 194 - lung - ball_volume(DIAMETERS + 2).sum()
    activity = total(phantom.activity, (-136, -118), (84, 118))
    assert activity == pytest.approx(2 * (filled + (contrast * ball_volume(DIAMETERS)).sum()), rel=5e-4)
    walls = (ball_volume(DIAMETERS + 2) - ball_volume(DIAMETERS)).sum()
    shell = torso_area(3.0) * 214 - torso_area() * 194
    water = torso_area() * 194 - lung - walls
    attenuation = total(phantom.attenuation, (-136, -118), (84, 118))
    assert attenuation == pytest.approx(ACRYLIC * (shell + walls) + WATER * water + NEMA_LUNG * lung, rel=5e-4)


def test_nema_values_where_things_are():
    origin = np.array([10.0, 20.0, -30.0])
    phantom = nema_image_quality([1.0, 2.0, 3.0, 5.0, 6.0, 7.0], background=0.5, center=origin)
    spheres = nema_sphere_centers(origin)
    in_wall = spheres + np.stack([DIAMETERS / 2 + 0.5, 0 * DIAMETERS, 0 * DIAMETERS], -1)
    # Lung at both ends, background, a lid, the bottom's wall, above the top, beyond the other lid.
    others = [(69, 0, 24), (-123, 0, -24), (0, 0, 26), (75, 0, 100), (0, -113, 0), (0, 117, 0), (-135, 0, 50)]
    points = np.concatenate([spheres, in_wall, np.add(origin, others)])
    activity = [0.5, 1.0, 1.5, 2.5, 3.0, 3.5, *6 * [0], 0, 0, 0.5, 0, 0, 0, 0]
    np.testing.assert_allclose(phantom.activity(points), activity, atol=1e-6)
    attenuation = [*6 * [WATER], *6 * [ACRYLIC], NEMA_LUNG, NEMA_LUNG, WATER, ACRYLIC, ACRYLIC, 0, 0]
    np.testing.assert_allclose(phantom.attenuation(points), attenuation, atol=1e-8)


def test_nema_spheres_stand_where_the_standard_has_them():
    centers = nema_sphere_centers()
    np.testing.assert_allclose(np.hypot(centers[:, 1], centers[:, 2]), 57.2)
    np.testing.assert_allclose(centers[:, 0], 0)
    angle = np.rad2deg(np.arctan2(centers[:, 1], centers[:, 2])) % 360
    np.testing.assert_allclose(angle, [120, 60, 0, 300, 240, 180], atol=1e-9)  # clockwise, 17 mm at +x, 37 mm at -x


def test_nema_parts_meet_without_overlap_or_gap():
    """Points and lines in the faces between the torso's parts belong to one of them."""
    activity = nema_image_quality(sphere_wall=0.0).activity
    on_faces = [(0, -35, 100), (0, -35, -100), (0, -35, 45), (0, -60, 70), (0, -60, -70), (0, -35, 70), (0, -35, -70)]
    np.testing.assert_array_equal(activity(np.array(on_faces, float)), 1)
    lines = LORs([(-60.0, -35.0, -200.0), (-60.0, -200.0, 70.0)], [(-60.0, -35.0, 200.0), (-60.0, 200.0, 70.0)])
    np.testing.assert_allclose(activity.project(lines), [294, np.sqrt(147**2 - 70**2) - 35 + 112], rtol=1e-5)


def test_nema_regions_partition_the_inside():
    phantom = nema_image_quality(sphere_wall=0.0)
    assert list(phantom.regions) == [*(f"sphere_{d:.0f}" for d in DIAMETERS), "lung", "background"]
    points = np.random.default_rng(0).uniform((-140, -120, -150), (90, 120, 150), (4000, 3))
    values = np.stack([np.asarray(region(points)) for region in phantom.regions.values()])
    inside = np.asarray(phantom.attenuation(points))
    np.testing.assert_allclose(values, values.round(), atol=1e-6)
    np.testing.assert_array_equal(values.sum(0).round(), (inside > 0) & (abs(inside - ACRYLIC) > 1e-6))
    assert values[-1].sum() > 1000


def test_region_weights_are_fractions_of_voxels():
    grid = VolumeGrid((6, 6, 6), 10.0, nema_sphere_centers()[5])
    weights = nema_image_quality()._replace(regions={"sphere_37": nema_image_quality().regions["sphere_37"]})
    weight = weights.region_weights(grid, oversample=10)["sphere_37"]
    assert weight.shape == grid.shape
    assert float(weight.sum()) * 1000 == pytest.approx(ball_volume(37.0), rel=2e-3)
    assert (np.asarray(weight)[2:4, 2:4, 2:4] > 0.99).all()
    assert weight.min() == 0


def test_nema_background_circles_keep_their_distance():
    centers = nema_background_centers()
    assert centers.shape == (12, 3)
    rim = np.linspace(0, 2 * np.pi, 90)
    around = (18.5 + 15) * np.stack([0 * rim, np.sin(rim), np.cos(rim)], -1)
    activity = nema_image_quality(1.0, sphere_wall=0.0).activity  # 1 all over the inside but for the lung
    np.testing.assert_array_equal(activity(centers[:, None] + 0.999 * around), 1)
    apart = np.linalg.norm(centers[:, None] - nema_sphere_centers(), axis=-1) - 18.5 - DIAMETERS / 2
    assert apart.min() >= 15
    between = np.linalg.norm(centers[:, None] - centers, axis=-1) + 99 * np.eye(12)
    assert between.min() > 35.5  # circles of 37 mm hardly overlap


RODS = (4.8, 6.4, 7.9, 9.5, 11.1, 12.7)
SPHERES = (9.5, 12.7, 15.9, 19.1, 25.4, 31.8)


def rods_of(phantom):
    return [phantom.regions[f"rods_{d}"].shapes[0] for d in RODS]


def test_jaszczak_rods_fill_their_sectors_and_leave_each_other_room():
    rods = rods_of(jaszczak())
    places = np.concatenate([np.asarray(r.center)[:, 1:] for r in rods])
    radii = np.concatenate([np.asarray(r.semi_axes)[:, 0] for r in rods])
    assert [r.num_shapes for r in rods] == sorted((r.num_shapes for r in rods), reverse=True)
    apart = np.linalg.norm(places[:, None] - places, axis=-1) - radii[:, None] - radii + 999 * np.eye(len(radii))
    assert apart.min() >= 4.8 - 1e-3  # a gap as wide as the thinnest rod between any two
    assert (np.hypot(*places.T) + radii).max() <= 104 + 1e-3
    for number, (rod, d) in enumerate(zip(rods, RODS, strict=True)):
        own = np.asarray(rod.center)[:, 1:]
        between = np.linalg.norm(own[:, None] - own, axis=-1) + 999 * np.eye(len(own))
        np.testing.assert_allclose(between.min(1), 2 * d, rtol=1e-5)
        angle = np.arctan2(*own.T) - (5 - number) * np.pi / 3
        assert np.abs(np.angle(np.exp(1j * angle))).max() < np.pi / 6
        np.testing.assert_allclose(rod.semi_axes, d / 2)


def test_jaszczak_values_where_things_are():
    phantom = jaszczak(rods=3.0, spheres=(0.0, 0.0, 0.0, 4.0, 4.0, 4.0), background=2.0)
    places = np.concatenate([np.asarray(r.center)[:, 1:] for r in rods_of(phantom)])
    tips = np.stack([np.full(len(places), -5.5), *places.T], -1)
    angle = np.arange(6) * np.pi / 3
    spheres = np.stack([np.full(6, 34.0), 57.15 * np.sin(angle), 57.15 * np.cos(angle)], -1)
    points = np.concatenate([tips, np.add(tips, (1.0, 0, 0)), spheres])
    expected = [*len(tips) * [6], *len(tips) * [2], 0, 0, 0, 8, 8, 8]
    np.testing.assert_allclose(phantom.activity(points), expected, atol=1e-5)
    expected = [*len(tips) * 2 * [WATER], *3 * [ACRYLIC], *3 * [WATER]]
    np.testing.assert_allclose(phantom.attenuation(points), expected, atol=1e-8)


def test_jaszczak_total_lacks_what_is_cold():
    phantom = jaszczak()
    rods = sum(r.num_shapes * np.pi / 4 * d**2 * 88 for r, d in zip(rods_of(phantom), RODS, strict=True))
    expected = np.pi * 108**2 * 186 - rods - ball_volume(SPHERES).sum()
    assert total(phantom.activity, (-94, -110), (94, 110)) == pytest.approx(expected, rel=1e-3)


def test_a_derenzo_pattern_has_rods_alone():
    phantom = jaszczak(rods=1.0, background=0.0)
    found = phantom.activity(np.array([(-40.0, 0.0, 20.7), (-40.0, 0.0, 33.0), (34.0, 0.0, 57.15)]))
    np.testing.assert_allclose(found, [1, 0, 0], atol=1e-6)


def test_projections_are_sums_through_a_fine_raster():
    """Along lines through voxel centres, where a raster's sum is the mean over lines a voxel wide."""
    activity = nema_image_quality().activity
    grid = VolumeGrid((8, 60, 80), (4.0, 4.0, 4.0), (5.0, 0.0, 0.0))
    raster = np.asarray(activity.rasterize(grid, oversample=3), np.float64)
    z, y = (np.asarray(c) for c in grid.coordinates()[:2])
    sub = 4 * (np.arange(3) - 1) / 3
    zz, yy, a, b = np.meshgrid(z, y, sub, sub, indexing="ij")
    points = np.stack([zz + a, yy + b], -1).reshape(-1, 2)
    lors = LORs(*(np.concatenate([points, np.full((len(points), 1), side)], 1) for side in (-160.0, 160.0)))
    found = np.asarray(activity.project(lors)).reshape(8, 60, 9).mean(-1)
    assert found.max() > 200
    np.testing.assert_allclose(found, raster.sum(-1) * 4.0, rtol=1e-4, atol=1e-3)


TEMPLATE_FILE = "datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"


@pytest.fixture(scope="module")
def coarse_brain():
    return brain(VolumeGrid((52, 62, 54), 4.0))


def raw_maps():
    folder = Path(importlib.util.find_spec("nilearn").submodule_search_locations[0])
    return [np.asarray(load_volume(folder / TEMPLATE_FILE.format(n)).values, np.float64) / 255 for n in ("gm", "wm")]


@needs_nilearn
def test_brain_activity_is_what_the_maps_hold():
    far = np.array([[900.0, 0.0, 0.0]])
    found = brain(VolumeGrid((70, 70, 70), (3.0, 3.7, 3.1)), sphere_centers=far, head=False)
    g, w = raw_maps()
    voxel = 3.0 * 3.7 * 3.1
    assert float(found.gray.sum()) * voxel == pytest.approx(g.sum(), rel=1e-4)
    assert float(found.white.sum()) * voxel == pytest.approx(w.sum(), rel=1e-4)
    np.testing.assert_allclose(found.activity, 4 * found.gray + found.white, atol=1e-4)
    assert found.spheres.max() == 0
    tissue = float(found.attenuation.max())
    assert tissue == pytest.approx(WATER, rel=1e-5)


@needs_nilearn
def test_brain_stands_upright_and_looks_forward(coarse_brain):
    grid = VolumeGrid((52, 62, 54), 4.0)

    def at(z, y, x):
        return tuple(np.round(np.asarray(grid.to_index(np.array([z, y, x], float)))).astype(int))

    t1 = np.asarray(coarse_brain.t1)
    assert t1[at(-45, -45, 20)] > 0.5  # cerebellum: low and at the back
    assert t1[at(-45, 60, 20)] == 0  # under the forehead there is none
    middle = np.asarray(grid.coordinates()[1])[np.flatnonzero(t1.max((0, 2)) > 0.1)]
    assert middle[0] < -80
    assert middle[-1] > 80
    np.testing.assert_allclose(t1, t1[:, :, ::-1], atol=0.02)  # the symmetric template


@needs_nilearn
def test_brain_spheres_are_hot_and_in_the_pet_image_only():
    grid = VolumeGrid((60, 80, 60), 2.0, (18.0, 0.0, 0.0))
    fine, cool = brain(grid, head=False), brain(grid, head=False, sphere_centers=[[900.0, 0.0, 0.0]])
    labels = np.asarray(fine.spheres)
    assert set(np.unique(labels)) == set(range(13))
    for label in range(1, 13):
        assert (labels == label).sum() * 8 == pytest.approx(ball_volume(16.0), rel=0.06)
        assert np.asarray(cool.white)[labels == label].mean() > 0.93  # they replace white matter
    z, y, x = (np.asarray(c) for c in grid.coordinates())
    first = np.array([0.0, 41.0, -24.0]) - (5.0, -17.0, 0.0)
    distance = np.sqrt((z - first[0])[:, None, None] ** 2 + (y - first[1])[:, None] ** 2 + (x - first[2]) ** 2)
    np.testing.assert_array_equal(labels == 1, distance <= 8)
    np.testing.assert_allclose(np.asarray(fine.activity)[distance < 5], 6, rtol=1e-5)
    np.testing.assert_array_equal(fine.t1, cool.t1)
    extra = float((fine.activity - cool.activity).sum()) * 8
    covered = 12 * ball_volume(16.0)
    replaced = float((4 * (cool.gray - fine.gray) + cool.white - fine.white).sum()) * 8
    assert extra == pytest.approx(6 * covered - replaced, rel=1e-3)


@needs_nilearn
def test_brain_white_regions_are_white_matter_clear_of_the_spheres(coarse_brain):
    regions, white = np.asarray(coarse_brain.white_regions), np.asarray(coarse_brain.white)
    assert set(np.unique(regions)) == set(range(19))
    assert not (regions.astype(bool) & np.asarray(coarse_brain.spheres).astype(bool)).any()
    for label in range(1, 19):
        assert white[regions == label].mean() > 0.9


@needs_nilearn
def test_the_head_has_a_skull_between_brain_and_scalp(coarse_brain):
    mu = np.asarray(coarse_brain.attenuation)
    upwards = mu[26:, 30, 27]  # from the middle
    skull = int(upwards.argmax())
    np.testing.assert_allclose(upwards[: skull - 1], WATER, rtol=1e-4)
    assert upwards[skull] == pytest.approx(SKULL, rel=1e-4)
    assert (upwards >= 0.99 * WATER).sum() * 4 == pytest.approx(skull * 4 + 13 - 3.5, abs=4)
    assert upwards[-1] == 0
    assert np.asarray(coarse_brain.activity)[mu == 0].max() == 0


def test_the_brain_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"nilearn.*jaxct\[pet\]"):
        brain(VolumeGrid((4, 4, 4), 40.0))


GRID = VolumeGrid((4, 4, 4), 40.0)
BAD = [
    (lambda: nema_image_quality(-1.0), ValueError, "contrast"),
    (lambda: nema_image_quality((1.0, 2.0)), ValueError, "contrast"),
    (lambda: nema_image_quality(background=-1.0), ValueError, "background"),
    (lambda: nema_image_quality(sphere_wall=-1.0), ValueError, "sphere_wall"),
    (lambda: nema_image_quality(center=(1.0, 2.0)), ValueError, "center"),
    (lambda: jaszczak(rods=-1.0), ValueError, "rods"),
    (lambda: jaszczak(spheres=(1.0, 2.0)), ValueError, "spheres"),
    (lambda: brain((3, 3, 3)), TypeError, "grid"),
    (lambda: brain(VolumeGrid((3, 3))), ValueError, "grid"),
    (lambda: brain(GRID, gray=-1.0), ValueError, "gray"),
    (lambda: brain(GRID, sphere_diameter=0.0), ValueError, "sphere_diameter"),
    (lambda: brain(GRID, sphere_centers=[1.0, 2.0, 3.0]), ValueError, "sphere_centers"),
]


@pytest.mark.parametrize(("call", "error", "name"), BAD)
def test_bad_input_is_named(call, error, name):
    with pytest.raises(error, match=name):
        call()
