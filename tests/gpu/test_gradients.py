"""Gradients in the data are the explicit transposes, bit for bit; derivatives in the geometry are those of the CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.gpu.tools import (
    DERIVATIVES,
    DIRECTIONS,
    SOME_DIFFERENTIABLE,
    SOME_OPERATORS,
    cpu,
    data_for,
    data_of_derivative,
    derivative,
    gpu,
    on,
    operator,
)
from tests.operators import relative_error

OTHER = {"forward": "back", "back": "forward"}
PAIRS = [(case, model) for case, model in SOME_OPERATORS if model != "voxel_driven"]


@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize(("case", "model"), PAIRS, ids=str)
def test_the_vjp_is_the_transpose(case, model, precision):
    options = {} if precision == "exact" else {"precision": precision}
    for direction in DIRECTIONS:
        project, transpose = (operator(d, case, model, **options) for d in (direction, OTHER[direction]))
        x, cotangent = data_for(direction, case), data_for(OTHER[direction], case, seed=1)
        (gradient,) = on(gpu(), lambda x, c, f=project: jax.vjp(f, x)[1](c), x, cotangent)
        np.testing.assert_array_equal(gradient, on(gpu(), transpose, cotangent))


@pytest.mark.parametrize(("case", "model"), PAIRS, ids=str)
def test_gradients_of_a_batch_are_those_of_its_members(case, model):
    project = operator("forward", case, model)
    x = data_for("forward", case, batch=(3,))
    loss = lambda x: jnp.sum(jnp.tanh(project(x)))  # noqa: E731
    together = on(gpu(), jax.jit(jax.vmap(jax.grad(loss))), x)
    alone = np.stack([on(gpu(), jax.jit(jax.grad(loss)), item) for item in x])
    assert relative_error(together, alone) <= 1e-6


# In single precision both are rounded where weights have kinks, as tests/test_geometry_gradients.py has it.
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 4e-3), (np.float64, 1e-9)], ids=["float32", "float64"])
@pytest.mark.parametrize("name", DERIVATIVES)
@pytest.mark.parametrize(("case", "model"), SOME_DIFFERENTIABLE, ids=str)
def test_derivatives_in_the_geometry_are_those_of_the_cpu(case, model, name, dtype, tolerance):
    with jax.enable_x64(dtype is np.float64):
        run, data = derivative(name, case, model), data_of_derivative(name, case, dtype)
        got, wanted = (jax.tree.leaves(on(device, jax.jit(run), *data)) for device in (gpu(), cpu()))
        for a, b in zip(got, wanted, strict=True):
            assert a.dtype == dtype
            assert relative_error(a, b) <= tolerance
