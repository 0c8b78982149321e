"""Siemens list mode in 32-bit PETLINK words, as a Biograph mMR records it.

A word is an event (bit 31 clear; bit 30: prompt or delayed; bits 0 to 29: the address of its bin) or a tag: elapsed
milliseconds (bits 31 to 29 are 100), or anything else (motion, gates, singles and dead time), which is kept as it is.
J. Jones, "PETLINK guideline", CPS Innovations.
"""

import dataclasses
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxct.io._interfile_keys import is_interfile
from jaxct.io.petlink_header import ListModeHeader, header_beside, read_list_mode_header
from jaxct.io.sinogram_header import SinogramHeader

_WORD = 4
_TAG = np.uint32(1 << 31)
_PROMPT = np.uint32(1 << 30)
_ADDRESS = np.uint32((1 << 30) - 1)
_TIME = np.uint32((1 << 29) - 1)
# Bits 31 to 29 of a word that tells the time.
_TIME_TAG = 0b100
# 16 MiB of words are decoded at a time where a file is read from end to end.
_BLOCK = 1 << 22


class BinIndices(NamedTuple):
    """Indices of events into projections ``[view, plane, bin]``."""

    view: np.ndarray
    plane: np.ndarray
    bin: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class ListModeEvents:
    """Events in the order of their detection, and the tags between them.

    Attributes:
        address: of each event's bin, uint32.
        is_prompt: True for prompts, False for delayeds.
        time: the last time told before the event, in ms.
        tags: the words of all tags that do not tell the time, as they are.
        tag_time: the last time told before each of those, in ms.
        num_time_tags: how many words told the time.
        header: of the file, or None where there is none.
    """

    address: np.ndarray
    is_prompt: np.ndarray
    time: np.ndarray
    tags: np.ndarray
    tag_time: np.ndarray
    num_time_tags: int
    header: ListModeHeader | None = None

    def __len__(self) -> int:
        return len(self.address)

    @property
    def num_words(self) -> int:
        """Words read: a file that was cut has fewer than its header's ``num_words``."""
        return len(self) + len(self.tags) + self.num_time_tags

    @property
    def num_prompts(self) -> int:
        """Events that are prompts."""
        return int(np.count_nonzero(self.is_prompt))

    @property
    def num_delayeds(self) -> int:
        """Events in the delayed window."""
        return len(self) - self.num_prompts

    def indices(self) -> BinIndices:
        """View, plane and bin of each event.

        Raises:
            ValueError: without a header, or for addresses that it has no bins for.
        """
        if self.header is None:
            raise ValueError("header: a list-mode header is needed to know the bins; read_list_mode takes one")
        return bin_indices(self.address, self.header.sinogram)


def bin_indices(address: ArrayLike, sinogram: SinogramHeader) -> BinIndices:
    """Addresses as indices: ``address = bin + num_bins * (view + num_views * plane)``.

    Raises:
        ValueError: for an address beyond the last bin: the header is another scan's, or the byte order is wrong.
    """
    address = np.asarray(address)
    views, planes, bins = sinogram.shape[:3]
    if address.size and int(address.max()) >= views * planes * bins:
        raise ValueError(
            f"address: {int(address.max())} is beyond the {views * planes * bins} bins of {planes} planes, {views} "
            f"views and {bins} bins: the header is another scan's, or the byte order is wrong"
        )
    rest, bin_ = np.divmod(address, address.dtype.type(bins))
    plane, view = np.divmod(rest, address.dtype.type(views))
    return BinIndices(view.astype(np.int32), plane.astype(np.int32), bin_.astype(np.int32))


def read_list_mode(path: str | os.PathLike, header: ListModeHeader | str | os.PathLike | None = None) -> ListModeEvents:
    """Read a whole list-mode file: about 10 bytes an event.

    Args:
        path: the file of words, or its header.
        header: its header or where that is; None takes the header beside the file that names it, if there is one.

    Raises:
        FileNotFoundError: where the file or the header does not exist.
        ValueError: for a header that cannot be used, or two that name the file.
    """
    words, found = _open(path, header)
    return _joined(list(_decoded(words, found, 0, len(words))) or [_decode(words, found, 0).events])


def iter_list_mode(
    path: str | os.PathLike, header: ListModeHeader | str | os.PathLike | None = None
) -> Iterator[ListModeEvents]:
    """The same in blocks of up to 4 million words, for files that are larger than memory.

    Raises:
        FileNotFoundError, ValueError: as :func:`read_list_mode`.
    """
    words, found = _open(path, header)
    return _decoded(words, found, 0, len(words))


def iter_list_mode_frames(
    path: str | os.PathLike, edges: Sequence[float], header: ListModeHeader | str | os.PathLike | None = None
) -> Iterator[ListModeEvents]:
    """The events of consecutive frames: frame k has those with ``edges[k] <= time < edges[k + 1]``.

    Args:
        path: the file of words, or its header.
        edges: times in ms, ascending, one more than there are frames.
        header: as for :func:`read_list_mode`.

    Raises:
        FileNotFoundError: as :func:`read_list_mode`.
        ValueError: likewise, and for edges that are not ascending.
    """
    words, found = _open(path, header)
    return _frames(words, found, _edges(edges))


def _edges(edges: Sequence[float]) -> np.ndarray:
    times = np.asarray(edges, np.float64)
    if times.ndim != 1 or len(times) < 2 or not (np.diff(times) > 0).all():
        raise ValueError(f"edges: expected at least two ascending times in ms, got {edges}")
    return times


def _frames(words: np.ndarray, header: ListModeHeader | None, edges: np.ndarray) -> Iterator[ListModeEvents]:
    for begin, end in itertools.pairwise(_first_words(words, header, edges)):
        yield _joined(list(_decoded(words, header, begin, end)) or [_decode(words[:0], header, 0).events])


def histogram_list_mode(
    path: str | os.PathLike,
    *,
    header: ListModeHeader | str | os.PathLike | None = None,
    planes: ArrayLike | None = None,
    frame: tuple[float, float] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Count prompts and delayeds by bin.

    Args:
        path: the file of words, or its header.
        header: as for :func:`read_list_mode`.
        planes: for each plane of the list mode the plane to count it in, or -1 to leave it out; None keeps them apart.
            Single-slice rebinning is ``header.sinogram.ring_pairs().sum(axis=1)``.
        frame: start and end in ms (see :func:`iter_list_mode_frames`); the whole file if None.

    Returns:
        ``(prompts, delayeds)``, each int32 ``[view, plane, bin]``.

    Raises:
        FileNotFoundError: as :func:`read_list_mode`.
        ValueError: likewise, without a header, or for ``planes`` of another length.
    """
    words, found = _open(path, header)
    if found is None:
        raise ValueError(f"{path}: no header beside it names this file; give one")
    views, num_planes, bins = found.sinogram.shape[:3]
    target = np.arange(num_planes) if planes is None else np.asarray(planes)
    if target.shape != (num_planes,) or target.dtype.kind not in "iu" or target.max() < 0:
        raise ValueError(f"planes: expected {num_planes} integers, at least one not negative, got {planes!r:.80}")
    begin, end = (0, len(words)) if frame is None else _first_words(words, found, _edges(frame))
    counts = np.zeros((2, views * (int(target.max()) + 1) * bins), np.int32)
    for block in _decoded(words, found, begin, end):
        view, plane, bin_ = block.indices()
        kept = target[plane]
        index = (view * np.int64(counts.shape[1] // (views * bins)) + kept) * bins + bin_
        for total, which in zip(counts, (block.is_prompt, ~block.is_prompt), strict=True):
            unique, number = np.unique(index[which & (kept >= 0)], return_counts=True)
            total[unique] += number.astype(np.int32)
    prompts, delayeds = counts.reshape(2, views, -1, bins)
    return prompts, delayeds


def _open(
    path: str | os.PathLike, header: ListModeHeader | str | os.PathLike | None
) -> tuple[np.ndarray, ListModeHeader | None]:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    if is_interfile(path):
        header = read_list_mode_header(path) if header is None else header
    if header is None:
        header = header_beside(path)
    elif not isinstance(header, ListModeHeader):
        header = read_list_mode_header(header)
    if is_interfile(path):
        if header is None or header.data is None:
            raise FileNotFoundError(f"{path}: name of data file: there is no such file beside the header")
        path = header.data
    offset = header.offset if header is not None else 0
    order = ">u4" if header is not None and header.big_endian else "<u4"
    # A file that was cut may end within a word, which is left out.
    count = max(path.stat().st_size - offset, 0) // _WORD
    words = np.memmap(path, order, "r", offset, (count,)) if count else np.zeros(0, order)
    return words, header


def _decoded(words: np.ndarray, header: ListModeHeader | None, begin: int, end: int) -> Iterator[ListModeEvents]:
    time = _time_before(words[begin:end], header)
    for low in range(begin, end, _BLOCK):
        block = _decode(words[low : min(low + _BLOCK, end)], header, time)
        yield block.events
        time = block.time


class _Decoded(NamedTuple):
    events: ListModeEvents
    time: int


def _decode(words: np.ndarray, header: ListModeHeader | None, time: int) -> _Decoded:
    """The events and tags of some words, and the last time told; ``time`` was the last one before."""
    words = words.astype(np.uint32)
    is_event, tells_time = words < _TAG, _tells_time(words)
    other = ~(is_event | tells_time)
    times = np.concatenate([np.asarray([time], np.uint32), words[tells_time] & _TIME])
    last = np.cumsum(tells_time, dtype=np.int64)
    events = ListModeEvents(
        address=words[is_event] & _ADDRESS,
        is_prompt=(words[is_event] & _PROMPT) != 0,
        time=times[last[is_event]],
        tags=words[other],
        tag_time=times[last[other]],
        num_time_tags=len(times) - 1,
        header=header,
    )
    return _Decoded(events, int(times[-1]))


def _joined(blocks: Sequence[ListModeEvents]) -> ListModeEvents:
    if len(blocks) == 1:
        return blocks[0]
    names = ("address", "is_prompt", "time", "tags", "tag_time")
    arrays = {name: np.concatenate([getattr(b, name) for b in blocks]) for name in names}
    return ListModeEvents(**arrays, num_time_tags=sum(b.num_time_tags for b in blocks), header=blocks[0].header)


def _first_words(words: np.ndarray, header: ListModeHeader | None, edges: np.ndarray) -> list[int]:
    """For each edge the first word of that time or a later one."""
    early = int(np.count_nonzero(edges <= _time_before(words, header)))
    begins = [0] * early + [len(words)] * (len(edges) - early)
    found = early
    for low in range(0, len(words), _BLOCK):
        block = np.asarray(words[low : low + _BLOCK])
        position = np.flatnonzero(_tells_time(block))
        told = np.maximum.accumulate(block[position] & _TIME)
        while found < len(edges) and len(told) and edges[found] <= told[-1]:
            begins[found] = low + int(position[np.searchsorted(told, edges[found])])
            found += 1
        if found == len(edges):
            break
    return begins


def _time_before(words: np.ndarray, header: ListModeHeader | None) -> int:
    """The time of what comes before the first tag: it was detected in the interval that this ends."""
    for low in range(0, len(words), _BLOCK):
        block = np.asarray(words[low : low + _BLOCK])
        tags = np.flatnonzero(_tells_time(block))
        if len(tags):
            told = int(block[tags[0]] & _TIME)
            return max(told - (round(header.tag_interval) if header is not None else 1), 0)
    return 0


def _tells_time(words: np.ndarray) -> np.ndarray:
    return words >> np.uint32(29) == _TIME_TAG
