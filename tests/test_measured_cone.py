"""The measured walnut against slices of an independent FDK of the scan with twice the resolution and the views."""

import numpy as np
import pytest

from jaxct import VolumeGrid
from jaxct.io import open_scan
from jaxct.reconstruct import fdk
from tests.data import data_path

# Planes of the reference in (z, y, x): those through the axes' origin, and an axial one 8 mm below it.
PLANES = {
    "ax0": ((1, 256, 256), (0.0, 0.0, 0.0)),
    "ax1": ((1, 256, 256), (-8.0, 0.0, 0.0)),
    "cr": ((256, 1, 256), (0.0, 0.0, 0.0)),
    "sg": ((256, 256, 1), (0.0, 0.0, 0.0)),
}


def reconstruct(file: str, plane: str, window: str) -> tuple[np.ndarray, np.ndarray]:
    """A plane of jaxct's FDK on the points of the reference, and the reference, whose rows run along -y or -z."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(data_path("walnut_cone/walnut_fdk_reference_slices.h5")) as reference:
        expected, voxel_size = reference[plane][()], float(reference.attrs["voxel_mm"])
    scan = open_scan(data_path(f"walnut_cone/{file}"))
    shape, center = PLANES[plane]
    grid = VolumeGrid(shape, voxel_size, center)
    volume = fdk(scan.line_integrals().values, scan.geometry, grid, window=window)
    return np.asarray(volume).squeeze()[::-1], expected


@pytest.mark.parametrize("plane", PLANES)
def test_120_views_of_the_walnut(plane):
    """Half the resolution and half the views: alike after a Gaussian blur of one (small) voxel on both sides."""
    blur = pytest.importorskip("scipy.ndimage").gaussian_filter
    image, expected = reconstruct("walnut_cone_128_120v.h5", plane, "shepp-logan")
    assert np.corrcoef(blur(image, 1).ravel(), blur(expected, 1).ravel())[0, 1] > 0.99
    np.testing.assert_allclose(image.mean(), expected.mean(), rtol=0.01)


@pytest.mark.parametrize("plane", ["ax1", "cr"])
def test_the_full_scan_of_the_walnut(plane):
    """The same data: 240 views, and a last one that repeats the first."""
    image, expected = reconstruct("walnut_cone_256.h5", plane, "hann")
    assert np.corrcoef(image.ravel(), expected.ravel())[0, 1] > 0.999
    np.testing.assert_allclose(image.mean(), expected.mean(), rtol=0.005)
    # No scaling: the line through the attenuation of one against the other has slope 1.
    np.testing.assert_allclose(np.polyfit(expected.ravel(), image.ravel(), 1)[0], 1.0, atol=0.005)
