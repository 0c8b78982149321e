"""Every operator gives on the GPU what it gives on the CPU, and what the oracle says."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxct
from tests.geometries import geometries, models_for
from tests.gpu.tools import DIRECTIONS, cpu, data_for, gpu, on, operator, oracle
from tests.operators import BACK_PROJECTORS, relative_error


def _check(case, model, dtype, tolerance):
    for direction in DIRECTIONS:
        project, data = operator(direction, case, model), data_for(direction, case, dtype)
        got, on_cpu = on(gpu(), project, data), on(cpu(), project, data)
        assert got.dtype == dtype
        assert relative_error(got, on_cpu) <= tolerance, f"{direction}, against the CPU"
        assert relative_error(got, oracle(direction, case, model, data)) <= tolerance, f"{direction}, oracle"


@pytest.mark.parametrize(("case", "model"), BACK_PROJECTORS, ids=str)
def test_float32(case, model):
    _check(case, model, np.float32, 1e-5)


@pytest.mark.parametrize(("case", "model"), BACK_PROJECTORS, ids=str)
def test_float64(case, model):
    with jax.enable_x64(True):
        _check(case, model, np.float64, 1e-12)


@settings(max_examples=30, deadline=None)
@given(case=geometries(), choice=st.integers(0, 4))
def test_random_set_ups(case, choice):
    models = (*models_for(case), "voxel_driven")
    with jax.enable_x64(True):
        _check(case, models[choice % len(models)], np.float64, 1e-12)


@pytest.mark.parametrize(("case", "model"), BACK_PROJECTORS, ids=str)
def test_fast_is_exact_but_for_data_in_half_precision(case, model):
    """Each number is rounded to 11 bits, so that no result is off by more than 2^-11 of the sum of magnitudes."""
    for direction in DIRECTIONS:
        data = data_for(direction, case)
        exact, fast = (on(gpu(), operator(direction, case, model, **o), data) for o in ({}, {"precision": "fast"}))
        magnitudes = on(gpu(), operator(direction, case, model), np.abs(data))
        assert fast.dtype == np.float32
        bound = (2.0**-11 + 1e-5) * np.asarray(magnitudes) + 1e-6 * float(np.max(magnitudes))
        assert (np.abs(np.asarray(fast) - np.asarray(exact)) <= bound).all(), direction


def test_fdk_and_iterations():
    """What is built on the operators: filtering, weighting and inner products are JAX's own."""
    grid = jaxct.VolumeGrid((20, 24, 24))
    cone = jaxct.ConeBeam(
        np.arange(30) * 2 * np.pi / 30,
        source_origin_distance=60.0,
        source_detector_distance=90.0,
        detector_shape=(30, 40),
        pixel_size=1.5,
    )
    data = np.random.default_rng(0).normal(size=cone.projection_shape).astype(np.float32)
    fdk = lambda y: jaxct.reconstruct.fdk(y, cone, grid)  # noqa: E731
    a = jaxct.Projector(cone, grid)
    cgls = lambda y: jaxct.reconstruct.cgls(a, y, num_iters=3).volume  # noqa: E731
    for reconstruct in (fdk, cgls):
        assert relative_error(on(gpu(), reconstruct, data), on(cpu(), reconstruct, data)) <= 1e-5
