"""APS Data Exchange HDF5, as synchrotron beamlines write it.

F. De Carlo et al., "Scientific data exchange: a schema for HDF5-based storage of raw and analyzed data", J. Synchrotron
Rad. 21 (2014) 1224-1230.
"""

from pathlib import Path
from typing import Any

import numpy as np

from jaxct.geometry import ParallelBeam
from jaxct.io._require import require
from jaxct.io.lazy import LazyArray
from jaxct.io.scan import Scan

_DETECTOR = "measurement/instrument/detector"
_MM = {"m": 1e3, "cm": 10.0, "mm": 1.0, "um": 1e-3, "micron": 1e-3, "microns": 1e-3, "\u00b5m": 1e-3, "nm": 1e-6}


def is_data_exchange(file: Any) -> bool:
    """Whether an open HDF5 file has the groups of Data Exchange."""
    return "exchange/data" in file


def read_data_exchange(path: Path, views: Any = None) -> Scan:
    """Counts with flats (``data_white``) and darks (``data_dark``) of a parallel beam; ``theta`` is in degrees.

    Images are stored with row 0 at the top: rows are reversed, to run towards +z. Where the file gives no detector
    pixel size, lengths are in pixels (pixel size 1), and a note of the scan says so. The rotation axis is assumed at
    the middle of the detector: :func:`jaxct.io.find_axis_offset` finds it.

    Raises:
        ValueError: where ``theta`` is missing or does not fit the data.
    """
    with require("h5py", "io").File(path, "r") as file:
        shape = file["exchange/data"].shape
        angles = _angles(file, shape, path)
        pixel_size, note = _pixel_size(file)
        flats, darks = _frames(file, "exchange/data_white"), _frames(file, "exchange/data_dark")
        title = " ".join(filter(None, (_text(file, "measurement/sample/name"), _text(file, "exchange/title"))))
    geometry = ParallelBeam(angles, detector_shape=shape[1:], pixel_size=pixel_size)
    return Scan(
        projections=LazyArray(path, "exchange/data", views=views, flip_rows=True),
        geometry=geometry if views is None else geometry[views],
        state="counts",
        flats=flats,
        darks=darks,
        title=title,
        notes=(note, "rows reversed to run towards +z", "rotation axis assumed at the detector's middle"),
    )


def _angles(file: Any, shape: tuple[int, ...], path: Path) -> np.ndarray:
    if "exchange/theta" not in file:
        raise ValueError(f"{path}: exchange/theta is missing, so the view angles are unknown")
    theta = file["exchange/theta"]
    if len(shape) != 3 or theta.shape != shape[:1]:
        raise ValueError(f"{path}: exchange/theta of shape {theta.shape} does not fit exchange/data of shape {shape}")
    units = theta.attrs.get("units", "degrees")
    radians = str(units.decode() if isinstance(units, bytes) else units).lower().startswith("rad")
    return theta[()] if radians else np.deg2rad(theta[()])


def _pixel_size(file: Any) -> tuple[tuple[float, float], str]:
    sizes = []
    for axis in ("y", "x"):
        name = f"{_DETECTOR}/{axis}_pixel_size"
        if name not in file:
            return (1.0, 1.0), "no pixel size in the file: taken as 1, so that lengths are in pixels"
        units = file[name].attrs.get("units", "m")
        units = str(units.decode() if isinstance(units, bytes) else units).lower()
        if units not in _MM:
            return (1.0, 1.0), f"pixel size in unknown units {units!r}: taken as 1, so that lengths are in pixels"
        sizes.append(float(np.ravel(file[name][()])[0]) * _MM[units])
    return (sizes[0], sizes[1]), "pixel size as the file gives it for the detector; lenses before it are not considered"


def _frames(file: Any, name: str) -> np.ndarray | None:
    if name not in file:
        return None
    frames = file[name][()]
    frames = frames[None] if frames.ndim == 2 else frames
    return frames[:, ::-1] if len(frames) else None


def _text(file: Any, name: str) -> str:
    if name not in file:
        return ""
    value = np.ravel(file[name][()])[0]
    return value.decode() if isinstance(value, bytes) else str(value)
