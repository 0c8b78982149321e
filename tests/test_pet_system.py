"""A whole PET scanner as an operator: lines of response, attenuation and blur, in sinograms and in single events."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from jaxct.geometry.lors import LORs
from jaxct.operators import Diagonal, GaussianBlur, fwhm_to_sigma
from jaxct.pet import physics
from jaxct.pet._scanner import Scanner
from jaxct.pet.sinograms import SinogramLayout
from jaxct.reconstruct.mlem import mlem
from jaxct.reconstruct.osem import osem
from tests.operators import adjoint_gap, random, relative_error


@pytest.fixture(scope="module")
def scan():
    """Sinogram operator, counts of a disc with a hot spot, and the operator of their events in random order."""
    scanner = Scanner.cylindrical(num_crystals=48, radius=100.0, rings=[-6.0, 0.0, 6.0], crystal_size=(6.0, 6.0))
    layout = SinogramLayout(scanner, num_bins=25, span=1, max_ring_difference=2)
    grid = jaxct.VolumeGrid((3, 14, 14), voxel_size=6.0)
    _, y, x = np.meshgrid(*(np.asarray(c) for c in grid.coordinates()), indexing="ij")
    image = 1.0 * (y**2 + x**2 < 36**2) + 3.0 * ((y - 12) ** 2 + x**2 < 8**2)
    lors, blur = layout.lors(tof=False), GaussianBlur(grid, fwhm_to_sigma(5.0))
    lines = jaxct.Projector(lors, grid, model="joseph")
    factors = physics.attenuation_factors(lines, 0.0096 * (y**2 + x**2 < 36**2))
    A = Diagonal(factors) @ lines @ blur  # noqa: N806
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.2 * np.asarray(A(image)))
    rays = rng.permutation(np.repeat(np.arange(counts.size), counts.ravel()))
    ends = np.asarray(lors.to_ends()).reshape(-1, 2, 3)[rays]
    single = jaxct.Projector(LORs(ends[:, 0], ends[:, 1]), grid, model="joseph")
    return A, counts.astype(np.float32), Diagonal(np.ravel(factors)[rays]) @ single @ blur


def test_it_has_its_transpose_and_subsets_of_views(scan):
    A, counts, _ = scan  # noqa: N806
    x, y = random(0, A.in_shape), random(1, A.out_shape)
    assert adjoint_gap(A, A.T, x, y) < 1e-6
    views = np.array([5, 0, 17])
    assert relative_error(A[views](x), A(x)[views]) < 1e-6
    assert counts.shape == A.out_shape


def test_events_give_the_image_of_the_sinogram(scan):
    A, counts, events = scan  # noqa: N806
    sensitivity = A.T(jnp.ones(A.out_shape))
    binned = mlem(A, counts, num_iters=8)
    listed = mlem(events, np.ones(events.out_shape, np.float32), num_iters=8, sensitivity=sensitivity)
    assert relative_error(listed.volume, binned.volume) < 1e-5
    np.testing.assert_allclose(listed.history["total"], counts.sum(), rtol=1e-5)


def test_subsets_of_views_and_of_events_go_as_far_as_as_many_iterations(scan):
    A, counts, events = scan  # noqa: N806
    whole = mlem(A, counts, num_iters=16).volume
    by_views = osem(A, counts, num_iters=4, num_subsets=4).volume
    sensitivity = A.T(jnp.ones(A.out_shape))
    ones = np.ones(events.out_shape, np.float32)
    by_events = osem(events, ones, num_iters=4, num_subsets=4, sensitivity=sensitivity).volume
    start = relative_error(mlem(A, counts, num_iters=0).volume, whole)
    assert relative_error(by_views, whole) < 0.1 * start
    assert relative_error(by_events, whole) < 0.25 * start
