"""Loads the native modules and registers their XLA FFI targets."""

import functools
import importlib

import jax

_PLATFORMS = {"cpu": "_cpu", "CUDA": "_cuda"}


@functools.cache
def load() -> dict[str, str]:
    """Register every target once. Maps each platform to "loaded" or to the reason why it is not."""
    return {platform: _load_module(platform, module) for platform, module in _PLATFORMS.items()}


def _load_module(platform: str, name: str) -> str:
    try:
        module = importlib.import_module(f"jaxct.{name}")
    except ImportError as error:
        return f"jaxct.{name} cannot be imported ({error})"
    for target, handler in module.registrations().items():
        jax.ffi.register_ffi_target(target, handler, platform=platform)
    return "loaded"


def require() -> None:
    """Raise unless the CPU module, which every build has, is loaded.

    Raises:
        ImportError: the module is missing; says why and how to build it.
    """
    state = load()["cpu"]
    if state != "loaded":
        raise ImportError(f"{state}. Build it with `pip install .` in the source tree (needs a C++17 compiler).")
