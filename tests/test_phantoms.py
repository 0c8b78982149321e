"""Phantoms project exactly in every geometry, add up, can be differentiated and batched; the ready-made ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxct.geometry import ConeBeam, ConeVectors, FanBeam, ParallelBeam, ParallelVectors, VolumeGrid
from jaxct.phantoms import (
    Cone,
    Cylinder,
    Ellipse,
    Ellipsoid,
    Phantom,
    Rectangle,
    _projection,
    ball,
    defrise,
    disk,
    frame,
    line_pairs,
    shepp_logan,
    uniform_cylinder,
)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def geometries():
    angles = np.linspace(0.1, 6.0, 5)
    beam = {"source_origin_distance": 150.0, "source_detector_distance": 230.0}
    return {
        "parallel 2-D": ParallelBeam(angles, detector_shape=(31,), pixel_size=2.0, detector_offset=1.5),
        "fan flat": FanBeam(angles, **beam, detector_shape=(31,), pixel_size=3.0, detector_offset=2.0),
        "fan curved": FanBeam(angles, **beam, detector_shape=(31,), pixel_size=3.0, detector="curved"),
        "parallel 3-D": ParallelBeam(angles, detector_shape=(9, 11), pixel_size=(5.0, 6.0)),
        "cone flat": ConeBeam(angles, **beam, detector_shape=(9, 11), pixel_size=(7.0, 9.0), source_z=angles),
        "cone curved": ConeBeam(angles, **beam, detector_shape=(9, 11), pixel_size=(7.0, 9.0), detector="curved"),
    }


def rays_of(geometry):
    """Origin and unit direction of every pixel's ray."""
    vectors = geometry.to_vectors()
    pixels = np.asarray(vectors.pixel_centers(), np.float64).reshape(-1, geometry.ndim)
    start = vectors.direction if isinstance(vectors, ParallelVectors) else vectors.source
    start = np.repeat(np.asarray(start, np.float64), pixels.shape[0] // geometry.num_views, 0)
    direction = start if isinstance(vectors, ParallelVectors) else pixels - start
    return pixels, direction / np.linalg.norm(direction, axis=-1, keepdims=True)


@pytest.mark.parametrize("name", geometries())
def test_projections_of_an_ellipsoid_in_every_geometry(name, x64):
    geometry = geometries()[name]
    center, semi_axes = np.array((4.0, -7.0, 11.0))[-geometry.ndim :], np.array((14.0, 25.0, 20.0))[-geometry.ndim :]
    origin, direction = rays_of(geometry)
    q, v = (origin - center) / semi_axes, direction / semi_axes
    a, b, c = (v**2).sum(-1), (q * v).sum(-1), (q**2).sum(-1) - 1
    expected = 0.7 * 2 * np.sqrt(np.maximum(b**2 - a * c, 0)) / a
    assert (expected > 1).sum() > expected.size / 5
    found = Phantom(Ellipsoid(center, semi_axes, 0.7)).project(geometry)
    assert found.shape == geometry.projection_shape
    assert found.dtype == np.float64
    np.testing.assert_allclose(np.asarray(found).ravel(), expected, rtol=1e-9, atol=1e-6)


def test_oversampling_averages_a_finer_detector(x64):
    geometry = geometries()["cone curved"]
    phantom = Phantom(Ellipsoid((5.0, 3.0, -8.0), (9.0, 30.0, 12.0), 0.3))
    vectors = geometry.to_vectors()
    finer = ConeVectors(
        vectors.source, vectors.detector_center, vectors.row_axis / 3, vectors.col_axis / 3, (27, 33), detector="curved"
    )
    pooled = np.asarray(phantom.project(finer)).reshape(5, 9, 3, 11, 3).mean((2, 4))
    np.testing.assert_allclose(phantom.project(geometry, oversample=3), pooled, rtol=1e-12, atol=1e-10)


def test_chunking_changes_nothing(monkeypatch, x64):
    phantom, geometry = Phantom(Ellipsoid((4.0, -7.0, 11.0), (14.0, 25.0, 20.0), 0.7)), geometries()["cone flat"]
    whole = phantom.project(geometry)
    _projection.project.clear_cache()
    monkeypatch.setattr(_projection, "_RAYS_AT_ONCE", 80)  # 45 rows of 11 rays in 7 chunks of 7
    np.testing.assert_allclose(phantom.project(geometry), whole, rtol=1e-9)
    _projection.project.clear_cache()


def test_float32_is_as_accurate_as_its_inputs():
    tilted = np.asarray(frame((0.8, 0.5, -0.3)))

    def project(sod):
        geometry = ConeBeam(
            np.linspace(0, 3, 4),
            source_origin_distance=sod,
            source_detector_distance=2 * sod,
            detector_shape=(16, 16),
            pixel_size=4.4,
        )
        shapes = Ellipsoid((1.0, 2.0, 3.0), (20.0, 30.0, 25.0)), Cylinder((5.0, 0.0, 4.0), 12.0, 9.0, 0.5, tilted)
        return np.asarray(Phantom(*shapes).project(geometry), np.float64)

    for sod in (60.0, 1000.0, 20000.0):
        single = project(sod)
        with jax.enable_x64(True):
            double = project(sod)
        # Positions are rounded to eps * sod; near the rim a chord moves by sqrt(8 r shift).
        shift = 2 * np.finfo(np.float32).eps * sod
        assert np.median(np.abs(single - double)) <= 1e-6 * double.max() + shift
        assert np.abs(single - double).max() <= np.sqrt(8 * 30 * shift)


def test_a_parallel_view_conserves_mass(x64):
    area = 0.5 * np.pi * 6 * 11 + 2 * 4 * 5 * 9
    phantom = Phantom(Ellipse((3.0, -4.0), (6.0, 11.0), 0.5, rotation=0.4), Rectangle((1.0, 2.0), (5.0, 9.0), 2.0, 1.0))
    geometry = ParallelBeam(np.linspace(0, 3, 7), detector_shape=(80,), pixel_size=0.5)
    np.testing.assert_allclose(phantom.project(geometry, oversample=16).sum(1) * 0.5, area, rtol=1e-4)


def test_rotating_the_object_is_rotating_the_scan(x64):
    def phantom(angle):
        y, x = 9.0, -5.0
        turned = (np.sin(angle) * x + np.cos(angle) * y, np.cos(angle) * x - np.sin(angle) * y)
        return Phantom(Ellipse(turned, (4.0, 8.0), rotation=0.3 + angle), Rectangle(turned, (2.0, 9.0), 0.5, angle))

    angles = np.linspace(0, 2, 5)
    beam = {"source_origin_distance": 50.0, "source_detector_distance": 80.0, "detector_shape": (31,)}
    beam["pixel_size"] = 2.0
    still = phantom(0.0).project(FanBeam(angles, **beam))
    turned = phantom(0.7).project(FanBeam(angles + 0.7, **beam))
    np.testing.assert_allclose(turned, still, atol=1e-10)


def test_moving_object_and_scan_together_changes_nothing(x64):
    shift = np.array((-8.0, 40.0))
    v = geometries()["fan curved"].to_vectors()
    moved = ConeVectors(v.source + shift, v.detector_center + shift, None, v.col_axis, v.detector_shape, "curved")
    here = disk(20.0, center=(1.0, 2.0)).project(v)
    there = disk(20.0, center=np.array((1.0, 2.0)) + shift).project(moved)
    np.testing.assert_allclose(there, here, atol=1e-9)


def test_phantoms_add_and_scale(x64):
    geometry = geometries()["fan flat"]
    a, b = disk(20.0, center=(3.0, 1.0), value=0.2), Phantom(Ellipse((3.0, -4.0), (6.0, 11.0), rotation=0.4))
    both = a + np.float64(3.0) * b
    for apply in (lambda p: p.project(geometry), lambda p: p(np.ones((3, 2)))):
        np.testing.assert_allclose(apply(both), apply(a) + 3.0 * apply(b), atol=1e-12)


def test_a_family_is_the_sum_of_its_members(x64):
    centers, radii, values = np.array([[0.0, 1.0], [5.0, -4.0], [-9.0, 3.0]]), [2.0, 6.0, 4.0], [1.0, -0.5, 2.0]
    family = Ellipse(centers, np.array(radii)[:, None], values, rotation=[0.0, 0.1, 0.2])
    singles = [Ellipse(c, r, v) for c, r, v in zip(centers, radii, values, strict=True)]
    geometry = geometries()["fan flat"]
    assert family.num_shapes == 3
    np.testing.assert_allclose(Phantom(family).project(geometry), Phantom(*singles).project(geometry), atol=1e-12)
    clipped = [single.clip((0.0, 1.0), 0.5) for single in singles]
    points = np.random.default_rng(0).uniform(-12, 12, (500, 2))
    np.testing.assert_array_equal(Phantom(family.clip((0.0, 1.0), 0.5))(points), Phantom(*clipped)(points))


def test_gradients_with_respect_to_every_leaf(x64):
    geometry = FanBeam(
        [0.3, 2.0], source_origin_distance=30.0, source_detector_distance=50.0, detector_shape=(5,), pixel_size=4.1
    ).to_vectors()
    phantom = Phantom(Ellipse((3.0, -4.0), (6.0, 11.0), 0.4, rotation=0.3))
    check_grads(lambda p, g: p.project(g), (phantom, geometry), order=1, modes=["rev"], rtol=1e-5)
    box = Phantom(Rectangle((1.0, 2.0), (5.0, 9.0), 0.2, rotation=1.0))
    check_grads(lambda p: p.rasterize(VolumeGrid((3, 4), 5.3)), (box,), order=1, modes=["rev"], rtol=1e-5)


def test_gradients_are_finite_for_rays_along_faces_and_past_the_shapes():
    cylinder, cone = Cylinder((0.0, 0.0, 0.0), 9.0, 18.0), Cone((0.0, 0.0, 0.0), (30.0, 0.0), 18.0)
    shape = (cylinder & cone).clip((0.0, 1.0, 0.0), 4.5)
    grid = np.stack(np.meshgrid(*3 * [np.arange(-18.0, 19.0, 4.5)], indexing="ij")).reshape(3, -1)
    points, directions = np.tile(grid, 3), np.repeat(np.eye(3), grid.shape[1], 1)

    def total(shape):
        enter, leave = shape.interval(jnp.asarray(points), jnp.asarray(directions))
        return jnp.sum(jnp.maximum(leave - enter, 0.0) ** 2)

    gradient = jax.jit(jax.grad(total))(shape)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    cylinder_grad, cone_grad, plane_grad = gradient.parts
    for leaf in (cylinder_grad.semi_axes, cylinder_grad.half_length, cone_grad.radii, plane_grad.offset):
        assert np.abs(leaf).max() > 0


def test_vmap_over_phantoms_and_geometries_under_jit(x64):
    radii, distances = jnp.array([5.0, 9.0, 12.0]), jnp.array([60.0, 90.0])

    def project(radius, distance):
        beam = FanBeam(
            np.linspace(0, 3, 4),
            source_origin_distance=distance,
            source_detector_distance=2 * distance,
            detector_shape=(9,),
            pixel_size=4.0,
        )
        return disk(radius, center=(2.0, -1.0)).project(beam)

    batched = jax.jit(jax.vmap(jax.vmap(project, (None, 0)), (0, None)))(radii, distances)
    for i, radius in enumerate(radii):
        for j, distance in enumerate(distances):
            np.testing.assert_allclose(batched[i, j], project(radius, distance), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("ndim", "variant", "points", "values"),
    [
        (2, "original", [(0, 0.9), (0, 0.6), (0.22, 0), (-0.22, 0), (0, 0.4), (0, 0.12)], [2, 1.02, 1, 1, 1.03, 1.04]),
        (2, "original", [(0, -0.1), (-0.08, -0.605), (0, -0.605), (0.06, -0.605)], [1.03, 1.03, 1.03, 1.03]),
        (2, "modified", [(0, 0.9), (0, 0.65), (0.22, 0), (0, 0.4), (0, 0.94)], [1, 0.2, 0, 0.3, 0]),
        (3, "original", [(0, 0, 0), (0, 0.9, 0), (0.22, 0, -0.25), (0, 0.4, -0.25)], [1.02, 2, 1, 1.04]),
        (3, "original", [(0.06, -0.65, -0.25), (0.06, -0.105, 0.625), (0, 0.1, 0.625)], [1.03, 1.04, 1]),
        (3, "modified", [(0, 0, 0), (0, 0.9, 0), (0.22, 0, -0.25), (0, 0.1, 0.625)], [0.2, 1, 0, 0]),
    ],
)
def test_shepp_logan_values(ndim, variant, points, values):
    phantom = shepp_logan(ndim, variant, radius=120.0, scale=0.5)
    found = phantom(120.0 * np.array(points)[:, ::-1])
    np.testing.assert_allclose(found, 0.5 * np.array(values), atol=1e-6)


def test_shepp_logan_is_a_head():
    lower, upper = shepp_logan(2, radius=100.0).bounds()
    np.testing.assert_allclose(upper, (92.0, 69.0), rtol=1e-6)
    np.testing.assert_allclose(lower, (-92.0, -69.0), rtol=1e-6)
    # The larger ventricle lies at -x; both lean outwards at the top.
    phantom = shepp_logan(2, "original")
    np.testing.assert_allclose(phantom([(35.0, -33.0), (-35.0, -33.0), (-35.0, -11.0)]), (1.0, 1.02, 1.0), atol=1e-6)


def test_simple_phantoms():
    assert uniform_cylinder(10.0, 40.0, axis=(0, 0, 1), value=0.3)([0.0, 0.0, 19.0]) == pytest.approx(0.3)
    assert uniform_cylinder(10.0, 40.0, axis=(0, 0, 1))([0.0, 0.0, 21.0]) == 0.0
    discs = defrise(3, radius=20.0, thickness=4.0, pitch=10.0, value=1.0)
    heights = np.array((-10.0, -5.0, 0.0, 1.9, 2.1, 10.0))
    np.testing.assert_array_equal(discs(np.stack([heights, 0 * heights, 0 * heights], -1)), [1, 0, 1, 1, 0, 1])


@pytest.mark.parametrize("ndim", [2, 3])
def test_line_pairs(ndim):
    bars = line_pairs((4.0, 2.0), bars=2, ndim=ndim, radius=100.0, background=1.0, contrast=0.5)
    across = np.array([-6.1, -5.9, -2.1, -1.9, 0.0, 1.9, 2.1, 5.9, 6.1])
    points = np.stack([0 * across, across, 0 * across + 60.0], -1)[:, -ndim:]
    np.testing.assert_allclose(bars(points), 1 + 0.5 * np.array([0, 1, 1, 0, 0, 0, 1, 1, 0]))
    np.testing.assert_allclose(bars(-points), 1 + 0.5 * np.array([0, 0, 1, 1, 0, 1, 1, 0, 0]))


BAD = [
    (lambda: Phantom(), ValueError, "shapes"),
    (lambda: Phantom(3.0), TypeError, "shapes"),
    (lambda: Phantom(Ellipse((0.0, 0.0), 1.0), Ellipsoid((0.0, 0.0, 0.0), 1.0)), ValueError, "shapes"),
    (lambda: disk(1.0).project(VolumeGrid((3, 3))), TypeError, "geometry"),
    (lambda: ball(1.0).project(ParallelBeam([0.0], detector_shape=(3,))), ValueError, "geometry"),
    (lambda: disk(1.0).project(ParallelBeam([0.0], detector_shape=(3,)), oversample=0), ValueError, "oversample"),
    (lambda: disk(1.0).project(ParallelBeam([0.0], detector_shape=(3,)), oversample=1.5), TypeError, "oversample"),
    (lambda: disk(1.0).rasterize((3, 3)), TypeError, "grid"),
    (lambda: disk(1.0).rasterize(VolumeGrid((3, 3, 3))), ValueError, "grid"),
    (lambda: disk(1.0)(np.zeros(3)), ValueError, "points"),
    (lambda: shepp_logan(4), ValueError, "ndim"),
    (lambda: shepp_logan(variant="toft"), ValueError, "variant"),
    (lambda: shepp_logan(radius=-1.0), ValueError, "radius"),
    (lambda: line_pairs(()), ValueError, "widths"),
    (lambda: line_pairs((40.0, 40.0), radius=50.0), ValueError, "widths"),
    (lambda: line_pairs(ndim=1), ValueError, "ndim"),
    (lambda: defrise(0), ValueError, "num_discs"),
]


@pytest.mark.parametrize(("call", "error", "name"), BAD)
def test_bad_input_is_named(call, error, name):
    with pytest.raises(error, match=name):
        call()
