"""The examples with simulated scans keep what they promise, at a smaller size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from jaxct import filters
from tests.examples import example, small_picture

pytest.importorskip("matplotlib")


def test_a_short_scan_needs_its_weights(tmp_path):
    script = example("short_scan")
    setup = script.make_setup(48)
    short, full = setup.beam(100, 200.0), setup.beam(180, 360.0)
    assert 180 + script.fan_degrees(short) < 200
    truth, projections = setup.phantom.rasterize(setup.grid), setup.phantom.project(short)
    volumes = {
        "none": script.fdk(projections, short, setup.grid, script.alike(short)),
        "Parker": script.fdk(projections, short, setup.grid, script.parker(short)),
        "full": script.fdk(setup.phantom.project(full), full, setup.grid, script.alike(full)),
    }
    errors = {name: script.errors(volume, truth, setup.grid) for name, volume in volumes.items()}
    for kind in ("RMSE of the brain", "in the source's plane"):
        assert errors["none"][kind] > 2 * errors["Parker"][kind]
    # Where no cone angle adds to it, the short scan loses nothing to the full one.
    assert errors["Parker"]["in the source's plane"] < 1.1 * errors["full"]["in the source's plane"]
    assert errors["none"]["SSIM"] < errors["Parker"]["SSIM"] < errors["full"]["SSIM"]
    pictures = {name: np.asarray(volume) for name, volume in volumes.items()}
    assert small_picture(script.draw(pictures, setup.grid), tmp_path / "short_scan.png")


def test_the_parts_of_fdk_are_fdk():
    script = example("short_scan")
    setup = script.make_setup(24)
    beam = setup.beam(40, 200.0)
    projections = jax.random.normal(jax.random.key(0), beam.projection_shape)
    whole = jaxct.reconstruct.fdk(projections, beam, setup.grid, window="ram-lak", short_scan=True)
    parts = script.fdk(projections, beam, setup.grid, script.parker(beam))
    np.testing.assert_allclose(parts, whole, atol=1e-5 * float(jnp.abs(whole).max()))


def test_the_learned_filter_is_the_discrete_ramp(tmp_path):
    script = example("learned_filter")
    problem = script.make_problem(size=48, num_views=90)
    ramp, inside, head = filters.ramp_response(48), script.band(problem), script.held_out(48, 90)
    assert np.fft.rfftfreq(filters.filter_length(48))[inside].max() >= 0.2, "the band reaches far enough to say much"
    responses = {}
    # From |f| less is left to learn.
    for (name, start), num_iters in zip(script.starts(48).items(), (60, 120), strict=True):
        learned, _ = script.learn(script.split_loss, start, problem, num_iters)
        assert script.distance(learned, ramp, inside) < 0.01
        assert float(start[0]) == 0
        assert 0.6 * ramp[0] < learned[0] < 1.4 * ramp[0]
        assert abs(head.offset(learned)) < 0.1 * abs(head.offset(start))
        responses |= {f"{name}, start": start, f"{name}, learned": learned}
    assert script.distance(script.starts(48)["|f| Hann"], ramp, inside) > 0.2
    assert small_picture(script.draw(responses, ramp, inside, head), tmp_path / "learned_filter.png")


def test_blobs_are_projected_exactly():
    """As the projector does it, but for what its pixels and columns average."""
    script = example("learned_filter")
    with jax.enable_x64(True):
        size, points = 48, jnp.arange(48) - 23.5
        blobs = script.random_blobs(jax.random.key(1), size, num_blobs=20)
        wide = blobs._replace(widths=0 * blobs.widths + 4.0, centers=0.5 * blobs.centers)
        beam = jaxct.ParallelBeam(jnp.linspace(0, 3, 7), detector_shape=(size,))
        grid = jaxct.VolumeGrid((size, size))
        projected = jax.vmap(jaxct.Projector(beam, grid, model="joseph"))(script.image(wide, points))
        exact = jnp.moveaxis(script.project(wide, beam.angles, points), 1, 0)
        np.testing.assert_allclose(projected, exact, atol=0.01 * float(exact.max()))


def test_gradient_descent_through_the_projector_beats_fbp(tmp_path):
    script = example("beams")
    grid = script.make_grid(64)
    truth = jaxct.phantoms.shepp_logan(scale=script.SKULL).rasterize(grid)
    results = {name: script.reconstruct(beam, grid) for name, beam in script.make_beams(64).items()}
    for images in results.values():
        error = {kind: jaxct.metrics.rmse(getattr(images, kind), truth) for kind in ("fbp", "descent")}
        assert error["descent"] < 0.8 * error["fbp"]
        assert images.losses[-1] < 1e-3 * images.losses[0]
    assert small_picture(script.draw(results, grid), tmp_path / "beams.png")


def test_total_variation_gains_8_db_on_fdk_of_few_views(tmp_path):
    script = example("few_views")
    scan = script.head_scan(48)
    volumes = {name: method() for name, method in script.methods(scan, script.HEAD_WEIGHT).items()}
    psnr = {name: script.psnr(volume, scan, script.SKULL) for name, volume in volumes.items()}
    assert psnr["TV"] > psnr["FDK"] + 8
    assert psnr["TV"] > max(psnr["SIRT"], psnr["CGLS"]) + 3
    pictures = {"reference": np.asarray(scan.reference)} | {name: np.asarray(v) for name, v in volumes.items()}
    assert small_picture(script.draw({"phantom": (scan, pictures, 0.0)}), tmp_path / "few_views.png")


def test_the_walnut_of_few_views_is_a_part_of_its_scan():
    pytest.importorskip("h5py")
    script = example("few_views")
    scan = script.walnut_scan(binning=4)
    assert scan.projections.shape == scan.beam.projection_shape == (30, 32, 32)
    fdk = script.methods(scan, script.WALNUT_WEIGHT)["FDK"]()
    assert 0.01 < jaxct.metrics.nrmse(fdk, scan.reference) < 0.5
