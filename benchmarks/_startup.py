"""What is paid once: importing the library, and the first call of an operator, each in processes of their own."""

import statistics
import subprocess
import sys
from collections.abc import Iterator

from _comparison import Settings, arrays_of
from _remote import Worker, WorkerError
from _workloads import WORKLOADS
from peers import jaxct
from report import Record

# Small, so that a run, which a first call has like any other, is far shorter than tracing and compiling.
_SCAN = WORKLOADS["W3"].scan.scaled(8)


def import_times(repeats: int) -> dict[str, list[float]]:
    """Seconds of ``import jax`` and of ``import jaxct``, in turn. One of each, not counted, has the files read."""
    rounds = [{module: _import_once(module) for module in ("jax", "jaxct")} for _ in range(repeats + 1)]
    return {module: [times[module] for times in rounds[1:]] for module in rounds[0]}


def _import_once(module: str) -> float:
    code = f"import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
    # -P: the working directory may have a jaxct without compiled modules.
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def first_calls(settings: Settings) -> Iterator[Record]:
    """For each model and direction how much longer the first call takes than the second, in new processes.

    JAX is loaded and has compiled something else by then, and the geometry is made.
    """
    with arrays_of(_SCAN, exact=False) as folder:
        for model in (m for m in jaxct.PAIRS if m in settings.models):
            for direction, data in (("forward", "volume"), ("back", "projections")):
                request = {"direction": direction, "operator": model, "input": str(folder / f"{data}.npy")}
                record = {"workload": "first call", "system": "jaxct", "direction": direction, "operator": model}
                try:
                    seconds = [_first_call(settings, request) for _ in range(settings.repeats)]
                except WorkerError as error:
                    yield record | {"status": "failed", "error": str(error)}
                else:
                    median = statistics.median(seconds)
                    yield record | {"status": "ok", "seconds": seconds, "median_s": median}


def _first_call(settings: Settings, request: dict[str, str]) -> float:
    with Worker(settings.systems["jaxct"], "jaxct", settings.threads) as worker:
        worker.ask("load")
        first = worker.ask("start", scan=vars(_SCAN), **request)["first_s"]
        return first - worker.ask("time")["seconds"]
