"""The process that runs one library on the GPU: ``python _gpu_worker.py ADAPTER``.

Answers each line of JSON on its standard input with one on its standard output; see ``_remote.Worker``.
"""

import importlib
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from _gpu_cases import GpuScan, blob_back_projection, blob_projections, blob_volume
from _worker import serve

# A case is timed at least so often, even when that takes longer than it was given.
MIN_REPEATS = 3


class Session:
    """The requests, one method each."""

    def __init__(self, adapter: str):
        self._adapter = importlib.import_module(f"peers.{adapter}")
        self._inputs: dict[tuple[int, ...], Any] = {}

    def load(self) -> dict[str, Any]:
        """Import the library and start what it has on the GPU."""
        return {"versions": self._adapter.versions()}

    def measure(
        self, scan: dict[str, Any], direction: str, operator: str, repeats: int, seconds: float
    ) -> dict[str, Any]:
        """Set up, run for the first time (compilation included), then time warm runs."""
        case = GpuScan.from_dict(scan)
        start = time.perf_counter()
        prepared = self._adapter.prepare(case, direction, operator)
        setup = time.perf_counter() - start
        prepared.load(self._input(case.input_shape(direction)))
        first = seconds_of(prepared.run)
        record = {"setup_s": setup, "first_s": first, "seconds": repeat(prepared.run, repeats, seconds)}
        if hasattr(self._adapter, "allocated_bytes"):
            record["allocated_mb"] = self._adapter.allocated_bytes(prepared) / 1e6
        return record

    def check(self, scan: dict[str, Any], direction: str, operator: str, pair: bool) -> dict[str, Any]:
        """Against what a smooth object should give, exactly; for a matched pair, also how far it is from one."""
        case = GpuScan.from_dict(scan)
        volume, projections = blob_volume(case), blob_projections(case)
        prepared = self._adapter.prepare(case, direction, operator)
        if direction == "reconstruct":
            return {"object_error": relative_error(apply(prepared, projections), volume)}
        if direction == "back":
            return {"object_error": relative_error(apply(prepared, projections), blob_back_projection(case))}
        found = {"object_error": relative_error(apply(prepared, volume), projections)}
        if pair:
            rng = np.random.default_rng(0)
            x, y = (rng.standard_normal(a.shape, np.float32) for a in (volume, projections))
            transposed = self._adapter.prepare(case, "back", operator)
            found["adjoint_gap"] = adjoint_gap(x, apply(prepared, x), y, apply(transposed, y))
        return found

    def copy_bandwidth(self) -> dict[str, Any]:
        """Bytes read and written a second by a large copy, in GB/s."""
        import jax
        import jax.numpy as jnp

        source = jax.block_until_ready(jnp.arange(1 << 29, dtype=jnp.float32))
        copy = jax.jit(lambda a: a + 1)  # a plain copy may be left out
        copy(source).block_until_ready()
        times = repeat(lambda: copy(source).block_until_ready(), 20, 2.0)
        return {"gb_per_s": 2 * source.nbytes / statistics.median(times) / 1e9}

    def overhead(self, calls: int) -> dict[str, Any]:
        """Microseconds of a call on small arrays, beside a jitted addition that is given the same arguments."""
        return call_overhead(calls)

    def _input(self, shape: tuple[int, ...]) -> Any:
        """Random numbers, made once for all operators of a scan; on the device, if the adapter can place them."""
        if shape not in self._inputs:
            array = np.random.default_rng(0).random(shape, np.float32)
            array -= np.float32(0.5)
            place = getattr(self._adapter, "place", lambda a: a)
            self._inputs.clear()  # first, or both would be on the device
            self._inputs[shape] = place(array)
        return self._inputs[shape]


def apply(operator: Any, array: np.ndarray) -> np.ndarray:
    """An operator's result, in double precision."""
    operator.load(array)
    operator.run()
    return np.asarray(operator.result(), np.float64)


def seconds_of(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def repeat(run: Callable[[], Any], repeats: int, seconds: float) -> list[float]:
    """Seconds of every run: ``repeats`` of them, or fewer once ``seconds`` are over."""
    times: list[float] = []
    while len(times) < repeats and (len(times) < MIN_REPEATS or sum(times) < seconds):
        times.append(seconds_of(run))
    return times


def relative_error(got: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))


def adjoint_gap(x: np.ndarray, ax: np.ndarray, y: np.ndarray, aty: np.ndarray) -> float:
    """|<Ax, y> - <x, A'y>| / (|Ax| |y|)."""
    return float(abs(np.vdot(ax, y) - np.vdot(x, aty)) / (np.linalg.norm(ax) * np.linalg.norm(y)))


def call_overhead(calls: int) -> dict[str, Any]:
    """One call and its result awaited; and many calls queued, the last result awaited."""
    import jax
    import jax.numpy as jnp

    import jaxct

    grid = jaxct.VolumeGrid((32, 32))
    scan = jaxct.ParallelBeam(np.linspace(0, 3, 30), detector_shape=(48,))
    image = jnp.ones(grid.shape)
    programs = {
        # Without keep_unused the geometry would not be among the arguments of what runs.
        "addition": jax.jit(lambda image, scan: image + 1, keep_unused=True),
        "joseph": jax.jit(lambda image, scan: jaxct.forward_project(image, scan, grid, model="joseph")),
        "separable_footprint": jax.jit(lambda image, scan: jaxct.forward_project(image, scan, grid)),
    }
    found = {}
    for name, program in programs.items():
        program(image, scan).block_until_ready()
        awaited = repeat(lambda p=program: p(image, scan).block_until_ready(), calls, 10.0)
        queued = repeat(lambda p=program: _queue(lambda: p(image, scan), calls), 5, 10.0)
        found[name] = {
            "awaited_us": 1e6 * statistics.median(awaited),
            "queued_us": 1e6 * statistics.median(queued) / calls,
        }
    return found


def _queue(call: Callable[[], Any], calls: int) -> None:
    for _ in range(calls):
        result = call()
    result.block_until_ready()


def main(adapter: str) -> None:
    # What libraries print goes to the standard error, so that answers stay alone on the pipe.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(Session(adapter), sys.stdin, answers)


if __name__ == "__main__":
    main(sys.argv[1])
