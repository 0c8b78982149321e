"""Derivatives in the geometry and the grid: against the oracle's, by autodiff, and under JAX's transformations."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxct
from jaxct import linear, reference
from jaxct._linear import DIFFERENTIABLE_MODELS
from tests.geometries import CASES, models_for
from tests.operators import random, relative_error

# Where rays run in the voxels' faces the weights have kinks, and no derivative.
SMOOTH = [case for case in CASES if "on_faces" not in case.name]
PAIRS = [(case, model) for case in SMOOTH for model in DIFFERENTIABLE_MODELS if model in models_for(case)]
SOME = [
    (case, model)
    for case, model in PAIRS
    if case.name in ("parallel_2d", "fan_curved", "cone_flat", "cone_curved_tilted")
]
PROJECTIONS = {"forward": jaxct.forward_project, "back": jaxct.back_project}


def set_up(case, direction="forward"):
    """Data, geometry and grid; and a tangent of both, small beside a voxel."""
    geometry, grid = case()
    data = random(1, grid.shape if direction == "forward" else geometry.projection_shape)
    leaves, structure = jax.tree.flatten((geometry, grid))
    dots = [random(10 + i, jnp.shape(leaf)) for i, leaf in enumerate(leaves)]
    return data, (geometry, grid), jax.tree.unflatten(structure, dots)


def inner(a, b) -> float:
    return sum(float(jnp.vdot(x, y)) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.parametrize("direction", PROJECTIONS)
@pytest.mark.parametrize(("case", "model"), PAIRS, ids=str)
def test_both_modes_agree_with_the_oracle(case, model, direction):
    """Forward mode equals the oracle's, differentiated by JAX; reverse mode is the transpose of forward mode."""
    with jax.enable_x64(True):
        data, setup, dots = set_up(case, direction)
        oracle = {"forward": reference.forward_project, "back": reference.back_project}[direction]
        value, tangent = jax.jvp(lambda s: PROJECTIONS[direction](data, *s, model=model), (setup,), (dots,))
        assert relative_error(tangent, jax.jvp(lambda s: oracle(data, *s, model=model), (setup,), (dots,))[1]) <= 1e-9
        y = random(2, value.shape)
        (gradient,) = jax.vjp(lambda s: PROJECTIONS[direction](data, *s, model=model), setup)[1](y)
        assert abs(inner(gradient, dots) - inner(y, tangent)) <= 1e-11 * float(
            jnp.linalg.norm(y) * jnp.linalg.norm(tangent)
        )


@pytest.mark.parametrize(("case", "model"), SOME, ids=str)
def test_gradients_agree_with_central_differences_of_the_oracle(case, model):
    with jax.enable_x64(True):
        x, setup, dots = set_up(case)
        y = random(2, setup[0].projection_shape)

        def loss(step, project):
            moved = jax.tree.map(lambda leaf, dot: leaf + step * dot, setup, dots)
            return 0.5 * jnp.sum((project(x, *moved, model=model) - y) ** 2)

        slope = jax.grad(loss)(0.0, jaxct.forward_project)
        step = 1e-6
        difference = (loss(step, reference.forward_project) - loss(-step, reference.forward_project)) / (2 * step)
        assert abs(slope - difference) < 1e-6 * abs(difference)


@pytest.mark.parametrize(("case", "model"), PAIRS, ids=str)
def test_single_precision_follows_double(case, model):
    with jax.enable_x64(True):
        data, setup, _ = set_up(case)
        y = random(2, setup[0].projection_shape)
        pull = lambda *a: jax.vjp(lambda s: jaxct.forward_project(a[0], *s, model=model), setup)[1](a[1])[0]  # noqa: E731
        exact, single = pull(data, y), pull(data.astype(jnp.float32), y.astype(jnp.float32))
        # A ray's place is rounded, which a gradient of noise sees in full: kinks lie that near.
        for a, b in zip(jax.tree.leaves(single), jax.tree.leaves(exact), strict=True):
            assert relative_error(a, b) < 2e-3


@pytest.mark.parametrize(("case", "model"), SOME, ids=str)
def test_check_grads_in_both_modes(case, model):
    with jax.enable_x64(True):
        x, (geometry, grid), _ = set_up(case)
        y = random(2, geometry.projection_shape)
        forward = jax.jit(lambda x, s: jnp.sum(jnp.tanh(jaxct.forward_project(x, *s, model=model))))
        back = jax.jit(lambda y, s: jnp.sum(jnp.tanh(jaxct.back_project(y, *s, model=model))))
        for f, data in ((forward, x), (back, y)):
            check_grads(f, (data, (geometry, grid)), order=1, modes=["fwd", "rev"], eps=1e-6)


@pytest.mark.parametrize(("case", "model"), SOME, ids=str)
def test_mixed_second_derivatives(case, model):
    """In the geometry and the data: of reverse mode in either order, and against the oracle's."""
    with jax.enable_x64(True):
        x, setup, dots = set_up(case)
        y, v = random(2, setup[0].projection_shape), random(3, x.shape)

        def along_geometry(x, project):
            return jax.jvp(lambda s: jnp.vdot(y, project(x, *s, model=model)), (setup,), (dots,))[1]

        mixed = jax.grad(lambda x: along_geometry(x, jaxct.forward_project))(x)
        wanted = jax.grad(lambda x: along_geometry(x, reference.forward_project))(x)
        assert relative_error(mixed, wanted) < 1e-9

        def gradient_in_geometry(x):
            return jax.grad(lambda s: jnp.vdot(y, jaxct.forward_project(x, *s, model=model)))(setup)

        _, change = jax.jvp(gradient_in_geometry, (x,), (v,))
        assert abs(inner(change, dots) - float(jnp.vdot(wanted, v))) < 1e-9 * abs(float(jnp.vdot(wanted, v)))
        (back,) = jax.vjp(gradient_in_geometry, x)[1](dots)
        assert relative_error(back, wanted) < 1e-9


@pytest.mark.parametrize(("case", "model"), SOME, ids=str)
def test_gauss_newton_products(case, model):
    """J and its transpose, linearised once, are each other's transpose over data and geometry together."""
    with jax.enable_x64(True):
        x, setup, dots = set_up(case)
        project = lambda x, s: jaxct.forward_project(x, *s, model=model)  # noqa: E731
        out, push = jax.linearize(project, x, setup)
        v, y = random(3, x.shape), random(4, out.shape)
        (by_x, by_setup) = jax.linear_transpose(push, x, setup)(y)
        tangent = push(v, dots)
        assert abs(float(jnp.vdot(y, tangent)) - float(jnp.vdot(by_x, v)) - inner(by_setup, dots)) < 1e-11 * float(
            jnp.linalg.norm(y) * jnp.linalg.norm(tangent)
        )


@pytest.mark.parametrize("model", DIFFERENTIABLE_MODELS)
def test_jacobians_in_either_mode(model):
    """Of the bare operators in a few parameters; and the Hessian that Gauss and Newton approximate, by products."""
    with jax.enable_x64(True):
        x, (geometry, grid), _ = set_up(next(case for case in CASES if case.name == "cone_flat"))
        y = random(2, geometry.projection_shape)

        def residual(parameters):
            moved = dataclasses.replace(
                geometry,
                detector_offset=geometry.detector_offset + parameters[:2],
                source_origin_distance=geometry.source_origin_distance + parameters[2],
            )
            return linear.forward_project(x, moved, grid, model=model) - y

        at = jnp.zeros(3)
        forward, reverse = jax.jacfwd(residual)(at), jax.jacrev(residual)(at)
        assert forward.shape == (*y.shape, 3)
        assert relative_error(forward, reverse) < 1e-11
        value, push = jax.linearize(residual, at)
        (pulled,) = jax.linear_transpose(push, at)(value)
        np.testing.assert_allclose(pulled, jax.grad(lambda p: 0.5 * jnp.sum(residual(p) ** 2))(at), rtol=1e-11)
        (product,) = jax.linear_transpose(push, at)(push(jnp.array([0.3, -0.2, 0.1])))
        columns = np.asarray(forward).reshape(-1, 3)
        np.testing.assert_allclose(product, columns.T @ columns @ np.array([0.3, -0.2, 0.1]), rtol=1e-10)


# Moved at random, the vectors of a curved detector would leave its arc.
@pytest.mark.parametrize(("case", "model"), [p for p in SOME if p[0].name != "cone_curved_tilted"], ids=str)
def test_under_vmap_scan_and_checkpoint(case, model):
    with jax.enable_x64(True):
        x, setup, dots = set_up(case)
        y = random(2, setup[0].projection_shape)
        steps = jnp.linspace(-1e-3, 1e-3, 3)

        def loss(step, x):
            moved = jax.tree.map(lambda leaf, dot: leaf + step * dot, setup, dots)
            return 0.5 * jnp.sum((jaxct.forward_project(x, *moved, model=model) - y) ** 2)

        gradient = jax.grad(loss, argnums=(0, 1))
        one_by_one = [gradient(step, x) for step in steps]
        wanted = [jnp.stack(parts) for parts in zip(*one_by_one, strict=True)]
        at_once = jax.jit(jax.vmap(gradient, in_axes=(0, None)))(steps, x)
        scanned = jax.lax.map(lambda step: gradient(step, x), steps)
        saved = jax.vmap(jax.grad(jax.checkpoint(loss), argnums=(0, 1)), in_axes=(0, None))(steps, x)
        for got in (at_once, scanned, saved):
            for a, b in zip(got, wanted, strict=True):
                assert relative_error(a, b) < 1e-12
        # Shared volume and geometry, summed over the batch.
        together = jax.grad(lambda s, x: jnp.sum(jax.vmap(loss, in_axes=(0, None))(s, x)), argnums=(0, 1))(steps, x)
        assert relative_error(together[1], jnp.sum(wanted[1], 0)) < 1e-12
        # Volumes of a batch, one geometry.
        volumes = random(5, (3, *x.shape))
        of_sum = jax.grad(lambda s: jnp.sum(jax.vmap(lambda x: loss(s, x))(volumes)))(0.1)
        np.testing.assert_allclose(of_sum, sum(gradient(0.1, v)[0] for v in volumes), rtol=1e-11)


def _wide_footprints(beam):
    """More views than a register holds, not a multiple of it; voxels that cover up to a dozen pixels."""
    angles = 0.3 + 0.7 * np.arange(11)
    options = {"detector_shape": (90,), "pixel_size": 0.2137, "detector_offset": 0.0731}
    grid = jaxct.VolumeGrid((6, 5), voxel_size=(1.1, 1.3), center=0.1)
    if beam == "parallel":
        return jaxct.ParallelBeam(angles, **options), grid
    return jaxct.FanBeam(angles, source_origin_distance=9.3, source_detector_distance=15.1, **options), grid


@pytest.mark.parametrize("beam", ["parallel", "fan"])
@pytest.mark.parametrize("model", DIFFERENTIABLE_MODELS)
def test_many_views_and_wide_footprints(model, beam):
    _check_gradient(lambda: _wide_footprints(beam), model, 1e-9)


def test_corners_that_fall_together():
    """At a right angle two corners of a voxel share a detector column, exactly or nearly: still there is a derivative.

    Sorting gives the oracle one of its own, so it is asked for differences.
    """
    geometry = lambda: jaxct.ParallelBeam(  # noqa: E731
        np.arange(4) * np.pi / 2, detector_shape=(20,), pixel_size=0.7391, detector_offset=0.1237
    )
    with jax.enable_x64(True):
        setup = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, jnp.float64), (geometry(), jaxct.VolumeGrid((7, 8), center=0.05))
        )
        x, y = random(1, setup[1].shape), random(2, setup[0].projection_shape)
        turned = lambda step: (dataclasses.replace(setup[0], angles=setup[0].angles + step), setup[1])  # noqa: E731
        project = lambda step: jaxct.forward_project(x, *turned(step))  # noqa: E731
        ends = [reference.forward_project(x, *turned(step)) for step in (1e-6, -1e-6)]
        difference = (ends[0] - ends[1]) / 2e-6
        assert relative_error(jax.jvp(project, (0.0,), (1.0,))[1], difference) < 1e-7
        by_step = jax.grad(lambda step: jnp.vdot(y, project(step)))(0.0)
        assert abs(by_step - jnp.vdot(y, difference)) < 1e-7 * jnp.linalg.norm(y) * jnp.linalg.norm(difference)


def test_voxels_in_the_plane_of_a_source():
    """Some lie beside it and have no weight: nothing may become infinite there."""
    source, center = [[-20.0, 0.0], [-15.3, 1.7]], [[-20.0, 30.0], [14.1, 0.3]]
    vectors = jaxct.ConeVectors(source, center, None, [[1.0, 0.0], [0.1, 1.2]], (30,))
    _check_gradient(lambda: (vectors, jaxct.VolumeGrid((9, 9))), "separable_footprint", 1e-9)


def _check_gradient(build, model, tolerance):
    """Forward mode against the oracle's, reverse mode against forward mode."""
    with jax.enable_x64(True):
        setup = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), build())
        x, y = random(1, setup[1].shape), random(2, setup[0].projection_shape)
        leaves, structure = jax.tree.flatten(setup)
        dots = jax.tree.unflatten(structure, [random(10 + i, leaf.shape) for i, leaf in enumerate(leaves)])
        tangent = jax.jvp(lambda s: jaxct.forward_project(x, *s, model=model), (setup,), (dots,))[1]
        wanted = jax.jvp(lambda s: reference.forward_project(x, *s, model=model), (setup,), (dots,))[1]
        assert relative_error(tangent, wanted) < tolerance
        (gradient,) = jax.vjp(lambda s: jaxct.forward_project(x, *s, model=model), setup)[1](y)
        assert abs(inner(gradient, dots) - inner(y, tangent)) < tolerance * float(
            jnp.linalg.norm(y) * jnp.linalg.norm(tangent)
        )


def test_only_what_is_wanted_is_computed():
    """A gradient in the volume is a back projection and nothing else, also where the geometry is traced."""
    case, model = SOME[-1]
    x, setup, _ = set_up(case)
    loss = lambda x, s: jnp.sum(jaxct.forward_project(x, *s, model=model) ** 2)  # noqa: E731
    text = str(jax.make_jaxpr(jax.grad(loss))(x, setup))
    assert "jaxct_back" in text
    assert "tangent" not in text
    assert "geometry_gradient" not in text
    text = str(jax.make_jaxpr(jax.grad(loss, argnums=1))(x, setup))
    assert "geometry_gradient" in text
    assert "jaxct_back" not in text


@pytest.mark.parametrize("model", ["siddon", "distance_driven"])
def test_models_without_a_derivative_say_so(model):
    x, (geometry, grid), _ = set_up(
        SOME[-1][0] if model == "siddon" else next(c for c in CASES if c.name == "cone_flat")
    )
    for project in (jaxct.forward_project, linear.forward_project):
        with pytest.raises(NotImplementedError, match=f"'{model}' has no derivative.*'joseph'.*stop_gradient"):
            jax.grad(lambda g, project=project: jnp.sum(project(x, g, grid, model=model)))(geometry)
    with pytest.raises(NotImplementedError, match="grid"):
        jax.grad(lambda v: jnp.sum(jaxct.forward_project(x, geometry, v, model=model)))(grid)
    y = random(2, geometry.projection_shape)
    with pytest.raises(NotImplementedError, match="'voxel_driven' has no derivative"):
        jax.grad(lambda g: jnp.sum(jaxct.back_project(y, g, grid, model="voxel_driven")))(geometry)
    fixed = jax.lax.stop_gradient(geometry)
    assert jnp.all(jax.grad(lambda x: jnp.sum(jaxct.forward_project(x, fixed, grid, model=model)))(x) >= 0)


def test_the_unmatched_adjoint_has_no_derivative_in_the_geometry():
    x, (geometry, grid), _ = set_up(SOME[0][0])
    with pytest.raises(NotImplementedError, match="adjoint='voxel_driven'"):
        jax.grad(lambda g: jnp.sum(jaxct.forward_project(x, g, grid, adjoint="voxel_driven")))(geometry)


@pytest.mark.parametrize(
    "transform",
    [
        lambda f, s, d: jax.grad(lambda s: jax.jvp(f, (s,), (d,))[1])(s),
        lambda f, s, d: jax.jvp(jax.grad(f), (s,), (d,)),
    ],
)
def test_second_order_in_the_geometry_says_so(transform):
    x, setup, dots = set_up(SOME[0][0])
    with pytest.raises(NotImplementedError, match="second derivatives"):
        transform(lambda s: jnp.sum(jaxct.forward_project(x, *s) ** 2), setup, dots)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_data(dtype):
    x, setup, _ = set_up(SOME[0][0])
    gradient = jax.grad(lambda s, x: jnp.sum(jaxct.forward_project(x, *s).astype(jnp.float32) ** 2))
    half = x.astype(dtype)
    got, wanted = gradient(setup, half), gradient(setup, half.astype(jnp.float32))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert a.dtype == b.dtype == jnp.float32
        np.testing.assert_allclose(a, b, rtol=2e-2, atol=2e-2 * float(jnp.max(jnp.abs(b))))
