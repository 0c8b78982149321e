"""Arrays of more than 2^31 numbers, whose indices overflow 32 bits. Run alone: each takes tens of gigabytes."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from tests.gpu.tools import gpu

# Rays are parallel to an axis and pixels as large as voxels: all coordinates are multiples of 1/2 below 2^16, where
# float32 numbers are 2^-8 apart or less, so that none is rounded. Only a weight of 1 can be off, by its last bits.
ROUNDING = 4 * float(np.finfo(np.float32).eps)

pytestmark = pytest.mark.usefixtures("real_gpu")


def _needs(gigabytes: float) -> None:
    limit = gpu().memory_stats()["bytes_limit"] / 1e9
    if limit < gigabytes:
        pytest.skip(f"needs {gigabytes} GB of device memory, there are {limit:.0f}")


@pytest.mark.parametrize("model", ["siddon", "joseph", "separable_footprint"])
def test_a_volume_of_more_than_2_to_the_31_voxels(model):
    """The last voxel, whose index needs more than 32 bits, is seen and written; and no other."""
    _needs(60)
    n = 46_400
    grid = jaxct.VolumeGrid((n, n))
    scan = jaxct.ParallelBeam([0.0], detector_shape=(3,), detector_offset=(n - 3) / 2)  # the last three columns
    image = jnp.zeros((n, n), jnp.float32).at[-1, -1].set(1.0)
    sinogram = jaxct.forward_project(image, scan, grid, model=model)
    np.testing.assert_allclose(sinogram, [[0.0, 0.0, 1.0]], atol=ROUNDING)
    del image
    back = jaxct.back_project(jnp.array([[0.0, 0.0, 1.0]]), scan, grid, model=model)
    np.testing.assert_allclose(back[:, -3:], np.tile([0.0, 0.0, 1.0], (n, 1)), atol=ROUNDING)
    assert float(jnp.max(jnp.abs(back[:, : n - 4]))) == 0.0


@pytest.mark.parametrize("model", ["siddon", "joseph", "separable_footprint", "voxel_driven"])
def test_more_than_2_to_the_31_projection_values(model):
    _needs(60)
    views, cols = 33_000, 66_000
    grid = jaxct.VolumeGrid((3, 3))
    scan = jaxct.ParallelBeam(np.zeros(views), detector_shape=(cols,), detector_offset=-(cols - 3) / 2)
    sinogram = jnp.zeros((views, cols), jnp.float32).at[-1, -1].set(1.0)
    image = jaxct.back_project(sinogram, scan, grid, model=model)
    np.testing.assert_allclose(image, [[0.0, 0.0, 1.0]] * 3, atol=ROUNDING)
    del sinogram
    if model != "voxel_driven":
        sinogram = jaxct.forward_project(jnp.ones((3, 3), jnp.float32), scan, grid, model=model)
        np.testing.assert_allclose(sinogram[-1, -3:], [3.0, 3.0, 3.0], rtol=ROUNDING)
        assert float(jnp.max(jnp.abs(sinogram[:, : cols - 4]))) == 0.0
