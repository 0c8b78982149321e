"""How fast is every operator on this GPU, how near to what the GPU can do, and how fast beside other libraries?

``python benchmarks/gpu.py --help``. Every library runs in a process of its own, one at a time. Times are wall-clock
seconds from input to output on the device, synchronised; the first run (compilation, warm-up) is left out and reported
apart. The smallest cases come first, results are written as they come, and the run ends when its time is over. See
docs/gpu-checks.md.
"""

import argparse
import contextlib
import dataclasses
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import _checkout  # noqa: F401
import _gpu_report
import report
from _common import ROOT, describe_machine
from _gpu_cases import GPU_CHECKS, GPU_WORKLOADS, GpuScan, check_of
from _remote import Worker, WorkerError

from tests.gpu.device import NoDeviceError, find_device

ADAPTERS = {"jaxct": "jaxct_gpu", "diffct": "diffct", "astra": "astra_gpu", "mbirjax": "mbirjax"}
# What takes a batch of 2-D images.
BATCHED = ("jaxct", "diffct")
MODELS = ("separable_footprint", "joseph", "voxel_driven", "distance_driven", "siddon")
VARIANTS = ("exact", "fast", "float16")
# Takes ten times as long as the others and more: after them, so that it cannot take their time.
SLOW = ("mbirjax",)
# Arrays beyond this many numbers: the library has the GPU to itself, in a new process.
HEAVY = 2**28
# Errors that leave a process as it was.
REFUSALS = ("TypeError", "ValueError", "NotImplementedError")
# Seconds that the last reports need.
RESERVE = 8.0


class Budget:
    """The time that a run may take."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic):
        self._clock, self._end = clock, clock() + seconds

    def left(self) -> float:
        """Seconds for measurements."""
        return self._end - self._clock() - RESERVE

    def allows(self, seconds: float) -> float:
        """As many of these seconds as are left; 0 when the time is over."""
        return max(0.0, min(seconds, self.left()))


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is measured, and how long."""

    systems: dict[str, str]  # system -> interpreter
    paths: dict[str, str]  # system -> folder with its packages
    models: tuple[str, ...]
    variants: tuple[str, ...]
    repeats: int
    seconds: float  # of warm runs of one case
    case_seconds: float  # that one case may take altogether


def operators(system: str, scan: GpuScan, direction: str, settings: Settings) -> tuple[str, ...]:
    """What is measured of a system."""
    if scan.batch > 1 and system not in BATCHED:
        return ()
    found = importlib.import_module(f"peers.{ADAPTERS[system]}").operators(scan, direction)
    if system != "jaxct" or direction == "reconstruct":
        return found
    chosen = []
    for operator in found:
        model, *variant = operator.split(", ")
        if model in settings.models and (variant or ["exact"])[0] in settings.variants:
            chosen.append(operator)
    return tuple(chosen)


class Run:
    """One run: the processes, the time, and the results, which are written after every step."""

    def __init__(self, settings: Settings, budget: Budget, results: dict[str, Any], output: Path):
        self.settings, self.budget, self.results, self.output = settings, budget, results, output
        self._workers: dict[str, Worker] = {}

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        self.drop_all()

    def worker(self, system: str) -> Worker:
        """The system's process, started and loaded if there is none.

        Raises:
            WorkerError: it does not start; that is also noted.
        """
        if system not in self._workers:
            environment = dict(os.environ)
            if folder := self.settings.paths.get(system):
                environment["PYTHONPATH"] = os.pathsep.join([folder, environment.get("PYTHONPATH", "")])
            python = self.settings.systems[system]
            worker = Worker(python, ADAPTERS[system], script="_gpu_worker.py", environment=environment)
            self._workers[system] = worker
            known = self.results["systems"][system]
            try:
                known |= worker.ask_within(self.budget.allows(90.0), "load")
            except WorkerError as error:
                self.drop(system)
                known.setdefault("missing", str(error))
                raise
        return self._workers[system]

    def drop(self, system: str) -> None:
        """End the system's process."""
        if system in self._workers:
            self._workers.pop(system).close()

    def drop_all(self) -> None:
        """End all processes, and with them what they hold on the device."""
        for system in list(self._workers):
            self.drop(system)

    def usable(self, system: str) -> bool:
        return "missing" not in self.results["systems"][system]

    def ask(self, system: str, do: str, **arguments: Any) -> dict[str, Any]:
        """A request within the time that is left; a process that fails to answer is ended.

        Raises:
            WorkerError: no answer, or a failure.
        """
        worker = self.worker(system)
        try:
            return worker.ask_within(self.budget.allows(self.settings.case_seconds), do, **arguments)
        except WorkerError as error:
            if not str(error).startswith(REFUSALS):
                self.drop(system)  # whatever state it is in, the next case gets a sound one
            raise

    def save(self) -> None:
        """Write what there is; a reader never finds half a file."""
        write(self.output.with_suffix(".json"), json.dumps(report.rounded(self.results), indent=1) + "\n")
        write(self.output.with_suffix(".md"), _gpu_report.document(self.results) + "\n")


def write(path: Path, text: str) -> None:
    """Replace a file at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.replace(path)


def measure_ceilings(run: Run) -> None:
    """What the GPU can do: the stand-alone program where nvcc is, and a copy by JAX."""
    ceilings = run.results["ceilings"]
    ceilings |= _fetch_rates(run.budget)
    try:
        ceilings["copy_gb_per_s"] = run.ask("jaxct", "copy_bandwidth")["gb_per_s"]
        run.results["overhead"] = run.ask("jaxct", "overhead", calls=200)
    except WorkerError as error:
        ceilings["copy_error"] = str(error)


def _fetch_rates(budget: Budget) -> dict[str, Any]:
    """The rates, or why there are none."""
    if shutil.which("nvcc") is None:
        return {"fetch_error": "no nvcc to compile gpu_ceilings.cu with"}
    with tempfile.TemporaryDirectory(prefix="ceilings-") as folder:
        program = str(Path(folder, "ceilings"))
        source = str(ROOT / "benchmarks" / "gpu_ceilings.cu")
        try:
            for command in (["nvcc", "-O3", "-arch=native", "-o", program, source], [program]):
                limit = budget.allows(90.0)
                done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=limit)
        except (OSError, subprocess.SubprocessError) as error:
            return {"fetch_error": f"gpu_ceilings.cu: {error}"}
    return json.loads(done.stdout)


def check(run: Run, system: str, names: Sequence[str]) -> None:
    """Every operator on a small scan, before it is timed: pairs forwards, what has no forward projector backwards."""
    for name in names:
        scan = GPU_CHECKS[name]
        by_direction = {d: operators(system, scan, d, run.settings) for d in ("forward", "back", "reconstruct")}
        todo = [("forward", o, o in by_direction["back"]) for o in by_direction["forward"]]
        todo += [("back", o, False) for o in by_direction["back"] if system == "jaxct" and o.startswith("voxel_driven")]
        todo += [("reconstruct", o, False) for o in by_direction["reconstruct"] if scan.beam == "cone"]
        for direction, operator, pair in todo:
            if run.budget.left() <= 0:
                return
            record = {"scan": name, "system": system, "operator": operator, "direction": direction}
            try:
                record |= run.ask(system, "check", **_case(scan, direction, operator), pair=pair)
                run.results["checks"].append(_gpu_report.judge(record))
            except WorkerError as error:
                if not run.usable(system):
                    return
                run.results["checks"].append(record | {"status": "failed", "error": str(error)})


def _case(scan: GpuScan, direction: str, operator: str) -> dict[str, Any]:
    return {"scan": dataclasses.asdict(scan), "direction": direction, "operator": operator}


def measure(run: Run, name: str, system: str) -> Iterator[dict[str, Any]]:
    """A record for each of a system's operators on a workload."""
    workload, settings = GPU_WORKLOADS[name], run.settings
    for direction in workload.directions:
        for operator in operators(system, workload.scan, direction, settings):
            record = {"workload": name, "direction": direction, "system": system, "operator": operator}
            if run.budget.left() <= 0:
                yield record | {"status": "skipped", "error": "the run's time was over"}
                continue
            try:
                case = _case(workload.scan, direction, operator)
                answer = run.ask(system, "measure", **case, repeats=settings.repeats, seconds=settings.seconds)
                yield _gpu_report.summarise(record | answer, workload.scan, run.results["ceilings"])
            except WorkerError as error:
                if not run.usable(system):
                    return
                yield record | {"status": "failed", "error": str(error)}


def schedule(workloads: Sequence[str], systems: Iterable[str]) -> list[tuple[str, str]]:
    """Workload and system, in the order in which they run: side by side, the slow ones after all others."""
    ranks = {system: system in SLOW for system in systems}
    return [(w, s) for slow in (False, True) for w in workloads for s, rank in ranks.items() if rank == slow]


def execute(run: Run, workloads: Sequence[str]) -> None:
    """The whole run, as far as time allows."""
    run.save()
    with _progress("ceilings and call overhead"):
        measure_ceilings(run)
    needed = list(dict.fromkeys(check_of(GPU_WORKLOADS[name].scan) for name in workloads))
    for system in run.settings.systems:
        with _progress(f"checks of {system}"):
            check(run, system, needed)
        run.save()
    for name, system in schedule(workloads, run.settings.systems):
        if not run.usable(system):
            continue
        if GPU_WORKLOADS[name].scan.numbers > HEAVY:
            run.drop_all()
        with _progress(f"{name}, {system}"):
            for record in measure(run, name, system):
                run.results["results"].append(record)
                run.save()
        _gpu_report.draw(run.results, run.output.with_suffix(".png"))
    skipped = sum(r["status"] == "skipped" for r in run.results["results"])
    run.results["complete"] = skipped == 0
    run.results["cut_short"] = f"{skipped} cases were left out when the time was over" if skipped else None
    run.save()
    _gpu_report.draw(run.results, run.output.with_suffix(".png"))


@contextlib.contextmanager
def _progress(what: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)


def describe(device: Any, settings: Settings) -> dict[str, Any]:
    """The head of the results."""
    return {
        "benchmark": "gpu",
        "complete": False,
        "cut_short": None,
        "device": str(device),
        "driver": _driver(),
        "machine": describe_machine(),
        # Interpreters and folders are the machine's affair.
        "settings": {k: v for k, v in dataclasses.asdict(settings).items() if k not in ("systems", "paths")},
        "systems": {name: {} for name in settings.systems},
        "ceilings": {},
        "overhead": {},
        "checks": [],
        "results": [],
    }


def _driver() -> str:
    fields = "driver_version,memory.total,clocks.max.sm,power.limit"
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader", "--id=0"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return "driver unknown"
    return "driver, memory, SM clock, power limit: " + done.stdout.strip()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", type=_choices(GPU_WORKLOADS), default=tuple(GPU_WORKLOADS), metavar="A,B")
    parser.add_argument("--systems", type=_choices(ADAPTERS), default=tuple(ADAPTERS), metavar="jaxct,diffct")
    parser.add_argument("--models", type=_choices(MODELS), default=MODELS[:3], metavar="joseph,siddon")
    parser.add_argument("--variants", type=_choices(VARIANTS), default=VARIANTS, metavar="exact,fast")
    parser.add_argument("--repeats", type=int, default=20, help="warm runs of a case, at most (20)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of warm runs of a case, or 3 runs (1)")
    parser.add_argument("--case-seconds", type=float, default=45.0, help="a case that takes longer has failed (45)")
    parser.add_argument("--budget-seconds", type=float, default=450.0, help="for the whole run, at most (450)")
    parser.add_argument("--python", type=_assignment, action="append", default=[], metavar="SYSTEM=INTERPRETER")
    parser.add_argument("--path", type=_assignment, action="append", default=[], metavar="SYSTEM=FOLDER")
    parser.add_argument("--output", type=Path, metavar="NAME", help="writes NAME.json, .md, .png")
    parser.add_argument("--report", type=Path, metavar="RESULTS.json", help="only write its table and plot again")
    return parser.parse_args(arguments)


def _choices(known: Any) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(part.strip() for part in text.split(","))
        if unknown := [n for n in names if n not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
        return tuple(n for n in known if n in names)

    return parse


def _assignment(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if name not in ADAPTERS or not value:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(ADAPTERS)}, then =VALUE; got {text!r}")
    return name, value


def _settings(options: argparse.Namespace) -> Settings:
    interpreters = {name: python for name, python in options.python if name in options.systems}
    return Settings(
        systems=dict.fromkeys(options.systems, sys.executable) | interpreters,
        paths=dict(options.path),
        models=options.models,
        variants=options.variants,
        repeats=options.repeats,
        seconds=options.seconds,
        case_seconds=options.case_seconds,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and write the results; 1 if there is no GPU, or if any operator or check failed."""
    options = _parse(arguments)
    if options.report:
        results = json.loads(options.report.read_text())
        write(options.report.with_suffix(".md"), _gpu_report.document(results) + "\n")
        _gpu_report.draw(results, options.report.with_suffix(".png"))
        return 0
    try:
        device = find_device()
    except NoDeviceError as error:
        print(f"No GPU to measure on: {error}.", file=sys.stderr)
        return 1
    budget, settings = Budget(options.budget_seconds), _settings(options)
    os.environ |= {"JAX_PLATFORMS": "cuda,cpu", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.95")
    name = "gpu-" + "-".join(device.name.lower().split())
    output = options.output or ROOT / "benchmarks" / "results" / name
    with Run(settings, budget, describe(device, settings), output) as run:
        execute(run, options.workloads)
    print(_gpu_report.document(run.results))
    return 1 if failed(run.results) else 0


def failed(results: dict[str, Any]) -> bool:
    """An operator or its check failed, or jaxct itself could not be loaded; another library may be absent."""
    records = [*results["checks"], *results["results"]]
    return any(r["status"] == "failed" for r in records) or "missing" in results["systems"].get("jaxct", {})


if __name__ == "__main__":
    sys.exit(main())
