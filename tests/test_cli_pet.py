"""The commands for PET: what they write of simulated and measured scans, and one line for what they cannot do."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from jaxct import VolumeGrid, pet
from jaxct.cli import INTERRUPTED, USER_ERROR, _pet_events, _pet_scan, _pet_solvers, run
from jaxct.cli._pet_histogram import sinogram_header
from jaxct.cli._pet_randoms import expected_randoms
from jaxct.io import load_volume, open_sinograms, read_petsird_scanner, save_sinograms, save_volume
from jaxct.operators import Diagonal, GaussianBlur, fwhm_to_sigma
from jaxct.pet import physics
from jaxct.reconstruct import osem
from tests.data import data_path

pytest.importorskip("typer")

SCANNER = pet.Scanner.cylindrical(
    name="small",
    num_crystals=48,
    radius=60.0,
    rings=pet.scanners.equal_rings(4, 5.0),
    crystal_size=(5.0, 7.0),
)
LAYOUT = pet.SinogramLayout(SCANNER, num_bins=33, span=3, max_ring_difference=3)
GRID = VolumeGrid((9, 24, 24), voxel_size=(2.5, 3.0, 3.0))
WHERE = "--voxel-size 2.5,3,3 --shape 9,24,24"
CYLINDER = 0.5 * jaxct.phantoms.Phantom(jaxct.phantoms.Cylinder((0.0, 3.0, -2.0), 22.0, 50.0))


@pytest.fixture
def small(monkeypatch):
    """The small scanner has a name, too."""
    monkeypatch.setitem(_pet_scan.PRESETS, "small", lambda: SCANNER)


@functools.cache
def projections():
    return np.asarray(CYLINDER.project(LAYOUT.lors()))


def pairs():
    """How many pairs of crystals each bin holds."""
    transaxial, axial = LAYOUT.live_pairs()
    return (transaxial[:, None] * axial[:, None]).astype(np.float32)


def save(path, values):
    save_sinograms(path, np.asarray(values, np.float32), sinogram_header(LAYOUT, _pet_scan.ListModeChoice()))
    return path


@pytest.fixture
def sinogram(tmp_path):
    return save(tmp_path / "x.hs", projections() * pairs())


def reconstruct(scan, output, options="", code=0):
    assert run(["pet", "reconstruct", str(scan), "-o", str(output), *options.split(), "-q"]) == code
    return np.load(output) if output.suffix == ".npy" else load_volume(output).values


def fails(capsys, command, *args):
    assert run(["pet", command, *(str(a) for a in args), "-q"]) == USER_ERROR
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    return captured.err


def inside(radius):
    y, x = np.meshgrid(*(np.asarray(c) for c in GRID.coordinates()[1:]), indexing="ij")
    return np.hypot(y - 3, x + 2) < radius


def activity(volume):
    """Of the middle of the cylinder, and outside of it."""
    return volume[2:-2, inside(16)].mean(), volume[2:-2, ~inside(32)].mean()


# ---- sinograms


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ("--iters 6 --subsets 4", 0.03),
        ("--method mlem --iters 25 --model multi_ray", 0.03),
        ("--method mlem --iters 25 --model distance_driven", 0.03),
        ("--method map-em --iters 25 --prior-weight 0.05", 0.03),
        ("--method bsrem --iters 10 --subsets 4 --prior relative-difference --prior-weight 0.05", 0.03),
        ("--method svrg --iters 10 --subsets 4 --prior huber --prior-weight 0.05", 0.03),
        ("--method map-em --iters 25 --prior bowsher --prior-image MR --prior-weight 0.05", 0.03),
        ("--method kem --iters 25 --prior-image MR", 0.03),
        ("--method kem --iters 6 --subsets 4 --prior-image MR", 0.03),
        ("--method dictionary --iters 25 --prior-image MR --prior-weight 0.05", 0.03),
        ("--method fbp", 0.06),
    ],
)
def test_every_method_finds_the_activity(small, sinogram, tmp_path, options, tolerance):
    if "MR" in options:
        save_volume(tmp_path / "mr.nii", 7.0 - CYLINDER.rasterize(GRID), GRID)
        options = options.replace("MR", str(tmp_path / "mr.nii"))
    if "model" in options:  # of a tube
        save(sinogram, CYLINDER.project(LAYOUT.lors(), oversample=3) * pairs())
    volume = reconstruct(sinogram, tmp_path / "x.npy", f"{WHERE} {options}")
    within, without = activity(volume)
    assert within == pytest.approx(0.5, rel=tolerance)
    assert abs(without) < 0.03


def test_fbp_keeps_what_is_negative_after_a_correction(small, tmp_path, capsys):
    """It is linear; of counts nothing is negative."""
    image = {}
    for name, offset in (("plain", 0.0), ("less", -4.0)):
        scan = save(tmp_path / f"{name}.hs", (projections() + offset) * pairs())
        image[name] = reconstruct(scan, tmp_path / "x.npy", f"{WHERE} --method fbp")
    uniform = reconstruct(save(tmp_path / "4.hs", 4.0 * pairs()), tmp_path / "x.npy", f"{WHERE} --method fbp")
    np.testing.assert_allclose(image["plain"] - image["less"], uniform, atol=1e-4)
    command = ["pet", "reconstruct", str(tmp_path / "less.hs"), "-o", str(tmp_path / "x.npy"), *WHERE.split()]
    capsys.readouterr()
    assert run([*command, "--method", "fbp"]) == 0
    assert "negative values" not in capsys.readouterr().err
    assert run([*command, "--iters", "1"]) == 0
    assert "negative values were set to 0" in capsys.readouterr().err


def test_options_reach_the_method(small, sinogram, tmp_path):
    options = "--iters 2 --subsets 3 --psf 5 --model siddon --post-filter 6"
    found = reconstruct(sinogram, tmp_path / "x.h5", f"{WHERE} {options}")
    A = jaxct.Projector(LAYOUT.lors(), GRID, model="siddon")  # noqa: N806
    A = Diagonal(pairs()) @ A @ GaussianBlur(GRID, fwhm_to_sigma(5.0))  # noqa: N806
    expected = osem(A, np.asarray(open_sinograms(sinogram).projections), num_iters=2, num_subsets=3).volume
    np.testing.assert_allclose(found, GaussianBlur(GRID, fwhm_to_sigma(6.0))(expected), rtol=1e-4, atol=1e-5)


def test_what_is_in_the_way_is_undone(small, sinogram, tmp_path):
    """Attenuation, efficiencies and randoms, of iterative methods and of FBP."""
    water = CYLINDER.rasterize(GRID) / 0.5 * 0.0096
    save_volume(tmp_path / "mu.nii.gz", water, GRID)
    lost = np.exp(-np.asarray(jaxct.forward_project(water, LAYOUT.lors(), GRID)))
    assert lost.min() < 0.75
    efficiency = np.random.default_rng(0).uniform(0.5, 1.0, LAYOUT.shape).astype(np.float32)
    randoms = np.full(LAYOUT.shape, 3.0, np.float32)
    measured = np.asarray(open_sinograms(sinogram).projections) * lost * efficiency + randoms
    scan = save(tmp_path / "lossy.hs", measured)
    save(tmp_path / "norm.hs", efficiency)
    save(tmp_path / "randoms.hs", randoms)
    options = (
        f"{WHERE} --attenuation {tmp_path / 'mu.nii.gz'} --normalisation {tmp_path / 'norm.hs'} "
        f"--randoms {tmp_path / 'randoms.hs'}"
    )
    for method, tolerance in (("--iters 6 --subsets 4", 0.03), ("--method fbp", 0.06)):
        within, without = activity(reconstruct(scan, tmp_path / "x.npy", f"{options} {method}"))
        assert within == pytest.approx(0.5, rel=tolerance)
        assert abs(without) < 0.03


def test_what_scatters_is_taken_off(small, tmp_path):
    """Twice as much of it as single scatter is: the tails tell."""
    image, water = CYLINDER.rasterize(GRID), CYLINDER.rasterize(GRID) / 0.5 * 0.0096
    save_volume(tmp_path / "mu.nii.gz", water, GRID)
    lost = np.exp(-np.asarray(jaxct.forward_project(water, LAYOUT.lors(), GRID)))
    points = pet.scatter.scatter_points(water, GRID, block=3)
    scatter = 2 * pet.scatter.scatter_sinogram(image, water, GRID, LAYOUT, points=points, spacing=(1, 5.0, 1))
    efficiency = np.random.default_rng(0).uniform(0.5, 1.0, LAYOUT.shape).astype(np.float32)
    scan = save(tmp_path / "x.hs", (projections() * lost + scatter) * pairs() * efficiency + 3.0)
    save(tmp_path / "norm.hs", efficiency)
    save(tmp_path / "randoms.hs", np.full(LAYOUT.shape, 3.0))
    options = (
        f"{WHERE} --iters 6 --subsets 4 --attenuation {tmp_path / 'mu.nii.gz'} --normalisation {tmp_path / 'norm.hs'} "
        f"--randoms {tmp_path / 'randoms.hs'}"
    )
    with_scatter, without = (
        activity(reconstruct(scan, tmp_path / "x.npy", f"{options} {more}"))[0] for more in ("", "--scatter")
    )
    assert with_scatter > 1.1 * 0.5
    assert without == pytest.approx(0.5, rel=0.03)


def test_a_prior_image_may_have_other_voxels(tmp_path):
    fine = VolumeGrid((18, 48, 48), voxel_size=(1.25, 1.5, 1.5))
    save_volume(tmp_path / "mr.nii", CYLINDER.rasterize(fine), fine)
    found = _pet_solvers.read_prior_image(tmp_path / "mr.nii", GRID)
    assert found.shape == GRID.shape
    edge = np.abs(found - CYLINDER.rasterize(GRID))
    assert edge[2:-2].max() < 0.25
    assert edge[2:-2].mean() < 0.02


def test_an_unknown_scanner_is_what_the_header_says(sinogram, tmp_path, capsys):
    header = open_sinograms(sinogram).header
    plain = CYLINDER.project(pet.SinogramLORs(header.lines(), header.planes()))
    scan = save(tmp_path / "plain.hs", plain)
    for method in ("--iters 6 --subsets 4", "--method fbp"):
        within, _ = activity(reconstruct(scan, tmp_path / "x.npy", f"{WHERE} {method}"))
        assert within == pytest.approx(0.5, rel=0.06)
    assert "--scanner" in fails(capsys, "reconstruct", scan, "-o", tmp_path / "x.npy", "--model", "multi_ray")
    save_volume(tmp_path / "mu.nii", np.full(GRID.shape, 0.0096, np.float32), GRID)
    options = ["-o", tmp_path / "x.npy", "--scatter", "--attenuation", tmp_path / "mu.nii"]
    assert "--scatter: needs crystals" in fails(capsys, "reconstruct", scan, *options)


def test_the_usual_grid_covers_the_rings(small, sinogram, tmp_path):
    run(["pet", "reconstruct", str(sinogram), "-o", str(tmp_path / "x.nii"), "--iters", "1", "-q"])
    grid = load_volume(tmp_path / "x.nii").grid
    assert SCANNER.check_grid(grid).fits
    coarse = f"--iters 1 --grid {tmp_path / 'x.nii'}"
    assert reconstruct(sinogram, tmp_path / "y.npy", coarse).shape == grid.shape
    assert reconstruct(sinogram, tmp_path / "y.npy", "--iters 1 --voxel-size 5").shape == (4, 18, 18)


def test_time_of_flight_of_a_file_is_used(tmp_path, capsys):
    """Its sigma and its bins: a centred source, seen in few views, stays together along the lines."""
    header = dataclasses.replace(
        sinogram_header(LAYOUT, _pet_scan.ListModeChoice()), num_tof_bins=5, tof_bin_width=20.0, tof_sigma=8.0
    )
    lors = pet.SinogramLORs(header.lines(), header.planes(), tof=pet.TOF(8.0, 20.0, 5))
    save_sinograms(tmp_path / "tof.hs", np.asarray(CYLINDER.project(lors), np.float32), header)
    volume = reconstruct(tmp_path / "tof.hs", tmp_path / "x.npy", f"{WHERE} --iters 4 --subsets 4")
    within, without = activity(volume)
    assert within == pytest.approx(0.5, rel=0.05)
    assert without < 0.02
    save_volume(tmp_path / "mu.nii", np.full(GRID.shape, 0.0096, np.float32), GRID)
    options = ["-o", tmp_path / "x.npy", "--scatter", "--attenuation", tmp_path / "mu.nii"]
    assert "--scatter: for sinograms without time" in fails(capsys, "reconstruct", tmp_path / "tof.hs", *options)


# ---- list mode


HEADER = """!INTERFILE:=
!originating system:=2008
name of data file:=x.l
number of rings:=4
distance between rings (cm):=0.5
gantry crystal radius (cm):=6.0
bin size (cm):=0.39
image duration (sec):=2
%LM event and tag words format (bits):=32
%timing tagwords interval (msec):=1
%axial compression:=1
%maximum ring difference:=3
%number of projections:=33
%number of views:=24
"""


@pytest.fixture
def events(small, tmp_path):
    """Prompts and delayeds of the cylinder, half of them in each of two seconds; and their span 1 counts."""
    fine = pet.SinogramLayout(SCANNER, num_bins=33, span=1, max_ring_difference=3)
    trues = np.random.default_rng(0).poisson(3 * np.asarray(CYLINDER.project(fine.lors())))
    randoms, delayeds = np.random.default_rng(1).poisson(4.0, (2, *fine.shape))

    def addresses(counts):
        view, plane, column = pet.simulate.list_events(jax.random.key(0), counts).T
        return np.asarray(column + 33 * (view + 24 * plane), np.uint32)

    words = np.concatenate([addresses(trues + randoms) | np.uint32(1 << 30), addresses(delayeds)])
    words = np.random.default_rng(2).permutation(words)
    tags = np.array([4 << 29, 4 << 29 | 1000, 4 << 29 | 2000], np.uint32)
    half = len(words) // 2
    parts = [tags[:1], words[:half], tags[1:2], words[half:], tags[2:]]
    np.concatenate(parts).astype("<u4").tofile(tmp_path / "x.l")
    (tmp_path / "x.l.hdr").write_text(HEADER)
    return tmp_path / "x.l", trues + randoms, delayeds


def test_list_mode_becomes_an_image(events, tmp_path):
    path, _, _ = events
    volume = reconstruct(path, tmp_path / "x.npy", f"{WHERE} --span 3 --randoms delayeds --iters 4 --subsets 4")
    within, without = activity(volume)
    assert within == pytest.approx(1.5, rel=0.05)
    assert without < 0.15
    with_randoms = reconstruct(path, tmp_path / "x.npy", f"{WHERE} --span 3 --iters 4 --subsets 4")
    assert activity(with_randoms)[1] > 3 * without


@pytest.mark.parametrize(("option", "shape"), [("--span 3", (24, 13, 33)), ("--single-slice", (24, 7, 33))])
def test_a_histogram_is_the_list(events, tmp_path, option, shape):
    path, prompts, delayeds = events
    output, randoms = tmp_path / "y.hs", tmp_path / "r.hs"
    assert (
        run(["pet", "histogram", str(path), "-o", str(output), "--randoms", str(randoms), *option.split(), "-q"]) == 0
    )
    counted, header = open_sinograms(output)
    assert counted.shape == shape
    assert np.asarray(counted).sum() == prompts.sum()
    assert header.scanner == "small"
    np.testing.assert_allclose(np.asarray(open_sinograms(randoms).projections).sum(), delayeds.sum(), rtol=1e-4)
    direct = reconstruct(path, tmp_path / "a.npy", f"{WHERE} {option} --randoms delayeds --iters 2")
    by_file = reconstruct(output, tmp_path / "b.npy", f"{WHERE} --randoms {randoms} --iters 2")
    np.testing.assert_allclose(direct, by_file, rtol=1e-3, atol=1e-4)


def test_frames_share_the_events(events, tmp_path):
    path, prompts, _ = events
    totals = []
    for frame in ("0:1", "1:2"):
        output = tmp_path / "y.hs"
        assert run(["pet", "histogram", str(path), "-o", str(output), "--frame", frame, "-q"]) == 0
        counted, header = open_sinograms(output)
        totals.append(np.asarray(counted).sum())
        assert header.duration == 1.0
    assert sum(totals) == prompts.sum()
    assert totals[0] == pytest.approx(prompts.sum() / 2, rel=0.02)


def test_randoms_are_less_noisy_than_delayeds():
    rates = np.random.default_rng(0).uniform(0.5, 2.0, 4)[:, None] * np.random.default_rng(1).uniform(0.5, 2.0, 48)
    mean = np.asarray(physics.pair_products(rates, LAYOUT))
    delayeds = np.random.default_rng(2).poisson(mean).astype(np.float32)
    found = expected_randoms(delayeds, LAYOUT)
    assert found.sum() == pytest.approx(delayeds.sum(), rel=1e-5)
    assert np.abs(found - mean).mean() < 0.15 * np.abs(delayeds - mean).mean()
    exact = expected_randoms(mean, LAYOUT)
    np.testing.assert_allclose(exact, mean, rtol=0.01)


# ---- PETSIRD


def with_one_time_of_flight(written):
    """Two types of modules that have it in common, and efficiencies."""
    made = written.scanner()
    edges = [[written.EDGES[0, 0]], [written.EDGES[0, 0]] * 2]
    made.tof_bin_edges = [[written.petsird.BinEdges(edges=np.asarray(e, np.float32)) for e in row] for row in edges]
    made.tof_resolution = [[58.0], [58.0, 58.0]]
    return made


@pytest.fixture
def petsird_file(tmp_path):
    pytest.importorskip("petsird")
    from tests import test_io_petsird as written

    return written.write(tmp_path / "x.petsird", with_one_time_of_flight(written), _within(written.blocks(), 6))


def _within(content, bins):
    """Times that all pairs of types have."""
    for block in content:
        for row in getattr(block.value, "prompt_events", []):
            for events in row:
                for event in events:
                    event.tof_idx %= bins
    return content


def test_petsird_has_the_sensitivity_of_all_its_pairs(petsird_file, monkeypatch):
    grid = VolumeGrid((3, 6, 6), voxel_size=(8.0, 60.0, 60.0))
    found = read_petsird_scanner(petsird_file)
    tof = pet.TOF(**found.tof()._asdict())
    total = 0.0
    for first in range(len(found.crystals)):
        for second in range(first):
            if found.module[first] == found.module[second]:
                continue
            lors = pet.LORs(found.crystals[[first]], found.crystals[[second]], tof=tof)
            worth = _pet_events._efficiencies(found, np.array([first]), np.array([second]))
            total = total + worth[0] * jaxct.back_project(jnp.ones((1, tof.num_bins)), lors, grid, model="siddon")
    all_pairs = _pet_events._sensitivity(found, tof, grid, "siddon")
    np.testing.assert_allclose(all_pairs, total, rtol=1e-4)
    monkeypatch.setattr(_pet_events, "MOST_PAIRS", 300)
    drawn = np.asarray(_pet_events._sensitivity(found, tof, grid, "siddon"))
    assert drawn.sum() == pytest.approx(float(total.sum()), rel=0.2)


def test_efficiencies_of_pairs_are_those_of_their_events(petsird_file):
    """A pair of crystals with one energy bin each has the efficiency of an event there."""
    found = read_petsird_scanner(petsird_file)
    first, second = np.array([25]), np.array([24])
    event = found.efficiencies((1, 1), np.array([[1, 0]]))
    np.testing.assert_allclose(_pet_events._efficiencies(found, first, second), event)


def test_petsird_becomes_an_image(petsird_file, tmp_path, capsys):
    where = "--voxel-size 8,60,60 --shape 3,10,10"
    volume = reconstruct(petsird_file, tmp_path / "x.npy", f"{where} --method mlem --iters 5")
    assert np.isfinite(volume).all()
    assert volume.max() > 0
    again = reconstruct(petsird_file, tmp_path / "y.npy", f"{where} --iters 5 --subsets 1")
    np.testing.assert_allclose(again, volume, rtol=1e-3, atol=1e-6)
    penalised = reconstruct(petsird_file, tmp_path / "z.npy", f"{where} --method bsrem --iters 2 --subsets 2")
    assert np.isfinite(penalised).all()
    assert penalised.max() > 0
    svrg = ["--method", "svrg"]
    assert "--method: svrg" in fails(capsys, "reconstruct", petsird_file, "-o", tmp_path / "x.npy", *svrg)


def test_modules_with_times_of_their_own_are_refused(tmp_path, capsys):
    pytest.importorskip("petsird")
    from tests import test_io_petsird as written

    made = with_one_time_of_flight(written)
    made.tof_resolution = [[58.0], [58.0, 40.0]]
    path = written.write(tmp_path / "x.petsird", made, [])
    assert "differ in time of flight" in fails(capsys, "reconstruct", path, "-o", tmp_path / "x.npy")


# ---- transmission


def test_transmission_scans_of_counts(tmp_path):
    scipy_io = pytest.importorskip("scipy.io")
    from tests.test_io_ecat import DESCRIPTION

    description = (
        DESCRIPTION.replace("nb 8", "nb 40").replace("na 6", "na 48").replace("offset_even 0.5", "offset_even 0")
    )
    (tmp_path / "system.dsc").write_text(description)
    blank = np.full((40, 48), 4000.0, np.float32)
    scipy_io.savemat(tmp_path / "blank.mat", {"test": blank})
    scipy_io.savemat(tmp_path / "trans.mat", {"test": blank})
    water = 0.0096 * jaxct.phantoms.disk(40.0)
    beam = jaxct.io.read_transmission(tmp_path / "trans.mat", tmp_path / "blank.mat").geometry
    scipy_io.savemat(tmp_path / "trans.mat", {"test": blank * np.exp(-np.asarray(water.project(beam)).T)})
    for method in ("--method fbp", "--iters 10"):
        options = f"--blank {tmp_path / 'blank.mat'} {method}"
        image = reconstruct(tmp_path / "trans.mat", tmp_path / "mu.npy", options)
        assert image.shape == (40, 40)
        assert image[15:25, 15:25].mean() == pytest.approx(0.0096, rel=0.02)


# ---- interruptions and mistakes


def test_ctrl_c_leaves_the_last_image(small, sinogram, tmp_path, monkeypatch, capsys):
    from jaxct.cli import _pet_solvers

    def stopped(*args, **options):
        def strike(iteration, *_):
            if iteration == 2:
                raise KeyboardInterrupt

        return osem(*args, callback=strike, **options)

    monkeypatch.setattr(_pet_solvers, "osem", stopped)
    output = tmp_path / "x.npy"
    arguments = ["pet", "reconstruct", str(sinogram), "-o", str(output), *WHERE.split(), "--iters", "5"]
    assert run([*arguments, "--subsets", "4"]) == INTERRUPTED
    assert "interrupted after 2 iterations" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setitem(_pet_scan.PRESETS, "small", lambda: SCANNER)
    expected = reconstruct(sinogram, tmp_path / "y.npy", f"{WHERE} --iters 2 --subsets 4")
    np.testing.assert_array_equal(np.load(output), expected)


def test_a_checkpoint_is_gone_on_from(small, sinogram, tmp_path):
    pytest.importorskip("orbax.checkpoint")
    options = f"{WHERE} --subsets 4 --checkpoint {tmp_path / 'run'}"
    reconstruct(sinogram, tmp_path / "x.npy", f"{options} --iters 2")
    onwards = reconstruct(sinogram, tmp_path / "x.npy", f"{options} --iters 4")
    whole = reconstruct(sinogram, tmp_path / "y.npy", f"{WHERE} --subsets 4 --iters 4")
    np.testing.assert_array_equal(onwards, whole)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("--method mltr", "--method"),
        ("--method emm", "--method"),
        ("--model jospeh", "--model"),
        ("--scanner nobodys", "--scanner"),
        ("--scanner siemens-mmr", "--scanner"),
        ("--method mlem --subsets 3", "--subsets"),
        ("--subsets 99", "--subsets"),
        ("--window hann", "--window"),
        ("--method fbp --iters 3", "--iters"),
        ("--method fbp --psf 3", "--psf"),
        ("--psf -3", "--psf"),
        ("--post-filter nan", "--post-filter"),
        ("--prior-weight 1", "--prior-weight"),
        ("--prior huber", "--prior"),
        ("--method bsrem --prior gibbs", "--prior"),
        ("--method map-em --prior relative-difference", "--prior"),
        ("--method kem", "--prior-image"),
        ("--method dictionary", "--prior-image"),
        ("--method bsrem --prior bowsher", "--prior-image"),
        ("--method kem --prior-image nowhere.nii", "--prior-image"),
        ("--method kem --prior-image {scan}", "--prior-image"),
        ("--method bsrem --prior-image {scan}", "--prior-image"),
        ("--method bsrem --subsets 99", "--subsets"),
        ("--scatter", "--scatter"),
        ("--voxel-size 0", "--voxel-size"),
        ("--voxel-size 1,2", "--voxel-size"),
        ("--shape 3", "--shape"),
        ("--grid nowhere.nii", "--grid"),
        ("--attenuation nowhere.nii", "--attenuation"),
        ("--randoms delayeds", "--randoms"),
        ("--randoms nowhere.hs", "--randoms"),
        ("--span 3", "--span"),
        ("--frame 0:1", "--frame"),
        ("--frame 1:0", "--frame"),
        ("--blank nowhere.mat", "--blank"),
        ("--picture x.txt", "--picture"),
    ],
)
def test_a_mistake_names_its_option(small, sinogram, tmp_path, capsys, options, named):
    options = options.format(scan=sinogram).split()
    message = fails(capsys, "reconstruct", sinogram, "-o", tmp_path / "x.npy", *options)
    assert message.startswith(f"jaxct: error: {named}")
    assert not (tmp_path / "x.npy").exists()


def test_attenuation_per_cm_is_noticed(small, sinogram, tmp_path, capsys):
    save_volume(tmp_path / "mu.nii", np.full(GRID.shape, 0.096, np.float32), GRID)
    options = ["--attenuation", tmp_path / "mu.nii"]
    assert "1/mm" in fails(capsys, "reconstruct", sinogram, "-o", tmp_path / "x.npy", *options)


def test_a_grid_beside_the_scanner_is_told(small, sinogram, tmp_path, capsys):
    save_volume(tmp_path / "far.nii", np.zeros(GRID.shape, np.float32), VolumeGrid(GRID.shape, 3.0, (0.0, 500.0, 0.0)))
    options = ["--grid", tmp_path / "far.nii"]
    assert "no voxel lies in the bore" in fails(capsys, "reconstruct", sinogram, "-o", tmp_path / "x.npy", *options)
    capsys.readouterr()
    short = ["pet", "reconstruct", str(sinogram), "-o", str(tmp_path / "x.npy"), "--shape", "3,20,20", "--iters", "1"]
    assert run(short) == 0
    assert "shorter than the rings" in capsys.readouterr().err


def test_a_file_that_is_not_there(tmp_path, capsys):
    assert "FILE: no such file" in fails(capsys, "reconstruct", tmp_path / "no.hs", "-o", tmp_path / "x.npy")
    assert run(["pet", "info", str(tmp_path / "no.hs")]) == USER_ERROR
    assert "FILE: no such file" in capsys.readouterr().err


def test_a_volume_and_other_files_are_no_scans(tmp_path, capsys):
    save_volume(tmp_path / "x.hv", np.zeros(GRID.shape, np.float32), GRID)
    assert "this is a volume" in fails(capsys, "reconstruct", tmp_path / "x.hv", "-o", tmp_path / "y.npy")
    (tmp_path / "x.txt").write_text("nothing")
    assert "none of these" in fails(capsys, "reconstruct", tmp_path / "x.txt", "-o", tmp_path / "y.npy")
    assert "no such file" in fails(capsys, "reconstruct", tmp_path / "z.hs", "-o", tmp_path / "y.npy")
    assert "expected list mode" in fails(capsys, "histogram", tmp_path / "x.hv", "-o", tmp_path / "y.hs")


# ---- info


def info(capsys, path):
    assert run(["pet", "info", str(path)]) == 0
    return capsys.readouterr().out


def test_info_tells_what_a_file_is(events, sinogram, tmp_path, capsys):
    shown = info(capsys, sinogram)
    assert "24 x 13 x 33 (views, planes, bins)" in shown
    assert "known as                  Scanner(small" in shown
    shown = info(capsys, events[0])
    assert f"{events[1].sum()} prompts, {events[2].sum()} delayeds until 1 s" in shown
    save_volume(tmp_path / "v.nii", np.zeros((127, 20, 20), np.float32), VolumeGrid((127, 20, 20), (2.03125, 4.0, 4.0)))
    shown = info(capsys, tmp_path / "v.nii")
    assert "fits                      A grid of" in shown
    assert "fits Siemens Biograph mMR" in shown


def test_info_of_petsird(petsird_file, capsys):
    shown = info(capsys, petsird_file)
    assert "26 in 6 modules of 2 types" in shown
    assert "of crystals and pairs of modules" in shown


# ---- measured scans


def test_the_measured_head(tmp_path):
    """600 ms: activity where the head is, and next to none beside it. (OSEM of it is for the example's test.)"""
    path = data_path("pet_mmr_listmode/small_listmode_file.l")
    options = "--single-slice --randoms delayeds --voxel-size 8,12,12 --method fbp --post-filter 20"
    volume = reconstruct(path, tmp_path / "head.nii.gz", options)
    z, y, x = (np.asarray(c) for c in load_volume(tmp_path / "head.nii.gz").grid.coordinates())
    middle = volume[np.abs(z) < 40].mean(0)
    head = middle[(np.abs(y + 15)[:, None] < 75) & (np.abs(x) < 55)].mean()
    beside = middle[(np.hypot(y[:, None], x) > 150) & (np.hypot(y[:, None], x) < 250)]
    assert np.abs(beside.mean()) < 0.05 * head
    assert beside.std() < 0.15 * head


def test_the_measured_thorax(tmp_path):
    scan, blank = (data_path(f"pet_transmission_mirt/phan_{name}.mat") for name in ("trans", "blank"))
    for method in ("--method fbp", "--iters 2"):
        image = reconstruct(scan, tmp_path / "mu.nii.gz", f"--blank {blank} {method} --post-filter 12")
        grid = load_volume(tmp_path / "mu.nii.gz").grid
        y, x = np.meshgrid(*(np.asarray(c) for c in grid.coordinates()), indexing="ij")
        lungs = image[(np.abs(np.abs(x) - 90) < 25) & (np.abs(y - 30) < 40)].mean()
        middle = image[(np.abs(x) < 15) & (np.abs(y - 30) < 40)].mean()
        assert middle == pytest.approx(0.0090, rel=0.15)
        assert lungs < 0.6 * middle


def test_the_sinogram_of_stir(tmp_path):
    path = data_path("pet_interfile_stir/smalllong.hs")
    volume = reconstruct(path, tmp_path / "x.hv", "--iters 2")
    assert volume.shape == (27, 75, 75)
    y, x = np.meshgrid(*(np.asarray(c) for c in load_volume(tmp_path / "x.hv").grid.coordinates()[1:]), indexing="ij")
    cylinder = volume[13][np.hypot(x - 21, y - 11) < 25]
    assert cylinder.std() < 0.1 * cylinder.mean()
