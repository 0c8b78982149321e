"""FDK is quantitative in the plane of the source for every circular cone beam, differentiable, and refuses the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxct import ConeBeam, FanBeam, VolumeGrid, filters
from jaxct.reconstruct import _analytic, fbp, fdk
from tests.chords import ball_projections, distance_from

TURN = 2 * np.pi
VIEWS, ROWS, COLS = 96, 28, 64
CENTER, RADIUS, VALUE = (2.0, 3.0, -4.0), 11.0, 0.02
GRID = VolumeGrid((11, 36, 37), voxel_size=(1.7, 0.9, 0.95), center=(2.0, 1.0, 0.0))


def steps(arc: float, views: int = VIEWS) -> np.ndarray:
    return np.arange(views) * arc / views


def cone(angles, detector="flat", **options) -> ConeBeam:
    """The widest column is at 13.1 degrees; the ball needs 9.2."""
    distances = {"source_origin_distance": 100.0, "source_detector_distance": 180.0}
    defaults = {"detector_shape": (ROWS, COLS), "pixel_size": (2.1, 1.3), "source_z": 2.0}
    return ConeBeam(angles, detector=detector, **distances | defaults | options)


def ball(geometry) -> np.ndarray:
    return ball_projections(geometry, CENTER, RADIUS, VALUE).astype(np.float32)


def assert_uniform(volume, mean=0.005, everywhere=0.02) -> None:
    """Exact in the plane of the source, z = 2, where the ball's middle lies; a small cone elsewhere."""
    distance = distance_from(GRID, CENTER)
    plane = GRID.shape[0] // 2
    np.testing.assert_allclose(GRID.coordinates()[0][plane], 2.0, atol=1e-5)
    middle = np.asarray(volume)[plane][distance[plane] < RADIUS - 3] / VALUE
    np.testing.assert_allclose(middle.mean(), 1.0, atol=mean)
    assert middle.std() < 0.01
    inside = np.asarray(volume)[distance < RADIUS - 4] / VALUE
    np.testing.assert_allclose(inside, 1.0, atol=everywhere + 0.03)
    np.testing.assert_allclose(inside.mean(), 1.0, atol=everywhere)


@pytest.mark.parametrize("detector", ["flat", "curved"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"angles": np.linspace(3, 3 - TURN, VIEWS)},
        {"angles": np.random.default_rng(0).permutation(steps(TURN))},
        {"detector_offset": (4.0, 1.5)},
        {"detector_offset": np.stack([np.sin(np.arange(VIEWS)), np.cos(np.arange(VIEWS))], -1)},
        {"source_origin_distance": 90.0, "source_detector_distance": 90.0, "pixel_size": (1.1, 0.72)},
        {"source_origin_distance": 90.0, "source_detector_distance": 400.0, "pixel_size": (5.0, 3.2)},
        {"source_z": 3.5, "detector_offset": (-2.0, 0.0)},
    ],
    ids=["plain", "backwards", "shuffled", "offset", "offset per view", "at the axis", "magnified", "source_z"],
)
def test_full_turn(options, detector):
    geometry = cone(**{"angles": steps(TURN), "detector": detector} | options)
    assert_uniform(fdk(ball(geometry), geometry, GRID))


@pytest.mark.parametrize("detector", ["flat", "curved"])
@pytest.mark.parametrize("degrees", [207, 280])
@pytest.mark.parametrize("direction", [1, -1])
def test_short_scan(degrees, direction, detector):
    geometry = cone(0.7 + direction * steps(np.radians(degrees)), detector)
    assert_uniform(fdk(ball(geometry), geometry, GRID, short_scan=True))


@pytest.mark.parametrize("detector", ["flat", "curved"])
@pytest.mark.parametrize("side", [1, -1])
def test_half_fan(side, detector):
    geometry = cone(steps(TURN, 2 * VIEWS), detector, pixel_size=(2.1, 0.75), detector_offset=(0.0, 14.0 * side))
    assert_uniform(fdk(ball(geometry), geometry, GRID))


@pytest.mark.parametrize("detector", ["flat", "curved"])
def test_middle_slice_is_fan_beam_reconstruction(detector):
    geometry = cone(steps(TURN), detector, detector_shape=(5, COLS), source_z=0.0)
    shared = {"source_origin_distance": 100.0, "source_detector_distance": 180.0, "pixel_size": 1.3}
    fan = FanBeam(geometry.angles, detector_shape=(COLS,), detector=detector, **shared)
    projections = np.random.default_rng(0).normal(size=geometry.projection_shape).astype(np.float32)
    volume = fdk(projections, geometry, VolumeGrid((1, 20, 21)), window="cosine")
    image = fbp(projections[:, 2], fan, VolumeGrid((20, 21)), window="cosine")
    np.testing.assert_allclose(volume[0], image, atol=2e-6 * float(jnp.abs(image).max()) * 10)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"angles": steps(np.radians(230)), "short_scan": True, "detector": "curved"},
        {"pixel_size": (2.1, 0.9), "detector_offset": (0.0, 10.0)},
    ],
    ids=["full turn", "short scan", "half fan"],
)
def test_traced_geometry_gives_the_same(options):
    options = dict(options)
    flags = {"short_scan": options.pop("short_scan", False)}
    geometry = cone(**{"angles": steps(TURN)} | options)
    projections = ball(geometry)
    expected = fdk(projections, geometry, GRID, **flags)
    traced = jax.jit(lambda p, g, grid: fdk(p, g, grid, **flags))(projections, geometry, GRID)
    near = distance_from(GRID, (2.0, 0.0, 0.0)) < 16
    np.testing.assert_allclose(np.asarray(traced)[near], np.asarray(expected)[near], atol=2e-5)


@pytest.mark.parametrize("kind", ["full turn", "short scan"])
def test_gradients_in_projections_and_filter(kind):
    with jax.enable_x64(True):
        small = {"detector_shape": (3, 6), "pixel_size": (9.0, 12.0), "source_z": 0.0}
        geometry, options = {
            "full turn": (cone(steps(TURN, 7), **small), {}),
            "short scan": (cone(steps(4.4, 7), "curved", **small), {"short_scan": True}),
        }[kind]
        response = filters.ramp_response(6)
        projections = jnp.asarray(np.random.default_rng(0).normal(size=geometry.projection_shape))

        @jax.jit
        def reconstruct(projections, response):
            return fdk(projections, geometry, VolumeGrid((3, 4, 5), 4.0), window=response, **options)

        assert reconstruct(projections, response).dtype == jnp.float64
        check_grads(reconstruct, (projections, response), order=1, modes=["rev"])


def test_a_filter_can_be_learned():
    """The image is linear in the filter, so a gradient step has a known best length and a known gain."""
    geometry = cone(steps(TURN, 24), detector_shape=(4, 32), pixel_size=(3.0, 2.6))
    projections = ball(geometry)

    @jax.jit
    def reconstruct(response):
        return fdk(projections, geometry, VolumeGrid((3, 16, 16), 2.0), window=response)

    response = filters.ramp_response(32)
    target = reconstruct(response * filters.window_response("hann", 32))

    def loss(response):
        return jnp.sum((reconstruct(response) - target) ** 2)

    first, gradient = jax.value_and_grad(loss)(response)
    slope, curvature = jnp.sum(gradient**2), jnp.sum(reconstruct(gradient) ** 2)
    gain = first - loss(response - slope / (2 * curvature) * gradient)
    assert gain > 0
    np.testing.assert_allclose(gain, slope**2 / (4 * curvature), rtol=1e-2)


@pytest.mark.parametrize(
    ("options", "flags", "words"),
    [
        ({"source_z": np.linspace(0, 5, VIEWS)}, {}, "source_z must be the same for all views, got a travel of 5 mm"),
        ({"angles": steps(3.9)}, {}, "angles cover only 3.9 rad, not a full turn: pass short_scan=True"),
        ({"angles": steps(3.2)}, {"short_scan": True}, "of a short scan: pass limited_angle=True"),
        ({"detector_offset": (0.0, 60.0)}, {}, "detector_offset moves the detector off the rotation axis"),
    ],
)
def test_errors_name_the_argument(options, flags, words):
    geometry = cone(**{"angles": steps(TURN)} | options)
    with pytest.raises(ValueError, match=words):
        fdk(np.zeros(geometry.projection_shape, np.float32), geometry, GRID, **flags)


def test_constant_height_per_view_is_a_circle():
    geometry = cone(steps(TURN), source_z=np.full(VIEWS, 2.0))
    assert_uniform(fdk(ball(geometry), geometry, GRID))


def test_unsupported_geometries_name_what_is():
    fan = FanBeam([0.0], source_origin_distance=1.0, source_detector_distance=2.0, detector_shape=(4,), pixel_size=1.0)
    for geometry in (fan, cone(steps(TURN)).to_vectors()):
        with pytest.raises(TypeError, match=r"geometry must be a ConeBeam \(fbp takes parallel and fan beams"):
            fdk(np.zeros(1), geometry, GRID)


def test_blocks_of_views_add_up(monkeypatch):
    """Also with a block that is not full, values that differ from view to view, and a derivative."""
    offset = np.stack([np.sin(np.arange(20)), np.cos(np.arange(20))], -1)
    geometry = cone(steps(TURN, 20), detector_offset=offset, detector_shape=(6, 30))
    grid = VolumeGrid((3, 8, 9), voxel_size=4.0)
    projections = np.random.default_rng(3).normal(size=geometry.projection_shape).astype(np.float32)
    window = filters.ramp_response(30)

    def energy(projections, window):
        return jnp.sum(fdk(projections, geometry, grid, window=window) ** 2)

    wanted = jax.value_and_grad(energy, (0, 1))(projections, window)
    monkeypatch.setattr(_analytic, "_views_per_block", lambda shape, grid: 8)
    _analytic._reconstruct.clear_cache()
    got = jax.value_and_grad(energy, (0, 1))(projections, window)
    _analytic._reconstruct.clear_cache()
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * float(jnp.abs(b).max()))


@pytest.mark.parametrize(
    ("shape", "volume"), [((720, 768), (512, 512)), ((900, 96, 96), (256, 256, 256)), ((9, 900, 900), (3, 4, 5))]
)
def test_blocks_are_whole_registers_of_views(shape, volume):
    """As many as fit into the padded samples that a block may have, but at least one register."""
    views = _analytic._views_per_block(shape, VolumeGrid(volume))
    padded = 2 * np.prod(shape[1:])
    most = max(_analytic._SAMPLES_PER_BLOCK, np.prod(volume) // 4)
    assert views > 0
    assert views % _analytic._VIEWS == 0
    assert views * padded <= most or views == _analytic._VIEWS
    assert (views + _analytic._VIEWS) * padded > most


def test_spectra_of_all_views_never_exist(monkeypatch):
    """With four times the views working memory hardly grows, and is a fraction of the projections."""
    monkeypatch.setattr(_analytic, "_views_per_block", lambda shape, grid: 8)
    _analytic._reconstruct.clear_cache()
    needed, given = np.transpose([memory(views) for views in (64, 256)])
    _analytic._reconstruct.clear_cache()
    assert np.diff(needed) < np.diff(given) / 10
    assert needed[-1] < given[-1] / 2


def memory(views: int) -> tuple[int, int]:
    """Bytes of working memory and of projections."""
    geometry = cone(steps(TURN, views), detector_shape=(6, 30))
    grid = VolumeGrid((3, 8, 9), voxel_size=4.0)
    projections = jax.ShapeDtypeStruct(geometry.projection_shape, jnp.float32)
    window = filters.ramp_response(30)
    program = jax.jit(lambda p: fdk(p, geometry, grid, window=window)).lower(projections).compile()
    return program.memory_analysis().temp_size_in_bytes, 4 * projections.size
