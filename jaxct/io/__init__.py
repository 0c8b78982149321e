"""Scans and volumes on disk, and what measured data need before they can be reconstructed."""

from jaxct.io.axis import axis_offset, find_axis_offset, with_axis_offset
from jaxct.io.dicom import DicomSeries, load_dicom
from jaxct.io.ecat import TransmissionScan, read_transmission
from jaxct.io.grid import suggest_grid
from jaxct.io.interfile import Sinograms, open_sinograms, save_sinograms
from jaxct.io.layout import save_scan
from jaxct.io.open import open_scan
from jaxct.io.pet_file import PetFileKind, pet_file_kind
from jaxct.io.petlink import (
    BinIndices,
    ListModeEvents,
    bin_indices,
    histogram_list_mode,
    iter_list_mode,
    iter_list_mode_frames,
    read_list_mode,
)
from jaxct.io.petlink_header import ListModeHeader, read_list_mode_header
from jaxct.io.petsird import (
    PetsirdEvents,
    PetsirdMovement,
    PetsirdScan,
    PetsirdScanner,
    PetsirdTOF,
    iter_petsird,
    read_petsird,
    read_petsird_scanner,
)
from jaxct.io.preprocess import (
    LineIntegrals,
    line_integrals,
    negative_log,
    normalize_background,
    subtract_background,
    transmission,
)
from jaxct.io.samples import WALNUT
from jaxct.io.scan import Scan
from jaxct.io.sinogram_header import SinogramHeader
from jaxct.io.volume import Volume, load_volume, save_volume

__all__ = [
    "WALNUT",
    "BinIndices",
    "DicomSeries",
    "LineIntegrals",
    "ListModeEvents",
    "ListModeHeader",
    "PetFileKind",
    "PetsirdEvents",
    "PetsirdMovement",
    "PetsirdScan",
    "PetsirdScanner",
    "PetsirdTOF",
    "Scan",
    "SinogramHeader",
    "Sinograms",
    "TransmissionScan",
    "Volume",
    "axis_offset",
    "bin_indices",
    "find_axis_offset",
    "histogram_list_mode",
    "iter_list_mode",
    "iter_list_mode_frames",
    "iter_petsird",
    "line_integrals",
    "load_dicom",
    "load_volume",
    "negative_log",
    "normalize_background",
    "open_scan",
    "open_sinograms",
    "pet_file_kind",
    "read_list_mode",
    "read_list_mode_header",
    "read_petsird",
    "read_petsird_scanner",
    "read_transmission",
    "save_scan",
    "save_sinograms",
    "save_volume",
    "subtract_background",
    "suggest_grid",
    "transmission",
    "with_axis_offset",
]
