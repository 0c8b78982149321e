"""An installation says what it can compute on, and where it cannot, why and what to do about it."""

import dataclasses
import functools
import importlib.machinery
import importlib.util
import subprocess
import sys
import threading
import time
from types import ModuleType, SimpleNamespace

import jax
import jaxlib
import pytest

import jaxct
from jaxct import __main__ as program
from jaxct import _backends, _native

H200 = SimpleNamespace(device_kind="NVIDIA H200", compute_capability="9.0")
TITAN_V = SimpleNamespace(device_kind="NVIDIA TITAN V", compute_capability="7.0")


def native_module(name: str = "jaxct._cuda", ffi: tuple[int, int] | None = (0, 1)) -> ModuleType:
    """A stand-in for a native module, with the functions that one has."""
    module = ModuleType(name)
    module.registrations = lambda: {"jaxct_test_forward": "handler of forward", "jaxct_test_back": "handler of back"}
    module.toolkit_version = lambda: "12.9"
    module.architectures = lambda: ["sm_80", "sm_90", "compute_90"]
    if ffi is not None:
        module.ffi_api_version = lambda: ffi
    return module


@pytest.fixture
def registered(monkeypatch) -> list[tuple[str, str, str]]:
    """What is registered from here on, when the modules are loaded as if for the first time."""
    calls: list[tuple[str, str, str]] = []
    monkeypatch.setattr(jax.ffi, "register_ffi_target", lambda t, h, *, platform: calls.append((t, h, platform)))
    monkeypatch.setattr(_native, "_load_all", functools.cache(_native._load_all.__wrapped__))
    return calls


@pytest.fixture
def cuda_module(registered, monkeypatch) -> ModuleType:
    """A CUDA module is there, JAX may use CUDA and has a plugin for it."""
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


# The installation that the tests run in


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


def test_the_ffi_of_this_jaxlib_takes_the_modules():
    running = _native.running_ffi_version()
    assert running is not None
    assert running >= (0, 3), "the oldest jax that is supported"
    for state in _native.load().values():
        assert not state.loaded or (_native.ffi_version(state.module) or running) <= running


# Loading


def test_targets_are_registered_for_their_platform(cuda_module, registered, monkeypatch):
    monkeypatch.setitem(sys.modules, "jaxct._cpu", native_module("jaxct._cpu"))
    _native.require("cpu")
    _native.require("cuda")
    assert registered == [
        ("jaxct_test_forward", "handler of forward", "cpu"),
        ("jaxct_test_back", "handler of back", "cpu"),
        ("jaxct_test_forward", "handler of forward", "CUDA"),
        ("jaxct_test_back", "handler of back", "CUDA"),
    ]


def test_threads_register_once(cuda_module, registered):
    offered = cuda_module.registrations()

    def slow_registrations():
        time.sleep(0.05)
        return offered

    cuda_module.registrations = slow_registrations
    threads = [threading.Thread(target=_native.require, args=("cuda",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([platform for _, _, platform in registered if platform == "CUDA"]) == len(offered)


def test_a_missing_module_says_how_to_build_it(registered, monkeypatch):
    monkeypatch.setitem(sys.modules, "jaxct._cuda", None)
    monkeypatch.setitem(sys.modules, "jaxct._cpu", None)
    cpu, cuda = jaxct.backends()
    assert {cpu.built, cpu.loaded, cuda.built, cuda.loaded} == {False}
    assert "C++17 compiler" in cpu.reason
    assert "nvcc" in cuda.reason
    assert "JAXCT_CUDA=ON" in cuda.reason
    assert "cuda    not built: there is no jaxct._cuda" in str(cuda)
    with pytest.raises(ImportError, match=r"no jaxct\._cuda .* JAX_PLATFORMS=cpu") as caught:
        _native.require("cuda")
    assert caught.value.name == "jaxct._cuda"
    with pytest.raises(ImportError, match=r"no jaxct\._cpu .*pip install"):
        _native.require()


def test_a_broken_module_says_what_the_loader_says(registered, monkeypatch, tmp_path):
    (tmp_path / f"broken_native{importlib.machinery.EXTENSION_SUFFIXES[0]}").write_bytes(b"not a shared object")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(_native._MODULES, "cuda", "broken_native")
    cuda = jaxct.backends().cuda
    assert (cuda.built, cuda.loaded, dict(cuda.details)) == (True, False, {})
    assert "broken_native is there but cannot be imported (" in cuda.reason
    assert "build jaxct again" in cuda.reason
    assert str(cuda).startswith("cuda    not loaded: ")
    with pytest.raises(ImportError, match="cannot be imported"):
        _native.require("cuda")


def test_a_module_that_misses_another_counts_as_built(registered, monkeypatch, tmp_path):
    (tmp_path / "needy_native.py").write_text("import a_module_that_is_nowhere")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(_native._MODULES, "cuda", "needy_native")
    cuda = jaxct.backends().cuda
    assert cuda.built
    assert "a_module_that_is_nowhere" in cuda.reason


@pytest.mark.parametrize(("built", "fits"), [((0, 2), True), ((0, 3), True), ((0, 4), False), ((1, 0), False)])
def test_a_module_for_a_newer_ffi_is_not_registered(cuda_module, registered, monkeypatch, built, fits):
    monkeypatch.setattr(_native, "running_ffi_version", lambda: (0, 3))
    cuda_module.ffi_api_version = lambda: built
    cuda = jaxct.backends().cuda
    assert (cuda.built, cuda.loaded) == (True, fits)
    assert ("CUDA" in {platform for _, _, platform in registered}) == fits
    if fits:
        assert cuda.details["XLA FFI"] == f"{built[0]}.{built[1]}"
    else:
        assert f"built for XLA FFI {built[0]}.{built[1]}, newer than the 0.3" in cuda.reason
        assert f"jaxlib {jaxlib.__version__}" in cuda.reason
        assert "--no-build-isolation" in cuda.reason
        with pytest.raises(ImportError, match=r"newer than the 0\.3"):
            _native.require("cuda")


@pytest.mark.parametrize(
    ("header", "version"),
    [
        ("#define XLA_FFI_API_MAJOR 2\n\n// 2.1\n#define XLA_FFI_API_MINOR 17\n", (2, 17)),
        ("#define XLA_FFI_API_MAJOR 2\n", None),
        (None, None),
    ],
)
def test_the_running_ffi_is_read_from_jaxlib_s_header(cuda_module, monkeypatch, tmp_path, header, version):
    if header is not None:
        folder = tmp_path / "xla" / "ffi" / "api"
        folder.mkdir(parents=True)
        (folder / "c_api.h").write_text(header)
    monkeypatch.setattr(jax.ffi, "include_dir", lambda: str(tmp_path))
    monkeypatch.setattr(_native, "running_ffi_version", _native.running_ffi_version.__wrapped__)
    assert _native.running_ffi_version() == version
    cuda_module.ffi_api_version = lambda: (2, 18)
    assert jaxct.backends().cuda.loaded == (version is None), "what cannot be known is left to XLA"


def test_a_module_that_does_not_tell_its_ffi_is_left_to_xla(cuda_module):
    del cuda_module.ffi_api_version
    cuda = jaxct.backends().cuda
    assert cuda.loaded
    assert cuda.details["XLA FFI"] == "unknown"


# A loaded CUDA module, and what JAX has for it


def test_a_gpu_is_ready(cuda_module, monkeypatch):
    give_devices(monkeypatch, H200, H200)
    cuda = jaxct.backends(initialize=True).cuda
    assert (cuda.loaded, cuda.reason) == (True, "")
    assert cuda.devices == 2 * ("NVIDIA H200 (compute capability 9.0)",)
    assert cuda.details["CUDA toolkit"] == "12.9"
    assert cuda.details["architectures"] == "sm_80 sm_90 compute_90"
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
    assert cuda.reason.startswith("JAX has no CUDA plugin: `pip install 'jaxct[cuda12]'`")
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


# python -m jaxct


def test_the_module_reports():
    done = subprocess.run([sys.executable, "-m", "jaxct"], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0] == f"jaxct   {jaxct.__version__}"
    assert lines[1].startswith(f"python  {sys.version.split()[0]}, ")
    assert lines[2].startswith(f"jax     {jax.__version__}, jaxlib {jaxlib.__version__}, XLA FFI ")
    assert lines[3] == "cpu     ready"
    assert len([line for line in lines if line.startswith("cuda    ")]) == 1


def test_the_report_fails_without_the_cpu_module_and_needs_no_extras():
    code = """
import sys
sys.modules |= {"jaxct._cpu": None, "typer": None, "rich": None}
from jaxct.__main__ import main
main([])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "cpu     not built: there is no jaxct._cpu" in done.stdout


@pytest.mark.parametrize(("argument", "code", "said"), [("--version", 0, jaxct.__version__), ("nonsense", 2, "")])
def test_with_arguments_the_module_is_the_command_line(capsys, argument, code, said):
    pytest.importorskip("typer")
    with pytest.raises(SystemExit) as caught:
        program.main([argument])
    assert caught.value.code == code
    assert capsys.readouterr().out.strip() == said


def test_help_tells_of_both(capsys):
    pytest.importorskip("typer")
    with pytest.raises(SystemExit) as caught:
        program.main(["--help"])
    out = capsys.readouterr().out
    assert not caught.value.code
    assert "without arguments, report what this installation can compute on" in out
    assert "reconstruct" in out
