"""The study of PET by networks and without: it runs, goes on where it was stopped, and measures what it says."""

import importlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
METHODS = ("osem", "kem", "unet")

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed")
    for name in ("nilearn", "nibabel", "scipy", "matplotlib")
]


@pytest.fixture(scope="module")
def study():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("pet_study")


@pytest.fixture(scope="module")
def networks(study):
    return importlib.import_module("_pet_study_networks")


@pytest.fixture(scope="module")
def folder(study, tmp_path_factory):
    output = tmp_path_factory.mktemp("study")
    assert study.main(["--size", "tiny", "--methods", *METHODS, "--output", str(output)]) == 0
    return output


@pytest.fixture(scope="module")
def made(study, folder):
    settings = study.SIZES["tiny"]
    phantom = study.load_phantom(settings, folder / "phantom.npz")
    return study.Study(study.make_system(settings), phantom, folder)


def results(folder):
    return {path.name: path.stat().st_mtime_ns for path in (folder / "results").iterdir()}


def test_every_method_has_a_curve(folder):
    assert sorted(results(folder)) == sorted(f"{name}-{r:03d}.npz" for name in METHODS for r in range(2))
    record = json.loads((folder / "curves.json").read_text())
    assert list(record["curves"]) == list(METHODS)
    for curve in record["curves"].values():
        assert curve["realisations"] == 2
        assert len(curve["values"]) == len(curve["gray"]) == len(curve["spheres"]) == len(curve["std"]) == 2
        assert all(0 < x < 1 for x in curve["gray"] + curve["std"])
    osem = record["curves"]["osem"]
    assert osem["values"] == [0.0, 12.0]
    for quantity in ("gray", "spheres", "std"):  # a filter takes away noise, and contrast
        assert osem[quantity][1] < osem[quantity][0]
    kem = record["curves"]["kem"]
    assert kem["gray"][1] > kem["gray"][0]
    assert abs(record["facts"]["parameters"]["unet"] / record["facts"]["parameters"]["mapem_net"] - 1) < 0.2
    assert all((folder / f"{name}.png").stat().st_size > 10_000 for name in ("curves", "images"))


def test_what_is_there_is_not_done_again(study, folder, capsys):
    before = results(folder)
    arguments = ["--size", "tiny", "--methods", *METHODS, "--output", str(folder)]
    assert study.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "realisation 0" not in printed
    assert "OSEM + filter" in printed
    assert results(folder) == before
    lost = folder / "results" / "kem-001.npz"
    with np.load(lost) as stored:
        means = stored["means"]
    lost.unlink()
    assert study.main(arguments) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines() if " s" in line[-3:]] == [
        "kem realisation 1"
    ]
    with np.load(lost) as stored:
        np.testing.assert_array_equal(stored["means"], means)


def test_a_report_runs_nothing(study, folder, capsys):
    before = results(folder)
    assert study.main(["--report", "--std", "0.05", "--output", str(folder)]) == 0
    assert "spheres 5.0 %" in capsys.readouterr().out
    assert results(folder) == before


def test_other_settings_are_refused(study, folder, tmp_path, capsys):
    for arguments in (["--size", "small", "--output", str(folder)], ["--report", "--output", str(tmp_path)]):
        with pytest.raises(SystemExit, match="2"):
            study.main(arguments)
    printed = capsys.readouterr().err
    assert "size tiny, now small" in printed
    assert "has no results" in printed
    stored = json.loads((folder / "settings.json").read_text())
    (tmp_path / "settings.json").write_text(json.dumps(stored | {"counts": 7.0}))
    with pytest.raises(ValueError, match=r"counts 7.0, now 200000.0\): take another folder"):
        study.settle(tmp_path, "tiny")


def test_the_truth_recovers_all_contrast(study, made):
    regions = made.phantom.regions
    assert len(regions) == 1 + 12 + 18
    means = np.asarray(study.region_means(made.phantom.truth, regions))
    noise = 1 + 0.1 * np.array([-1.0, 1.0])[:, None, None]
    curve = study.report._curve([0.0], noise * means, np.ones(2), made.phantom)
    assert (*curve.gray, *curve.spheres) == pytest.approx((1, 1), abs=1e-5)
    assert curve.std == pytest.approx([0.1 * np.sqrt(2)])


def test_curves_are_compared_at_equal_noise(study):
    curve = study.report.Curve([1, 2, 3], [0.2, 0.6, 0.5], [0, 0, 0], [0.02, 0.04, 0.03], 2, 1.0)
    assert study.report.at_std(curve, "gray", 0.025) == pytest.approx(0.3)
    assert study.report.at_std(curve, "gray", 0.035) == pytest.approx(0.55)  # crossed twice
    assert np.isnan(study.report.at_std(curve, "gray", 0.05))


def test_realisations_have_the_counts_and_differ(made):
    first, second = made.scan(0), made.scan(1)
    assert float(first.data.sum()) == pytest.approx(made.settings.counts, rel=0.02)
    assert float(first.background) * first.data.size == pytest.approx(0.3 * made.settings.counts, rel=1e-3)
    assert (np.asarray(first.data) != np.asarray(second.data)).any()


def test_networks_are_trained_on_other_anatomies(made):
    first, again, second = made.sample(0), made.samples.pop(0) and made.sample(0), made.sample(1)
    np.testing.assert_array_equal(first.truth, again.truth)
    np.testing.assert_array_equal(first.data, again.data)
    truth = made.phantom.truth
    relative = [image / image.mean() * truth.mean() for image in (first.truth, second.truth)]
    for image, other in ((relative[0], relative[1]), (relative[0], truth), (relative[1], truth)):
        assert np.abs(image - other).mean() > 0.1 * truth.mean()


def test_training_goes_on_in_the_same_bits(networks, made, tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "KEEP_EVERY", 2)
    whole = made.network("unet")
    steps = iter(range(3))

    def interrupted(number):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return made.sample(number)

    path = tmp_path / "unet.npz"
    with pytest.raises(KeyboardInterrupt):
        networks.train("unet", made.settings, made.system.P, interrupted, path)
    with np.load(path) as stored:
        assert len(stored["losses"]) == 2
    resumed = networks.train("unet", made.settings, made.system.P, made.sample, path)
    np.testing.assert_array_equal(resumed.losses, whole.losses)
    assert resumed.losses[-1] != resumed.losses[0]
