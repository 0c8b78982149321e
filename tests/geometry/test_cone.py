"""ConeBeam: its vectors, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxct.geometry import ConeBeam

QUARTERS = [0.0, np.pi / 2]
CONE = {
    "source_origin_distance": 100.0,
    "source_detector_distance": 150.0,
    "detector_shape": (2, 3),
    "pixel_size": (0.5, 2.0),
}


def test_vectors_of_a_flat_detector():
    v = ConeBeam(QUARTERS, **CONE, detector_offset=(7.0, 5.0)).to_vectors()
    np.testing.assert_allclose(v.source, [[0, -100, 0], [0, 0, 100]], atol=1e-4)
    np.testing.assert_allclose(v.detector_center, [[7, 50, 5], [7, 5, -50]], atol=1e-4)
    np.testing.assert_allclose(v.row_axis, [[0.5, 0, 0], [0.5, 0, 0]])
    np.testing.assert_allclose(v.col_axis, [[0, 0, 2], [0, 2, 0]], atol=1e-6)


def test_pixel_centres_of_a_flat_detector():
    centres = ConeBeam([0.0], **CONE).to_vectors().pixel_centers()
    assert centres.shape == (1, 2, 3, 3)
    np.testing.assert_allclose(centres[0, 0, 0], [-0.25, 50, -2])
    np.testing.assert_allclose(centres[0, 1, 2], [0.25, 50, 2])


def test_source_z_moves_source_and_detector():
    v = ConeBeam(QUARTERS, **CONE, source_z=[3.0, -4.0]).to_vectors()
    np.testing.assert_allclose(v.source[:, 0], [3, -4])
    np.testing.assert_allclose(v.detector_center[:, 0], [3, -4])


def test_pixels_of_a_curved_detector_lie_on_a_cylinder_about_the_source(x64):
    g = ConeBeam([0.4, 3.0], **{**CONE, "detector_shape": (4, 50)}, detector_offset=(6.0, -9.0), detector="curved")
    v = g.to_vectors()
    from_source = np.asarray(v.pixel_centers()) - np.asarray(v.source)[:, None, None]
    np.testing.assert_allclose(np.hypot(from_source[..., 1], from_source[..., 2]), 150.0, rtol=1e-14)
    rows = 6.0 + 0.5 * (np.arange(4) - 1.5)
    np.testing.assert_allclose(from_source[..., 0], np.broadcast_to(rows[None, :, None], (2, 4, 50)), atol=1e-13)
    arc = np.linalg.norm(np.diff(from_source, axis=2), axis=-1)
    np.testing.assert_allclose(arc, 2 * 150 * np.sin(2.0 / 150 / 2), rtol=1e-10)


def test_curved_and_flat_agree_at_the_middle():
    flat, curved = (ConeBeam(QUARTERS, **CONE, detector=kind).to_vectors() for kind in ("flat", "curved"))
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(flat), jax.tree.leaves(curved))


def test_the_gradient_of_a_scalar_distance_is_a_scalar():
    g = ConeBeam(QUARTERS, **CONE)
    gradient = jax.grad(lambda g: g.to_vectors().source[1, 2])(g)
    assert gradient.source_origin_distance.shape == ()
    assert gradient.source_origin_distance == pytest.approx(1.0)
    assert gradient.detector_shape == (2, 3)


def test_construction_from_traced_distances():
    @jax.jit
    def magnification(distance):
        g = ConeBeam(QUARTERS, **{**CONE, "source_detector_distance": distance, "pixel_size": (distance / 300, 2.0)})
        return jnp.linalg.norm(g.to_vectors().detector_center[0]), g.pixel_size

    gap, pixel_size = magnification(jnp.float32(150.0))
    assert gap == pytest.approx(50.0)
    np.testing.assert_allclose(pixel_size, [0.5, 2.0])


def test_traced_shapes_are_still_checked():
    with pytest.raises(ValueError, match=r"source_z must be a scalar or have one value per view, shape \(2,\)"):
        jax.jit(lambda z: ConeBeam(QUARTERS, **CONE, source_z=z))(jnp.zeros(3))


def test_a_detector_at_the_rotation_axis():
    v = ConeBeam([0.0], **{**CONE, "source_detector_distance": 100.0}).to_vectors()
    np.testing.assert_allclose(v.detector_center, [[0, 0, 0]], atol=1e-5)
