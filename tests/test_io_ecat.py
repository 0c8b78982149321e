"""A transmission scan of an ECAT EXACT stands the right way up, and what does not fit together is refused by name."""

import numpy as np
import pytest

from jaxct import ParallelBeam, Projector, VolumeGrid
from jaxct.io import negative_log, read_transmission
from jaxct.reconstruct import fbp
from tests.data import data_path

scipy_io = pytest.importorskip("scipy.io")

BINS, VIEWS = 8, 6
DESCRIPTION = f"""# a comment
system 2
nb {BINS}
na {VIEWS}
orbit 180
orbit_start -15

offset_even 0.5
offset_odd 0
flip_y -1
ray_spacing 0.3375\t# cm
"""


def write_pair(folder, description=DESCRIPTION, shape=(BINS, VIEWS)):
    counts = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    scipy_io.savemat(folder / "trans.mat", {"test": counts})
    scipy_io.savemat(folder / "blank.mat", {"test": counts + 1})
    (folder / "system.dsc").write_text(description)
    return counts


def read(folder, **options):
    return read_transmission(folder / "trans.mat", folder / "blank.mat", **options)


def test_counts_come_as_views_by_bins(tmp_path):
    counts = write_pair(tmp_path)
    scan = read(tmp_path)
    np.testing.assert_array_equal(scan.transmission, counts.T)
    np.testing.assert_array_equal(scan.blank, counts.T + 1)
    assert scan.transmission.shape == scan.geometry.projection_shape == (VIEWS, BINS)
    assert scan.transmission.dtype == scan.blank.dtype == np.float32


def test_angles_spacing_and_centre_are_the_description_s(tmp_path):
    write_pair(tmp_path)
    geometry = read(tmp_path).geometry
    np.testing.assert_allclose(np.rad2deg(geometry.angles), 15 - np.arange(VIEWS) * 30, rtol=1e-6)
    np.testing.assert_allclose(geometry.pixel_size, 3.375, rtol=1e-6)
    columns = (np.arange(BINS) - (BINS - 1) / 2) * 3.375 + float(geometry.detector_offset[0])
    np.testing.assert_allclose(columns[BINS // 2], 0, atol=1e-6)


def test_without_flip_the_angles_keep_their_sign(tmp_path):
    write_pair(tmp_path, DESCRIPTION.replace("flip_y -1", "flip_y 1"))
    np.testing.assert_allclose(np.rad2deg(read(tmp_path).geometry.angles), np.arange(VIEWS) * 30 - 15, rtol=1e-6)


def test_a_flipped_scan_of_an_object_above_the_axis_shows_it_above(tmp_path):
    """The file's y axis points down: its line integrals of a point at y = -20 are those of one at +20 in jaxct."""
    bins, views, angles = 32, 24, np.deg2rad(-15 + np.arange(24) * 180 / 24)
    s = (np.arange(bins) - bins / 2) * 3.375
    above = -20.0
    chords = np.exp(-0.5 * ((s[None] - above * np.sin(angles)[:, None]) / 5) ** 2)
    scipy_io.savemat(tmp_path / "trans.mat", {"test": 1000 * np.exp(-chords).T})
    scipy_io.savemat(tmp_path / "blank.mat", {"test": np.full((bins, views), 1000.0)})
    text = DESCRIPTION.replace(f"nb {BINS}", f"nb {bins}").replace(f"na {VIEWS}", f"na {views}")
    (tmp_path / "system.dsc").write_text(text)
    scan = read(tmp_path)
    grid = VolumeGrid((32, 32), voxel_size=3.0)
    image = np.asarray(fbp(negative_log(scan.transmission / scan.blank).values, scan.geometry, grid, window="hann"))
    row, col = np.unravel_index(image.argmax(), image.shape)
    y, x = (np.asarray(c) for c in grid.coordinates())
    assert y[row] == pytest.approx(20, abs=3)
    assert x[col] == pytest.approx(0, abs=3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("ray_spacing 0.3375", "ray_spacing wide"), r"system\.dsc: ray_spacing: expected a number, got 'wide'"),
        (("orbit_start -15", ""), r"system\.dsc: orbit_start: expected a number, got nothing"),
        ((f"nb {BINS}", "nb 2.5"), "nb: expected a positive integer, got 2.5"),
        ((f"nb {BINS}", "nb 10"), r"trans\.mat: test has shape \(8, 6\).*\(10, 6\)"),
    ],
)
def test_a_description_that_does_not_fit_is_named(tmp_path, change, message):
    write_pair(tmp_path, DESCRIPTION.replace(*change))
    with pytest.raises(ValueError, match=message):
        read(tmp_path)


def test_missing_files_and_two_descriptions_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="found none"):
        read(tmp_path)
    write_pair(tmp_path)
    (tmp_path / "other.dsc").write_text(DESCRIPTION.replace("orbit 180", "orbit 90"))
    with pytest.raises(FileNotFoundError, match=r"other\.dsc, system\.dsc"):
        read(tmp_path)
    assert float(read(tmp_path, description=tmp_path / "other.dsc").geometry.angles[1]) == pytest.approx(0)
    (tmp_path / "blank.mat").unlink()
    with pytest.raises(FileNotFoundError, match=r"blank\.mat"):
        read(tmp_path, description=tmp_path / "other.dsc")


def test_files_without_one_matrix_of_counts_are_refused(tmp_path):
    counts = write_pair(tmp_path)
    scipy_io.savemat(tmp_path / "blank.mat", {"a": counts, "b": counts})
    with pytest.raises(ValueError, match="expected one matrix, found a, b"):
        read(tmp_path)
    scipy_io.savemat(tmp_path / "blank.mat", {"a": counts - 5})
    with pytest.raises(ValueError, match="negative"):
        read(tmp_path)
    (tmp_path / "blank.mat").write_bytes(b"no matrix at all")
    with pytest.raises(ValueError, match=r"blank\.mat: cannot be read"):
        read(tmp_path)


@pytest.fixture(scope="module")
def thorax():
    folder = data_path("pet_transmission_mirt")
    return read_transmission(folder / "phan_trans.mat", folder / "phan_blank.mat")


def test_measured_counts_sum_as_published(thorax):
    assert thorax.transmission.sum(dtype=float) == pytest.approx(920653)
    assert thorax.blank.sum(dtype=float) == pytest.approx(1757557, abs=1)
    assert isinstance(thorax.geometry, ParallelBeam)


def test_measured_thorax_has_lungs_side_by_side_over_a_spine(thorax):
    """Supine: dark lungs left and right of the middle, the spine the brightest thing, below the body's centre."""
    counts = np.maximum(thorax.transmission, 0.5)
    grid = VolumeGrid((64, 64), voxel_size=8.4375)
    image = np.asarray(fbp(-np.log(counts / thorax.blank), thorax.geometry, grid, window="hann"))
    y, x = np.meshgrid(*map(np.asarray, grid.coordinates()), indexing="ij")

    def mean(x0, y0, r):
        return image[np.hypot(x - x0, y - y0) < r].mean()

    body = image > 0.005
    assert np.median(image[image > 0.006]) == pytest.approx(0.0087, rel=0.1)
    spine = np.hypot(x - 5, y + 78) < 12
    assert image[spine].mean() > 0.0105
    assert y[body].mean() > y[spine].mean() + 50
    assert max(mean(-75, 8, 20), mean(80, 20, 20)) < 0.6 * mean(5, 10, 15)
    again = np.asarray(Projector(thorax.geometry, grid)(image.clip(0)))
    assert np.corrcoef(again.ravel(), -np.log(counts / thorax.blank).ravel())[0, 1] > 0.9
