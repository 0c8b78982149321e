"""Axes and batches longer than the 65,535 blocks that CUDA's grids have along their second and third axes."""

import jax
import numpy as np
import pytest

import jaxct
from jaxct.linear import BACK_MODELS
from tests.gpu.tools import cpu, gpu, on
from tests.operators import relative_error

MANY = 70_001

LONG_AXES = {
    "views": lambda: (jaxct.ParallelBeam(np.arange(MANY) * 0.37, detector_shape=(3,)), jaxct.VolumeGrid((4, 4))),
    "columns": lambda: (_one_view((MANY,), pixel_size=1e-4), jaxct.VolumeGrid((4, 5))),
    "rows": lambda: (_one_view((MANY, 2), pixel_size=(1e-4, 1.3)), jaxct.VolumeGrid((4, 4, 5))),
    "z": lambda: (_one_view((9, 4), pixel_size=(8000.0, 1.3)), jaxct.VolumeGrid((MANY, 2, 3))),
    "y": lambda: (_one_view((2, 4), pixel_size=(1.1, 1.3)), jaxct.VolumeGrid((2, MANY, 3))),
    "x": lambda: (_one_view((2, 9), pixel_size=(1.1, 8000.0)), jaxct.VolumeGrid((2, 3, MANY))),
}


def _one_view(detector_shape, pixel_size):
    return jaxct.ParallelBeam([0.0003], detector_shape=detector_shape, pixel_size=pixel_size)


@pytest.mark.parametrize("model", BACK_MODELS)
@pytest.mark.parametrize("axis", LONG_AXES)
def test_long_axes(axis, model):
    with jax.default_device(cpu()):
        geometry, grid = LONG_AXES[axis]()
        geometry, grid = jax.tree.map(np.asarray, (geometry.to_vectors(), grid))
    rng = np.random.default_rng(0)
    runs = [(lambda y: jaxct.back_project(y, geometry, grid, model=model), geometry.projection_shape)]
    if model != "voxel_driven":
        runs.append((lambda x: jaxct.forward_project(x, geometry, grid, model=model), grid.shape))
    for run, shape in runs:
        data = rng.random(shape, np.float32)
        assert relative_error(on(gpu(), run, data), on(cpu(), run, data)) <= 1e-5


@pytest.mark.parametrize("model", BACK_MODELS)
def test_long_batches(model):
    grid = jaxct.VolumeGrid((2, 3))
    scan = jaxct.ParallelBeam([0.3, 1.1], detector_shape=(4,))
    y = np.random.default_rng(0).random((MANY, 2, 4), np.float32)
    back = jax.jit(jax.vmap(lambda y: jaxct.back_project(y, scan, grid, model=model)))
    assert relative_error(on(gpu(), back, y), on(cpu(), back, y)) <= 1e-5
