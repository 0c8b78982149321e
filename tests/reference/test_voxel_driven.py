"""The voxel-driven back projector reads the projection where a voxel's centre falls."""

import jax.numpy as jnp
import numpy as np

from jaxct.geometry import ConeVectors, ParallelVectors, VolumeGrid
from jaxct.reference import back_project
from tests.reference.tools import random


def test_voxel_driven_interpolates_the_projection_where_the_centre_falls():
    """One voxel at (z, y, x) = (1, 2, 3), source 10 before and detector 10 behind the origin along y: M = 20/12."""
    geometry = ConeVectors([[0.0, -10.0, 0.0]], [[0.0, 10.0, 0.0]], [[2.0, 0.0, 0.0]], [[0.0, 0.0, 2.0]], (4, 5))
    grid = VolumeGrid((1, 1, 1), center=(1.0, 2.0, 3.0))
    projections = random(8, (1, 4, 5))
    m = 20 / 12
    row, col = m * 1 / 2 + 1.5, m * 3 / 2 + 2
    r, c = int(row), int(col)
    a, b = row - r, col - c
    p = np.pad(projections[0], ((0, 1), (0, 1)))
    value = (1 - a) * ((1 - b) * p[r, c] + b * p[r, c + 1]) + a * ((1 - b) * p[r + 1, c] + b * p[r + 1, c + 1])
    result = back_project(projections, geometry, grid, model="voxel_driven")
    np.testing.assert_allclose(result, [[[m**2 * value]]], rtol=1e-13)


def test_voxel_driven_fades_to_zero_one_pixel_beyond_the_detector():
    geometry = ParallelVectors([[1.0, 0.0]], [[0.0, 0.0]], None, [[0.0, 1.0]], (3,))
    grid = VolumeGrid((1, 9), voxel_size=0.5)
    result = back_project(jnp.array([[1.0, 2.0, 4.0]]), geometry, grid, model="voxel_driven")
    np.testing.assert_allclose(result, [[0, 0.5, 1, 1.5, 2, 3, 4, 2, 0]], atol=1e-15)
