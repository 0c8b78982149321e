"""Transmission scans of an ECAT EXACT with their blank scan, as MATLAB files with an ASPIRE system description."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxct.geometry import ParallelBeam
from jaxct.io._require import require

_MM_PER_CM = 10.0


class TransmissionScan(NamedTuple):
    """Counts with and without the object, ``(views, bins)`` float32 each, and the parallel beam they were taken in.

    ``-log(transmission / blank)`` are line integrals of the attenuation at 511 keV;
    ``reconstruct.mltr(Projector(geometry, grid), transmission, blank=blank, ...)`` takes the counts as they are.
    """

    transmission: np.ndarray
    blank: np.ndarray
    geometry: ParallelBeam


def read_transmission(
    transmission: str | os.PathLike, blank: str | os.PathLike, description: str | os.PathLike | None = None
) -> TransmissionScan:
    """Read a transmission scan, its blank scan, and the description of the system.

    The two ``.mat`` files (up to version 7) hold one matrix each, bins x views. The description is a text of names and
    values: ``nb`` and ``na`` (bins and views), ``ray_spacing`` (cm), ``orbit`` and ``orbit_start`` (degrees),
    ``offset_even`` or ``offset_odd`` (for even or odd ``nb``: bins from the detector's middle to the rotation axis),
    ``flip_y``. With b = (nb - 1)/2 + offset the axis lies at bin b, and view k at ``orbit_start + k * orbit / na``.
    ``flip_y`` of -1 says that the scan's y axis points down; jaxct's points up, so these angles change their sign.

    Args:
        transmission: the scan with the object.
        blank: the scan without it.
        description: the ``.dsc`` file; None takes the only one beside ``transmission``.

    Raises:
        FileNotFoundError: where a file is missing, or there is not exactly one description to take.
        ValueError: for values that are missing or not numbers, files without exactly one matrix, matrices that do not
            fit the description, or counts that are negative or not finite.
    """
    about = _Description(Path(transmission).parent if description is None else Path(description))
    bins, views = about.integer("nb"), about.integer("na")
    start, orbit = about.number("orbit_start"), about.number("orbit")
    pitch = _MM_PER_CM * about.number("ray_spacing")
    offset = about.number("offset_odd" if bins % 2 else "offset_even")
    angles = np.deg2rad(start + np.arange(views) * orbit / views)
    geometry = ParallelBeam(
        -angles if about.number("flip_y", 1.0) < 0 else angles,
        detector_shape=(bins,),
        pixel_size=pitch,
        detector_offset=-offset * pitch,
    )
    counts, open_counts = (_read_matrix(Path(path), (bins, views)).T for path in (transmission, blank))
    return TransmissionScan(np.ascontiguousarray(counts), np.ascontiguousarray(open_counts), geometry)


class _Description:
    """Names and values of a ``.dsc`` file: ``name value  # remark`` a line."""

    def __init__(self, path: Path):
        if path.is_dir():
            found = sorted(path.glob("*.dsc"))
            if len(found) != 1:
                names = ", ".join(f.name for f in found) or "none"
                raise FileNotFoundError(f"{path}: expected one .dsc file beside the scan, found {names}; name it")
            path = found[0]
        self._path = path
        lines = (line.split("#")[0].split() for line in path.read_text().splitlines())
        self._values = {words[0]: words[1] for words in lines if len(words) > 1}

    def number(self, name: str, default: float | None = None) -> float:
        text = self._values.get(name)
        if text is None and default is not None:
            return default
        try:
            value = float(text or "")
        except ValueError:
            value = np.nan
        if not np.isfinite(value):
            raise ValueError(f"{self._path}: {name}: expected a number, got {repr(text) if text else 'nothing'}")
        return value

    def integer(self, name: str) -> int:
        value = self.number(name)
        if value < 1 or value != int(value):
            raise ValueError(f"{self._path}: {name}: expected a positive integer, got {value:g}")
        return int(value)


def _read_matrix(path: Path, shape: tuple[int, int]) -> np.ndarray:
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        content = require("scipy.io", "io").loadmat(path)
    except Exception as error:  # SciPy meets broken files with errors of many kinds
        raise ValueError(f"{path}: cannot be read as a MATLAB file: {error}") from error
    matrices = {k: v for k, v in content.items() if not k.startswith("__") and isinstance(v, np.ndarray)}
    if len(matrices) != 1:
        raise ValueError(f"{path}: expected one matrix, found {', '.join(matrices) or 'none'}")
    (name, values), *_ = matrices.items()
    if values.shape != shape:
        raise ValueError(f"{path}: {name} has shape {values.shape}; the description wants (bins, views) = {shape}")
    values = values.astype(np.float32)
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise ValueError(f"{path}: {name} has counts that are negative or not finite")
    return values
