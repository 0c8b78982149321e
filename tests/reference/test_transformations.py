"""The oracle as a JAX function: derivatives, jit, vmap, types and errors."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxct.geometry import ConeVectors, FanBeam, VolumeGrid
from jaxct.reference import MODELS, back_project, forward_project
from tests.reference.tools import CASE, random


def _energy(volume, geometry, grid, model):
    return jnp.sum(forward_project(volume, geometry, grid, model=model) ** 2)


_gradient = jax.jit(jax.grad(_energy, argnums=(0, 1, 2)), static_argnums=3)


@pytest.mark.parametrize("model", MODELS)
def test_derivatives_in_volume_geometry_and_grid(model):
    """They match a finite difference in a random direction, and stay finite where rays run along the voxels' faces."""
    geometry, grid = CASE["fan_vectors"]()
    at = (random(12, grid.shape), geometry, grid)
    leaves, tree = jax.tree.flatten(at)
    along = tree.unflatten([random(k, leaf.shape) for k, leaf in enumerate(leaves)])
    gradient = _gradient(*at, model)
    slope = sum(jnp.vdot(g, d) for g, d in zip(*map(jax.tree.leaves, (gradient, along)), strict=True))
    # A step so short that it is unlikely to move a ray across a kink of a piecewise smooth model.
    step = 1e-7

    def energy_at(distance):
        return _energy(*jax.tree.map(lambda x, d: x + distance * d, at, along), model)

    np.testing.assert_allclose((energy_at(step) - energy_at(-step)) / (2 * step), slope, rtol=1e-6)

    faces = ConeVectors([[-16.0, 0.5]] * 4, [[16.0, 0.5]] * 4, None, [[0.0, 1.0]] * 4, (11,))
    gradient = _gradient(at[0], faces, VolumeGrid(grid.shape), model)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_it_runs_under_jit_and_vmap_over_geometries():
    _, grid = CASE["fan_flat"]()
    image = random(14, grid.shape)

    @partial(jax.vmap, out_axes=0)
    def project(distance):
        fan = FanBeam(
            [0.1, 1.2, 2.3, 3.4],
            source_origin_distance=distance,
            source_detector_distance=40.0,
            detector_shape=(11,),
            pixel_size=2.0,
        )
        return forward_project(image, fan, grid, model="joseph")

    distances = jnp.array([15.0, 22.0])
    single = jnp.concatenate([project(distances[k : k + 1]) for k in range(2)])
    np.testing.assert_allclose(jax.jit(project)(distances), single, rtol=1e-13)


def test_it_computes_in_the_type_of_the_data_or_the_type_asked_for():
    with jax.enable_x64(False):
        geometry, grid = CASE["fan_flat"]()
        image = jnp.asarray(random(15, grid.shape), jnp.float32)
        single = forward_project(image, geometry, grid, model="siddon")
        assert single.dtype == jnp.float32
        assert forward_project(image.astype(jnp.bfloat16), geometry, grid, model="siddon").dtype == jnp.float32
    double = forward_project(image, geometry, grid, model="siddon", dtype=jnp.float64)
    assert double.dtype == jnp.float64
    np.testing.assert_allclose(single, double, rtol=0, atol=1e-4)


def test_bad_arguments_are_named():
    geometry, grid = CASE["fan_flat"]()
    image = jnp.zeros(grid.shape)
    with pytest.raises(ValueError, match=r"model .*siddon.*'ray'"):
        forward_project(image, geometry, grid, model="ray")
    with pytest.raises(ValueError, match=r"volume .*\(8, 9\).*\(9, 8\)"):
        forward_project(image.T, geometry, grid)
    with pytest.raises(ValueError, match=r"projections .*\(4, 11\).*\(8, 9\)"):
        back_project(image, geometry, grid)
    with pytest.raises(ValueError, match="geometry and grid"):
        forward_project(jnp.zeros((2, 2, 2)), geometry, VolumeGrid((2, 2, 2)))
    with pytest.raises(TypeError, match=r"volume .*int"):
        forward_project(image.astype(int), geometry, grid)
