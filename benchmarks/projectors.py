"""How fast, how exact and how well matched is every operator, geometry and model, beside other libraries?

``python benchmarks/projectors.py --help``. Every operator runs in a process of its own, and those that do the same work
take turns (A B C, C B A, ...), so that what else the machine does meets all alike. Times are wall-clock seconds from
input to output, the first run (compilation, warm-up) left out and reported apart. See docs/benchmarks.md.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import report
from _comparison import Settings, measure_workloads, new_results, save
from _options import add_options, settings_of
from _workloads import WORKLOADS


def run(names: Sequence[str], size: str, settings: Settings, output: Path | None = None) -> dict[str, Any]:
    """All comparisons. Prints and writes after each, so that an interrupted run keeps what is done."""
    results = new_results("projectors", size, settings)
    for title, group in measure_workloads(results, names, settings):
        print(report.section(title, group), flush=True)
        save(results, output)
    results["complete"] = True
    save(results, output)
    return results


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, tuple(WORKLOADS))
    parser.add_argument("--output", type=Path, metavar="RESULTS.json")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and write the results; 1 if any operator failed."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    options = _parse(arguments)
    results = run(options.workloads, options.size, settings_of(options), options.output)
    failures = report.failures(results["results"])
    print("\n".join(failures), end="\n" if failures else "")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
