"""The process that runs one operator of one library: ``python _worker.py ADAPTER THREADS``.

Answers each line of JSON on its standard input with one on its standard output; see ``_remote.Worker``.
"""

import dataclasses
import importlib
import json
import os
import sys
from typing import Any, TextIO

import numpy as np
from _common import Timing, limit_cores, memory_mb, time_iteration, time_once
from _workloads import Scan

# An iteration's time is taken from so many, and from twice as many.
ITERATIONS = 3


class Session:
    """The requests, one method each."""

    def __init__(self, adapter: str, threads: int):
        self._adapter = importlib.import_module(f"peers.{adapter}")
        self._threads = threads
        self._operator: Any = None

    def load(self) -> dict[str, Any]:
        """Import the library."""
        return {"versions": self._adapter.versions()}

    def start(self, scan: dict[str, Any], direction: str, operator: str, input: str) -> dict[str, Any]:
        """Set up and run for the first time, compilation included."""

        def prepare() -> None:
            self._operator = self._adapter.prepare(Scan.from_dict(scan), direction, operator, self._threads)

        setup = time_once(prepare)
        before = memory_mb("VmRSS")
        self._operator.load(np.load(input))
        first = time_once(self._run)
        return {"setup_s": setup.seconds, "first_s": first.seconds, "before_mb": before}

    def time(self) -> dict[str, Any]:
        """Time one run, or one iteration."""
        return {**dataclasses.asdict(self._run()), "peak_mb": memory_mb("VmHWM")}

    def _run(self) -> Timing:
        if hasattr(self._operator, "iterate"):
            return time_iteration(self._operator.iterate, ITERATIONS)
        return time_once(self._operator.run)

    def save(self, path: str) -> dict[str, Any]:
        """Write the last result."""
        np.save(path, np.asarray(self._operator.result(), np.float32))
        return {}

    def apply(self, input: str, path: str) -> dict[str, Any]:
        """Run on another input, and write the result."""
        self._operator.load(np.load(input))
        self._operator.run()
        return self.save(path)


def serve(session: Session, requests: TextIO, answers: TextIO) -> None:
    """Answer until the requests end. A failure is an answer too."""
    for line in requests:
        request = json.loads(line)
        try:
            answer = getattr(session, request.pop("do"))(**request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def main(adapter: str, threads: int) -> None:
    # What libraries print goes to the standard error, so that answers stay alone on the pipe.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    limit_cores(threads)
    serve(Session(adapter, threads), sys.stdin, answers)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
