"""FBP is quantitative for every parallel and fan set-up, differentiable, and refuses what it cannot reconstruct."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxct import ConeBeam, FanBeam, ParallelBeam, VolumeGrid, filters
from jaxct.reconstruct import fbp
from tests.chords import ball_projections, distance_from

TURN = 2 * np.pi
VIEWS, COLS = 180, 100
CENTER, RADIUS, VALUE = (3.0, -4.0), 15.0, 0.02
GRID = VolumeGrid((64, 65), voxel_size=(0.75, 0.7))


def steps(arc: float, views: int = VIEWS) -> np.ndarray:
    return np.arange(views) * arc / views


def parallel(angles, **options) -> ParallelBeam:
    return ParallelBeam(angles, **{"detector_shape": (COLS,), "pixel_size": 0.5} | options)


def fan(angles, detector="flat", **options) -> FanBeam:
    """The widest ray is at 12.7 degrees (flat) or 12.8 (curved); the disk needs 11.5."""
    distances = {"source_origin_distance": 100.0, "source_detector_distance": 200.0}
    return FanBeam(angles, detector=detector, **distances | {"detector_shape": (COLS,), "pixel_size": 0.9} | options)


def assert_uniform(image, grid=GRID, center=CENTER, mean=0.005, ripple=0.01) -> None:
    """The disk has its value without scaling by hand, evenly; nothing is added outside of it."""
    distance, margin = distance_from(grid, center), 3 * float(grid.voxel_size.max())
    inside = np.asarray(image)[distance < RADIUS - margin] / VALUE
    outside = np.asarray(image)[(distance > RADIUS + margin) & (distance_from(grid, (0.0, 0.0)) < 20)] / VALUE
    assert image.shape == grid.shape
    np.testing.assert_allclose(inside.mean(), 1.0, atol=mean)
    assert inside.std() < ripple
    assert abs(outside.mean()) < mean


def disk(geometry) -> np.ndarray:
    return ball_projections(geometry, CENTER, RADIUS, VALUE).astype(np.float32)


def uneven(period: float) -> np.ndarray:
    """The first half of the views takes a quarter of the period."""
    return np.r_[np.linspace(0, period / 4, VIEWS // 2, endpoint=False), np.linspace(period / 4, period, VIEWS // 2)]


ANGLES = {
    "half turn": steps(np.pi),
    "half turn, both ends": np.linspace(0, np.pi, VIEWS),
    "backwards from anywhere": 17.3 - steps(np.pi),
    "full turn": steps(TURN),
    "200 degrees": steps(np.radians(200)),
    "five half turns": steps(5 * np.pi),
    "uneven": uneven(np.pi),
    "random": np.random.default_rng(0).uniform(0, np.pi, VIEWS),
}


@pytest.mark.parametrize("name", ANGLES)
def test_parallel_angles(name):
    geometry = parallel(ANGLES[name])
    assert_uniform(fbp(disk(geometry), geometry, GRID))


FAN_ANGLES = {
    "full turn": steps(TURN),
    "both ends": np.linspace(0, TURN, VIEWS),
    "backwards from anywhere": 17.3 - steps(TURN),
    "shuffled": np.random.default_rng(0).permutation(steps(TURN)),
    "two and a bit turns": steps(2.2 * TURN),
    "uneven": uneven(TURN),
}


@pytest.mark.parametrize("detector", ["flat", "curved"])
@pytest.mark.parametrize("name", FAN_ANGLES)
def test_fan_angles(name, detector):
    geometry = fan(FAN_ANGLES[name], detector)
    assert_uniform(fbp(disk(geometry), geometry, GRID))


@pytest.mark.parametrize("detector", ["flat", "curved"])
@pytest.mark.parametrize("degrees", [206, 230, 300, 350, 360])
@pytest.mark.parametrize("direction", [1, -1])
def test_short_scans(degrees, direction, detector):
    geometry = fan(1.1 + direction * steps(np.radians(degrees)), detector)
    assert_uniform(fbp(disk(geometry), geometry, GRID, short_scan=True))


@pytest.mark.parametrize("detector", ["flat", "curved"])
@pytest.mark.parametrize("side", [1, -1])
def test_half_fan(side, detector):
    geometry = fan(0.4 + steps(TURN), detector, pixel_size=0.6, detector_offset=20.0 * side)
    projections = disk(geometry)
    assert_uniform(fbp(projections, geometry, GRID))
    assert abs(float(fbp(projections, geometry, GRID, offset_detector=False)[32, 32]) / VALUE - 1) > 0.1


@pytest.mark.parametrize("side", [1, -1])
def test_half_field_of_view_of_a_parallel_beam(side):
    geometry = parallel(steps(TURN), pixel_size=0.3, detector_offset=8.0 * side)
    assert_uniform(fbp(disk(geometry), geometry, GRID))


@pytest.mark.parametrize(
    "options",
    [
        {"source_origin_distance": 60.0, "source_detector_distance": 60.0, "pixel_size": 0.5},
        {"source_origin_distance": 60.0, "source_detector_distance": 600.0, "pixel_size": 5.0},
        {"source_origin_distance": 5000.0, "source_detector_distance": 9000.0, "pixel_size": 0.85},
        {"detector_offset": 1.3},
        {"detector_offset": 2 * np.sin(np.arange(VIEWS))},
        {"source_detector_distance": 200 + 5 * np.sin(np.arange(VIEWS))},
        {"source_origin_distance": 100 + 2 * np.sin(steps(TURN))},
    ],
    ids=str,
)
@pytest.mark.parametrize("detector", ["flat", "curved"])
def test_magnifications_and_misalignments(detector, options):
    geometry = fan(steps(TURN), detector, **options)
    assert_uniform(fbp(disk(geometry), geometry, GRID))


@pytest.mark.parametrize(("cols", "shape", "voxel_size"), [(99, (61, 50), (0.9, 1.1)), (131, (160, 151), 0.29)])
def test_sizes_of_voxels_and_pixels(cols, shape, voxel_size):
    grid = VolumeGrid(shape, voxel_size, center=(2.0, -3.0))
    for geometry in (
        parallel(steps(np.pi), detector_shape=(cols,), pixel_size=50 / cols),
        fan(steps(TURN), detector_shape=(cols,), pixel_size=90 / cols),
    ):
        assert_uniform(fbp(disk(geometry), geometry, grid), grid)


@pytest.mark.parametrize("window", ["ram-lak", "shepp-logan", "cosine", "hamming", "hann"])
@pytest.mark.parametrize("cutoff", [1.0, 0.6])
def test_windows_keep_the_value_and_smooth(window, cutoff):
    geometry = parallel(steps(np.pi))
    image = fbp(disk(geometry), geometry, GRID, window=window, cutoff=cutoff)
    assert_uniform(image, ripple=0.02)
    sharpest = fbp(disk(geometry), geometry, GRID)
    if (window, cutoff) != ("ram-lak", 1.0):
        assert np.abs(np.diff(image)).max() < np.abs(np.diff(sharpest)).max()


def test_volumes_of_a_parallel_beam():
    grid = VolumeGrid((9, 40, 41), voxel_size=(2.0, 1.1, 1.0), center=(1.0, 0.0, 0.0))
    geometry = parallel(steps(np.pi, 90), detector_shape=(30, 64), pixel_size=(1.3, 0.8), detector_offset=(1.5, -0.4))
    center = (2.0, *CENTER)
    volume = fbp(ball_projections(geometry, center, RADIUS, VALUE).astype(np.float32), geometry, grid)
    inside = np.asarray(volume)[distance_from(grid, center) < RADIUS - 4] / VALUE
    np.testing.assert_allclose(inside.mean(), 1.0, atol=0.005)
    assert inside.std() < 0.01


def test_limited_angle_keeps_what_is_measured():
    geometry = parallel(steps(np.radians(150)))
    image = fbp(disk(geometry), geometry, GRID, limited_angle=True)
    inside = np.asarray(image)[distance_from(GRID, CENTER) < 5] / VALUE
    np.testing.assert_allclose(inside.mean(), 150 / 180, atol=0.02)
    full = parallel(steps(np.pi))
    np.testing.assert_array_equal(fbp(disk(full), full, GRID, limited_angle=True), fbp(disk(full), full, GRID))
    arc = fan(steps(np.radians(150)))
    image = fbp(disk(arc), arc, GRID, limited_angle=True)
    assert 0.5 < np.asarray(image)[distance_from(GRID, CENTER) < 5].mean() / VALUE < 1.1


# Transformations


@pytest.mark.parametrize(
    ("geometry", "options"),
    [
        (parallel(steps(np.pi)), {}),
        (fan(steps(TURN), "curved"), {"window": "hann"}),
        (fan(steps(np.radians(220))), {"short_scan": True}),
        (fan(steps(TURN), pixel_size=0.6, detector_offset=20.0), {}),
        (fan(steps(TURN), pixel_size=0.6, detector_offset=-20.0), {"offset_detector": True}),
        (parallel(steps(TURN), pixel_size=0.3, detector_offset=8.0), {}),
        (parallel(steps(np.pi), detector_offset=3.0), {}),
    ],
    ids=["parallel", "fan", "short scan", "half fan found", "half fan told", "parallel half field", "parallel shifted"],
)
def test_traced_geometry_gives_the_same(geometry, options):
    projections = disk(geometry)
    expected = fbp(projections, geometry, GRID, **options)
    traced = jax.jit(lambda p, g, grid: fbp(p, g, grid, **options))(projections, geometry, GRID)
    near = distance_from(GRID, (0.0, 0.0)) < 20  # beyond, a wider extension of the rows reaches a little further
    np.testing.assert_allclose(np.asarray(traced)[near], np.asarray(expected)[near], atol=2e-5)


def test_geometry_may_be_a_constant_of_a_jitted_function():
    geometry = fan(steps(TURN), pixel_size=0.6, detector_offset=20.0)
    projections = disk(geometry)
    result = jax.jit(lambda p: fbp(p, geometry, GRID))(projections)
    np.testing.assert_allclose(result, fbp(projections, geometry, GRID), atol=1e-6)
    arc = fan(steps(4.0))
    with pytest.raises(ValueError, match="pass short_scan=True"):
        jax.jit(lambda p: fbp(p, arc, GRID))(projections)


def test_batches_of_geometries():
    members = [fan(start + steps(TURN), source_origin_distance=d) for start, d in [(0.0, 100.0), (1.0, 90.0)]]
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    projections = jnp.stack([disk(g) for g in members])
    images = jax.vmap(lambda p, g: fbp(p, g, GRID, offset_detector=False))(projections, batch)
    for image, member, p in zip(images, members, projections, strict=True):
        np.testing.assert_allclose(image, fbp(p, member, GRID), atol=1e-6)


def test_batches_of_projections():
    geometry = fan(steps(TURN))
    batch = jnp.stack([jnp.asarray(disk(geometry)), jnp.ones(geometry.projection_shape)])
    images = jax.vmap(lambda p: fbp(p, geometry, GRID))(batch)
    for image, projections in zip(images, batch, strict=True):
        np.testing.assert_allclose(image, fbp(projections, geometry, GRID), atol=1e-6)


@pytest.mark.parametrize("kind", ["parallel", "flat", "curved, short scan", "half fan"])
def test_gradients_in_projections_and_filter(kind):
    with jax.enable_x64(True):
        angles, small = steps(TURN, 9), {"detector_shape": (8,), "pixel_size": 5.0}
        geometry, options = {
            "parallel": (parallel(angles, **small), {}),
            "flat": (fan(angles, **small | {"pixel_size": 10.0}), {}),
            "curved, short scan": (fan(steps(4.2, 9), "curved", **small | {"pixel_size": 10.0}), {"short_scan": True}),
            "half fan": (fan(angles, **small | {"pixel_size": 7.0}, detector_offset=14.0), {}),
        }[kind]
        grid = VolumeGrid((5, 6), 4.0)
        cols = 8 + 4 * (kind == "half fan")
        response = filters.ramp_response(cols) * filters.window_response("hann", cols)
        projections = jnp.asarray(np.random.default_rng(0).normal(size=geometry.projection_shape))

        @jax.jit
        def reconstruct(projections, response):
            return fbp(projections, geometry, grid, window=response, **options)

        assert reconstruct(projections, response).dtype == jnp.float64
        check_grads(reconstruct, (projections, response), order=1, modes=["rev"])


def test_projections_may_be_half_precision():
    geometry = parallel(steps(np.pi))
    image = fbp(disk(geometry).astype(np.float16), geometry, GRID)
    assert image.dtype == jnp.float32
    assert_uniform(image)


# Errors


def test_unsupported_geometries_name_what_is():
    cone = ConeBeam(
        steps(TURN), source_origin_distance=1.0, source_detector_distance=2.0, detector_shape=(4, 5), pixel_size=1.0
    )
    for geometry in (cone, fan(steps(TURN)).to_vectors(), None):
        with pytest.raises(TypeError, match=r"geometry must be a ParallelBeam or FanBeam \(fdk takes a ConeBeam"):
            fbp(np.zeros(1), geometry, GRID)


@pytest.mark.parametrize(
    ("geometry", "options", "words"),
    [
        (parallel(steps(2.5)), {}, "angles do not cover half a turn: pass limited_angle=True"),
        (parallel(np.zeros(VIEWS)), {}, "angles do not cover half a turn"),
        (parallel(np.deg2rad(np.r_[0:60:90j, 90:150:90j])), {}, "angles do not cover half a turn"),
        (parallel(steps(np.pi)), {"short_scan": True}, "short_scan=True is for fan and cone beams"),
        (fan(steps(4.0)), {}, "angles cover only 4 rad, not a full turn: pass short_scan=True"),
        (fan(steps(3.4)), {"short_scan": True}, "less than the pi \\+ fan angle = 3.5"),
        (fan(steps(4.0)), {"offset_detector": True}, "offset_detector=True needs a full turn, but angles leave a gap"),
        (fan(steps(TURN)), {"offset_detector": True, "short_scan": True}, "it excludes short_scan=True"),
        (fan(steps(TURN), detector_offset=50.0), {}, "detector_offset moves the detector off the rotation axis"),
        (fan(steps(TURN), detector_offset=20.0), {"window": np.ones(101)}, "must have 151 values"),
        (fan(steps(TURN)), {"window": np.ones((3, 101))}, "does not broadcast to projections"),
        (fan(steps(TURN)), {"window": "hanning"}, "window must be one of ram-lak"),
        (fan(steps(TURN)), {"projections": np.zeros((VIEWS, COLS - 1))}, r"projections must have shape \(180, 100\)"),
        (fan(steps(TURN), source_origin_distance=20.0), {}, "source outside the volume"),
        (fan(steps(TURN)), {"grid": VolumeGrid((4, 5, 6))}, "geometry and grid must both be 2-D or 3-D"),
    ],
    ids=lambda value: "" if isinstance(value, ParallelBeam | FanBeam | dict) else value[:40],
)
def test_errors_name_the_argument(geometry, options, words):
    options = dict(options)
    projections = options.pop("projections", np.zeros(geometry.projection_shape, np.float32))
    with pytest.raises(ValueError, match=words):
        fbp(projections, geometry, options.pop("grid", GRID), **options)


def test_complex_projections_are_refused():
    geometry = parallel(steps(np.pi))
    with pytest.raises(TypeError, match="projections must be real, got complex64"):
        fbp(np.zeros(geometry.projection_shape, np.complex64), geometry, GRID)
