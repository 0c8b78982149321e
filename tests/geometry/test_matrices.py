"""3 x 4 projection matrices to cone vectors and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxct.geometry import ConeBeam, ConeVectors, ParallelBeam, matrices, trajectories

CONE = {
    "source_origin_distance": 200.0,
    "source_detector_distance": 300.0,
    "detector_shape": (6, 9),
    "pixel_size": (0.5, 0.8),
}
ARGUMENTS = {"detector_shape": (6, 9), "pixel_size": (0.5, 0.8)}
# RTK 2.7's matrix of ThreeDCircularProjectionGeometry::AddProjection(sid=1000, sdd=1536, gantry=30, offsets 12 and -7).
RTK_MATRIX = [
    [-1336.215019, 0.0, 757.607695, 12000.0],
    [3.5, -1536.0, 6.06217783, -7000.0],
    [0.5, 0.0, 0.866025404, -1000.0],
]


def _assert_same(got, wanted, rtol=1e-9, atol=1e-9):
    for left, right in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(left, right, rtol=rtol, atol=atol)


def test_the_matrix_of_a_view_by_hand():
    p = matrices.to_projection_matrices(ConeBeam([0.0], **CONE))
    # At angle 0 the depth is y + 200, columns go along x and rows along z, and pixel (2.5, 4) is in the middle.
    wanted = [[300 / 0.8, 4, 0, 4 * 200], [0, 2.5, 300 / 0.5, 2.5 * 200], [0, 1, 0, 200]]
    np.testing.assert_allclose(p, [wanted], rtol=1e-5, atol=1e-4)


def test_pixel_centres_project_to_their_indices(x64):
    v = trajectories.sphere(7, detector_offset=(3.0, -20.0), **CONE)
    p = np.asarray(matrices.to_projection_matrices(v))
    centres = np.asarray(v.pixel_centers())[..., ::-1]
    image = np.einsum("vij,vrcj->vrci", p[:, :, :3], centres) + p[:, None, None, :, 3]
    np.testing.assert_allclose(image[..., 2], 300.0, rtol=1e-12)  # the depth of the detector in mm
    rows, cols = np.meshgrid(np.arange(6), np.arange(9), indexing="ij")
    np.testing.assert_allclose(image[..., 0] / image[..., 2], np.broadcast_to(cols, (7, 6, 9)), atol=1e-9)
    np.testing.assert_allclose(image[..., 1] / image[..., 2], np.broadcast_to(rows, (7, 6, 9)), atol=1e-9)


def test_vectors_come_back(x64):
    v = trajectories.sphere(50, detector_offset=(3.0, -20.0), **CONE)
    _assert_same(matrices.from_projection_matrices(matrices.to_projection_matrices(v), **ARGUMENTS), v)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31),
    st.floats(1e-3, 1e3),
    st.sampled_from([-1.0, 1.0]),
    st.floats(0.1, 5.0),
)
def test_any_oblique_detector_comes_back_whatever_the_scale_and_sign(seed, scale, sign, pitch):
    rng = np.random.default_rng(seed)
    source = rng.normal(size=(2, 3)) * 20 + [0, -300, 0]
    center = rng.normal(size=(2, 3)) * 20 + [0, 200, 0]
    row = rng.normal(size=(2, 3)) * 0.2 + [1, 0, 0]
    col = rng.normal(size=(2, 3)) * 0.2 + [0, 0, rng.choice([-1, 1])]
    col *= pitch / np.linalg.norm(col, axis=1, keepdims=True)
    with jax.enable_x64(True):
        v = ConeVectors(source, center, row, col, (6, 9))
        p = sign * scale * matrices.to_projection_matrices(v)
        _assert_same(matrices.from_projection_matrices(p, detector_shape=(6, 9), pixel_size=pitch), v, 1e-8, 1e-8)


def test_float32_matrices_keep_a_micrometre():
    v = ConeBeam(trajectories.circle(20), **CONE).to_vectors()
    back = matrices.from_projection_matrices(np.asarray(matrices.to_projection_matrices(v)), **ARGUMENTS)
    _assert_same(back, v, 0, 1e-3)
    assert back.source.dtype == jnp.float32


def test_double_precision_matrices_are_inverted_in_double_precision():
    """Without x64, vectors are float32, but the inversion loses none of their digits."""
    with jax.enable_x64(True):
        v = ConeBeam(trajectories.circle(20), **CONE).to_vectors()
        p = np.asarray(matrices.to_projection_matrices(v))
    _assert_same(matrices.from_projection_matrices(p, **ARGUMENTS), v, 1e-7, 1e-5)


def test_a_single_pitch_is_that_of_the_columns(x64):
    v = ConeBeam([0.3], **CONE).to_vectors()
    p = matrices.to_projection_matrices(v)
    _assert_same(matrices.from_projection_matrices(p, detector_shape=(6, 9), pixel_size=0.8), v)
    larger = matrices.from_projection_matrices(p, detector_shape=(6, 9), pixel_size=1.6)
    np.testing.assert_allclose(larger.detector_center - larger.source, 2 * (v.detector_center - v.source), atol=1e-12)


def test_in_front_chooses_the_side_of_the_source(x64):
    v = ConeBeam([0.0], **CONE).to_vectors()
    p = matrices.to_projection_matrices(v)
    behind = matrices.from_projection_matrices(p, **ARGUMENTS, in_front=(0.0, -500.0, 0.0))
    np.testing.assert_allclose(behind.source, v.source)
    np.testing.assert_allclose(behind.detector_center - v.source, -(v.detector_center - v.source))


def test_rtk_matrices_convert_as_documented(x64):
    spacing, size = 0.5, 200
    origin = -(size - 1) / 2 * spacing
    to_pixels = np.array([[1 / spacing, 0, -origin / spacing], [0, 1 / spacing, -origin / spacing], [0, 0, 1]])
    to_rtk = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
    p = (to_pixels @ np.array(RTK_MATRIX) @ to_rtk)[None]
    got = matrices.from_projection_matrices(p, detector_shape=(size, size), pixel_size=(spacing, spacing))
    # The same gantry angle and offsets describe the same orbit here.
    wanted = ConeBeam(
        [np.pi / 6],
        source_origin_distance=1000.0,
        source_detector_distance=1536.0,
        detector_shape=(size, size),
        pixel_size=spacing,
        detector_offset=(-7.0, 12.0),
    )
    _assert_same(got, wanted.to_vectors(), 1e-6, 1e-4)


def test_matrices_are_differentiable_and_trace(x64):
    v = ConeBeam([0.3, 1.2], **CONE).to_vectors()
    p = matrices.to_projection_matrices(v)

    def convert(p):
        return matrices.from_projection_matrices(p, **ARGUMENTS)

    _assert_same(jax.jit(convert)(p), v)
    shifted = jax.grad(lambda p: convert(p).source[0, 1])(p)
    step = 1e-4 * np.random.default_rng(0).normal(size=p.shape)
    slope = (convert(p + step).source[0, 1] - convert(p - step).source[0, 1]) / 2
    np.testing.assert_allclose(jnp.vdot(shifted, step), slope, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"matrices": np.zeros((2, 3, 4))}, "matrices must have a source"),
        ({"matrices": np.ones((2, 3, 4))}, "matrices must have a source"),
        (
            {"matrices": np.ones((3, 4))},
            r"matrices must have shape \(views, 3, 4\) with at least one view, got \(3, 4\)",
        ),
        ({"matrices": np.full((1, 3, 4), np.nan)}, "matrices must be finite, got nan"),
        ({"pixel_size": (0.8, 0.5)}, r"pixel_size \(row, col\) must agree with the matrices"),
        ({"pixel_size": 0.0}, "pixel_size must be positive"),
        ({"pixel_size": (1.0, 1.0, 1.0)}, r"pixel_size must be a scalar or \(row, col\)"),
        ({"detector_shape": (9,)}, "detector_shape must be a tuple of 2"),
        ({"in_front": (0.0, -200.0, 0.0)}, "in_front must be a point that the source sees"),
        ({"in_front": (0.0, 0.0)}, r"in_front must be a point \(z, y, x\), got shape \(2,\)"),
    ],
)
def test_wrong_matrices(change, message):
    good = {"matrices": matrices.to_projection_matrices(ConeBeam([0.0], **CONE)), **ARGUMENTS}
    with pytest.raises(ValueError, match=message):
        matrices.from_projection_matrices(**{**good, **change})


@pytest.mark.parametrize(
    "geometry",
    [ConeBeam([0.0], **CONE, detector="curved"), ParallelBeam([0.0], detector_shape=(6, 9))],
    ids=["curved", "parallel"],
)
def test_geometries_without_matrices(geometry):
    with pytest.raises(ValueError, match="3-D cone beam with a flat detector"):
        matrices.to_projection_matrices(geometry)
