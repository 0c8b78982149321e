"""The same bits every time: call after call, and wherever in a batch an item stands."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from jaxct._linear import DIFFERENTIABLE_MODELS
from tests.geometries import CASES, models_for
from tests.gpu.tools import (
    DERIVATIVES,
    DIRECTIONS,
    SOME_DIFFERENTIABLE,
    SOME_OPERATORS,
    data_for,
    data_of_derivative,
    derivative,
    gpu,
    on,
    operator,
)
from tests.operators import relative_error

OPTIONS = [{}, {"precision": "fast"}]
MODES = ["exact", "fast"]


@pytest.mark.parametrize("case", CASES[::4], ids=str)
def test_repeated_calls(case):
    for model in (*models_for(case), "voxel_driven"):
        for direction in DIRECTIONS:
            project, data = jax.jit(operator(direction, case, model)), data_for(direction, case)
            first = np.asarray(on(gpu(), project, data))
            for _ in range(10):
                np.testing.assert_array_equal(on(gpu(), project, data), first)


@pytest.mark.parametrize("name", DERIVATIVES)
@pytest.mark.parametrize(("case", "model"), SOME_DIFFERENTIABLE, ids=str)
def test_repeated_derivatives_in_the_geometry(case, model, name):
    program, data = jax.jit(derivative(name, case, model)), data_of_derivative(name, case)
    first = jax.tree.map(np.asarray, on(gpu(), program, *data))
    for _ in range(10):
        jax.tree.map(np.testing.assert_array_equal, on(gpu(), program, *data), first)


@pytest.mark.parametrize("options", OPTIONS, ids=MODES)
def test_many_blocks_and_views(options):
    """Big enough for thousands of blocks, and for views in more than one group."""
    grid = jaxct.VolumeGrid((64, 72, 80))
    cone = jaxct.ConeBeam(
        np.arange(100) * 0.0628,
        source_origin_distance=200.0,
        source_detector_distance=300.0,
        detector_shape=(96, 112),
        pixel_size=1.2,
    )
    rng = np.random.default_rng(0)
    x = rng.normal(size=grid.shape).astype(np.float32)
    y = rng.normal(size=cone.projection_shape).astype(np.float32)
    for model in ("siddon", "joseph", "distance_driven", "separable_footprint", "voxel_driven"):
        runs = [jax.jit(lambda y, m=model: jaxct.back_project(y, cone, grid, model=m, **options))]
        if model != "voxel_driven":
            runs.append(jax.jit(lambda x, m=model: jaxct.forward_project(x, cone, grid, model=m, **options)))
        for project, data in zip(runs, (y, x), strict=False):
            first = np.asarray(on(gpu(), project, data))
            for _ in range(5):
                np.testing.assert_array_equal(on(gpu(), project, data), first)
    for model in DIFFERENTIABLE_MODELS:
        loss = lambda s, m=model: jnp.vdot(y, jaxct.forward_project(x, *s, model=m))  # noqa: E731
        gradient = jax.jit(jax.grad(loss))
        first = jax.tree.map(np.asarray, on(gpu(), gradient, (cone, grid)))
        for _ in range(3):
            jax.tree.map(np.testing.assert_array_equal, on(gpu(), gradient, (cone, grid)), first)


@pytest.mark.parametrize("options", OPTIONS, ids=MODES)
@pytest.mark.parametrize(("case", "model"), SOME_OPERATORS, ids=str)
def test_position_in_a_batch(case, model, options):
    """Batches of fewer and of more items than share their weights in a kernel, and no multiple of that."""
    for direction in DIRECTIONS:
        project = operator(direction, case, model, **options)
        item = data_for(direction, case)
        alone, program = on(gpu(), project, item), jax.jit(jax.vmap(project))
        for size in (2, 7, 19):
            others = data_for(direction, case, batch=(size,), seed=size)
            found = []
            for position in {0, 1, size // 2, size - 4, size - 3, size - 1} & set(range(size)):
                batch = others.copy()
                batch[position] = item
                found.append(np.asarray(on(gpu(), program, batch))[position])
            for other in found[1:]:
                np.testing.assert_array_equal(other, found[0])
            assert relative_error(found[0], alone) <= 1e-6
