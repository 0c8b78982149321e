"""On the GPU, too, every back projector is the exact transpose of its forward projector."""

import jax
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.geometries import geometries, models_for
from tests.gpu.tools import data_for, gpu, on, operator
from tests.operators import BACK_PROJECTORS, adjoint_gap


def _gap(case, model, dtype, seed=3, **options):
    forward, back = (
        lambda a, d=direction: on(gpu(), operator(d, case, model, **options), a) for direction in ("forward", "back")
    )
    return adjoint_gap(
        forward, back, data_for("forward", case, dtype, (), seed), data_for("back", case, dtype, (), seed + 1)
    )


@pytest.mark.parametrize(("case", "model"), BACK_PROJECTORS, ids=str)
def test_float32(case, model):
    assert _gap(case, model, np.float32) <= 1e-6


@pytest.mark.parametrize(("case", "model"), BACK_PROJECTORS, ids=str)
def test_float64(case, model):
    with jax.enable_x64(True):
        assert _gap(case, model, np.float64) <= 1e-13


@pytest.mark.parametrize(("case", "model"), BACK_PROJECTORS, ids=str)
def test_fast(case, model):
    assert _gap(case, model, np.float32, precision="fast") <= 1e-3


@settings(max_examples=30, deadline=None)
@given(case=geometries(), choice=st.integers(0, 4), seed=st.integers(0, 2**16))
def test_random_set_ups_in_float32(case, choice, seed):
    models = (*models_for(case), "voxel_driven")
    model = models[choice % len(models)]
    forward, x = operator("forward", case, model), data_for("forward", case, seed=seed)
    # Among few rays all sums can cancel by chance, and then |Ax| is no measure of what was added up.
    assume(np.linalg.norm(forward(x)) >= 0.01 * np.linalg.norm(forward(np.abs(x))))
    assert _gap(case, model, np.float32, seed) <= 1e-6
