"""What the tests of the oracle share."""

import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from jaxct.geometry import Geometry, VolumeGrid
from jaxct.reference import forward_project
from tests.geometries import CASES

CASE = {case.name: case for case in CASES}


@cache
def _over_views(function):
    return jax.jit(jax.vmap(function))


def per_view(function, geometry: Geometry):
    """``function`` of every view of a geometry; compiled once for every function and shape."""
    return _over_views(function)(geometry.to_vectors())


def weights(geometry: Geometry, grid: VolumeGrid, model: str) -> np.ndarray:
    """The matrix a_ij as an array ``(voxels, *projection_shape)``, voxels in the order of a flattened volume."""
    units = jnp.eye(math.prod(grid.shape)).reshape(-1, *grid.shape)
    return np.stack([forward_project(unit, geometry, grid, model=model) for unit in units])


def random(seed: int, shape: tuple[int, ...]) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))
