"""``jaxct pet histogram``: list mode into sinograms."""

import dataclasses
from pathlib import Path

from jaxct import io
from jaxct.cli._pet_randoms import expected_randoms
from jaxct.cli._pet_scan import ListModeChoice, count_events, list_mode_layout
from jaxct.cli.report import Report
from jaxct.pet.sinograms import SinogramLayout


def histogram(
    scan: Path, output: Path, randoms: Path | None, scanner: str, choice: ListModeChoice, *, quiet: bool
) -> int:
    """Count prompts, and the mean of the randoms; write both. Returns the exit code."""
    report = Report(quiet)
    for option, path in (("--output", output), ("--randoms", randoms)):
        if path is not None and path.suffix.lower() != ".hs":
            raise ValueError(f"{option}: expected a name that ends in .hs, got {path.name!r}")
        if path is not None and not path.parent.is_dir():
            raise ValueError(f"{option}: no such folder: {path.parent}")
    if io.pet_file_kind(scan) != "list_mode":
        raise ValueError(f"{scan}: expected list mode of Siemens, or its header")
    layout, planes = list_mode_layout(scan, scanner, choice)
    with report.stage(f"count {scan.name}"):
        prompts, delayeds = count_events(scan, planes, choice.frame)
    report.line(f"{layout.scanner.name}, {' x '.join(map(str, layout.shape))} bins of span {layout.span}")
    report.line(f"{prompts.sum(dtype=float):.0f} prompts, {delayeds.sum(dtype=float):.0f} delayeds")
    header = sinogram_header(layout, choice)
    with report.stage(f"write {output.name}"):
        io.save_sinograms(output, prompts, header)
    if randoms is not None:
        if not delayeds.any():
            raise ValueError("--randoms: there are no delayeds")
        with report.stage(f"randoms to {randoms.name}"):
            io.save_sinograms(randoms, expected_randoms(delayeds, layout), header)
    report.total()
    return 0


def sinogram_header(layout: SinogramLayout, choice: ListModeChoice) -> io.SinogramHeader:
    """What Interfile says of a sinogram of this layout."""
    scanner = layout.scanner
    start, end = choice.frame or (0.0, 0.0)
    found = io.SinogramHeader(
        layout.num_views,
        layout.num_bins,
        tuple(s.num_planes for s in layout.segments),
        tuple(s.min_difference for s in layout.segments),
        tuple(s.max_difference for s in layout.segments),
        num_rings=scanner.num_rings,
        num_detectors=scanner.num_crystals,
        ring_radius=scanner.effective_radius,
        ring_spacing=float(scanner.rings[-1] - scanner.rings[0]) / max(scanner.num_rings - 1, 1),
        view_offset=scanner.first_angle,
        start_time=start,
        duration=end - start,
        scanner=scanner.name,
    )
    defaults = scanner.sinogram_defaults
    return found if defaults is None else dataclasses.replace(found, bin_size=defaults.bin_size)
