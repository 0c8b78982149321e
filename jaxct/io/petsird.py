"""PETSIRD: the raw data of any PET scanner, with its geometry, in the format of the ETS Initiative (etsinitiative.org).

Read through the package ``petsird`` of the initiative, from binary and NDJSON files; HDF5 has a reader in C++ alone.
The coordinates (x, y, z) of PETSIRD's gantry are jaxct's (z, y, x) reversed.
"""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxct.io._petsird_efficiency import Efficiencies, read_efficiencies
from jaxct.io._require import require

_FWHM_PER_SIGMA = 2 * np.sqrt(2 * np.log(2))
_TOF_TOLERANCE = 1e-3
_HDF5 = b"\x89HDF\r\n\x1a\n"
_MAGIC_BINARY, _MAGIC_NDJSON = b"yardl", b"{"


class PetsirdTOF(NamedTuple):
    """Time of flight in mm along the line, positive towards its end: the arguments of ``jaxct.pet.TOF``."""

    sigma: float
    bin_width: float
    num_bins: int
    center_offset: float


@dataclasses.dataclass(frozen=True, eq=False)
class PetsirdScanner:
    """The crystals of a scanner, those of all types of modules one after the other.

    Attributes:
        name: of the model.
        crystals: their centres (z, y, x) in mm, ``(crystals, 3)``.
        module: the module that each belongs to, counted through all types, ``(crystals,)``.
        module_type: its type, ``(crystals,)``.
        energy_edges: of each type the edges of its energy bins in keV.
        tof_edges: for each pair of types (first, second), second <= first, the edges of its TOF bins in mm.
        tof_fwhm: of each pair the resolution in mm.
        efficiencies: of pairs of crystals; None where the file has none.
    """

    name: str
    crystals: np.ndarray
    module: np.ndarray
    module_type: np.ndarray
    energy_edges: tuple[np.ndarray, ...]
    tof_edges: dict[tuple[int, int], np.ndarray]
    tof_fwhm: dict[tuple[int, int], float]
    efficiencies: Efficiencies | None

    def tof(self, first: int = 0, second: int = 0) -> PetsirdTOF | None:
        """The time of flight between two types of modules; None where all times fall into one bin.

        Raises:
            ValueError: for types that are not there, or bins of unequal width.
        """
        pair = (max(first, second), min(first, second))
        if pair not in self.tof_edges:
            raise ValueError(f"first, second: no modules of types {first} and {second} in {self.name!r}")
        edges = self.tof_edges[pair].astype(np.float64)
        if len(edges) < 3:
            return None
        widths = np.diff(edges)
        if np.abs(widths - widths.mean()).max() > _TOF_TOLERANCE * widths.mean():
            raise ValueError(
                f"tof_edges: TOF bins of types {pair} are {widths.min():.4g} to {widths.max():.4g} mm wide"
            )
        sigma = float(self.tof_fwhm[pair] / _FWHM_PER_SIGMA)
        return PetsirdTOF(sigma, float(widths.mean()), len(widths), float(edges[0] + edges[-1]) / 2)


@dataclasses.dataclass(frozen=True, eq=False)
class PetsirdEvents:
    """Coincidences; the line of each goes from the first crystal to the second.

    Attributes:
        start: index of the first crystal, int32.
        end: index of the second, int32.
        tof_bin: bin 0 is nearest the start.
        energy_bins: of the two detections, ``(events, 2)``.
        is_prompt: True for prompts, False for delayeds.
        time: when the event's time block begins, in ms.
        efficiency: of detecting it: the two crystals', the pair of modules' and the calibration factor, multiplied; 1
            where the file has no efficiencies.
    """

    start: np.ndarray
    end: np.ndarray
    tof_bin: np.ndarray
    energy_bins: np.ndarray
    is_prompt: np.ndarray
    time: np.ndarray
    efficiency: np.ndarray

    def __len__(self) -> int:
        return len(self.start)


class PetsirdMovement(NamedTuple):
    """The bed, or the modules of each type, moved.

    Attributes:
        what: ``"bed"`` or ``"gantry"``.
        start: begin of the time block in ms.
        stop: its end.
        transforms: homogeneous matrices that act on (z, y, x, 1) in mm, ``(1, 4, 4)`` or one for each type of modules.
    """

    what: str
    start: int
    stop: int
    transforms: np.ndarray


class PetsirdScan(NamedTuple):
    """A whole file. Movements are told, not applied to the crystals."""

    scanner: PetsirdScanner
    events: PetsirdEvents
    movements: tuple[PetsirdMovement, ...]


def read_petsird(path: str | os.PathLike) -> PetsirdScan:
    """Read a whole PETSIRD file. Single events, triples, dead times and external signals in it are passed over.

    Raises:
        ImportError: without the package ``petsird``.
        FileNotFoundError: where there is no such file.
        ValueError: for a file of another kind or version, or one that is cut or says things that do not fit together.
    """
    opened = _open(Path(path))
    found = list(_blocks(Path(path), opened))
    events = [b for b in found if isinstance(b, PetsirdEvents)]
    movements = tuple(b for b in found if isinstance(b, PetsirdMovement))
    return PetsirdScan(opened.scanner, _joined(events), movements)


def read_petsird_scanner(path: str | os.PathLike) -> PetsirdScanner:
    """The scanner alone; as :func:`read_petsird`, without reading the events."""
    opened = _open(Path(path))
    opened.file.close()
    return opened.scanner


def iter_petsird(path: str | os.PathLike) -> Iterator[PetsirdEvents | PetsirdMovement]:
    """The events of each time block, and movements where they occur, for files that are larger than memory.

    Raises:
        ImportError, FileNotFoundError, ValueError: as :func:`read_petsird`.
    """
    return _blocks(Path(path), _open(Path(path)))


def is_petsird(path: Path) -> bool:
    """Whether a file begins like PETSIRD in binary or NDJSON (or like other data of the tool ``yardl``)."""
    with path.open("rb") as file:
        begin = file.read(16)
    return begin.startswith(_MAGIC_BINARY) or b'"yardl"' in begin


class _Opened(NamedTuple):
    petsird: Any
    file: Any
    reader: Any
    scanner: PetsirdScanner


def _open(path: Path) -> _Opened:
    petsird = require("petsird", "pet")
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    with path.open("rb") as probe:
        begin = probe.read(len(_HDF5))
    binary = begin.startswith(_MAGIC_BINARY)
    file = path.open("rb") if binary else path.open(encoding="utf-8")
    try:
        if begin == _HDF5:
            raise ValueError("HDF5, which the petsird package does not read: convert it to PETSIRD's binary")
        if not (binary or begin.startswith(_MAGIC_NDJSON)):
            raise ValueError("neither binary nor NDJSON")
        kind = petsird.BinaryPETSIRDReader if binary else petsird.NDJsonPETSIRDReader
        reader = kind(file, skip_completed_check=True)
        scanner = _scanner(reader.read_header().scanner)
    except Exception as error:  # the generated readers meet other files with errors of many kinds
        file.close()
        raise ValueError(f"{path}: not PETSIRD as the installed petsird package knows it: {error!r:.200}") from error
    return _Opened(petsird, file, reader, scanner)


def _blocks(path: Path, opened: _Opened) -> Iterator[PetsirdEvents | PetsirdMovement]:
    kinds = opened.petsird.TimeBlock
    with opened.file:
        blocks = iter(opened.reader.read_time_blocks())
        while True:
            try:
                block = next(blocks, None)
            except Exception as error:  # likewise
                raise ValueError(f"{path}: cannot be read to its end, perhaps it was cut: {error!r:.200}") from error
            if block is None:
                return
            if isinstance(block, kinds.EventTimeBlock):
                yield _events(path, block.value, opened.scanner)
            elif isinstance(block, kinds.BedMovementTimeBlock):
                yield _movement("bed", block.value, [block.value.transform])
            elif isinstance(block, kinds.GantryMovementTimeBlock):
                yield _movement("gantry", block.value, block.value.transforms)


def _scanner(scanner: Any) -> PetsirdScanner:
    centers, modules, types = [], [], []
    count = 0
    for kind, replicated in enumerate(scanner.scanner_geometry.replicated_modules):
        elements = replicated.object.detecting_elements
        corner_mean = np.mean([c.c for c in elements.object.shape.corners], axis=0, dtype=np.float64)
        place = _matrices(elements.transforms)
        in_module = place[:, :3, :3] @ corner_mean + place[:, :3, 3]
        place = _matrices(replicated.transforms)
        found = np.einsum("mij,ej->mei", place[:, :3, :3], in_module) + place[:, None, :3, 3]
        centers.append(found.reshape(-1, 3)[:, ::-1])
        modules.append(np.repeat(count + np.arange(len(place)), len(in_module)))
        types.append(np.full(len(place) * len(in_module), kind))
        count += len(place)
    pairs = [(first, second) for first in range(len(types)) for second in range(first + 1)]
    return PetsirdScanner(
        name=scanner.model_name,
        crystals=np.concatenate(centers).astype(np.float32),
        module=np.concatenate(modules).astype(np.int32),
        module_type=np.concatenate(types).astype(np.int32),
        energy_edges=tuple(np.asarray(e.edges) for e in scanner.event_energy_bin_edges),
        tof_edges={(a, b): np.asarray(scanner.tof_bin_edges[a][b].edges) for a, b in pairs},
        tof_fwhm={(a, b): float(scanner.tof_resolution[a][b]) for a, b in pairs},
        efficiencies=read_efficiencies(scanner),
    )


def _matrices(transforms: list[Any]) -> np.ndarray:
    """Homogeneous matrices (n, 4, 4) in (x, y, z) of PETSIRD's 3 x 4 ones."""
    rows = np.asarray([t.matrix for t in transforms], np.float64).reshape(-1, 3, 4)
    return np.concatenate([rows, np.broadcast_to([[[0.0, 0.0, 0.0, 1.0]]], (len(rows), 1, 4))], axis=1)


def _movement(what: str, block: Any, transforms: list[Any]) -> PetsirdMovement:
    order = [2, 1, 0, 3]
    matrices = _matrices(transforms)[:, order][:, :, order]
    return PetsirdMovement(what, int(block.time_interval.start), int(block.time_interval.stop), matrices)


def _events(path: Path, block: Any, scanner: PetsirdScanner) -> PetsirdEvents:
    """The prompts, then the delayeds of a time block."""
    parts = []
    for is_prompt, lists in ((True, block.prompt_events), (False, block.delayed_events)):
        # The example generator of petsird 0.12 writes rows of types that are not there; its own reader ignores them.
        for first, row in enumerate(lists[: len(scanner.energy_edges)]):
            for second, events in enumerate(row[: first + 1]):
                if events:
                    numbers = np.array([(*e.detection_bins, e.tof_idx) for e in events], np.int64)
                    parts.append(_coincidences(path, numbers, (first, second), is_prompt, scanner, block))
    return _joined(parts)


def _coincidences(
    path: Path, numbers: np.ndarray, kinds: tuple[int, int], is_prompt: bool, scanner: PetsirdScanner, block: Any
) -> PetsirdEvents:
    crystals, energies = [], []
    for detection, kind in zip(numbers.T, kinds, strict=False):
        bins = len(scanner.energy_edges[kind]) - 1
        own = np.flatnonzero(scanner.module_type == kind)
        if detection.max() >= bins * len(own):
            raise ValueError(
                f"{path}: detection bin {detection.max()}, but modules of type {kind} have {bins * len(own)}"
            )
        crystals.append(own[0] + detection // bins)
        energies.append(detection % bins)
    efficiency = np.ones(len(numbers)) if scanner.efficiencies is None else scanner.efficiencies(kinds, numbers[:, :2])
    return PetsirdEvents(
        start=crystals[0].astype(np.int32),
        end=crystals[1].astype(np.int32),
        tof_bin=numbers[:, 2].astype(np.int32),
        energy_bins=np.stack(energies, axis=1).astype(np.int32),
        is_prompt=np.full(len(numbers), is_prompt),
        time=np.full(len(numbers), block.time_interval.start, np.uint32),
        efficiency=efficiency.astype(np.float32),
    )


def _joined(parts: list[PetsirdEvents]) -> PetsirdEvents:
    if not parts:
        none = np.zeros(0, np.int32)
        pairs, times = np.zeros((0, 2), np.int32), np.zeros(0, np.uint32)
        return PetsirdEvents(none, none, none, pairs, np.zeros(0, bool), times, np.zeros(0, np.float32))
    names = [field.name for field in dataclasses.fields(PetsirdEvents)]
    return PetsirdEvents(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})
