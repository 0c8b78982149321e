"""What the GPU benchmark makes of its records: rates and fractions, ratios, targets, tables and a plot. All pure."""

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from _gpu_cases import GPU_WORKLOADS, GpuScan, check_of
from report import cell, first_line, name_of, table

Record = dict[str, Any]

# Heading, key of the record, format. A column without any value is left out.
COLUMNS = (
    ("median ms", "median_ms", ".4g"),
    ("best ms", "best_ms", ".4g"),
    ("worst ms", "worst_ms", ".4g"),
    ("runs", "runs", "d"),
    ("GUPS", "gups", ".4g"),
    ("of fetches", "of_fetches", ".2f"),
    ("of copying", "of_copying", ".2f"),
    ("first s", "first_s", ".3g"),
    ("allocated MB", "allocated_mb", ".0f"),
)
# Relative, of a small scan: the voxels are 0.2 to 1 %, half a pixel would be above 2 %.
MOST_OBJECT_ERROR = 0.015
MOST_ADJOINT_GAP = 1e-6
# Of what rounds its data to half precision; and of other libraries, whose arithmetic is their own.
MOST_ADJOINT_GAP_ROUNDED = 1e-3


def judge(record: Record) -> Record:
    """A check's record with its status, "ok" or "failed", and what is wrong."""
    rounded = record["system"] != "jaxct" or any(word in record["operator"] for word in ("fast", "float16"))
    limits = {
        "object_error": MOST_OBJECT_ERROR,
        "adjoint_gap": MOST_ADJOINT_GAP_ROUNDED if rounded else MOST_ADJOINT_GAP,
    }
    # Not ">": a NaN is wrong, too.
    wrong = {k: limit for k, limit in limits.items() if k in record and not record[k] <= limit}
    if not wrong:
        return record | {"status": "ok"}
    text = ", ".join(f"{k.replace('_', ' ')} {record[k]:.1e} above {limit:g}" for k, limit in wrong.items())
    return record | {"status": "failed", "error": text}


def summarise(record: Record, scan: GpuScan, ceilings: Record) -> Record:
    """Figures from the times: all rates belong to the median.

    ``of_fetches`` counts one filtered fetch an update, against the measured rate of such fetches (above 1: a fetch
    serves several updates); ``of_copying`` counts input and output once, against the measured copy bandwidth.
    """
    seconds = record["seconds"]
    median = statistics.median(seconds)
    half = "float16" in record["operator"]
    fetches = ceilings.get("fetch_float16_g_per_s" if half or "fast" in record["operator"] else "fetch_float32_g_per_s")
    copying = ceilings.get("copy_gb_per_s")
    gups = scan.updates / median / 1e9
    gb_per_s = scan.numbers * (2 if half else 4) / median / 1e9
    return record | {
        "status": "ok",
        "median_ms": 1e3 * median,
        "best_ms": 1e3 * min(seconds),
        "worst_ms": 1e3 * max(seconds),
        "runs": len(seconds),
        "gups": gups,
        "of_fetches": gups / fetches if fetches else None,
        "of_copying": gb_per_s / copying if copying else None,
    }


def groups(results: Record) -> Iterator[tuple[str, str, list[Record]]]:
    """The records of one workload and direction after the other, whenever they were made."""
    order = list(GPU_WORKLOADS)
    keys = dict.fromkeys((r["workload"], r["direction"]) for r in results["results"])
    for workload, direction in sorted(keys, key=lambda key: order.index(key[0])):
        yield workload, direction, select(results["results"], workload=workload, direction=direction)


def select(records: Sequence[Record], **wanted: str) -> list[Record]:
    return [r for r in records if all(r.get(key) == value for key, value in wanted.items())]


def slower(records: Sequence[Record], system: str, operator: str = "separable_footprint") -> float | None:
    """How many times as long as jaxct's ``operator`` the fastest of a system's takes; None if either is missing."""
    ours = [r["median_ms"] for r in select(records, system="jaxct", operator=operator, status="ok")]
    theirs = [r["median_ms"] for r in select(records, system=system, status="ok")]
    return min(theirs) / ours[0] if ours and theirs else None


def check_status(results: Record, workloads: Sequence[str], operator: str = "separable_footprint") -> str:
    """Of jaxct's operator on the small scans that stand for these workloads: "ok" if all passed, "failed" if one did
    not, otherwise "missing"."""
    scans = {check_of(GPU_WORKLOADS[name].scan) for name in workloads}
    found = [select(results["checks"], scan=scan, system="jaxct", operator=operator) for scan in scans]
    states = {record["status"] for records in found for record in records}
    return "failed" if "failed" in states else "ok" if all(found) else "missing"


def targets(results: Record) -> list[tuple[str, str, float | None, str]]:
    """What is meant; the wanted number; what was measured; and whether that meets it, which takes a passed check."""
    rows = [_ratio_target(results, "diffct", 3.0), _ratio_target(results, "mbirjax", 10.0)]
    cones = [name for name, w in GPU_WORKLOADS.items() if w.scan.beam == "cone"]
    rates = (
        ("voxel-driven back projector, cone, fast: GUPS", 500.0, cones, ("back",), "voxel_driven, fast"),
        ("separable-footprint pair, cone, the slower of the two: GUPS", 250.0, cones, *_pair("")),
        ("batched 2-D pair, float32: GUPS", 800.0, ["planes"], *_pair("")),
        ("batched 2-D pair, float16: GUPS", 1600.0, ["planes"], *_pair(", float16")),
    )
    for text, wanted, workloads, directions, operator in rates:
        found = [_slowest(results, w, directions, operator) for w in workloads]
        got = max((f for f in found if f is not None), default=None)
        rows.append((text, ">=", wanted, got, check_status(results, workloads, operator)))
    rows.append(("call on small arrays beyond a jitted addition: us", "<", 20.0, extra_microseconds(results), "ok"))
    return [(text, f"{sign} {wanted:g}", got, _verdict(sign, wanted, got, s)) for text, sign, wanted, got, s in rows]


def _pair(variant: str) -> tuple[tuple[str, str], str]:
    return ("forward", "back"), "separable_footprint" + variant


def _ratio_target(results: Record, system: str, wanted: float) -> tuple[str, str, float, float | None, str]:
    ratios = {}
    for workload, direction, records in groups(results):
        ratio = slower(records, system)
        if GPU_WORKLOADS[workload].scan.ndim == 3 and direction != "reconstruct" and ratio is not None:
            ratios[workload, direction] = ratio
    text = f"3-D: times as long as jaxct, {system}, the least of {len(ratios)}"
    return text, ">=", wanted, min(ratios.values(), default=None), check_status(results, [w for w, _ in ratios])


def _slowest(results: Record, workload: str, directions: tuple[str, ...], operator: str) -> float | None:
    """The rate of an operator in the slowest of some directions; None unless all were measured."""
    wanted = {"workload": workload, "system": "jaxct", "operator": operator, "status": "ok"}
    found = [select(results["results"], direction=d, **wanted) for d in directions]
    return min(records[0]["gups"] for records in found) if all(found) else None


def extra_microseconds(results: Record) -> float | None:
    """What the dearest small call takes beyond the addition, awaited."""
    times = {name: found["awaited_us"] for name, found in results.get("overhead", {}).items()}
    base = times.pop("addition", None)
    return max(times.values()) - base if times and base is not None else None


def _verdict(sign: str, wanted: float, got: float | None, check: str) -> str:
    if got is None:
        return "not measured"
    if not (got >= wanted if sign == ">=" else got < wanted):
        return "missed"
    return "met" if check == "ok" else f"check {check}"


def document(results: Record) -> str:
    """The whole report in Markdown."""
    parts = [_head(results), _targets(results), _ceilings(results), _overhead(results), _checks(results)]
    parts += [_section(w, d, records) for w, d, records in groups(results)]
    return "\n".join(part for part in parts if part)


def _head(results: Record) -> str:
    machine = results["machine"]
    commit = (machine["commit"] or "unknown")[:10] + (" + changes" if machine["uncommitted_changes"] else "")
    facts = [
        f"{results['device']}; {results['driver']}",
        f"{machine['cpu']}; Python {machine['python']}; commit {commit}",
    ]
    for name, system in results["systems"].items():
        versions = ", ".join(f"{k} {v}" for k, v in system.get("versions", {}).items())
        facts.append(f"{name}: " + (versions or f"not measured: {first_line(system.get('missing', 'not started'))}"))
    if not results["complete"]:
        facts.append(f"**partial**: {results['cut_short'] or 'the run was ended'}; what had been done by then")
    if results.get("made_up"):
        facts.insert(0, "**made-up numbers**, to test this report")
    return "\n".join([f"# GPU benchmark, {machine['date']}", "", *(f"- {fact}" for fact in facts), ""])


def _targets(results: Record) -> str:
    body = [[text, wanted, cell(got, ".4g"), verdict] for text, wanted, got, verdict in targets(results)]
    return "\n".join(["## Targets", "", table(["", "wanted", "measured", ""], body), ""])


def _ceilings(results: Record) -> str:
    found = [[k, f"{v:.4g}"] for k, v in results["ceilings"].items() if isinstance(v, int | float)]
    missing = [f"Not measured: {first_line(v)}\n" for v in results["ceilings"].values() if isinstance(v, str)]
    if not found and not missing:
        return ""
    return "\n".join(["## Measured ceilings", "", *([table(["", "rate"], found), ""] if found else []), *missing])


def _overhead(results: Record) -> str:
    body = [
        [name, f"{t['awaited_us']:.1f}", f"{t['queued_us']:.1f}"] for name, t in results.get("overhead", {}).items()
    ]
    head = "Microseconds of a call on 32 x 32 voxels and 30 views: its result awaited; and of one among many queued."
    return "\n".join(["## Call overhead", "", head, "", table(["", "awaited", "queued"], body), ""]) if body else ""


def _checks(results: Record) -> str:
    columns = (("error", "object_error", ".1e"), ("adjoint gap", "adjoint_gap", ".1e"))
    checks = results["checks"]
    if not checks:
        return ""
    body = [
        [f"{r['scan']}: {name_of(r)}", *(cell(r.get(key), form) for _, key, form in columns), r["status"]]
        for r in checks
    ]
    head = "Small scans: relative error against a smooth object's exact projections (FDK: the object); random signs."
    lines = ["## Checks", "", head, "", table(["", *(c[0] for c in columns), ""], body), ""]
    failures = [r for r in checks if r["status"] == "failed"]
    return "\n".join([*lines, *(f"{r['scan']}: {name_of(r)} failed: {first_line(r['error'])}\n" for r in failures)])


def _section(workload: str, direction: str, records: list[Record]) -> str:
    done = select(records, status="ok")
    columns = [c for c in COLUMNS if any(r.get(c[1]) is not None for r in done)]
    body = [[name_of(r), *(cell(r.get(key), form) for _, key, form in columns)] for r in done]
    lines = [f"## {GPU_WORKLOADS[workload].title}: {direction}", ""]
    lines += [table(["operator", *(c[0] for c in columns)], body), ""] if done else []
    lines += [f"{name_of(r)} {r['status']}: {first_line(r['error'])}\n" for r in records if r["status"] != "ok"]
    return "\n".join([*lines, *_ratios(done)])


def _ratios(done: list[Record]) -> list[str]:
    """What a peer's median is in units of jaxct's."""
    ours, peers = ([r for r in done if (r["system"] == "jaxct") == own] for own in (True, False))
    if not ours or not peers:
        return []
    body = [[name_of(a), *(f"{b['median_ms'] / a['median_ms']:.2f}" for b in peers)] for a in ours]
    return ["Times as long as jaxct (ratio of medians):", "", table(["", *map(name_of, peers)], body), ""]


def draw(results: Record, path: Path) -> None:
    """GUPS of every operator, a row for each workload and direction."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [(w, d, select(records, status="ok")) for w, d, records in groups(results) if d != "reconstruct"]
    rows = [row for row in rows if row[2]][::-1]
    names = list(dict.fromkeys(name_of(r) for _, _, records in rows for r in records))
    figure = Figure(figsize=(10, 1.5 + 0.45 * max(len(rows), 4)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for index, name in enumerate(names):
        points = [(r["gups"], y) for y, (_, _, records) in enumerate(rows) for r in records if name_of(r) == name]
        style = {"marker": "os^Dv<>P"[index % 8], "color": f"C{index % 10}"}
        axes.plot(*zip(*points, strict=True), linestyle="", label=name, alpha=0.8, **style)
    axes.set_yticks(range(len(rows)), [f"{GPU_WORKLOADS[w].title}: {d}" for w, d, _ in rows])
    if rows:
        axes.set_xscale("log")
        figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    axes.set_xlabel("GUPS: 1e9 voxels x views a second")
    axes.grid(axis="x", which="both", alpha=0.3)
    axes.set_title(results["device"] + ("" if results["complete"] else ", partial") + _label(results), fontsize=10)
    figure.savefig(path, dpi=120)


def _label(results: Record) -> str:
    return ": MADE-UP NUMBERS" if results.get("made_up") else ""
