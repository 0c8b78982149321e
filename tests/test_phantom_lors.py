"""Line integrals over lines of response are exact: from end to end, with time of flight, from face to face."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxct.geometry.lors import TOF, ListMode, LORs, SinogramLORs
from jaxct.phantoms import Box, Cylinder, Ellipsoid, Phantom, ball


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def random_ends(n, radius=60.0, seed=0):
    points = np.random.default_rng(seed).normal(size=(2, n, 3))
    return radius * points / np.linalg.norm(points, axis=-1, keepdims=True)


def objects():
    return Phantom(
        Ellipsoid((3.0, -5.0, 8.0), (20.0, 30.0, 25.0), 0.7), Box((1.0, 10.0, -10.0), (10.0, 5.0, 8.0), 0.4, 0.3)
    )


def small_sinogram(tof=None, **widths):
    angle = np.linspace(0, np.pi, 5, endpoint=False)[:, None]
    offset = np.linspace(-25, 25, 7)
    along = np.stack([np.sin(angle) + 0 * offset, np.cos(angle) + 0 * offset], -1)
    across = np.stack([np.cos(angle) + 0 * offset, -np.sin(angle) + 0 * offset], -1)
    middle = offset[:, None] * across
    lines = np.stack([middle - 70 * along, middle + 65 * along], 2)
    if widths:
        widths["tangents"] = 4.0 * np.stack([across, across + 0.3 * along], 2)
    return SinogramLORs(lines, [[-9.0, -9.0], [4.0, -11.0], [12.0, 8.0]], tof=tof, **widths)


def test_chords_of_a_ball_end_where_the_line_ends(x64):
    start, end = random_ends(2000)
    end = end * np.linspace(0.05, 1, 2000)[:, None]  # many end inside
    center, radius = np.array([4.0, -7.0, 11.0]), 30.0
    length = np.linalg.norm(end - start, axis=1)
    unit = (end - start) / length[:, None]
    nearest = ((center - start) * unit).sum(1)
    half = np.sqrt(np.maximum(radius**2 - ((center - start) ** 2).sum(1) + nearest**2, 0))
    expected = np.maximum(np.minimum(nearest + half, length) - np.maximum(nearest - half, 0), 0)
    inside = np.linalg.norm(end - center, axis=1) < radius
    assert 300 < inside.sum() < 1700
    found = ball(radius, center=center, value=0.5).project(LORs(start, end))
    assert found.shape == (2000,)
    np.testing.assert_allclose(found, 0.5 * expected, rtol=1e-9, atol=1e-6)


def test_chords_of_boxes_and_cylinders_by_hand(x64):
    start = [[0.0, 0.0, -50.0], [-50.0, 0.0, 0.0], [0.0, 3.0, -50.0], [3.0, -40.0, -30.0]]
    end = [[0.0, 0.0, 50.0], [50.0, 0.0, 0.0], [0.0, 3.0, 0.0], [3.0, 40.0, 30.0]]
    lors = LORs(start, end)
    box = Phantom(Box((0.0, 0.0, 0.0), (4.0, 6.0, 9.0)))
    np.testing.assert_allclose(box.project(lors), [18, 8, 9, 15], atol=1e-12)  # 12/sin of 3-4-5
    cylinder = Phantom(Cylinder((0.0, 0.0, 0.0), 5.0, 7.0))
    np.testing.assert_allclose(cylinder.project(lors), [10, 14, 4, 10], atol=1e-12)


def test_time_of_flight_bins_add_up_to_the_chord(x64):
    start, end = random_ends(300)
    tof = TOF(9.0, 6.0, 40, num_sigmas=2.5)
    chords, bins = objects().project(LORs(start, end)), objects().project(LORs(start, end, tof=tof))
    assert bins.shape == (300, 40)
    assert chords.max() > 30
    assert bins.min() >= -1e-13
    np.testing.assert_allclose(bins.sum(1), chords, atol=1e-11)


def test_time_of_flight_bins_add_up_in_single_precision():
    start, end = random_ends(300, radius=400.0)
    phantom = 0.2 * ball(150.0, center=(10.0, 20.0, -30.0))
    tof = TOF(30.0, 15.0, 70)
    bins = np.asarray(phantom.project(LORs(start, end, tof=tof)), np.float64)
    chords = np.asarray(phantom.project(LORs(start, end)), np.float64)
    np.testing.assert_allclose(bins.sum(1), chords, rtol=1e-5, atol=1e-5 * chords.max())
    with jax.enable_x64(True):
        exact = np.asarray(phantom.project(LORs(start, end, tof=tof)))
    # Where the line enters is known to sqrt(8 r eps * coordinate) at the rim; elsewhere to a few eps of it.
    assert np.median(np.abs(bins - exact)) < 1e-6 * chords.max()
    assert np.abs(bins - exact).max() < 0.2 * np.sqrt(8 * 150 * 4e-7 * 400)


def test_each_bin_is_the_integral_of_its_probability(x64):
    """The definition that TOF gives, summed along the line in small steps."""
    start, end = random_ends(4, seed=3)
    tof = TOF(7.0, 5.0, 21, num_sigmas=3.0, center_offset=4.0)
    steps = 40000
    place = (np.arange(steps) + 0.5) / steps
    found = objects().project(LORs(start, end, tof=tof))
    centers = 4.0 + (np.arange(21) - 10) * 5.0

    def distribution(u):
        normal = lambda v: 0.5 * np.asarray(jax.scipy.special.erfc(-v / np.sqrt(2)))  # noqa: E731
        low = normal(-3.0)
        return np.clip((normal(u) - low) / (1 - 2 * low), 0, 1)

    for i in range(4):
        length = np.linalg.norm(end[i] - start[i])
        values = np.asarray(objects()(start[i] + place[:, None] * (end[i] - start[i])))
        s = (place - 0.5) * length
        seen = distribution((centers + 2.5 - s[:, None]) / 7) - distribution((centers - 2.5 - s[:, None]) / 7)
        # A step at each of four surfaces is off by half a step at most, and a bin sees less than all of it.
        atol = 4 * 0.7 * length / steps
        np.testing.assert_allclose(found[i], (seen * values[:, None]).sum(0) * length / steps, atol=atol)


def test_swapping_ends_and_the_sign_of_the_offset_mirrors_the_bins(x64):
    start, end = random_ends(50)
    there = objects().project(LORs(start, end, tof=TOF(7.0, 5.0, 22, center_offset=6.0)))
    back = objects().project(LORs(end, start, tof=TOF(7.0, 5.0, 22, center_offset=-6.0)))
    np.testing.assert_allclose(back, there[:, ::-1], atol=1e-10)


def test_a_bin_out_of_reach_gets_nothing():
    lors = LORs([[0.0, 0.0, -300.0]], [[0.0, 0.0, 300.0]], tof=TOF(10.0, 10.0, 61, num_sigmas=3.0))
    bins = np.asarray(ball(20.0).project(lors))[0]
    reach = np.abs(np.arange(61) - 30) * 10 - 5 < 20 + 3 * 10
    assert (bins[reach] > 0).all()
    assert (bins[~reach] == 0).all()


def test_list_mode_is_the_bin_of_each_event(x64):
    start, end = random_ends(60)
    tof = TOF(7.0, 5.0, 20, center_offset=3.0)
    wanted = np.arange(60) % 20
    bins = objects().project(LORs(start, end, tof=tof))
    events = objects().project(ListMode(start, end, wanted, tof))
    np.testing.assert_allclose(events, bins[np.arange(60), wanted], atol=1e-13)
    wider = objects().project(LORs(start, end, tof=TOF(7.0, 5.0, 22, center_offset=3.0)))
    outside = objects().project(ListMode(start, end, np.full(60, 20), tof))
    np.testing.assert_allclose(outside, wider[:, 21], atol=1e-13)


@pytest.mark.parametrize("tof", [None, TOF(7.0, 5.0, 12)])
def test_a_sinogram_is_the_list_of_its_lines(tof, x64):
    sinogram = small_sinogram(tof)
    ends = sinogram.to_ends().reshape(-1, 2, 3)
    listed = objects().project(LORs(ends[:, 0], ends[:, 1], tof=tof))
    found = objects().project(sinogram)
    assert found.shape == sinogram.projection_shape
    assert found.max() > (20 if tof is None else 4)
    np.testing.assert_allclose(found, listed.reshape(found.shape), atol=1e-12)
    np.testing.assert_allclose(objects().project(sinogram[1:3]), found[1:3], atol=1e-12)


def test_oversampling_averages_lines_from_face_to_face(x64):
    sinogram = small_sinogram(plane_width=5.0, tof=TOF(7.0, 5.0, 12))
    total = 0.0
    for axial in (-1 / 3, 0.0, 1 / 3):
        for tangential in (-1 / 3, 0.0, 1 / 3):
            lines = sinogram.lines + tangential * sinogram.tangents
            shifted = SinogramLORs(lines, sinogram.planes + axial * 5.0, tof=sinogram.tof)
            total = total + objects().project(shifted) / 9
    np.testing.assert_allclose(objects().project(sinogram, oversample=3), total, atol=1e-12)


def test_oversampling_of_listed_lines_spans_their_widths(x64):
    start, end = np.array([[1.0, -50.0, -40.0]]), np.array([[-2.0, 50.0, 35.0]])
    across = np.array([0.0, 75.0, -100.0]) / 125
    total = 0.0
    for axial in (-0.25, 0.25):
        for tangential in (-0.25, 0.25):
            shift = axial * 6.0 * np.array([1.0, 0, 0]) + tangential * 4.0 * across
            total = total + objects().project(LORs(start + shift, end + shift)) / 4
    found = objects().project(LORs(start, end, widths=(6.0, 4.0)), oversample=2)
    np.testing.assert_allclose(found, total, atol=1e-12)


def test_line_integrals_can_be_differentiated_in_ends_and_shapes(x64):
    start, end = random_ends(3, seed=5)
    tof = TOF(7.0, 9.0, 4, num_sigmas=8.0)  # cut off where nothing is left, so that there is no kink

    def project(phantom, start, end):
        return phantom.project(LORs(start, end, tof=tof))

    check_grads(project, (objects(), jnp.asarray(start), jnp.asarray(end)), order=1, modes=["rev"], rtol=1e-5)


def test_line_integrals_are_batched(x64):
    start, end = random_ends(20)
    lors = LORs(start, end, tof=TOF(7.0, 5.0, 12))
    radii = jnp.array([5.0, 20.0])
    batched = jax.jit(jax.vmap(lambda r: ball(r).project(lors)))(radii)
    for radius, found in zip(radii, batched, strict=True):
        np.testing.assert_allclose(found, ball(radius).project(lors), atol=1e-12)


def test_oversampling_needs_widths():
    with pytest.raises(ValueError, match="oversample"):
        ball(1.0).project(LORs([[0.0, 0, 0]], [[1.0, 0, 0]]), oversample=2)
