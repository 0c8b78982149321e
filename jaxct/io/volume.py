"""Volumes on disk, with the grid they live on: NIfTI, DICOM, Interfile, TIFF, HDF5, NumPy."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike

from jaxct.geometry import VolumeGrid
from jaxct.io import dicom, interfile_volume
from jaxct.io._require import require

_NIFTI_MM = {"unknown": 1.0, "meter": 1000.0, "mm": 1.0, "micron": 0.001}


class Volume(NamedTuple):
    """Values ``[z, y, x]`` (or ``[y, x]``) and their grid; None where the file does not say."""

    values: np.ndarray
    grid: VolumeGrid | None


def save_volume(path: str | os.PathLike, volume: ArrayLike, grid: VolumeGrid, *, description: str = "") -> None:
    """Write a volume; the name's ending chooses the format. The file appears under its name only once it is complete.

    - ``.nii``, ``.nii.gz``: NIfTI-1 in mm; data axes (x, y, z), world coordinates those of jaxct.
    - ``.hv``: Interfile as STIR reads it, 3-D; the values go to ``.v`` beside it.
    - ``.tif``, ``.tiff``: float32 stack of z slices, with the grid in the image description.
    - ``.h5``, ``.hdf5``: dataset ``volume`` with attributes ``voxel_size``, ``center``, ``axes``, ``units``.
    - ``.npy``: values alone.

    Args:
        path: where to write; an existing file is replaced.
        volume: shaped as ``grid``; complex values are refused, half floats become float32 where the format needs it.
        grid: where the voxels lie.
        description: one line kept in the file (NIfTI keeps 79 bytes of it).

    Raises:
        ValueError: for an unknown ending, or a volume that does not fit the grid.
        TypeError: for complex values.
    """
    path = Path(path)
    values = np.asarray(volume)
    if values.shape != grid.shape:
        raise ValueError(f"volume: shape {values.shape} does not fit the grid's {grid.shape}")
    if np.iscomplexobj(values):
        raise TypeError("volume: complex values cannot be stored")
    ending, write, _ = _format(path)
    # Writers tell the format by the ending, so "part" goes before it.
    stem, endings = path.name[: -len(ending)], (*_BESIDE.get(ending, ()), path.name[-len(ending) :])
    partials = [path.with_name(f"{stem}.part{e}") for e in endings]
    try:
        write(partials[-1], _storable(values), grid, description)
        for partial, e in zip(partials, endings, strict=True):
            partial.replace(path.with_name(f"{stem}{e}"))
    finally:
        for partial in partials:
            partial.unlink(missing_ok=True)


def load_volume(path: str | os.PathLike) -> Volume:
    """Read what :func:`save_volume` wrote, or a NIfTI, DICOM or Interfile volume from elsewhere.

    NIfTI axes are reordered and flipped to (z, y, x), each increasing; an oblique orientation is refused. Its lengths
    are turned into mm, and taken for mm where the file does not name their unit.

    A folder is read as a DICOM series, and a ``.dcm`` file with the slices of its series beside it (see
    :func:`jaxct.io.load_dicom`, which tells the unit, too): in NIfTI's world coordinates, so that a series and its
    conversion to NIfTI agree.

    Interfile (``.hv``) keeps the axes of STIR, where y points down; without a ``first pixel offset`` the middle of the
    volume lies in the scanner's middle along z, and voxel n // 2 on the axis along x and y.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: for an unknown ending, an oblique volume, or a DICOM or Interfile volume that is incomplete.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    if path.is_dir() or path.suffix.lower() == ".dcm":
        series = dicom.load_dicom(path)
        return Volume(series.values, series.grid)
    _, _, read = _format(path)
    return read(path)


def check_ending(path: str | os.PathLike) -> None:
    """Raise ValueError now, rather than after an hour's reconstruction, if :func:`save_volume` cannot write there."""
    _format(Path(path))


def _format(path: Path) -> tuple[str, Callable, Callable]:
    name = path.name.lower()
    for endings, functions in _FORMATS.items():
        for ending in endings:
            if name.endswith(ending):
                return ending, *functions
    known = ", ".join(ending for endings in _FORMATS for ending in endings)
    raise ValueError(f"{path}: no volume format ends like that (known: {known})")


def _storable(values: np.ndarray) -> np.ndarray:
    """float16, bfloat16 and the like as float32; NIfTI and TIFF know neither."""
    known = values.dtype.kind in "iub" or values.dtype in (np.float32, np.float64)
    return values.astype(np.uint8) if values.dtype == bool else values if known else values.astype(np.float32)


def _lengths(grid: VolumeGrid) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(grid.voxel_size, np.float64), np.asarray(grid.center, np.float64)


def _write_nifti(path: Path, values: np.ndarray, grid: VolumeGrid, description: str) -> None:
    nibabel = require("nibabel", "io")
    size, center = (np.asarray(v)[::-1] for v in _lengths(grid))
    axes = grid.ndim
    affine = np.eye(4)
    affine[:axes, :axes] = np.diag(size)
    affine[:axes, 3] = center - (np.array(values.shape[::-1]) - 1) / 2 * size
    if values.dtype in (np.int64, np.uint64):
        values = values.astype(np.float64)
    image = nibabel.Nifti1Image(values.T, affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = description.encode()[:79]
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    nibabel.save(image, path)


def _read_nifti(path: Path) -> Volume:
    nibabel = require("nibabel", "io")
    image = nibabel.load(path)
    if image.ndim > 3:
        raise ValueError(f"{path}: {image.ndim}-D; expected one volume")
    image = nibabel.as_closest_canonical(image) if image.ndim == 3 else image
    linear = image.affine[:3, :3]
    if not np.allclose(linear, np.diag(np.diag(linear)), atol=1e-4 * np.abs(linear).max()):
        raise ValueError(f"{path}: its axes are oblique to the world's, which a VolumeGrid cannot describe")
    axes = image.ndim
    unit = _NIFTI_MM[image.header.get_xyzt_units()[0]]
    size = unit * np.diag(linear)[:axes]
    center = unit * image.affine[:axes, 3] + (np.array(image.shape) - 1) / 2 * size
    grid = VolumeGrid(image.shape[::-1], voxel_size=size[::-1], center=center[::-1])
    return Volume(np.ascontiguousarray(np.asarray(image.dataobj).T), grid)


def _write_tiff(path: Path, values: np.ndarray, grid: VolumeGrid, description: str) -> None:
    size, center = _lengths(grid)
    about = {"axes": "ZYX"[-grid.ndim :], "voxel_size_mm": size.tolist(), "center_mm": center.tolist()}
    require("tifffile", "io").imwrite(
        path,
        values,
        photometric="minisblack",
        metadata={**about, "description": description},
        resolution=(10 / size[-1], 10 / size[-2]),
        resolutionunit="CENTIMETER",
    )


def _read_tiff(path: Path) -> Volume:
    with require("tifffile", "io").TiffFile(path) as file:
        values = file.asarray()
        try:
            about = json.loads(file.pages[0].description)
        except ValueError:
            about = {}
    if not isinstance(about, dict) or "voxel_size_mm" not in about:
        return Volume(values, None)
    # A leading axis of one slice is dropped by the reader.
    values = values.reshape(about["shape"])
    return Volume(values, VolumeGrid(values.shape, voxel_size=about["voxel_size_mm"], center=about["center_mm"]))


def _write_hdf5(path: Path, values: np.ndarray, grid: VolumeGrid, description: str) -> None:
    with require("h5py", "io").File(path, "w") as file:
        dataset = file.create_dataset("volume", data=values, compression="gzip", shuffle=True)
        size, center = _lengths(grid)
        axes = ",".join("zyx"[-grid.ndim :])
        dataset.attrs.update(
            {"voxel_size": size, "center": center, "axes": axes, "units": "mm", "description": description}
        )


def _read_hdf5(path: Path) -> Volume:
    with require("h5py", "io").File(path, "r") as file:
        if "volume" not in file:
            raise ValueError(f"{path}: no dataset named 'volume'")
        dataset = file["volume"]
        values, about = dataset[()], dict(dataset.attrs)
    if "voxel_size" not in about:
        return Volume(values, None)
    return Volume(values, VolumeGrid(values.shape, voxel_size=about["voxel_size"], center=about["center"]))


def _write_npy(path: Path, values: np.ndarray, grid: Any, description: str) -> None:
    np.save(path, values)


def _read_npy(path: Path) -> Volume:
    return Volume(np.load(path), None)


def _write_interfile(path: Path, values: np.ndarray, grid: VolumeGrid, description: str) -> None:
    stem = path.name[: -len(".hv")]
    interfile_volume.write_volume(
        path, path.with_name(f"{stem}.v"), f"{stem.removesuffix('.part')}.v", values, grid, description
    )


def _read_interfile(path: Path) -> Volume:
    return Volume(*interfile_volume.read_volume(path))


_FORMATS = {
    (".nii", ".nii.gz"): (_write_nifti, _read_nifti),
    (".tif", ".tiff"): (_write_tiff, _read_tiff),
    (".h5", ".hdf5"): (_write_hdf5, _read_hdf5),
    (".npy",): (_write_npy, _read_npy),
    (".hv",): (_write_interfile, _read_interfile),
}
# Endings of the files that a format writes beside its own.
_BESIDE = {".hv": (".v",)}
