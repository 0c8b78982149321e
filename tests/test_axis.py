"""The rotation axis is found from projections: parallel, fan and cone, full turns, short scans, half turns."""

import jax
import numpy as np
import pytest

from jaxct import ConeBeam, FanBeam, ParallelBeam, ParallelVectors
from jaxct.io import WALNUT, axis_offset, find_axis_offset, open_scan, with_axis_offset
from tests.data import data_path

# x, y, half axes, angle, value: an asymmetric object about 60 across
ELLIPSES = (
    (0, 0, 30, 22, 0.3, 0.02),
    (9, 5, 5, 9, 1.0, 0.01),
    (-11, -9, 3, 3, 0.0, -0.015),
    (-5, 11, 2, 5, 2.0, 0.02),
)


def chords(angle, t):
    """Line integrals of the ellipses along the lines x cos(angle) + y sin(angle) = t."""
    total = 0.0
    for x, y, a, b, phi, value in ELLIPSES:
        s2 = (a * np.cos(angle - phi)) ** 2 + (b * np.sin(angle - phi)) ** 2
        d = t - x * np.cos(angle) - y * np.sin(angle)
        total = total + value * 2 * a * b * np.sqrt(np.maximum(s2 - d**2, 0)) / s2
    return total


def columns(geometry, offset):
    """Column positions, in mm from the axis, of a detector that in truth is displaced."""
    cols, pixel = geometry.detector_shape[-1], float(geometry.pixel_size[-1])
    return (np.arange(cols) - (cols - 1) / 2 + offset) * pixel


def parallel_scan(offset, *, views=91, arc=np.pi, pixel=0.8):
    geometry = ParallelBeam(np.arange(views) * arc / views, detector_shape=(110,), pixel_size=pixel)
    return geometry, chords(np.asarray(geometry.angles)[:, None], columns(geometry, offset)[None])


def fan_scan(offset, *, detector="flat", views=120, arc=2 * np.pi):
    geometry = FanBeam(
        np.arange(views) * arc / views,
        source_origin_distance=150,
        source_detector_distance=250,
        detector_shape=(110,),
        pixel_size=1.2,
        detector=detector,
    )
    u = columns(geometry, offset) / 250
    gamma = np.arctan(u) if detector == "flat" else u
    return geometry, chords(np.asarray(geometry.angles)[:, None] - gamma, 150 * np.sin(gamma)[None])


def noisy(projections, level=0.02):
    return projections + np.random.default_rng(2).normal(scale=level, size=projections.shape)


@pytest.mark.parametrize("offset", [0.0, 3.3, -7.62])
def test_parallel_half_turn(offset):
    geometry, projections = parallel_scan(offset)
    assert abs(find_axis_offset(projections, geometry) - offset) < 0.05
    assert abs(find_axis_offset(noisy(projections), geometry) - offset) < 0.25


def test_parallel_half_turn_with_both_ends_and_views_in_any_order():
    geometry, projections = parallel_scan(4.7, views=92, arc=np.pi * 92 / 91)
    order = np.random.default_rng(0).permutation(92)
    assert abs(find_axis_offset(projections[order], geometry[order]) - 4.7) < 0.05


def test_parallel_half_turn_whose_angles_pass_through_zero():
    """From 270 to 360 and from 0 to 90 degrees."""
    geometry = ParallelBeam((np.arange(91) * np.pi / 91 + 1.5 * np.pi) % (2 * np.pi), detector_shape=(110,))
    projections = chords(np.asarray(geometry.angles)[:, None], columns(geometry, 3.3)[None])
    assert abs(find_axis_offset(projections, geometry) - 3.3) < 0.05


@pytest.mark.parametrize("offset", [2.3, -11.4])
def test_parallel_full_turn(offset):
    geometry, projections = parallel_scan(offset, arc=2 * np.pi, views=120)
    assert abs(find_axis_offset(noisy(projections), geometry) - offset) < 0.25


@pytest.mark.parametrize("detector", ["flat", "curved"])
@pytest.mark.parametrize("offset", [0.0, 2.3, -6.71, 30.2])
def test_fan_full_turn(detector, offset):
    """The last offset is that of a half fan: the object reaches beyond the detector on one side."""
    geometry, projections = fan_scan(offset, detector=detector)
    assert abs(find_axis_offset(projections, geometry) - offset) < 0.1
    assert abs(find_axis_offset(noisy(projections), geometry) - offset) < 0.25


def test_fan_short_scan():
    geometry, projections = fan_scan(5.4, arc=1.35 * np.pi)
    assert abs(find_axis_offset(noisy(projections), geometry) - 5.4) < 0.25


def test_fan_views_in_any_order_and_with_a_repeated_one():
    geometry, projections = fan_scan(-3.2)
    order = np.append(np.random.default_rng(0).permutation(120), 0)
    assert abs(find_axis_offset(projections[order], geometry[order]) + 3.2) < 0.1


def test_cone_uses_the_plane_of_the_source():
    """Rows off the mid-plane carry another object, which must not matter."""
    fan, projections = fan_scan(4.3)
    volume = np.stack([np.roll(projections, 40, axis=0)] * 3 + [projections] * 2, axis=1)
    geometry = ConeBeam(
        fan.angles,
        source_origin_distance=150,
        source_detector_distance=250,
        detector_shape=(5, 110),
        pixel_size=1.2,
        detector_offset=(-1.2 * 1.5, 0.0),
    )
    assert abs(find_axis_offset(volume, geometry) - 4.3) < 0.1


def test_an_offset_is_put_into_a_geometry_and_can_be_differentiated():
    geometry = ConeBeam(
        np.zeros(2),
        source_origin_distance=2,
        source_detector_distance=4,
        detector_shape=(4, 6),
        pixel_size=(0.5, 0.25),
        detector_offset=(1.0, 9.0),
    )
    moved = with_axis_offset(geometry, 3.0)
    np.testing.assert_array_equal(moved.detector_offset, [1.0, 0.75])
    assert axis_offset(moved) == 3.0
    slope = jax.grad(lambda d: with_axis_offset(geometry, d).to_vectors().detector_center[0, 2])(3.0)
    assert slope == pytest.approx(0.25)


def test_an_offset_may_vary_from_view_to_view():
    geometry = ConeBeam(
        np.zeros(3),
        source_origin_distance=2,
        source_detector_distance=4,
        detector_shape=(4, 6),
        pixel_size=(0.5, 0.25),
        detector_offset=(1.0, 9.0),
    )
    moved = with_axis_offset(geometry, np.array([3.0, 4.0, 5.0]))
    np.testing.assert_array_equal(moved.detector_offset, [[1.0, 0.75], [1.0, 1.0], [1.0, 1.25]])
    np.testing.assert_array_equal(axis_offset(moved), [3.0, 4.0, 5.0])
    np.testing.assert_array_equal(axis_offset(with_axis_offset(moved, 2.0)), [2.0, 2.0, 2.0])
    with pytest.raises(ValueError, match="offset"):
        with_axis_offset(geometry, np.zeros(2))


def test_input_that_cannot_tell_is_refused():
    geometry, projections = parallel_scan(0.0)
    with pytest.raises(ValueError, match="half a turn"):
        find_axis_offset(projections[:40], geometry[:40])
    fan, fan_projections = fan_scan(0.0)
    with pytest.raises(ValueError, match="measured twice"):
        find_axis_offset(fan_projections[:20], fan[:20])
    with pytest.raises(ValueError, match="projections"):
        find_axis_offset(projections[:, 1:], geometry)
    with pytest.raises(ValueError, match="max_offset"):
        find_axis_offset(projections, geometry, max_offset=60)
    with pytest.raises(TypeError, match="ParallelVectors"):
        find_axis_offset(projections, geometry.to_vectors())
    assert isinstance(geometry.to_vectors(), ParallelVectors)


def test_helix_is_refused():
    geometry = ConeBeam(
        np.linspace(0, 6, 8),
        source_origin_distance=2,
        source_detector_distance=4,
        detector_shape=(4, 6),
        pixel_size=1,
        source_z=np.arange(8.0),
    )
    with pytest.raises(ValueError, match="source_z"):
        find_axis_offset(np.zeros((8, 4, 6)), geometry)


def test_measured_tooth():
    scan = open_scan(data_path("tooth_parallel/tooth.h5"))
    offset = find_axis_offset(scan.line_integrals().values, scan.geometry)
    assert abs((640 - 1) / 2 - offset - 296) < 0.5


def test_measured_walnut():
    scan = open_scan(WALNUT)
    assert abs(find_axis_offset(scan.projections, scan.geometry)) < 0.5


@pytest.mark.parametrize("name", ["ta", "tb"])
def test_measured_fan(name):
    scan = open_scan(data_path(f"htc2022_fan/htc2022_{name}_full.mat"))
    assert abs(find_axis_offset(scan.projections, scan.geometry)) < 0.5


def test_measured_fan_cropped_on_one_side():
    """Leaving 10 columns out on the left moves the detector's middle 5 pixels."""
    scan = open_scan(data_path("htc2022_fan/htc2022_ta_full.mat"), views=slice(None, None, 3))
    whole = find_axis_offset(scan.projections, scan.geometry)
    geometry = FanBeam(
        scan.geometry.angles,
        source_origin_distance=scan.geometry.source_origin_distance,
        source_detector_distance=scan.geometry.source_detector_distance,
        detector_shape=(550,),
        pixel_size=scan.geometry.pixel_size,
    )
    assert abs(find_axis_offset(scan.projections[:, 10:], geometry) - whole - 5) < 0.25
