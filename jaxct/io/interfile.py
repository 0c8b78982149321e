"""PET sinograms in Interfile as STIR writes it: a header ``.hs`` beside the data ``.s``.

The keys and the order of the data are those of STIR (K. Thielemans et al., "STIR: software for tomographic image
reconstruction release 2", Phys. Med. Biol. 57 (2012) 867-883), up to its release 6 with time of flight.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jax import numpy as jnp
from jax.typing import ArrayLike

from jaxct.io._interfile_keys import Keys, number_format
from jaxct.io.sinogram_header import SinogramHeader

_MM_PER_CM = 10.0
# Half the speed of light: a difference of arrival times in ps to a distance along the line in mm.
_MM_PER_PS = 0.299792458 / 2
_FWHM_PER_SIGMA = 2 * np.sqrt(2 * np.log(2))
_AXES: tuple[str, ...] = ("tangential coordinate", "axial coordinate", "view", "segment")
_TOF_AXIS = "timing positions"


class Sinograms(NamedTuple):
    """Projections ``[view, plane, bin]`` (``[..., tof bin]``, bin 0 nearest the start) on disk, and what they are."""

    projections: "StoredSinograms"
    header: SinogramHeader


class StoredSinograms:
    """Sinograms in a file, read where they are indexed: ``stack[10:20]`` reads these views, ``np.asarray`` all.

    Views are picked by the first index as they are read; further indices act on what was read.
    """

    def __init__(self, keys: Keys, header: SinogramHeader, views_first: bool):
        self._path, self._offset, self._stored = keys.data_path(), keys.data_offset(), keys.dtype()
        self._header, self._views_first = header, views_first
        self._scales = keys.scales(len(header.planes_per_segment))
        self.shape = header.shape
        native = self._stored.newbyteorder("=")
        scaled = native if native == np.float64 else np.dtype(np.float32)
        self.dtype = native if (self._scales == 1).all() else scaled
        keys.check_size(self._path, self._offset + self.size * self._stored.itemsize)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        first, *rest = key if isinstance(key, tuple) else (key,)
        if first is Ellipsis or first is None:
            return self._read(np.arange(len(self)))[key]
        views = np.arange(len(self))[first]
        block = self._read(np.atleast_1d(views))
        return block[(slice(None), *rest)] if views.ndim else block[(0, *rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        values = self[:]
        return values if dtype is None else values.astype(dtype, copy=False)

    def __repr__(self) -> str:
        return f"StoredSinograms({self._path.name}, {self.dtype}{list(self.shape)})"

    def _read(self, views: np.ndarray) -> np.ndarray:
        header = self._header
        stored = np.memmap(self._path, self._stored, "r", self._offset, (self.size,))
        tof_bins = max(header.num_tof_bins, 1)
        values = np.empty((len(views), header.num_planes, header.num_bins, tof_bins), self.dtype)
        begin = 0
        for tof in range(tof_bins):
            plane = 0
            for count, scale in zip(header.planes_per_segment, self._scales, strict=True):
                length = count * header.num_views * header.num_bins
                segment = stored[begin : begin + length]
                if self._views_first:
                    part = segment.reshape(header.num_views, count, header.num_bins)[views]
                else:
                    part = segment.reshape(count, header.num_views, header.num_bins)[:, views].swapaxes(0, 1)
                # STIR's timing positions ascend towards the start of a line.
                values[:, plane : plane + count, :, tof_bins - 1 - tof] = part if scale == 1 else part * scale
                begin, plane = begin + length, plane + count
        return values if header.num_tof_bins else values[..., 0]


def open_sinograms(path: str | os.PathLike) -> Sinograms:
    """Open sinograms by their Interfile header; the data stay on disk until they are indexed.

    Integers and floats of either byte order, offsets, factors of scale, both orders of axes that STIR writes
    (segment, view, plane, bin and segment, plane, view, bin) and time of flight are understood. Coordinates are STIR's
    (z, y, x) as numbers: x cos a + y sin a is the distance of a line in view a, z grows with the ring, ring differences
    are those of the end less the start of :meth:`SinogramHeader.lines`. STIR's y axis points down.

    Raises:
        FileNotFoundError: where the header or its data file does not exist.
        ValueError: naming file and key, for a header that is incomplete or of another dialect, or data that are cut.
    """
    keys = Keys(Path(path))
    header, views_first = _read_header(keys)
    return Sinograms(StoredSinograms(keys, header, views_first), header)


def save_sinograms(path: str | os.PathLike, projections: ArrayLike, header: SinogramHeader) -> None:
    """Write sinograms that STIR can read: ``path`` ends in ``.hs``, the data go to ``.s`` beside it.

    Integers of up to 4 bytes, float32 and float64 are stored as they are, other floats as float32. The two files
    appear under their names only once they are complete.

    Args:
        path: the header to write; existing files are replaced.
        projections: shaped as ``header.shape``.
        header: what they are; ``keys`` are not written.

    Raises:
        ValueError: for another ending, projections that do not fit the header, or complex or wide integer numbers.
    """
    path = Path(path)
    if path.suffix.lower() != ".hs":
        raise ValueError(f"{path}: expected a name that ends in .hs")
    values = np.asarray(projections)
    if values.shape != header.shape:
        raise ValueError(f"projections: shape {values.shape} does not fit the header's {header.shape}")
    values = _storable(values)
    dtype = values.dtype.newbyteorder("<")
    data = path.with_suffix(".s")
    parts = {target: target.with_name(f"{target.name}.part") for target in (data, path)}
    try:
        with parts[data].open("wb") as file:
            for segment in _segments(values, header):
                np.ascontiguousarray(segment, dtype).tofile(file)
        parts[path].write_text("\n".join(_header_lines(data.name, header, dtype)) + "\n", encoding="utf-8")
        for target, part in parts.items():
            part.replace(target)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _storable(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 4:
        return values
    if not jnp.issubdtype(values.dtype, np.floating):
        raise ValueError(f"projections: {values.dtype} cannot be stored; use floats or integers of up to 4 bytes")
    return values if values.dtype == np.float64 else values.astype(np.float32)


def _segments(values: np.ndarray, header: SinogramHeader) -> Any:
    """The blocks (views, planes, bins) in the order of the file."""
    edges = np.cumsum(header.planes_per_segment)[:-1]
    frames = [values] if values.ndim == 3 else [values[..., t] for t in reversed(range(values.shape[3]))]
    for frame in frames:
        yield from np.split(frame, edges, axis=1)


def _read_header(keys: Keys) -> tuple[SinogramHeader, bool]:
    sizes, views_first, tof_bins = _matrix(keys)
    (bins,), planes, (views,), (segments,) = (sizes[axis] for axis in _AXES)
    if len(planes) != segments:
        raise ValueError(f"{keys.path}: axial coordinate: {len(planes)} sizes for {segments} segments")
    lowest, highest = (
        keys.integers(f"{which} ring difference per segment", segments) for which in ("minimum", "maximum")
    )
    if keys.integer("number of time frames", 1) != 1:
        raise ValueError(f"{keys.path}: number of time frames: expected 1, got {keys.text('number of time frames')}")
    try:
        header = SinogramHeader(views, bins, planes, lowest, highest, keys=dict(keys.raw), **_scanner(keys, tof_bins))
    except ValueError as error:
        raise ValueError(f"{keys.path}: {error}") from error
    return header, views_first


def _matrix(keys: Keys) -> tuple[dict[str, tuple[int, ...]], bool, int]:
    """The sizes of the axes by their names, whether a view's planes lie together, and the number of TOF bins."""
    axes = keys.integer("number of dimensions")
    labels = [keys.text(f"matrix axis label[{k}]", "?").lower() for k in range(1, axes + 1)]
    known: dict[tuple[str, ...], bool] = {_AXES: True, (_AXES[0], _AXES[2], _AXES[1], _AXES[3]): False}
    tof = labels[4:] == [_TOF_AXIS]
    if tuple(labels[:4]) not in known or (axes > 4 and not tof):
        raise ValueError(
            f"{keys.path}: matrix axis label: expected {', '.join(_AXES)} (perhaps with view and axial coordinate "
            f"exchanged, and {_TOF_AXIS} behind), got {', '.join(labels)}"
        )
    sizes = {label: keys.integers(f"matrix size[{k}]") for k, label in enumerate(labels, 1)}
    for k, label in enumerate(labels, 1):
        if len(sizes[label]) != 1 and label != "axial coordinate":
            raise ValueError(f"{keys.path}: matrix size[{k}]: expected one number, got {sizes[label]}")
    return sizes, known[tuple(labels[:4])], sizes[_TOF_AXIS][0] if tof else 0


def _scanner(keys: Keys, tof_bins: int) -> dict[str, Any]:
    diameter = keys.optional("inner ring diameter (cm)", _MM_PER_CM)
    depth = keys.optional("average depth of interaction (cm)", _MM_PER_CM) or 0.0
    corrections = keys.text("applied corrections", "arc correction").lower()
    scanner = {
        "num_rings": keys.count("number of rings"),
        "num_detectors": keys.count("number of detectors per ring"),
        "ring_radius": None if diameter is None else diameter / 2 + depth,
        "ring_spacing": keys.optional("distance between rings (cm)", _MM_PER_CM),
        "bin_size": keys.optional("effective central bin size (cm)", _MM_PER_CM)
        or keys.optional("default bin size (cm)", _MM_PER_CM),
        "arc_corrected": "arc correct" in corrections,
        "view_offset": float(np.deg2rad(keys.number("view offset (degrees)", 0.0))),
        "start_time": keys.number("image relative start time (sec)[1]", 0.0),
        "duration": keys.number("image duration (sec)[1]", 0.0),
        "scanner": keys.text("originating system", keys.text("scanner type", "unknown")),
    }
    return scanner | (_tof(keys, tof_bins) if tof_bins else {})


def _tof(keys: Keys, tof_bins: int) -> dict[str, Any]:
    # The names changed with STIR 6.
    width = keys.optional("size of unmashed TOF time bins (ps)") or keys.optional("size of timing bin (ps)")
    resolution = keys.optional("TOF timing resolution (ps)") or keys.optional("timing resolution (ps)")
    mashed = keys.integer("TOF mashing factor", 1)
    return {
        "num_tof_bins": tof_bins,
        "tof_bin_width": None if width is None else mashed * width * _MM_PER_PS,
        "tof_sigma": None if resolution is None else float(resolution * _MM_PER_PS / _FWHM_PER_SIGMA),
    }


def _header_lines(data_name: str, header: SinogramHeader, dtype: np.dtype) -> list[str]:
    dimensions = 5 if header.num_tof_bins else 4
    return [
        "!INTERFILE  :=",
        "!imaging modality := PT",
        f"name of data file := {data_name}",
        f"originating system := {header.scanner}",
        "!version of keys := STIR6.0",
        "!GENERAL DATA :=",
        "!GENERAL IMAGE DATA :=",
        "!type of data := PET",
        number_format(dtype)[0],
        "!PET STUDY (General) :=",
        "!PET data type := Emission",
        f"applied corrections := {{{'arc correction' if header.arc_corrected else 'None'}}}",
        *number_format(dtype)[1:],
        f"number of dimensions := {dimensions}",
        *_sized(5, _TOF_AXIS, header.num_tof_bins or None),
        *_sized(4, "segment", len(header.planes_per_segment)),
        *_sized(3, "view", header.num_views),
        *_sized(2, "axial coordinate", _listed(header.planes_per_segment)),
        *_sized(1, "tangential coordinate", header.num_bins),
        *(["TOF mashing factor := 1"] if header.num_tof_bins else []),
        f"minimum ring difference per segment := {_listed(header.min_ring_difference)}",
        f"maximum ring difference per segment := {_listed(header.max_ring_difference)}",
        "Scanner parameters :=",
        f"Scanner type := {header.scanner}",
        *_scanner_lines(header),
        "end scanner parameters :=",
        *_valued({"effective central bin size (cm)": _over(header.bin_size, _MM_PER_CM)}),
        "number of time frames := 1",
        f"image duration (sec)[1] := {header.duration:.9g}",
        f"image relative start time (sec)[1] := {header.start_time:.9g}",
        "!END OF INTERFILE :=",
    ]


def _scanner_lines(header: SinogramHeader) -> list[str]:
    return _valued(
        {
            "Number of rings": header.num_rings,
            "Number of detectors per ring": header.num_detectors,
            # The radius given is that at which crystals detect, so that no depth is left to add.
            "Inner ring diameter (cm)": _over(header.ring_radius, _MM_PER_CM / 2),
            "Average depth of interaction (cm)": None if header.ring_radius is None else 0.0,
            "Distance between rings (cm)": _over(header.ring_spacing, _MM_PER_CM),
            "Default bin size (cm)": _over(header.bin_size, _MM_PER_CM),
            "View offset (degrees)": float(np.rad2deg(header.view_offset)),
            "Maximum number of non-arc-corrected bins": header.num_bins,
            "Default number of arc-corrected bins": header.num_bins,
            "Maximum number of (unmashed) TOF time bins": header.num_tof_bins or None,
            "Size of unmashed TOF time bins (ps)": _over(header.tof_bin_width, _MM_PER_PS),
            "TOF timing resolution (ps)": _over(header.tof_sigma, _MM_PER_PS / _FWHM_PER_SIGMA),
        }
    )


def _sized(axis: int, label: str, size: Any) -> list[str]:
    return [] if size is None else [f"matrix axis label [{axis}] := {label}", f"!matrix size [{axis}] := {size}"]


def _valued(values: dict[str, float | None]) -> list[str]:
    return [f"{key} := {value:.9g}" for key, value in values.items() if value is not None]


def _listed(values: Sequence[int]) -> str:
    return "{ " + ",".join(map(str, values)) + "}"


def _over(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit
