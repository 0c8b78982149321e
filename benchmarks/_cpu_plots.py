"""The plots of the CPU benchmark, as PNG files: GUPS over the size, and scaling over processors."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _cpu_report import Curves, size_curves, thread_curves
from _workloads import WORKLOADS
from report import Record

IDEAL = "ideal"


def draw(results: Record, stem: Path) -> Iterator[str]:
    """Write ``stem-sizes.png`` and ``stem-threads.png``, as far as there is something to show.

    Yields:
        What was written, or why nothing was.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        yield "no plots: matplotlib is not installed"
        return
    kinds = {"sizes": (size_curves, _finish_sizes), "threads": (thread_curves, _finish_threads)}
    for kind, (make, finish) in kinds.items():
        if curves := make(results):
            path = stem.with_name(f"{stem.name}-{kind}.png")
            _figure(curves, finish).savefig(path, dpi=150)
            yield f"wrote {path.name}"


def _figure(curves: Curves, finish: Any) -> Any:
    """A panel for each workload (rows) and direction (columns); one legend beside them all."""
    from matplotlib.figure import Figure

    workloads, directions = (list(dict.fromkeys(key[i] for key in curves)) for i in (0, 1))
    shape = len(workloads), len(directions)
    figure = Figure(figsize=(2.6 + 3.6 * shape[1], 0.6 + 3.0 * shape[0]), layout="constrained")
    panels = figure.subplots(*shape, squeeze=False)
    styles = _styles(curves)
    for (workload, direction), lines in curves.items():
        axes = panels[workloads.index(workload), directions.index(direction)]
        for name, points in lines.items():
            axes.plot(*zip(*points, strict=True), label=name, **styles[name])
        finish(axes, sorted({x for points in lines.values() for x, _ in points}))
        axes.set_title(f"{workload}, {WORKLOADS[workload].title}: {direction}", fontsize=10)
        axes.grid(which="both", alpha=0.25)
    found = [axes.get_legend_handles_labels() for axes in panels.flat]
    handles = {label: handle for pair in found for handle, label in zip(*pair, strict=True)}
    labels = [name for name in (*styles, IDEAL) if name in handles]
    figure.legend([handles[label] for label in labels], labels, loc="outside right upper", fontsize=8)
    return figure


def _styles(curves: Curves) -> dict[str, dict[str, Any]]:
    """The same for an operator in all panels; jaxct's come first, peers are dashed."""
    names = dict.fromkeys(name for lines in curves.values() for name in lines)
    return {
        name: {
            "color": f"C{index % 10}",
            "marker": "osD^vP*Xphd"[index % 11],
            "markersize": 4,
            "linestyle": "-" if _is_ours(name) else "--",
        }
        for index, name in enumerate(sorted(names, key=_is_ours, reverse=True))
    }


def _is_ours(name: str) -> bool:
    return name.startswith("jaxct")


def _finish_sizes(axes: Any, sizes: list[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.minorticks_off()
    axes.set_xlabel("voxels along an axis")
    axes.set_ylabel("GUPS (1e9 voxels x views / s)")
    _mark_rates(axes)


def _mark_rates(axes: Any) -> None:
    """Several ticks a decade: a range is often less than one."""
    low, high = axes.get_ylim()
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [digit * 10.0**decade for decade in decades for digit in (1, 1.5, 2, 3, 5, 7)]
    shown = [t for t in ticks if low <= t <= high]
    axes.set_yticks(shown, [f"{t:g}" for t in shown])
    axes.set_ylim(low, high)


def _finish_threads(axes: Any, counts: list[int]) -> None:
    axes.plot(counts, counts, color="0.5", linestyle=":", label=IDEAL)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    for ticks in (axes.set_xticks, axes.set_yticks):
        ticks(counts, [str(n) for n in counts])
    axes.minorticks_off()
    axes.set_xlabel("processors")
    axes.set_ylabel("times as fast as on one")
