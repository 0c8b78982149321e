"""What all models have in common: the integrals they approximate, what they do not see, and their transposes."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from jaxct.geometry import ConeBeam, ConeVectors, FanBeam, VolumeGrid
from jaxct.reference import MODELS, back_project, forward_project
from jaxct.reference.rays import pixel_rays
from tests.geometries import FOOTPRINT_MODELS, LINE_MODELS
from tests.reference.tools import CASE, per_view, random

# One-view geometries are repeated over four views, so that they share what is compiled for the catalogue's fans.
_PAIRS = [(model, "flat") for model in MODELS] + [("separable_footprint", "curved"), ("voxel_driven", "curved")]


@pytest.mark.parametrize(("model", "detector"), _PAIRS)
def test_nothing_behind_the_source_is_seen(model, detector):
    """Two views look away from the image, which their rays would cross if they were lines; two look at it."""
    source, center, col = [[20.0, 1.0]] * 4, [[40.0, 1.0]] * 2 + [[-40.0, 1.0]] * 2, [[0.0, 1.5]] * 4
    geometry, grid = ConeVectors(source, center, None, col, (11,), detector), VolumeGrid((8, 9))
    projections = forward_project(jnp.ones(grid.shape), geometry, grid, model=model)
    assert not projections[:2].any()
    assert projections[2].any()
    assert projections[3].any()


@pytest.mark.parametrize(
    ("ndim", "model"), [*((2, model) for model in MODELS), (3, "separable_footprint"), (3, "voxel_driven")]
)
def test_curved_and_flat_detectors_agree_for_a_tiny_fan(ndim, model):
    fan, shape = ((FanBeam, (11,)), (ConeBeam, (9, 11)))[ndim - 2]
    grid = VolumeGrid((7, 8, 9)[-ndim:], center=(0.3, -0.2, 0.1)[-ndim:])
    volume = random(9, grid.shape)
    flat, curved = (
        forward_project(
            volume,
            fan(
                jnp.array([0.3, 1.2, 2.2, 4.1]),
                source_origin_distance=1e5,
                source_detector_distance=1.2e5,
                detector_shape=shape,
                pixel_size=1.1,
                detector=detector,
            ),
            grid,
            model=model,
        )
        for detector in ("flat", "curved")
    )
    np.testing.assert_allclose(flat, curved, rtol=0, atol=1e-6 * float(jnp.abs(flat).max()))


def _gaussian_integrals(geometry, center, sigma):
    """Exact integrals of exp(-|x - center|^2 / (2 sigma^2)) along all rays."""
    origin, direction = per_view(pixel_rays, geometry)
    unit = direction / jnp.linalg.norm(direction, axis=-1, keepdims=True)
    offset = center - origin
    distance2 = jnp.sum(offset**2, -1) - jnp.sum(offset * unit, -1) ** 2
    return math.sqrt(2 * math.pi) * sigma * jnp.exp(-distance2 / (2 * sigma**2))


@pytest.mark.parametrize("model", LINE_MODELS + FOOTPRINT_MODELS)
def test_every_model_converges_to_the_line_integrals_of_a_smooth_image(model):
    """Halving the voxels, and with them the pixels, quarters the error."""
    center, sigma, errors = jnp.array([1.5, -1.0]), 1.6, []
    for refine in (2, 4):
        grid = VolumeGrid((24 * refine, 26 * refine), voxel_size=(0.75 / refine, 0.7 / refine))
        geometry = FanBeam(
            jnp.arange(3) * 1.3 + 0.2,
            source_origin_distance=30.0,
            source_detector_distance=45.0,
            detector_shape=(36 * refine,),
            pixel_size=0.8 / refine,
        )
        points = jnp.stack(jnp.meshgrid(*grid.coordinates(), indexing="ij"), -1)
        image = jnp.exp(-jnp.sum((points - center) ** 2, -1) / (2 * sigma**2))
        truth = _gaussian_integrals(geometry, center, sigma)
        error = forward_project(image, geometry, grid, model=model) - truth
        errors.append(float(jnp.linalg.norm(error) / jnp.linalg.norm(truth)))
    assert errors[0] < 0.01
    assert errors[1] < errors[0] / 3.5


_TRANSPOSES = [("fan_vectors", model) for model in MODELS] + [
    ("cone_curved_tilted", "separable_footprint"),
    ("cone_curved_tilted", "voxel_driven"),
]


@pytest.mark.parametrize(("name", "model"), _TRANSPOSES)
def test_back_projection_is_the_transpose(name, model):
    geometry, grid = CASE[name]()
    x, y = random(10, grid.shape), random(11, geometry.projection_shape)
    ax = forward_project(x, geometry, grid, model=model)
    aty = back_project(y, geometry, grid, model=model)
    gap = abs(jnp.vdot(ax, y) - jnp.vdot(x, aty))
    assert gap <= 1e-14 * jnp.linalg.norm(ax) * jnp.linalg.norm(y)
    assert jnp.linalg.norm(aty) > 0
