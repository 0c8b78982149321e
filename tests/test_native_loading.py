"""Each native module is registered once, or the reason why not is given with what to do about it."""

import importlib.machinery
import sys
import threading
import time
from types import ModuleType

import jax
import jaxlib
import pytest

from jaxct import _native
from tests.native_modules import load_afresh, native_module


@pytest.fixture
def registered(monkeypatch) -> list[tuple[str, str, str]]:
    """What is registered from here on, when the modules are loaded as if for the first time."""
    return load_afresh(monkeypatch)


@pytest.fixture
def cuda_module(registered, monkeypatch) -> ModuleType:
    """A CUDA module is there."""
    module = native_module()
    monkeypatch.setitem(sys.modules, "jaxct._cuda", module)
    return module


def test_the_ffi_of_this_jaxlib_takes_the_modules():
    running = _native.running_ffi_version()
    assert running is not None
    assert running >= (0, 3), "the oldest jax that is supported"
    for state in _native.load().values():
        assert not state.loaded or state.module.ffi_api_version() <= running


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
    cpu, cuda = _native.load()["cpu"], _native.load()["cuda"]
    assert {cpu.built, cpu.loaded, cuda.built, cuda.loaded} == {False}
    assert "C++17 compiler" in cpu.reason
    assert "nvcc" in cuda.reason
    assert "JAXCT_CUDA=ON" in cuda.reason
    with pytest.raises(ImportError, match=r"no jaxct\._cuda .* JAX_PLATFORMS=cpu") as caught:
        _native.require("cuda")
    assert caught.value.name == "jaxct._cuda"
    with pytest.raises(ImportError, match=r"no jaxct\._cpu .*pip install"):
        _native.require()


def test_a_broken_module_says_what_the_loader_says(registered, monkeypatch, tmp_path):
    (tmp_path / f"broken_native{importlib.machinery.EXTENSION_SUFFIXES[0]}").write_bytes(b"not a shared object")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(_native._MODULES, "cuda", "broken_native")
    cuda = _native.load()["cuda"]
    assert (cuda.built, cuda.loaded) == (True, False)
    assert "broken_native is there but cannot be imported (" in cuda.reason
    assert "build jaxct again" in cuda.reason
    with pytest.raises(ImportError, match="cannot be imported"):
        _native.require("cuda")


def test_a_module_that_misses_another_counts_as_built(registered, monkeypatch, tmp_path):
    (tmp_path / "needy_native.py").write_text("import a_module_that_is_nowhere")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(_native._MODULES, "cuda", "needy_native")
    cuda = _native.load()["cuda"]
    assert cuda.built
    assert "a_module_that_is_nowhere" in cuda.reason


@pytest.mark.parametrize(("built", "fits"), [((0, 2), True), ((0, 3), True), ((0, 4), False), ((1, 0), False)])
def test_a_module_for_a_newer_ffi_is_not_registered(cuda_module, registered, monkeypatch, built, fits):
    monkeypatch.setattr(_native, "running_ffi_version", lambda: (0, 3))
    cuda_module.ffi_api_version = lambda: built
    cuda = _native.load()["cuda"]
    assert (cuda.built, cuda.loaded) == (True, fits)
    assert ("CUDA" in {platform for _, _, platform in registered}) == fits
    if not fits:
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
    assert _native.load()["cuda"].loaded == (version is None), "what cannot be known is left to XLA"
