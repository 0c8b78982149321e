"""A turned detector and a moved object: every pixel sees what it should."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import jaxct
from jaxct.geometry import poses
from tests.geometries import CASES

ALL = [case for case in CASES if case.name in ("parallel_2d", "fan_flat", "fan_curved", "parallel_3d", "cone_flat")]
FLAT = [case for case in ALL if case.name != "fan_curved"]


def _matrix(angles):
    """SciPy's rotation about z, then y, then x, for vectors in (z, y, x); in the plane, counter-clockwise."""
    if np.ndim(angles) == 0:
        return Rotation.from_euler("z", angles).as_matrix()[:2, :2][::-1, ::-1]
    return Rotation.from_euler("zyx", angles).as_matrix()[::-1, ::-1]


def _rays(vectors):
    """A point and a direction of the ray to every pixel."""
    pixels = np.asarray(vectors.pixel_centers(), np.float64)
    middle = (slice(None), *[None] * (pixels.ndim - 2))
    if hasattr(vectors, "source"):
        return pixels, pixels - np.asarray(vectors.source)[middle]
    return pixels, np.broadcast_to(np.asarray(vectors.direction)[middle], pixels.shape)


@pytest.mark.parametrize("case", ALL, ids=repr)
def test_a_moved_object_is_seen_along_rays_that_move_back(case):
    with jax.enable_x64(True):
        geometry, _ = case()
        rng = np.random.default_rng(0)
        views, ndim = geometry.num_views, geometry.ndim
        rotation = rng.uniform(-1, 1, (views, 3) if ndim == 3 else views)
        translation = rng.normal(size=(views, ndim))
        moved = poses.move_object(geometry, translation=translation, rotation=rotation)
        still = _rays(geometry.to_vectors())
        for view in range(views):
            turn = _matrix(rotation[view])
            points, directions = (a[view] for a in _rays(moved))
            np.testing.assert_allclose(points @ turn.T + translation[view], still[0][view], atol=1e-9)
            np.testing.assert_allclose(directions @ turn.T, still[1][view], atol=1e-9)


def test_projections_of_a_moved_phantom():
    """The same values from a volume that was drawn moved and from a scan of the object that moves."""
    geometry = jaxct.ParallelBeam(np.linspace(0, 3, 7), detector_shape=(64,))
    grid, shifted = jaxct.VolumeGrid((40, 40)), jaxct.VolumeGrid((40, 40), center=(1.3, -2.1))
    image = jnp.asarray(np.random.default_rng(0).normal(size=grid.shape), jnp.float32)
    wanted = jaxct.forward_project(image, geometry, shifted)
    got = jaxct.forward_project(image, poses.move_object(geometry, translation=(1.3, -2.1)), grid)
    np.testing.assert_allclose(got, wanted, atol=1e-3)


@pytest.mark.parametrize("case", FLAT, ids=repr)
def test_a_turned_detector_keeps_its_centre_and_shape(case):
    with jax.enable_x64(True):
        geometry, _ = case()
        before = geometry.to_vectors()
        turned = poses.turn_detector(geometry, (0.3, -0.2, 0.1) if geometry.ndim == 3 else 0.3)
        np.testing.assert_array_equal(turned.detector_center, before.detector_center)
        for a, b in ((a, b) for a in ("row_axis", "col_axis") for b in ("row_axis", "col_axis")):
            if before.row_axis is not None or a == b == "col_axis":
                products = [jnp.sum(getattr(v, a) * getattr(v, b), -1) for v in (before, turned)]
                np.testing.assert_allclose(*products, atol=1e-12)
        assert float(jnp.abs(turned.col_axis - before.col_axis).max()) > 0.1 * float(jnp.abs(before.col_axis).max())


def test_directions_of_a_detectors_turns():
    """At angle 0 the source is at -y, columns run along x and rows along z."""
    beam = jaxct.ConeBeam(
        [0.0], source_origin_distance=10.0, source_detector_distance=15.0, detector_shape=(3, 3), pixel_size=1
    )
    seen_from_source = poses.turn_detector(beam, (np.pi / 2, 0, 0))
    # Columns to the right and rows up as the source looks along +y: counter-clockwise takes columns to rows.
    np.testing.assert_allclose(seen_from_source.col_axis[0], (1, 0, 0), atol=1e-6)
    np.testing.assert_allclose(seen_from_source.row_axis[0], (0, 0, -1), atol=1e-6)
    about_rows = poses.turn_detector(beam, (0, np.pi / 2, 0))  # about +z, right-handed: x goes to y
    np.testing.assert_allclose(about_rows.col_axis[0], (0, 1, 0), atol=1e-6)
    about_columns = poses.turn_detector(beam, (0, 0, np.pi / 2))  # about +x: z goes to -y
    np.testing.assert_allclose(about_columns.row_axis[0], (0, -1, 0), atol=1e-6)


def test_differentiable_at_rest():
    beam = jaxct.ConeBeam(
        [0.0, 1.0], source_origin_distance=10.0, source_detector_distance=15.0, detector_shape=(3, 3), pixel_size=1
    )
    detector = jax.jacobian(lambda a: poses.turn_detector(beam, a).col_axis)(jnp.zeros(3))
    moved = jax.jacobian(lambda a: poses.move_object(beam, rotation=a).source)(jnp.zeros(3))
    assert np.isfinite(detector).all()
    assert np.isfinite(moved).all()
    assert np.linalg.matrix_rank(moved[0]) == 2  # a turn about the ray through the source leaves it where it is


def test_what_does_not_fit_is_refused():
    geometry, _ = next(case for case in ALL if case.name == "fan_curved")()
    with pytest.raises(ValueError, match="geometry must have a flat detector, got a curved one"):
        poses.turn_detector(geometry, 0.1)
    with pytest.raises(ValueError, match=r"translation must have shape a scalar or \(2,\) or \(\d+, 2\), got \(3,\)"):
        poses.move_object(geometry, translation=(1.0, 2.0, 3.0))
    with pytest.raises(TypeError, match="geometry must be a jaxct geometry, got str"):
        poses.move_object("cone")
