"""Volumes on disk, with the grid they live on: NIfTI, TIFF, HDF5, NumPy."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike

from jaxct.geometry import VolumeGrid
from jaxct.io._require import require

_NIFTI_MM = {"unknown": 1.0, "meter": 1000.0, "mm": 1.0, "micron": 0.001}


class Volume(NamedTuple):
    """Values ``[z, y, x]`` (or ``[y, x]``) and their grid; None where the file does not say."""

    values: np.ndarray
    grid: VolumeGrid | None


def save_volume(path: str | os.PathLike, volume: ArrayLike, grid: VolumeGrid, *, description: str = "") -> None:
    """Write a volume; the name's ending chooses the format. The file appears under its name only once it is complete.

    - ``.nii``, ``.nii.gz``: NIfTI-1 in mm; data axes (x, y, z), world coordinates those of jaxct.
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
    partial = path.with_name(f"{path.name[: -len(ending)]}.part{path.name[-len(ending) :]}")
    try:
        write(partial, _storable(values), grid, description)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load_volume(path: str | os.PathLike) -> Volume:
    """Read what :func:`save_volume` wrote, or a NIfTI volume from elsewhere.

    NIfTI axes are reordered and flipped to (z, y, x), each increasing; an oblique orientation is refused. Its lengths
    are turned into mm, and taken for mm where the file does not name their unit.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: for an unknown ending, or an oblique volume.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
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


_FORMATS = {
    (".nii", ".nii.gz"): (_write_nifti, _read_nifti),
    (".tif", ".tiff"): (_write_tiff, _read_tiff),
    (".h5", ".hdf5"): (_write_hdf5, _read_hdf5),
    (".npy",): (_write_npy, _read_npy),
}
