"""The GPU benchmark: everything in it that needs no GPU. All records here are made up."""

import dataclasses
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import jaxct

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def gpu(monkeypatch):
    """The module; it and its helpers import each other by bare names, as scripts do."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("gpu")


@pytest.fixture
def cases(gpu):
    return importlib.import_module("_gpu_cases")


@pytest.fixture
def gpu_report(gpu):
    return importlib.import_module("_gpu_report")


def test_without_a_gpu_one_line_says_so():
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    run = subprocess.run([sys.executable, BENCHMARKS / "gpu.py"], capture_output=True, text=True, env=environment)
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr == "No GPU to measure on: JAX_PLATFORMS=cpu leaves CUDA out.\n"


def test_gpu_cases_grow_and_are_those_that_are_wanted(cases):
    scans = [w.scan for w in cases.GPU_WORKLOADS.values()]
    assert [s.updates for s in scans] == sorted(s.updates for s in scans)
    assert cases.GPU_WORKLOADS["planes"].scan.input_shape("forward") == (256, 512, 512)
    published = cases.GPU_WORKLOADS["published"].scan
    assert (published.shape, published.projection_shape) == ((512, 512, 512), (360, 768, 1024))
    assert {cases.check_of(s) for s in scans} == set(cases.GPU_CHECKS)


def test_gpu_scans_see_the_whole_volume(cases):
    for workload in cases.GPU_WORKLOADS.values():
        scan = workload.scan
        reach, height = np.hypot(*scan.shape[-2:]) / 2, scan.shape[0] / 2
        origin, detector = scan.source_origin_distance, scan.source_detector_distance
        if scan.beam == "cone":
            height *= detector / (origin - reach)
            reach = detector * reach / np.sqrt(origin**2 - reach**2)
        assert reach <= scan.detector_shape[-1] * scan.pixel_size / 2
        if workload is not cases.GPU_WORKLOADS["published"] and scan.ndim == 3:  # that one is given
            assert height <= scan.detector_shape[0] * scan.pixel_size / 2


def test_gpu_scan_vectors_are_the_library_s(cases):
    workloads = importlib.import_module("_workloads")
    for scan in cases.GPU_CHECKS.values():
        ours, theirs = cases.scan_vectors(scan), workloads.geometry(scan).to_vectors()
        names = {"center": "detector_center", "col": "col_axis", "direction": "direction", "source": "source"}
        for name, array in ours.items():
            if name != "row":
                wanted = np.asarray(getattr(theirs, names[name])) / (scan.pixel_size if name == "col" else 1.0)
                np.testing.assert_allclose(array[:, -scan.ndim :], wanted, atol=1e-4)


@pytest.mark.parametrize("name", ["plane", "parallel", "cone"])
def test_the_check_accepts_a_projector_and_notices_half_a_pixel(cases, name):
    workloads = importlib.import_module("_workloads")
    session = importlib.import_module("_gpu_worker").Session("jaxct_gpu")
    scan = cases.GPU_CHECKS[name]
    found = session.check(dataclasses.asdict(scan), "forward", "separable_footprint", pair=True)
    assert found["object_error"] < 0.005
    assert found["adjoint_gap"] < 1e-6
    assert session.check(dataclasses.asdict(scan), "back", "voxel_driven", pair=False)["object_error"] < 0.01
    shifted = dataclasses.replace(workloads.geometry(scan), detector_offset=np.float32(scan.pixel_size / 2))
    wrong = jaxct.forward_project(jnp.asarray(cases.blob_volume(scan)), shifted, workloads.grid(scan))
    truth = cases.blob_projections(scan)
    assert np.linalg.norm(wrong - truth) > 0.02 * np.linalg.norm(truth)
    wrong = jaxct.back_project(jnp.asarray(truth), shifted, workloads.grid(scan), model="voxel_driven")
    truth = cases.blob_back_projection(scan)
    assert np.linalg.norm(wrong - truth) > 0.02 * np.linalg.norm(truth)


def test_a_check_s_answer_comes_through_the_pipe(gpu, cases):
    """An answer with an "error" in it would be taken for a failure."""
    with gpu.Worker(sys.executable, "jaxct_gpu", script="_gpu_worker.py") as worker:
        case = {"scan": dataclasses.asdict(cases.GPU_CHECKS["plane"]), "direction": "forward", "operator": "joseph"}
        assert worker.ask("check", **case, pair=True).keys() == {"object_error", "adjoint_gap"}


@pytest.mark.parametrize(
    ("record", "status"),
    [
        ({"object_error": 0.01, "adjoint_gap": 1e-7}, "ok"),
        ({"object_error": 0.03, "adjoint_gap": 1e-7}, "failed"),
        ({"object_error": float("nan")}, "failed"),
        ({"object_error": 0.01, "adjoint_gap": 1e-4}, "failed"),
        ({"object_error": 0.01, "adjoint_gap": 1e-4, "operator": "joseph, fast"}, "ok"),
        ({"object_error": 0.01, "adjoint_gap": 1e-4, "operator": "joseph, float16"}, "ok"),
        ({"object_error": 0.01, "adjoint_gap": 1e-2, "operator": "joseph, fast"}, "failed"),
    ],
)
def test_checks_are_judged(gpu_report, record, status):
    judged = gpu_report.judge({"system": "jaxct", "operator": "joseph", **record})
    assert judged["status"] == status
    assert ("error" in judged) == (status == "failed")


def test_gpu_operators_are_chosen(gpu, cases):
    settings = _settings(gpu, models=("separable_footprint", "voxel_driven"), variants=("exact", "fast"))
    cone, planes = (cases.GPU_WORKLOADS[name].scan for name in ("cone256", "planes"))
    pair = ("separable_footprint", "separable_footprint, fast")
    assert gpu.operators("jaxct", cone, "forward", settings) == pair
    assert gpu.operators("jaxct", cone, "back", settings) == (*pair, "voxel_driven", "voxel_driven, fast")
    assert gpu.operators("diffct", cone, "forward", settings) == ("siddon", "siddon, native layout")
    assert gpu.operators("astra", cone, "reconstruct", settings) == ()
    assert gpu.operators("mbirjax", planes, "forward", settings) == ()  # no batches
    assert gpu.operators("diffct", planes, "forward", settings) == ("siddon",)


def test_gpu_schedule_has_the_slow_library_last(gpu):
    order = gpu.schedule(("cone256", "cone512"), ("jaxct", "mbirjax", "diffct"))
    assert order[:4] == [(w, s) for w in ("cone256", "cone512") for s in ("jaxct", "diffct")]
    assert order[4:] == [("cone256", "mbirjax"), ("cone512", "mbirjax")]


def test_gpu_budget(gpu):
    now = [100.0]
    budget = gpu.Budget(60.0, clock=lambda: now[0])
    assert budget.allows(45.0) == 45.0
    now[0] += 30.0
    assert budget.allows(45.0) == 30.0 - gpu.RESERVE
    now[0] += 100.0
    assert budget.left() < 0
    assert budget.allows(45.0) == 0.0


RATIO = "3-D: times as long as jaxct, diffct, the least of 2"
BACK = "voxel-driven back projector, cone, fast: GUPS"
PAIR = "separable-footprint pair, cone, the slower of the two: GUPS"


def _settings(gpu, **changes):
    systems = dict.fromkeys(("jaxct", "diffct", "mbirjax"), sys.executable)
    options = {"models": gpu.MODELS, "variants": gpu.VARIANTS, "repeats": 3, "seconds": 1.0, "case_seconds": 5.0}
    return gpu.Settings(**{"systems": systems, "paths": {}, **options, **changes})


class MadeUpWorker:
    """Answers with made-up numbers; one of the libraries does not start, and one operator fails."""

    spent = 0.0  # seconds on the made-up clock
    gap = 1e-8

    def __init__(self, python, adapter, script, environment):
        self.adapter = adapter

    def ask_within(self, timeout, do, **case):
        from _remote import WorkerError

        type(self).spent += 10.0
        if self.adapter == "mbirjax":
            raise WorkerError("ModuleNotFoundError: No module named 'mbirjax'")
        if case.get("operator") == "joseph":
            raise WorkerError("made-up failure")
        if do == "measure":
            return {"seconds": [3e-3, 1e-3, 2e-3] if self.adapter == "jaxct_gpu" else [9e-3] * 3, "first_s": 1.0}
        if do == "check":
            return {"object_error": 2e-3} | ({"adjoint_gap": self.gap} if case["pair"] else {})
        times = {"addition": {"awaited_us": 30.0, "queued_us": 5.0}, "joseph": {"awaited_us": 42.0, "queued_us": 9.0}}
        return {"load": {"versions": {"a": "1"}}, "overhead": times, "copy_bandwidth": {"gb_per_s": 4000.0}}.get(do, {})

    def close(self):
        pass


def _made_up_run(gpu, monkeypatch, folder, seconds, workloads):
    MadeUpWorker.spent = 0.0
    monkeypatch.setattr(gpu, "Worker", MadeUpWorker)
    monkeypatch.setattr(gpu, "_fetch_rates", lambda budget: {"fetch_float32_g_per_s": 1000.0})
    settings = _settings(gpu)
    results = gpu.describe("a made-up GPU", settings) | {"made_up": True}
    budget = gpu.Budget(seconds, clock=lambda: MadeUpWorker.spent)
    with gpu.Run(settings, budget, results, folder / "made-up") as run:
        gpu.execute(run, workloads)
    return json.loads((folder / "made-up.json").read_text()), (folder / "made-up.md").read_text()


def test_a_made_up_gpu_run(gpu, gpu_report, monkeypatch, tmp_path):
    results, text = _made_up_run(gpu, monkeypatch, tmp_path, 1e6, ("cone256",))
    assert results["complete"]
    (forward,) = gpu_report.select(
        results["results"], direction="forward", system="jaxct", operator="separable_footprint"
    )
    assert forward["gups"] == pytest.approx(256**4 / 2e-3 / 1e9, rel=1e-4)
    assert forward["of_fetches"] == pytest.approx(forward["gups"] / 1000, rel=1e-4)
    moved = 4 * (256**3 + 256 * 384**2)
    assert forward["of_copying"] == pytest.approx(moved / 2e-3 / 1e9 / 4000, rel=1e-4)
    assert [r["operator"] for r in results["results"] if r["status"] == "failed"] == ["joseph", "joseph"]
    assert "mbirjax: not measured: ModuleNotFoundError" in text
    assert "jaxct joseph failed: made-up failure" in text
    assert "cone: jaxct joseph failed: made-up failure" in text
    assert gpu.failed(results)
    assert "made-up numbers" in text
    wanted = {name: (got, verdict) for name, _, got, verdict in gpu_report.targets(results)}
    assert wanted[RATIO] == (pytest.approx(4.5), "met")
    assert wanted[BACK] == (pytest.approx(256**4 / 2e-3 / 1e9, rel=1e-4), "met")
    assert wanted["call on small arrays beyond a jitted addition: us"] == (pytest.approx(12.0), "met")
    assert wanted["batched 2-D pair, float16: GUPS"] == (None, "not measured")
    assert (tmp_path / "made-up.png").stat().st_size > 5_000


def test_a_fast_operator_that_is_wrong_meets_no_target(gpu, gpu_report, monkeypatch, tmp_path):
    monkeypatch.setattr(MadeUpWorker, "gap", 1e-4)
    results, text = _made_up_run(gpu, monkeypatch, tmp_path, 1e6, ("cone256",))
    verdicts = {name: verdict for name, _, _, verdict in gpu_report.targets(results)}
    assert verdicts[RATIO] == verdicts[PAIR] == "check failed"
    assert verdicts[BACK] == "met"  # not part of a pair
    assert "cone: jaxct separable_footprint failed: adjoint gap 1.0e-04 above 1e-06" in text
    results["results"] = []
    assert gpu.failed(results)
    results["checks"] = [record for record in results["checks"] if record["status"] == "ok"]
    assert not gpu.failed(results)
    results["systems"]["jaxct"]["missing"] = "no module"
    assert gpu.failed(results)


def test_a_rate_without_a_check_meets_no_target(gpu, gpu_report, monkeypatch, tmp_path):
    results, _ = _made_up_run(gpu, monkeypatch, tmp_path, 1e6, ("cone256",))
    verdicts = {name: verdict for name, _, _, verdict in gpu_report.targets(results | {"checks": []})}
    assert verdicts[RATIO] == verdicts[PAIR] == verdicts[BACK] == "check missing"


def test_ceilings_that_were_not_measured_say_why(gpu, gpu_report):
    results = gpu.describe("a made-up GPU", _settings(gpu))
    assert "Not measured" not in gpu_report.document(results | {"ceilings": {"copy_gb_per_s": 4000.0}})
    assert "Not measured: no nvcc" in gpu_report.document(results | {"ceilings": {"fetch_error": "no nvcc"}})


def test_the_compiler_has_no_more_time_than_the_run(gpu, monkeypatch, tmp_path):
    sleeper = tmp_path / "nvcc"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    found = gpu._fetch_rates(gpu.Budget(gpu.RESERVE + 0.2))
    assert found.keys() == {"fetch_error"}
    assert "timed out" in found["fetch_error"]


def test_a_made_up_gpu_run_cut_short(gpu, monkeypatch, tmp_path):
    results, text = _made_up_run(gpu, monkeypatch, tmp_path, 400.0, ("cone256", "cone512"))
    states = {r["status"] for r in results["results"]}
    assert states == {"ok", "failed", "skipped"}
    assert not results["complete"]
    assert "**partial**: " in text
    assert "skipped: the run's time was over" in text


def test_gpu_reports_can_be_written_again(gpu, monkeypatch, tmp_path):
    _, text = _made_up_run(gpu, monkeypatch, tmp_path, 1e6, ("plane",))
    for suffix in (".md", ".png"):
        (tmp_path / "made-up").with_suffix(suffix).unlink()
    assert gpu.main(["--report", str(tmp_path / "made-up.json")]) == 0
    assert (tmp_path / "made-up.md").read_text() == text
    assert (tmp_path / "made-up.png").exists()
