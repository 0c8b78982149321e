"""What the GPU benchmark shares with the GPU checks in tests/gpu: which device there is, and how memory is counted."""

import functools
import importlib.util
import sys
from types import ModuleType

from _common import ROOT


@functools.cache
def load(name: str) -> ModuleType:
    """``tests/gpu/NAME.py``, by its path: the folder ``tests`` is no part of an installation."""
    spec = importlib.util.spec_from_file_location(f"_gpu_checks_{name}", ROOT / "tests" / "gpu" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
