"""Scanners: their crystals are where they are said to be, and a grid's fit is judged rightly."""

import dataclasses

import jax
import numpy as np
import pytest

import jaxct
from jaxct.geometry.lors import ListMode, LORs
from jaxct.pet.scanners import (
    Scanner,
    Timing,
    block_rings,
    equal_rings,
    fitting_scanners,
    ge_discovery_690,
    ge_discovery_mi,
    siemens_mct,
    siemens_mmr,
)

PRESETS = [ge_discovery_690, ge_discovery_mi, siemens_mmr, siemens_mct]


def ring(**changes):
    options = {"num_crystals": 12, "radius": 100.0, "rings": equal_rings(3, 5.0), "crystal_size": (4.0, 20.0)}
    return Scanner.cylindrical(**(options | changes))


def block_scanner(**changes):
    options = {
        "num_sides": 6,
        "blocks_per_side": 2,
        "crystals_per_block": 3,
        "radius": 100.0,
        "pitch": 10.0,
        "block_gap": 7.0,
        "virtual_crystals": 1,
        "rings": equal_rings(2, 5.0),
        "crystal_size": (4.0, 9.0),
    }
    return Scanner.blocks(**(options | changes))


@pytest.mark.parametrize(
    ("preset", "crystals", "rings", "live", "live_rings"),
    [
        (ge_discovery_690, 576, 24, 576, 24),
        (ge_discovery_mi, 544, 36, 544, 36),
        (siemens_mmr, 504, 64, 448, 64),
        (siemens_mct, 672, 55, 624, 52),
    ],
)
def test_presets_have_as_many_crystals_as_published(preset, crystals, rings, live, live_rings):
    scanner = preset()
    assert (scanner.num_crystals, scanner.num_rings) == (crystals, rings)
    assert (scanner.live.sum(), scanner.live_rings.sum()) == (live, live_rings)
    assert preset() is scanner, "a scanner is known by its identity, so the same call must give the same one"


@pytest.mark.parametrize(
    ("preset", "length"), [(ge_discovery_690, 157), (ge_discovery_mi, 200), (siemens_mmr, 258), (siemens_mct, 221)]
)
def test_presets_are_as_long_as_published(preset, length):
    scanner = preset()
    assert np.ptp(scanner.rings) + scanner.axial_size == pytest.approx(length, abs=scanner.axial_size)
    assert scanner.rings.sum() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("preset", PRESETS)
def test_crystals_face_the_axis_and_lie_where_their_numbers_say(preset):
    scanner = preset()
    angle = np.arctan2(scanner.crystals[:, 1], -scanner.crystals[:, 0])
    step = 2 * np.pi / scanner.num_crystals
    wanted = scanner.first_angle + step * np.arange(scanner.num_crystals)
    assert np.abs(np.angle(np.exp(1j * (angle - wanted)))).max() < 0.75 * step
    radii = np.linalg.norm(scanner.crystals, axis=1)
    assert scanner.inner_radius < radii.min() <= radii.max() < 1.05 * scanner.inner_radius
    across = np.linalg.det(np.stack([scanner.tangents, scanner.crystals], -1))
    assert (np.abs(across) > 0.99 * np.linalg.norm(scanner.tangents, axis=1) * radii).all()
    following = np.roll(scanner.crystals, -1, 0) - scanner.crystals
    assert (np.einsum("ck,ck->c", following, scanner.tangents) > 0).all(), "faces point to the next crystal"


def test_the_first_crystal_is_where_the_source_of_a_ct_scanner_is():
    angle = 0.7
    geometry = jaxct.FanBeam(
        [angle], source_origin_distance=100.0, source_detector_distance=200.0, detector_shape=(4,), pixel_size=1.0
    )
    scanner = ring(first_angle=angle)
    np.testing.assert_allclose(scanner.crystals[0], geometry.to_vectors().source[0], rtol=1e-6)
    np.testing.assert_allclose(scanner.tangents[0], 20 * geometry.to_vectors().col_axis[0], rtol=1e-6)


def test_a_scanner_turned_is_one_with_another_first_angle():
    turned, wanted = ring(first_angle=0.2).rotated(0.5), ring(first_angle=0.7)
    np.testing.assert_allclose(turned.crystals, wanted.crystals, atol=1e-12)
    np.testing.assert_allclose(turned.tangents, wanted.tangents, atol=1e-12)
    assert turned.first_angle == pytest.approx(0.7)


def test_crystals_are_behind_the_faces_by_the_depth_of_interaction():
    scanner = ring(depth_of_interaction=7.0)
    np.testing.assert_allclose(np.linalg.norm(scanner.crystals, axis=1), 107)
    assert scanner.inner_radius == 100
    assert scanner.effective_radius == pytest.approx(107)


def test_blocks_keep_their_pitch_and_gaps():
    scanner = block_scanner()
    assert scanner.num_crystals == 6 * 2 * 4
    assert scanner.live.reshape(12, 4).tolist() == [[False, True, True, True]] * 12
    blocks = scanner.crystals.reshape(12, 4, 2)
    np.testing.assert_allclose(np.linalg.norm(np.diff(blocks[:, 1:], axis=1), axis=2), 10)
    across_gap = np.linalg.norm(blocks[1::2, 1] - blocks[0::2, 3], axis=1)
    np.testing.assert_allclose(across_gap, 17)
    # The place of a gap is halfway between the crystals beside it, over corners, too.
    np.testing.assert_allclose(blocks[:, 0], (blocks[:, 1] + np.roll(blocks, 1, 0)[:, 3]) / 2, atol=1e-12)
    # All crystals of a side are in one plane, as far from the axis as the polygon's sides.
    sides = blocks.reshape(6, 8, 2)[:, [1, 2, 3, 5, 6, 7]]
    outwards = sides.mean(1) / np.linalg.norm(sides.mean(1), axis=1)[:, None]
    np.testing.assert_allclose(np.einsum("sck,sk->sc", sides, outwards), 100)


def test_axial_blocks_keep_their_pitch_and_gaps():
    z, live = block_rings(3, 4, 2.0, 5.0)
    assert live.all()
    np.testing.assert_allclose(np.diff(z), [2, 2, 2, 7, 2, 2, 2, 7, 2, 2, 2])
    assert z[0] == -z[-1]
    z, live = block_rings(2, 2, 2.0, 4.0, virtual_rings=2)
    np.testing.assert_allclose(np.diff(z), 2)
    assert live.tolist() == [True, True, False, False, True, True]


def test_a_block_of_one_side_is_a_polygon():
    options = {"num_sides": 8, "radius": 50.0, "pitch": 5.0, "rings": [0.0], "crystal_size": (4.0, 4.0)}
    polygon = Scanner.regular_polygon(crystals_per_side=4, **options)
    blocks = Scanner.blocks(crystals_per_block=4, **options)
    np.testing.assert_array_equal(polygon.crystals, blocks.crystals)


def test_positions_of_crystals_are_gathered_also_under_jit():
    scanner = block_scanner()
    ring_numbers, crystals = np.array([[0], [1]]), np.array([3, 17, 40])
    points = scanner.crystal_positions(ring_numbers, crystals)
    assert points.shape == (2, 3, 3)
    np.testing.assert_allclose(points[1, 2], [2.5, *scanner.crystals[40]], rtol=1e-6)
    np.testing.assert_array_equal(jax.jit(scanner.crystal_positions)(ring_numbers, crystals), points)


def test_lines_of_pairs_run_from_the_first_crystal_to_the_second():
    scanner = ring()
    pairs = np.array([[0, 12 + 6], [24 + 1, 4]])
    lors = scanner.lors_of(pairs)
    assert isinstance(lors, LORs)
    np.testing.assert_allclose(lors.start[0], [-5, -100, 0], atol=1e-5)
    np.testing.assert_allclose(lors.end[0], [0, 100, 0], atol=1e-5)
    np.testing.assert_allclose(lors.start[1, 0], 5)
    np.testing.assert_array_equal(np.asarray(scanner.flat_number(2, 1)), pairs[1, 0])
    # Both faces of a diameter are seen whole; a line 60 degrees from the faces' normals sees half of them.
    np.testing.assert_allclose(lors.widths, [[4, 20], [4, 20 * np.cos(np.pi / 4)]], rtol=1e-6)


def test_list_mode_takes_the_bins_of_scanners_with_timing_alone():
    pairs = np.array([[0, 6], [1, 7]])
    timed = ring(timing=Timing(400.0, 100.0, 5))
    assert isinstance(timed.list_mode(pairs, np.array([0, 4])), ListMode)
    assert isinstance(timed.list_mode(pairs), LORs)
    assert timed.lors_of(pairs).projection_shape == (2, 5)
    assert timed.lors_of(pairs, tof=False).projection_shape == (2,)
    with pytest.raises(ValueError, match="no timing"):
        ring().list_mode(pairs, np.array([0, 4]))


def test_time_of_flight_is_half_the_way_of_light():
    tof = ring(timing=Timing(1000.0, 100.0, 8)).tof
    # A FWHM of 1 ns is 149.9 mm along the line.
    np.testing.assert_allclose(tof.sigma * 2 * np.sqrt(2 * np.log(2)), 149.896229, rtol=1e-6)
    np.testing.assert_allclose(tof.bin_width, 14.9896229, rtol=1e-6)
    assert Timing(1000.0, 100.0, 8).mashed(4) == Timing(1000.0, 400.0, 2)
    assert ge_discovery_690(tof_mashing=5).tof.num_bins == 11


@pytest.mark.parametrize("preset", [ge_discovery_690, ge_discovery_mi, siemens_mct])
def test_time_bins_cover_the_field_of_view(preset):
    timing = preset().timing
    assert 0.149896 * timing.bin_width * timing.num_bins >= 0.85 * 700


def test_any_crystals_give_pairs_but_no_sinograms():
    positions = np.random.default_rng(0).normal(size=(7, 3)) * 100
    scanner = Scanner.from_crystals(positions)
    np.testing.assert_allclose(scanner.crystal_positions(0, np.arange(7)), positions, rtol=1e-6)
    lors = scanner.lors_of(np.array([[2, 5]]))
    np.testing.assert_allclose(lors.end[0], positions[5], rtol=1e-6)
    assert lors.widths is None
    with pytest.raises(ValueError, match="rings"):
        scanner.layout()


@pytest.mark.parametrize("preset", PRESETS)
def test_the_vendors_grid_fits_its_scanner(preset):
    scanner = preset()
    report = scanner.check_grid(scanner.grid())
    assert report.fits, str(report)
    assert str(report).startswith("A grid of ")


@pytest.mark.parametrize("preset", PRESETS)
def test_the_fitted_grid_holds_all_that_is_seen(preset):
    scanner = preset()
    grid = scanner.fit_grid()
    report = scanner.check_grid(grid)
    assert report.fits
    assert report.grid_radius >= report.field_radius - 1e-3
    assert min(report.axial_margins) >= 0
    smaller = jaxct.VolumeGrid((grid.shape[0] - 2, *grid.shape[1:]), grid.voxel_size, grid.center)
    assert not scanner.check_grid(smaller).fits


def test_slices_of_a_fitted_grid_are_on_the_rings_and_between_them():
    for preset in (ge_discovery_690, siemens_mmr, siemens_mct):
        scanner = preset()
        assert scanner.check_grid(scanner.fit_grid()).slice_shift < 1e-3
        assert scanner.fit_grid().shape[0] == 2 * scanner.num_rings - 1


@pytest.mark.parametrize(
    ("grid", "text"),
    [
        (jaxct.VolumeGrid((5, 10, 10), 3.0), "shorter than the rings"),
        (jaxct.VolumeGrid((80, 10, 10), (2.0, 6.0, 6.0)), "detail is lost"),
        (jaxct.VolumeGrid((80, 10, 10), 2.0, (0.0, 500.0, 0.0)), "no voxel lies in the bore"),
    ],
)
def test_what_does_not_fit_is_said(grid, text):
    report = ge_discovery_690().check_grid(grid)
    assert not report.fits
    assert "does not fit GE Discovery 690" in str(report)
    assert text in str(report)


def test_what_is_worth_knowing_of_a_grid_is_noted():
    scanner = ge_discovery_690()
    shifted = scanner.check_grid(jaxct.VolumeGrid((48, 300, 300), 3.27))
    assert shifted.fits
    assert "nearest slice's centre" in str(shifted)
    assert shifted.slice_shift == pytest.approx(3.27 / 2, abs=1e-3)
    assert "outside the bore" in str(shifted)
    narrow = scanner.check_grid(jaxct.VolumeGrid((201, 50, 50), (3.27, 0.5, 0.5)))
    for text in ("what is active between must be none", "seen by few lines or none", "more unknowns"):
        assert text in str(narrow)
    with pytest.raises(ValueError, match="three axes"):
        scanner.check_grid(jaxct.VolumeGrid((10, 10)))


def test_fraction_in_the_bore_is_that_of_the_circle():
    report = ge_discovery_690().check_grid(jaxct.VolumeGrid((60, 405, 405), (3.27, 2.0, 2.0)))
    assert report.inside_bore == pytest.approx(np.pi * 405.1**2 / 810**2, rel=1e-3)


def test_scanners_that_a_grid_fits_come_first():
    reports = fitting_scanners(jaxct.VolumeGrid((100, 100, 100), 2.0))
    assert [r.fits for r in reports] == [True, True, False, False]
    assert {r.scanner for r in reports[:2]} == {"GE Discovery 690", "GE Discovery MI"}
    assert reports[0].bore_radius < reports[1].bore_radius


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: ring(num_crystals=0), ValueError, "num_crystals"),
        (lambda: ring(radius=-1.0), ValueError, "radius"),
        (lambda: ring(rings=[1.0, 0.0]), ValueError, "rings must ascend"),
        (lambda: ring(rings=[[0.0]]), ValueError, "rings must have shape"),
        (lambda: ring(rings=[np.nan]), ValueError, "rings must be finite"),
        (lambda: ring(crystal_size=4.0), ValueError, "crystal_size"),
        (lambda: ring(live=np.ones(12, int)), TypeError, "live must be booleans"),
        (lambda: ring(live=np.ones(11, bool)), ValueError, r"live must have shape \(12,\)"),
        (lambda: block_scanner(pitch=30.0), ValueError, "more than the side"),
        (lambda: block_scanner(num_sides=2), ValueError, "num_sides"),
        (lambda: block_scanner(block_gap=-1.0), ValueError, "block_gap"),
        (lambda: Timing(1.0, 1.0, 10).mashed(3), ValueError, "tof_mashing"),
        (lambda: ring().lors_of(np.array([[0, 36]])), ValueError, r"pairs must lie in \[0, 36\)"),
        (lambda: ring().lors_of(np.array([0, 3])), ValueError, "pairs must have shape"),
        (lambda: ring().lors_of(np.array([[0.0, 3.0]])), TypeError, "pairs must be integers"),
        (lambda: ring().crystal_positions(3, 0), ValueError, "ring must lie in"),
        (lambda: block_rings(2, 2, 2.0, -1.0), ValueError, "gap"),
    ],
)
def test_what_is_no_scanner_is_refused(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_a_scanner_cannot_be_changed():
    scanner = ring()
    with pytest.raises(dataclasses.FrozenInstanceError):
        scanner.name = "other"
    with pytest.raises(ValueError, match="read-only"):
        scanner.crystals[0] = 0
