"""Single scatter: against its formula in loops, and in absolute terms where a whole sphere of detectors counts it."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxct
from jaxct import VolumeGrid
from jaxct.pet import TOF
from jaxct.pet._scanner import Scanner
from jaxct.pet.scatter import (
    ScatterPoints,
    fit_tails,
    klein_nishina,
    scatter_points,
    scatter_sinogram,
    single_scatter,
)
from jaxct.pet.sinograms import SinogramLayout
from tests.operators import relative_error

GRID = jaxct.VolumeGrid((4, 6, 5), voxel_size=(20.0, 15.0, 18.0), center=(3.0, -4.0, 2.0))


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def lines(count=7, radius=400.0):
    rng = np.random.default_rng(0)
    first, second = rng.uniform(0, 2 * np.pi, (2, count))
    ends = [np.stack([rng.uniform(-60, 60, count), radius * np.cos(a), radius * np.sin(a)], 1) for a in (first, second)]
    ends[1][3] = ends[0][2]  # a detector that two lines share
    return ends


def points():
    rng = np.random.default_rng(1)
    low, high = (np.asarray(b) for b in GRID.bounds())
    return ScatterPoints(jnp.asarray(rng.uniform(low + 5, high - 5, (9, 3))), jnp.asarray(rng.uniform(50, 500, 9)))


def test_directions_of_scatter_add_up_to_one():
    cosine, weights = np.polynomial.legendre.leggauss(60)
    density, left = klein_nishina(cosine)
    assert 2 * np.pi * np.sum(weights * density) == pytest.approx(1, rel=1e-12)
    np.testing.assert_allclose(left, 1 / (2 - cosine))
    np.testing.assert_allclose(511 * klein_nishina(-1.0)[1], 511 / 3)
    mean = 2 * np.pi * np.sum(weights * density * np.asarray(left))
    assert mean == pytest.approx(0.66, abs=0.005), (
        "of 511 keV a photon keeps two thirds on average (Evans 1955: 0.340 lost)"
    )


def total_cross_section(k):
    """By integration over angles."""
    cosine, weights = np.polynomial.legendre.leggauss(200)
    left = 1 / (1 + k * (1 - cosine))
    return np.pi * np.sum(weights * left**2 * (left + 1 / left - 1 + cosine**2))


def window_share(energy, window, resolution):
    """Of photons of an energy that are measured within the window, by summation."""
    sigma = resolution * 511 / 2.354820045 * np.sqrt(energy / 511)
    e = np.linspace(*window, 20001)
    return np.trapezoid(np.exp(-((e - energy) ** 2) / 2 / sigma**2), e) / sigma / np.sqrt(2 * np.pi)


def test_agrees_with_the_formula_in_loops():
    """Of uniform activity and attenuation, whose integrals are lengths."""
    (start, end), cloud = lines(), points()
    window, resolution = (430.0, 620.0), 0.15
    low, high = (np.asarray(b) for b in GRID.bounds())

    def length(point, detector):
        span = detector - point
        with np.errstate(divide="ignore"):
            leaves = np.where(span > 0, high - point, low - point) / span
        return min(1, leaves[span != 0].min()) * np.linalg.norm(span)

    wanted = []
    for a, b in zip(start, end, strict=True):
        inwards = [-np.array([0, *d[1:]]) / np.linalg.norm(d[1:]) for d in (a, b)]
        total = 0.0
        for s, strength in zip(np.asarray(cloud.position), np.asarray(cloud.strength), strict=True):
            u, v, w = (s - a), (b - s), (b - a)
            r_a, r_b, r = (np.linalg.norm(d) for d in (u, v, w))
            cosine = u @ v / r_a / r_b
            left = 1 / (2 - cosine)
            density = left**2 * (left + 1 / left - 1 + cosine**2) / 2 / total_cross_section(1.0)
            thicker = total_cross_section(left) / total_cross_section(1.0)
            seen = max(u @ inwards[0] / r_a, 0) * max(-v @ inwards[1] / r_b, 0)
            straight = (w @ inwards[0] / r) * (-w @ inwards[1] / r)
            share = window_share(511 * left, window, resolution) / window_share(511, window, resolution)
            thick_a, thick_b = 0.009 * length(s, a), 0.009 * length(s, b)
            arriving = 2.0 * length(s, a) * np.exp(-thick_a - thicker * thick_b)
            arriving += 2.0 * length(s, b) * np.exp(-thicker * thick_a - thick_b)
            total += strength * density * share * seen / straight * (r / r_a / r_b) ** 2 * arriving
        wanted.append(total)
    activity, mu = np.full(GRID.shape, 2.0), np.full(GRID.shape, 0.009)
    options = {"points": cloud, "energy_window": window, "energy_resolution": resolution}
    got = single_scatter(activity, mu, GRID, start, end, **options)
    assert relative_error(got, wanted) < 1e-7
    assert relative_error(single_scatter(activity, mu, GRID, end, start, **options), got) < 1e-13


def test_a_sphere_of_detectors_counts_what_a_thin_ball_scatters():
    """From its middle photons scatter with the probability mu R. With a detector A fixed, and all of the sphere for B,
    there are ``4 mu R area / (4 pi D^2)`` single-scatter events for each pair of photons."""
    size, radius, mu, distance = 33, 30.0, 1e-6, 1e4
    grid = jaxct.VolumeGrid((size,) * 3, voxel_size=2.0)
    z, y, x = np.meshgrid(*(np.asarray(c) for c in grid.coordinates()), indexing="ij")
    r2 = z**2 + y**2 + x**2
    ball, source = np.where(r2 < radius**2, mu, 0.0), np.exp(-r2 / 2 / 3.0**2)
    count = 300
    k = np.arange(count) + 0.5
    height = 1 - 2 * k / count
    turn = np.pi * (1 + 5**0.5) * k
    across = np.sqrt(1 - height**2)
    sphere = distance * np.stack([height, across * np.cos(turn), across * np.sin(turn)], 1)
    a = np.broadcast_to([0.0, 0.0, distance], sphere.shape)
    got = np.asarray(
        single_scatter(
            source,
            ball,
            grid,
            a,
            sphere,
            points=scatter_points(ball, grid, block=3),
            energy_window=(0.0, 2000.0),
            normals=(-a / distance, -sphere / distance),
            num_samples=48,
        )
    )
    # The unit of a projection is that of sigma_A sigma_B cos cos / (2 pi R_AB^2) pairs.
    separation = np.linalg.norm(sphere - a, axis=1)
    cosine = separation / (2 * distance)
    events = np.sum(got * cosine**2 / (2 * np.pi * separation**2)) * 4 * np.pi * distance**2 / count
    pairs = source.sum() * 8.0
    # Spread over some millimetres the source has a shorter way out than R, by the mean of r^2 / (3 R) (thin: 1 %).
    way = np.sum(source * (radius - r2 / (3 * radius))) / source.sum()
    assert events == pytest.approx(pairs * 4 * mu * way / (4 * np.pi * distance**2), rel=0.02)


def test_points_stand_for_all_of_the_attenuation_and_lie_within_their_blocks():
    mu = np.random.default_rng(2).uniform(0, 1e-2, GRID.shape)
    mu[:2, :3, :2] = 0
    for key in (None, jax.random.key(0)):
        found = scatter_points(mu, GRID, block=(2, 3, 2), key=key)
        np.testing.assert_allclose(found.strength.sum(), mu.sum() * 20 * 15 * 18, rtol=1e-12)
        assert len(found.position) == 2 * 2 * 3 - 1
        low, high = GRID.bounds()
        assert ((found.position >= low) & (found.position <= high)).all()
    middle = scatter_points(mu, GRID, block=(2, 3, 2)).position[0]
    np.testing.assert_allclose(middle, GRID.to_world(jnp.array([0.5, 1.0, 2.5])), atol=1e-9)


def test_it_is_linear_in_the_activity_and_works_under_jit_and_vmap():
    (start, end), cloud = lines(), points()
    rng = np.random.default_rng(3)
    activity, mu = rng.uniform(size=(2, *GRID.shape)), rng.uniform(0, 1e-2, GRID.shape)

    @jax.jit
    def scatter(activity):
        return single_scatter(activity, mu, GRID, start, end, points=cloud, num_samples=16)

    each = [scatter(x) for x in activity]
    assert relative_error(scatter(activity[0] + 2 * activity[1]), each[0] + 2 * each[1]) < 1e-13
    assert relative_error(jax.vmap(scatter)(activity), np.stack(each)) < 1e-13
    check_grads(scatter, (activity[0],), order=1, modes=("rev",))
    traced = jax.jit(lambda s, e: single_scatter(activity[0], mu, GRID, s, e, points=cloud, num_samples=16))
    assert relative_error(traced(start, end), each[0]) < 1e-13


def test_with_time_of_flight_photons_seem_to_come_from_where_their_paths_say():
    """A small source, the distances from it by way of the point where they scatter, and the normal distribution."""
    grid = VolumeGrid((9, 41, 41), 4.0)
    z, y, x = np.meshgrid(*(np.asarray(c) for c in grid.coordinates()), indexing="ij")
    source = np.array([0.0, 32.0, -20.0])
    activity = np.exp(-((z - source[0]) ** 2 + (y - source[1]) ** 2 + (x - source[2]) ** 2) / 2 / 4.0**2)
    mu = np.full(grid.shape, 1e-9)
    bins = TOF(25.0, 30.0, 17, 4.0, center_offset=7.0)
    for point in ([0.0, -16.0, 4.0], [0.0, 48.0, -52.0]):
        cloud = ScatterPoints(jnp.asarray([point]), jnp.ones(1))
        # One detector on the line through source and point, beyond the source; the other one, behind, to the side.
        beyond = source - point
        end = point + 300 * beyond / np.linalg.norm(beyond)
        aside = beyond + np.linalg.norm(beyond) * np.array([0.1, 0.3, -0.2])
        start = point - 350 * aside / np.linalg.norm(aside)
        got = single_scatter(activity, mu, grid, [start], [end], points=cloud, tof=bins, num_samples=256)[0]
        # What goes to the end directly has been there; the other photon went to the point first.
        seems = (np.linalg.norm(start - point) + np.linalg.norm(source - point) - np.linalg.norm(end - source)) / 2
        edges = 7.0 + (np.arange(18) - 8.5) * 30.0
        width = math.hypot(25.0, 4.0)
        share = np.diff([0.5 + 0.5 * math.erf((edge - seems) / width / math.sqrt(2)) for edge in edges])
        np.testing.assert_allclose(got / got.sum(), share, atol=0.003)
        other = single_scatter(activity, mu, grid, [start], [end], points=cloud, num_samples=256)[0]
        assert relative_error(got.sum(), other) < 1e-3


def test_bins_of_time_of_flight_add_up_and_turn_round_with_the_line():
    (start, end), cloud = lines(), points()
    rng = np.random.default_rng(3)
    activity, mu = rng.uniform(size=GRID.shape), rng.uniform(0, 1e-2, GRID.shape)
    bins, turned = (TOF(20.0, 40.0, 31, center_offset=o) for o in (9.0, -9.0))
    without = single_scatter(activity, mu, GRID, start, end, points=cloud)
    got = single_scatter(activity, mu, GRID, start, end, points=cloud, tof=bins)
    assert got.shape == (7, 31)
    assert relative_error(got.sum(1), without) < 1e-12
    assert got.min() >= 0
    back = single_scatter(activity, mu, GRID, end, start, points=cloud, tof=turned)
    assert relative_error(back[:, ::-1], got) < 1e-12


def test_a_sinogram_is_sampled_where_it_is_wanted_and_smooth_between():
    """With every view, bin and plane it is exact for direct planes; with some it is near."""
    scanner = Scanner.cylindrical(num_crystals=60, radius=300.0, rings=np.arange(4) * 16.0 - 24, crystal_size=(4, 4))
    layout = SinogramLayout(scanner, num_bins=25, span=1, max_ring_difference=1)
    _, y, x = np.meshgrid(*(np.asarray(c) for c in GRID.coordinates()), indexing="ij")
    activity, mu = np.exp(-((y - 10) ** 2 + x**2) / 2 / 25.0**2), np.where(y**2 + x**2 < 40**2, 0.0096, 0.0)
    cloud = scatter_points(mu, GRID, block=2)
    full = scatter_sinogram(activity, mu, GRID, layout, points=cloud, spacing=(1, 8.0, 1))
    assert full.shape == layout.shape
    lors = layout.lors(tof=False).to_ends()[:, :4]
    start, end = (lors[..., k, :].reshape(-1, 3) for k in (0, 1))
    direct = single_scatter(activity, mu, GRID, start, end, points=cloud).reshape(30, 4, 25)
    assert relative_error(full[:, :4], direct) < 1e-12
    coarse = scatter_sinogram(activity, mu, GRID, layout, points=cloud, spacing=(4, 16.0, 2))
    assert relative_error(coarse, full) < 0.04
    # What is between the last view that is sampled and the first, half a turn on, is interpolated, too.
    assert relative_error(coarse[28:], full[28:]) < 0.04
    # With time of flight, too, where half a turn on the bins come in the opposite order.
    bins = TOF(30.0, 60.0, 8)
    timed = [
        scatter_sinogram(activity, mu, GRID, layout, points=cloud, spacing=spacing, tof=bins)
        for spacing in ((1, 8.0, 1), (4, 16.0, 2))
    ]
    assert timed[0].shape == (*layout.shape, 8)
    assert relative_error(timed[0].sum(-1), full) < 1e-12
    assert relative_error(timed[1][28:], timed[0][28:]) < 0.05
    # Lines across planes are taken for straight ones.
    lors = layout.lors(tof=False).to_ends()
    start, end = (lors[..., k, :].reshape(-1, 3) for k in (0, 1))
    oblique = single_scatter(activity, mu, GRID, start, end, points=cloud).reshape(layout.shape)
    assert relative_error(full, oblique) < 0.002


def test_tails_are_fitted_plane_by_plane():
    rng = np.random.default_rng(4)
    estimate, background = rng.uniform(1, 2, (6, 3, 8)), 0.5
    factors = np.array([0.7, 1.0, 1.6])[:, None]
    tails = np.zeros((1, 1, 8), bool)
    tails[..., [0, 1, 6, 7]] = True
    measured = np.where(tails, factors * estimate + background, 1e3)
    got = fit_tails(measured, estimate, tails, background=background)
    assert got.shape == (1, 3, 1)
    np.testing.assert_allclose(got[0], factors, rtol=1e-12)
    np.testing.assert_array_equal(fit_tails(measured, estimate, np.zeros_like(tails)), 1)
    np.testing.assert_array_equal(fit_tails(0 * measured, estimate, tails, background=1.0), 0)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"activity": np.ones((2, 2, 2))}, ValueError, r"activity .*\(4, 6, 5\), got \(2, 2, 2\)"),
        ({"start": np.ones((7, 2))}, ValueError, r"start must have shape \(n, 3\)"),
        ({"end": np.ones((6, 3))}, ValueError, r"end must have shape \(n, 3\), as many"),
        ({"energy_window": (600.0, 400.0)}, ValueError, "energy_window"),
        ({"num_samples": 0}, ValueError, "num_samples must be a positive integer, got 0"),
    ],
)
def test_bad_input_names_the_argument(change, error, message):
    start, end = lines()
    given = {"activity": np.ones(GRID.shape), "mu": np.ones(GRID.shape), "grid": GRID, "start": start, "end": end}
    with pytest.raises(error, match=message):
        single_scatter(**{**given, "points": points(), **change})


def test_maps_without_attenuation_are_refused():
    with pytest.raises(ValueError, match="no attenuation"):
        scatter_points(np.zeros(GRID.shape), GRID, block=2)
    with pytest.raises(ValueError, match="block must be a positive integer, got 0"):
        scatter_points(np.ones(GRID.shape), GRID, block=0)
