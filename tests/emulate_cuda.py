"""A pytest plugin (``-p tests.emulate_cuda``) that runs the operators as CUDA runs them, on the CPU.

The CUDA lowering, its workspace, the CUDA handlers' decoding and the CUDA kernels, compiled for the host: all but the
device itself. Any test of the operators' promises can so be asked of the CUDA back end on any machine.
"""

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import jax
from jax.interpreters import mlir

from jaxct import _linear, _lors

_FOLDER = Path(os.environ.get("JAXCT_NATIVE_TESTS_FOLDER", Path(__file__).parents[1] / "build/dev/tests/native"))


def _load() -> ModuleType:
    (path,) = _FOLDER.glob("emulated_cuda*.so")
    spec = importlib.util.spec_from_file_location("emulated_cuda", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _rename_targets(scan: type) -> None:
    named = scan.target
    scan.target = lambda self, direction: named(self, direction).replace("jaxct_", "emulated_cuda_", 1)


def _install() -> None:
    for name, handler in _load().registrations().items():
        jax.ffi.register_ffi_target(name.replace("jaxct_", "emulated_cuda_", 1), handler, platform="cpu")
    for scan in (_linear.Scan, _lors.LorScan):
        _rename_targets(scan)
    for name, primitive in _linear._PRIMITIVES.items():
        rule = mlir.lower_fun(_linear._CUDA_CALLS[name], multiple_results=primitive.multiple_results)
        mlir.register_lowering(primitive, primitive.lowering(name, rule), platform="cpu")


_install()
