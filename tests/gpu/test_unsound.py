"""A traced geometry that is unsound gives NaN, and nothing else breaks: kernels cannot raise, and XLA cannot look."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from jaxct._linear import DIFFERENTIABLE_MODELS
from jaxct.linear import BACK_MODELS
from tests.test_errors import CONE, GRID

pytestmark = pytest.mark.usefixtures("real_gpu")  # the CPU back end returns an error instead

VOLUME = np.ones(GRID.shape, np.float32)
PROJECTIONS = np.ones(CONE.projection_shape, np.float32)

UNSOUND = [("angles", np.nan), ("source_origin_distance", 1.0), ("pixel_size", 0.0), ("detector_offset", np.inf)]


def _operators(model, **options):
    yield jax.jit(lambda cone: jaxct.back_project(PROJECTIONS, cone, GRID, model=model, **options))
    if model != "voxel_driven":
        yield jax.jit(lambda cone: jaxct.forward_project(VOLUME, cone, GRID, model=model, **options))


@pytest.mark.parametrize("options", [{}, {"precision": "fast"}], ids=["exact", "fast"])
@pytest.mark.parametrize(("name", "value"), UNSOUND)
@pytest.mark.parametrize("model", BACK_MODELS)
def test_every_view_unsound(model, name, value, options):
    wrong = jnp.full(4, value) if name == "angles" else jnp.float32(value)
    for run in _operators(model, **options):
        # The constructor does not look at traced values.
        unsound = jax.jit(lambda v: replace(CONE, **{name: v}))(wrong)
        assert np.isnan(np.asarray(run(unsound))).all()
        assert np.isfinite(np.asarray(run(CONE))).all(), "the next sound call suffers"


@pytest.mark.parametrize("model", BACK_MODELS)
def test_one_view_unsound(model):
    """Its own projection is NaN and the others are not; every voxel of a back projection depends on it."""
    angles = jnp.array([0.0, 1.0, jnp.nan, 3.0])
    back, *forward = _operators(model)
    cone = jax.jit(lambda a: replace(CONE, angles=a))(angles)
    assert np.isnan(np.asarray(back(cone))).all()
    for run in forward:
        unsound = np.isnan(np.asarray(run(cone))).reshape(4, -1)
        assert unsound[2].all()
        assert not unsound[[0, 1, 3]].any()


@pytest.mark.parametrize("model", DIFFERENTIABLE_MODELS)
def test_derivatives_where_one_view_is_unsound(model):
    """Its own vectors' gradient is NaN, and so is that of the grid, on which every view depends."""
    angles = jnp.array([0.0, 1.0, jnp.nan, 3.0])
    setup = jax.jit(lambda a: (replace(CONE, angles=a).to_vectors(), GRID))(angles)
    forward, back = (
        lambda *s, p=project, d=data: p(d, *s, model=model)
        for project, data in ((jaxct.forward_project, VOLUME), (jaxct.back_project, PROJECTIONS))
    )
    by_vectors, by_grid = jax.jit(jax.grad(lambda s: jnp.sum(forward(*s))))(setup)
    for leaf in jax.tree.leaves(by_vectors):
        np.testing.assert_array_equal(np.isnan(leaf).all(-1), np.isnan(angles))
        np.testing.assert_array_equal(np.isnan(leaf).any(-1), np.isnan(angles))
    assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(by_grid))
    dots = jax.tree.map(jnp.ones_like, setup)
    forward_dot, back_dot = (jax.jit(lambda p=p: jax.jvp(p, setup, dots)[1])() for p in (forward, back))
    unsound = np.isnan(np.asarray(forward_dot)).reshape(4, -1)
    assert unsound[2].all()
    assert not unsound[[0, 1, 3]].any()
    assert np.isnan(np.asarray(back_dot)).all()


@pytest.mark.parametrize("model", BACK_MODELS)
def test_one_geometry_of_a_batch_unsound(model):
    distances = jnp.array([30.0, 1.0, 40.0])
    for run in _operators(model):
        result = jax.vmap(lambda d, f=run: f(replace(CONE, source_origin_distance=d)))(distances)
        unsound = np.isnan(np.asarray(result)).reshape(3, -1)
        assert unsound[1].all()
        assert not unsound[[0, 2]].any()


@pytest.mark.parametrize("model", ["separable_footprint", "distance_driven"])
def test_steep_rows_for_a_footprint_model(model):
    def project(tilt):
        row = jnp.stack([jnp.cos(tilt), jnp.sin(tilt), 0.0])[None]
        ray = jnp.stack([jnp.sin(tilt), -jnp.cos(tilt), 0.0])[None]
        rays = jaxct.ParallelVectors(ray, jnp.zeros((1, 3)), row, jnp.array([[0.0, 0.0, 1.0]]), (5, 9))
        return jaxct.forward_project(VOLUME, rays, GRID, model=model)

    assert np.isfinite(np.asarray(jax.jit(project)(0.1))).all()
    assert np.isnan(np.asarray(jax.jit(project)(1.0))).all()
