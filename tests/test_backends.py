"""An installation says what it can compute on, and where it cannot, why and what to do about it."""

import dataclasses
import importlib.util
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import jax
import pytest

import jaxct
from jaxct import _backends, _native
from tests.native_modules import load_afresh, native_module

H200 = SimpleNamespace(device_kind="NVIDIA H200", compute_capability="9.0")
TITAN_V = SimpleNamespace(device_kind="NVIDIA TITAN V", compute_capability="7.0")


@pytest.fixture
def cuda_module(monkeypatch) -> ModuleType:
    """A CUDA module is there, JAX may use CUDA and has a plugin for it."""
    load_afresh(monkeypatch)
    module = native_module()
    monkeypatch.setitem(sys.modules, "jaxct._cuda", module)
    monkeypatch.setattr(_backends, "_cuda_plugins", lambda: ["xla_cuda12"])
    monkeypatch.setattr(_backends, "_allowed_platforms", lambda: "")
    return module


def give_devices(monkeypatch, *devices) -> None:
    monkeypatch.setattr(jax, "local_devices", lambda *, backend: list(devices) if backend == "cuda" else [])


def fail_for_devices(monkeypatch, error: Exception) -> None:
    def local_devices(*, backend):
        raise error

    monkeypatch.setattr(jax, "local_devices", local_devices)


def test_this_installation_computes_on_the_cpu():
    from jaxct import _cpu

    found = jaxct.backends(initialize=True).cpu
    assert (found.platform, found.built, found.loaded, found.reason) == ("cpu", True, True, "")
    assert found.details["instruction set"] == _cpu.instruction_set()
    assert len(found.devices) == len(jax.local_devices(backend="cpu"))


def test_this_installation_says_whether_it_has_cuda():
    found = jaxct.backends(initialize=True).cuda
    assert found.built == (importlib.util.find_spec("jaxct._cuda") is not None)
    if found.built and found.loaded:
        assert set(found.details) == {"CUDA toolkit", "architectures", "JAX's plugin", "XLA FFI"}
    assert found.reason or (found.loaded and found.devices)


def test_the_result_is_ordered_and_frozen():
    found = jaxct.backends()
    assert [backend.platform for backend in found] == ["cpu", "cuda"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.cpu.loaded = False
    with pytest.raises(TypeError):
        found.cpu.details["instruction set"] = "none"


def test_looking_initialises_nothing_unless_asked():
    """JAX takes a number of CPU devices only until its back ends start."""
    code = """
import jax, jaxct
found = jaxct.backends()
assert found.cpu.devices is None and found.cuda.devices is None
jax.config.update("jax_num_cpu_devices", 3)
assert len(jaxct.backends(initialize=True).cpu.devices) == 3
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_module_is_reported(monkeypatch):
    load_afresh(monkeypatch)
    monkeypatch.setitem(sys.modules, "jaxct._cuda", None)
    cuda = jaxct.backends().cuda
    assert (cuda.built, cuda.loaded, dict(cuda.details)) == (False, False, {})
    assert str(cuda).startswith("cuda    not built: there is no jaxct._cuda")


def test_an_unfit_module_is_reported(cuda_module, monkeypatch):
    monkeypatch.setattr(_native, "running_ffi_version", lambda: (0, 3))
    cuda_module.ffi_api_version = lambda: (0, 4)
    cuda = jaxct.backends().cuda
    assert (cuda.built, cuda.loaded, dict(cuda.details)) == (True, False, {})
    assert str(cuda).startswith("cuda    not loaded: jaxct._cuda was built for XLA FFI 0.4, newer than the 0.3")


def test_a_gpu_is_ready(cuda_module, monkeypatch):
    give_devices(monkeypatch, H200, H200)
    cuda = jaxct.backends(initialize=True).cuda
    assert (cuda.loaded, cuda.reason) == (True, "")
    assert cuda.devices == 2 * ("NVIDIA H200 (compute capability 9.0)",)
    assert cuda.details["CUDA toolkit"] == "12.9"
    assert cuda.details["architectures"] == "sm_80 sm_90 compute_90"
    assert cuda.details["XLA FFI"] == "0.1"
    lines = str(cuda).splitlines()
    assert lines[0] == "cuda    ready"
    assert lines[-1].strip() == "devices: 2 x NVIDIA H200 (compute capability 9.0)"


def test_without_asking_jax_nothing_is_said_about_devices(cuda_module, monkeypatch):
    fail_for_devices(monkeypatch, AssertionError("JAX was asked"))
    cuda = jaxct.backends().cuda
    assert (cuda.loaded, cuda.reason, cuda.devices) == (True, "", None)
    assert "backends(initialize=True)" in str(cuda)


@pytest.mark.parametrize("initialize", [False, True])
def test_a_missing_plugin_names_the_extra_of_the_toolkit(cuda_module, monkeypatch, initialize):
    monkeypatch.setattr(_backends, "_cuda_plugins", list)
    fail_for_devices(monkeypatch, RuntimeError("Unknown backend cuda."))
    cuda = jaxct.backends(initialize=initialize).cuda
    assert cuda.loaded
    assert cuda.reason.startswith("JAX has no CUDA plugin: `pip install 'jax[cuda12]'`")
    assert cuda.details["JAX's plugin"] == "none"
    assert str(cuda).startswith("cuda    loaded, but not usable: JAX has no CUDA plugin")


@pytest.mark.parametrize("error", [RuntimeError("Unknown backend cuda.\nmore"), AssertionError()])
def test_a_plugin_without_a_device_passes_on_what_jax_says(cuda_module, monkeypatch, error):
    fail_for_devices(monkeypatch, error)
    cuda = jaxct.backends(initialize=True).cuda
    assert cuda.loaded
    assert cuda.devices == ()
    assert cuda.reason.startswith(f"JAX finds no CUDA device ({str(error).partition(chr(10))[0] or 'AssertionError'})")
    assert "nvidia-smi" in cuda.reason
    assert str(cuda).endswith("devices: none")


@pytest.mark.parametrize(
    ("platforms", "kept"), [("cpu", True), ("tpu,cpu", True), ("cuda", False), ("gpu,cpu", False), ("", False)]
)
def test_a_choice_of_platforms_without_cuda_is_named(cuda_module, monkeypatch, platforms, kept):
    monkeypatch.setattr(_backends, "_allowed_platforms", lambda: platforms)
    reason = jaxct.backends().cuda.reason
    assert reason == (f"JAX is told to use {platforms!r} alone: leave JAX_PLATFORMS unset, or add cuda to it" * kept)


def test_a_gpu_that_the_module_has_no_code_for_is_named(cuda_module, monkeypatch):
    give_devices(monkeypatch, H200, TITAN_V)
    reason = jaxct.backends(initialize=True).cuda.reason
    assert "sm_80 sm_90 compute_90" in reason
    assert "NVIDIA TITAN V (compute capability 7.0)" in reason
    assert "CMAKE_CUDA_ARCHITECTURES=70" in reason


@pytest.mark.parametrize(
    ("architecture", "runs", "does_not"),
    [
        ("sm_80", ["8.0", "8.6", "8.9"], ["7.5", "9.0", "12.0"]),
        ("sm_86", ["8.6", "8.9"], ["8.0", "9.0"]),
        ("compute_90", ["9.0", "10.0", "12.1"], ["8.9"]),
        ("sm_90a", ["9.0"], ["8.0", "10.0"]),
        ("compute_100a", ["10.0"], ["9.0", "10.3", "12.0"]),
        ("compute_100f", ["10.0", "10.3"], ["9.0", "12.0"]),
    ],
)
def test_which_code_runs_on_which_gpu(architecture, runs, does_not):
    assert [capability for capability in runs + does_not if _backends._runs_on(architecture, capability)] == runs


def test_plugins_are_found_where_jax_looks(monkeypatch, tmp_path):
    """Both wheels of JAX put a package into the namespace ``jax_plugins``."""
    (tmp_path / "jax_plugins" / "xla_cuda99").mkdir(parents=True)
    (tmp_path / "jax_plugins" / "xla_cuda99" / "__init__.py").write_text("raise AssertionError('imported')")
    before = _backends._cuda_plugins()
    monkeypatch.syspath_prepend(tmp_path)
    assert set(_backends._cuda_plugins()) == {*before, "xla_cuda99"}
    assert _backends._plugin_version("xla_cuda99") == "of unknown version"
