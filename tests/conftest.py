"""What holds for all tests."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def drop_compiled_programs():
    """After each file: what XLA has compiled maps memory, and a process may have only so many mappings."""
    yield
    jax.clear_caches()
