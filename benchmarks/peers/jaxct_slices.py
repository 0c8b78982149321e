"""jaxct on 64 images that share a geometry: "vmap" maps the operator over them, "calls" applies it to one by one.

What is timed is all 64. The first image is the input that was given, and its output is the result; ``outputs`` has all.
"""

from typing import Any

import _workloads
import numpy as np
from _workloads import Scan

from peers import jaxct

SLICES = 64
VARIANTS = ("vmap", "calls")


def operators(scan: Scan, direction: str) -> tuple[str, ...]:
    return tuple(f"{model}, {variant}" for model in jaxct.PAIRS for variant in VARIANTS)


def versions() -> dict[str, str]:
    return jaxct.versions()


def prepare(scan: Scan, direction: str, operator: str, threads: int) -> "_Mapped | _Called":
    model, _, variant = operator.partition(", ")
    return (_Mapped if variant == "vmap" else _Called)(scan, direction, model)


def _images(array: np.ndarray) -> list[np.ndarray]:
    """The array and others like it."""
    return [np.roll(array, shift, axis=0) for shift in range(SLICES)]


class _Mapped:
    def __init__(self, scan: Scan, direction: str, model: str):
        import jax

        self._geometry = _workloads.geometry(scan)
        single = jaxct.function_of(scan, direction, model, self._geometry)
        self._function = jax.jit(jax.vmap(single, in_axes=(0, None)))

    def load(self, array: np.ndarray) -> None:
        import jax

        self._input = jax.block_until_ready(jax.device_put(np.stack(_images(array))))

    def run(self) -> None:
        self.outputs = self._function(self._input, self._geometry).block_until_ready()

    def result(self) -> np.ndarray:
        return np.asarray(self.outputs[0])


class _Called:
    def __init__(self, scan: Scan, direction: str, model: str):
        import jax

        self._geometry = _workloads.geometry(scan)
        self._function = jax.jit(jaxct.function_of(scan, direction, model, self._geometry))

    def load(self, array: np.ndarray) -> None:
        import jax

        self._inputs = jax.block_until_ready(jax.device_put(_images(array)))

    def run(self) -> None:
        self.outputs: list[Any] = []
        for image in self._inputs:
            self.outputs.append(self._function(image, self._geometry).block_until_ready())

    def result(self) -> np.ndarray:
        return np.asarray(self.outputs[0])
