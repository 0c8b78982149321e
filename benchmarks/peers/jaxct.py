"""jaxct itself. Set-up (angles to vectors) is part of what is timed, as it is inside a training step."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import _workloads
import numpy as np
from _workloads import ITERATIVE, Scan

PAIRS = ("siddon", "joseph", "distance_driven", "separable_footprint")
_OTHERS = {"back": (*PAIRS, "voxel_driven"), "reconstruct": ("fdk",)}


def operators(scan: Scan, direction: str) -> tuple[str, ...]:
    return _OTHERS.get(direction, PAIRS)


def versions() -> dict[str, str]:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax
    import jaxlib

    import jaxct

    jax.jit(lambda x: x + 1)(0.0)  # starts the back end and the compiler, which is not part of an operator's first run
    return {"jaxct": jaxct.__version__, "jax": jax.__version__, "jaxlib": jaxlib.__version__, "numpy": np.__version__}


def prepare(scan: Scan, direction: str, operator: str, threads: int) -> "_Operator | _Algorithm":
    return (_Algorithm if direction in ITERATIVE else _Operator)(scan, direction, operator)


def function_of(scan: Scan, direction: str, operator: str, geometry: Any) -> Callable[[Any, Any], Any]:
    """Of the data and the geometry."""
    import jaxct

    grid = _workloads.grid(scan)
    if direction == "reconstruct":
        # Closed over: FDK checks the angles of a geometry that is not traced.
        return lambda data, _: jaxct.reconstruct.fdk(data, geometry, grid, window="ram-lak")
    project = jaxct.forward_project if direction == "forward" else jaxct.back_project
    return partial(project, grid=grid, model=operator)


class _Operator:
    def __init__(self, scan: Scan, direction: str, operator: str):
        import jax

        self._geometry = _workloads.geometry(scan)
        self._function = jax.jit(function_of(scan, direction, operator, self._geometry))

    def load(self, array: np.ndarray) -> None:
        import jax

        self._input = jax.block_until_ready(jax.device_put(array))

    def run(self) -> None:
        self._output = self._function(self._input, self._geometry).block_until_ready()

    def result(self) -> np.ndarray:
        return np.asarray(self._output)


class _Algorithm:
    def __init__(self, scan: Scan, direction: str, model: str):
        import jax

        import jaxct

        algorithm = getattr(jaxct.reconstruct, direction)
        self._projector = jaxct.Projector(_workloads.geometry(scan), _workloads.grid(scan), model=model)
        self._volume = jax.jit(
            lambda *args, num_iters: algorithm(*args, num_iters=num_iters).volume, static_argnames="num_iters"
        )

    def load(self, array: np.ndarray) -> None:
        import jax

        self._data = jax.block_until_ready(jax.device_put(array))

    def iterate(self, count: int) -> None:
        self._output = self._volume(self._projector, self._data, num_iters=count).block_until_ready()

    def result(self) -> np.ndarray:
        return np.asarray(self._output)
