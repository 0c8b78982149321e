"""Gradients in the data: reverse mode under jit, vmap and scan, and the transposes as JAX sees them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxct
from tests.geometries import CASES, models_for
from tests.operators import PAIRS, operators, random, relative_error

# One small set-up of each kind; values over the whole catalogue are test_values' promise.
SOME = [c for c in CASES if c.name in ("parallel_2d", "fan_curved", "cone_flat", "cone_curved_tilted")]
SOME_PAIRS = [(case, model) for case in SOME for model in models_for(case)]


@pytest.mark.parametrize(("case", "model"), SOME_PAIRS, ids=str)
def test_reverse_mode_in_volume_and_projections(case, model):
    with jax.enable_x64(True):
        forward, back, volume_shape, projection_shape = operators(case, model)
        x, y = random(1, volume_shape), random(2, projection_shape)
        check_grads(jax.jit(lambda x: jnp.sum(jnp.tanh(forward(x)))), (x,), order=1, modes=["rev"])
        check_grads(jax.jit(lambda y: jnp.sum(jnp.tanh(back(y)))), (y,), order=1, modes=["rev"])


@pytest.mark.parametrize("case", SOME, ids=str)
def test_second_order_in_reverse_mode(case):
    with jax.enable_x64(True):
        forward, _, volume_shape, projection_shape = operators(case, "joseph")
        x, y = random(1, volume_shape), random(2, projection_shape)

        def gradient(x):
            return jax.grad(lambda x: 0.5 * jnp.sum((forward(x) - y) ** 2))(x)

        v = random(3, volume_shape)
        hessian_v = jax.grad(lambda x: jnp.vdot(gradient(x), v))(x)
        back = operators(case, "joseph")[1]
        assert relative_error(hessian_v, back(forward(v))) < 1e-12


@pytest.mark.parametrize("case", SOME, ids=str)
def test_reverse_mode_under_vmap(case):
    with jax.enable_x64(True):
        forward, _, volume_shape, _ = operators(case, "separable_footprint")
        x = random(1, (3, *volume_shape))
        check_grads(lambda x: jnp.sum(jnp.tanh(jax.vmap(forward)(x))), (x,), order=1, modes=["rev"])
        of_each = jax.vmap(jax.grad(lambda x: jnp.sum(jnp.tanh(forward(x)))))(x)
        of_all = jax.grad(lambda x: jnp.sum(jnp.tanh(jax.vmap(forward)(x))))(x)
        assert relative_error(of_each, of_all) < 1e-13


def test_reverse_mode_under_scan():
    with jax.enable_x64(True):
        forward, back, volume_shape, projection_shape = operators(SOME[1], "separable_footprint")
        y = random(2, projection_shape)

        def three_steps(x):
            step = lambda x, _: (x - 1e-3 * back(jnp.tanh(forward(x) - y)), None)  # noqa: E731
            return jnp.sum(jax.lax.scan(step, x, None, length=3)[0] ** 2)

        check_grads(jax.jit(three_steps), (random(1, volume_shape),), order=1, modes=["rev"])


def test_reverse_mode_under_checkpoint():
    forward, _, volume_shape, _ = operators(SOME[2], "siddon")
    x = random(1, volume_shape)
    loss = lambda x: jnp.sum(jnp.sin(forward(x)))  # noqa: E731
    np.testing.assert_allclose(jax.grad(jax.checkpoint(loss))(x), jax.grad(loss)(x), rtol=1e-6)


@pytest.mark.parametrize(("case", "model"), PAIRS[::7], ids=str)
def test_the_projector_is_linear_to_jax(case, model):
    geometry, grid = case()
    a = jaxct.Projector(geometry, grid, model=model)
    x, y = random(1, a.in_shape), random(2, a.out_shape)
    (transposed,) = jax.linear_transpose(a, x)(y)
    np.testing.assert_array_equal(transposed, a.T(y))
    np.testing.assert_array_equal(a.T.T(x), a(x))
    value, tangent = jax.jvp(a, (x,), (2 * x,))
    np.testing.assert_allclose(tangent, 2 * value, rtol=1e-5, atol=1e-5)
    assert (a.T.in_shape, a.T.out_shape) == (a.out_shape, a.in_shape)


def test_voxel_driven_adjoint_resembles_the_matched_one():
    grid = jaxct.VolumeGrid((24, 24), voxel_size=0.7)
    y, x = np.meshgrid(np.arange(24) - 11.5, np.arange(24) - 11.5, indexing="ij")
    image = jnp.asarray(np.exp(-(x**2 + y**2) / 40), jnp.float32)
    angles = np.linspace(0, 2 * np.pi, 30, endpoint=False)
    fan = jaxct.FanBeam(
        angles, source_origin_distance=40.0, source_detector_distance=70.0, detector_shape=(48,), pixel_size=1.0
    )
    square = lambda x, adjoint: 0.5 * jnp.sum(jaxct.forward_project(x, fan, grid, adjoint=adjoint) ** 2)  # noqa: E731
    matched, unmatched = (jax.grad(square)(image, adjoint) for adjoint in ("matched", "voxel_driven"))
    assert 0 < relative_error(unmatched, matched) < 0.02


def test_voxel_driven_adjoint_scales_each_view_by_its_own_pixels():
    grid = jaxct.VolumeGrid((12, 12))
    center, direction = np.zeros((2, 2)), np.array([[1.0, 0.0], [1.0, 0.0]])
    vectors = jaxct.ParallelVectors(direction, center, None, [[0.0, 1.0], [0.0, 3.0]], (16,))
    sinogram = jnp.zeros((2, 16)).at[1].set(1.0)
    gradients = [
        jax.vjp(lambda x, a=adjoint: jaxct.forward_project(x, vectors, grid, adjoint=a), jnp.zeros((12, 12)))[1](
            sinogram
        )
        for adjoint in ("matched", "voxel_driven")
    ]
    np.testing.assert_allclose(gradients[1][0][6, 6], gradients[0][0][6, 6], rtol=1e-5)


def test_residues_of_rounding_in_the_row_axis_are_no_tilt():
    """Or a computed pose would be projected voxel by voxel, and slowly."""
    cone, grid = SOME[2]()
    v = cone.to_vectors()
    tilted = v.row_axis.at[0, 1].set(1e-9)
    shaken = jaxct.ConeVectors(v.source, v.detector_center, tilted, v.col_axis, v.detector_shape)
    x = random(1, grid.shape)
    np.testing.assert_array_equal(jaxct.forward_project(x, shaken, grid), jaxct.forward_project(x, v, grid))
