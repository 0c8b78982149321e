"""A reconstruction can be exported for CPUs and GPUs, stored, and run by a process that knows nothing of its making."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import jaxct

pytest.importorskip("flatbuffers")

GRID = jaxct.VolumeGrid((12, 12))
SHAPE = (20, 24)

RUN = """
import sys
import jax, jax.numpy as jnp, numpy as np
from jax import export
import jaxct

exported = export.deserialize(open(sys.argv[1], "rb").read())
data, offset = jnp.asarray(np.load(sys.argv[2])), jnp.float32(0.3)
image, of_image = exported.call(data, offset), jax.grad(lambda d, o: jnp.sum(exported.call(d, o) ** 2), (0, 1))
np.savez(sys.argv[3], image, *of_image(data, offset))
"""


def reconstruct(data, offset):
    fan = jaxct.FanBeam(
        np.linspace(0, 6, SHAPE[0]),
        source_origin_distance=40.0,
        source_detector_distance=60.0,
        detector_shape=SHAPE[1:],
        pixel_size=1.13,
        detector_offset=offset,
    )
    start = jaxct.reconstruct.fbp(data, jax.lax.stop_gradient(fan), GRID)
    return jaxct.reconstruct.cgls(jaxct.Projector(fan, GRID, model="joseph"), data, init=start, num_iters=5).volume


@pytest.mark.filterwarnings("ignore")
def test_round_trip_into_another_process(tmp_path):
    data = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    exported = export.export(jax.jit(reconstruct), platforms=("cpu", "cuda"), disabled_checks=jaxct.export_checks())(
        data, jnp.float32(0.3)
    )
    assert exported.platforms == ("cpu", "cuda")
    program, sinogram, results = tmp_path / "program", tmp_path / "data.npy", tmp_path / "results.npz"
    program.write_bytes(exported.serialize(vjp_order=1))
    np.save(sinogram, data)
    run = subprocess.run(
        [sys.executable, "-c", RUN, program, sinogram, results],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "default"},
        check=False,
    )
    assert run.returncode == 0, run.stderr
    loss = lambda d, o: jnp.sum(reconstruct(d, o) ** 2)  # noqa: E731
    wanted = [reconstruct(data, jnp.float32(0.3)), *jax.grad(loss, (0, 1))(data, jnp.float32(0.3))]
    for got, value in zip(np.load(results).values(), wanted, strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-4, atol=1e-5 * float(jnp.abs(value).max()))


def test_without_the_checks_jax_says_what_it_misses():
    with pytest.raises(ValueError, match="custom calls whose targets have no compatibility guarantees"):
        export.export(jax.jit(reconstruct))(jnp.ones(SHAPE), jnp.float32(0.3))
