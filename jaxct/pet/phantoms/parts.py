"""What every analytic PET phantom consists of, and the attenuation of its materials at 511 keV."""

from collections.abc import Mapping
from typing import NamedTuple

import jax

from jaxct.geometry import VolumeGrid
from jaxct.phantoms import Phantom

# Linear attenuation coefficients at 511 keV in 1/mm: mass attenuation (NIST XCOM, composition of ICRU Report 44) times
# density. Water 0.0960 cm^2/g; acrylic 0.0932 cm^2/g at 1.19 g/cm^3; the lung insert of NEMA has 0.30 g/cm^3.
WATER = 0.0096
ACRYLIC = 0.0111
NEMA_LUNG = 0.0029
# Skull is cortical bone (0.0172) around marrow; attenuation maps of the head use 0.0143 to 0.0152.
SKULL = 0.0151


class PETPhantom(NamedTuple):
    """An object of simple shapes, as a PET scan sees it.

    All three know exact projections and rasters. The attenuation factors of a scan are
    ``exp(-attenuation.project(lors))``.
    """

    activity: Phantom
    """Activity concentration, in whatever unit the background was given."""
    attenuation: Phantom
    """Attenuation at 511 keV, in 1/mm."""
    regions: Mapping[str, Phantom]
    """Of each named region the phantom that is 1 inside and 0 outside."""

    def region_weights(self, grid: VolumeGrid, *, oversample: int = 4) -> dict[str, jax.Array]:
        """Which fraction of every voxel lies in each region, as the measures of :mod:`jaxct.pet.metrics` take it.

        Args:
            grid: a 3-D grid.
            oversample: as of :meth:`jaxct.phantoms.Phantom.rasterize`.

        Returns:
            For each region an array of the grid's shape, between 0 and 1. Compare it (``> 0.5``, ``== 1``) for masks.
        """
        return {name: region.rasterize(grid, oversample=oversample) for name, region in self.regions.items()}
