"""The PET examples of docs/examples keep what they promise, at a smaller size."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from jaxct import pet
from jaxct.pet import physics
from tests.data import data_path
from tests.examples import example, small_picture

pytest.importorskip("matplotlib")


def test_single_rays_alias_and_tubes_do_not(tmp_path):
    aliasing = example("pet_aliasing")
    setup = aliasing.make_setup(voxel_size=1.3, num_voxels=160)
    images, uneven = {}, {}
    for name, model, rays in aliasing.MODELS:
        A = aliasing.projector(setup, model, rays)  # noqa: N806
        images[name] = (aliasing.sensitivity(A), aliasing.cylinder_by_osem(A, setup.data, num_iters=1))
        uneven[name] = [aliasing.unevenness(image, setup.grid) for image in images[name]]
    single, two, four, tube = (np.array(uneven[name]) for name, *_ in aliasing.MODELS)
    assert single[0] > 0.02
    # Two rays a crystal lie where interleaved views have their single ones.
    assert two[0] > 0.9 * single[0]
    assert (four < 0.35 * single).all()
    assert (tube < 0.35 * single).all()
    assert small_picture(aliasing.draw(images, setup.grid), tmp_path / "pet_aliasing.png")


@pytest.fixture(scope="module")
def simulation():
    module = example("pet_simulation")
    return module, module.make_setup(span=17, mashing=16, voxel_size=6.54, counts=3e7, oversample=1)


def test_time_of_flight_gains_contrast(simulation, tmp_path):
    module, setup = simulation
    with_tof, without = setup.scans["TOF"], setup.scans["no TOF"]
    np.testing.assert_allclose(with_tof.counts.sum(-1), without.counts, rtol=1e-6)
    assert float(without.counts.sum()) == pytest.approx(3e7, rel=1e-3)
    passes = {name: module.quality_by_pass(scan, setup.grid, 2) for name, scan in setup.scans.items()}
    assert (passes["TOF"].contrast > passes["no TOF"].contrast + 3).all()
    for curve in passes.values():
        assert curve.contrast[-1, 5] == pytest.approx(90, abs=15)
        assert (curve.variability > 0).all()
    found = {"OSEM": np.array([-2.0]), "MLEM": -np.arange(9.0, 0.0, -1.0)}
    assert small_picture(module.draw(setup, passes, found), tmp_path / "pet_simulation.png")


def test_a_pass_of_subsets_is_as_good_as_so_many_iterations(simulation):
    module, setup = simulation
    found = module.likelihoods(setup.scans["no TOF"], setup.grid, 2)
    for number, value in enumerate(found["OSEM"], 1):
        distance = found["MLEM"][-1] - found["MLEM"][number - 1]
        assert value == pytest.approx(found["MLEM"][module.SUBSETS * number - 1], abs=0.05 * float(distance))


def test_the_head_and_the_thorax(tmp_path):
    measured = example("pet_measured")
    folder = data_path("pet_mmr_listmode/small_listmode_file.l").parents[1]
    data_path("pet_transmission_mirt/phan_trans.mat")
    head = measured.read_head(folder, span=121)
    assert head.prompts.sum() == 218_881
    assert head.randoms.sum() == pytest.approx(35_320, rel=1e-3)
    grid = measured.coarse_grid(head.layout.scanner, 15.0)
    plain = measured.reconstruct_head(head, grid, None, 1, subsets=4, fwhm=20.0)
    inside = measured.outline(plain, grid)
    litres = inside.sum() * float(jnp.prod(grid.voxel_size)) / 1e6
    assert 1.5 < litres < 4.5
    scan = measured.thorax(folder, voxel_size=6.75, num_iters=2)
    for image in scan.images.values():
        assert measured.tissue(image, scan.grid).mean() == pytest.approx(measured.WATER, rel=0.1)
    fine = jaxct.VolumeGrid((8, 20, 20), (32.5, 15.0, 15.0))
    volumes = {"one": np.ones(fine.shape), "two": np.ones(fine.shape)}
    assert small_picture(measured.draw(volumes, fine, scan), tmp_path / "pet_measured.png")


def test_randoms_of_the_example_have_the_delayeds_total():
    measured = example("pet_measured")
    scanner = pet.Scanner.cylindrical(
        num_crystals=24, radius=50.0, rings=pet.scanners.equal_rings(3, 4.0), crystal_size=(4.0, 10.0)
    )
    layout = scanner.layout()
    rates = np.random.default_rng(0).uniform(0.5, 2.0, 24)
    mean = np.asarray(physics.pair_products(np.tile(rates, (3, 1)), layout))
    delayeds = np.random.default_rng(1).poisson(mean)
    found = measured.mean_randoms(delayeds, layout)
    assert found.sum() == pytest.approx(delayeds.sum(), rel=1e-3)
    assert np.abs(found - mean).mean() < 0.3 * np.abs(delayeds - mean).mean()
