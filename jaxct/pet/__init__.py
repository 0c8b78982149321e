"""Positron emission tomography: lines of response, scanners, sinograms, physics, phantoms, simulation and metrics."""

from jaxct.geometry.lors import TOF, ListMode, LORs, SinogramLORs
from jaxct.pet import metrics, phantoms, physics, scanners, scatter, simulate
from jaxct.pet.scanners import GridReport, Scanner, Timing
from jaxct.pet.sinograms import (
    Rebinning,
    Segment,
    SinogramLayout,
    arc_correction,
    axial_compression,
    single_slice_rebinning,
    tof_mashing,
    view_mashing,
)

__all__ = [
    "TOF",
    "GridReport",
    "LORs",
    "ListMode",
    "Rebinning",
    "Scanner",
    "Segment",
    "SinogramLORs",
    "SinogramLayout",
    "Timing",
    "arc_correction",
    "axial_compression",
    "metrics",
    "phantoms",
    "physics",
    "scanners",
    "scatter",
    "simulate",
    "single_slice_rebinning",
    "tof_mashing",
    "view_mashing",
]
