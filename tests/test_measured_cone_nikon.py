"""One radiograph of a rotationally symmetric specimen, used at every angle, gives the vendor's radius.

A tensile specimen, measured on a Nikon XT H 225ST and reconstructed by the vendor from 3142 views (axitom 0.1.3, MIT).
Its neck makes the radius vary along z between 2.7 and 5.1 mm, so heights are tested with it.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxct import ConeBeam, VolumeGrid
from jaxct.io import line_integrals
from jaxct.reconstruct import fdk
from tests.data import data_path

tifffile = pytest.importorskip("tifffile")

SOURCE_ORIGIN, SOURCE_DETECTOR = 76.7512, 1127.464
PIXEL, BINNING = 0.2, 4
AXIS_COLUMN = 183.86  # of the binned radiograph, from its symmetry
VENDOR_VOXEL = 0.0136148379
VOXEL = PIXEL * BINNING * SOURCE_ORIGIN / SOURCE_DETECTOR
HEIGHTS = 25


def radiograph():
    """Line integrals (rows, cols), rows towards +z, of the 200 middle rows."""
    counts = tifffile.imread(data_path("nikon_axisym_cone/radiogram_u16.tif"))
    binned = counts.reshape(500, BINNING, 375, BINNING).mean((1, 3))[150:350][::-1]
    return line_integrals(binned[None].astype(np.float32), background=(slice(None), slice(0, 5))).values[0]


def reconstructed_profiles(view, num_views=180):
    """Heights (n,), radii (m,) and radial profiles (n, m), from a volume one voxel thick in y."""
    grid = VolumeGrid((HEIGHTS, 1, 241), voxel_size=(0.4, VOXEL, VOXEL))
    geometry = ConeBeam(
        np.arange(num_views) * 2 * np.pi / num_views,
        source_origin_distance=SOURCE_ORIGIN,
        source_detector_distance=SOURCE_DETECTOR,
        detector_shape=view.shape,
        pixel_size=PIXEL * BINNING,
        detector_offset=(0.0, ((375 - 1) / 2 - AXIS_COLUMN) * PIXEL * BINNING),
    )
    volume = np.asarray(fdk(jnp.broadcast_to(view, geometry.projection_shape), geometry, grid))[:, 0]
    z, _, x = map(np.asarray, grid.coordinates())
    return z, x[120:], (volume[:, 120:] + volume[:, 120::-1]) / 2


def vendor_profile(volume, z):
    """Radii and profile at a height, averaged over about the height of one of our voxels."""
    middle = (len(volume) - 1) / 2 + z / VENDOR_VOXEL
    near = np.abs(np.arange(len(volume)) - middle) <= 2
    return np.arange(volume.shape[1]) * VENDOR_VOXEL, volume[near].mean(0)


def radius(r, profile):
    """Where the profile first falls below half its value inside, between samples."""
    half = np.median(profile[r < 2]) / 2
    outside = int(np.argmax(profile < half))
    above, below = profile[outside - 1], profile[outside]
    return r[outside - 1] + (above - half) / (above - below) * (r[outside] - r[outside - 1])


def test_one_view_at_every_angle_gives_the_vendors_radius_to_one_voxel():
    vendor = tifffile.imread(data_path("nikon_axisym_cone/recon_by_external_software.tif"))
    z, r, profiles = reconstructed_profiles(radiograph())
    ours = np.array([radius(r, profile) for profile in profiles])
    theirs = np.array([radius(*vendor_profile(vendor, height)) for height in z])
    assert theirs.min() < 2.7
    assert theirs.max() > 5.0
    np.testing.assert_allclose(ours, theirs, atol=VOXEL)
    assert abs(np.mean(ours - theirs)) < VOXEL / 2


def test_the_profile_has_the_vendors_shape():
    vendor = tifffile.imread(data_path("nikon_axisym_cone/recon_by_external_software.tif"))
    z, r, profiles = reconstructed_profiles(radiograph())
    for height, profile in zip(z, profiles, strict=True):
        radii, theirs = vendor_profile(vendor, height)
        assert np.corrcoef(np.interp(radii, r, profile), theirs)[0, 1] > 0.97
