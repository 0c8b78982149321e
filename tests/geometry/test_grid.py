"""VolumeGrid: where voxels lie."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from jaxct.geometry import VolumeGrid


def test_voxel_centres_follow_the_convention():
    grid = VolumeGrid((2, 3, 4), voxel_size=(1.0, 2.0, 0.5), center=(10.0, 0.0, -1.0))
    z, y, x = grid.coordinates()
    np.testing.assert_allclose(z, [9.5, 10.5])
    np.testing.assert_allclose(y, [-2.0, 0.0, 2.0])
    np.testing.assert_allclose(x, [-1.75, -1.25, -0.75, -0.25])


def test_bounds_lie_half_a_voxel_outside_the_centres():
    grid = VolumeGrid((3, 5), voxel_size=(2.0, 0.5), center=(1.0, 0.0))
    lower, upper = grid.bounds()
    np.testing.assert_allclose(lower, [-2.0, -1.25])
    np.testing.assert_allclose(upper, [4.0, 1.25])


def test_scalars_broadcast_over_the_axes():
    grid = VolumeGrid((4, 5, 6), voxel_size=0.5, center=2)
    assert (grid.ndim, grid.voxel_size.shape, grid.center.shape) == (3, (3,), (3,))
    np.testing.assert_array_equal(grid.center, [2.0, 2.0, 2.0])


def test_index_coordinates_number_the_voxel_centres():
    grid = VolumeGrid((4, 5), voxel_size=(0.5, 3.0), center=(7.0, -2.0))
    y, x = grid.coordinates()
    np.testing.assert_allclose(grid.to_index(jnp.stack([y[3], x[1]])), [3.0, 1.0], rtol=1e-6)


def test_to_world_inverts_to_index(x64):
    grid = VolumeGrid((4, 5, 6), voxel_size=(0.5, 3.0, 1.1), center=(7.0, -2.0, 0.3))
    points = np.random.default_rng(0).normal(size=(8, 3))
    np.testing.assert_allclose(grid.to_world(grid.to_index(points)), points, atol=1e-13)


def test_a_batch_of_grids_is_built_by_vmap():
    sizes = jnp.array([0.5, 1.0, 2.0])
    uppers = jax.vmap(lambda size: VolumeGrid((4, 4), voxel_size=size).bounds()[1])(sizes)
    np.testing.assert_allclose(uppers, np.stack([2 * sizes, 2 * sizes], 1))


def test_the_centre_can_be_differentiated():
    gradient = jax.grad(lambda c: VolumeGrid((4, 4), center=c).coordinates()[1].sum())(1.0)
    assert gradient == pytest.approx(4.0)


def test_a_huge_grid_costs_nothing():
    grid = VolumeGrid((2**20, 2**20, 2**20), voxel_size=1e-3)
    np.testing.assert_allclose(grid.bounds()[1], np.full(3, 2**19 * 1e-3), rtol=1e-6)


def test_the_grid_is_at_the_top_of_the_package():
    assert jaxct.VolumeGrid is VolumeGrid
