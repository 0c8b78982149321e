"""What the CPU benchmark makes of its records: targets beside what was reached, tables, curves. All pure."""

import dataclasses
import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import report
from report import Record, cell, name_of, table

# Times as fast as the fastest peer.
SPEEDS = (
    ("W1", "forward", 5.0),
    ("W1", "back", 5.0),
    ("W2", "forward", 5.0),
    ("W2", "back", 5.0),
    ("W3", "forward", 4.0),
    ("W3", "back", 15.0),
    ("W4", "reconstruct", 4.0),
    ("W5", "forward", 4.0),
    ("W5", "back", 4.0),
    ("W7", "cgls", 8.0),
    ("W7", "sirt", 8.0),
)
MOST_OF_CALLS = 0.5
MOST_FIRST_S = 0.5
MOST_IMPORT_S = 0.3
# Of a matched pair in float32, ten times what one has and more. Random signs hide most of what is wrong in one that is
# not matched: the gap of a pair that differs by percents is some 1e-5.
MOST_ADJOINT_GAP = 1e-6
# The errors of a model that counts, beside those of the peer.
MOST_ERROR_RATIO = 1.1


@dataclasses.dataclass(frozen=True)
class Target:
    """What is wanted of one figure, and what was reached: by which of jaxct's models, and beside which peer."""

    text: str
    wanted: str
    reached: float | None = None
    model: str = ""
    peer: str = ""
    verdict: str = "not measured"


def targets(results: Record) -> list[Target]:
    """Every target, measured or not."""
    return [
        *(_speed(results["results"], *speed) for speed in SPEEDS),
        *(_slices(results["slices"], direction) for direction in ("forward", "back")),
        _first_call(results["first_calls"]),
        _import(results["imports"]),
    ]


def select(records: Iterable[Record], **wanted: Any) -> list[Record]:
    """Those that worked and have these values."""
    wanted["status"] = "ok"
    return [r for r in records if all(r.get(key) == value for key, value in wanted.items())]


def _speed(records: Sequence[Record], workload: str, direction: str, wanted: float) -> Target:
    """The fastest matched peer's median in units of that of jaxct's fastest matched model which is as exact."""
    target = Target(f"{workload} {direction}: times as fast as the fastest peer", f">= {wanted:g}")
    matched = [r for r in select(records, workload=workload, direction=direction) if _is_matched(r)]
    ours, peers = ([r for r in matched if (r["system"] == "jaxct") == own] for own in (True, False))
    if not ours or not peers:
        return target
    peer = _fastest(peers)
    exact = [r for r in ours if _is_as_exact(r, peer, records)]
    if not exact:
        return dataclasses.replace(target, peer=name_of(peer), verdict="no model is as exact")
    own = _fastest(exact)
    reached = peer["median_s"] / own["median_s"]
    return dataclasses.replace(
        target, reached=reached, model=own["operator"], peer=name_of(peer), verdict=_verdict(reached >= wanted)
    )


def _fastest(records: Sequence[Record]) -> Record:
    return min(records, key=lambda r: r["median_s"])


def _is_matched(record: Record) -> bool:
    """Asked of back projectors alone."""
    return record["direction"] != "back" or record.get("adjoint_gap", 1.0) <= MOST_ADJOINT_GAP


def _is_as_exact(own: Record, peer: Record, records: Sequence[Record]) -> bool:
    ours, theirs = _errors(own, records), _errors(peer, records)
    return bool(ours) and all(ours[key] <= MOST_ERROR_RATIO * limit for key, limit in theirs.items())


def _errors(record: Record, records: Sequence[Record]) -> dict[str, float]:
    """Of a reconstruction, or of the forward projector; of a back projector those of its transpose."""
    if record["direction"] == "back":
        same = {key: record[key] for key in ("workload", "system", "operator")}
        record = next(iter(select(records, direction="forward", **same)), {})
    return {key: record[key] for key in ("error_ray", "error_pixel", "rmse") if key in record}


def _slices(records: Sequence[Record], direction: str) -> Target:
    """Of the model that is fastest by vmap."""
    target = Target(f"64 slices by vmap, {direction}: in units of 64 calls", f"<= {MOST_OF_CALLS:g}")
    known = [(m, calls) for m, calls in _slice_pairs(records) if calls and m["direction"] == direction]
    if not known:
        return target
    mapped, calls = min(known, key=lambda pair: pair[0]["median_s"])
    ratio = mapped["median_s"] / calls["median_s"]
    return dataclasses.replace(target, reached=ratio, model=_model(mapped), verdict=_verdict(ratio <= MOST_OF_CALLS))


def _model(record: Record) -> str:
    return record["operator"].partition(",")[0]


def _slice_pairs(records: Sequence[Record]) -> Iterator[tuple[Record, Record | None]]:
    """Every batch, and as many calls; None where those failed."""
    for mapped in (r for r in select(records) if r["operator"].endswith(", vmap")):
        calls = select(records, direction=mapped["direction"], operator=f"{_model(mapped)}, calls")
        yield mapped, next(iter(calls), None)


def _first_call(records: Sequence[Record]) -> Target:
    """The longest."""
    target = Target("first call of an operator beyond the second: s", f"< {MOST_FIRST_S:g}")
    if not (done := select(records)):
        return target
    longest = max(done, key=lambda r: r["median_s"])
    reached, model = longest["median_s"], f"{longest['operator']}, {longest['direction']}"
    return dataclasses.replace(target, reached=reached, model=model, verdict=_verdict(reached < MOST_FIRST_S))


def _import(times: dict[str, list[float]]) -> Target:
    target = Target("import jaxct beyond import jax: s", f"< {MOST_IMPORT_S:g}")
    if not times:
        return target
    reached = statistics.median(times["jaxct"]) - statistics.median(times["jax"])
    return dataclasses.replace(target, reached=reached, verdict=_verdict(reached < MOST_IMPORT_S))


def _verdict(met: bool) -> str:
    return "met" if met else "missed"


def target_table(results: Record) -> str:
    """What was wanted, beside what was reached."""
    body = [[t.text, t.wanted, cell(t.reached, ".3g"), t.model, t.peer, t.verdict] for t in targets(results)]
    heading = ["", "wanted", "reached", "by jaxct's", "beside", ""]
    return "\n".join(["## Targets", "", table(heading, body), ""])


def slice_table(results: Record) -> str:
    """Batches beside calls."""
    body = []
    for mapped, calls in _slice_pairs(results["slices"]):
        ratio = report.ratio(mapped["seconds"], calls["seconds"]) if calls else ""
        seconds = [cell(r["median_s"], ".3g") if r else "" for r in (mapped, calls)]
        body.append([f"{mapped['direction']}: {_model(mapped)}", *seconds, ratio])
    heading = ["", "vmap, median s", "64 calls, median s", "ratio"]
    return "\n".join(["## 64 slices of one geometry", "", table(heading, body), ""]) if body else ""


def start_table(results: Record) -> str:
    """Imports and first calls, in seconds."""
    times = [(f"import {module}", seconds) for module, seconds in results["imports"].items()]
    times += [
        (f"first call beyond the second, {r['direction']}: {r['operator']}", r["seconds"])
        for r in select(results["first_calls"])
    ]
    body = [[text, *(cell(f(s), ".3g") for f in (statistics.median, min, max))] for text, s in times]
    heading = ["in a new process", "median s", "least", "greatest"]
    return "\n".join(["## Start", "", table(heading, body), ""]) if body else ""


def size_table(results: Record) -> str:
    """GUPS of every operator at every size."""
    return _curve_table("GUPS by size (voxels along an axis)", size_curves(results), ".3f")


def thread_table(results: Record) -> str:
    """Times as fast as on one processor."""
    return _curve_table("Times as fast as on one processor, by threads", thread_curves(results), ".2f")


# (workload, direction) -> operator -> sorted points.
Curves = dict[tuple[str, str], dict[str, list[tuple[int, float]]]]


def size_curves(results: Record) -> Curves:
    """GUPS over voxels along an axis, for the workloads that were run at several sizes."""
    curved = {r["workload"] for r in results["sizes"]}
    own = [
        r | {"size": results["workloads"][r["workload"]]["shape"][-1]}
        for r in results["results"]
        if r["workload"] in curved
    ]
    return _curves((r, r["size"], r["gups"]) for r in select([*results["sizes"], *own]))


def thread_curves(results: Record) -> Curves:
    """Times as fast as on one processor over processors."""
    done = select(results["threads"])
    alone = {_identity(r): r["median_s"] for r in done if r["threads"] == 1}
    known = [r for r in done if _identity(r) in alone]
    return _curves((r, r["threads"], alone[_identity(r)] / r["median_s"]) for r in known)


def _identity(record: Record) -> tuple[str, str, str]:
    return record["workload"], record["direction"], record["operator"]


def _curves(points: Iterable[tuple[Record, int, float]]) -> Curves:
    curves: Curves = {}
    for record, x, y in sorted(points, key=lambda point: point[1]):
        panel = curves.setdefault((record["workload"], record["direction"]), {})
        panel.setdefault(name_of(record), []).append((x, y))
    order = sorted(curves, key=lambda key: (key[0], key[1] != "forward"))
    return {key: curves[key] for key in order}


def _curve_table(title: str, curves: Curves, form: str) -> str:
    parts = []
    for (workload, direction), lines in curves.items():
        xs = sorted({x for points in lines.values() for x, _ in points})
        body = [[name, *(cell(dict(points).get(x), form) for x in xs)] for name, points in lines.items()]
        parts += ["", table([f"{workload} {direction}", *map(str, xs)], body)]
    return "\n".join([f"## {title}", *parts, ""]) if parts else ""
