"""The command line: what it writes, and one clear line with exit code 2 for what it cannot do."""

import dataclasses
import re
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from jaxct import ConeBeam, FanBeam, ParallelBeam, VolumeGrid
from jaxct.cli import INTERRUPTED, USER_ERROR, main, run
from jaxct.io import WALNUT, Scan, load_volume, open_scan, save_scan
from jaxct.reconstruct import cgls, fbp

pytest.importorskip("typer")


@pytest.fixture
def disk(tmp_path):
    """A fan-beam scan of a disk of radius 8 mm and attenuation 0.05/mm, its axis 2 pixels off."""
    geometry = FanBeam(
        np.arange(60) * 2 * np.pi / 60,
        source_origin_distance=100.0,
        source_detector_distance=200.0,
        detector_shape=(48,),
        pixel_size=1.0,
    )
    u = np.arange(48) - 47 / 2 + 2.0
    # Off the axis, so that the axis can be seen; positions along (sin a, cos a) in (y, x).
    angles, gamma = np.asarray(geometry.angles)[:, None], np.arctan(u / 200)
    distance = 100 * np.sin(gamma) - (3 * np.cos(angles - gamma) + 1 * np.sin(angles - gamma))
    values = 0.05 * 2 * np.sqrt(np.maximum(8.0**2 - distance**2, 0))
    path = tmp_path / "disk.h5"
    save_scan(path, Scan(values.astype(np.float32), geometry, title="a disk", attribution="nobody", licence="CC0-1.0"))
    return path


def fails(capsys, *args):
    """The one line that a wrong call leaves on stderr."""
    assert run([str(a) for a in args]) == USER_ERROR
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("jaxct: error: ")
    return captured.err


def test_reconstruct_with_the_axis_found(disk, tmp_path, capsys):
    output = tmp_path / "disk.nii.gz"
    picture = tmp_path / "disk.png"
    arguments = ["reconstruct", disk, "-o", output, "--axis-offset", "auto", "--picture", picture]
    assert run([str(a) for a in arguments]) == 0
    image, grid = load_volume(output)
    y, x = np.meshgrid(*map(np.asarray, grid.coordinates()), indexing="ij")
    inside = (x - 3) ** 2 + (y - 1) ** 2 < 6**2
    assert image[inside].mean() == pytest.approx(0.05, rel=0.01)
    assert picture.read_bytes().startswith(b"\x89PNG")
    captured = capsys.readouterr()
    column = re.search(r"rotation axis at column ([\d.]+)", captured.err)
    assert float(column.group(1)) == pytest.approx(21.5, abs=0.1)
    assert captured.out == ""


def test_reconstruct_passes_its_options_on(disk, tmp_path):
    output = tmp_path / "image.h5"
    options = "--voxel-size 0.7 --shape 20,30 --window hann --cutoff 0.8 --views 0::2 --axis-offset 2 --quiet"
    assert run(["reconstruct", str(disk), "-o", str(output), *options.split()]) == 0
    image, grid = load_volume(output)
    scan = open_scan(disk, views=slice(0, None, 2))
    geometry = FanBeam(
        scan.geometry.angles,
        source_origin_distance=100.0,
        source_detector_distance=200.0,
        detector_shape=(48,),
        pixel_size=1.0,
        detector_offset=2.0,
    )
    expected = fbp(
        scan.line_integrals().values, geometry, VolumeGrid((20, 30), voxel_size=0.7), window="hann", cutoff=0.8
    )
    assert grid.shape == (20, 30)
    np.testing.assert_allclose(image, expected, atol=1e-7)


@pytest.mark.parametrize(
    ("method", "iters"),
    [
        ("cgls", 15),
        ("sirt", 60),
        ("lsqr", 15),
        ("lsmr", 20),
        ("landweber", 60),
        ("sart", 3),
        ("os-sart", 6),
        ("tv", 99),
        ("spdhg", 20),
        ("admm-tv", 30),
        ("dip", 99),
    ],
)
def test_reconstruct_iteratively(disk, tmp_path, capsys, method, iters):
    output = tmp_path / "disk.npy"
    options = f"--method {method} --iters {iters} --axis-offset 2 --voxel-size 1.0"
    assert run(["reconstruct", str(disk), "-o", str(output), *options.split()]) == 0
    image = np.load(output)
    assert image[10:15, 12:17].mean() == pytest.approx(0.05, rel=0.03)
    shown = capsys.readouterr().err
    assert f"{method.upper()}, {iters} iterations" in shown
    assert f"{iters}/{iters}" in shown


def test_settings_reach_the_method(disk, tmp_path):
    """Each changes the image as the algorithm called by hand does."""
    from jaxct import Projector, reconstruct

    scan = open_scan(disk)
    data, grid = scan.line_integrals().values, VolumeGrid((20, 24), voxel_size=1.0)
    A = Projector(scan.geometry, grid)  # noqa: N806
    weight = 0.02 * reconstruct.constant_tv_weight(A, data)
    wanted = {
        "cgls --damping 3": reconstruct.cgls(A, data, num_iters=5, damping=3.0),
        "sirt --relaxation 1.5 --non-negative": reconstruct.sirt(A, data, num_iters=5, relaxation=1.5, lower=0.0),
        "os-sart --subsets 4": reconstruct.os_sart(A, data, num_iters=5, num_subsets=4),
        "tv --tv-weight 0.02": reconstruct.pdhg(A, data, num_iters=5, tv_weight=weight),
    }
    for options, result in wanted.items():
        output = tmp_path / "x.npy"
        arguments = f"--iters 5 --voxel-size 1 --shape 20,24 -q --method {options}".split()
        assert run(["reconstruct", str(disk), "-o", str(output), *arguments]) == 0
        np.testing.assert_allclose(np.load(output), result.volume, rtol=1e-4, atol=1e-6, err_msg=options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--method cgls --tv-weight 1e-3", "--tv-weight: for tv"),
        ("--method tv --damping 1", "--damping: for cgls, lsqr, lsmr, not for tv"),
        ("--method fbp --tolerance 1e-3", "not for fbp"),
        ("--checkpoint folder", "--checkpoint: for cgls"),
        ("--method sirt --subsets 4", "--subsets: for os-sart"),
        ("--method os-sart --subsets 1000", "num_subsets must be at most the number of views, 60"),
        ("--method sirt --relaxation 2.5", "relaxation must be above 0 and below 2"),
    ],
)
def test_an_option_that_the_method_does_not_take_is_refused(disk, tmp_path, capsys, options, message):
    assert message in fails(capsys, "reconstruct", disk, "-o", tmp_path / "x.npy", "-q", *options.split())


def test_a_tolerance_stops_early(disk, tmp_path, capsys):
    output = tmp_path / "x.npy"
    arguments = ["--method", "cgls", "--iters", "200", "--tolerance", "0.02", "--voxel-size", "1"]
    assert run(["reconstruct", str(disk), "-o", str(output), *arguments]) == 0
    assert re.search(r"stopped after \d{1,2} iterations, which change little", capsys.readouterr().err)
    assert np.load(output)[10:15, 12:17].mean() == pytest.approx(0.05, rel=0.05)


def test_quiet_says_nothing(disk, tmp_path, capsys):
    assert run(["reconstruct", str(disk), "-o", str(tmp_path / "x.npy"), "--method", "cgls", "--iters", "1", "-q"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_counts_with_a_background_region(tmp_path):
    geometry = ParallelBeam(np.arange(30) * np.pi / 30, detector_shape=(3, 32))
    chord = 2 * np.sqrt(np.maximum(8.0**2 - (np.arange(32) - 15.5) ** 2, 0))
    counts = np.broadcast_to(1000 * np.exp(-0.05 * chord), geometry.projection_shape)
    drift = np.linspace(0.5, 2, 30)[:, None, None]
    save_scan(tmp_path / "x.h5", Scan(counts * drift, geometry, "counts"))
    arguments = ["reconstruct", tmp_path / "x.h5", "-o", tmp_path / "x.npy", "--background", "0:3,0:5"]
    assert run([str(a) for a in arguments]) == 0
    assert np.load(tmp_path / "x.npy")[:, 12:20, 12:20].mean() == pytest.approx(0.05, rel=0.02)


def test_info(disk, capsys):
    assert run(["info", str(disk)]) == 0
    text = capsys.readouterr().out
    for part in ("a disk", "60 x 48 float32 (line_integrals)", "FanBeam, flat", "354.00", "200 mm", "nobody", "CC0"):
        assert part in text


def test_info_of_the_bundled_walnut(capsys):
    assert run(["info", str(WALNUT)]) == 0
    text = capsys.readouterr().out
    for part in ("CC-BY-4.0", "Meaney", "120 x 128 x 128 float16", "553.74", "magnification             2.629"):
        assert part in text


def test_help_and_version(capsys):
    for arguments in ([], ["--help"], ["reconstruct", "--help"], ["demo", "--help"]):
        assert run(arguments) == 0
        assert "Usage: jaxct" in capsys.readouterr().out
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.strip()[0].isdigit()


def test_main_exits_with_the_code(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["info", "nothing.h5"])
    assert stop.value.code == USER_ERROR
    assert "nothing.h5" in capsys.readouterr().err


def test_module_is_the_same_command():
    done = subprocess.run([sys.executable, "-m", "jaxct", "info", "nothing.h5"], capture_output=True, text=True)
    assert done.returncode == USER_ERROR
    assert done.stderr == "jaxct: error: no such file: nothing.h5\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "magic"], "--method"),
        (["--method", "fdk"], "fbp"),
        (["--shape", "10"], "--shape"),
        (["--shape", "a,b"], "--shape"),
        (["--shape", "0,4"], "--shape"),
        (["--voxel-size", "-1"], "--voxel-size"),
        (["--voxel-size", "big"], "--voxel-size"),
        (["--iters", "0", "--method", "cgls"], "--iters"),
        (["--window", "square"], "window"),
        (["--window", "hann", "--method", "cgls"], "--window"),
        (["--window", "hann", "--method", "sirt"], "not for sirt"),
        (["--cutoff", "2"], "cutoff"),
        (["--axis-offset", "left"], "--axis-offset"),
        (["--views", "all"], "--views"),
        (["--views", "90:95"], "views"),
        (["--views", "0:10"], "angle"),
        (["--background", "0:3,0:3"], "--background"),
        (["--model", "magic", "--method", "cgls"], "model"),
        (["--picture", "x.doc"], "--picture"),
        (["--colour"], "--colour"),
    ],
)
def test_wrong_options(disk, tmp_path, capsys, options, message):
    assert message in fails(capsys, "reconstruct", disk, "-o", tmp_path / "x.npy", "-q", *options)
    assert not (tmp_path / "x.npy").exists()


def test_wrong_files(disk, tmp_path, capsys):
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["weather"] = 1.0
    (tmp_path / "broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n\0\0\0\0")
    for name in ("other.h5", "broken.h5", "missing.h5"):
        assert name in fails(capsys, "info", tmp_path / name)
        assert name in fails(capsys, "reconstruct", tmp_path / name, "-o", tmp_path / "x.npy")
    assert "x.foo" in fails(capsys, "reconstruct", disk, "-o", tmp_path / "x.foo")
    assert "folder" in fails(capsys, "reconstruct", disk, "-o", tmp_path / "none" / "x.npy")
    assert "overwrite" in fails(capsys, "reconstruct", disk, "-o", disk)
    assert open_scan(disk).title == "a disk"
    assert "output" in fails(capsys, "reconstruct", disk)
    assert "SCAN" in fails(capsys, "reconstruct")
    assert "recon" in fails(capsys, "recon")


def test_interrupt_keeps_the_iterations_done(disk, tmp_path, monkeypatch):
    """Ctrl-C arrives while the second step's record is being shown."""
    from jaxct.cli.methods import METHODS

    def interrupted_cgls(operator, data, *, num_iters, progress, **loop):
        def callback(iteration, state, record):
            if iteration == 2:
                raise KeyboardInterrupt

        return cgls(operator, data, num_iters=num_iters, callback=callback)

    monkeypatch.setitem(METHODS, "cgls", dataclasses.replace(METHODS["cgls"], solve=interrupted_cgls))
    output = tmp_path / "x.npy"
    assert run(["reconstruct", str(disk), "-o", str(output), "--method", "cgls", "-q"]) == INTERRUPTED
    assert np.load(output).max() > 0


def test_a_real_interrupt_leaves_the_image_and_a_checkpoint(disk, tmp_path):
    """SIGINT to the command itself, once iterations are being done; the same command then goes on from there."""
    output, kept = tmp_path / "x.npy", tmp_path / "run"
    arguments = ["reconstruct", disk, "-o", output, "-q", "--method", "tv", "--voxel-size", "1", "--checkpoint", kept]
    program = "from jaxct.cli import main; main()"
    command = [sys.executable, "-c", program, *map(str, arguments), "--iters", "1000000"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (kept / "10").exists():
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == INTERRUPTED, errors
    image = np.load(output)
    assert np.isfinite(image).all()
    assert image.max() > 0.03
    assert max(int(step.name) for step in kept.iterdir() if step.name.isdigit()) >= 10


def test_interrupt_before_there_is_an_image(disk, tmp_path, monkeypatch):
    from jaxct.cli import reconstruct as command

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "fbp", interrupted)
    assert run(["reconstruct", str(disk), "-o", str(tmp_path / "x.npy"), "-q"]) == INTERRUPTED
    assert not (tmp_path / "x.npy").exists()


def test_demo_writes_pictures_and_volumes(tmp_path, monkeypatch, capsys):
    """On a coarse stand-in, so that it takes a second: the real walnut is reconstructed in its own test."""
    scan = open_scan(WALNUT, views=slice(None, None, 10))
    geometry = ConeBeam(
        scan.geometry.angles,
        source_origin_distance=scan.geometry.source_origin_distance,
        source_detector_distance=scan.geometry.source_detector_distance,
        detector_shape=(16, 16),
        pixel_size=6.4,
    )
    coarse = np.asarray(scan.projections, np.float32).reshape(12, 16, 8, 16, 8).mean((2, 4))
    save_scan(tmp_path / "walnut.h5", scan.replace(projections=coarse, geometry=geometry, grid=None))
    monkeypatch.setattr("jaxct.io.WALNUT", tmp_path / "walnut.h5")
    assert run(["demo", "-o", str(tmp_path / "out"), "--iters", "2"]) == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["walnut.png", "walnut_cgls.nii.gz", "walnut_fdk.nii.gz"]
    fdk, grid = load_volume(tmp_path / "out" / "walnut_fdk.nii.gz")
    assert fdk.shape == grid.shape == (16, 16, 16)
    assert 0.02 < fdk[8, 8].max() < 0.08
    assert "FDK" in capsys.readouterr().err


def test_interrupted_demo_writes_what_is_done(tmp_path, monkeypatch):
    from jaxct.cli import demo
    from jaxct.reconstruct import Result

    def interrupted_cgls(operator, data, *, num_iters, progress):
        return Result(np.zeros(operator.in_shape), {"residual_norm": np.zeros(0)})

    monkeypatch.setattr(demo, "fdk", lambda projections, geometry, grid, **options: np.ones(grid.shape))
    monkeypatch.setattr(demo, "cgls", interrupted_cgls)
    assert run(["demo", "-o", str(tmp_path), "-q"]) == INTERRUPTED
    assert sorted(path.name for path in tmp_path.iterdir()) == ["walnut.png", "walnut_fdk.nii.gz"]


def test_a_missing_typer_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "typer", None)
    monkeypatch.delitem(sys.modules, "jaxct.cli.app", raising=False)
    assert run([]) == USER_ERROR
    assert "pip install 'jaxct[cli]'" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "value"), [("--window", "han"), ("--model", "jospeh"), ("--model", "voxel_driven")])
def test_a_choice_is_checked_before_anything_is_read(disk, tmp_path, capsys, option, value):
    message = fails(capsys, "reconstruct", disk, "-o", tmp_path / "out.npy", option, value)
    assert f"{option}: expected one of" in message
    assert repr(value) in message


def test_limited_angle(disk, tmp_path, capsys):
    output = tmp_path / "out.npy"
    arc = ["reconstruct", str(disk), "-o", str(output), "--views", "0:20"]
    assert run(arc) == USER_ERROR
    assert "--limited-angle" in capsys.readouterr().err
    assert run([*arc, "--limited-angle"]) == 0
    assert np.isfinite(np.load(output)).all()
    assert " voxels of " in capsys.readouterr().err
