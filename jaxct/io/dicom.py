"""DICOM series of slices: PET, and CT for its attenuation (DICOM PS3.3, C.7.6.2 Image Plane, C.8.9 PET Image)."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxct.geometry import VolumeGrid
from jaxct.io._require import require

# Direction cosines and positions are written with a few decimals.
_AXIS_TOLERANCE = 1e-3
_SPACING_TOLERANCE = 1e-2
_NEEDED = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")


class DicomSeries(NamedTuple):
    """A series as one volume.

    Attributes:
        values: ``[z, y, x]`` float32, rescaled slice by slice.
        grid: where the voxels lie, in NIfTI's world: x towards the patient's left of DICOM and y towards its back are
            reversed, so that x runs to the right, y to the front, z to the head.
        units: of the values, as the series says: ``"BQML"``, ``"CNTS"``, ``"HU"`` ...; empty where it does not.
        modality: ``"PT"``, ``"CT"`` ...
        description: of the series.
    """

    values: np.ndarray
    grid: VolumeGrid
    units: str
    modality: str
    description: str


def load_dicom(path: str | os.PathLike) -> DicomSeries:
    """Read a series of single-frame slices, ordered by their position along the normal of the slices.

    Each slice has its own ``RescaleSlope`` and ``RescaleIntercept``. Axes are reordered and flipped to (z, y, x), each
    increasing.

    Args:
        path: a folder that holds one series (files of other kinds in it are passed over), or one file of a series,
            which is read with the others of that series beside it.

    Raises:
        ImportError: without pydicom.
        FileNotFoundError: where there is no such path, or no slice in it.
        ValueError: for a folder of several series, multi-frame files, slices that differ in shape or orientation,
            lie twice at one place (several frames or gates) or leave a gap, or axes oblique to the patient's.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    slices = _one_series(path)
    for name in ("Rows", "Columns", "ImageOrientationPatient", "PixelSpacing"):
        if len({str(getattr(s, name)) for s in slices}) > 1:
            raise ValueError(f"{path}: {name}: not the same in all slices of the series")
    along, across = np.asarray(slices[0].ImageOrientationPatient, np.float64).reshape(2, 3)
    normal = np.cross(along, across)
    corners = np.asarray([s.ImagePositionPatient for s in slices], np.float64)
    order = np.argsort(corners @ normal, kind="stable")
    slices, corners = [slices[k] for k in order], corners[order]
    row_pitch, col_pitch = (float(v) for v in slices[0].PixelSpacing)
    steps = np.stack([_slice_step(path, slices, corners, normal), row_pitch * across, col_pitch * along])
    values = np.stack([_rescaled(s) for s in slices])
    values, grid = _to_world(path, values, steps, corners[0])
    first = slices[0]
    units = getattr(first, "Units", "") or getattr(first, "RescaleType", "") or ("HU" if first.Modality == "CT" else "")
    description = str(getattr(first, "SeriesDescription", ""))
    return DicomSeries(values, grid, str(units), str(first.Modality), description)


def _one_series(path: Path) -> list[Any]:
    """The slices in a folder, or those of the file's series beside it."""
    pydicom = require("pydicom", "io")
    folder, slices = (path, []) if path.is_dir() else (path.parent, [])
    for file in sorted(f for f in folder.iterdir() if f.is_file()):
        try:
            dataset = pydicom.dcmread(file, defer_size="1 KB")
        except pydicom.errors.InvalidDicomError:
            continue
        if all(name in dataset for name in _NEEDED) and "PixelData" in dataset:
            slices.append(dataset)
        elif file == path or _frames(dataset) > 1:
            missing = ", ".join(name for name in (*_NEEDED, "PixelData") if name not in dataset)
            raise ValueError(f"{file}: not a slice of a single-frame series: {missing} missing")
    if not path.is_dir():
        wanted = [s.SeriesInstanceUID for s in slices if Path(s.filename) == path]
        slices = [s for s in slices if s.SeriesInstanceUID in wanted]
    if not slices:
        raise FileNotFoundError(f"{path}: no slice of a DICOM series")
    series = {s.SeriesInstanceUID: str(getattr(s, "SeriesDescription", "")) or Path(s.filename).name for s in slices}
    if len(series) > 1:
        names = ", ".join(sorted(series.values()))
        raise ValueError(f"{path}: {len(series)} series ({names}); name a file of the one that is meant")
    return slices


def _frames(dataset: Any) -> int:
    return int(getattr(dataset, "NumberOfFrames", None) or 1)


def _slice_step(path: Path, slices: list[Any], corners: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """The vector from slice to slice."""
    if len(slices) == 1:
        return normal * float(getattr(slices[0], "SliceThickness", None) or 1.0)
    steps = np.diff(corners, axis=0)
    distances = steps @ normal
    step = np.median(steps, axis=0)
    pitch = float(step @ normal)
    if distances.min() < _SPACING_TOLERANCE * distances.max():
        raise ValueError(f"{path}: ImagePositionPatient: several slices at one place (frames or gates of one series)")
    if np.abs(distances - pitch).max() > _SPACING_TOLERANCE * pitch:
        raise ValueError(
            f"{path}: ImagePositionPatient: slices are {distances.min():.4g} to {distances.max():.4g} mm apart: "
            "one is missing, or they are not evenly spaced"
        )
    return (corners[-1] - corners[0]) / (len(slices) - 1)


def _rescaled(dataset: Any) -> np.ndarray:
    if _frames(dataset) > 1:
        raise ValueError(f"{dataset.filename}: NumberOfFrames: multi-frame files are not read, only series of slices")
    slope, intercept = (float(getattr(dataset, f"Rescale{k}", d)) for k, d in (("Slope", 1), ("Intercept", 0)))
    return (dataset.pixel_array * slope + intercept).astype(np.float32)


def _to_world(path: Path, values: np.ndarray, steps: np.ndarray, corner: np.ndarray) -> tuple[np.ndarray, VolumeGrid]:
    """Axes in the order (z, y, x), each increasing; ``steps`` are DICOM's (x, y, z) for one step along each axis."""
    steps, corner = steps * (-1, -1, 1), corner * (-1, -1, 1)
    lengths = np.linalg.norm(steps, axis=1)
    world = np.abs(steps).argmax(axis=1)
    largest = steps[np.arange(3), world]
    if sorted(world) != [0, 1, 2] or (np.abs(steps).sum(axis=1) - np.abs(largest) > _AXIS_TOLERANCE * lengths).any():
        raise ValueError(
            f"{path}: ImageOrientationPatient, ImagePositionPatient: axes are oblique to the patient's, "
            "which a VolumeGrid cannot describe"
        )
    order = np.argsort(world)[::-1]
    values, largest = values.transpose(order), largest[order]
    center = corner[::-1] + (np.array(values.shape) - 1) / 2 * largest
    flips = tuple(slice(None, None, -1 if step < 0 else 1) for step in largest)
    grid = VolumeGrid(values.shape, voxel_size=np.abs(largest), center=center)
    return np.ascontiguousarray(values[flips]), grid
