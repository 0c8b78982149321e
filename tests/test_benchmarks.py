"""The benchmarks run, measure what they say, and report an operator that fails instead of hiding it."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

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
