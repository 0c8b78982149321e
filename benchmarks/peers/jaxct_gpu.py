"""jaxct on the GPU. An operator's name is its model, then what differs from exact arithmetic on float32 arrays."""

import os
from functools import partial
from typing import Any

import _workloads
import numpy as np
from _gpu_cases import GpuScan

MODELS = ("separable_footprint", "joseph", "distance_driven", "siddon")


def operators(scan: GpuScan, direction: str) -> tuple[str, ...]:
    if direction == "reconstruct":
        return ("fdk",)
    models = (*MODELS, "voxel_driven") if direction == "back" else MODELS
    variants = ("", ", fast", ", float16") if scan.ndim == 2 else ("", ", fast")
    return tuple(model + variant for model in models for variant in variants)


def versions() -> dict[str, str]:
    os.environ.setdefault("JAX_PLATFORMS", "cuda,cpu")
    import jax
    import jaxlib

    import jaxct

    jax.devices("gpu")  # starts the back end, which is not part of the set-up
    return {"jaxct": jaxct.__version__, "jax": jax.__version__, "jaxlib": jaxlib.__version__, "numpy": np.__version__}


def prepare(scan: GpuScan, direction: str, operator: str) -> "_Operator":
    return _Operator(scan, direction, operator)


def place(array: np.ndarray) -> Any:
    """The array on the GPU."""
    import jax

    return jax.block_until_ready(jax.device_put(array))


def allocated_bytes(operator: "_Operator") -> int:
    """Device memory that a run takes beside its input."""
    import _checkout  # noqa: F401
    import jax

    from tests.gpu.memory import allocated_by

    operator.forget()
    return allocated_by(operator.compute, jax.devices("gpu")[0])


class _Operator:
    def __init__(self, scan: GpuScan, direction: str, operator: str):
        import jax

        model, *changes = operator.split(", ")
        self._dtype = np.float16 if "float16" in changes else np.float32
        options = {"precision": "fast"} if "fast" in changes else {}
        self._geometry = _workloads.geometry(scan)
        function = _function(scan, direction, self._geometry, model, options)
        if scan.batch > 1:
            function = jax.vmap(function, in_axes=(0, None))
        self._function = jax.jit(function)
        self._output: Any = None

    def load(self, array: Any) -> None:
        import jax

        self._input = jax.block_until_ready(jax.device_put(array).astype(self._dtype))

    def compute(self) -> Any:
        return self._function(self._input, self._geometry)

    def run(self) -> None:
        self._output = None  # or two results would be in memory
        self._output = self.compute().block_until_ready()

    def result(self) -> np.ndarray:
        return np.asarray(self._output, np.float32)

    def forget(self) -> None:
        self._output = None


def _function(scan: GpuScan, direction: str, geometry: Any, model: str, options: dict[str, str]) -> Any:
    import jaxct

    grid = _workloads.grid(scan)
    if direction == "reconstruct":
        # Closed over: FDK checks the angles of a geometry that is not traced.
        return lambda data, _: jaxct.reconstruct.fdk(data, geometry, grid, window="ram-lak")
    project = jaxct.forward_project if direction == "forward" else jaxct.back_project
    return partial(project, grid=grid, model=model, **options)
