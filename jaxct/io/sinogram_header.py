"""What the bins of PET sinograms are, whichever file they come from."""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class SinogramHeader:
    """What the bins of PET sinograms are. Lengths are in mm; None (or 0) where the header does not say.

    Planes are numbered through the segments, in the file's order. Bin ``num_bins // 2`` lies on the axis. View v is at
    ``view_offset + v pi / num_views``, and where views of a ring's 2 n were added, at the middle of these.

    Attributes:
        num_views: views over half a turn.
        num_bins: bins of a view (tangential positions).
        planes_per_segment: planes of each segment (axial positions).
        min_ring_difference: least difference of rings, end less start, in each segment.
        max_ring_difference: greatest one.
        num_rings: rings of the scanner.
        num_detectors: crystals in a ring.
        ring_radius: from the axis to where a crystal detects, its depth of interaction included.
        ring_spacing: from ring to ring.
        bin_size: between bins where these are equidistant (``arc_corrected``), else between those in the middle.
        arc_corrected: whether bins are equidistant.
        view_offset: the angle of the first view, in radians.
        num_tof_bins: 0 without time of flight.
        tof_bin_width: width of a TOF bin along the line.
        tof_sigma: standard deviation of the position along the line.
        start_time: start of the frame in seconds.
        duration: its length in seconds.
        scanner: its name.
        keys: every key of the header as it is written there.

    Raises:
        ValueError: for numbers of bins that are not positive, or segments that do not fit together.
    """

    num_views: int
    num_bins: int
    planes_per_segment: tuple[int, ...]
    min_ring_difference: tuple[int, ...]
    max_ring_difference: tuple[int, ...]
    num_rings: int | None = None
    num_detectors: int | None = None
    ring_radius: float | None = None
    ring_spacing: float | None = None
    bin_size: float | None = None
    arc_corrected: bool = False
    view_offset: float = 0.0
    num_tof_bins: int = 0
    tof_bin_width: float | None = None
    tof_sigma: float | None = None
    start_time: float = 0.0
    duration: float = 0.0
    scanner: str = "unknown"
    keys: dict[str, str] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self):
        if min(self.num_views, self.num_bins, *self.planes_per_segment) < 1:
            raise ValueError(
                "num_views, num_bins, planes_per_segment: expected at least one each, "
                f"got {self.num_views}, {self.num_bins}, {self.planes_per_segment}"
            )
        for name in ("min_ring_difference", "max_ring_difference"):
            if len(getattr(self, name)) != len(self.planes_per_segment):
                raise ValueError(
                    f"{name}: expected one for each of {len(self.planes_per_segment)} segments, "
                    f"got {getattr(self, name)}"
                )
        if any(a > b for a, b in zip(self.min_ring_difference, self.max_ring_difference, strict=True)):
            raise ValueError(
                "min_ring_difference: expected none above max_ring_difference, "
                f"got {self.min_ring_difference} and {self.max_ring_difference}"
            )

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.shape))
        segments = len(self.planes_per_segment)
        return f"SinogramHeader({self.scanner!r}, [{shape}] in {segments} segment{'s' * (segments > 1)})"

    @property
    def num_planes(self) -> int:
        """Planes of all segments."""
        return sum(self.planes_per_segment)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(views, planes, bins)``, with time of flight ``(views, planes, bins, tof bins)``."""
        tof = (self.num_tof_bins,) if self.num_tof_bins else ()
        return (self.num_views, self.num_planes, self.num_bins, *tof)

    def ring_differences(self) -> np.ndarray:
        """Least and greatest ring difference of each plane, ``(planes, 2)`` integers."""
        ranges = np.stack([self.min_ring_difference, self.max_ring_difference], axis=1)
        return np.repeat(ranges, self.planes_per_segment, axis=0)

    def planes(self) -> np.ndarray:
        """z of the start and the end of each plane's lines in mm, ``(planes, 2)``, 0 in the middle of the scanner.

        The planes of a segment lie symmetrically about the scanner's middle, a ring apart where it has one ring
        difference and half a ring apart where it has several, whose mean then slants its lines.

        Raises:
            ValueError: where ``ring_spacing`` is not known.
        """
        spacing = self._known("ring_spacing")
        planes = []
        for count, low, high in zip(
            self.planes_per_segment, self.min_ring_difference, self.max_ring_difference, strict=True
        ):
            middle = (np.arange(count) - (count - 1) / 2) * (spacing if low == high else spacing / 2)
            half = (low + high) / 4 * spacing
            planes.append(np.stack([middle - half, middle + half], axis=1))
        return np.concatenate(planes)

    def ring_pairs(self) -> np.ndarray:
        """Rings of the start and the end of each plane's lines, ``(planes, 2)`` integers from 0.

        Raises:
            ValueError: where a segment has several ring differences, or ``num_rings`` is not known or too small.
        """
        if self.min_ring_difference != self.max_ring_difference:
            raise ValueError("min_ring_difference: planes of several ring differences have no ring pair of their own")
        difference = self.ring_differences()[:, 0]
        index = np.concatenate([np.arange(n) for n in self.planes_per_segment])
        count = np.repeat(self.planes_per_segment, self.planes_per_segment)
        twice_middle = self._known("num_rings") - count + 2 * index
        rings = np.stack([twice_middle - difference, twice_middle + difference], axis=1)
        if (rings % 2).any() or rings.min() < 0 or rings.max() > 2 * (self.num_rings or 0) - 2:
            raise ValueError(f"num_rings: the planes of the segments do not fit {self.num_rings} rings")
        return rings // 2

    def angles(self) -> np.ndarray:
        """The angle of each view in radians, ``(views,)``: that of a parallel beam in jaxct."""
        step = np.pi / self.num_views
        mashed, rest = divmod(self.num_detectors or 0, 2 * self.num_views)
        middle = 0.0 if rest or not mashed else (mashed - 1) / (2 * mashed)
        return self.view_offset + (np.arange(self.num_views) + middle) * step

    def distances(self) -> np.ndarray:
        """Signed distance of each bin's lines from the axis in mm, ``(bins,)``.

        Raises:
            ValueError: where the header lacks ``bin_size`` or, without arc correction, the ring; or bins lie outside.
        """
        position = np.arange(self.num_bins) - self.num_bins // 2
        if self.arc_corrected:
            return position * self._known("bin_size")
        angle = position * np.pi / self._known("num_detectors")
        if np.abs(angle).max() > np.pi / 2:
            raise ValueError(f"num_bins: {self.num_bins} bins do not fit in a ring of {self.num_detectors} crystals")
        return self._known("ring_radius") * np.sin(angle)

    def lines(self) -> np.ndarray:
        """The ends (y, x) of each view's lines on the ring in mm, ``(views, bins, 2, 2)``: start, then end.

        With ``s`` the distance and ``a`` the angle the line is x cos a + y sin a = s, and runs along (-sin a, cos a) in
        (x, y): ``SinogramLORs(header.lines(), header.planes())`` are the lines of response. Neighbouring bins of a ring
        of crystals are in truth half a view apart in angle; as in STIR, all bins of a view get its own.

        Raises:
            ValueError: as for :meth:`distances`, and where ``ring_radius`` is not known or too small.
        """
        radius, s = self._known("ring_radius"), self.distances()
        if np.abs(s).max() > radius:
            raise ValueError(f"ring_radius: bins reach {np.abs(s).max():.6g} mm, beyond the ring's {radius:.6g} mm")
        cos, sin = np.cos(self.angles())[:, None], np.sin(self.angles())[:, None]
        half = np.sqrt(radius**2 - s**2)
        ends = [np.stack([s * sin + t * cos, s * cos - t * sin], axis=-1) for t in (-half, half)]
        return np.stack(ends, axis=-2)

    def _known(self, name: str) -> Any:
        value = getattr(self, name)
        if not value:
            raise ValueError(f"{name}: the header does not say; use dataclasses.replace(header, {name}=...)")
        return value
