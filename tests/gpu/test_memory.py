"""A call takes no more device memory than its lowering asks for: no weights, no matrices, few copies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from jaxct.linear import BACK_MODELS
from tests.gpu.memory import allocated_by
from tests.gpu.tools import gpu
from tests.test_cuda_lowering import _lowered, _workspace

pytestmark = pytest.mark.usefixtures("real_gpu")  # the CPU back end counts nothing

GRID = jaxct.VolumeGrid((128, 128, 128))
CONE = jaxct.ConeBeam(
    np.arange(90) * 2 * np.pi / 90,
    source_origin_distance=500.0,
    source_detector_distance=1000.0,
    detector_shape=(192, 192),
    pixel_size=2.0,
)
# Rounding up to the allocator's units, and the vectors on their way. Less than any copy.
OVERHEAD = 4 << 20
MANY = 3
# What vmap maps, of data and vectors.
BATCHES = {"one": None, "images": (0, None), "geometries": (None, 0)}


def _call(direction, kind, dtype, **options):
    """A program, and its arguments on the GPU."""
    project, shape = {
        "forward": (jaxct.forward_project, GRID.shape),
        "back": (jaxct.back_project, CONE.projection_shape),
    }[direction]
    axes, vectors = BATCHES[kind], CONE.to_vectors()
    if kind == "images":
        shape = (MANY, *shape)
    if kind == "geometries":
        vectors = jax.tree.map(lambda leaf: jnp.stack([leaf] * MANY), vectors)
    run = lambda data, vectors: project(data, vectors, GRID, **options)  # noqa: E731
    return jax.jit(jax.vmap(run, axes) if axes else run), jax.device_put((jnp.ones(shape, dtype), vectors), gpu())


@pytest.mark.parametrize("kind", BATCHES)
@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("model", BACK_MODELS)
def test_a_call_takes_what_was_planned_when_it_was_lowered(model, dtype, precision, kind):
    """Beside input and result; what is planned is promised in test_cuda_lowering.py."""
    for direction in ("back",) if model == "voxel_driven" else ("back", "forward"):
        program, arguments = _call(direction, kind, dtype, model=model, precision=precision)
        taken = allocated_by(lambda p=program, a=arguments: p(*a), gpu()) - program(*arguments).nbytes
        assert taken <= _workspace(_lowered(program, *arguments)) + OVERHEAD, direction


@pytest.mark.parametrize("model", ["siddon", "joseph", "voxel_driven"])
def test_back_projection_by_these_models_makes_no_copy(model):
    program, arguments = _call("back", "one", "float32", model=model)
    taken = allocated_by(lambda: program(*arguments), gpu()) - program(*arguments).nbytes
    assert taken <= OVERHEAD < arguments[0].nbytes


def test_nothing_is_kept():
    """Repeated calls leave no more in use than the first."""
    program = jax.jit(lambda x: jaxct.forward_project(x, CONE, GRID))
    data = jax.device_put(np.ones(GRID.shape, np.float32), gpu())
    program(data).block_until_ready()
    before = gpu().memory_stats()["bytes_in_use"]
    for _ in range(5):
        program(data).block_until_ready()
    assert gpu().memory_stats()["bytes_in_use"] <= before
