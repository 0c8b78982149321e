"""Every native operator agrees with the oracle."""

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxct
from jaxct import reference
from tests.geometries import geometries, models_for
from tests.operators import BACK_PROJECTORS, PAIRS, random, relative_error


def _errors(case, model, oracle_dtype):
    geometry, grid = case()
    geometry = geometry.to_vectors()  # the same rounded vectors for both
    errors = []
    y = random(2, geometry.projection_shape)
    wanted = reference.back_project(y, geometry, grid, model=model, dtype=oracle_dtype)
    errors.append(relative_error(jaxct.back_project(y, geometry, grid, model=model), wanted))
    if model != "voxel_driven":
        x = random(1, grid.shape)
        wanted = reference.forward_project(x, geometry, grid, model=model, dtype=oracle_dtype)
        errors.append(relative_error(jaxct.forward_project(x, geometry, grid, model=model), wanted))
    return max(errors)


@pytest.mark.parametrize(("case", "model"), BACK_PROJECTORS, ids=str)
def test_float64_agrees_with_the_oracle(case, model):
    with jax.enable_x64(True):
        assert _errors(case, model, None) <= 1e-12


@pytest.mark.parametrize(("case", "model"), BACK_PROJECTORS, ids=str)
def test_float32_agrees_with_the_oracle_in_double_precision(case, model):
    geometry, grid = case()
    geometry = geometry.to_vectors()
    y, x = random(2, geometry.projection_shape, jnp.float32), random(1, grid.shape, jnp.float32)
    back = jaxct.back_project(y, geometry, grid, model=model)
    forward = None if model == "voxel_driven" else jaxct.forward_project(x, geometry, grid, model=model)
    with jax.enable_x64(True):
        wanted = reference.back_project(y, geometry, grid, model=model, dtype=jnp.float64)
        assert relative_error(back, wanted) <= 1e-5
        if forward is not None:
            wanted = reference.forward_project(x, geometry, grid, model=model, dtype=jnp.float64)
            assert relative_error(forward, wanted) <= 1e-5


@settings(max_examples=25, deadline=None)
@given(case=geometries(), choice=st.integers(0, 3))
def test_random_set_ups_agree_with_the_oracle(case, choice):
    models = (*models_for(case), "voxel_driven")
    with jax.enable_x64(True):
        assert _errors(case, models[choice % len(models)], None) <= 1e-12


@pytest.mark.parametrize("model", ["siddon", "joseph", "distance_driven", "separable_footprint"])
def test_results_have_the_dtype_of_the_data(model):
    geometry, grid = PAIRS[0][0]()
    assert jaxct.forward_project(random(0, grid.shape), geometry, grid, model=model).dtype == jnp.float32
    with jax.enable_x64(True):
        single = random(0, grid.shape, jnp.float32)
        assert jaxct.forward_project(single, geometry, grid, model=model).dtype == jnp.float32
        assert jaxct.forward_project(random(0, grid.shape), geometry, grid, model=model).dtype == jnp.float64
