"""Footprints are areas: exact ones for parallel rays, and in the limit of small voxels for diverging ones."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest

from jaxct.geometry import ConeBeam, ConeVectors, FanBeam, ParallelBeam, ParallelVectors, VolumeGrid
from jaxct.reference import forward_project
from jaxct.reference.project import project
from jaxct.reference.rays import pixel_cosines
from tests.geometries import FOOTPRINT_MODELS
from tests.reference.tools import CASE, per_view, weights


def _clip(polygon, normal, bound):
    """The part of a convex polygon (points, 2) where ``point . normal <= bound`` (Sutherland-Hodgman)."""
    kept = []
    for a, b in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        da, db = a @ normal - bound, b @ normal - bound
        if da <= 0:
            kept.append(a)
        if da * db < 0:
            kept.append(a + da / (da - db) * (b - a))
    return np.array(kept).reshape(-1, 2)


def _area(polygon):
    y, x = polygon.T
    return abs(y @ np.roll(x, -1) - x @ np.roll(y, -1)) / 2


def _strip_areas(geometry, grid):
    """Area of every voxel of a 2-D grid within every pixel's strip, shape ``(voxels, views, cols)``."""
    vectors, half = geometry.to_vectors(), np.asarray(grid.voxel_size) / 2
    corners = half * np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]])
    centers = np.stack(np.meshgrid(*grid.coordinates(), indexing="ij"), -1).reshape(-1, 2)
    areas = np.zeros((len(centers), *geometry.projection_shape))
    for (voxel, center), view in itertools.product(enumerate(centers), range(geometry.num_views)):
        across = np.array([-vectors.direction[view, 1], vectors.direction[view, 0]])
        across /= np.linalg.norm(across)
        pitch = float(vectors.col_axis[view] @ across)
        middle = float(vectors.detector_center[view] @ across)
        for col in range(geometry.detector_shape[0]):
            at = middle + (col - (geometry.detector_shape[0] - 1) / 2) * pitch
            strip = _clip(center + corners, across, at + abs(pitch) / 2)
            strip = _clip(strip, -across, -at + abs(pitch) / 2)
            areas[voxel, view, col] = _area(strip) / abs(pitch)
    return areas


@pytest.fixture
def small():
    return VolumeGrid((3, 4), voxel_size=(1.3, 0.8), center=(0.3, -0.4))


def test_separable_footprint_of_parallel_rays_is_the_area_of_voxel_and_strip(small):
    angles = [0.0, 0.3, math.pi / 4, math.pi / 2, 2.5, -1.1]
    geometry = ParallelBeam(angles, detector_shape=(9,), pixel_size=0.61, detector_offset=0.17)
    result = weights(geometry, small, "separable_footprint")
    np.testing.assert_allclose(result, _strip_areas(geometry, small), rtol=0, atol=1e-13)


def test_separable_footprint_of_an_oblique_detector_is_the_area_of_voxel_and_strip(small):
    """Detectors not perpendicular to the rays: strips are narrower than pixels by the cosine."""
    direction, col = [[1.0, 0.2], [-0.4, 1.1]], [[0.5, 0.6], [0.7, 0.1]]
    geometry = ParallelVectors(direction, [[3.1, 0.2], [-0.4, 5.0]], None, col, (9,))
    result = weights(geometry, small, "separable_footprint")
    np.testing.assert_allclose(result, _strip_areas(geometry, small), rtol=0, atol=1e-13)


def test_distance_driven_along_an_axis_is_the_area_of_voxel_and_strip(small):
    angles = [0.0, math.pi / 2, math.pi, -math.pi / 2]
    geometry = ParallelBeam(angles, detector_shape=(9,), pixel_size=0.61, detector_offset=0.17)
    result = weights(geometry, small, "distance_driven")
    np.testing.assert_allclose(result, _strip_areas(geometry, small), rtol=0, atol=1e-13)


def _overlaps(low, high, middle, width):
    """Lengths of the intervals [low, high] within pixels around ``middle``."""
    return np.clip(np.minimum(high, middle + width / 2) - np.maximum(low, middle - width / 2), 0, None)


def test_distance_driven_is_the_rectangle_of_the_wider_pair_of_mid_points():
    """At angle a, the mid-lines of a voxel (h, w) throw shadows h |sin a| and w |cos a| wide; the wider is taken."""
    grid, pitch = VolumeGrid((1, 1), voxel_size=(1.0, 2.0)), 0.05
    angles = np.array([[0.4], [1.0], [1.2], [2.9]])
    geometry = ParallelBeam(angles[:, 0], detector_shape=(81,), pixel_size=pitch)
    width = np.maximum(np.abs(np.sin(angles)), 2 * np.abs(np.cos(angles)))
    covered = _overlaps(-width / 2, width / 2, (np.arange(81) - 40) * pitch, pitch)
    expected = covered / pitch * 2 / width
    np.testing.assert_allclose(weights(geometry, grid, "distance_driven")[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("model", FOOTPRINT_MODELS)
def test_footprint_in_3d_parallel_is_the_2d_one_times_the_row_overlap(model, small):
    angles = [0.35, 2.0]
    flat = ParallelBeam(angles, detector_shape=(6,), pixel_size=0.7, detector_offset=0.2)
    deep = ParallelBeam(angles, detector_shape=(5, 6), pixel_size=(0.9, 0.7), detector_offset=(-0.3, 0.2))
    grid = VolumeGrid((2, *small.shape), voxel_size=(1.4, 1.3, 0.8), center=(0.25, 0.3, -0.4))
    across = weights(flat, small, model)
    z, row = np.asarray(grid.coordinates()[0]), -0.3 + (np.arange(5) - 2) * 0.9
    overlap = _overlaps(z[:, None] - 0.7, z[:, None] + 0.7, row, 0.9) / 0.9
    expected = np.einsum("zr,jvc->zjvrc", overlap, across).reshape(-1, *deep.projection_shape)
    np.testing.assert_allclose(weights(deep, grid, model), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("fan_flat", "separable_footprint"),
        ("fan_curved", "distance_driven"),
        ("cone_flat_tilted", "distance_driven"),
        ("cone_curved_tilted", "separable_footprint"),
        ("laminography_shallow", "separable_footprint"),
    ],
)
def test_a_footprint_holds_all_of_its_voxel(name, model):
    """Summed over a wide detector, weight x pixel area x obliqueness is the voxel's volume times M^2 (2-D: M)."""
    vectors = CASE[name]()[0].to_vectors()
    grid = VolumeGrid((1,) * vectors.ndim, voxel_size=(1.2, 0.9, 1.4)[-vectors.ndim :], center=0.3)
    projections = forward_project(jnp.ones(grid.shape), vectors, grid, model=model)
    axes = [vectors.col_axis] if vectors.row_axis is None else [vectors.row_axis, vectors.col_axis]
    pixel = np.sqrt(np.linalg.det(np.einsum("avi,bvi->vab", axes, axes)))
    sums = (projections * per_view(pixel_cosines, vectors)).reshape(vectors.num_views, -1).sum(axis=1) * pixel
    magnification = per_view(lambda view: project(grid.center, view).magnification, vectors)
    volume = float(np.prod(grid.voxel_size))
    np.testing.assert_allclose(sums, volume * magnification ** (vectors.ndim - 1), rtol=1e-12)


@pytest.mark.parametrize("model", FOOTPRINT_MODELS)
def test_a_voxel_beside_the_source_casts_no_shadow(model):
    """The first source lies between the nearest and the farthest corner's depth, the second just before them all."""
    source, center = [[-0.9, 1.5], [-1.1, 1.5]], [[10.0, 1.5]] * 2
    geometry, grid = ConeVectors(source, center, None, [[0.0, 4.0]] * 2, (41,)), VolumeGrid((1, 1), voxel_size=2.0)
    projections = forward_project(jnp.ones(grid.shape), geometry, grid, model=model)
    assert not projections[0].any()
    assert projections[1].any()


def _aimed(ndim, detector, grid, pixel, split):
    """One view of a fan or cone whose detector, of 8 pixels an axis split in ``split``, is centred on the grid."""
    angle, origin, distance = 0.4, 20.0, 30.0
    center = np.asarray(grid.center)
    depth = origin + math.cos(angle) * center[-2] - math.sin(angle) * center[-1]
    aside = math.sin(angle) * center[-2] + math.cos(angle) * center[-1]
    offset = [distance * (aside / depth if detector == "flat" else math.atan2(aside, depth))]
    if ndim == 3:
        offset.insert(0, center[0] * distance / (depth if detector == "flat" else math.hypot(depth, aside)))
    beam = FanBeam if ndim == 2 else ConeBeam
    return beam(
        [angle],
        source_origin_distance=origin,
        source_detector_distance=distance,
        detector_shape=(8 * split,) * (ndim - 1),
        pixel_size=pixel / split,
        detector_offset=offset if ndim == 3 else offset[0],
        detector=detector,
    )


@pytest.mark.parametrize("detector", ["flat", "curved"])
@pytest.mark.parametrize(("ndim", "split"), [(2, 256), (3, 24)])
def test_separable_footprint_of_a_shrinking_voxel_tends_to_the_pixel_averaged_ray_integral(ndim, split, detector):
    """The total is right to second order in the voxel's size, every pixel to first (the footprint is no trapezoid)."""
    totals, details = [], []
    for size in (2.0, 1.0):
        grid = VolumeGrid((1,) * ndim, (0.9 * size, size, 0.8 * size)[-ndim:], center=(1.3, 2.1, -1.7)[-ndim:])
        voxel = jnp.ones(grid.shape)
        projection = forward_project(voxel, _aimed(ndim, detector, grid, 0.7 * size, 1), grid)[0]
        rays = forward_project(voxel, _aimed(ndim, detector, grid, 0.7 * size, split), grid, model="siddon")[0]
        truth = rays.reshape((8, split) * (ndim - 1)).mean(axis=tuple(range(1, 2 * (ndim - 1), 2)))
        totals.append(abs(projection.sum() / truth.sum() - 1))
        details.append(jnp.abs(projection - truth).sum() / truth.sum())
    assert totals[0] < 2e-3
    assert totals[1] < totals[0] / 3
    assert details[0] < 1e-2
    assert details[1] < details[0] / 1.6
