"""How fast, how exact and how well matched is every operator, geometry and model, beside other libraries?

``python benchmarks/projectors.py --help``. Every operator runs in a process of its own, and those that do the same work
take turns (A B C, C B A, ...), so that what else the machine does meets all alike. Times are wall-clock seconds from
input to output, the first run (compilation, warm-up) left out and reported apart. See docs/benchmarks.md.
"""

import argparse
import contextlib
import dataclasses
import importlib
import importlib.util
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import report
from _common import available_cores, describe_machine, load_average
from _remote import Worker, WorkerError
from _workloads import SIZES, WORKLOADS, Scan, write_arrays

# Adapter -> the module that tells whether the library is there.
PEERS = {"astra": "astra", "rtk": "itk", "mbirjax": "mbirjax"}
INPUTS = {"forward": "phantom", "back": "projections", "reconstruct": "ray"}
# Rounds that a comparison has at least, even when they take longer than --seconds.
MIN_ROUNDS = 2


@dataclasses.dataclass
class Case:
    """An operator of a library at work on a scan, and what is known about it so far."""

    system: str
    operator: str
    record: dict[str, Any]
    worker: Worker | None = None

    @property
    def alive(self) -> bool:
        return self.worker is not None

    @contextlib.contextmanager
    def recorded(self) -> Iterator[Worker]:
        """Ask the worker; a failure is recorded, and ends the case."""
        assert self.worker is not None
        try:
            yield self.worker
        except WorkerError as error:
            self.fail(str(error))

    def fail(self, message: str) -> None:
        self.record |= {"status": "failed", "error": message}
        if self.worker is not None:
            self.worker.close()
            self.worker = None


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is compared, and how often."""

    systems: dict[str, str]  # adapter -> interpreter
    models: tuple[str, ...]
    repeats: int
    seconds: float
    threads: int


def compare(name: str, scan: Scan, direction: str, folder: Path, settings: Settings) -> Iterator[dict[str, Any]]:
    """Run all operators for one direction of a scan in turn; a record for each."""
    cases = [Case(s, o, {}) for s in settings.systems for o in _operators(s, scan, direction, settings.models)]
    for case in cases:
        case.record |= {"workload": name, "direction": direction, "system": case.system, "operator": case.operator}
    try:
        _load(cases, settings)
        for case in cases:
            if case.alive:
                _start(case, scan, direction, folder)
        _take_turns(cases, settings)
        for case in cases:
            if case.alive:
                with case.recorded() as worker:
                    _summarise(case, scan)
                    _judge(case, worker, scan, direction, folder)
                    case.record["status"] = "ok"
            yield case.record
    finally:
        for case in cases:
            if case.worker is not None:
                case.worker.close()


def _operators(system: str, scan: Scan, direction: str, models: tuple[str, ...]) -> tuple[str, ...]:
    found = importlib.import_module(f"peers.{system}").operators(scan, direction)
    if system != "jaxct" or direction == "reconstruct":
        return found
    return tuple(operator for operator in found if operator in models)


def _load(cases: list[Case], settings: Settings) -> None:
    """Start all processes; they import their libraries at the same time, which is not timed."""
    for case in cases:
        try:
            case.worker = Worker(settings.systems[case.system], case.system, settings.threads)
            case.worker.send("load")
        except WorkerError as error:
            case.fail(str(error))
    for case in cases:
        if case.alive:
            with case.recorded() as worker:
                case.record |= worker.receive()


def _start(case: Case, scan: Scan, direction: str, folder: Path) -> None:
    with case.recorded() as worker:
        case.record |= worker.ask(
            "start",
            scan=dataclasses.asdict(scan),
            direction=direction,
            operator=case.operator,
            input=str(folder / f"{INPUTS[direction]}.npy"),
        )
        case.record["runs"] = []


def _take_turns(cases: list[Case], settings: Settings) -> None:
    """Rounds of one run each, there and back, so that nobody always comes after the same one."""
    start = time.monotonic()
    for index in range(settings.repeats):
        if index >= MIN_ROUNDS and time.monotonic() - start > settings.seconds:
            return
        for case in cases if index % 2 == 0 else cases[::-1]:
            if case.alive:
                with case.recorded() as worker:
                    case.record["runs"].append(worker.ask("time"))


def _summarise(case: Case, scan: Scan) -> None:
    """Figures from the runs: GUPS (1e9 voxels x views a second) and GB/s (input and output) belong to the median."""
    runs = case.record.pop("runs")
    seconds = [run["seconds"] for run in runs]
    median = statistics.median(seconds)
    voxels, pixels = math.prod(scan.shape), math.prod(scan.projection_shape)
    peak, before = runs[-1]["peak_mb"], case.record.pop("before_mb")
    case.record |= {
        "seconds": seconds,
        "best_s": min(seconds),
        "median_s": median,
        "gups": voxels * scan.views / median / 1e9,
        "gb_per_s": 4 * (voxels + pixels) / median / 1e9,
        "cores": statistics.median(run["cores"] for run in runs),
        "other_cores": [run["other_cores"] for run in runs],
        "peak_mb": peak,
        "added_mb": None if peak is None or before is None else peak - before,
    }


def _judge(case: Case, worker: Worker, scan: Scan, direction: str, folder: Path) -> None:
    """Errors against the exact values; and what the adjoint gap needs, once both directions are there."""
    output = folder / f"{case.system}-{case.operator}-{direction}.npy"
    worker.ask("save", path=str(output))
    if direction == "forward":
        case.record |= {
            f"error_{truth}": _relative_error(output, folder / f"{truth}.npy") for truth in ("ray", "pixel")
        }
        worker.ask("apply", input=str(folder / "volume.npy"), path=str(output))
    elif direction == "reconstruct":
        case.record |= _image_errors(_read(output), _read(folder / "phantom.npy"), scan)
    else:
        forward = folder / f"{case.system}-{case.operator}-forward.npy"
        if forward.exists():
            case.record["adjoint_gap"] = _adjoint_gap(forward, output, folder)


def _read(path: Path) -> Any:
    return np.load(path).astype(np.float64)


def _relative_error(got: Path, wanted: Path) -> float:
    truth = _read(wanted)
    return float(np.linalg.norm(_read(got) - truth) / np.linalg.norm(truth))


def _adjoint_gap(forward: Path, back: Path, folder: Path) -> float:
    """|<Ax, y> - <x, A'y>| / (|Ax| |y|) for random x and y of either sign."""
    ax, aty, x, y = (_read(path) for path in (forward, back, folder / "volume.npy", folder / "projections.npy"))
    return float(abs(np.vdot(ax, y) - np.vdot(x, aty)) / (np.linalg.norm(ax) * np.linalg.norm(y)))


def _image_errors(image: Any, truth: Any, scan: Scan) -> dict[str, float]:
    """In the two slices about the source's plane, within 0.47 of the width from the axis: rmse, and the mean inside."""
    nz, ny, nx = scan.shape
    middle = slice(nz // 2 - 1, nz // 2 + 1)
    y, x = np.ogrid[:ny, :nx]
    view = np.broadcast_to(np.hypot(y - (ny - 1) / 2, x - (nx - 1) / 2) <= 60 / 128 * nx, (2, ny, nx))
    image, truth = image[middle], truth[middle]
    return {
        "rmse": float(np.sqrt(np.mean((image - truth)[view] ** 2))),
        "mean_inside": float(image[truth == 1].mean()),
    }


def run(names: Sequence[str], size: str, settings: Settings, output: Path | None = None) -> dict[str, Any]:
    """All comparisons. Prints and writes after each, so that an interrupted run keeps what is done."""
    systems: dict[str, Any] = dict.fromkeys(settings.systems)  # versions; interpreters are the machine's affair
    results: dict[str, Any] = {
        "benchmark": "projectors",
        "complete": False,
        "machine": describe_machine(),
        "settings": {"size": size, **dataclasses.asdict(settings), "systems": systems},
        "workloads": {},
        "results": [],
    }
    for name in names:
        workload = WORKLOADS[name]
        scan = workload.scan.scaled(SIZES[size])
        results["workloads"][name] = {"title": workload.title, **dataclasses.asdict(scan)}
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            write_arrays(scan, Path(folder))
            for direction in workload.directions:
                group = list(compare(name, scan, direction, Path(folder), settings))
                for record in group:
                    systems[record["system"]] = record.pop("versions", None) or systems[record["system"]]
                    record["load_average"] = load_average()
                results["results"] += group
                results["machine"]["load_average_after"] = load_average()
                print(report.section(workload.title, group), flush=True)
                _save(results, output)
    results["complete"] = True
    _save(results, output)
    return results


def _save(results: dict[str, Any], output: Path | None) -> None:
    if output:
        output.write_text(json.dumps(report.rounded(results), indent=1) + "\n")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    from jaxct.linear import BACK_MODELS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", type=_choices(WORKLOADS), default=tuple(WORKLOADS), metavar="W1,W3")
    parser.add_argument("--models", type=_choices(BACK_MODELS), default=BACK_MODELS, metavar="joseph,siddon")
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
    parser.add_argument("--output", type=Path, metavar="RESULTS.json")
    return parser.parse_args(arguments)


def _choices(known: Any) -> Any:
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and write the results; 1 if any operator failed."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    options = _parse(arguments)
    settings = Settings(_systems(options), options.models, options.repeats, options.seconds, options.threads)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
    results = run(options.workloads, options.size, settings, options.output)
    failed = [r for r in results["results"] if r["status"] == "failed"]
    for record in failed:
        reason = report.first_line(record["error"])
        print(f"failed: {record['workload']} {record['direction']} {report.name_of(record)}: {reason}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
