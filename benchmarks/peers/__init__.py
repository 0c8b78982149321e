"""Adapters: jaxct and its peers, each behind the same few functions.

An adapter is a module with

- ``operators(scan, direction) -> tuple[str, ...]``: what the library has for a scan and a direction ("forward", "back",
  "reconstruct", "cgls", "sirt"); an operator of one name in both directions is meant to be a matched pair. Needs no
  library.
- ``versions() -> dict[str, str]``: imports the library.
- ``prepare(scan, direction, operator, threads)``, which makes an ``Operator``, or an ``Algorithm`` for "cgls" and
  "sirt"; what runs on the GPU alone takes no ``threads``.

All arrays are float32 and in jaxct's order and orientation on both sides: an adapter turns and copies them in ``load``
and ``result``, which are not timed.
"""

from typing import Protocol

import numpy as np


class Operator(Protocol):
    """One operator with its input and output."""

    def load(self, array: np.ndarray) -> None:
        """Take the input: a volume to project, projections to reconstruct from."""

    def run(self) -> None:
        """Compute the output, to the end: this is what is timed."""

    def result(self) -> np.ndarray:
        """The output of the last run."""


class Algorithm(Protocol):
    """An iterative reconstruction."""

    def load(self, array: np.ndarray) -> None:
        """Take the projections."""

    def iterate(self, count: int) -> None:
        """So many iterations, from an image of zeros: this is what is timed."""

    def result(self) -> np.ndarray:
        """The image after the last ones."""
