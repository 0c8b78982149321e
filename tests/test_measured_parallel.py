"""Measured synchrotron scans, from counts to image: the axis is found, and the image explains the data.

A tooth (Advanced Photon Source, Data Exchange) and a sample from I13 of Diamond Light Source (TIFF, with a flat of
another exposure).
"""

import functools

import numpy as np
import pytest

from jaxct import ParallelBeam, Projector, VolumeGrid
from jaxct.io import Scan, find_axis_offset, open_scan, with_axis_offset
from jaxct.reconstruct import fbp
from tests.data import data_path

tifffile = pytest.importorskip("tifffile")


def flat_slice(geometry, offset):
    """The 2-D geometry of one detector row, with its axis ``offset`` pixels off the middle."""
    beam = ParallelBeam(geometry.angles, detector_shape=geometry.detector_shape[-1:], pixel_size=1.0)
    return with_axis_offset(beam, offset)


def explained(projections, geometry, size):
    """How the FBP image's own projections correlate with the measured ones."""
    grid = VolumeGrid((size, size))
    image = fbp(projections, geometry, grid)
    again = Projector(geometry, grid)(image)
    return float(np.corrcoef(np.ravel(again), np.ravel(projections))[0, 1]), np.asarray(image), grid


@functools.cache
def tooth():
    scan = open_scan(data_path("tooth_parallel/tooth.h5"))
    projections = scan.line_integrals().values
    return scan, projections, find_axis_offset(projections, scan.geometry)


def test_tooth_axis_is_found_to_half_a_pixel():
    scan, _, offset = tooth()
    assert (scan.geometry.detector_shape[-1] - 1) / 2 - offset == pytest.approx(296, abs=0.5)


def test_tooth_reconstructs():
    """Clean air around and inside, two materials, and a wrong axis explains the data worse."""
    scan, projections, offset = tooth()
    row = projections[:, 0]
    correlation, image, grid = explained(row, flat_slice(scan.geometry, offset), 400)
    assert correlation > 0.9998
    y, x = np.meshgrid(*map(np.asarray, grid.coordinates()), indexing="ij")

    def mean(x0, y0, r):
        return image[np.hypot(x - x0, y - y0) < r].mean()

    enamel, dentine = mean(-50, 30, 6), mean(80, 40, 8)
    assert 1.5 < enamel / dentine < 1.8
    assert abs(mean(0, -30, 5)) < 0.05 * enamel
    assert abs(image[np.hypot(x, y) > 175].mean()) < 0.02 * enamel
    wrong, _, _ = explained(row, flat_slice(scan.geometry, offset + 3), 400)
    assert wrong < correlation - 1e-4


@functools.cache
def diamond():
    folder = data_path("diamond24737_tiff")
    views = np.stack([tifffile.imread(folder / f"raw_{i:05d}.tiff") for i in range(91)])
    flat, dark = (tifffile.imread(folder / f"{name}_00001.tiff") for name in ("flat", "dark"))
    geometry = ParallelBeam(np.deg2rad(-88.2 + 2 * np.arange(91)), detector_shape=views.shape[1:])
    # Images have row 0 at the top.
    scan = Scan(views[:, ::-1], geometry, "counts", flat[None, ::-1], dark[None, ::-1])
    return scan, scan.line_integrals(background=(slice(110, 135), slice(0, 20)))


def test_diamond_counts_become_line_integrals():
    """The flat is 1.45 times too bright; the background region puts that right, so that air is 0 elsewhere too."""
    scan, (values, guarded) = diamond()
    assert int(guarded) < 1e-3 * values.size
    assert abs(float(np.median(values[:, 115:, 140:]))) < 0.05
    assert float(np.median(scan.line_integrals().values[:, 115:, :20])) > 0.3


def test_diamond_axis_is_found_to_half_a_pixel():
    scan, (values, _) = diamond()
    assert (160 - 1) / 2 - find_axis_offset(values, scan.geometry) == pytest.approx(85.75, abs=0.5)


def test_diamond_reconstructs():
    scan, (values, _) = diamond()
    offset = find_axis_offset(values, scan.geometry)
    row = values[:, 40]
    correlation, _, _ = explained(row, flat_slice(scan.geometry, offset), 160)
    wrong, _, _ = explained(row, flat_slice(scan.geometry, offset + 3), 160)
    assert correlation > 0.99
    assert wrong < correlation - 1e-3
