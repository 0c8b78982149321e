"""Trajectories: where the sources stand and what they look at."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxct.geometry import ConeBeam, FanBeam, trajectories

SCANNER = {
    "source_origin_distance": 200.0,
    "source_detector_distance": 500.0,
    "detector_shape": (8, 10),
    "pixel_size": (1.0, 2.0),
}


def _rays(vectors):
    """Unit vectors from the sources to the detectors' middles."""
    ray = np.asarray(vectors.detector_center - vectors.source, np.float64)
    return ray / np.linalg.norm(ray, axis=1, keepdims=True)


def _assert_aimed_at_origin(vectors):
    """Every source sees the origin in the detector's middle, squarely, at the right distance."""
    source = np.asarray(vectors.source, np.float64)
    ray = _rays(vectors)
    np.testing.assert_allclose(-source / np.linalg.norm(source, axis=1, keepdims=True), ray, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors.detector_center - vectors.source, axis=1), 500.0, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors.row_axis, axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors.col_axis, axis=1), 2.0, rtol=1e-6)
    for left, right in ((ray, vectors.row_axis), (ray, vectors.col_axis), (vectors.row_axis, vectors.col_axis)):
        np.testing.assert_allclose(np.sum(left * np.asarray(right), axis=1), 0.0, atol=1e-6)
    # The handedness of the circular orbit: col x row points back to the source, in (x, y, z) component order.
    col, row = (np.asarray(axis)[:, ::-1] for axis in (vectors.col_axis, vectors.row_axis))
    np.testing.assert_allclose(np.cross(col, row), -2 * ray[:, ::-1], atol=1e-5)


def test_circle_leaves_the_end_out():
    np.testing.assert_allclose(trajectories.circle(4), np.arange(4) * np.pi / 2, rtol=1e-6)
    np.testing.assert_allclose(trajectories.circle(2, arc=np.pi, start=1.0), [1.0, 1.0 + np.pi / 2], rtol=1e-6)
    np.testing.assert_allclose(trajectories.circle(2, arc=-np.pi), [0.0, -np.pi / 2], rtol=1e-6)


def test_short_scan_range_by_hand():
    # The detector's edge at 50 mm of 50 mm distance: 45 degrees flat, one radian on the arc.
    fan = {"source_detector_distance": 50.0, "detector_shape": (20,), "pixel_size": 5.0}
    assert trajectories.short_scan_range(**fan) == pytest.approx(1.5 * np.pi, rel=1e-6)
    assert trajectories.short_scan_range(**fan, detector="curved") == pytest.approx(np.pi + 2, rel=1e-6)


def test_short_scan_covers_the_farther_edge_of_an_offset_detector():
    cone = {"source_detector_distance": 50.0, "detector_shape": (3, 10), "pixel_size": (1.0, 5.0)}
    arc = trajectories.short_scan_range(**cone, detector_offset=(99.0, -25.0))
    assert arc == pytest.approx(1.5 * np.pi, rel=1e-6)


def test_short_scan_ends_where_the_edge_ray_retraces_the_first(x64):
    """The last view sees along one edge of the fan the line that the first view saw along the other, reversed."""
    fan = {"source_detector_distance": 300.0, "detector_shape": (64,), "pixel_size": 2.0}
    angles = trajectories.short_scan(50, start=0.7, **fan)
    assert angles[0] == pytest.approx(0.7)
    assert angles[-1] - angles[0] == pytest.approx(float(trajectories.short_scan_range(**fan)))
    # Two pixel centres at the edges of the 64 pixels.
    edges = {**fan, "detector_shape": (2,), "pixel_size": 128.0}
    v = FanBeam(angles, source_origin_distance=200.0, **edges).to_vectors()
    rays = np.asarray(v.pixel_centers()) - np.asarray(v.source)[:, None]
    np.testing.assert_allclose(rays[-1, 1], -rays[0, 0], atol=1e-10)
    chord = np.stack([np.asarray(v.source[-1] - v.source[0]), rays[0, 0]])
    assert np.linalg.det(chord) == pytest.approx(0.0, abs=1e-8)


def test_short_scan_needs_two_views():
    with pytest.raises(ValueError, match="num_views must be at least 2"):
        trajectories.short_scan(1, source_detector_distance=50.0, detector_shape=(20,), pixel_size=5.0)


def test_helix_climbs_by_its_pitch():
    g = trajectories.helix(36, turns=3, pitch=40.0, start=0.5, center_z=7.0, detector="curved", **SCANNER)
    assert isinstance(g, ConeBeam)
    assert g.detector == "curved"
    climb = np.diff(g.source_z) / np.diff(g.angles) * 2 * np.pi
    np.testing.assert_allclose(climb, 40.0, rtol=1e-4)
    assert float(jnp.mean(g.source_z)) == pytest.approx(7.0, abs=1e-4)
    assert float(g.source_z[12] - g.source_z[0]) == pytest.approx(40.0, rel=1e-5)
    lower_end = g.angles[0] - (g.angles[1] - g.angles[0]) / 2
    assert float(lower_end) == pytest.approx(0.5, abs=1e-5)


def test_helix_pitch_can_be_differentiated():
    def top(pitch):
        return trajectories.helix(10, turns=2, pitch=pitch, **SCANNER).to_vectors().source[-1, 0]

    assert jax.grad(top)(30.0) == pytest.approx(0.9, rel=1e-5)


def test_circle_plus_line():
    g = trajectories.circle_plus_line(12, num_line_views=5, line_length=50.0, line_angle=1.0, **SCANNER)
    source = np.asarray(g.to_vectors().source)
    np.testing.assert_allclose(source[:12, 0], 0.0)
    np.testing.assert_allclose(source[12:, 0], [-20, -10, 0, 10, 20], atol=1e-5)
    np.testing.assert_allclose(source[12:, 1:], np.tile([-200 * np.cos(1), 200 * np.sin(1)], (5, 1)), rtol=1e-5)


def test_saddle_rises_and_falls_twice_on_its_cylinder():
    v = trajectories.saddle(8, amplitude=50.0, **SCANNER)
    source = np.asarray(v.source)
    np.testing.assert_allclose(np.hypot(source[:, 1], source[:, 2]), 200.0, rtol=1e-6)
    np.testing.assert_allclose(source[:, 0], 50 * np.cos(np.arange(8) * np.pi / 2), atol=1e-4)
    _assert_aimed_at_origin(v)


def test_a_flat_saddle_is_the_circle():
    v = trajectories.saddle(8, amplitude=0.0, start=0.3, **SCANNER)
    circle = ConeBeam(trajectories.circle(8, start=0.3), **SCANNER).to_vectors()
    for got, wanted in zip(jax.tree.leaves(v), jax.tree.leaves(circle), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-4)


def test_sphere_covers_equal_areas_evenly():
    v = trajectories.sphere(500, **SCANNER)
    _assert_aimed_at_origin(v)
    unit = np.asarray(v.source, np.float64) / 200.0
    np.testing.assert_allclose(np.diff(unit[:, 0]), 2 / 500, atol=1e-5)
    np.testing.assert_allclose(unit.mean(0), 0.0, atol=2e-3)
    np.testing.assert_allclose(unit.T @ unit / 500, np.eye(3) / 3, atol=2e-3)
    nearest = np.sort(np.linalg.norm(unit[:, None] - unit[None], axis=-1), axis=1)[:, 1]
    # A hexagonal packing of 500 points lies 0.170 apart on the unit sphere; Fibonacci comes close and is even.
    assert nearest.min() > 0.13
    assert nearest.max() < 0.17


def test_sphere_zone_stays_below_its_elevation():
    v = trajectories.sphere(100, max_elevation=0.3, **SCANNER)
    assert np.abs(v.source[:, 0]).max() <= 200 * np.sin(0.3) + 1e-4


def test_sphere_reaches_the_pole_without_a_singularity():
    v = trajectories.sphere(1, **SCANNER)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(v))
    top = trajectories.sphere(10_001, **SCANNER)[-1]
    _assert_aimed_at_origin(top)


def test_random_is_uniform_on_the_sphere_and_repeatable():
    v = trajectories.random(4000, key=jax.random.key(0), **SCANNER)
    _assert_aimed_at_origin(v)
    unit = np.asarray(v.source, np.float64) / 200.0
    np.testing.assert_allclose(unit.T @ unit / 4000, np.eye(3) / 3, atol=0.03)
    again = trajectories.random(4000, key=jax.random.key(0), **SCANNER)
    np.testing.assert_array_equal(v.source, again.source)
    assert not np.array_equal(v.source, trajectories.random(4000, key=jax.random.key(1), **SCANNER).source)


def test_trajectories_run_under_jit():
    sources = jax.jit(lambda h: trajectories.saddle(6, amplitude=h, **SCANNER).source)(30.0)
    np.testing.assert_allclose(sources, trajectories.saddle(6, amplitude=30.0, **SCANNER).source, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: trajectories.circle(0), "num_views must be a positive integer, got 0"),
        (lambda: trajectories.circle(4, arc=np.nan), "arc must be finite"),
        (lambda: trajectories.circle(4, start=[1.0, 2.0]), r"start must be a scalar, got shape \(2,\)"),
        (lambda: trajectories.helix(4, turns=1, pitch=np.inf, **SCANNER), "pitch must be finite"),
        (lambda: trajectories.sphere(4, max_elevation=2.0, **SCANNER), "max_elevation must not exceed pi/2, got 2"),
        (
            lambda: trajectories.saddle(4, amplitude=1.0, **{**SCANNER, "pixel_size": 0.0}),
            "pixel_size must be positive",
        ),
        (
            lambda: trajectories.saddle(4, amplitude=900.0, **SCANNER),
            "source_detector_distance is measured from the source",
        ),
        (
            lambda: trajectories.circle_plus_line(4, num_line_views=2, line_length=-1.0, **SCANNER),
            "line_length must be positive",
        ),
    ],
)
def test_wrong_values(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("num_views", [2.5, "3", True, None])
def test_numbers_of_views_that_are_no_integers(num_views):
    with pytest.raises(TypeError, match="num_views must be a positive integer"):
        trajectories.circle(num_views)
