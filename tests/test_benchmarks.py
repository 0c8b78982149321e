"""The benchmarks run, measure what they say, and report an operator that fails instead of hiding it."""

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
