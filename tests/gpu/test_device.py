"""There is a GPU, JAX uses it, and every operator has a CUDA handler. Alone in saying so where there is none."""

import os
from pathlib import Path

import jax
import pytest

import jaxct
from jaxct import _native
from jaxct._linear import DIFFERENTIABLE_MODELS
from jaxct.linear import BACK_MODELS
from tests.gpu.tools import DERIVATIVES, DIRECTIONS


@pytest.mark.usefixtures("real_gpu")
def test_jax_computes_on_the_gpu():
    assert jax.devices()[0].platform == "gpu"
    assert jax.numpy.ones(3).device.platform == "gpu"


@pytest.mark.usefixtures("real_gpu")
def test_every_operator_has_a_cuda_handler():
    wanted = {f"jaxct_{model}_{direction}" for model in BACK_MODELS for direction in DIRECTIONS}
    wanted |= {f"jaxct_{model}_{name}" for model in DIFFERENTIABLE_MODELS for name in DERIVATIVES}
    assert wanted <= set(_native.load()["cuda"].module.registrations())


@pytest.mark.skipif("JAXCT_GPU_SITE" not in os.environ, reason="`make test-gpu` says where its build is")
def test_the_build_under_test_is_the_one_that_was_made():
    made, used = os.environ["JAXCT_GPU_SITE"], Path(jaxct.__file__)
    assert used.is_relative_to(made), f"{used} comes before it: an editable installation? `pip uninstall jaxct` there"
