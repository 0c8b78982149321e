"""Loads the native modules, registers their XLA FFI targets once in a process, and finds the devices to run them."""

import functools
import importlib
import platform as host
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import NamedTuple

import jax
import jaxlib

_MODULES = {"cpu": "jaxct._cpu", "cuda": "jaxct._cuda"}
_XLA_PLATFORMS = {"cpu": "cpu", "cuda": "CUDA"}
_HOW_TO_BUILD = {
    "cpu": "in a checkout of jaxct, `pip install .` builds it (with a C++17 compiler)",
    "cuda": "it is built where nvcc is found. In a checkout of jaxct, with nvcc on PATH: "
    "`pip install -C cmake.define.JAXCT_CUDA=ON .`",
}
_FOLDER = Path(__file__).resolve().parents[1]
_LOADING = threading.Lock()


class NativeModule(NamedTuple):
    """What became of a native module: loaded, or the reason why not and what to do about it."""

    built: bool
    reason: str = ""
    module: ModuleType | None = None  # present when its targets are registered

    @property
    def loaded(self) -> bool:
        return self.module is not None


def load() -> Mapping[str, NativeModule]:
    """Register the targets of every native module, once; the outcome by platform, "cpu" and "cuda".

    Neither initialises JAX's back ends nor touches a GPU: JAX keeps the targets of a platform until it starts it.
    """
    with _LOADING:
        return _load_all()


@functools.cache
def _load_all() -> Mapping[str, NativeModule]:
    return MappingProxyType({platform: _load_module(platform) for platform in _MODULES})


def require(platform: str = "cpu") -> ModuleType:
    """The native module for a platform, "cpu" or "cuda".

    Raises:
        ImportError: the module is missing or unfit; says why and what to do.
    """
    state = load()[platform]
    if state.module is None:
        way_out = " To stay on the CPU, set JAX_PLATFORMS=cpu." if platform == "cuda" else ""
        raise ImportError(f"{state.reason}.{way_out}", name=_MODULES[platform])
    return state.module


def _load_module(platform: str) -> NativeModule:
    name = _MODULES[platform]
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            absent = f"there is no {name} for Python {host.python_version()} in this installation"
            if platform == "cpu" and _is_checkout():
                hidden = f"{_FOLDER} is a checkout, whose sources hide an installed jaxct: start Python elsewhere"
                absent = f"{hidden}. Or {absent}"
            return NativeModule(built=False, reason=f"{absent}: {_HOW_TO_BUILD[platform]}")
        broken = f"{name} is there but cannot be imported ({error})"
        return NativeModule(built=True, reason=f"{broken}: build jaxct again, on this system and for this Python")
    if reason := _too_new(module):
        return NativeModule(built=True, reason=reason)
    _register(module, _XLA_PLATFORMS[platform])
    return NativeModule(built=True, module=module)


def _is_checkout() -> bool:
    return (_FOLDER / "CMakeLists.txt").exists()


def _register(module: ModuleType, platform: str) -> None:
    for target, handler in module.registrations().items():
        jax.ffi.register_ffi_target(target, handler, platform=platform)


def _too_new(module: ModuleType) -> str:
    """Why XLA would refuse the module's handlers, or "".

    Registered all the same, they would take JAX's whole back end down with them: XLA refuses them as it starts.
    """
    built, running = module.ffi_api_version(), running_ffi_version()
    if running is None or built <= running:
        return ""
    return (
        f"{module.__name__} was built for XLA FFI {version_text(built)}, newer than the {version_text(running)} of "
        f"jaxlib {jaxlib.__version__}: update jax and jaxlib, or build jaxct with the jax in use "
        "(`pip install --no-build-isolation --no-deps .` in a checkout)"
    )


@functools.cache
def running_ffi_version() -> tuple[int, int] | None:
    """The XLA FFI version of the running jaxlib, from the header that it ships; None without that header."""
    try:
        header = Path(jax.ffi.include_dir(), "xla", "ffi", "api", "c_api.h").read_text()
    except (OSError, RuntimeError):
        return None
    numbers = dict(re.findall(r"^#define XLA_FFI_API_(MAJOR|MINOR) (\d+)", header, re.MULTILINE))
    return (int(numbers["MAJOR"]), int(numbers["MINOR"])) if len(numbers) == 2 else None


def version_text(version: tuple[int, int] | None) -> str:
    """``(0, 3)`` as "0.3"."""
    return "unknown" if version is None else ".".join(map(str, version))


def local_devices(platform: str) -> tuple[Sequence[jax.Device], str]:
    """This process's devices of a platform, and JAX's words where it has none. Starts JAX's back ends."""
    try:
        return jax.local_devices(backend=platform), ""
    except Exception as error:  # a plugin may raise anything, and this is where it should be told
        return (), next(iter(str(error).splitlines()), "") or type(error).__name__
