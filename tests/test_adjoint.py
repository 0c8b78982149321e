"""Every back projector is the exact transpose of its forward projector."""

import jax
import jax.numpy as jnp
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.geometries import geometries, models_for
from tests.operators import BACK_PROJECTORS, adjoint_gap, operators, random


def _gap(case, model, seed, dtype):
    forward, back, volume_shape, projection_shape = operators(case, model)
    return adjoint_gap(forward, back, random(seed, volume_shape, dtype), random(seed + 1, projection_shape, dtype))


def _assume_not_cancelled(case, model, seed, dtype):
    """Among few rays all sums can cancel by chance, and then |Ax| is no measure of what was added up."""
    forward, _, volume_shape, _ = operators(case, model)
    x = random(seed, volume_shape, dtype)
    assume(jnp.linalg.norm(forward(x)) >= 0.01 * jnp.linalg.norm(forward(jnp.abs(x))))


@pytest.mark.parametrize(("case", "model"), BACK_PROJECTORS, ids=str)
def test_adjoint_in_float32(case, model):
    assert _gap(case, model, 3, jnp.float32) <= 1e-6


@pytest.mark.parametrize(("case", "model"), BACK_PROJECTORS, ids=str)
def test_adjoint_in_float64(case, model):
    with jax.enable_x64(True):
        assert _gap(case, model, 3, jnp.float64) <= 1e-13


@settings(max_examples=60, deadline=None)
@given(case=geometries(), choice=st.integers(0, 4), seed=st.integers(0, 2**16))
def test_adjoint_of_random_set_ups_in_float32(case, choice, seed):
    models = (*models_for(case), "voxel_driven")
    model = models[choice % len(models)]
    _assume_not_cancelled(case, model, seed, jnp.float32)
    assert _gap(case, model, seed, jnp.float32) <= 1e-6


@settings(max_examples=60, deadline=None)
@given(case=geometries(), choice=st.integers(0, 4), seed=st.integers(0, 2**16))
def test_adjoint_of_random_set_ups_in_float64(case, choice, seed):
    models = (*models_for(case), "voxel_driven")
    with jax.enable_x64(True):
        model = models[choice % len(models)]
        _assume_not_cancelled(case, model, seed, jnp.float64)
        assert _gap(case, model, seed, jnp.float64) <= 1e-13
