"""Stand-ins for the native modules, to be loaded as if for the first time in the process."""

import functools
from types import ModuleType

import jax

from jaxct import _native


def native_module(name: str = "jaxct._cuda") -> ModuleType:
    """A module with the functions that a native one has."""
    module = ModuleType(name)
    module.registrations = lambda: {"jaxct_test_forward": "handler of forward", "jaxct_test_back": "handler of back"}
    module.ffi_api_version = lambda: (0, 1)
    module.toolkit_version = lambda: "12.9"
    module.architectures = lambda: ["sm_80", "sm_90", "compute_90"]
    return module


def load_afresh(monkeypatch) -> list[tuple[str, str, str]]:
    """Forget what has been loaded, and list what is registered from here on: (target, handler, platform)."""
    calls: list[tuple[str, str, str]] = []
    monkeypatch.setattr(jax.ffi, "register_ffi_target", lambda t, h, *, platform: calls.append((t, h, platform)))
    monkeypatch.setattr(_native, "_load_all", functools.cache(_native._load_all.__wrapped__))
    return calls
