"""Forward projections of disks and balls against their exact line integrals.

The bounds are the errors of the best other CPU projector on the same set-up: what a voxelised phantom leaves, which
ranks nobody but must not be exceeded. Errors are against the chord of the pixel's ray and against the chord averaged
over the pixel.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from jaxct import phantoms
from tests.operators import relative_error

DISK = phantoms.disk(150.0, center=(-30.0, 40.0))
BALL = phantoms.ball(35.0, center=(5.0, -8.0, 10.0))
IMAGE = jaxct.VolumeGrid((512, 512))
VOLUME = jaxct.VolumeGrid((128, 128, 128))


def _turn(views, arc=2 * np.pi):
    return np.linspace(0, arc, views, endpoint=False)


PARALLEL = jaxct.ParallelBeam(_turn(720, np.pi)[::8], detector_shape=(768,))
FAN = jaxct.FanBeam(
    _turn(720)[::8],
    source_origin_distance=1000.0,
    source_detector_distance=1500.0,
    detector_shape=(768,),
    pixel_size=1.5,
)
CONE = jaxct.ConeBeam(
    _turn(120),
    source_origin_distance=500.0,
    source_detector_distance=1000.0,
    detector_shape=(192, 192),
    pixel_size=2.0,
)
PARALLEL_3D = jaxct.ParallelBeam(_turn(180, np.pi)[::9], detector_shape=(128, 192))

# geometry, grid, phantom, sub-samples per axis of voxels and pixels, (error of the ray, error of the pixel)
SET_UPS = {
    "parallel": (PARALLEL, IMAGE, DISK, 8, (0.00165, 0.00083)),
    "fan": (FAN, IMAGE, DISK, 8, (0.00171, 0.00094)),
    "cone": (CONE, VOLUME, BALL, 4, (0.0121, 0.0066)),
    "parallel_3d": (PARALLEL_3D, VOLUME, BALL, 4, (0.0095, 0.0040)),
}


def _errors(geometry, grid, phantom, oversample, model):
    volume = phantom.rasterize(grid, oversample=oversample)
    projections = jaxct.forward_project(volume, geometry, grid, model=model)
    rays = phantom.project(geometry)
    pixels = phantom.project(geometry, oversample=oversample)
    return relative_error(projections, rays), relative_error(projections, pixels)


@pytest.mark.parametrize("name", SET_UPS)
def test_the_best_model_is_within_the_best_peer(name):
    *set_up, (ray, pixel) = SET_UPS[name]
    errors = {model: _errors(*set_up, model) for model in ("joseph", "separable_footprint")}
    assert min(e for e, _ in errors.values()) <= ray, errors
    assert min(e for _, e in errors.values()) <= pixel, errors


@pytest.mark.parametrize("model", ["siddon", "joseph", "distance_driven", "separable_footprint"])
@pytest.mark.parametrize("beam", ["parallel", "fan", "cone"])
def test_second_order_on_a_smooth_image(beam, model):
    """A Gaussian blob, known exactly along every ray; pixels shrink with the voxels. Siddon's rays see each voxel as
    constant: its error is of the first order along a ray. Pixels and voxels have no common measure, so that rays meet
    voxels in every phase at every size."""
    errors = [_blob_error(beam, model, n) for n in (16, 32, 64)]
    order = np.log2(errors[0] / errors[2]) / 2
    assert order > (1.0 if model == "siddon" else 1.75), errors


def _blob_error(beam, model, n):
    with jax.enable_x64(True):
        ndim, width = (3, 0.16) if beam == "cone" else (2, 0.16)
        step = 2.0 / n
        axis = (np.arange(n) - (n - 1) / 2) * step
        points = np.stack(np.meshgrid(*[axis] * ndim, indexing="ij"), -1) - 0.1
        image = jnp.asarray(np.exp(-0.5 * (points**2).sum(-1) / width**2))
        options = {"source_origin_distance": 4.0, "source_detector_distance": 8.0, "pixel_size": 2.637 * step}
        angles = [0.2, 1.1, 2.9]
        if beam == "parallel":
            geometry = jaxct.ParallelBeam(angles, detector_shape=(n,), pixel_size=1.319 * step)
        elif beam == "fan":
            geometry = jaxct.FanBeam(angles, detector_shape=(n,), **options)
        else:
            geometry = jaxct.ConeBeam(angles, detector_shape=(n, n), **options)
        exact = _blob_integrals(geometry.to_vectors(), ndim, width)
        got = jaxct.forward_project(image, geometry, jaxct.VolumeGrid((n,) * ndim, voxel_size=step), model=model)
        return relative_error(got, exact)


def _blob_integrals(vectors, ndim, width):
    pixels = np.asarray(vectors.pixel_centers())
    if isinstance(vectors, jaxct.ParallelVectors):
        rays = np.broadcast_to(np.asarray(vectors.direction)[:, None], pixels.shape)
    else:
        rays = pixels - np.asarray(vectors.source).reshape(-1, *[1] * (ndim - 1), ndim)
    unit = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    offset = pixels - 0.1
    distance2 = (offset**2).sum(-1) - (offset * unit).sum(-1) ** 2
    return np.exp(-0.5 * distance2 / width**2) * np.sqrt(2 * np.pi) * width


def test_a_uniform_object_keeps_its_mass():
    """Detector area times projections is the object's mass in every parallel view, whatever the model."""
    volume = BALL.rasterize(VOLUME, oversample=4)
    mass = float(jnp.sum(volume))
    for model in ("siddon", "joseph", "distance_driven", "separable_footprint"):
        per_view = jnp.sum(jaxct.forward_project(volume, PARALLEL_3D, VOLUME, model=model), (1, 2))
        np.testing.assert_allclose(per_view, mass, rtol=2e-3 if model in ("siddon", "joseph") else 1e-5)
