"""FanBeam: its vectors, by hand."""

import numpy as np

from jaxct.geometry import ConeBeam, FanBeam

QUARTERS = [0.0, np.pi / 2]
FAN = {"source_origin_distance": 100.0, "source_detector_distance": 150.0, "detector_shape": (3,), "pixel_size": 2.0}


def test_vectors_of_a_flat_detector():
    v = FanBeam(QUARTERS, **FAN, detector_offset=5.0).to_vectors()
    np.testing.assert_allclose(v.source, [[-100, 0], [0, 100]], atol=1e-4)
    np.testing.assert_allclose(v.detector_center, [[50, 5], [5, -50]], atol=1e-4)
    np.testing.assert_allclose(v.col_axis, [[0, 2], [2, 0]], atol=1e-6)
    assert v.row_axis is None
    assert v.detector == "flat"


def test_an_offset_of_a_curved_detector_turns_it_about_the_source():
    # 150 mm * 30 degrees of arc: the middle of the array is seen 30 degrees to the side.
    v = FanBeam([0.0], **FAN, detector_offset=150 * np.pi / 6, detector="curved").to_vectors()
    np.testing.assert_allclose(v.detector_center, [[150 * np.sqrt(3) / 2 - 100, 75]], rtol=1e-6)
    np.testing.assert_allclose(v.col_axis, [[-1, np.sqrt(3)]], rtol=1e-6)


def test_pixels_of_a_curved_detector_are_equiangular_on_a_circle_about_the_source(x64):
    g = FanBeam([0.4, 3.0], **{**FAN, "detector_shape": (40,)}, detector_offset=7.0, detector="curved")
    v = g.to_vectors()
    y, x = np.moveaxis(np.asarray(v.pixel_centers()) - np.asarray(v.source)[:, None], -1, 0)
    np.testing.assert_allclose(np.hypot(x, y), 150.0, rtol=1e-14)
    steps = np.diff(np.unwrap(np.arctan2(y, x)))
    # Columns run against the angle: at angle 0 they go along +x, seen from below clockwise.
    np.testing.assert_allclose(steps, -2.0 / 150, rtol=1e-10)


def test_a_fan_is_the_middle_row_of_a_cone(x64):
    fan = FanBeam(QUARTERS, **FAN, detector_offset=4.0, detector="curved").to_vectors()
    cone = {**FAN, "detector_shape": (1, 3), "detector_offset": (0.0, 4.0)}
    cone = ConeBeam(QUARTERS, **cone, detector="curved").to_vectors()
    np.testing.assert_allclose(fan.source, cone.source[:, 1:])
    np.testing.assert_allclose(fan.pixel_centers(), cone.pixel_centers()[:, 0, :, 1:])


def test_distances_per_view():
    g = FanBeam(QUARTERS, **{**FAN, "source_origin_distance": [100.0, 80.0], "source_detector_distance": [150.0, 90.0]})
    v = g.to_vectors()
    np.testing.assert_allclose(v.source, [[-100, 0], [0, 80]], atol=1e-4)
    np.testing.assert_allclose(v.detector_center, [[50, 0], [0, -10]], atol=1e-4)
