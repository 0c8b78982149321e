"""Attenuation, decay, dead time, randoms and efficiencies: against published numbers, closed forms and plain loops."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxct
from jaxct.operators import Diagonal
from jaxct.pet import physics
from jaxct.pet._attenuation import CARNEY, WATER
from jaxct.pet._scanner import Scanner
from jaxct.pet.sinograms import SinogramLayout
from tests.operators import random, relative_error


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def layout(span=1, mashing=1):
    live = np.arange(12) != 5
    scanner = Scanner.cylindrical(
        num_crystals=12, radius=100.0, rings=np.arange(3) * 4.0, crystal_size=(4.0, 4.0), live=live
    )
    return SinogramLayout(scanner, num_bins=9, span=span, max_ring_difference=2, mashing=mashing)


layouts = pytest.mark.parametrize(("span", "mashing"), [(1, 1), (3, 1), (3, 2)])


def crystal_values(seed=0):
    values = np.random.default_rng(seed).uniform(0.5, 2, (3, 12))
    values[:, 5] = 0
    return values


# Attenuation


@pytest.mark.parametrize(("kvp", "break_point"), [(80, 50), (100, 52), (110, 43), (120, 47), (130, 37), (140, 30)])
def test_the_lines_of_ct_numbers_meet_where_they_were_published_to(kvp, break_point):
    """Carney's break points follow from the rounded coefficients of his table to 1 HU."""
    assert physics.hounsfield_to_mu(-1000.0, kvp=kvp) == 0
    assert physics.hounsfield_to_mu(-2000.0, kvp=kvp) == 0
    np.testing.assert_allclose(physics.hounsfield_to_mu(0.0, kvp=kvp), WATER, rtol=1e-12)
    slope, intercept = CARNEY[kvp]
    assert intercept / (9.6e-5 - slope) - 1000 == pytest.approx(break_point, abs=1)
    np.testing.assert_allclose(physics.hounsfield_to_mu(1000.0, kvp=kvp), (2000 * slope + intercept) / 10, rtol=1e-12)
    around = physics.hounsfield_to_mu(break_point + np.array([-40.0, -20.0, 20.0, 40.0]), kvp=kvp)
    np.testing.assert_allclose(np.diff(around)[[0, 2]] / 20, [9.6e-6, slope / 10], rtol=1e-9)


def test_bone_at_120_kv_is_what_tables_say():
    """Cortical bone, about 1500 HU at 120 kV, attenuates 0.17 per cm at 511 keV (NIST: 0.0901 cm^2/g, 1.92 g/cm^3)."""
    assert float(physics.hounsfield_to_mu(1500.0)) == pytest.approx(0.0173, rel=0.05)


def test_factors_of_a_cylinder_are_those_of_its_chords():
    beam = jaxct.ParallelBeam(np.linspace(0, np.pi, 7, endpoint=False), detector_shape=(31,), pixel_size=4.0)
    A = jaxct.Projector(beam, jaxct.VolumeGrid((256, 256), voxel_size=0.5))  # noqa: N806
    y, x = np.meshgrid(*(np.asarray(c) for c in A.grid.coordinates()), indexing="ij")
    got = physics.attenuation_factors(A, WATER * (y**2 + x**2 < 50.0**2))
    t = 4.0 * (np.arange(31) - 15)
    wanted = np.exp(-WATER * 2 * np.sqrt(np.maximum(50.0**2 - t**2, 0)))
    inside = np.abs(t) < 46
    np.testing.assert_allclose(got[:, inside], np.broadcast_to(wanted, got.shape)[:, inside], atol=WATER * 0.5)
    np.testing.assert_array_equal(got[:, np.abs(t) > 54], 1)
    assert (Diagonal(got) @ A)(np.ones((256, 256))).shape == A.out_shape


def test_factors_are_those_of_lines_not_of_bins_of_time():
    lors = jaxct.pet.LORs([[0.0, -9.0, 0.0]], [[0.0, 9.0, 0.0]], tof=jaxct.pet.TOF(5.0, 5.0, 3))
    A = jaxct.Projector(lors, jaxct.VolumeGrid((4, 4, 4)))  # noqa: N806
    with pytest.raises(ValueError, match="A must have no time of flight"):
        physics.attenuation_factors(A, np.ones((4, 4, 4)))


def test_resampling_is_exact_for_linear_images_and_zero_outside():
    old = jaxct.VolumeGrid((6, 9, 8), voxel_size=(2.0, 1.0, 1.5), center=(1.0, 0.0, -0.5))
    new = jaxct.VolumeGrid((5, 4, 7), voxel_size=(1.7, 2.1, 1.1), center=(0.3, 0.4, 0.2))

    def plane(grid):
        z, y, x = np.meshgrid(*(np.asarray(c) for c in grid.coordinates()), indexing="ij")
        return 3 + 0.5 * z - 0.2 * y + 0.7 * x

    np.testing.assert_allclose(physics.resample(plane(old), old, new), plane(new), rtol=1e-12)
    image = np.asarray(random(0, old.shape))
    np.testing.assert_allclose(physics.resample(image, old, old), image, rtol=1e-12)
    far = jaxct.VolumeGrid((2, 2, 2), center=(40.0, 0.0, 0.0))
    np.testing.assert_array_equal(physics.resample(image, old, far), 0)


def test_a_map_is_that_of_the_blurred_ct_volume():
    ct_grid = jaxct.VolumeGrid((12, 30, 30), voxel_size=1.0)
    grid = jaxct.VolumeGrid((4, 8, 8), voxel_size=3.0)
    ct = np.full(ct_grid.shape, -1000.0)
    ct[:, 8:22, 8:22] = 0.0
    mu = np.asarray(physics.mu_map(ct, ct_grid, grid, fwhm=4.0))
    assert mu.shape == grid.shape
    middle = mu[1:3]
    np.testing.assert_allclose(middle[:, 3:5, 3:5], WATER, rtol=0.02)
    # 3.5 mm, or 2.06 sigma, outside: 2 % are left, and a little more by interpolation.
    assert (middle[:, 0] < 0.03 * WATER).all()
    sharp = np.asarray(physics.mu_map(ct, ct_grid, grid, fwhm=0.0))
    assert set(np.round(np.unique(sharp[:, 3:5]), 12)) <= {0.0, WATER}
    compiled = jax.jit(lambda ct: physics.mu_map(ct, ct_grid, grid))(ct)
    np.testing.assert_allclose(compiled, mu, rtol=1e-12)


# Decay


def test_decay_halves_in_a_half_life_and_frames_have_its_mean():
    assert physics.decay_factor("F-18", 6584.04) == 0.5
    assert physics.decay_factor(100.0, -100.0) == 2
    frames = physics.Frames.consecutive([10.0, 30.0, 600.0, 1800.0], start=5.0)
    np.testing.assert_allclose(frames.starts, [5, 15, 45, 645])
    np.testing.assert_allclose(frames.ends, [15, 45, 645, 2445])
    np.testing.assert_allclose(frames.mid_times, [10, 30, 345, 1545])
    for isotope in physics.ISOTOPES.values():
        factors = frames.decay_factors(isotope)
        for start, end, factor in zip(frames.starts, frames.ends, factors, strict=True):
            t = np.linspace(float(start), float(end), 20001)
            mean = np.trapezoid(np.exp(-np.log(2) / isotope.half_life * t), t) / float(end - start)
            assert float(factor) == pytest.approx(mean, rel=1e-6)
    short = physics.Frames([0.0], [1e-6]).decay_factors("C-11")
    np.testing.assert_allclose(short, 1, rtol=1e-9)


def test_isotopes_are_those_of_the_tables():
    """Minutes and percent as they are usually rounded."""
    wanted = {
        "F-18": (109.7, 97),
        "C-11": (20.4, 100),
        "N-13": (9.97, 100),
        "O-15": (2.04, 100),
        "Ga-68": (67.8, 89),
        "Rb-82": (1.26, 95),
    }
    assert set(wanted) == set(physics.ISOTOPES)
    for name, (minutes, percent) in wanted.items():
        isotope = physics.ISOTOPES[name]
        assert isotope.half_life / 60 == pytest.approx(minutes, rel=3e-3)
        assert round(100 * isotope.branching) == percent


# Pairs of crystals


@layouts
def test_pair_products_are_sums_over_the_pairs_of_a_bin(span, mashing):
    """By the number of every pair's bin."""
    plan, values = layout(span, mashing), crystal_values()
    wanted = np.zeros(plan.shape)
    for ring_a, ring_b in itertools.product(range(3), repeat=2):
        for a, b in itertools.combinations(range(12), 2):
            view, plane, column, _ = plan.bins_of(a, ring_a, b, ring_b)
            if plane >= 0 and column >= 0:
                wanted[view, plane, column] += values[ring_a, a] * values[ring_b, b]
    assert relative_error(physics.pair_products(values, plan), wanted) < 1e-14
    live = np.broadcast_to(plan.scanner.live, (3, 12)).astype(float)
    transaxial, axial = plan.live_pairs()
    np.testing.assert_array_equal(physics.pair_products(live, plan), transaxial[:, None] * axial[:, None])
    check_grads(jax.jit(lambda v: physics.pair_products(v, plan)), (values,), order=1, modes=("rev",))


def test_randoms_of_singles_are_two_tau_r_r():
    plan, singles = layout(), 1e4 * crystal_values()
    randoms = physics.randoms_from_singles(singles, plan, coincidence_window=9e-9, duration=60.0)
    a, b = plan.crystal_pairs[2, 4, 0]
    ring_a, ring_b = plan.ring_pairs[3, 0]
    assert float(randoms[2, 3, 4]) == pytest.approx(9e-9 * 60 * singles[ring_a, a] * singles[ring_b, b], rel=1e-12)


@layouts
def test_crystals_are_found_from_what_their_pairs_have(span, mashing):
    plan, values = layout(span, mashing), crystal_values()
    factors = np.random.default_rng(2).uniform(0.5, 2, plan.shape)
    factors[0, 0, 0] = 0
    counts = factors * physics.pair_products(values, plan)
    found = physics.fit_crystals(counts, plan, factors=factors, num_iters=300)
    np.testing.assert_allclose(factors * physics.pair_products(found, plan), counts, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found[:, 5], 0)


def test_the_likelihood_of_a_fit_never_falls_and_fans_keep_their_counts():
    plan = layout(3)
    counts = np.random.default_rng(3).poisson(0.7 * np.asarray(physics.pair_products(crystal_values(), plan)))
    counts = counts.astype(float)

    def log_likelihood(values):
        m = np.asarray(physics.pair_products(values, plan))
        return np.sum(counts[m > 0] * np.log(m[m > 0]) - m[m > 0])

    reached = [log_likelihood(physics.fit_crystals(counts, plan, num_iters=n)) for n in (1, 2, 3, 5, 10, 50)]
    assert (np.diff(reached) > 0).all()
    values = physics.fit_crystals(counts, plan, num_iters=300)
    expected, pull_back = jax.vjp(lambda v: physics.pair_products(v, plan), values)
    in_fans = values * pull_back(jnp.where(expected > 0, counts / expected, 0))[0]
    np.testing.assert_allclose(in_fans, values * pull_back(jnp.ones(plan.shape))[0], rtol=1e-6)


def test_randoms_from_delayeds_have_less_noise_than_delayeds():
    """The estimate's error is that of 33 crystals, not of 500 bins."""
    plan = layout()
    mean = 4 * np.asarray(physics.pair_products(crystal_values(), plan))
    delayeds = np.random.default_rng(4).poisson(mean).astype(float)
    smooth = np.asarray(physics.randoms_from_delayeds(delayeds, plan))
    assert smooth.sum() == pytest.approx(delayeds.sum(), rel=1e-3)
    assert np.linalg.norm(smooth - mean) < 0.45 * np.linalg.norm(delayeds - mean)


def test_normalization_is_geometry_times_efficiencies():
    plan, values = layout(), crystal_values()
    geometric = np.random.default_rng(5).uniform(0.5, 1, plan.shape[1:])
    got = physics.normalization_factors(values, plan, geometric=geometric)
    np.testing.assert_allclose(got, geometric * np.asarray(physics.pair_products(values, plan)), rtol=1e-14)


# Dead time


@pytest.mark.parametrize("model", ["non_paralysable", "paralysable"])
def test_true_rates_are_found_from_recorded_ones(model):
    tau = 2e-6
    rates = np.linspace(0, 0.98 / tau, 50)
    recorded = rates * physics.live_fraction(rates, tau, model=model)
    np.testing.assert_allclose(physics.true_rate(recorded, tau, model=model), rates, rtol=1e-9)
    assert physics.live_fraction(0.0, tau, model=model) == 1
    beyond = physics.true_rate(1.01 / tau, tau, model=model)
    assert not np.isfinite(beyond)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: physics.hounsfield_to_mu(0.0, kvp=90), ValueError, "kvp must be one of 80, 100, .* got 90"),
        (
            lambda: physics.resample(np.ones((2, 2)), jaxct.VolumeGrid((2, 3)), jaxct.VolumeGrid((2, 2))),
            ValueError,
            r"volume .*\(2, 3\).*\(2, 2\)",
        ),
        (lambda: physics.decay_factor("F-19", 1.0), ValueError, "isotope must be one of C-11.* got 'F-19'"),
        (lambda: physics.decay_factor(-1.0, 1.0), ValueError, "isotope must be positive"),
        (lambda: physics.Frames([0.0, 1.0], [1.0]), ValueError, r"starts and durations .*\(2,\) and \(1,\)"),
        (lambda: physics.pair_products(np.ones((3, 11)), layout()), ValueError, r"values .*\(3, 12\), got \(3, 11\)"),
        (lambda: physics.fit_crystals(np.ones((6, 9)), layout()), ValueError, r"counts .*\(6, 9, 9\), got \(6, 9\)"),
        (lambda: physics.fit_crystals(-np.ones((6, 9, 9)), layout()), ValueError, "counts must not be negative"),
        (lambda: physics.fit_crystals(np.ones((6, 9, 9)), layout(), factors=np.ones(8)), ValueError, "factors .*8"),
        (lambda: physics.fit_crystals(np.ones((6, 9, 9)), layout(), num_iters=0), ValueError, "num_iters"),
        (
            lambda: physics.randoms_from_singles(np.ones((3, 12)), layout(), coincidence_window=0.0),
            ValueError,
            "coincidence_window must be positive",
        ),
        (lambda: physics.live_fraction(1.0, 1.0, model="dead"), ValueError, "model .* 'dead'"),
        (lambda: physics.true_rate(-1.0, 1.0), ValueError, "recorded_rate must not be negative"),
    ],
)
def test_bad_input_names_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()
