"""What the commands say while they work: one line a stage, with its time."""

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext


class Report:
    """Prints stages to stderr; nothing if quiet. A spinner turns where stderr is a terminal."""

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        self._start = time.perf_counter()

    def line(self, text: str) -> None:
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    @contextmanager
    def stage(self, name: str, *, spinner: bool = True) -> Iterator[None]:
        """Time what happens inside; a stage that fails says nothing."""
        start = time.perf_counter()
        with self._spinner(name) if spinner else nullcontext():
            yield
        self.line(f"{name:<38}{time.perf_counter() - start:8.1f} s")

    def total(self) -> None:
        self.line(f"{'in all':<38}{time.perf_counter() - self._start:8.1f} s")

    def _spinner(self, name: str) -> AbstractContextManager:
        if self.quiet or not sys.stderr.isatty():
            return nullcontext()
        from rich.console import Console

        return Console(stderr=True).status(name)
