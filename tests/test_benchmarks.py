"""The benchmarks run, measure what they say, and report an operator that fails instead of hiding it."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import jaxct

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
RUN = [sys.executable, BENCHMARKS / "projectors.py"]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """A small run with a peer that cannot start."""
    output = tmp_path_factory.mktemp("benchmark") / "results.json"
    options = ["--size", "small", "--workloads", "W1", "--models", "joseph", "--repeats", "2", "--output", output]
    run = subprocess.run([*RUN, *options, "--peer", "astra=no-such-python"], capture_output=True, text=True)
    assert output.exists(), run.stderr
    return run, json.loads(output.read_text())


def test_every_operator_is_measured(outcome):
    _, results = outcome
    assert results["complete"]
    forward, back = (r for r in results["results"] if r["system"] == "jaxct")
    for record in (forward, back):
        assert record["status"] == "ok"
        assert len(record["seconds"]) == 2
        assert 0 < record["best_s"] <= record["median_s"]
        updates = 128 * 128 * 180
        assert record["gups"] == pytest.approx(updates / record["median_s"] / 1e9, rel=1e-4)
    # The floor of a disk of radius 37.5 voxels; a transposed or mirrored projection is far above it.
    assert forward["error_pixel"] < forward["error_ray"] < 0.01
    assert back["adjoint_gap"] < 1e-6


def test_the_machine_is_described(outcome):
    _, results = outcome
    assert {"cpu", "available_cores", "commit", "load_average", "load_average_after"} <= results["machine"].keys()
    assert {"jaxct", "jax", "jaxlib", "numpy"} <= results["settings"]["systems"]["jaxct"].keys()


def test_a_failure_is_reported(outcome):
    run, results = outcome
    failed = [r for r in results["results"] if r["system"] == "astra"]
    assert [(r["direction"], r["operator"]) for r in failed] == [
        (direction, operator) for direction in ("forward", "back") for operator in ("linear", "line")
    ]
    assert all(r["status"] == "failed" and "no-such-python" in r["error"] for r in failed)
    assert run.returncode == 1
    assert "astra linear failed" in run.stdout


def test_a_wrong_option_gets_one_clear_line():
    run = subprocess.run([*RUN, "--workloads", "W99"], capture_output=True, text=True)
    assert run.returncode == 2
    assert "unknown: W99" in run.stderr


@pytest.fixture(scope="module")
def cpu_outcome(tmp_path_factory):
    """A small run of a workload that the other script's test does not have."""
    folder = tmp_path_factory.mktemp("benchmark")
    options = ["--size", "small", "--repeats", "1", "--no-peers", "--workloads", "W7", "--parts", "workloads"]
    command = [sys.executable, BENCHMARKS / "cpu_peers.py", *options, "--output", folder]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return folder, json.loads((folder / "cpu-peers.json").read_text())


def test_iterations_are_measured(cpu_outcome):
    _, results = cpu_outcome
    assert results["complete"]
    assert [(r["workload"], r["direction"], r["status"]) for r in results["results"]] == [
        ("W7", "cgls", "ok"),
        ("W7", "sirt", "ok"),
    ]
    # Six iterations: CGLS is nearly there, SIRT on its way.
    assert [r["rmse"] for r in results["results"]] == pytest.approx([0.05, 0.17], abs=0.01)


def test_the_cpu_report_has_all_targets(cpu_outcome):
    folder, results = cpu_outcome
    assert [target["verdict"] for target in results["targets"]] == ["not measured"] * 15
    text = (folder / "cpu-peers.md").read_text()
    assert all(text.count(f"| {target['text']}") == 1 for target in results["targets"])


@pytest.fixture
def cpu_report(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("_cpu_report")


def made_up(system, operator, direction="forward", **more):
    names = {"workload": "W1", "direction": direction, "system": system, "operator": operator}
    return {**names, "status": "ok", **more}


def errors(ray, pixel):
    return {"error_ray": ray, "error_pixel": pixel}


def speed_target(cpu_report, direction, records):
    lists = {"slices": [], "first_calls": [], "imports": {}}
    rows = cpu_report.targets({"results": records, **lists})
    return next(row for row in rows if row.text.startswith(f"W1 {direction}"))


def test_a_target_takes_the_fastest_of_either_side(cpu_report):
    records = [
        made_up("jaxct", "siddon", median_s=1.0, **errors(0.2, 0.1)),  # fastest, but less exact
        made_up("jaxct", "joseph", median_s=2.0, **errors(0.105, 0.1)),
        made_up("jaxct", "distance_driven", median_s=3.0, **errors(0.1, 0.1)),
        made_up("astra", "linear", median_s=12.0, **errors(0.1, 0.1)),
        made_up("astra", "line", median_s=13.0, **errors(0.3, 0.3)),
    ]
    target = speed_target(cpu_report, "forward", records)
    assert (target.reached, target.model, target.peer, target.verdict) == (6.0, "joseph", "astra linear", "met")
    target = speed_target(cpu_report, "forward", [records[0], records[3]])
    assert (target.reached, target.verdict) == (None, "no model is as exact")


def test_an_unmatched_back_projector_does_not_count(cpu_report):
    exact = errors(0.1, 0.1)
    records = [
        *(made_up(system, "joseph", median_s=1.0, **exact) for system in ("jaxct", "rtk")),
        made_up("jaxct", "joseph", "back", median_s=2.0, adjoint_gap=1e-9),
        made_up("jaxct", "voxel_driven", "back", median_s=1.0),
        made_up("rtk", "joseph", "back", median_s=8.0, adjoint_gap=1e-9),
        made_up("rtk", "fdk_back_projector", "back", median_s=1.0),
        made_up("other", "unlike", "back", median_s=1.0, adjoint_gap=1e-5),
    ]
    target = speed_target(cpu_report, "back", records)
    assert (target.reached, target.model, target.peer, target.verdict) == (4.0, "joseph", "rtk joseph", "missed")


def test_the_other_targets_are_times_of_jaxct(cpu_report):
    slices = [
        made_up("jaxct", f"{m}, {how}", median_s=s)
        for m, how, s in (
            ("siddon", "vmap", 3.0),
            ("siddon", "calls", 10.0),
            ("joseph", "vmap", 2.0),
            ("joseph", "calls", 2.5),
        )
    ]
    calls = [made_up("jaxct", m, median_s=s) for m, s in (("siddon", 0.1), ("joseph", 0.6))]
    imports = {"jax": [1.0, 1.1, 5.0], "jaxct": [1.2, 1.3, 1.2]}
    results = {"results": [], "slices": slices, "first_calls": calls, "imports": imports}
    found = [(t.reached, t.model, t.verdict) for t in cpu_report.targets(results) if t.reached is not None]
    assert found == [
        (pytest.approx(0.8), "joseph", "missed"),  # the fastest by vmap, not the one that gains most
        (pytest.approx(0.6), "joseph, forward", "missed"),
        (pytest.approx(0.1), "", "met"),
    ]


def test_a_batch_is_what_its_calls_are(cpu_report):
    """The 64 images are different ones, and the first is the one that was given."""
    workloads = importlib.import_module("_workloads")
    scan = workloads.WORKLOADS["W1"].scan.scaled(8)
    slices = importlib.import_module("peers.jaxct_slices")
    volume = np.random.default_rng(0).random(scan.shape, np.float32)
    found = []
    for operator in ("joseph, vmap", "joseph, calls"):
        prepared = slices.prepare(scan, "forward", operator, 1)
        prepared.load(volume)
        prepared.run()
        found.append(np.asarray(prepared.outputs))
        np.testing.assert_array_equal(prepared.result(), found[-1][0])
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-6 * found[0].max())
    assert len(np.unique(found[0].reshape(slices.SLICES, -1), axis=0)) == slices.SLICES
    geometry, grid = (getattr(workloads, name)(scan) for name in ("geometry", "grid"))
    np.testing.assert_array_equal(found[1][0], jaxct.forward_project(volume, geometry, grid, model="joseph"))


def test_an_interrupted_run_keeps_first_calls(cpu_report, monkeypatch):
    parts = importlib.import_module("_cpu_parts")
    monkeypatch.setattr(parts, "import_times", lambda repeats: {"jax": [1.0] * repeats})
    monkeypatch.setattr(parts, "first_calls", lambda settings: iter(({"operator": "a"}, {"operator": "b"})))
    settings = importlib.import_module("_comparison").Settings({}, (), repeats=2, seconds=1.0, threads=1)
    results = {"imports": {}, "first_calls": []}
    assert [(results["imports"], len(results["first_calls"])) for _ in parts.measure_start(results, settings)] == [
        ({"jax": [1.0, 1.0]}, done) for done in range(3)
    ]


class MadeUpWorker:
    """One library projects 1e9 voxels x views a second, the other 2e5: more than a second for the largest image."""

    running = True

    def __init__(self, python, adapter, threads):
        self.rate = 1e9 * threads if adapter == "jaxct" else 2e5

    def send(self, do, **arguments):
        pass

    def receive(self):
        return {"versions": {"a": "1"}}

    def ask(self, do, **case):
        if do == "start":
            self.seconds = np.prod(case["scan"]["shape"]) * case["scan"]["views"] / self.rate
            return {"first_s": 1.0, "before_mb": 1.0}
        return {"seconds": float(self.seconds), "cores": 1.0, "other_cores": 0.0, "peak_mb": 2.0}

    def close(self):
        pass


@pytest.fixture
def curves(cpu_report, monkeypatch):
    """Results of the parts that are plotted."""
    comparison, parts = (importlib.import_module(name) for name in ("_comparison", "_cpu_parts"))
    monkeypatch.setattr(comparison, "Worker", MadeUpWorker)
    systems = dict.fromkeys(("jaxct", "astra"), sys.executable)
    settings = comparison.Settings(systems, ("joseph",), repeats=2, seconds=20.0, threads=3)
    results = comparison.new_results("cpu_peers", "small", settings) | {"sizes": [], "threads": []}
    results["settings"]["workloads"] = ("W1", "W3")
    for measure in (parts.measure_sizes, parts.measure_threads):
        list(measure(results, settings))
    return results


def test_curves_leave_out_what_is_slow(cpu_report, curves):
    found = cpu_report.size_curves(curves)
    assert list(found) == [("W1", "forward"), ("W1", "back"), ("W3", "forward"), ("W3", "back")]
    assert [x for x, _ in found["W1", "forward"]["jaxct joseph"]] == [64, 128, 256]
    # 256^2 voxels and 360 views would take it 118 s.
    assert found["W1", "forward"]["astra linear"] == [(64, pytest.approx(2e-4))]
    assert list(found["W3", "back"]) == ["jaxct joseph"]
    for lines in cpu_report.thread_curves(curves).values():
        assert lines == {"jaxct joseph": [(1, 1.0), (2, pytest.approx(2.0)), (3, pytest.approx(3.0))]}


def test_curves_are_plotted_where_matplotlib_is(curves, tmp_path, monkeypatch):
    plots = importlib.import_module("_cpu_plots")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert list(plots.draw(curves, tmp_path / "run")) == ["no plots: matplotlib is not installed"]
    monkeypatch.undo()
    pytest.importorskip("matplotlib")
    assert list(plots.draw(curves, tmp_path / "run")) == ["wrote run-sizes.png", "wrote run-threads.png"]
    assert {path.name for path in tmp_path.iterdir()} == {"run-sizes.png", "run-threads.png"}


# What nvcc 13.0 says of three kernels, the PTX cut down to what comes before their bodies. The 4 and 8 bytes of the
# second are made up: none spills.
PTXAS_LOG = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_ZN5jaxct8baseline4cuda8run_bodyINS1_14FindMagnitudesEEEvT_' for 'sm_90'
ptxas info    : Function properties for _ZN5jaxct8baseline4cuda8run_bodyINS1_14FindMagnitudesEEEvT_
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 29 registers, used 0 barriers
ptxas info    : Compile time = 45.106 ms
ptxas info    : Compiling entry function '_ZN5jaxct8baseline4cuda8run_bodyINS1_4TurnIffNS1_4HalfEEEEEvT_' for 'sm_90'
ptxas info    : Function properties for _ZN5jaxct8baseline4cuda8run_bodyINS1_4TurnIffNS1_4HalfEEEEEvT_
    0 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 32 registers, used 0 barriers
ptxas info    : Compile time = 50.706 ms
ptxas info    : Compiling entry function '_ZN5jaxct8baseline4cuda8run_bodyINS1_12PrepareViewsIfEEEEvT_' for 'sm_90'
ptxas info    : Function properties for _ZN5jaxct8baseline4cuda8run_bodyINS1_12PrepareViewsIfEEEEvT_
    96 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 146 registers, used 0 barriers, 96 bytes cumulative stack size
ptxas info    : Compile time = 559.040 ms
"""
PTX = """\
.visible .entry _ZN5jaxct8baseline4cuda8run_bodyINS1_12PrepareViewsIfEEEEvT_(
	.param .align 8 .b8 _ZN5jaxct8baseline4cuda8run_bodyINS1_12PrepareViewsIfEEEEvT__param_0[320]
)
.maxntid 64, 1, 1
.minnctapersm 1
{
.visible .entry _ZN5jaxct8baseline4cuda8run_bodyINS1_4TurnIffNS1_4HalfEEEEEvT_(
	.param .align 8 .b8 _ZN5jaxct8baseline4cuda8run_bodyINS1_4TurnIffNS1_4HalfEEEEEvT__param_0[104]
)
.maxntid 128, 1, 1
.minnctapersm 1
{
.visible .entry _ZN5jaxct8baseline4cuda8run_bodyINS1_14FindMagnitudesEEEvT_(
	.param .align 8 .b8 _ZN5jaxct8baseline4cuda8run_bodyINS1_14FindMagnitudesEEEvT__param_0[32]
)
.maxntid 256, 1, 1
.minnctapersm 1
{
"""


@pytest.fixture
def resources(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("cuda_resources")


def test_the_compiler_s_report_is_read(resources):
    assert list(resources.parse(PTXAS_LOG, PTX)) == [
        resources.Kernel("FindMagnitudes", threads=256, registers=29, spills=0, stack=0),
        resources.Kernel("Turn<float, float, Half>", threads=128, registers=32, spills=12, stack=0),
        resources.Kernel("PrepareViews<float>", threads=64, registers=146, spills=0, stack=96),
    ]
    with pytest.raises(KeyError, match="FindMagnitudes"):
        list(resources.parse(PTXAS_LOG, PTX.partition(".visible .entry _ZN5jaxct8baseline4cuda8run_bodyINS1_14")[0]))


def test_occupancy_is_in_whole_blocks(resources):
    """88 registers (86, rounded up to what is handed out) are enough for 744 threads."""
    found = {n: resources.Kernel("", n, registers=86, spills=0, stack=0).occupancy() * 2048 for n in (64, 128, 256)}
    assert found == {64: 704, 128: 640, 256: 512}
    assert resources.Kernel("", 256, registers=8, spills=0, stack=0).occupancy() == 1


def test_the_report_is_of_the_code_that_is_built(resources):
    cmake = (BENCHMARKS.parent / "cmake" / "JaxctCuda.cmake").read_text()
    assert "--fmad=false" in resources.FLAGS
    assert "jaxct_cuda_kernels PRIVATE --fmad=false" in cmake
    assert "CMAKE_CUDA_STANDARD 17" in cmake
    assert "-std=c++17" in resources.FLAGS


def test_lines_of_response_are_measured(tmp_path):
    output = tmp_path / "pet.json"
    command = [sys.executable, BENCHMARKS / "pet.py", "--size", "small", "--models", "joseph", "--repeats", "1"]
    run = subprocess.run([*command, "--output", output], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    records = json.loads(output.read_text())["results"]
    assert [r["direction"] for r in records] == ["forward", "back"] * 3
    assert all(r["lines_per_s"] == pytest.approx(r["lines"] / r["median_s"]) for r in records)
    assert records[2]["lines"] == 553 * 381
    assert run.stdout.count("x the rate quoted") == 2


def test_training_is_measured_with_its_memory(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    training = importlib.import_module("pet_training")
    case = {"size": 8, "unrolls": 4, "lines": 300, "features": [4]}
    recomputed, kept = training.measure(**case, remat=True, repeats=1), training.measure(**case, remat=False, repeats=0)
    assert len(recomputed["seconds"]) == 1
    assert 0 < recomputed["before_mb"] <= recomputed["peak_mb"]
    assert 0 < recomputed["temporary_mb"] < kept["temporary_mb"]
    assert kept["seconds"] == []
    assert kept["peak_mb"] is None
    # Per step two convolutions of a U-Net of one level, each with gains and offsets, its last one, and the penalty.
    assert recomputed["parameters"] == 4 * (27 * 4 + 27 * 16 + 2 * 8 + 5 + 1)
    assert "kept" in training._line(kept)
    assert " s" in training._line(recomputed)
