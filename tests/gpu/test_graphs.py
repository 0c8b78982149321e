"""Calls are recorded in CUDA graphs (XLA's command buffers), and replays give what launches give."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpu.graph_script import CALLS, PROGRAM
from tests.gpu.tools import SOME

ROOT = Path(__file__).resolve().parents[2]
# One call is enough for a graph; XLA's default asks for several.
RECORDED = "--xla_gpu_graph_min_graph_size=1 --xla_gpu_enable_command_buffer=FUSION,CUSTOM_CALL"
LAUNCHED = "--xla_gpu_enable_command_buffer="
# "  012: kCustomCall ...": what a program does, in order; what a graph holds is indented below it.
STEP = re.compile(r"^( *)\d+: (k\w+)", re.MULTILINE)


def _digest(flags: str) -> str:
    environment = os.environ | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()}
    command = [sys.executable, "-m", "tests.gpu.graph_script"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout.strip()


def calls_in_and_outside_graphs(steps: str) -> tuple[int, int]:
    """Custom calls that a dumped thunk sequence has inside and outside of a command buffer."""
    inside = outside = 0
    graph = None  # indentation of the graph that the line is in
    for indentation, kind in STEP.findall(steps):
        depth = len(indentation)
        if graph is not None and depth <= graph:
            graph = None
        if kind == "kCommandBuffer" and graph is None:
            graph = depth
        elif kind == "kCustomCall":
            inside, outside = (inside + 1, outside) if graph is not None else (inside, outside + 1)
    return inside, outside


def test_dumps_are_read():
    steps = "000: kCopy a\n001: kCommandBuffer b\n  002: kCustomCall c\n  003: kKernel d\n004: kCustomCall e\n"
    assert calls_in_and_outside_graphs(steps) == (1, 1)


@pytest.mark.usefixtures("real_gpu")
def test_every_call_is_recorded_and_replays_agree(tmp_path):
    dump = f"--xla_dump_to={tmp_path} --xla_dump_hlo_as_text --xla_dump_hlo_module_re=.*{PROGRAM}.*"
    recorded = _digest(f"{RECORDED} {dump}")
    sequences = sorted(tmp_path.glob("*thunk_sequence_after_thunk_passes*"))
    assert len(sequences) == len(SOME), f"no graph was made; XLA wrote {sorted(p.name for p in tmp_path.iterdir())}"
    for path in sequences:
        inside, outside = calls_in_and_outside_graphs(path.read_text())
        assert inside >= CALLS, path.read_text()
        assert outside == 0, path.read_text()
    assert recorded == _digest(LAUNCHED)
