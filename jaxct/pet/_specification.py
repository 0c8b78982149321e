"""What a vendor says of a scanner beside where its crystals are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxct.geometry import _validate

HALF_LIGHT_SPEED = 0.299792458 / 2
"""mm along a line of response per ps of time difference."""
FWHM = 2 * np.sqrt(2 * np.log(2))


class Timing(NamedTuple):
    """How a scanner measures differences of arrival times, all in ps.

    Attributes:
        resolution: full width at half maximum.
        bin_width: of the time differences.
        num_bins: of them; the middle one has its centre at no difference if their number is odd.
    """

    resolution: float
    bin_width: float
    num_bins: int

    def mashed(self, bins: int) -> Timing:
        """With so many neighbouring bins merged into one; it must divide their number."""
        bins = _validate.count("tof_mashing", bins)
        if self.num_bins % bins:
            raise ValueError(f"tof_mashing must divide the number of TOF bins, {self.num_bins}, got {bins}")
        return self._replace(bin_width=self.bin_width * bins, num_bins=self.num_bins // bins)


class SinogramDefaults(NamedTuple):
    """The sinogram that a scanner's vendor makes; see :class:`SinogramLayout`.

    ``bin_size`` is that of arc-corrected bins, in mm.
    """

    num_bins: int
    span: int
    max_ring_difference: int
    mashing: int = 1
    bin_size: float | None = None


class ImageDefaults(NamedTuple):
    """The voxels that a scanner's vendor makes, (z, y, x)."""

    shape: tuple[int, int, int]
    voxel_size: tuple[float, float, float]
