"""A call takes no more device memory than docs/gpu-checks.md says: no weights, no matrices, few copies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from jaxct.linear import BACK_MODELS
from tests.gpu.memory import allocated_by
from tests.gpu.tools import gpu

pytestmark = pytest.mark.usefixtures("real_gpu")  # the CPU back end counts nothing

GRID = jaxct.VolumeGrid((128, 128, 128))
CONE = jaxct.ConeBeam(
    np.arange(90) * 2 * np.pi / 90,
    source_origin_distance=500.0,
    source_detector_distance=1000.0,
    detector_shape=(192, 192),
    pixel_size=2.0,
)
# Prepared views, rounding up to the allocator's units, and the vectors on their way.
OVERHEAD = 4 << 20


def documented_bound(direction: str, dtype: str) -> int:
    """Bytes beside input and result, as in docs/gpu-checks.md; copies are in float32."""
    volume, projections = (4 * int(np.prod(shape)) for shape in (GRID.shape, CONE.projection_shape))
    if direction == "forward":
        copies, sums = volume * (2 if dtype == "bfloat16" else 1), projections
    else:
        copies, sums = projections, volume
    return copies + (sums if dtype.endswith("16") else 0) + OVERHEAD


@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("model", BACK_MODELS)
def test_working_memory(model, dtype, precision):
    runs = {"back": lambda y: jaxct.back_project(y, CONE, GRID, model=model, precision=precision)}
    if model != "voxel_driven":
        runs["forward"] = lambda x: jaxct.forward_project(x, CONE, GRID, model=model, precision=precision)
    for direction, run in runs.items():
        shape = GRID.shape if direction == "forward" else CONE.projection_shape
        data, program = jax.device_put(jnp.ones(shape, dtype), gpu()), jax.jit(run)
        taken = allocated_by(lambda p=program, a=data: p(a), gpu()) - program(data).nbytes
        assert taken <= documented_bound(direction, dtype), direction


def test_nothing_is_kept():
    """Repeated calls leave no more in use than the first."""
    program = jax.jit(lambda x: jaxct.forward_project(x, CONE, GRID))
    data = jax.device_put(np.ones(GRID.shape, np.float32), gpu())
    program(data).block_until_ready()
    before = gpu().memory_stats()["bytes_in_use"]
    for _ in range(5):
        program(data).block_until_ready()
    assert gpu().memory_stats()["bytes_in_use"] <= before
