"""Joseph's sums, worked by hand."""

import math

import jax.numpy as jnp
import numpy as np

from jaxct.geometry import ParallelVectors, VolumeGrid
from jaxct.reference import forward_project
from tests.reference.tools import random


def test_joseph_sums_samples_along_axis_aligned_rays():
    """Rays midway between two columns of voxels average them; beyond the last centre the value fades to zero."""
    grid = VolumeGrid((3, 4), voxel_size=(2.5, 1.0))
    along_y = ParallelVectors([[-3.0, 0.0]], [[7.0, 0.0]], None, [[0.0, 0.5]], (11,))
    image = random(5, grid.shape)
    column = 2.5 * image.sum(axis=0)
    at_positions = np.interp(np.arange(11) / 2 - 1, np.arange(-1, 5), [0, *column, 0])
    np.testing.assert_allclose(forward_project(image, along_y, grid, model="joseph")[0], at_positions, rtol=1e-13)


def test_joseph_interpolates_where_an_oblique_ray_meets_the_planes():
    """Direction (1, 1/2) through the origin of a 2 x 2 image meets its rows at x = -1/4 and 1/4."""
    geometry = ParallelVectors([[1.0, 0.5]], [[0.0, 0.0]], None, [[-0.5, 1.0]], (1,))
    image = jnp.array([[1.0, 2.0], [4.0, 8.0]])
    expected = math.sqrt(1.25) * (0.75 * 1 + 0.25 * 2 + 0.25 * 4 + 0.75 * 8)
    projection = forward_project(image, geometry, VolumeGrid((2, 2)), model="joseph")
    np.testing.assert_allclose(projection, [[expected]], rtol=1e-14)


def test_joseph_interpolates_in_both_directions_across_the_dominant_axis():
    """Two planes, 2 mm apart, met at (y, x) = (1/4, -1/2) and (3/4, 1/2) of a voxel from voxel (1, 1)."""
    grid = VolumeGrid((2, 4, 4), voxel_size=(2.0, 1.0, 1.0), center=(1.0, 0.5, 0.5))
    geometry = ParallelVectors([[2.0, 0.5, 1.0]], [[0.0, 0.25, -0.5]], [[0.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]], (1, 1))
    volume = random(6, grid.shape)
    first = np.einsum("yx,y,x", volume[0, 1:3, 0:2], [0.75, 0.25], [0.5, 0.5])
    second = np.einsum("yx,y,x", volume[1, 1:3, 1:3], [0.25, 0.75], [0.5, 0.5])
    projection = forward_project(volume, geometry, grid, model="joseph")
    np.testing.assert_allclose(projection, [[[math.sqrt(5.25) * (first + second)]]], rtol=1e-14)


def test_joseph_counts_the_dominant_axis_in_voxels():
    """Direction (1, 2) mm is (1, 1/2) in voxels of (1, 4) mm: the ray goes by rows, though it runs mostly along x."""
    image = random(7, (3, 3))
    geometry = ParallelVectors([[1.0, 2.0]], [[0.0, 0.0]], None, [[-2.0, 1.0]], (1,))
    samples = [(image[0, 0] + image[0, 1]) / 2, image[1, 1], (image[2, 1] + image[2, 2]) / 2]
    projection = forward_project(image, geometry, VolumeGrid((3, 3), voxel_size=(1.0, 4.0)), model="joseph")
    np.testing.assert_allclose(projection, [[math.sqrt(5) * sum(samples)]], rtol=1e-14)


def test_joseph_takes_the_first_of_equal_axes():
    """Half a voxel beside the diagonal, rows are met between two centres, the last half outside."""
    image = random(8, (3, 3))
    geometry = ParallelVectors([[1.0, 2.0]], [[0.0, 1.0]], None, [[-2.0, 1.0]], (1,))
    samples = [(image[0, 0] + image[0, 1]) / 2, (image[1, 1] + image[1, 2]) / 2, image[2, 2] / 2]
    projection = forward_project(image, geometry, VolumeGrid((3, 3), voxel_size=(1.0, 2.0)), model="joseph")
    np.testing.assert_allclose(projection, [[math.sqrt(5) * sum(samples)]], rtol=1e-14)
