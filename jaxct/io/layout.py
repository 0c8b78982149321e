"""jaxct's own scan file: self-describing HDF5, in jaxct's conventions. ``docs/scan-format.md`` describes it."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from jaxct.geometry import ConeBeam, ConeVectors, FanBeam, Geometry, ParallelBeam, ParallelVectors, VolumeGrid
from jaxct.geometry._fields import leaf_ranks
from jaxct.io._require import require
from jaxct.io.lazy import LazyArray
from jaxct.io.scan import Scan

FORMAT = "jaxct-scan"
VERSION = 1

_GEOMETRIES = {cls.__name__: cls for cls in (ParallelBeam, FanBeam, ConeBeam, ParallelVectors, ConeVectors)}
_UNITS = {"angles": "rad", "direction": "1"}  # everything else is a length
_TEXTS = ("title", "licence", "attribution", "source")
_QUANTITIES = {
    "counts": "detector reading",
    "transmission": "I/I0",
    "line_integrals": "-log(I/I0)",
}


def save_scan(path: str | os.PathLike, scan: Scan, *, compress: bool = True) -> None:
    """Write a scan as one HDF5 file that describes itself.

    Projections, flats and darks keep their dtype (float16 and integers are fine). The file appears under its name only
    once it is complete.

    Args:
        path: where to write; an existing file is replaced.
        scan: what to write. Batched geometries cannot be written.
        compress: gzip with byte shuffling, lossless.
    """
    h5py = require("h5py", "io")
    path = Path(path)
    partial = path.with_name(f"{path.name}.part")
    try:
        with h5py.File(partial, "w") as file:
            _write(file, scan, compress)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_layout(path: Path, views: Any = None) -> Scan:
    """Read what :func:`save_scan` wrote.

    Raises:
        ValueError: for a version newer than this jaxct knows, or entries that are missing.
    """
    with require("h5py", "io").File(path, "r") as file:
        version = int(file.attrs["version"])
        if version > VERSION:
            raise ValueError(f"{path}: jaxct-scan version {version}; this jaxct reads up to {VERSION}")
        geometry = _read_geometry(file["geometry"])
        grid = file.get("grid")
        return Scan(
            projections=LazyArray(path, "projections", views=views),
            geometry=geometry if views is None else geometry[views],
            state=_text(file.attrs["state"]),
            flats=file["flats"][()] if "flats" in file else None,
            darks=file["darks"][()] if "darks" in file else None,
            grid=None if grid is None else VolumeGrid(**{k: grid[k][()] for k in ("shape", "voxel_size", "center")}),
            notes=tuple(map(_text, file.attrs.get("notes", ()))),
            **{name: _text(file.attrs.get(name, "")) for name in _TEXTS},
        )


def is_layout(file: Any) -> bool:
    """Whether an open HDF5 file is one of these."""
    return _text(file.attrs.get("format", "")) == FORMAT


def _write(file: Any, scan: Scan, compress: bool) -> None:
    h5py = require("h5py", "io")
    file.attrs["format"] = FORMAT
    file.attrs["version"] = VERSION
    file.attrs["state"] = scan.state
    for name in _TEXTS:
        file.attrs[name] = getattr(scan, name)
    if scan.notes:
        file.attrs.create("notes", list(scan.notes), dtype=h5py.string_dtype())
    options = {"compression": "gzip", "shuffle": True} if compress else {}
    for name in ("projections", "flats", "darks"):
        frames = getattr(scan, name)
        if frames is not None:
            _write_frames(file, name, np.asarray(frames), scan, options)
    _write_geometry(file.create_group("geometry"), scan.geometry)
    if scan.grid is not None:
        group = file.create_group("grid")
        group["shape"] = scan.grid.shape
        for name in ("voxel_size", "center"):
            _write_length(group, name, getattr(scan.grid, name))


def _write_frames(file: Any, name: str, values: np.ndarray, scan: Scan, options: dict) -> None:
    rank = scan.geometry.ndim
    values = values.reshape(-1, *values.shape[-rank + 1 :])
    dataset = file.create_dataset(name, data=values, chunks=(1, *values.shape[1:]), **options)
    first = "view" if name == "projections" else "frame"
    dataset.attrs["axes"] = ",".join([first, "row", "col"] if rank == 3 else [first, "col"])
    dataset.attrs["quantity"] = _QUANTITIES[scan.state]


def _write_geometry(group: Any, geometry: Geometry) -> None:
    group.attrs["type"] = type(geometry).__name__
    group.attrs["detector_shape"] = geometry.detector_shape
    if hasattr(geometry, "detector"):
        group.attrs["detector"] = geometry.detector
    for name in leaf_ranks(geometry):
        value = getattr(geometry, name)
        if value is not None:
            _write_length(group, name, value)


def _write_length(group: Any, name: str, value: Any) -> None:
    group[name] = np.asarray(value)
    group[name].attrs["units"] = _UNITS.get(name, "mm")


def _read_geometry(group: Any) -> Geometry:
    kind = _text(group.attrs["type"])
    if kind not in _GEOMETRIES:
        raise ValueError(f"geometry: unknown type {kind!r}; known are {', '.join(_GEOMETRIES)}")
    values = {name: group[name][()] for name in group}
    values["detector_shape"] = tuple(int(n) for n in group.attrs["detector_shape"])
    if "detector" in group.attrs:
        values["detector"] = _text(group.attrs["detector"])
    if "Vectors" in kind:
        values.setdefault("row_axis", None)
    return _GEOMETRIES[kind](**values)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
