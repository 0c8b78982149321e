"""Tables of a results file: ``python benchmarks/report.py RESULTS.json``, in Markdown on the standard output."""

import itertools
import json
import statistics
import sys
from pathlib import Path
from typing import Any

Record = dict[str, Any]

# Heading, key of the record, format. A column without any value is left out.
COLUMNS = (
    ("best s", "best_s", ".3g"),
    ("median s", "median_s", ".3g"),
    ("runs", "num_runs", "d"),
    ("GUPS", "gups", ".3f"),
    ("GB/s", "gb_per_s", ".3g"),
    ("cores", "cores", ".1f"),
    ("first s", "first_s", ".3g"),
    ("peak MB", "peak_mb", ".0f"),
    ("added MB", "added_mb", ".0f"),
    ("adjoint gap", "adjoint_gap", ".1e"),
    ("error, ray", "error_ray", ".5f"),
    ("error, pixel", "error_pixel", ".5f"),
    ("rmse", "rmse", ".4f"),
    ("mean inside", "mean_inside", ".4f"),
)


def name_of(record: Record) -> str:
    """Library and operator."""
    system, operator = record["system"], record["operator"]
    return system if operator == system else f"{system} {operator}"


def failures(records: list[Record]) -> list[str]:
    """A line for each operator that failed."""
    return [
        f"failed: {r['workload']} {r['direction']} {name_of(r)}: {first_line(r['error'])}"
        for r in records
        if r["status"] == "failed"
    ]


def first_line(message: str) -> str:
    """Of an error message, for a table; the whole stands in the results file."""
    return message.strip().split("\n", 1)[0]


def section(title: str, group: list[Record]) -> str:
    """The tables of one workload and direction."""
    if not group:
        return ""
    head = f"## {group[0]['workload']}, {title}: {group[0]['direction']}"
    return "\n".join([head, "", figures(group), *ratios(group), ""])


def figures(group: list[Record]) -> str:
    """A row for each operator, failed ones with their message."""
    rows = [r | {"num_runs": len(r["seconds"])} if "seconds" in r else r for r in group]
    columns = [c for c in COLUMNS if any(r.get(c[1]) is not None for r in rows)]
    body = [[name_of(r), *(cell(r.get(key), form) for _, key, form in columns)] for r in rows if "seconds" in r]
    failed = [f"\n{name_of(r)} failed: {first_line(r['error'])}" for r in rows if r.get("status") == "failed"]
    return table(["operator", *(heading for heading, _, _ in columns)], body) + "\n".join(failed)


def ratios(group: list[Record]) -> list[str]:
    """What a peer's median is in units of jaxct's; in brackets the smallest and largest ratio within one round."""
    done = [r for r in group if r.get("status") == "ok"]
    ours, peers = ([r for r in done if (r["system"] == "jaxct") == own] for own in (True, False))
    if not ours or not peers:
        return []
    body = [[name_of(a), *(ratio(b["seconds"], a["seconds"]) for b in peers)] for a in ours]
    heading = "Times as long as jaxct (ratio of medians; least and greatest within a round):"
    return ["", heading, "", table(["", *map(name_of, peers)], body)]


def ratio(peer: list[float], own: list[float]) -> str:
    """Of medians; in brackets the smallest and largest within one round."""
    pairs = [p / o for p, o in zip(peer, own, strict=False)]
    return f"{statistics.median(peer) / statistics.median(own):.2f} ({min(pairs):.2f}-{max(pairs):.2f})"


def cell(value: Any, form: str) -> str:
    """A number as it stands in a table; nothing for None."""
    return "" if value is None else format(value, form)


def table(heading: list[str], body: list[list[str]]) -> str:
    """In Markdown, the first column flush left."""
    widths = [max(map(len, column)) for column in zip(heading, *body, strict=True)]
    lines = [
        "| " + " | ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(cells)) + " |"
        for cells in (list(zip(row, widths, strict=True)) for row in [heading, *body])
    ]
    rule = "|" + "|".join("-" * (w + 1) + ("-" if i == 0 else ":") for i, w in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def head(results: Record) -> str:
    """The machine, the libraries and the settings."""
    machine, settings = results["machine"], results["settings"]
    commit = (machine["commit"] or "unknown")[:10] + (" + changes" if machine["uncommitted_changes"] else "")
    libraries = [_libraries(name, versions or {}) for name, versions in settings["systems"].items()]
    facts = [
        f"{machine['cpu']}; {machine['available_cores']} of {machine['logical_cores']} logical processors",
        f"{machine['memory_gb']} GB; {machine['system']}; Python {machine['python']}; commit {commit}",
        *libraries,
        f"load average before {machine['load_average']}, after {machine['load_average_after']}",
        f"{settings['threads']} threads; size {settings['size']}",
        f"a comparison has {settings['repeats']} rounds, or fewer if they take longer than {settings['seconds']:g} s",
    ]
    if not results["complete"]:
        facts.append("interrupted: what had been done by then")
    return "\n".join([f"# {results['benchmark']}, {machine['date']}", "", *(f"- {fact}" for fact in facts), ""])


def _libraries(name: str, versions: dict[str, str]) -> str:
    return f"{name}: " + (", ".join(f"{k} {v}" for k, v in versions.items()) or "not started")


def rounded(value: Any) -> Any:
    """Floating-point numbers with six digits, for files that people read and compare."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def document(results: Record) -> str:
    """The whole report."""
    return "\n".join([head(results), *sections(results)])


def sections(results: Record) -> list[str]:
    """The tables of all workloads."""
    groups = itertools.groupby(results["results"], key=lambda r: (r["workload"], r["direction"]))
    return [section(results["workloads"][name]["title"], list(group)) for (name, _), group in groups]


if __name__ == "__main__":
    print(document(json.loads(Path(sys.argv[1]).read_text())))
