"""float16 and bfloat16 are storage types: the result is the float32 one of the same data, rounded once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from tests.operators import PAIRS, operators, random

SOME = PAIRS[:: len(PAIRS) // 12]
HALVES = ("float16", "bfloat16")


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(("case", "model"), SOME, ids=str)
def test_one_rounding(case, model, dtype):
    forward, back, volume_shape, projection_shape = operators(case, model)
    for operator, shape in ((forward, volume_shape), (back, projection_shape)):
        data = random(1, shape, jnp.float32).astype(dtype)
        got = operator(data)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, operator(data.astype(jnp.float32)).astype(dtype))


@pytest.mark.parametrize("dtype", HALVES)
def test_gradients_and_batches_keep_the_dtype(dtype):
    forward, _, shape, _ = operators(*PAIRS[0])
    x = random(2, (3, *shape), jnp.float32).astype(dtype)
    gradient = jax.jit(jax.vmap(jax.grad(lambda x: jnp.sum(forward(x)))))(x)
    assert gradient.dtype == dtype
    assert gradient.shape == x.shape
    assert bool(jnp.isfinite(gradient).all())


def test_numpy_arrays_of_16_bits_are_taken():
    case, model = PAIRS[0]
    geometry, grid = case()
    volume = np.ones(grid.shape, np.float16)
    assert jaxct.forward_project(volume, geometry, grid, model=model).dtype == jnp.float16
