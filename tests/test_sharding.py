"""Under ``shard_map`` over two devices, values and gradients are those of one device."""

import os
import subprocess
import sys

SCRIPT = """
import jax, jax.numpy as jnp, numpy as np, jaxct
from jax.sharding import Mesh, PartitionSpec as P

mesh = Mesh(np.array(jax.devices()), ("views",))
assert mesh.size == 2
rng = np.random.default_rng(0)
grid = jaxct.VolumeGrid((5, 8, 9))
angles = jnp.asarray(rng.uniform(0, 6, 6), jnp.float32)
x = jnp.asarray(rng.normal(size=grid.shape), jnp.float32)
y = jnp.asarray(rng.normal(size=(6, 6, 11)), jnp.float32)

def project(x, angles):
    cone = jaxct.ConeBeam(angles, source_origin_distance=20.0, source_detector_distance=30.0, detector_shape=(6, 11),
                          pixel_size=1.6)
    return jaxct.forward_project(x, cone, grid)

def back(y, angles):
    cone = jaxct.ConeBeam(angles, source_origin_distance=20.0, source_detector_distance=30.0, detector_shape=(6, 11),
                          pixel_size=1.6)
    return jax.lax.psum(jaxct.back_project(y, cone, grid), "views")

views = P("views")
forward = jax.shard_map(project, mesh=mesh, in_specs=(P(), views), out_specs=views)
backward = jax.shard_map(back, mesh=mesh, in_specs=(views, views), out_specs=P())
one = project(x, angles)
np.testing.assert_allclose(jax.jit(forward)(x, angles), one, rtol=1e-5, atol=1e-5)
loss = lambda project: lambda x: jnp.sum((project(x, angles) - y) ** 2)
wanted = jax.grad(loss(project))(x)
scale = float(jnp.abs(wanted).max())
np.testing.assert_allclose(jax.grad(loss(forward))(x), wanted, rtol=1e-5, atol=1e-5 * scale)
(direct,) = jax.vjp(lambda x: project(x, angles), x)[1](y)
np.testing.assert_allclose(jax.jit(backward)(y, angles), direct, rtol=1e-5, atol=1e-5 * float(jnp.abs(direct).max()))

def of_distance(project):
    return lambda distance, angles: jnp.sum((project(x, angles, distance) - y) ** 2)

def project_from(x, angles, distance):
    cone = jaxct.ConeBeam(angles, source_origin_distance=20.0, source_detector_distance=distance,
                          detector_shape=(6, 11), pixel_size=1.6)
    return jaxct.forward_project(x, cone, grid)

sharded = jax.shard_map(project_from, mesh=mesh, in_specs=(P(), views, P()), out_specs=views)
for transform in (jax.grad, jax.jacfwd):
    for argument in (0, 1):
        wanted = transform(of_distance(project_from), argument)(jnp.float32(30.0), angles)
        got = jax.jit(transform(of_distance(sharded), argument))(jnp.float32(30.0), angles)
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5 * float(jnp.abs(wanted).max()))
print("same")
"""


def test_views_over_two_devices():
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, check=False)
    assert run.stdout.strip() == "same", run.stderr
