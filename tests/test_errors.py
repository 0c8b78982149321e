"""Bad input gets an error that names the argument, before anything runs; and nothing crashes the interpreter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from tests.operators import random

GRID = jaxct.VolumeGrid((6, 7, 8))
CONE = jaxct.ConeBeam(
    np.arange(4.0), source_origin_distance=30.0, source_detector_distance=50.0, detector_shape=(5, 9), pixel_size=1.0
)
VOLUME = np.zeros((6, 7, 8), np.float32)
PROJECTIONS = np.zeros((4, 5, 9), np.float32)


def _cone(**changes):
    options = {
        "angles": np.arange(4.0),
        "source_origin_distance": 30.0,
        "source_detector_distance": 50.0,
        "detector_shape": (5, 9),
        "pixel_size": 1.0,
    }
    return jaxct.ConeBeam(**{**options, **changes})


BAD_OPERANDS = [
    (ValueError, "volume", lambda: jaxct.forward_project(VOLUME[0], CONE, GRID)),
    (ValueError, "volume", lambda: jaxct.forward_project(VOLUME[..., :-1], CONE, GRID)),
    (ValueError, "volume", lambda: jaxct.forward_project(VOLUME[:0], CONE, GRID)),
    (TypeError, "volume", lambda: jaxct.forward_project(VOLUME.astype(np.int32), CONE, GRID)),
    (TypeError, "volume", lambda: jaxct.forward_project(VOLUME.astype(np.complex64), CONE, GRID)),
    (TypeError, "volume", lambda: jaxct.forward_project(VOLUME.tolist(), CONE, GRID)),
    (TypeError, "volume", lambda: jaxct.forward_project(None, CONE, GRID)),
    (ValueError, "projections", lambda: jaxct.back_project(PROJECTIONS[:-1], CONE, GRID)),
    (ValueError, "projections", lambda: jaxct.back_project(PROJECTIONS.swapaxes(0, 1), CONE, GRID)),
    (TypeError, "projections", lambda: jaxct.back_project("scan", CONE, GRID)),
    (TypeError, "geometry", lambda: jaxct.forward_project(VOLUME, GRID, GRID)),
    (TypeError, "grid", lambda: jaxct.forward_project(VOLUME, CONE, CONE)),
    (TypeError, "grid", lambda: jaxct.forward_project(VOLUME, CONE, (6, 7, 8))),
    (ValueError, "2-D or 3-D", lambda: jaxct.forward_project(VOLUME[0], CONE, jaxct.VolumeGrid((7, 8)))),
    (ValueError, "model", lambda: jaxct.forward_project(VOLUME, CONE, GRID, model="raytracing")),
    (ValueError, "model", lambda: jaxct.forward_project(VOLUME, CONE, GRID, model="voxel_driven")),
    (ValueError, "adjoint", lambda: jaxct.forward_project(VOLUME, CONE, GRID, adjoint="approximate")),
    (ValueError, "precision", lambda: jaxct.forward_project(VOLUME, CONE, GRID, precision="half")),
    (ValueError, "precision", lambda: jaxct.forward_project(VOLUME, CONE, GRID, precision=None)),
    (ValueError, "precision", lambda: jaxct.back_project(PROJECTIONS, CONE, GRID, precision="float16")),
    (ValueError, "precision", lambda: jaxct.Projector(CONE, GRID, precision="half")(VOLUME)),
    (ValueError, "precision", lambda: jaxct.Projector(CONE, GRID, precision="half").T(PROJECTIONS)),
    (ValueError, "precision", lambda: jaxct.linear.forward_project(VOLUME, CONE, GRID, precision="half")),
    (ValueError, "precision", lambda: jaxct.linear.back_project(PROJECTIONS, CONE, GRID, precision="half")),
    (ValueError, "source", lambda: jaxct.forward_project(VOLUME, _cone(source_origin_distance=2.0), GRID)),
    (ValueError, "angles", lambda: _cone(angles=[0.0, np.nan])),
    (ValueError, "angles", lambda: _cone(angles=[])),
    (ValueError, "source_origin_distance", lambda: _cone(source_origin_distance=0.0)),
    (ValueError, "source_detector_distance", lambda: _cone(source_detector_distance=-50.0)),
    (ValueError, "pixel_size", lambda: _cone(pixel_size=0.0)),
    (ValueError, "pixel_size", lambda: _cone(pixel_size=(1.0, -1.0))),
    (ValueError, "detector_shape", lambda: _cone(detector_shape=(0, 9))),
    (ValueError, "voxel_size", lambda: jaxct.VolumeGrid((4, 4), voxel_size=0.0)),
    (ValueError, "center", lambda: jaxct.VolumeGrid((4, 4), center=np.inf)),
]


@pytest.mark.parametrize(("error", "name", "call"), BAD_OPERANDS)
def test_bad_input_is_named(error, name, call):
    with pytest.raises(error, match=name):
        call()


def test_footprint_models_refuse_steep_detectors_and_say_what_to_use():
    steep = jaxct.ParallelVectors(
        direction=[[-1.0, 0.2, 0.0]],
        detector_center=[[0.0, 0.0, 0.0]],
        row_axis=[[0.2, 1.0, 0.0]],
        col_axis=[[0.0, 0.0, 1.0]],
        detector_shape=(5, 9),
    )
    for model in ("separable_footprint", "distance_driven"):
        with pytest.raises(ValueError, match=r"row_axis.*joseph"):
            jaxct.forward_project(VOLUME, steep, GRID, model=model)
    assert jaxct.forward_project(VOLUME, steep, GRID, model="joseph").shape == (1, 5, 9)


# Under jit the values are unknown to Python: the native side refuses them.
TRACED = [
    ("not finite", {"angles": np.nan}),
    ("inside the volume", {"source_origin_distance": 1.0}),
    ("degenerate", {"pixel_size": 0.0}),
    ("not finite", {"detector_offset": np.inf}),
]


@pytest.mark.parametrize(("message", "change"), TRACED)
@pytest.mark.parametrize("model", ["siddon", "separable_footprint"])
def test_traced_geometries_fail_cleanly(message, change, model):
    ((name, value),) = change.items()

    @jax.jit
    def project(value):
        changed = jnp.full(4, value) if name == "angles" else value
        return jaxct.forward_project(VOLUME, _cone(**{name: changed}), GRID, model=model)

    with pytest.raises(jax.errors.JaxRuntimeError, match=message):
        jax.block_until_ready(project(jnp.float32(value)))


@pytest.mark.parametrize("model", ["joseph", "separable_footprint"])
def test_derivatives_of_an_unsound_geometry_are_nan_and_its_neighbours_are_not(model):
    """A batch may hold a solver's place holders; of what the operator itself makes of them it says that it cannot."""
    volume, weights = random(1, VOLUME.shape), random(2, PROJECTIONS.shape)

    def project(distance):
        return jaxct.forward_project(volume, _cone(source_origin_distance=distance), GRID, model=model)

    inside, distances = 1, jnp.array([20.0, 1.0, 21.0])
    for derivative in (
        lambda d: jax.grad(lambda d: jnp.vdot(project(d), weights))(d),
        lambda d: jax.jvp(project, (d,), (1.0,))[1].ravel(),
        lambda d: jax.jvp(
            lambda d: jaxct.back_project(weights, _cone(source_origin_distance=d), GRID, model=model), (d,), (1.0,)
        )[1].ravel(),
    ):
        together = np.asarray(jax.jit(jax.vmap(derivative))(distances))
        assert np.isnan(together[inside]).all()
        for i in (0, 2):
            np.testing.assert_allclose(together[i], derivative(distances[i]), rtol=1e-4, atol=1e-4)
        assert np.abs(together[[0, 2]]).max() > 0


def test_a_traced_curved_detector_must_be_tangent_to_its_arc():
    @jax.jit
    def project(center):
        fan = jaxct.ConeVectors([[-9.0, 0.0]], center, None, [[0.0, 1.0]], (5,), detector="curved")
        return jaxct.forward_project(VOLUME[0], fan, jaxct.VolumeGrid((7, 8)))

    assert jax.block_until_ready(project(jnp.array([[9.0, 0.0]]))).shape == (1, 5)
    with pytest.raises((ValueError, jax.errors.JaxRuntimeError), match="tangent"):
        jax.block_until_ready(project(jnp.array([[9.0, 5.0]])))


def test_sizes_beyond_32_bits_are_refused_or_work():
    with pytest.raises(ValueError, match="volume"):
        jaxct.forward_project(VOLUME, CONE, jaxct.VolumeGrid((2048, 2048, 2048)))
    # 2^32 projection values of which one image's worth would not fit this test: shapes alone.
    many = jaxct.ParallelBeam(np.zeros(2**16), detector_shape=(2**16,))
    shape = jax.eval_shape(lambda x: jaxct.forward_project(x, many, jaxct.VolumeGrid((4, 4))), jnp.zeros((4, 4)))
    assert shape.shape == (2**16, 2**16)
    wide = jaxct.ParallelBeam([0.0], detector_shape=(2**30 + 1,))
    with pytest.raises(jax.errors.JaxRuntimeError, match="2\\^30"):
        jax.block_until_ready(jaxct.forward_project(jnp.zeros((4, 4)), wide, jaxct.VolumeGrid((4, 4))))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("model", ["siddon", "joseph", "distance_driven", "separable_footprint"])
def test_wild_values_stay_where_their_rays_go(model, value):
    volume = np.zeros((6, 7, 8), np.float32)
    volume[0, 0, 0] = value
    result = np.asarray(jaxct.forward_project(volume, CONE, GRID, model=model))
    assert np.isfinite(result).any()
    assert result.shape == CONE.projection_shape
