"""Which pairs of rings and of crystals a bin of a sinogram holds: the arithmetic, on NumPy integers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Segment(NamedTuple):
    """Planes of a sinogram with about the same tilt.

    Attributes:
        number: 0, -1, 1, -2, 2 ...; that of a larger one has ends at larger z.
        min_difference: of the rings, ``ring of the end - ring of the start``.
        max_difference: of the rings; inclusive.
        first_plane: where its planes start in the sinogram.
        num_planes: how many it has, from low to high z.
    """

    number: int
    min_difference: int
    max_difference: int
    first_plane: int
    num_planes: int


class Michelogram(NamedTuple):
    """Rings by planes.

    Attributes:
        segments: in the order of their planes.
        plane: (rings, rings) plane of a ring of the start and one of the end, -1 for those not taken.
        ring_pairs: (planes, most pairs, 2) the rings of each plane; where it has fewer, the rest is -1.
    """

    segments: tuple[Segment, ...]
    plane: np.ndarray
    ring_pairs: np.ndarray


def segment_bounds(span: int, max_ring_difference: int) -> list[tuple[int, int, int]]:
    """Number, smallest and largest ring difference of each segment, in the order 0, -1, 1, -2, 2 ...

    An odd span s centres segment k on the difference k s and takes s of them. An even one, as GE's span 2, gives
    segment 0 the differences up to s/2 and each further one the s that follow.
    """
    half = span // 2
    bounds = [(0, -min(half, max_ring_difference), min(half, max_ring_difference))]
    low, number = half + 1, 1
    while low <= max_ring_difference:
        high = min(low + span - 1, max_ring_difference)
        bounds += [(-number, -high, -low), (number, low, high)]
        low, number = low + span, number + 1
    return bounds


def michelogram(num_rings: int, span: int, max_ring_difference: int) -> Michelogram:
    """Planes of a segment hold the pairs of one sum of ring numbers, hence of one middle in z, in ascending order."""
    start, end = np.indices((num_rings, num_rings))
    plane = np.full((num_rings, num_rings), -1, np.int32)
    segments: list[Segment] = []
    first = 0
    for number, low, high in segment_bounds(span, max_ring_difference):
        taken = (low <= end - start) & (end - start <= high)
        sums, rank = np.unique((start + end)[taken], return_inverse=True)
        plane[taken] = first + rank
        segments.append(Segment(number, low, high, first, len(sums)))
        first += len(sums)
    pairs = np.argwhere(plane >= 0)
    index, _ = members(plane[tuple(pairs.T)], len(pairs), first)
    ring_pairs = np.where((index < len(pairs))[..., None], pairs[np.minimum(index, len(pairs) - 1)], -1)
    return Michelogram(tuple(segments), plane, ring_pairs.astype(np.int32))


def members(group: np.ndarray, none: int, num_groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the entries of each group, (groups, most entries), in ascending order; ``none`` fills up the rest.

    The second is the number of entries of each group.
    """
    order = np.argsort(group, kind="stable")
    counts = np.bincount(group, minlength=num_groups)
    first = np.cumsum(counts) - counts
    table = np.full((num_groups, max(counts.max(initial=0), 1)), none, np.int64)
    column = np.arange(len(group)) - np.repeat(first, counts)
    table[group[order], column] = order
    return table, counts


def crystal_pairs(num_crystals: int, num_bins: int, mashing: int) -> np.ndarray:
    """(views, bins, mashing, 2): crystals of the start and the end.

    Unmashed, with ``k = bin - num_bins // 2``, the start is crystal ``view + floor(k/2)`` and the end is
    ``view + n/2 - ceil(k/2)``. So bins of even k lie at the view's own angle and those of odd k, which fill the gaps
    between them, half a step before it.
    """
    half = num_crystals // 2
    view = np.arange(half)[:, None]
    k = np.arange(num_bins) - num_bins // 2
    pairs = np.stack([(view + k // 2) % num_crystals, (view + half + (-k) // 2) % num_crystals], -1)
    pairs = pairs.reshape(half // mashing, mashing, num_bins, 2)
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).astype(np.int32)


def bins_of_crystals(
    first: np.ndarray, second: np.ndarray, num_crystals: int, num_bins: int, mashing: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """View and bin of pairs of crystals in any order, and whether the second is where the line starts.

    The bin is -1 where the line lies outside all bins.
    """
    half = num_crystals // 2
    k = half - (second - first) % num_crystals
    view = (first - k // 2) % num_crystals
    # Exchanging the crystals turns the line by half a turn, and so k to -k.
    swapped = view >= half
    view, k = np.where(swapped, view - half, view), np.where(swapped, -k, k)
    column = k + num_bins // 2
    inside = (column >= 0) & (column < num_bins) & (first != second)
    return view // mashing, np.where(inside, column, -1), swapped
