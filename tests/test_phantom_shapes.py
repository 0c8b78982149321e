"""Every shape: chords, values at points and voxel averages, against its definition written out in NumPy."""

import jax
import numpy as np
import pytest

from jaxct.geometry import ConeVectors, ParallelVectors, VolumeGrid
from jaxct.phantoms import (
    Box,
    Cone,
    Cylinder,
    Ellipse,
    Ellipsoid,
    HalfSpace,
    Intersection,
    Phantom,
    Rectangle,
    frame,
)

LINES = 256  # always the same number, so that one compiled program serves all tests of a shape
TILTED = frame((0.8, 0.5, -0.3), (0.1, 0.9, 0.4))

SHAPES = {
    "ellipse": lambda: Ellipse((3.0, -4.0), (6.0, 11.0), rotation=0.4),
    "rectangle": lambda: Rectangle((3.0, -4.0), (6.0, 11.0), rotation=-1.1),
    "clipped ellipse": lambda: Ellipse((3.0, -4.0), (6.0, 11.0)).clip((1.0, 0.5), 4.0).clip((-1.0, 1.0), 3.0),
    "ellipsoid": lambda: Ellipsoid((2.0, 3.0, -4.0), (6.0, 11.0, 13.0), rotation=TILTED),
    "box": lambda: Box((2.0, 3.0, -4.0), (6.0, 9.0, 7.0), rotation=TILTED),
    "cylinder": lambda: Cylinder((2.0, 3.0, -4.0), (6.0, 9.0), 10.0, rotation=TILTED),
    "cone": lambda: Cone((2.0, 3.0, -4.0), (12.0, 4.0), 11.0, rotation=TILTED),
    "pointed cone": lambda: Cone((2.0, 3.0, -4.0), (0.0, 13.0), 6.0, rotation=TILTED),
    "lens": lambda: Ellipsoid((0.0, 0.0, 8.0), 14.0) & Ellipsoid((0.0, 0.0, -8.0), 14.0) & HalfSpace((1.0, 0, 0), 3.0),
}
VOLUMES = {
    "ellipse": np.pi * 6 * 11,
    "rectangle": 4 * 6 * 11,
    "ellipsoid": 4 / 3 * np.pi * 6 * 11 * 13,
    "box": 8 * 6 * 9 * 7,
    "cylinder": np.pi * 6 * 9 * 20,
    "cone": np.pi * 22 / 3 * (144 + 48 + 16),
    "pointed cone": np.pi * 12 / 3 * 169,
}


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def across(direction):
    """Unit vectors across each direction: (row, col), in 2-D (None, col)."""
    if direction.shape[-1] == 2:
        return None, np.stack([direction[:, 1], -direction[:, 0]], -1)
    helper = np.where(np.abs(direction[:, :1]) < 0.9, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    row = unit(np.cross(direction, helper))
    return row, np.cross(direction, row)


def lines_as(kind, points, directions, before=300.0, after=400.0):
    """One view with one pixel for every line; the sources lie ``before`` the points, the pixels ``after`` them."""
    points, directions = np.broadcast_arrays(np.atleast_2d(points), np.atleast_2d(directions))
    points, directions = (np.resize(x.astype(np.float64), (LINES, x.shape[1])) for x in (points, directions))
    directions = unit(directions)
    row, col = across(directions)
    shape = (1,) * (points.shape[1] - 1)
    if kind == "parallel":
        return ParallelVectors(directions, points, row, col, shape)
    return ConeVectors(points - before * directions, points + after * directions, row, col, shape, kind)


def chords(shape, points, directions, kind="flat", **distances):
    return np.asarray(Phantom(shape).project(lines_as(kind, points, directions, **distances))).ravel()


def inside(shape, points):
    """Membership straight from the definitions."""
    if isinstance(shape, Intersection):
        return np.all([inside(part, points) for part in shape.parts], 0)
    if isinstance(shape, HalfSpace):
        return points @ np.asarray(shape.normal) <= float(shape.offset)
    q = (points - np.asarray(shape.center)) @ np.asarray(shape.rotation)
    if isinstance(shape, Ellipsoid):
        return ((q / np.asarray(shape.semi_axes)) ** 2).sum(-1) <= 1
    if isinstance(shape, Box):
        return (np.abs(q) <= np.asarray(shape.half_lengths)).all(-1)
    along = np.abs(q[..., 0]) <= float(shape.half_length)
    if isinstance(shape, Cylinder):
        return along & (((q[..., 1:] / np.asarray(shape.semi_axes)) ** 2).sum(-1) <= 1)
    low, high = np.asarray(shape.radii)
    radius = low + (high - low) * (q[..., 0] / float(shape.half_length) + 1) / 2
    return along & ((q[..., 1:] ** 2).sum(-1) <= radius**2)


def bisected_chords(shape, points, directions, reach=60.0, samples=1501):
    """Chord lengths of a convex shape from membership alone: sampling finds a point inside, bisection the ends."""
    directions = unit(directions)
    t = np.linspace(-reach, reach, samples)
    hit = inside(shape, points[:, None] + t[:, None] * directions[:, None])
    any_hit, middle = hit.any(1), t[hit.argmax(1)]
    ends = []
    for sign in (-1.0, 1.0):
        within, without = middle.copy(), middle + sign * 2 * reach
        for _ in range(60):
            half = (within + without) / 2
            ok = inside(shape, points + half[:, None] * directions)
            within, without = np.where(ok, half, within), np.where(ok, without, half)
        ends.append(within)
    return np.where(any_hit, ends[1] - ends[0], 0.0), any_hit


HAND = [
    (lambda: Ellipse((1.0, 2.0), 5.0), (4.0, -7.0), (0.0, 1.0), 8.0),
    (lambda: Ellipse((1.0, 2.0), (3.0, 7.0)), (1.0, 0.0), (0.0, 1.0), 14.0),
    (lambda: Ellipse((1.0, 2.0), (3.0, 7.0), rotation=np.pi / 2), (1.0, 0.0), (0.0, 1.0), 6.0),
    (lambda: Ellipse((0.0, 0.0), 5.0), (0.0, 5.1), (1.0, 0.0), 0.0),
    (lambda: Rectangle((0.0, 0.0), (1.0, 2.0)), (0.5, 0.0), (0.0, 1.0), 4.0),
    (lambda: Rectangle((0.0, 0.0), (2.0, 2.0)), (0.0, 0.0), (1.0, 1.0), 4 * np.sqrt(2)),
    (lambda: Rectangle((0.0, 0.0), (2.0, 2.0), rotation=np.pi / 4), (0.0, 0.0), (0.0, 1.0), 4 * np.sqrt(2)),
    (lambda: Ellipsoid((1.0, 2.0, 3.0), (2.0, 4.0, 6.0)), (1.0, 2.0, 0.0), (0.0, 0.0, 1.0), 12.0),
    (lambda: Ellipsoid((1.0, 2.0, 3.0), (2.0, 4.0, 6.0)), (0.0, 2.0, 3.0), (1.0, 0.0, 0.0), 4.0),
    (lambda: Ellipsoid((0.0, 0.0, 0.0), 5.0), (3.0, 0.0, 0.0), (0.0, 1.0, 1.0), 8.0),
    (lambda: Box((0.0, 0.0, 0.0), (1.0, 2.0, 3.0)), (0.0, 0.0, 0.0), (1.0, 2.0, 3.0), 2 * np.sqrt(14)),
    (lambda: Box((0.0, 0.0, 0.0), (1.0, 2.0, 3.0)), (-1.0, 0.0, 0.0), (0.0, 0.0, 1.0), 6.0),
    (lambda: Box((0.0, 0.0, 0.0), (1.0, 2.0, 3.0)), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0), 0.0),
    (lambda: Cylinder((0.0, 0.0, 0.0), (2.0, 5.0), 7.0), (0.0, 1.0, 1.0), (1.0, 0.0, 0.0), 14.0),
    (lambda: Cylinder((0.0, 0.0, 0.0), (2.0, 5.0), 7.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0), 10.0),
    (lambda: Cylinder((0.0, 0.0, 0.0), (2.0, 5.0), 7.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), 4.0),
    (lambda: Cylinder((0.0, 0.0, 0.0), 3.0, 7.0, rotation=frame((0, 0, 1))), (2.0, 2.0, 0.0), (0.0, 0.0, 1.0), 14.0),
    (lambda: Cylinder((0.0, 0.0, 0.0), 3.0, 7.0, rotation=frame((0, 0, 1))), (2.2, 2.2, 0.0), (0.0, 0.0, 1.0), 0.0),
    (lambda: Cone((0.0, 0.0, 0.0), (2.0, 6.0), 4.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0), 8.0),
    (lambda: Cone((0.0, 0.0, 0.0), (2.0, 6.0), 4.0), (0.0, 0.0, 3.0), (1.0, 0.0, 0.0), 6.0),
    (lambda: Cone((0.0, 0.0, 0.0), (2.0, 6.0), 4.0), (0.0, 0.0, 0.0), (0.0, 1.0, 0.0), 8.0),
    (lambda: Cone((0.0, 0.0, 0.0), (2.0, 6.0), 4.0), (2.0, 3.0, 0.0), (0.0, 0.0, 1.0), 8.0),
    (lambda: Cone((0.0, 0.0, 0.0), (2.0, 6.0), 4.0), (0.0, 4.0, 0.0), (2.0, 1.0, 0.0), 2 * np.sqrt(20)),
    (lambda: Ellipse((0.0, 0.0), 5.0).clip((0.0, 1.0), 1.0).clip((1.0, 0.0), 9.0), (3.0, 0.0), (0.0, 1.0), 5.0),
    (lambda: Ellipse((0.0, 0.0), 5.0).clip((2.0, 0.0), 4.0).clip((1.0, 0.0), 9.0), (3.0, 0.0), (0.0, 1.0), 0.0),
]


@pytest.mark.parametrize(("shape", "point", "direction", "length"), HAND)
def test_chords_by_hand(shape, point, direction, length):
    np.testing.assert_allclose(chords(shape(), point, direction), length, atol=1e-11)


@pytest.mark.parametrize("name", SHAPES)
def test_chords_agree_with_bisection_of_the_definition(name):
    shape = SHAPES[name]()
    rng = np.random.default_rng(1)
    points = rng.uniform(-12, 12, (LINES, shape.ndim))
    directions = rng.normal(size=points.shape)
    directions[:: shape.ndim * 4, 0] = 0.0  # some rays in planes of the axes
    expected, hit = bisected_chords(shape, points, directions)
    assert 40 < hit.sum() < LINES
    found = chords(shape, points, directions)
    np.testing.assert_allclose(found[hit], expected[hit], rtol=1e-9, atol=1e-9)
    assert found[~hit].max() < 0.09  # slipped through the sampling of the bisection


@pytest.mark.parametrize(
    ("name", "kind"), [("ellipse", "parallel"), ("ellipsoid", "parallel"), ("ellipsoid", "curved")]
)
def test_the_same_line_integrates_alike_in_every_geometry(name, kind):
    shape = SHAPES[name]()
    rng = np.random.default_rng(2)
    points, directions = rng.uniform(-8, 8, (LINES, shape.ndim)), rng.normal(size=(LINES, shape.ndim))
    flat = chords(shape, points, directions)
    np.testing.assert_allclose(chords(shape, points, directions, kind), flat, rtol=1e-10, atol=1e-9)


def test_only_the_half_line_ahead_of_the_source_counts():
    shape, line = Ellipsoid((0.0, 0.0, 0.0), 10.0), ((0.0, 6.0, 0.0), (0.0, 0.0, 1.0))
    np.testing.assert_allclose(chords(shape, *line, before=50.0, after=20.0), 16.0)
    np.testing.assert_allclose(chords(shape, *line, before=3.0, after=20.0), 11.0)
    np.testing.assert_array_equal(chords(shape, *line, before=-9.0, after=20.0), 0.0)


def test_what_lies_behind_the_detector_counts():
    shape, line = Ellipsoid((0.0, 0.0, 0.0), 10.0), ((0.0, 6.0, 0.0), (0.0, 0.0, 1.0))
    np.testing.assert_allclose(chords(shape, *line, before=50.0, after=-30.0), 16.0)


@pytest.mark.parametrize("name", SHAPES)
def test_values_at_points_follow_the_definition(name):
    shape = SHAPES[name]().scaled(0.3)
    points = np.random.default_rng(3).uniform(-15, 15, (20, 50, shape.ndim))
    expected = inside(shape, points)
    assert 30 < expected.sum() < 900
    np.testing.assert_array_equal(Phantom(shape)(points), 0.3 * expected)
    lower, upper = Phantom(shape).bounds()
    assert (points[expected] >= lower).all()
    assert (points[expected] <= upper).all()


@pytest.mark.parametrize("name", SHAPES)
def test_rasterized_voxels_are_averages(name):
    shape = SHAPES[name]()
    grid = VolumeGrid((9, 10, 11)[-shape.ndim :], (4.1, 3.7, 4.3)[-shape.ndim :], (2.0, 3.1, -4.2)[-shape.ndim :])
    k = 8
    fine = VolumeGrid(tuple(k * n for n in grid.shape), grid.voxel_size / k, grid.center)
    points = np.stack(np.meshgrid(*map(np.asarray, fine.coordinates()), indexing="ij"), -1)
    blocks = inside(shape, points).reshape(tuple(x for n in grid.shape for x in (n, k)))
    expected = blocks.mean(tuple(range(1, 2 * shape.ndim, 2)))
    found = np.asarray(Phantom(shape).rasterize(grid, oversample=k))
    assert found.shape == grid.shape
    # The reference also samples along x, k points a voxel, where the raster is exact.
    assert np.abs(found - expected).max() < 1 / k
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.1 / k
    corners = VolumeGrid(tuple(n + 1 for n in grid.shape), grid.voxel_size, grid.center)
    corner_inside = inside(shape, np.stack(np.meshgrid(*map(np.asarray, corners.coordinates()), indexing="ij"), -1))
    windows = np.lib.stride_tricks.sliding_window_view(corner_inside, (2,) * shape.ndim)
    interior = windows.all(tuple(range(-shape.ndim, 0)))  # a convex shape that holds all corners holds the voxel
    assert interior.any()
    np.testing.assert_array_equal(found[interior], 1.0)
    if name in VOLUMES:
        np.testing.assert_allclose(found.sum() * np.prod(grid.voxel_size), VOLUMES[name], rtol=4e-3)


def test_partly_covered_voxels_have_exact_fractions():
    phantom = Phantom(Rectangle((0.0, 0.25), (1.0, 1.0), 2.0))
    empty, row = [0.0] * 5, [0.0, 0.5, 2.0, 1.5, 0.0]
    np.testing.assert_array_equal(phantom.rasterize(VolumeGrid((4, 5))), [empty, row, row, empty])
    empty, row = [0.0] * 5, [0.0, 0.0, 0.5, 2.0, 1.5]
    moved = phantom.rasterize(VolumeGrid((4, 5), center=(1.0, -1.0)))
    np.testing.assert_array_equal(moved, [row, row, empty, empty])


BAD = [
    (lambda: Ellipse((0.0, 0.0, 0.0, 0.0), 1.0), ValueError, "center"),
    (lambda: Ellipse((0.0, np.nan), 1.0), ValueError, "center"),
    (lambda: Ellipse("a", 1.0), (ValueError, TypeError), "center"),
    (lambda: Ellipse((0.0, 0.0), (1.0, -1.0)), ValueError, "semi_axes"),
    (lambda: Ellipse((0.0, 0.0), (1.0, 1.0, 1.0)), ValueError, "semi_axes"),
    (lambda: Ellipse((0.0, 0.0), 1.0, value=[[1.0]]), ValueError, "value"),
    (lambda: Ellipse((0.0, 0.0), 1.0, value=1j), TypeError, "value"),
    (lambda: Ellipse((0.0, 0.0), 1.0, rotation=np.ones((2, 2))), ValueError, "rotation"),
    (lambda: Ellipse((0.0, 0.0), 1.0, rotation=np.eye(3)), ValueError, "rotation"),
    (lambda: Ellipse(np.zeros((2, 2)), np.ones((3, 2))), ValueError, "family of Ellipsoid"),
    (lambda: Ellipse(np.zeros((0, 2)), 1.0), ValueError, "family of Ellipsoid"),
    (lambda: Box((0.0, 0.0), 0.0), ValueError, "half_lengths"),
    (lambda: Cylinder((0.0, 0.0), 1.0, 1.0), ValueError, "center"),
    (lambda: Cylinder((0.0, 0.0, 0.0), 1.0, 0.0), ValueError, "half_length"),
    (lambda: Cone((0.0, 0.0, 0.0), (-1.0, 1.0), 1.0), ValueError, "radii"),
    (lambda: Cone((0.0, 0.0, 0.0), (0.0, 0.0), 1.0), ValueError, "radii"),
    (lambda: Cone((0.0, 0.0, 0.0), 1.0, 1.0), ValueError, "radii"),
    (lambda: HalfSpace((0.0, 0.0), 1.0), ValueError, "normal"),
    (lambda: Intersection((HalfSpace((0.0, 1.0), 1.0),)), ValueError, "parts"),
    (lambda: Intersection((Ellipse((0.0, 0.0), 1.0), 3.0)), TypeError, "parts"),
    (lambda: Ellipse((0.0, 0.0), 1.0).clip((0.0, 0.0, 1.0), 1.0), ValueError, "parts"),
    (lambda: frame((0.0, 0.0, 0.0)), ValueError, "axis"),
    (lambda: frame((0.0, 0.0, 1.0), (0.0, 0.0, 2.0)), ValueError, "second"),
]


@pytest.mark.parametrize(("call", "error", "name"), BAD)
def test_bad_input_is_named(call, error, name):
    with pytest.raises(error, match=name):
        call()
