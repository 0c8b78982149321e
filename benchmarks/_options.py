"""The command line that the CPU benchmarks share."""

import argparse
import importlib.util
import sys
from typing import Any

from _common import available_cores
from _comparison import MIN_ROUNDS, Settings
from _workloads import SIZES, WORKLOADS

# Adapter -> the module that tells whether the library is there.
PEERS = {"astra": "astra", "rtk": "itk", "mbirjax": "mbirjax"}


def add_options(parser: argparse.ArgumentParser, workloads: tuple[str, ...]) -> None:
    """What is compared, and how often; the rest is the script's."""
    from jaxct.linear import BACK_MODELS

    parser.add_argument("--workloads", type=choices(WORKLOADS), default=workloads, metavar="W1,W3")
    parser.add_argument("--models", type=choices(BACK_MODELS), default=BACK_MODELS, metavar="joseph,siddon")
    parser.add_argument("--size", choices=SIZES, default="full", help="small: a quarter of voxels, pixels and views")
    parser.add_argument("--repeats", type=_positive, default=5, help="rounds, after the first run (default 5)")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help=f"a comparison stops after this, and {MIN_ROUNDS} rounds (60)"
    )
    parser.add_argument("--threads", type=_positive, default=available_cores(), help="processors that each may use")
    parser.add_argument(
        "--peer",
        action="append",
        type=_peer,
        metavar="NAME[=PYTHON]",
        help=f"{', '.join(PEERS)}: with the interpreter that has it (default: those installed beside jaxct)",
    )
    parser.add_argument("--no-peers", action="store_true", help="jaxct alone")


def settings_of(options: argparse.Namespace) -> Settings:
    return Settings(_systems(options), options.models, options.repeats, options.seconds, options.threads)


def choices(known: Any) -> Any:
    """A type of argument: some of these names, separated by commas."""

    def parse(text: str) -> tuple[str, ...]:
        names = tuple(part.strip() for part in text.split(","))
        if unknown := [n for n in names if n not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
        return names

    return parse


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, got {text!r}")
    return int(text)


def _peer(text: str) -> tuple[str, str]:
    name, _, python = text.partition("=")
    if name not in PEERS:
        raise argparse.ArgumentTypeError(f"no adapter for {name!r}; there are {', '.join(PEERS)}")
    return name, python or sys.executable


def _systems(options: argparse.Namespace) -> dict[str, str]:
    peers = options.peer or [(n, sys.executable) for n, module in PEERS.items() if importlib.util.find_spec(module)]
    return {"jaxct": sys.executable, **({} if options.no_peers else dict(peers))}
