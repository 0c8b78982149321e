"""PET files as what can be reconstructed: counts, their lines of response, what each line is worth."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxct import io
from jaxct.geometry import VolumeGrid
from jaxct.geometry.lors import TOF, LineGeometry, SinogramLORs
from jaxct.pet import scanners
from jaxct.pet.scanners import Scanner
from jaxct.pet.sinograms import SinogramLayout

PRESETS: dict[str, Callable[[], Scanner]] = {
    "ge-discovery-690": scanners.ge_discovery_690,
    "ge-discovery-mi": scanners.ge_discovery_mi,
    "siemens-mmr": scanners.siemens_mmr,
    "siemens-mct": scanners.siemens_mct,
}
# Radii of headers leave the depth of interaction out, or not.
_RADIUS_TOLERANCE = 15.0


class ListModeChoice(NamedTuple):
    """Which events of a list are counted, and in which planes; None and False where the options were not given."""

    span: int | None = None
    frame: tuple[float, float] | None = None
    single_slice: bool = False

    def given(self) -> list[str]:
        """The options that were typed."""
        return [f"--{name.replace('_', '-')}" for name, value in self._asdict().items() if value]


@dataclasses.dataclass(frozen=True, eq=False)
class Emission:
    """An emission scan.

    Attributes:
        name: of the scanner.
        data: counts, (views, planes, bins), (views, planes, bins, tof bins), or ones, (events,).
        lors: their lines.
        grid: the image's, where none is asked for.
        factors: what lines are worth, each broadcasting to the data.
        scanner: where it is known.
        layout: of the sinogram, where its bins are pairs of crystals.
        header: of the sinogram; None of events.
        delayeds: counts, of the layout's shape.
        sensitivity: of events: ``A^T 1`` of all lines of the scanner, for a grid and a model.
        notes: what is good to know.
    """

    name: str
    data: np.ndarray
    lors: LineGeometry
    grid: VolumeGrid
    factors: tuple[np.ndarray, ...] = ()
    scanner: Scanner | None = None
    layout: SinogramLayout | None = None
    header: io.SinogramHeader | None = None
    delayeds: np.ndarray | None = None
    sensitivity: Callable[[VolumeGrid, str], jax.Array] | None = None
    notes: tuple[str, ...] = ()


def parse_frame(text: str) -> tuple[float, float] | None:
    """``"0:0.3"`` in seconds; None for an empty text."""
    if not text:
        return None
    try:
        start, end = (float(part) for part in text.split(":"))
    except ValueError:
        start, end = 0.0, 0.0
    if not 0 <= start < end < np.inf:
        raise ValueError(f"--frame: expected two ascending times in seconds such as 0:0.3, got {text!r}")
    return start, end


def preset(name: str) -> Scanner | None:
    """A scanner by the name that ``--scanner`` takes; None for none."""
    if not name:
        return None
    if name not in PRESETS:
        raise ValueError(f"--scanner: expected one of {', '.join(PRESETS)}, got {name!r}")
    return PRESETS[name]()


def known_scanner(header: io.SinogramHeader) -> Scanner | None:
    """The preset that has the rings, the crystals and the radius of a header."""
    for make in PRESETS.values():
        scanner = make()
        alike = (scanner.num_rings, scanner.num_crystals) == (header.num_rings, header.num_detectors)
        if alike and abs(scanner.effective_radius - (header.ring_radius or 0)) < _RADIUS_TOLERANCE:
            return scanner
    return None


def open_emission(path: Path, scanner: str, choice: ListModeChoice) -> Emission:
    """Any file of an emission scan that :func:`jaxct.io.pet_file_kind` knows."""
    kind = io.pet_file_kind(path)
    if kind == "list_mode":
        return _list_mode(path, scanner, choice)
    if choice.given():
        raise ValueError(f"{', '.join(choice.given())}: for list mode of Siemens, which {path.name} is not")
    if kind == "sinograms":
        return _sinograms(path, scanner)
    if kind == "petsird":
        if scanner:
            raise ValueError(f"--scanner: {path.name} says itself where its crystals are")
        from jaxct.cli._pet_events import open_petsird

        return open_petsird(path)
    known = "Interfile sinograms (.hs), Siemens list mode, PETSIRD, transmission scans (.mat)"
    found = "a volume" if kind == "volume" else "none of these"
    raise ValueError(f"{path}: expected {known}; this is {found}")


def read_sinograms(path: Path, option: str) -> tuple[np.ndarray, io.SinogramHeader]:
    """A whole sinogram that an option names, as float32."""
    if io.pet_file_kind(path) != "sinograms":
        raise ValueError(f"{option}: expected Interfile sinograms, got {path}")
    stored, header = io.open_sinograms(path)
    return np.asarray(stored, np.float32), header


def read_volume(path: Path, option: str) -> tuple[np.ndarray, VolumeGrid]:
    """A volume that an option names, as float32, and where its voxels lie."""
    try:
        volume, grid = io.load_volume(path)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from error
    if grid is None:
        raise ValueError(f"{option}: {path} does not say where its voxels lie")
    return np.asarray(volume, np.float32), grid


def _sinograms(path: Path, scanner: str) -> Emission:
    data, header = read_sinograms(path, "SCAN")
    if header.arc_corrected and scanner:
        raise ValueError("--scanner: the bins are arc-corrected, and no longer those of crystals")
    chosen = None if header.arc_corrected else preset(scanner) or known_scanner(header)
    notes = ("the axes are those of the file: STIR's y points down",)
    if chosen is None:
        lors = SinogramLORs(header.lines(), header.planes(), tof=_tof(header))
        return Emission(header.scanner, data, lors, _header_grid(header), header=header, notes=notes)
    layout, planes = layout_of(header, chosen)
    if header.num_tof_bins and header.num_tof_bins != getattr(chosen.tof, "num_bins", 0):
        raise ValueError(f"--scanner: {chosen} does not have the {header.num_tof_bins} TOF bins of {path.name}")
    return Emission(
        chosen.name,
        data[:, np.argsort(planes)],
        layout.lors(tof=header.num_tof_bins > 0),
        chosen.grid(),
        factors=_factors(layout, tof=header.num_tof_bins > 0),
        scanner=chosen,
        layout=layout,
        header=header,
        notes=notes,
    )


def layout_of(header: io.SinogramHeader, scanner: Scanner) -> tuple[SinogramLayout, np.ndarray]:
    """The layout of a header's sinogram, and its planes in the order of the file.

    Raises:
        ValueError: where the scanner has no such sinogram.
    """
    if scanner.num_crystals % (2 * header.num_views):
        raise ValueError(f"--scanner: {scanner} has no sinogram of {header.num_views} views")
    low, high = header.min_ring_difference, header.max_ring_difference
    middle = max((b for a, b in zip(low, high, strict=True) if a <= 0 <= b), default=0)
    # Of GE's sinograms segment 0 holds the differences -1 to 1, as with a span of 3, and all others two.
    spans = (3, 2) if middle == 1 else (2 * middle + 1,)
    turned = scanner.rotated(header.view_offset) if header.view_offset else scanner
    problem: Exception | None = None
    for span in spans:
        try:
            layout = SinogramLayout(
                turned, header.num_bins, span, max(high), scanner.num_crystals // 2 // header.num_views
            )
            planes = layout.planes_of_segments(low, high)
        except ValueError as error:
            problem = error
            continue
        if len(planes) == layout.num_planes == header.num_planes:
            return layout, planes
    why = problem or "it has other planes"
    raise ValueError(f"--scanner: {scanner} has no sinogram with the segments of the file: {why}")


def ring_layout(header: io.SinogramHeader) -> SinogramLayout:
    """The layout of a ring of crystals at equal angles with a header's numbers."""
    rings, crystals, radius, spacing = (
        header.num_rings,
        header.num_detectors,
        header.ring_radius,
        header.ring_spacing,
    )
    if not (rings and crystals and radius and spacing):
        raise ValueError("num_rings, num_detectors, ring_radius, ring_spacing: the header does not say all of them")
    scanner = Scanner.cylindrical(
        num_crystals=crystals,
        radius=radius,
        rings=scanners.equal_rings(rings, spacing),
        crystal_size=(spacing, 2 * np.pi * radius / crystals),
    )
    return layout_of(header, scanner)[0]


def _tof(header: io.SinogramHeader) -> TOF | None:
    if not header.num_tof_bins:
        return None
    if header.tof_sigma is None or header.tof_bin_width is None:
        raise ValueError("TOF timing resolution (ps), size of timing bin (ps): the header does not say")
    return TOF(header.tof_sigma, header.tof_bin_width, header.num_tof_bins)


def _header_grid(header: io.SinogramHeader) -> VolumeGrid:
    """Voxels as wide as bins, slices on the rings' planes and between them."""
    if not header.ring_spacing or not header.num_rings:
        raise ValueError("ring_spacing, num_rings: the header does not say")
    bin_size = header.bin_size or 2 * float(np.abs(header.distances()).max()) / header.num_bins
    shape = (2 * header.num_rings - 1, header.num_bins, header.num_bins)
    return VolumeGrid(shape, (header.ring_spacing / 2, bin_size, bin_size))


def _factors(layout: SinogramLayout, tof: bool = False) -> tuple[np.ndarray, ...]:
    """How many pairs of crystals a bin holds, none in gaps: a factor of views and bins and one of planes."""
    transaxial, axial = (pairs.astype(np.float32) for pairs in layout.live_pairs())
    end = (..., None) if tof else (...,)
    return transaxial[:, None, :][end], axial[None, :, None][end]


def list_mode_layout(path: Path, scanner: str, choice: ListModeChoice) -> tuple[SinogramLayout, np.ndarray]:
    """How events of a list are to be counted, and the plane that each plane of the list goes to.

    Raises:
        ValueError: where no scanner is known that has the bins of the list.
    """
    header = _list_mode_header(path).sinogram
    found = preset(scanner) or known_scanner(header)
    if found is None:
        raise ValueError(
            f"--scanner: none is known with {header.num_rings} rings of {header.num_detectors} crystals; name one of "
            f"{', '.join(PRESETS)}"
        )
    listed, order = layout_of(header, found)
    rings = listed.ring_pairs[order, 0]
    span = choice.span
    if choice.single_slice:
        if span is not None:
            raise ValueError("--span, --single-slice: give one of them")
        span = 2 * listed.max_ring_difference + 1
    usual = found.sinogram_defaults
    span = span or (usual.span if usual is not None and listed.span == 1 else listed.span)
    if span != listed.span and listed.span != 1:
        raise ValueError(f"--span: the list has planes of span {listed.span} already, got {span}")
    counted = dataclasses.replace(listed, span=span)
    planes = order if span == listed.span else counted.plane_of_rings[rings[:, 0], rings[:, 1]]
    return counted, planes


def count_events(path: Path, planes: np.ndarray, frame: tuple[float, float] | None) -> tuple[np.ndarray, np.ndarray]:
    """Prompts and delayeds of a frame in seconds, float32."""
    milliseconds = None if frame is None else (1000 * frame[0], 1000 * frame[1])
    prompts, delayeds = io.histogram_list_mode(path, planes=planes, frame=milliseconds)
    if not prompts.any():
        raise ValueError("--frame: no prompts in it" if frame else f"{path}: no prompts in it")
    return prompts.astype(np.float32), delayeds.astype(np.float32)


def _list_mode(path: Path, scanner: str, choice: ListModeChoice) -> Emission:
    layout, planes = list_mode_layout(path, scanner, choice)
    prompts, delayeds = count_events(path, planes, choice.frame)
    count = f"{prompts.sum(dtype=np.float64):.0f} prompts, {delayeds.sum(dtype=np.float64):.0f} delayeds"
    return Emission(
        layout.scanner.name,
        prompts,
        layout.lors(tof=False),
        layout.scanner.grid(),
        factors=_factors(layout),
        scanner=layout.scanner,
        layout=layout,
        delayeds=delayeds,
        notes=(f"{count} in {' x '.join(map(str, layout.shape))} bins of span {layout.span}",),
    )


def _list_mode_header(path: Path) -> io.ListModeHeader:
    from jaxct.io.petlink_header import header_beside, is_list_mode_header

    header = io.read_list_mode_header(path) if is_list_mode_header(path) else header_beside(path)
    assert header is not None, "pet_file_kind has seen one"
    return header
