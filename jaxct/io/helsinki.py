"""Scans of the University of Helsinki's lab: challenge sinograms in ``.mat`` files, and walnut extracts in HDF5."""

from pathlib import Path
from typing import Any

import numpy as np

from jaxct.geometry import ConeBeam, FanBeam
from jaxct.io._require import require
from jaxct.io.lazy import LazyArray
from jaxct.io.scan import Scan

_MAT_NAMES = ("CtDataFull", "CtDataLimited")
_CHALLENGE = (
    "Meaney A., Silva de Moura F., Siltanen S. (2022). Helsinki Tomography Challenge 2022 open tomographic dataset. "
    "Zenodo, doi:10.5281/zenodo.6984868"
)


def is_mat5(path: Path) -> bool:
    """Whether a file is a MATLAB file of version 5 to 7."""
    with path.open("rb") as file:
        return file.read(19) == b"MATLAB 5.0 MAT-file"


def is_mat73(file: Any) -> bool:
    """Whether an open HDF5 file is a MATLAB 7.3 file with a challenge scan."""
    return any(name in file for name in _MAT_NAMES)


def is_extract(file: Any) -> bool:
    """Whether an open HDF5 file is an extract: projections, angles, and a geometry described in attributes."""
    return {"projections", "angles", "geometry"} <= set(file) and "sod_mm" in file["geometry"].attrs


def read_mat5(path: Path, views: Any = None) -> Scan:
    """A challenge scan, read with SciPy; see :func:`read_mat73`.

    Raises:
        ValueError: where the file has no variable CtDataFull or CtDataLimited.
    """
    content = require("scipy.io", "io").loadmat(path, squeeze_me=True, struct_as_record=False)
    for name in _MAT_NAMES:
        if name in content:
            data = content[name]
            return _challenge_scan(np.atleast_2d(data.sinogram), vars(data.parameters), views)
    found = ", ".join(key for key in content if not key.startswith("__")) or "nothing"
    raise ValueError(f"{path}: a MATLAB file, but with {found} in place of {' or '.join(_MAT_NAMES)}")


def read_mat73(path: Path, views: Any = None) -> Scan:
    """A challenge scan: the mid-plane of a cone-beam scanner as a fan beam with a flat detector, angles in degrees."""
    with require("h5py", "io").File(path, "r") as file:
        data = file[next(name for name in _MAT_NAMES if name in file)]
        values = data["parameters"]
        parameters = {name: _matlab_value(values[name]) for name in values}
        return _challenge_scan(data["sinogram"][()].T, parameters, views)


def read_extract(path: Path, views: Any = None) -> Scan:
    """Circular cone beam: rows stored towards -z are reversed; the axis is where ``u_center_px`` says."""
    with require("h5py", "io").File(path, "r") as file:
        about, scan = dict(file["geometry"].attrs), dict(file.attrs)
        shape, angles = file["projections"].shape, file["angles"][()]
    pixel = np.array([about["pixel_v_mm"], about["pixel_u_mm"]])
    middle = (np.array(shape[1:]) - 1) / 2
    center = np.array([about.get("v_center_px", middle[0]), about.get("u_center_px", middle[1])])
    geometry = ConeBeam(
        angles,
        source_origin_distance=about["sod_mm"],
        source_detector_distance=about["sdd_mm"],
        detector_shape=shape[1:],
        pixel_size=pixel,
        # Rows change direction, so the offset along them does too.
        detector_offset=((center[0] - middle[0]) * pixel[0], (middle[1] - center[1]) * pixel[1]),
    )
    notes = [str(scan[key]) for key in ("processing_upstream", "processing_here", "scanner") if key in scan]
    return Scan(
        projections=LazyArray(path, "projections", views=views, flip_rows=True),
        geometry=geometry if views is None else geometry[views],
        state="line_integrals",
        title=str(scan.get("title", "")),
        licence=str(scan.get("licence", "")),
        attribution=str(scan.get("source", "")),
        source=str(scan.get("obtained_from", "")),
        notes=(*notes, "rows reversed to run towards +z"),
    )


def _challenge_scan(sinogram: np.ndarray, parameters: dict[str, Any], views: Any) -> Scan:
    angles = np.deg2rad(np.ravel(np.asarray(parameters["angles"], float)))
    geometry = FanBeam(
        angles,
        source_origin_distance=float(parameters["distanceSourceOrigin"]),
        source_detector_distance=float(parameters["distanceSourceDetector"]),
        detector_shape=sinogram.shape[1:],
        pixel_size=float(parameters["pixelSizePost"]),
    )
    if views is not None:
        sinogram, geometry = sinogram[np.atleast_1d(np.arange(len(sinogram))[views])], geometry[views]
    return Scan(
        projections=np.ascontiguousarray(sinogram),
        geometry=geometry,
        state="line_integrals",
        title=str(parameters.get("projectName", "")).strip("_"),
        licence="CC-BY-4.0",
        attribution=_CHALLENGE,
        notes=(f"{parameters.get('scanner', '')}, {parameters.get('date', '')}".strip(", "),),
    )


def _matlab_value(dataset: Any) -> Any:
    """A scalar, an array (MATLAB's axes are the reverse of HDF5's), or text, which is stored as 16-bit characters."""
    values = dataset[()].T
    if dataset.attrs.get("MATLAB_class") == b"char":
        return "".join(map(chr, values.ravel()))
    return values.item() if values.size == 1 else values
