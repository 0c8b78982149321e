"""How many times as fast as the fastest library on this CPU is jaxct, in every workload and beside every target?

``python benchmarks/cpu_peers.py --help``. Compares like ``projectors.py``, in the same workloads; beside them it
measures batches, first calls and imports, and draws curves over sizes and threads. See docs/benchmarks.md.
"""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import report
from _comparison import Settings, measure_workloads, new_results, save
from _cpu_parts import measure_sizes, measure_slices, measure_start, measure_threads
from _cpu_plots import draw
from _cpu_report import size_table, slice_table, start_table, target_table, targets, thread_table
from _options import add_options, choices, settings_of

WORKLOADS = ("W1", "W2", "W3", "W4", "W5", "W7")
# Adds to the results, yielding after each step.
Measure = Callable[[dict[str, Any], Settings], Iterator[None]]
MakeTable = Callable[[dict[str, Any]], str]
# In the order in which they run: all but the workloads measure, and their tables come when they are done.
EXTRAS: dict[str, tuple[Measure, MakeTable]] = {
    "slices": (measure_slices, slice_table),
    "start": (measure_start, start_table),
    "sizes": (measure_sizes, size_table),
    "threads": (measure_threads, thread_table),
}
PARTS = ("workloads", *EXTRAS)
# What --size small takes unless told otherwise: enough to see that all works.
SMALL = {"models": ("separable_footprint",), "repeats": 1}


def run(
    names: Sequence[str], parts: Sequence[str], size: str, settings: Settings, output: Path | None
) -> dict[str, Any]:
    """All parts. Prints and writes after each step, so that an interrupted run keeps what is done."""
    results = new_results("cpu_peers", size, settings)
    results["settings"]["workloads"] = names
    results |= {"slices": [], "imports": {}, "first_calls": [], "sizes": [], "threads": []}
    if "workloads" in parts:
        for title, group in measure_workloads(results, names, settings):
            print(report.section(title, group), flush=True)
            _save(results, output)
    for measure, make_table in (extra for part, extra in EXTRAS.items() if part in parts):
        for _ in measure(results, settings):
            _save(results, output)
        print(make_table(results), flush=True)
    results["complete"] = True
    _save(results, output)
    return results


def _save(results: dict[str, Any], output: Path | None) -> None:
    results["targets"] = [dataclasses.asdict(target) for target in targets(results)]
    save(results, output)


def _finish(results: dict[str, Any], output: Path | None) -> None:
    """The targets on the screen; report and plots beside the results."""
    print(target_table(results))
    if output:
        output.with_suffix(".md").write_text(_document(results))
        for message in draw(results, output.with_suffix("")):
            print(message)


def _document(results: dict[str, Any]) -> str:
    """The whole report in Markdown."""
    parts = [report.head(results), target_table(results), *report.sections(results)]
    return "\n".join([*parts, *(text for _, make_table in EXTRAS.values() if (text := make_table(results)))])


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, WORKLOADS)
    parser.add_argument("--parts", type=choices(PARTS), default=PARTS, metavar="workloads,start", help=", ".join(PARTS))
    parser.add_argument(
        "--output", type=_results_file, metavar="DIR_OR_JSON", help="writes the results, a report and plots"
    )
    parser.add_argument("--report", type=Path, metavar="RESULTS.json", help="only write its report and plots again")
    if parser.parse_known_args(arguments)[0].size == "small":
        parser.set_defaults(**SMALL)
    return parser.parse_args(arguments)


def _results_file(text: str) -> Path:
    path = Path(text)
    return path if path.suffix == ".json" else path / "cpu-peers.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and write the results; 1 if any operator failed."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    options = _parse(arguments)
    if options.report:
        _finish(json.loads(options.report.read_text()), options.report)
        return 0
    results = run(options.workloads, options.parts, options.size, settings_of(options), options.output)
    _finish(results, options.output)
    lists = ("results", "slices", "first_calls", "sizes", "threads")
    failures = report.failures([record for key in lists for record in results[key]])
    print("\n".join(failures), end="\n" if failures else "")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
