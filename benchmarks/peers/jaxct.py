"""jaxct itself. Set-up (angles to vectors) is part of what is timed, as it is inside a training step."""

import os
from functools import partial

import _workloads
import numpy as np
from _workloads import Scan

_PAIRS = ("siddon", "joseph", "distance_driven", "separable_footprint")


def operators(scan: Scan, direction: str) -> tuple[str, ...]:
    return {"forward": _PAIRS, "back": (*_PAIRS, "voxel_driven"), "reconstruct": ("fdk",)}[direction]


def versions() -> dict[str, str]:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax
    import jaxlib

    import jaxct

    return {"jaxct": jaxct.__version__, "jax": jax.__version__, "jaxlib": jaxlib.__version__, "numpy": np.__version__}


def prepare(scan: Scan, direction: str, operator: str, threads: int) -> "_Operator":
    return _Operator(scan, direction, operator)


class _Operator:
    def __init__(self, scan: Scan, direction: str, operator: str):
        import jax

        import jaxct

        grid = _workloads.grid(scan)
        functions = {
            "forward": partial(jaxct.forward_project, grid=grid, model=operator),
            "back": partial(jaxct.back_project, grid=grid, model=operator),
            # Closed over: FDK checks the angles of a geometry that is not traced.
            "reconstruct": lambda data, _: jaxct.reconstruct.fdk(data, geometry, grid, window="ram-lak"),
        }
        geometry = _workloads.geometry(scan)
        self._geometry = geometry
        self._function = jax.jit(functions[direction])

    def load(self, array: np.ndarray) -> None:
        import jax

        self._input = jax.block_until_ready(jax.device_put(array))

    def run(self) -> None:
        self._output = self._function(self._input, self._geometry).block_until_ready()

    def result(self) -> np.ndarray:
        return np.asarray(self._output)
