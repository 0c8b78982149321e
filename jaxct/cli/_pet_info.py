"""``jaxct pet info``: what is in a PET file, and which scanner a volume fits."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxct import io
from jaxct.cli._pet_scan import known_scanner
from jaxct.cli.reconstruct import describe_grid
from jaxct.io.petlink_header import header_beside, is_list_mode_header
from jaxct.io.volume import check_ending
from jaxct.pet import scanners

_LABEL_WIDTH = 26


def describe(path: Path) -> Iterator[str]:
    """Lines of text about a file."""
    if not path.exists():
        raise FileNotFoundError(f"FILE: no such file: {path}")
    kind = io.pet_file_kind(path) if path.is_file() else None
    rows = {"sinograms": _sinograms, "list_mode": _list_mode, "petsird": _petsird}.get(kind or "", _volume)
    for label, value in rows(path):
        for line in str(value).splitlines():
            yield f"{label:<{_LABEL_WIDTH}}{line}"
            label = ""


def _sinograms(path: Path) -> Iterator[tuple[str, str]]:
    yield "kind", "Interfile sinograms"
    header = io.SinogramHeader
    try:
        stored, header = io.open_sinograms(path)  # type: ignore[assignment]
        values = np.asarray(stored, np.float64)
        yield "values", f"{stored.dtype}, {values.min():.4g} to {values.max():.4g}, sum {values.sum():.8g}"
    except FileNotFoundError as error:
        yield "values", f"none: {error}"
        return
    yield from _header(header)  # type: ignore[arg-type]


def _header(header: io.SinogramHeader) -> Iterator[tuple[str, str]]:
    shape = " x ".join(map(str, header.shape))
    yield "shape", f"{shape} (views, planes, bins{', TOF bins' if header.num_tof_bins else ''})"
    yield "scanner", header.scanner
    found = None if header.arc_corrected else known_scanner(header)
    if found is not None:
        yield "known as", repr(found)
    if header.num_rings and header.ring_spacing:
        yield "rings", f"{header.num_rings}, {header.ring_spacing:.6g} mm apart"
    if header.num_detectors and header.ring_radius:
        yield "crystals", f"{header.num_detectors} in a ring of radius {header.ring_radius:.6g} mm"
    low, high = min(header.min_ring_difference), max(header.max_ring_difference)
    yield "segments", f"{len(header.planes_per_segment)}, ring differences {low} to {high}"
    if header.bin_size:
        kind = "equidistant (arc-corrected)" if header.arc_corrected else "in the middle"
        yield "bin size", f"{header.bin_size:.6g} mm, {kind}"
    if header.tof_sigma and header.tof_bin_width:
        yield "time of flight", f"sigma {header.tof_sigma:.4g} mm, bins of {header.tof_bin_width:.4g} mm"
    if header.duration:
        yield "duration", f"{header.duration:g} s from {header.start_time:g} s"


def _list_mode(path: Path) -> Iterator[tuple[str, str]]:
    yield "kind", "list mode of Siemens, 32 bit"
    header = io.read_list_mode_header(path) if is_list_mode_header(path) else header_beside(path)
    assert header is not None, "pet_file_kind has seen one"
    if header.data is None:
        yield "events", "none: the file that the header names is not beside it"
    else:
        prompts = delayeds = words = 0
        last = 0
        for block in io.iter_list_mode(path):
            prompts, delayeds, words = (
                prompts + block.num_prompts,
                delayeds + block.num_delayeds,
                words + block.num_words,
            )
            last = int(block.time[-1]) if len(block) else last
        yield "events", f"{prompts} prompts, {delayeds} delayeds until {last / 1000:g} s"
        if header.num_words and words < header.num_words:
            yield "note", f"the file has {words} of the {header.num_words} words that the header tells of"
    yield from _header(header.sinogram)


def _petsird(path: Path) -> Iterator[tuple[str, str]]:
    yield "kind", "PETSIRD"
    scan = io.read_petsird(path)
    scanner, events = scan.scanner, scan.events
    yield "scanner", scanner.name
    yield (
        "crystals",
        f"{len(scanner.crystals)} in {scanner.module.max() + 1} modules of {scanner.module_type.max() + 1} types",
    )
    for pair in scanner.tof_edges:
        tof = scanner.tof(*pair)
        if tof is not None:
            yield f"time of flight {pair}", f"sigma {tof.sigma:.4g} mm, {tof.num_bins} bins of {tof.bin_width:.4g} mm"
    yield "events", f"{np.count_nonzero(events.is_prompt)} prompts, {np.count_nonzero(~events.is_prompt)} delayeds"
    yield "efficiencies", "none" if scanner.efficiencies is None else "of crystals and pairs of modules"
    if scan.movements:
        yield "movements", str(len(scan.movements))


def _volume(path: Path) -> Iterator[tuple[str, str]]:
    if not path.is_dir() and path.suffix.lower() != ".dcm":
        if path.suffix.lower() == ".mat":
            yield "kind", "a MATLAB file: jaxct pet reconstruct takes transmission scans, with --blank"
            return
        check_ending(path)
    values, grid = io.load_volume(path)
    yield "kind", "a volume"
    yield "values", f"{values.dtype}, {values.min():.4g} to {values.max():.4g}, mean {values.mean():.4g}"
    if grid is None:
        yield "grid", f"not known, {' x '.join(map(str, values.shape))} voxels"
        return
    yield "grid", describe_grid(grid)
    if grid.ndim == 3:
        for report in scanners.fitting_scanners(grid):
            yield "fits" if report.fits else "does not fit", str(report)
