"""Measured fan-beam scans of the Helsinki Tomography Challenge 2022 against the organisers' own reconstructions."""

import numpy as np
import pytest

from jaxct import VolumeGrid
from jaxct.io import open_scan
from jaxct.reconstruct import fbp
from tests.data import data_path

PIXEL = 0.1483223  # mm: the detector's pixels seen at the rotation axis


@pytest.mark.parametrize("sample", ["ta", "tb"])
def test_fbp_agrees_with_the_published_reconstruction(sample):
    """721 views from 0 to 360 degrees, the last repeating the first. The published image has +y upwards."""
    loadmat = pytest.importorskip("scipy.io").loadmat
    scan = open_scan(data_path(f"htc2022_fan/htc2022_{sample}_full.mat"))
    published = loadmat(data_path(f"htc2022_fan/htc2022_{sample}_full_recon_fbp.mat"))["reconFullFbp"] / PIXEL
    image = fbp(scan.line_integrals().values, scan.geometry, VolumeGrid((512, 512), PIXEL))
    image = np.asarray(image, np.float64)[::-1]
    assert np.corrcoef(image.ravel(), published.ravel())[0, 1] > 0.9999
    np.testing.assert_allclose(image.mean(), published.mean(), rtol=0.002)
    disk = published > 0.5 * published.max()
    np.testing.assert_allclose(image[disk].mean(), published[disk].mean(), rtol=0.002)
