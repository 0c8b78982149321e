"""Siddon's weights are lengths: of chords, profiles, diagonals, and of rays that lie in a face."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest

from jaxct.geometry import ConeVectors, ParallelBeam, ParallelVectors, VolumeGrid
from jaxct.reference import forward_project
from jaxct.reference.rays import pixel_rays
from tests.geometries import CASES
from tests.reference.tools import per_view, random

ON_FACES = ("parallel_2d_on_faces", "parallel_on_faces")


def _face_points(origin, direction, low, high):
    """Where a line meets the six (four) faces of a box: parameters t of the points that lie in a face."""
    found = []
    for axis, bound in itertools.product(range(len(low)), (low, high)):
        if abs(direction[axis]) < 1e-12:
            continue
        t = (bound[axis] - origin[axis]) / direction[axis]
        others = np.arange(len(low)) != axis
        point = origin + t * direction
        if np.all((low <= point)[others] & (point <= high)[others]):
            found.append(t)
    return found


def _box_chords(geometry, grid):
    low, high = (np.asarray(bound) for bound in grid.bounds())
    origins, directions = (np.asarray(a).reshape(-1, grid.ndim) for a in per_view(pixel_rays, geometry))
    chords = []
    for origin, direction in zip(origins, directions, strict=True):
        found = _face_points(origin, direction, low, high)
        chords.append((max(found) - min(found)) * np.linalg.norm(direction) if found else 0.0)
    return np.reshape(chords, geometry.projection_shape)


@pytest.mark.parametrize("case", [c for c in CASES if c.name not in ON_FACES], ids=repr)
def test_siddon_of_ones_is_the_chord_of_the_box(case):
    geometry, grid = case()
    projections = forward_project(jnp.ones(grid.shape), geometry, grid, model="siddon")
    np.testing.assert_allclose(projections, _box_chords(geometry, grid), rtol=0, atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 0.2, 0.9, 2.1, -0.6])
def test_siddon_of_one_square_is_its_trapezoidal_profile(angle):
    side, pitch, cols = 1.7, 0.13, 31
    geometry = ParallelBeam([angle], detector_shape=(cols,), pixel_size=pitch)
    projection = forward_project(jnp.ones((1, 1)), geometry, VolumeGrid((1, 1), voxel_size=side), model="siddon")[0]
    cos, sin = sorted((abs(math.cos(angle)), abs(math.sin(angle))), reverse=True)
    distance = np.abs((np.arange(cols) - (cols - 1) / 2) * pitch)
    slope = 1.0 if sin == 0 else np.clip((side * (cos + sin) / 2 - distance) / (side * sin), 0, 1)
    expected = side / cos * slope * (distance < side * (cos + sin) / 2)
    np.testing.assert_allclose(projection, expected, rtol=0, atol=1e-12)


def test_siddon_along_a_space_diagonal():
    """From corner to corner of 3 x 3 x 3 cubes the ray sees the three on the diagonal, sqrt(3) sides each."""
    geometry = ConeVectors([[-9.0, -9.0, -9.0]], [[9.0, 9.0, 9.0]], [[1.0, -1.0, 0.0]], [[0.0, 1.0, -1.0]], (1, 1))
    volume = random(3, (3, 3, 3))
    projection = forward_project(volume, geometry, VolumeGrid((3, 3, 3), voxel_size=2.0), model="siddon")
    expected = 2 * math.sqrt(3) * sum(volume[i, i, i] for i in range(3))
    np.testing.assert_allclose(projection, [[[expected]]], rtol=1e-12)


def test_siddon_gives_a_ray_in_a_face_to_the_upper_voxel():
    grid = VolumeGrid((2, 4), voxel_size=(3.0, 1.0))
    along_y = ParallelVectors([[1.0, 0.0]], [[0.0, 0.0]], None, [[0.0, 1.0]], (5,))
    image = random(4, grid.shape)
    projection = forward_project(image, along_y, grid, model="siddon")[0]
    # Rays at x = -2, ..., 2 lie in the five faces of four columns: each sees the column above it, the last none.
    np.testing.assert_allclose(projection, [*(3 * image.sum(axis=0)), 0.0], rtol=1e-14)
