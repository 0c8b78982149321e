"""The oracle is tested in double precision, where a closed form can be met to thirteen digits."""

import jax
import pytest


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield
