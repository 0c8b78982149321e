"""Operators that do the same work, each in a process of its own, take turns (A B C, C B A, ...).

So what else the machine does meets all alike. Every operator ends up with a record: its times, what follows from them,
and its errors.
"""

import contextlib
import dataclasses
import importlib
import json
import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _common import describe_machine, load_average
from _remote import Worker, WorkerError
from _workloads import ITERATIVE, SIZES, WORKLOADS, Scan, write_arrays
from report import Record, rounded

# Adapters whose operators begin with the name of one of jaxct's models.
OURS = ("jaxct", "jaxct_slices")
# Forward and back projections in what is timed; one unless named.
PASSES = dict.fromkeys(ITERATIVE, 2)
# Rounds that a comparison has at least, even when they take longer than it may.
MIN_ROUNDS = 2


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is compared, and how often."""

    systems: dict[str, str]  # adapter -> interpreter
    models: tuple[str, ...]
    repeats: int
    seconds: float
    threads: int


@dataclasses.dataclass(frozen=True)
class Task:
    """What the operators of one comparison do, and the folder with the arrays of the scan."""

    workload: str
    scan: Scan
    direction: str
    folder: Path
    judged: bool = True  # against exact values, which are in the folder then

    @property
    def input(self) -> Path:
        inputs = {"forward": "phantom" if self.judged else "volume", "back": "projections"}
        return self.folder / f"{inputs.get(self.direction, 'ray')}.npy"

    @property
    def updates(self) -> int:
        """Voxels x views in what is timed: what GUPS counts."""
        return math.prod(self.scan.shape) * self.scan.views * PASSES.get(self.direction, 1)


@dataclasses.dataclass
class Case:
    """An operator of a library at work, and what is known about it so far."""

    system: str
    operator: str
    threads: int
    record: Record
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


def cases_of(task: Task, settings: Settings, threads: int | None = None) -> list[Case]:
    """All operators that the systems have for a task."""
    count = settings.threads if threads is None else threads
    return [
        make_case(task, system, operator, count)
        for system in settings.systems
        for operator in _operators(system, task, settings.models)
    ]


def make_case(task: Task, system: str, operator: str, threads: int) -> Case:
    record = {"workload": task.workload, "direction": task.direction, "system": system, "operator": operator}
    return Case(system, operator, threads, record | {"threads": threads})


def _operators(system: str, task: Task, models: tuple[str, ...]) -> tuple[str, ...]:
    found = importlib.import_module(f"peers.{system}").operators(task.scan, task.direction)
    if system not in OURS or task.direction == "reconstruct":
        return found
    return tuple(operator for operator in found if operator.partition(",")[0] in models)


class Crew:
    """The processes of one comparison or of several: one for each operator, until the end of the ``with`` statement."""

    def __init__(self, systems: dict[str, str]):
        self._systems = systems
        self._workers: dict[tuple[str, str, int], Worker] = {}

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            if worker.running:
                worker.close()

    def hire(self, cases: list[Case]) -> None:
        """A process for each; new ones import their libraries at the same time, which is not timed."""
        new = [case for case in cases if not self._assign(case)]
        for case in new:
            self._employ(case)
        for case in new:
            if case.alive:
                with case.recorded() as worker:
                    case.record |= worker.receive()

    def _assign(self, case: Case) -> bool:
        """Give it the process that is there already, if any."""
        worker = self._workers.get((case.system, case.operator, case.threads))
        case.worker = worker if worker is not None and worker.running else None
        return case.alive

    def _employ(self, case: Case) -> None:
        try:
            case.worker = Worker(self._systems[case.system], case.system, case.threads)
            self._workers[case.system, case.operator, case.threads] = case.worker
            case.worker.send("load")
        except WorkerError as error:
            case.fail(str(error))


def compare(task: Task, cases: list[Case], crew: Crew, settings: Settings) -> list[Record]:
    """Run all cases in turn; a record for each."""
    crew.hire(cases)
    for case in cases:
        if case.alive:
            _start(case, task)
    _take_turns(cases, settings)
    for case in cases:
        if case.alive:
            with case.recorded() as worker:
                _summarise(case, task)
                if task.judged:
                    _judge(case, worker, task)
                case.record["status"] = "ok"
    return [case.record | {"load_average": load_average()} for case in cases]


def _start(case: Case, task: Task) -> None:
    with case.recorded() as worker:
        case.record |= worker.ask(
            "start",
            scan=dataclasses.asdict(task.scan),
            direction=task.direction,
            operator=case.operator,
            input=str(task.input),
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


def _summarise(case: Case, task: Task) -> None:
    """Figures from the runs: GUPS (1e9 voxels x views a second) and GB/s (input and output) belong to the median."""
    runs = case.record.pop("runs")
    seconds = [run["seconds"] for run in runs]
    median = statistics.median(seconds)
    numbers = math.prod(task.scan.shape) + math.prod(task.scan.projection_shape)
    peak, before = runs[-1]["peak_mb"], case.record.pop("before_mb")
    case.record |= {
        "seconds": seconds,
        "best_s": min(seconds),
        "median_s": median,
        "gups": task.updates / median / 1e9,
        "gb_per_s": 4 * numbers * PASSES.get(task.direction, 1) / median / 1e9,
        "cores": statistics.median(run["cores"] for run in runs),
        "other_cores": [run["other_cores"] for run in runs],
        "peak_mb": peak,
        "added_mb": None if peak is None or before is None else peak - before,
    }


def _judge(case: Case, worker: Worker, task: Task) -> None:
    """Errors against the exact values; and what the adjoint gap needs, once both directions are there."""
    folder = task.folder
    output = folder / f"{case.system}-{case.operator}-{task.direction}.npy"
    worker.ask("save", path=str(output))
    if task.direction == "forward":
        case.record |= {
            f"error_{truth}": _relative_error(output, folder / f"{truth}.npy") for truth in ("ray", "pixel")
        }
        worker.ask("apply", input=str(folder / "volume.npy"), path=str(output))
    elif task.direction == "back":
        forward = folder / f"{case.system}-{case.operator}-forward.npy"
        if forward.exists():
            case.record["adjoint_gap"] = _adjoint_gap(forward, output, folder)
    else:
        case.record |= _image_errors(_read(output), _read(folder / "phantom.npy"))


def _read(path: Path) -> Any:
    return np.load(path).astype(np.float64)


def _relative_error(got: Path, wanted: Path) -> float:
    truth = _read(wanted)
    return float(np.linalg.norm(_read(got) - truth) / np.linalg.norm(truth))


def _adjoint_gap(forward: Path, back: Path, folder: Path) -> float:
    """|<Ax, y> - <x, A'y>| / (|Ax| |y|) for random x and y of either sign."""
    ax, aty, x, y = (_read(path) for path in (forward, back, folder / "volume.npy", folder / "projections.npy"))
    return float(abs(np.vdot(ax, y) - np.vdot(x, aty)) / (np.linalg.norm(ax) * np.linalg.norm(y)))


def _image_errors(image: Any, truth: Any) -> dict[str, float]:
    """Within 0.47 of the width from the axis: rmse, and the mean inside; of a volume in the two middle slices."""
    if truth.ndim == 3:
        middle = slice(len(truth) // 2 - 1, len(truth) // 2 + 1)
        image, truth = image[middle], truth[middle]
    ny, nx = truth.shape[-2:]
    y, x = np.ogrid[:ny, :nx]
    view = np.broadcast_to(np.hypot(y - (ny - 1) / 2, x - (nx - 1) / 2) <= 60 / 128 * nx, truth.shape)
    return {
        "rmse": float(np.sqrt(np.mean((image - truth)[view] ** 2))),
        "mean_inside": float(image[truth == 1].mean()),
    }


@contextlib.contextmanager
def arrays_of(scan: Scan, *, exact: bool = True) -> Iterator[Path]:
    """A folder with the arrays of a scan, for as long as the ``with`` statement."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        write_arrays(scan, Path(folder), exact=exact)
        yield Path(folder)


def new_results(benchmark: str, size: str, settings: Settings) -> dict[str, Any]:
    """The head of a results file."""
    systems = dict.fromkeys(settings.systems)  # versions; interpreters are the machine's affair
    return {
        "benchmark": benchmark,
        "complete": False,
        "machine": describe_machine(),
        "settings": {"size": size, **dataclasses.asdict(settings), "systems": systems},
        "workloads": {},
        "results": [],
    }


def measure_workloads(
    results: dict[str, Any], names: Sequence[str], settings: Settings
) -> Iterator[tuple[str, list[Record]]]:
    """Compare all operators, one direction of a workload after the other; adds to the results.

    Yields:
        A workload's title and its new records, after each direction.
    """
    for name in names:
        workload = WORKLOADS[name]
        scan = workload.scan.scaled(SIZES[results["settings"]["size"]])
        results["workloads"][name] = {"title": workload.title, **dataclasses.asdict(scan)}
        with arrays_of(scan) as folder:
            for direction in workload.directions:
                task = Task(name, scan, direction, folder)
                with Crew(settings.systems) as crew:  # a new one: memory is that of one operator
                    group = compare(task, cases_of(task, settings), crew, settings)
                note_versions(results, group)
                results["results"] += group
                yield workload.title, group


def note_versions(results: dict[str, Any], group: list[Record]) -> None:
    """Move the versions of the libraries from the records to the head of the results."""
    systems = results["settings"]["systems"]
    for record in group:
        systems[record["system"]] = record.pop("versions", None) or systems[record["system"]]


def save(results: dict[str, Any], output: Path | None) -> None:
    """Write the results, if that is wanted; the load average is that of the last time."""
    results["machine"]["load_average_after"] = load_average()
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(rounded(results), indent=1) + "\n")
