"""What every benchmark shares: timing, memory, and a description of the machine."""

import dataclasses
import datetime
import functools
import os
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class Timing:
    """One run: wall-clock seconds, processors that it kept busy, and processors that others kept busy meanwhile."""

    seconds: float
    cores: float
    other_cores: float | None


def time_once(run: Callable[[], None]) -> Timing:
    """Run once and say what it took."""
    busy, own, start = _busy_seconds(), time.process_time(), time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    cores = (time.process_time() - own) / seconds
    after = _busy_seconds()
    others = None if busy is None or after is None else max(0.0, (after - busy) / seconds - cores)
    return Timing(seconds, cores, others)


def time_iteration(iterate: Callable[[int], None], count: int) -> Timing:
    """One iteration: the time of ``2 * count`` beyond that of ``count``, by ``count``. What comes before the first is
    in both, and so in neither.
    """
    short, long = (time_once(functools.partial(iterate, n)) for n in (count, 2 * count))
    return dataclasses.replace(long, seconds=(long.seconds - short.seconds) / count)


def _busy_seconds() -> float | None:
    """Processor seconds that the whole machine has been busy, None where that is not known."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return None
    ticks = [int(x) for x in fields]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")  # all but idle and waiting for disks


def memory_mb(field: str) -> float | None:
    """This process' ``VmRSS`` (resident now) or ``VmHWM`` (resident at most) in MB, None where that is not known.

    Not ``getrusage``: its maximum begins with the size of the process that started this one.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    found = (line.split()[1] for line in lines if line.startswith(field + ":"))
    return int(next(found)) * 1024 / 1e6


def available_cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_cores(count: int) -> None:
    """Confine this process, whatever libraries it loads, to ``count`` processors.

    Must come before those libraries are loaded: their thread pools take their size from it.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
    for name in ("OMP_NUM_THREADS", "NPROC", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(count)


def describe_machine() -> dict[str, Any]:
    """Processor, memory, software and how busy the machine is, for the head of a results file."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "logical_cores": os.cpu_count(),
        "available_cores": available_cores(),
        "memory_gb": _total_memory_gb(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--untracked-files=no", "--", "jaxct", "xla_ffi")),
        "load_average": load_average(),
    }


def load_average() -> list[float] | None:
    """Over 1, 5 and 15 minutes; None where it is not known."""
    return [round(x, 2) for x in os.getloadavg()] if hasattr(os, "getloadavg") else None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    fields: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    vectors = [name for name in ("avx2", "fma", "avx512f") if name in fields.get("flags", "").split()]
    name = fields.get("model name", platform.processor())
    return f"{name} (family {fields.get('cpu family')}, model {fields.get('model')}; {', '.join(vectors)})"


def _total_memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
