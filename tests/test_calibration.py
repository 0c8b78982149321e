"""What the geometry was made wrong by is found again, from projections alone, measured ones too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from jaxct import calibration
from jaxct.geometry import poses

GRID = jaxct.VolumeGrid((24, 24))
TRUE = {"offset": 0.7, "distance": 60.0}
WRONG = {"offset": 2.0, "distance": 75.0}


def fan(parameters):
    """The magnification is kept: how large an object is at given angles, no projection can tell."""
    return jaxct.FanBeam(
        np.linspace(0, 2 * np.pi, 40, endpoint=False),
        source_origin_distance=parameters["distance"],
        source_detector_distance=1.5 * parameters["distance"],
        detector_shape=(44,),
        pixel_size=1.1,
        detector_offset=parameters["offset"],
    )


@pytest.fixture(scope="module")
def sinogram():
    y, x = np.mgrid[-1:1:24j, -1:1:24j]
    image = (np.hypot(y, x) < 0.8) + (np.hypot(y - 0.3, x + 0.2) < 0.25) - 0.5 * (np.hypot(y + 0.4, x) < 0.2)
    return jaxct.forward_project(jnp.asarray(image, jnp.float32), fan(TRUE), GRID, model="joseph")


def test_exact_data_give_the_parameters_back(sinogram):
    result = calibration.calibrate(fan, WRONG, sinogram, GRID, num_iters=8, volume_iters=30)
    assert abs(result.parameters["offset"] - TRUE["offset"]) < 2e-3
    assert abs(result.parameters["distance"] - TRUE["distance"]) < 0.3
    assert result.history["misfit"][-1] < 1e-3 * result.history["misfit"][0]
    assert result.history["misfit"].shape == (8,)
    assert all(0 < float(e) < np.inf for e in result.standard_errors.values())


@pytest.mark.parametrize("ramp_power", [0.0, 1.0])
def test_gradient_of_the_misfit(sinogram, ramp_power):
    with jax.enable_x64(True):
        data = jnp.asarray(np.asarray(sinogram), jnp.float64)

        def misfit(vector):
            parameters = {"offset": vector[0], "distance": vector[1]}
            return calibration.misfit(parameters, fan, data, GRID, volume_iters=400, ramp_power=ramp_power)

        at, step = np.array([1.1, 66.0]), 1e-4
        gradient = np.asarray(jax.jit(jax.grad(misfit))(jnp.asarray(at)))
        value = jax.jit(misfit)
        wanted = [(value(at + step * e) - value(at - step * e)) / (2 * step) for e in np.eye(2)]
        np.testing.assert_allclose(gradient, wanted, rtol=1e-3)


def test_parameters_that_do_not_matter_stay_and_say_so(sinogram):
    result = calibration.calibrate(fan, {**WRONG, "colour": 3.0}, sinogram, GRID, num_iters=2)
    assert result.parameters["colour"] == 3.0
    assert result.standard_errors["colour"] == np.inf
    assert all(np.isfinite(result.parameters[name]) for name in WRONG)


def test_under_jit_and_with_a_callback(sinogram):
    def run(data, callback=None):
        return calibration.calibrate(fan, WRONG, data, GRID, num_iters=3, callback=callback)

    seen = []
    plain = run(sinogram)
    watched = run(sinogram, lambda iteration, state, record: seen.append((iteration, record["misfit"])))
    jitted = jax.jit(lambda data: run(data).parameters)(sinogram)
    assert [iteration for iteration, _ in seen] == [1, 2, 3]
    np.testing.assert_allclose([misfit for _, misfit in seen], plain.history["misfit"], rtol=1e-4)
    for name in WRONG:
        np.testing.assert_allclose(watched.parameters[name], plain.parameters[name], rtol=1e-4)
        np.testing.assert_allclose(jitted[name], plain.parameters[name], rtol=1e-4)


def test_a_measured_scan_whose_geometry_was_made_wrong():
    """The walnut's middle rows, 3 pixels and 1 degree off, end where the published geometry leads, and close to it."""
    scan = jaxct.io.open_scan(jaxct.io.WALNUT)
    views = np.asarray(scan.line_integrals().values, np.float32)[::3]
    projections = views.reshape(-1, 32, 4, 32, 4).mean((2, 4))
    grid = jaxct.VolumeGrid((40, 32, 32), voxel_size=4 * scan.grid.voxel_size)

    def geometry_of(error):
        offset, tilt = error
        beam = jaxct.ConeBeam(
            scan.geometry.angles[::3],
            source_origin_distance=scan.geometry.source_origin_distance,
            source_detector_distance=scan.geometry.source_detector_distance,
            detector_shape=(32, 32),
            pixel_size=4 * scan.geometry.pixel_size,
            detector_offset=jnp.stack([jnp.zeros(()), offset * scan.geometry.pixel_size[1]]),
        )
        return poses.turn_detector(beam, jnp.stack([jnp.deg2rad(tilt), jnp.zeros(()), jnp.zeros(())]))

    ends = [
        calibration.calibrate(geometry_of, jnp.array(start), projections, grid, num_iters=5, volume_iters=6).parameters
        for start in ([3.0, 1.0], [0.0, 0.0])
    ]
    np.testing.assert_allclose(ends[0], ends[1], atol=0.01)
    np.testing.assert_array_less(np.abs(ends[0]), [0.05, 0.02])


def test_what_does_not_fit_is_refused(sinogram):
    with pytest.raises(ValueError, match=r"projections must have the geometry's shape \(40, 44\), got \(40, 43\)"):
        calibration.calibrate(fan, WRONG, sinogram[:, 1:], GRID)
    with pytest.raises(ValueError, match="model must be one of 'joseph', 'separable_footprint', got 'siddon'"):
        calibration.calibrate(fan, WRONG, sinogram, GRID, model="siddon")
    with pytest.raises(TypeError, match=r"parameters must be floats, got int32 at parameters\['distance'\]"):
        calibration.calibrate(fan, {**WRONG, "distance": 60}, sinogram, GRID)
    with pytest.raises(TypeError, match="geometry_of must return a jaxct geometry, got dict"):
        calibration.misfit(WRONG, lambda parameters: parameters, sinogram, GRID)
