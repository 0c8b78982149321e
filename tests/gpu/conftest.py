"""Every test in this folder runs with the GPU as JAX's default device, or is skipped with the reason why not.

``JAXCT_GPU_CHECKS=required`` makes the lack of a GPU, or of the CUDA module, an error: `make test-gpu` sets it.
``JAXCT_GPU_CHECKS=rehearsal`` runs what can run on the CPU back end instead, which checks the checks.
"""

import os
from pathlib import Path

import pytest

from tests.gpu import device
from tests.gpu.mode import MODE, REHEARSAL

# Several processes share the GPU. Read when JAX starts its back end, which happens after all files are collected.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def _problem() -> str:
    """Why nothing here can run, or ""."""
    if REHEARSAL:
        return ""
    try:
        device.find_device()
    except device.NoDeviceError as error:
        return f"no GPU: {error}"
    from jaxct import _native

    module = _native.load()["cuda"]
    return "" if module.loaded else f"no CUDA module: {module.reason}"


PROBLEM = _problem()


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Where nothing can run, one test that says so, in test_device.py, stands for all."""
    useless = PROBLEM and MODE != "required" and collection_path.name != "test_device.py"
    return True if useless and collection_path.name.startswith("test_") else None


def pytest_report_header() -> str:
    return "GPU checks: " + (PROBLEM or ("a rehearsal on the CPU" if REHEARSAL else str(device.find_device())))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if MODE == "required" or not PROBLEM:
        return
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.skip(reason=PROBLEM))


@pytest.fixture(autouse=True)
def _on_the_gpu():
    if PROBLEM:
        pytest.fail(PROBLEM)
    import jax

    from tests.gpu.tools import gpu

    with jax.default_device(gpu()):
        yield


@pytest.fixture
def real_gpu():
    """For what the CPU back end does differently, or does not have."""
    if REHEARSAL:
        pytest.skip("needs a GPU, this is a rehearsal on the CPU")
