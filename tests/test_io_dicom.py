"""DICOM series become volumes: slices in order, rescaled one by one, in the world of NIfTI."""

import numpy as np
import pytest

from jaxct.io import load_dicom, load_volume

pydicom = pytest.importorskip("pydicom")
from pydicom.dataset import FileDataset, FileMetaDataset  # noqa: E402
from pydicom.uid import ExplicitVRLittleEndian, generate_uid  # noqa: E402

ROWS, COLS, SLICES = 3, 4, 5
PET = "1.2.840.10008.5.1.4.1.1.128"
SERIES = generate_uid()
# Stored integers [slice, row, column], and each slice's own factor.
STORED = np.arange(SLICES * ROWS * COLS, dtype=np.uint16).reshape(SLICES, ROWS, COLS)
SLOPES = np.array([0.5, 1.0, 2.0, 0.25, 4.0])


def write_slice(path, pixels, position, slope=1.0, **changes):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = PET, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    values = {
        "SOPClassUID": PET,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "Modality": "PT",
        "SeriesInstanceUID": SERIES,
        "SeriesDescription": "thorax",
        "Units": "BQML",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "PixelSpacing": [2.0, 1.5],
        "SliceThickness": 3.0,
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": list(position),
        "RescaleSlope": slope,
        "RescaleIntercept": -1.0,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "PixelData": pixels.astype("<u2").tobytes(),
        **changes,
    }
    for name, value in values.items():
        if value is not None:
            setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)


def write_series(folder, order=range(SLICES), **changes):
    """Transverse slices, 3 mm apart, towards the head; named in the given order."""
    folder.mkdir(exist_ok=True)
    for name, k in enumerate(order):
        write_slice(folder / f"{name}.dcm", STORED[k], (-10.0, 20.0, -30.0 + 3 * k), SLOPES[k], **changes)
    return folder


def expected():
    """x and y of DICOM run to the left and the back: both are reversed."""
    return (STORED * SLOPES[:, None, None] - 1)[:, ::-1, ::-1].astype(np.float32)


@pytest.mark.parametrize("order", [range(SLICES), (3, 0, 4, 1, 2), range(SLICES)[::-1]])
def test_slices_are_ordered_by_position_and_rescaled_one_by_one(tmp_path, order):
    series = load_dicom(write_series(tmp_path / "s", order))
    np.testing.assert_array_equal(series.values, expected())
    assert series.values.dtype == np.float32
    assert (series.units, series.modality, series.description) == ("BQML", "PT", "thorax")


def test_voxels_lie_where_the_slices_say(tmp_path):
    grid = load_dicom(write_series(tmp_path / "s")).grid
    z, y, x = (np.asarray(c) for c in grid.coordinates())
    np.testing.assert_allclose(z, -30 + 3.0 * np.arange(SLICES), rtol=1e-6)
    # DICOM's first row at y = 20 and column at x = -10, to the back and the left, are the last here.
    np.testing.assert_allclose(y, -20 - 2.0 * np.arange(ROWS)[::-1], rtol=1e-6)
    np.testing.assert_allclose(x, 10 - 1.5 * np.arange(COLS)[::-1], rtol=1e-6)


def test_a_series_and_its_conversion_to_nifti_agree(tmp_path):
    """The affine of NIfTI for these slices, written down from the two standards."""
    nibabel = pytest.importorskip("nibabel")
    values, grid = load_volume(write_series(tmp_path / "s"))
    data = (STORED * SLOPES[:, None, None] - 1).astype(np.float32)
    affine = np.array([[-1.5, 0, 0, 10], [0, -2.0, 0, -20], [0, 0, 3.0, -30], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(data.T, affine), tmp_path / "v.nii")
    again = load_volume(tmp_path / "v.nii")
    np.testing.assert_array_equal(again.values, values)
    np.testing.assert_allclose(again.grid.center, grid.center, rtol=1e-5)
    np.testing.assert_allclose(again.grid.voxel_size, grid.voxel_size, rtol=1e-6)


def test_sagittal_slices_are_turned(tmp_path):
    """Rows run to the back, columns to the feet, slices to the left."""
    folder = tmp_path / "s"
    folder.mkdir()
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 100, (ROWS, COLS, SLICES))  # jaxct's [z, y, x]
    for k in range(SLICES):
        pixels = truth[::-1, ::-1, SLICES - 1 - k]
        write_slice(
            folder / f"{k}.dcm", pixels, (3.0 * k, 5.0, 40.0), ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
            RescaleIntercept=0,
        )  # fmt: skip
    series = load_dicom(folder)
    np.testing.assert_array_equal(series.values, truth)
    np.testing.assert_allclose(series.grid.voxel_size, [2.0, 1.5, 3.0], rtol=1e-6)
    z, y, x = (np.asarray(c) for c in series.grid.coordinates())
    np.testing.assert_allclose((z[-1], y[-1], x[-1]), (40, -5, 0), atol=1e-5)


def test_a_file_stands_for_its_series_and_others_are_passed_over(tmp_path):
    folder = write_series(tmp_path / "s")
    (folder / "README.txt").write_text("not an image")
    write_slice(folder / "other.dcm", STORED[0], (0, 0, 0), SeriesInstanceUID=generate_uid(), SeriesDescription="ct")
    np.testing.assert_array_equal(load_volume(folder / "3.dcm").values, expected())
    with pytest.raises(ValueError, match=r"2 series \(ct, thorax\)"):
        load_dicom(folder)


def test_one_slice_has_its_own_thickness(tmp_path):
    write_slice(tmp_path / "a.dcm", STORED[1], (0, 0, 7.0))
    values, grid = load_volume(tmp_path / "a.dcm")
    assert values.shape == (1, ROWS, COLS)
    np.testing.assert_allclose((grid.voxel_size[0], grid.center[0]), (3, 7))


def test_ct_is_in_hounsfield_units_where_it_does_not_say(tmp_path):
    series = load_dicom(write_series(tmp_path / "s", Modality="CT", Units=None))
    assert (series.units, series.modality) == ("HU", "CT")


def test_a_missing_slice_and_frames_at_one_place_are_refused(tmp_path):
    with pytest.raises(ValueError, match="3 to 6 mm apart"):
        load_dicom(write_series(tmp_path / "gap", (0, 1, 3, 4)))
    with pytest.raises(ValueError, match="several slices at one place"):
        load_dicom(write_series(tmp_path / "twice", (0, 1, 1, 2)))


def test_slices_that_do_not_fit_are_refused(tmp_path):
    folder = write_series(tmp_path / "size")
    write_slice(folder / "4.dcm", np.zeros((2, 2), np.uint16), (-10.0, 20.0, -18.0))
    with pytest.raises(ValueError, match="Rows: not the same"):
        load_dicom(folder)
    oblique = [0.8, 0.6, 0, -0.6, 0.8, 0]
    with pytest.raises(ValueError, match="oblique"):
        load_dicom(write_series(tmp_path / "oblique", ImageOrientationPatient=oblique))
    with pytest.raises(ValueError, match="multi-frame"):
        load_dicom(write_series(tmp_path / "frames", NumberOfFrames=2))
    write_slice(tmp_path / "a.dcm", STORED[0], (0, 0, 0), PixelSpacing=None)
    with pytest.raises(ValueError, match=r"a\.dcm: not a slice .* PixelSpacing missing"):
        load_dicom(tmp_path / "a.dcm")


def test_folders_without_slices_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        load_dicom(tmp_path / "nothing")
    (tmp_path / "a.txt").write_text("no image")
    with pytest.raises(FileNotFoundError, match="no slice"):
        load_volume(tmp_path)
