"""Results are the same bits, run to run and whatever the number of threads."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from tests.geometries import CASES, models_for
from tests.operators import operators, random

# Big enough to be split: 4 tiles of voxels, and several views per thread.
SCRIPT = """
import hashlib, jax, numpy as np, jax.numpy as jnp, jaxct
rng = np.random.default_rng(0)
angles = 0.1 + np.arange(9) * 0.7
grid = jaxct.VolumeGrid((40, 36, 70))
cone = jaxct.ConeBeam(angles, source_origin_distance=90.0, source_detector_distance=150.0, detector_shape=(50, 60),
                      pixel_size=1.5)
image = jaxct.VolumeGrid((80, 90))
fan = jaxct.FanBeam(angles, source_origin_distance=90.0, source_detector_distance=150.0, detector_shape=(130,),
                    pixel_size=1.5, detector="curved")
digest = hashlib.sha256()
for g, v in ((cone, grid), (fan, image)):
    x = jnp.asarray(rng.normal(size=v.shape), jnp.float32)
    y = jnp.asarray(rng.normal(size=g.projection_shape), jnp.float32)
    for model in ("siddon", "joseph", "distance_driven", "separable_footprint"):
        digest.update(np.asarray(jaxct.forward_project(x, g, v, model=model)).tobytes())
        digest.update(np.asarray(jaxct.back_project(y, g, v, model=model)).tobytes())
    digest.update(np.asarray(jaxct.back_project(y, g, v, model="voxel_driven")).tobytes())
    for model in ("joseph", "separable_footprint"):
        project = lambda s: jaxct.forward_project(x, *s, model=model)
        (gradient,) = jax.vjp(project, (g, v))[1](y)
        tangent = jax.jvp(project, ((g, v),), (gradient,))[1]
        for leaf in jax.tree.leaves((gradient, tangent)):
            digest.update(np.asarray(leaf).tobytes())
print(digest.hexdigest())
"""


def _digest(threads: int) -> str:
    # The pool has as many threads as the process may use processors.
    affinity = f"import os; os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:{threads}])\n"
    run = subprocess.run([sys.executable, "-c", affinity + SCRIPT], capture_output=True, text=True, check=True)
    return run.stdout.strip()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs control over the processors a process may use")
def test_same_bits_with_one_thread_and_with_several():
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two processors")
    assert _digest(1) == _digest(len(os.sched_getaffinity(0)))


@pytest.mark.parametrize("case", CASES[::5], ids=str)
def test_same_bits_twice(case):
    for model in models_for(case):
        forward, back, volume_shape, projection_shape = operators(case, model)
        x, y = random(1, volume_shape, jnp.float32), random(2, projection_shape, jnp.float32)
        np.testing.assert_array_equal(forward(x), forward(x))
        np.testing.assert_array_equal(back(y), back(y))


def test_an_image_has_the_same_bits_at_every_place_of_a_batch():
    """Alone it may differ by rounding: a single image is summed by other loops than a batch."""
    grid = jaxct.VolumeGrid((20, 24))
    geometry = jaxct.ParallelBeam(np.linspace(0, 3, 7), detector_shape=(31,))
    x = random(3, (5, *grid.shape), jnp.float32)
    for model in ("siddon", "separable_footprint"):
        project = jaxct.Projector(geometry, grid, model=model)
        batch = jax.vmap(project)(x)
        np.testing.assert_array_equal(jax.vmap(project)(x[::-1]), batch[::-1])
        alone = jnp.stack([project(image) for image in x])
        np.testing.assert_allclose(batch, alone, rtol=0, atol=4e-7 * float(jnp.abs(alone).max()))
