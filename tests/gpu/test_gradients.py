"""Gradients on the GPU are the explicit transposes, bit for bit: the same kernel with the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.gpu.tools import DIRECTIONS, SOME_OPERATORS, data_for, gpu, on, operator
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
