"""How the bins of a sinogram count the coincidences of a scanner: views, bins, segments and planes."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.geometry.lors import SinogramLORs
from jaxct.pet import _michelogram
from jaxct.pet._michelogram import Segment
from jaxct.pet._rebinning import (
    Rebinning,
    arc_correction,
    axial_compression,
    single_slice_rebinning,
    tof_mashing,
    view_mashing,
)
from jaxct.pet._scanner import Scanner

__all__ = [
    "Rebinning",
    "Segment",
    "SinogramLayout",
    "arc_correction",
    "axial_compression",
    "single_slice_rebinning",
    "tof_mashing",
    "view_mashing",
]


@dataclasses.dataclass(frozen=True)
class SinogramLayout:
    """The pairs of crystals in each bin of a sinogram (views, planes, bins). Static to JAX, and hashable.

    **Views and bins.** In a ring of n crystals there are n/2 views, ``mashing`` of which are merged into one. With
    ``k = bin - num_bins // 2``, the line of view v and of that bin starts at crystal ``v + floor(k/2)`` and ends at
    ``v + n/2 - ceil(k/2)`` (modulo n). On a ring of radius R it is the line ``x cos a + y sin a = t`` with

        ``t = R sin(pi k/n)``,  ``a = first_angle + 2 pi (v - (k mod 2)/2)/n``,

    run along ``(y, x) = (cos a, -sin a)`` from start to end, as a parallel ray of :class:`jaxct.ParallelBeam`. So t
    ascends with the bins, those of even k are at the view's angle and those of odd k half a step before it. Every pair
    of crystals is in exactly one bin (if there are n - 1 of them). It is the addressing of Siemens list mode and, in
    its own axes, STIR's.

    **Planes.** A plane holds the pairs of rings of one segment with one sum, that is with the same middle in z. Segment
    k of an odd ``span`` s holds the differences ``ring of the end - ring of the start`` from ``k s - (s - 1)/2`` to
    ``k s + (s - 1)/2``; an even s gives segment 0 those up to s/2 and each other segment s of them (GE: s = 2). Planes
    are sorted by segment, 0, -1, 1, -2, 2 ..., and within one by z, as in the sinograms and list mode of Siemens.

    Args:
        scanner: made of rings, with an even number of crystals.
        num_bins: of a view, from 1 to n - 1.
        span: axial compression, 1 for none.
        max_ring_difference: the largest taken; the outermost segment is smaller where it ends within it.
        mashing: number of views merged into one; divides n/2.

    Raises:
        ValueError: for a scanner that is not made of equal rings, numbers out of range.
        TypeError: for numbers that are no integers.
    """

    scanner: Scanner
    num_bins: int
    span: int = 1
    max_ring_difference: int = 0
    mashing: int = 1

    def __post_init__(self) -> None:
        n = self.scanner.num_crystals
        if self.scanner.heights is not None or n % 2:
            raise ValueError(f"scanner must be made of rings with an even number of crystals, got {self.scanner}")
        for name in ("num_bins", "span", "mashing"):
            object.__setattr__(self, name, _validate.count(name, getattr(self, name)))
        difference = self.max_ring_difference
        if isinstance(difference, bool) or not isinstance(difference, int | np.integer):
            raise TypeError(f"max_ring_difference must be an integer, got {difference!r}")
        if not 0 <= difference < self.scanner.num_rings:
            raise ValueError(f"max_ring_difference must lie in [0, {self.scanner.num_rings}), got {difference}")
        object.__setattr__(self, "max_ring_difference", int(difference))
        if self.num_bins > n - 1:
            raise ValueError(f"num_bins must be at most {n - 1} with {n} crystals in a ring, got {self.num_bins}")
        if (n // 2) % self.mashing:
            raise ValueError(f"mashing must divide the number of views, {n // 2}, got {self.mashing}")

    @property
    def num_views(self) -> int:
        """After mashing."""
        return self.scanner.num_crystals // 2 // self.mashing

    @property
    def num_planes(self) -> int:
        """Of all segments."""
        return len(self.ring_pairs)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(views, planes, bins), without time of flight."""
        return self.num_views, self.num_planes, self.num_bins

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Their ring differences and planes, in the order of the planes."""
        return self._michelogram.segments

    @property
    def ring_pairs(self) -> np.ndarray:
        """(planes, most pairs, 2) rings of the start and the end; -1 where a plane has fewer pairs."""
        return self._michelogram.ring_pairs

    @property
    def plane_of_rings(self) -> np.ndarray:
        """(rings, rings) plane of the ring of a start and that of an end, -1 for pairs that are not taken."""
        return self._michelogram.plane

    def planes_of_segments(self, min_ring_difference: Sequence[int], max_ring_difference: Sequence[int]) -> np.ndarray:
        """Planes in the order of other segments: ``data[:, planes]`` has the order of a file with these segments.

        ``np.argsort(planes)`` is the way back, from the order of the file.

        Args:
            min_ring_difference: of the file's segments, as Interfile headers give it.
            max_ring_difference: of the same.

        Raises:
            ValueError: for a segment that this layout does not have.
        """
        known = {(s.min_difference, s.max_difference): s for s in self.segments}
        bounds = list(zip(min_ring_difference, max_ring_difference, strict=True))
        for bound in bounds:
            if bound not in known:
                raise ValueError(
                    f"ring differences {bound} are no segment of span {self.span}, which has {list(known)}"
                )
        parts = [np.arange(known[b].num_planes) + known[b].first_plane for b in bounds]
        return np.concatenate(parts)

    @functools.cached_property
    def crystal_pairs(self) -> np.ndarray:
        """(views, bins, mashing, 2) crystals of the start and the end."""
        return _fixed(_michelogram.crystal_pairs(self.scanner.num_crystals, self.num_bins, self.mashing))

    @functools.cached_property
    def angles(self) -> np.ndarray:
        """(views,) in radians: that of the bins of even k, the mean of the views merged."""
        views = np.arange(self.num_views) * self.mashing + (self.mashing - 1) / 2
        return _fixed(self.scanner.first_angle + 2 * np.pi * views / self.scanner.num_crystals)

    @functools.cached_property
    def lines(self) -> np.ndarray:
        """(views, bins, 2, 2) start and end (y, x) in mm: the mean of the crystals of each bin."""
        return _fixed(self.scanner.crystals[self.crystal_pairs].mean(2))

    @functools.cached_property
    def distances(self) -> np.ndarray:
        """(views, bins) signed distance t of each line from the axis, in mm."""
        (y0, x0), (y1, x1) = np.moveaxis(self.lines, (2, 3), (0, 1))
        return _fixed((x0 * y1 - y0 * x1) / np.hypot(y1 - y0, x1 - x0))

    @functools.cached_property
    def planes(self) -> np.ndarray:
        """(planes, 2) z of the start and the end in mm: the mean over each plane's pairs of rings."""
        taken = self.ring_pairs[..., :1] >= 0
        z = np.where(taken, self.scanner.rings[self.ring_pairs], 0)
        return _fixed(z.sum(1) / taken.sum(1))

    def tof_mashed(self, bins: int) -> SinogramLayout:
        """With so many neighbouring bins of time of flight merged into one, as :func:`tof_mashing` merges them.

        Raises:
            ValueError, TypeError: for a scanner without timing, a number that does not divide that of its bins.
        """
        timing = self.scanner.timing
        if timing is None:
            raise ValueError(f"layout: {self.scanner.name} has no timing, and no TOF bins to merge")
        scanner = dataclasses.replace(self.scanner, timing=timing.mashed(bins))
        return dataclasses.replace(self, scanner=scanner)

    def lors(self, *, tof: bool = True) -> SinogramLORs:
        """The lines of response through the middle of each bin.

        The widths are those of single crystals, whatever is merged.

        Args:
            tof: whether there are bins of time of flight, if the scanner measures it.
        """
        scanner = self.scanner
        tangents = None
        if scanner.tangents is not None and scanner.axial_size is not None:
            # Faces look at each other: along the ring one points to growing t at the start and the other at the end.
            tangents = scanner.tangents[self.crystal_pairs].mean(2) * np.array([1, -1])[:, None]
        return SinogramLORs(
            self.lines,
            self.planes,
            tangents=tangents,
            plane_width=None if tangents is None else scanner.axial_size,
            tof=scanner.tof if tof else None,
        )

    def arc_corrected_lors(self, bin_size: float, num_bins: int, *, tof: bool = True) -> SinogramLORs:
        """The lines of response after :func:`arc_correction`: parallel in each view, ``bin_size`` apart.

        Bin b is at ``t = (b - (num_bins - 1)/2) * bin_size`` and as wide as a bin; ends are on the circle of the
        scanner's effective radius.

        Raises:
            ValueError: for bins that reach beyond that circle.
        """
        t = (np.arange(_validate.count("num_bins", num_bins)) - (num_bins - 1) / 2) * bin_size
        radius = self.scanner.effective_radius
        if not (bin_size > 0 and t[-1] < radius):
            raise ValueError(f"bin_size must be positive and the bins within {radius:g} mm of the axis, got {bin_size}")
        cos, sin = np.cos(self.angles)[:, None, None], np.sin(self.angles)[:, None, None]
        half = np.sqrt(radius**2 - t**2)
        s, t = np.stack([-half, half], -1), t[:, None]
        lines = np.stack([t * sin + s * cos, t * cos - s * sin], -1)
        tangents = np.broadcast_to(bin_size * np.stack([sin, cos], -1), lines.shape)
        width = self.scanner.axial_size
        return SinogramLORs(
            lines,
            self.planes,
            tangents=None if width is None else tangents,
            plane_width=width,
            tof=self.scanner.tof if tof else None,
        )

    def bins_of(
        self, crystal_a: ArrayLike, ring_a: ArrayLike, crystal_b: ArrayLike, ring_b: ArrayLike
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Where coincidences of crystals a and b belong, in either order.

        Returns:
            View, plane, bin and whether a line starts at b. Plane or bin are -1 where the sinogram has no such.

        Raises:
            ValueError, TypeError: for numbers that no crystal has, shapes that do not broadcast.
        """
        n, rings = self.scanner.num_crystals, self.scanner.num_rings
        crystal_a, crystal_b = _numbers("crystal_a", crystal_a, n), _numbers("crystal_b", crystal_b, n)
        ring_a, ring_b = _numbers("ring_a", ring_a, rings), _numbers("ring_b", ring_b, rings)
        view, column, swapped = _michelogram.bins_of_crystals(crystal_a, crystal_b, n, self.num_bins, self.mashing)
        plane = self.plane_of_rings[np.where(swapped, ring_b, ring_a), np.where(swapped, ring_a, ring_b)]
        return tuple(np.broadcast_arrays(view, plane, column, swapped))  # type: ignore[return-value]

    def pairs_of(self, view: ArrayLike, plane: ArrayLike, column: ArrayLike) -> np.ndarray:
        """The pair of crystals of a bin, the inverse of :meth:`bins_of`, for layouts whose bins hold one pair each.

        Returns:
            (..., 2) start and end, numbered as :meth:`Scanner.lors_of` and :meth:`Scanner.list_mode` take them.

        Raises:
            ValueError, TypeError: for a layout that merges pairs, and numbers that no bin has.
        """
        if self.mashing > 1 or self.ring_pairs.shape[1] > 1:
            raise ValueError(f"bins hold one pair with span 1 and mashing 1, not with {self.span} and {self.mashing}")
        names = (("view", view), ("plane", plane), ("column", column))
        numbers = [_numbers(name, value, size) for (name, value), size in zip(names, self.shape, strict=True)]
        rings, crystals = self.ring_pairs[numbers[1], 0], self.crystal_pairs[numbers[0], numbers[2], 0]
        return rings * self.scanner.num_crystals + crystals

    def histogram(
        self,
        crystal_a: ArrayLike,
        ring_a: ArrayLike,
        crystal_b: ArrayLike,
        ring_b: ArrayLike,
        weights: ArrayLike | None = None,
        tof_bin: ArrayLike | None = None,
    ) -> np.ndarray:
        """The sinogram of a list of coincidences. Those outside all planes, bins or TOF bins are left out.

        Args:
            crystal_a, ring_a, crystal_b, ring_b: (events,) numbers of the two crystals, in any order.
            weights: of each event, e.g. -1 for delayed coincidences; 1 if None.
            tof_bin: of each event, bin 0 nearest to a; it is mirrored where the line starts at b.

        Returns:
            (views, planes, bins), with ``tof_bin`` (views, planes, bins, tof bins), float32. Whole counts are exact up
            to 2^24 in a bin.

        Raises:
            ValueError, TypeError: as :meth:`bins_of`; ``tof_bin`` for a scanner that measures no times.
        """
        view, plane, column, swapped = self.bins_of(crystal_a, ring_a, crystal_b, ring_b)
        index, inside = [view, plane, column], (plane >= 0) & (column >= 0)
        shape: tuple[int, ...] = self.shape
        if tof_bin is not None:
            if self.scanner.timing is None:
                raise ValueError(f"tof_bin: {self.scanner.name} has no timing")
            last = self.scanner.timing.num_bins - 1
            time = np.broadcast_to(np.where(swapped, last - np.asarray(tof_bin), tof_bin), view.shape)
            index, inside, shape = [*index, time], inside & (time >= 0) & (time <= last), (*shape, last + 1)
        counts = np.zeros(shape, np.float32)
        flat = np.ravel_multi_index(tuple(i[inside] for i in index), shape)
        added = np.float32(1) if weights is None else np.broadcast_to(weights, view.shape)[inside].astype(np.float32)
        np.add.at(counts.reshape(-1), flat, added)
        return counts

    def live_pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """How many pairs of crystals that are no gaps a bin holds, as the product of two counts.

        It is what a bin is worth beside its mean line: ``transaxial[:, None, :] * axial[:, None]``, 0 in gaps.

        Returns:
            transaxial (views, bins), axial (planes,), integers.
        """
        transaxial = self.scanner.live[self.crystal_pairs].all(-1).sum(-1)
        live = self.scanner.live_rings[self.ring_pairs] & (self.ring_pairs >= 0)
        return transaxial, live.all(-1).sum(-1)

    @functools.cached_property
    def _michelogram(self) -> _michelogram.Michelogram:
        table = _michelogram.michelogram(self.scanner.num_rings, self.span, self.max_ring_difference)
        return table._replace(plane=_fixed(table.plane), ring_pairs=_fixed(table.ring_pairs))


def _fixed(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


def _numbers(name: str, value: ArrayLike, count: int) -> np.ndarray:
    array = np.asarray(value)
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{name} must be integers, got {array.dtype}")
    if array.size and not (array.min() >= 0 and array.max() < count):
        raise ValueError(f"{name} must lie in [0, {count}), got {array.min()} to {array.max()}")
    # Unsigned and short integers, as files hold them, would overflow in differences.
    return array.astype(np.int64)
