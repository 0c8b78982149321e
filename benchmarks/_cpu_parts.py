"""What the CPU benchmark measures beside the workloads: batches, first calls, and curves over sizes and threads."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from _comparison import Case, Crew, Settings, Task, arrays_of, cases_of, compare, note_versions
from _startup import first_calls, import_times
from _workloads import SIZES, WORKLOADS, Scan
from report import Record

# The workloads that have curves, and what the size of one is divided by.
CURVES = ("W1", "W3")
STEPS = (2, 1, 0.5)
# The 64 images are smaller than W1's by this factor.
SLICE_FACTOR = 2
DIRECTIONS = ("forward", "back")
# Of a record of these parts. Memory is left out: a process serves several comparisons here.
_KEPT = ("workload", "direction", "system", "operator", "size", "threads")
_KEPT += ("status", "error", "seconds", "median_s", "gups", "other_cores")


def measure_slices(results: dict[str, Any], settings: Settings) -> Iterator[None]:
    """64 images by vmap, and by one call after another."""
    ours = dataclasses.replace(settings, systems={"jaxct_slices": settings.systems["jaxct"]})
    scan = _scan(results, "W1", SLICE_FACTOR)
    with Crew(ours.systems) as crew, arrays_of(scan, exact=False) as folder:
        for direction in DIRECTIONS:
            task = Task("slices", scan, direction, folder, judged=False)
            group = [r | {"system": "jaxct"} for r in compare(task, cases_of(task, ours), crew, ours)]
            # GUPS would be those of a single image.
            results["slices"] += [_brief(r, gups=None) for r in _noted(results, group)]
            yield


def measure_start(results: dict[str, Any], settings: Settings) -> Iterator[None]:
    """Imports and first calls."""
    results["imports"] = import_times(settings.repeats)
    yield
    for record in first_calls(settings):
        results["first_calls"].append(record)
        yield


def measure_sizes(results: dict[str, Any], settings: Settings) -> Iterator[None]:
    """All operators on smaller and larger scans. The workload's own size is not run again where that is done."""
    with Crew(settings.systems) as crew:
        for name in _curves(results):
            rates: dict[tuple[str, str, str], float] | None = None
            for step in STEPS:
                if step == 1 and name in results["workloads"]:
                    group = [r for r in results["results"] if r["workload"] == name]
                else:
                    group = list(_measure_size(name, _scan(results, name, step), rates, crew, settings))
                    results["sizes"] += map(_brief, _noted(results, group))
                rates = {_key(r): r["gups"] for r in group if r["status"] == "ok"}
                yield


def _measure_size(
    name: str, scan: Scan, rates: dict[tuple[str, str, str], float] | None, crew: Crew, settings: Settings
) -> Iterator[Record]:
    """One size. Left out is what failed before, or was so slow that a run would take half the time of a comparison."""

    def is_quick(case: Case) -> bool:
        if rates is None:
            return True
        rate = rates.get(_key(case.record))
        return rate is not None and task.updates / (1e9 * rate) <= settings.seconds / 2

    with arrays_of(scan, exact=False) as folder:
        for direction in DIRECTIONS:
            task = Task(name, scan, direction, folder, judged=False)
            cases = [case for case in cases_of(task, settings) if is_quick(case)]
            yield from (r | {"size": scan.shape[-1]} for r in compare(task, cases, crew, settings))


def measure_threads(results: dict[str, Any], settings: Settings) -> Iterator[None]:
    """jaxct on one processor and on more, taking turns."""
    ours = dataclasses.replace(settings, systems={"jaxct": settings.systems["jaxct"]})
    with Crew(ours.systems) as crew:
        for name in _curves(results):
            scan = _scan(results, name)
            with arrays_of(scan, exact=False) as folder:
                for direction in DIRECTIONS:
                    task = Task(name, scan, direction, folder, judged=False)
                    cases = [c for count in thread_counts(settings.threads) for c in cases_of(task, ours, count)]
                    results["threads"] += map(_brief, _noted(results, compare(task, cases, crew, ours)))
                    yield


def thread_counts(most: int) -> list[int]:
    """Powers of two below the largest, and the largest."""
    return [*(2**i for i in range(most.bit_length()) if 2**i < most), most]


def _curves(results: dict[str, Any]) -> list[str]:
    """The workloads that are drawn, as far as they were asked for."""
    return [name for name in CURVES if name in results["settings"]["workloads"]]


def _scan(results: dict[str, Any], name: str, factor: float = 1) -> Scan:
    return WORKLOADS[name].scan.scaled(SIZES[results["settings"]["size"]] * factor)


def _key(record: Record) -> tuple[str, str, str]:
    return record["direction"], record["system"], record["operator"]


def _noted(results: dict[str, Any], group: list[Record]) -> list[Record]:
    note_versions(results, group)
    return group


def _brief(record: Record, **more: Any) -> Record:
    return {key: record[key] for key in _KEPT if key in record} | more
