"""vmap over volumes, geometries and grids, over both and nested, equals a loop; shared operands are not copied."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from tests.geometries import CASES, models_for
from tests.operators import operators, random

SOME = [c for c in CASES if c.name in ("parallel_2d", "fan_curved", "parallel_3d", "cone_flat", "cone_curved_tilted")]
SOME_PAIRS = [(case, model) for case in SOME for model in models_for(case)]


def _stack(*trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _moved(vectors, shift):
    """The same scan with everything displaced along the detector's columns."""
    moved = jax.tree.map(lambda leaf: leaf, vectors)
    for name in ("source", "detector_center"):
        if hasattr(vectors, name):
            object.__setattr__(moved, name, getattr(vectors, name) + shift * vectors.col_axis)
    return moved


def _family(case):
    geometry, grid = case()
    return [_moved(geometry.to_vectors(), shift) for shift in (0.0, 0.4, -1.3)], grid


def _close(got, wanted):
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5 * float(jnp.max(jnp.abs(wanted))))


@pytest.mark.parametrize(("case", "model"), SOME_PAIRS, ids=str)
def test_over_data(case, model):
    forward, back, volume_shape, projection_shape = operators(case, model)
    x, y = random(1, (4, *volume_shape)), random(2, (4, *projection_shape))
    _close(jax.vmap(forward)(x), jnp.stack([forward(v) for v in x]))
    _close(jax.vmap(back, in_axes=1)(jnp.moveaxis(y, 0, 1)), jnp.stack([back(p) for p in y]))


@pytest.mark.parametrize(("case", "model"), SOME_PAIRS, ids=str)
def test_over_geometries(case, model):
    family, grid = _family(case)
    x = random(1, grid.shape)
    project = lambda x, g: jaxct.forward_project(x, g, grid, model=model)  # noqa: E731
    got = jax.jit(jax.vmap(project, in_axes=(None, 0)))(x, _stack(*family))
    _close(got, jnp.stack([project(x, g) for g in family]))
    assert np.ptp(np.asarray(got), axis=0).max() > 0


@pytest.mark.parametrize("case", SOME, ids=str)
def test_over_both_and_nested(case):
    family, grid = _family(case)
    x = random(1, (3, 2, *grid.shape))
    project = lambda x, g: jaxct.forward_project(x, g, grid)  # noqa: E731
    together = jax.vmap(lambda x, g: jax.vmap(project, in_axes=(0, None))(x, g))(x, _stack(*family))
    _close(together, jnp.stack([jnp.stack([project(v, g) for v in xs]) for xs, g in zip(x, family, strict=True)]))
    crossed = jax.vmap(jax.vmap(project, in_axes=(None, 0)), in_axes=(0, None))(x[0], _stack(*family))
    _close(crossed, jnp.stack([jnp.stack([project(v, g) for g in family]) for v in x[0]]))


def test_over_one_leaf_of_a_geometry():
    geometry, grid = SOME[3]()
    offsets = jnp.array([0.0, 0.5, 1.0])
    x = random(1, grid.shape)

    def project(offset):
        cone = jaxct.ConeBeam(
            geometry.angles,
            source_origin_distance=geometry.source_origin_distance,
            source_detector_distance=geometry.source_detector_distance,
            detector_shape=geometry.detector_shape,
            pixel_size=geometry.pixel_size,
            detector_offset=jnp.stack([jnp.zeros(()), offset]),
        )
        return jaxct.forward_project(x, cone, grid)

    _close(jax.vmap(project)(offsets), jnp.stack([project(o) for o in offsets]))


def test_over_grids():
    geometry, grid = SOME[3]()
    grids = [jaxct.VolumeGrid(grid.shape, voxel_size=grid.voxel_size, center=c) for c in (0.0, 0.7)]
    x = random(1, grid.shape)
    project = lambda v: jaxct.forward_project(x, geometry, v)  # noqa: E731
    _close(jax.vmap(project)(_stack(*grids)), jnp.stack([project(v) for v in grids]))


def test_gradient_of_a_shared_volume_sums_over_geometries():
    family, grid = _family(SOME[3])
    x, y = random(1, grid.shape), random(2, (3, *family[0].projection_shape))
    project = lambda x, g: jaxct.forward_project(x, g, grid)  # noqa: E731
    loss = lambda x: jnp.vdot(jax.vmap(project, in_axes=(None, 0))(x, _stack(*family)), y)  # noqa: E731
    wanted = sum(jaxct.back_project(p, g, grid) for p, g in zip(y, family, strict=True))
    _close(jax.grad(loss)(x), wanted)


def test_shared_operands_reach_the_native_code_once():
    family, grid = _family(SOME[3])
    x = random(1, grid.shape)
    batched = jax.vmap(lambda x, g: jaxct.forward_project(x, g, grid), in_axes=(None, 0))
    text = jax.jit(batched).lower(x, _stack(*family)).as_text()
    (call,) = [line for line in text.splitlines() if "separable_footprint_forward(" in line]
    volume = "x".join(map(str, (1, *grid.shape)))
    assert f"tensor<{volume}xf32>" in call, call
    assert f"tensor<3x{grid.shape[0]}x" not in call, call
