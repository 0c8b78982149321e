"""Scanners by name, and what is needed to describe others."""

import functools

import numpy as np

from jaxct.geometry import _validate
from jaxct.geometry.grid import VolumeGrid
from jaxct.pet._grid_fit import GridReport, fit_grid
from jaxct.pet._scanner import Scanner
from jaxct.pet._specification import ImageDefaults, SinogramDefaults, Timing

__all__ = [
    "GridReport",
    "ImageDefaults",
    "Scanner",
    "SinogramDefaults",
    "Timing",
    "block_rings",
    "equal_rings",
    "fit_grid",
    "fitting_scanners",
    "ge_discovery_690",
    "ge_discovery_mi",
    "siemens_mct",
    "siemens_mmr",
]


def equal_rings(num_rings: int, spacing: float) -> np.ndarray:
    """z of equidistant rings about the origin, (num_rings,) in mm."""
    return (np.arange(_validate.count("num_rings", num_rings)) - (num_rings - 1) / 2) * spacing


def block_rings(
    num_blocks: int, rings_per_block: int, pitch: float, gap: float, virtual_rings: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """z of the rings of blocks of crystals that stand one behind the other, about the origin.

    Args:
        num_blocks: along z.
        rings_per_block: number of crystals of a block along z.
        pitch: between them, in mm.
        gap: between blocks: what the distance of their outer crystals exceeds ``pitch`` by, in mm.
        virtual_rings: how many places between two blocks are numbered though no crystals are there; they are spread
            evenly.

    Returns:
        z of all places, and which of them are rings of crystals: the ``rings`` and ``live_rings`` of a
        :class:`Scanner`.

    Raises:
        ValueError, TypeError: numbers that are no counts, sizes out of range.
    """
    blocks, crystals = _validate.count("num_blocks", num_blocks), _validate.count("rings_per_block", rings_per_block)
    if virtual_rings < 0 or not pitch > 0 or not gap >= 0:
        raise ValueError(
            f"pitch must be positive, gap and virtual_rings not negative, got {pitch}, {gap}, {virtual_rings}"
        )
    period = crystals + virtual_rings
    place = np.arange(blocks * period - virtual_rings)
    block, crystal = place // period, place % period
    beyond = np.maximum(crystal - (crystals - 1), 0) / (virtual_rings + 1)
    z = block * (crystals * pitch + gap) + np.minimum(crystal, crystals - 1) * pitch + beyond * (pitch + gap)
    return z - (z[0] + z[-1]) / 2, crystal < crystals


@functools.cache
def ge_discovery_690(tof_mashing: int = 1) -> Scanner:
    """GE Discovery 690 (and 710): 24 rings of 576 LYSO crystals, 4.2 x 6.3 x 25 mm, with time of flight.

    32 flat modules of 18 crystals in a ring, inner radius 405.1 mm, on which the crystals are spread evenly; photons
    are detected 9.4 mm behind the faces; rings every 6.54 mm. 288 views of 381 bins; 553 planes, all ring differences
    with GE's span 2. 55 TOF bins of 89 ps. Image 49 x 180 x 180 at 3.27 mm. Crystals are counted from -y; STIR turns the
    ring by 5.02 degrees, in doubt about the direction.

    Args:
        tof_mashing: number of TOF bins merged into one, 1, 5, 11 or 55.

    References:
        V. Bettinardi et al., "Physical performance of the new hybrid PET/CT Discovery-690", Med. Phys. 38 (2011)
        5394-5411: crystals, time (544.3 ps) and energy resolution (12.4 %), window 425-650 keV. Radii, spacing and TOF
        bins as in the list of scanners of STIR (K. Thielemans et al., Phys. Med. Biol. 57 (2012) 867-883).
    """
    return Scanner.regular_polygon(
        name="GE Discovery 690",
        num_sides=32,
        crystals_per_side=18,
        radius=405.1,
        depth_of_interaction=9.4,
        pitch=2 * (405.1 + 9.4) * np.tan(np.pi / 32) / 18,
        rings=equal_rings(24, 6.54),
        crystal_size=(6.3, 4.2),
        timing=Timing(544.3, 89.0, 55).mashed(tof_mashing),
        energy_window=(425.0, 650.0),
        energy_resolution=0.124,
        sinogram_defaults=SinogramDefaults(381, 2, 23, bin_size=2.1306),
        image_defaults=ImageDefaults((49, 180, 180), (3.27, 3.27, 3.27)),
    )


@functools.cache
def ge_discovery_mi(tof_mashing: int = 1) -> Scanner:
    """GE Discovery MI with four rings of blocks: 36 rings of 544 LYSO crystals, 3.95 x 5.3 x 25 mm, with time of
    flight.

    34 flat modules of 16 crystals, 4.03125 mm apart, inner radius 372.05 mm; photons are detected 8.51 mm behind the
    faces. Along z four blocks of 9 crystals, 5.32 mm apart, with gaps of 2.8 mm. 272 views of 415 bins; 1261 planes,
    all ring differences with GE's span 2. 29 TOF bins of 169.3 ps. Image 71 x 256 x 256 at 2.79 x 2.734 x 2.734 mm.
    STIR has rings 5.52 mm apart all along, a depth of 9.4 mm, and turns the ring by 4.4 degrees.

    Args:
        tof_mashing: number of TOF bins merged into one, 1 or 29.

    References:
        D. F. C. Hsu et al., "Studies of a next-generation silicon-photomultiplier-based time-of-flight PET/CT system",
        J. Nucl. Med. 58 (2017) 1511-1518: crystals, time (375.4 ps) and energy resolution (9.4 %), window 425-650 keV.
        Positions of crystals as in parallelproj (G. Schramm and K. Thielemans, Front. Nucl. Med. 3 (2024) 1324562),
        numbers of views and bins as in the list of scanners of STIR.
    """
    rings, live_rings = block_rings(4, 9, 5.32, 2.8)
    return Scanner.regular_polygon(
        name="GE Discovery MI",
        num_sides=34,
        crystals_per_side=16,
        radius=372.05,
        depth_of_interaction=8.51,
        pitch=4.03125,
        rings=rings,
        live_rings=live_rings,
        crystal_size=(5.3, 3.95),
        timing=Timing(375.4, 13 * 13.02, 29).mashed(tof_mashing),
        energy_window=(425.0, 650.0),
        energy_resolution=0.094,
        sinogram_defaults=SinogramDefaults(415, 2, 35, bin_size=2.206),
        image_defaults=ImageDefaults((71, 256, 256), (2.79, 2.734, 2.734)),
    )


@functools.cache
def siemens_mmr() -> Scanner:
    """Siemens Biograph mMR: 64 rings of 448 LSO crystals, 4 x 4 x 20 mm, without time of flight.

    56 flat blocks of 8 crystals, 4.0625 mm apart, inner radius 328 mm; photons are detected 7 mm behind the faces.
    Before each block one number is given to the gap, so a ring counts 504. Rings every 4.0625 mm. 252 views of 344
    bins; 837 planes with span 11 and ring differences up to 60 (4084 with span 1, as in list mode). Image 127 x 344 x
    344 at 2.03125 x 2.08626 x 2.08626 mm.

    References:
        G. Delso et al., "Performance measurements of the Siemens mMR integrated whole-body PET/MR scanner", J. Nucl.
        Med. 52 (2011) 1914-1922: crystals, blocks, window 430-610 keV, energy resolution (14.5 %). Depth, numbers of
        views and bins as in the list of scanners of STIR.
    """
    return Scanner.blocks(
        name="Siemens Biograph mMR",
        num_sides=56,
        crystals_per_block=8,
        virtual_crystals=1,
        radius=328.0,
        depth_of_interaction=7.0,
        pitch=4.0625,
        rings=equal_rings(64, 4.0625),
        crystal_size=(4.0, 4.0),
        energy_window=(430.0, 610.0),
        energy_resolution=0.145,
        sinogram_defaults=SinogramDefaults(344, 11, 60, bin_size=2.08626),
        image_defaults=ImageDefaults((127, 344, 344), (2.03125, 2.08626, 2.08626)),
    )


@functools.cache
def siemens_mct(tof_mashing: int = 1) -> Scanner:
    """Siemens Biograph mCT with four rings of blocks (TrueV): 52 rings of 624 LSO crystals, 4 x 4 x 20 mm.

    48 flat blocks of 13 crystals, 4.01 mm apart, inner radius 421 mm; photons are detected 7 mm behind the faces. One
    number is given to the gap before each block and one to that between two blocks along z, so there are 55 rings of
    672, every 4.054 mm. 168 views (two merged) of 400 bins; 621 planes with span 11 and ring differences up to 49. 13
    TOF bins of 312 ps. Image 109 x 200 x 200 at 2.027 x 4.07283 x 4.07283 mm.

    Args:
        tof_mashing: number of TOF bins merged into one, 1 or 13.

    References:
        B. W. Jakoby et al., "Physical and clinical performance of the mCT time-of-flight PET/CT scanner", Phys. Med.
        Biol. 56 (2011) 2375-2389: crystals, time (527.5 ps) and energy resolution (11.5 %), window 435-650 keV. Depth,
        numbers of views, bins and virtual crystals as in the list of scanners of STIR.
    """
    rings, live_rings = block_rings(4, 13, 4.054, 4.054, virtual_rings=1)
    return Scanner.blocks(
        name="Siemens Biograph mCT",
        num_sides=48,
        crystals_per_block=13,
        virtual_crystals=1,
        radius=421.0,
        depth_of_interaction=7.0,
        pitch=4.01,
        rings=rings,
        live_rings=live_rings,
        crystal_size=(4.0, 4.0),
        timing=Timing(527.5, 312.0, 13).mashed(tof_mashing),
        energy_window=(435.0, 650.0),
        energy_resolution=0.115,
        sinogram_defaults=SinogramDefaults(400, 11, 49, mashing=2, bin_size=2.005),
        image_defaults=ImageDefaults((109, 200, 200), (2.027, 4.07283, 4.07283)),
    )


def fitting_scanners(grid: VolumeGrid) -> tuple[GridReport, ...]:
    """How a grid lies in each scanner of this module: those that it fits first, the narrowest of them first.

    Raises:
        ValueError: for a 2-D grid.
    """
    scanners = (ge_discovery_690(), ge_discovery_mi(), siemens_mmr(), siemens_mct())
    reports = [scanner.check_grid(grid) for scanner in scanners]
    return tuple(sorted(reports, key=lambda r: (not r.fits, r.bore_radius)))
