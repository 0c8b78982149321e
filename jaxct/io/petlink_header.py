"""Headers of Siemens list mode: Interfile of a dialect of its own."""

import dataclasses
import os
import re
from pathlib import Path, PureWindowsPath

from jaxct.io._interfile_keys import Keys, is_interfile
from jaxct.io.sinogram_header import SinogramHeader

_MM_PER_CM = 10.0
_WORD_FORMAT = "LM event and tag words format (bits)"


@dataclasses.dataclass(frozen=True)
class ListModeHeader:
    """What a list-mode header says.

    Attributes:
        data: the list-mode file, or None where it is not there.
        sinogram: the bins that the addresses count; its planes are in their order.
        duration: of the scan, in seconds; 0 where the header does not say.
        num_words: words that the whole file has; 0 where the header does not say.
        tag_interval: milliseconds between tags of time.
        offset: bytes before the first word.
        big_endian: the byte order of the words.
    """

    data: Path | None
    sinogram: SinogramHeader
    duration: float = 0.0
    num_words: int = 0
    tag_interval: float = 1.0
    offset: int = 0
    big_endian: bool = False


def read_list_mode_header(path: str | os.PathLike) -> ListModeHeader:
    """Read a header (``.hdr``) of 32-bit list mode.

    Planes are those of the segments 0, -1, +1, -2, ...; without axial compression every ring difference is a segment.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: naming file and key, for a header that is incomplete, or of another word format.
    """
    keys = Keys(Path(path))
    if keys.integer(_WORD_FORMAT, 32) != 32:
        raise ValueError(f"{path}: {_WORD_FORMAT}: expected 32, got {keys.text(_WORD_FORMAT)}")
    rings, largest = keys.integer("number of rings"), keys.integer("maximum ring difference")
    counts, lowest, highest = _segments(keys, rings, largest, keys.integer("axial compression", 1))
    views = keys.integer("number of views")
    try:
        sinogram = SinogramHeader(
            views,
            keys.integer("number of projections"),
            counts,
            lowest,
            highest,
            num_rings=rings,
            num_detectors=2 * views,
            ring_radius=keys.optional("gantry crystal radius (cm)", _MM_PER_CM),
            ring_spacing=keys.optional("distance between rings (cm)", _MM_PER_CM),
            bin_size=keys.optional("bin size (cm)", _MM_PER_CM),
            duration=keys.number("image duration (sec)", 0.0),
            scanner=keys.text("originating system", "unknown"),
            keys=dict(keys.raw),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return ListModeHeader(
        data=_data_path(keys),
        sinogram=sinogram,
        duration=sinogram.duration,
        num_words=keys.integer("total listmode word counts", 0),
        tag_interval=keys.number("timing tagwords interval (msec)", 1.0),
        offset=keys.data_offset(),
        big_endian=keys.choice("imagedata byte order", {"littleendian": False, "bigendian": True}, "LITTLEENDIAN"),
    )


def header_beside(path: Path) -> ListModeHeader | None:
    """The header in the same folder that names this file, or None.

    Raises:
        ValueError: where several do, or one of them cannot be used.
    """
    candidates = (p for p in sorted(path.parent.iterdir()) if re.search(r"\.hdr(\.|$)", p.name.lower()))
    headers = [read_list_mode_header(p) for p in candidates if is_list_mode_header(p)]
    found = [h for h in headers if h.data is not None and h.data.samefile(path)]
    if len(found) > 1:
        raise ValueError(f"{path}: {len(found)} headers beside it name this file; say which one to take")
    return found[0] if found else None


def is_list_mode_header(path: Path) -> bool:
    """Whether a file is a header of Siemens list mode."""
    return path.is_file() and is_interfile(path) and _WORD_FORMAT in Keys(path)


def _segments(
    keys: Keys, rings: int, largest: int, span: int
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Planes, least and greatest ring difference of the segments 0, -1, +1, -2, +2, ..."""
    if not (0 <= largest < rings and span >= 1 and span % 2):
        raise ValueError(
            f"{keys.path}: number of rings, maximum ring difference, axial compression: {rings}, {largest} and {span} "
            "do not fit together"
        )
    half = (span - 1) // 2
    counts, lowest, highest = [], [], []
    for number in range((largest + half) // span + 1):
        low, high = max(number * span - half, -largest), min(number * span + half, largest)
        for sign in (0,) if number == 0 else (-1, 1):
            nearest = 0 if number == 0 else low
            counts.append(rings - nearest if low == high else 2 * (rings - nearest) - 1)
            lowest.append(low if sign >= 0 else -high)
            highest.append(high if sign >= 0 else -low)
    if span > 1 and "segment table" in keys and keys.integers("segment table") != tuple(counts):
        raise ValueError(f"{keys.path}: segment table: expected {counts}, got {keys.text('segment table')}")
    return tuple(counts), tuple(lowest), tuple(highest)


def _data_path(keys: Keys) -> Path | None:
    """The file that the header names, or the one of that name beside it: headers keep paths of the console."""
    name = keys.text("name of data file", "")
    if not name:
        return None
    folder = keys.path.parent
    return next((p for p in (folder / name, folder / PureWindowsPath(name).name) if p.is_file()), None)
