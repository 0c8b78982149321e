"""Opening a scan, whatever its format."""

import os
from pathlib import Path
from typing import Any

from jaxct.io import data_exchange, helsinki, layout
from jaxct.io._interfile_keys import is_interfile
from jaxct.io._require import require
from jaxct.io.scan import Scan

# Asked in this order; the first that recognises the file reads it.
_HDF5_FORMATS = (
    (layout.is_layout, layout.read_layout),
    (data_exchange.is_data_exchange, data_exchange.read_data_exchange),
    (helsinki.is_mat73, helsinki.read_mat73),
    (helsinki.is_extract, helsinki.read_extract),
)
_KNOWN = "jaxct's own HDF5, APS Data Exchange HDF5, Helsinki challenge .mat"


def open_scan(path: str | os.PathLike, *, views: Any = None) -> Scan:
    """Open a measured scan; the format is recognised by content, never by the name.

    HDF5 projections stay on disk until they are indexed or turned into an array, so a scan larger than memory can be
    inspected and read in parts.

    Args:
        path: the file.
        views: which views to take, a slice or an array of integers; all if None.

    Raises:
        FileNotFoundError: where there is no such file.
        IndexError: where ``views`` selects none, or one that does not exist.
        ValueError: where it is none of the known formats, or lacks what its format promises.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    if not path.is_file():
        raise ValueError(f"{path}: not a file")
    try:
        return _read(path, views)
    except KeyError as error:
        raise ValueError(f"{path}: an entry of its format is missing: {error.args[0]}") from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error


def _read(path: Path, views: Any) -> Scan:
    if helsinki.is_mat5(path):
        return helsinki.read_mat5(path, views)
    if is_interfile(path):
        raise ValueError(
            f"{path}: an Interfile header of PET data; open_sinograms, load_volume or read_list_mode take it"
        )
    h5py = require("h5py", "io")
    if h5py.is_hdf5(path):
        with h5py.File(path, "r") as file:
            readers = [read for recognises, read in _HDF5_FORMATS if recognises(file)]
            entries = ", ".join(list(file)[:8]) or "nothing"
        if readers:
            return readers[0](path, views)
        raise ValueError(f"{path}: HDF5 with {entries}, but no scan that jaxct knows ({_KNOWN})")
    raise ValueError(f"{path}: not a scan that jaxct knows ({_KNOWN})")
