"""On several devices and in several processes, values, derivatives and reconstructions are those of one device."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

import jaxct
from jaxct.sharding import ShardedProjector
from tests.operators import random, relative_error

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = [sys.executable, "-m", "tests.sharding_script"]
TIMEOUT = 300  # seconds; a collective that one device never reaches would wait for ever

MESH = Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ("views", "slabs"))
CONE = jaxct.ConeBeam(
    np.arange(4.0), source_origin_distance=30.0, source_detector_distance=50.0, detector_shape=(5, 9), pixel_size=1.0
)
GRID = jaxct.VolumeGrid((6, 7, 8))
FAN = jaxct.FanBeam(
    np.arange(4.0), source_origin_distance=30.0, source_detector_distance=50.0, detector_shape=(9,), pixel_size=1.0
)


def run_together(commands, devices):
    """Run processes side by side, with so many host devices each; all must end well."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    # Files, which never fill up as pipes do.
    logs = [tempfile.TemporaryFile("w+") for _ in commands]  # noqa: SIM115
    processes = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
        for command, log in zip(commands, logs, strict=True)
    ]
    deadline, late = time.monotonic() + TIMEOUT, ""
    try:
        for process in processes:
            process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        late = f"no end after {TIMEOUT} s; "
    finally:
        for process in processes:
            process.kill()  # nothing, if it has ended
            process.wait()
    outputs = [_read(log) for log in logs]
    report = "\n".join(f"{late}exit code {p.returncode}:\n{o}" for p, o in zip(processes, outputs, strict=True))
    assert not late, report
    assert all(process.returncode == 0 for process in processes), report


def _read(log):
    with log:
        log.seek(0)
        return log.read()


def test_four_devices():
    run_together([SCRIPT], devices=4)


def test_two_processes_over_loopback():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    run_together([[*SCRIPT, address, str(process)] for process in (0, 1)], devices=1)


def test_on_a_mesh_of_one_device():
    A, alone = ShardedProjector(CONE, GRID, MESH, slabs="slabs"), jaxct.Projector(CONE, GRID)  # noqa: N806
    x, y = random(1, A.in_shape), random(2, A.out_shape)
    assert (A.T.in_shape, A.T.out_shape, A.T.T) == (A.out_shape, A.in_shape, A)
    assert relative_error(A(x), alone(x)) < 1e-5
    assert relative_error(A.T(y), alone.T(y)) < 1e-5
    (back,) = jax.linear_transpose(A, x)(y)
    assert relative_error(back, alone.T(y)) < 1e-5


def test_is_a_pytree_of_its_geometry_and_grid():
    A = ShardedProjector(CONE, GRID, MESH, model="joseph")  # noqa: N806
    leaves, structure = jax.tree.flatten(A)
    assert len(leaves) == len(jax.tree.leaves((CONE, GRID)))
    assert structure == jax.tree.structure(ShardedProjector(CONE, GRID, MESH, model="joseph"))
    assert structure != jax.tree.structure(ShardedProjector(CONE, GRID, MESH, model="siddon"))
    jax.tree.unflatten(structure, [None] * len(leaves))


BAD_ARGUMENTS = [
    (TypeError, "mesh must be", {"mesh": jax.devices()}),
    (ValueError, r"views must be among the axes \('views', 'slabs'\) of mesh, got 'angles'", {"views": "angles"}),
    (ValueError, "slabs must be among", {"slabs": ("slabs", "z")}),
    (TypeError, "views must be an axis of mesh", {"views": 0}),
    (TypeError, "slabs must be an axis of mesh", {"slabs": ["slabs"]}),
    (TypeError, "slabs must be an axis of mesh", {"slabs": ()}),
    (ValueError, "different axes", {"slabs": "views"}),
    (ValueError, "views or slabs must name an axis", {"views": None}),
    (
        ValueError,
        "slabs must be None for an image",
        {"geometry": FAN, "grid": jaxct.VolumeGrid((7, 8)), "slabs": "slabs"},
    ),
    (ValueError, "2-D or 3-D", {"geometry": FAN}),
    (TypeError, "geometry", {"geometry": GRID}),
    (ValueError, "model", {"model": "voxel_driven"}),
    (ValueError, "precision", {"precision": "half"}),
]


@pytest.mark.parametrize(("error", "message", "changes"), BAD_ARGUMENTS)
def test_bad_arguments(error, message, changes):
    arguments = {"geometry": CONE, "grid": GRID, "mesh": MESH, **changes}
    with pytest.raises(error, match=message):
        ShardedProjector(**arguments)


@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 9)])
def test_bad_data(shape):
    A = ShardedProjector(CONE, GRID, MESH)  # noqa: N806
    with pytest.raises(ValueError, match="volume must have shape"):
        A(np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match="projections must have shape"):
        A.T(np.zeros(shape, np.float32))
