"""ASTRA's geometries and arrays, both ways. ASTRA itself is not needed."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxct.geometry import ConeBeam, ConeVectors, FanBeam, ParallelBeam, ParallelVectors, VolumeGrid, astra

ANGLES = np.array([0.2, 1.5, 3.9])
CONE = {
    "type": "cone",
    "DetectorSpacingX": 0.8,
    "DetectorSpacingY": 0.5,
    "DetectorRowCount": 4,
    "DetectorColCount": 6,
    "ProjectionAngles": ANGLES,
    "DistanceOriginSource": 300.0,
    "DistanceOriginDetector": 120.0,
}
PARALLEL3D = {k: v for k, v in CONE.items() if not k.startswith("Distance")} | {"type": "parallel3d"}
FANFLAT = {
    "type": "fanflat",
    "DetectorWidth": 1.5,
    "DetectorCount": 7,
    "ProjectionAngles": ANGLES,
    "DistanceOriginSource": 300.0,
    "DistanceOriginDetector": 120.0,
}
PARALLEL = {"type": "parallel", "DetectorWidth": 1.5, "DetectorCount": 7, "ProjectionAngles": ANGLES}


def _documented_vectors(proj_geom):
    """The vectors that ASTRA's documentation gives for its circular geometries, (x, y, z)."""
    sin, cos, zero = np.sin(ANGLES), np.cos(ANGLES), np.zeros_like(ANGLES)
    to_source = proj_geom.get("DistanceOriginSource")
    if to_source is None:
        first, center = (sin, -cos, zero), (zero, zero, zero)
    else:
        to_detector = proj_geom["DistanceOriginDetector"]
        first = (sin * to_source, -cos * to_source, zero)
        center = (-sin * to_detector, cos * to_detector, zero)
    if "DetectorWidth" in proj_geom:
        width = proj_geom["DetectorWidth"]
        return np.stack([*first[:2], *center[:2], cos * width, sin * width], 1)
    u, v = proj_geom["DetectorSpacingX"], proj_geom["DetectorSpacingY"]
    return np.stack([*first, *center, cos * u, sin * u, zero, zero, zero, zero + v], 1)


@pytest.mark.parametrize("proj_geom", [CONE, FANFLAT], ids=["cone", "fanflat"])
def test_circular_source_geometries_follow_astra(proj_geom, x64):
    geometry = astra.from_astra(proj_geom)
    assert type(geometry) is (ConeBeam if proj_geom is CONE else FanBeam)
    out = astra.to_astra(geometry)
    assert out["type"] == proj_geom["type"] + "_vec"
    np.testing.assert_allclose(out["Vectors"], _documented_vectors(proj_geom), atol=1e-12)


@pytest.mark.parametrize("proj_geom", [PARALLEL3D, PARALLEL], ids=["parallel3d", "parallel"])
def test_circular_parallel_geometries_follow_astra_up_to_the_sense_of_the_ray(proj_geom, x64):
    geometry = astra.from_astra(proj_geom)
    assert type(geometry) is ParallelBeam
    out = astra.to_astra(geometry)
    assert out["type"] == proj_geom["type"] + "_vec"
    wanted = _documented_vectors(proj_geom)
    ray = geometry.ndim
    np.testing.assert_allclose(out["Vectors"][:, :ray], -wanted[:, :ray], atol=1e-12)
    np.testing.assert_allclose(out["Vectors"][:, ray:], wanted[:, ray:], atol=1e-12)


def test_counts_are_rows_and_columns():
    out = astra.to_astra(astra.from_astra(CONE))
    assert (out["DetectorRowCount"], out["DetectorColCount"]) == (4, 6)
    assert astra.to_astra(astra.from_astra(FANFLAT))["DetectorCount"] == 7


def test_vectors_come_back_unless_astra_has_no_such_detector(geometry64):
    vectors = geometry64.to_vectors()
    if vectors.ndim == 2 and getattr(vectors, "detector", "flat") == "curved":
        with pytest.raises(ValueError, match="no curved fan beam"):
            astra.to_astra(geometry64)
        return
    back = astra.from_astra(astra.to_astra(geometry64))
    assert type(back) is type(vectors)
    assert jax.tree.structure(back) == jax.tree.structure(vectors)
    for got, wanted in zip(jax.tree.leaves(back), jax.tree.leaves(vectors), strict=True):
        np.testing.assert_array_equal(got, wanted)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=12, max_size=12))
def test_any_vectors_come_back_bit_for_bit(numbers):
    array = np.asarray(numbers)[None] + np.array([0, -2e4, 0, 0, 2e4, 0, 3e3, 0, 0, 0, 0, 3e3])
    with jax.enable_x64(True):
        geometry = astra.from_astra(
            {"type": "cone_vec", "DetectorRowCount": 2, "DetectorColCount": 3, "Vectors": array}
        )
        np.testing.assert_array_equal(astra.to_vector_array(geometry), array)


def test_components_are_reversed():
    array = np.array([[0.0, -9.0, 1.0, 2.0, 8.0, 3.0, 1.0, 0.1, 0.2, 0.3, 0.4, 1.0]])
    g = astra.from_astra({"type": "cone_vec", "DetectorRowCount": 2, "DetectorColCount": 3, "Vectors": array})
    assert isinstance(g, ConeVectors)
    np.testing.assert_allclose(g.source, [[1.0, -9.0, 0.0]])
    np.testing.assert_allclose(g.detector_center, [[3.0, 8.0, 2.0]])
    np.testing.assert_allclose(g.col_axis, [[0.2, 0.1, 1.0]])
    np.testing.assert_allclose(g.row_axis, [[1.0, 0.4, 0.3]])


def test_parallel_vectors_have_a_direction():
    array = np.array([[0.0, 1.0, 0.0, 0.0, 2.0, 0.0]])
    g = astra.from_astra({"type": "parallel_vec", "DetectorCount": 5, "Vectors": array})
    assert isinstance(g, ParallelVectors)
    np.testing.assert_allclose(g.direction, [[1.0, 0.0]])
    np.testing.assert_allclose(g.col_axis, [[0.0, 2.0]])


def test_a_curved_detector_keeps_its_radius():
    g = ConeBeam(
        ANGLES,
        source_origin_distance=300.0,
        source_detector_distance=420.0,
        detector_shape=(4, 6),
        pixel_size=1.0,
        detector_offset=(5.0, 30.0),
        detector="curved",
    )
    out = astra.to_astra(g)
    assert out["type"] == "cyl_cone_vec"
    np.testing.assert_allclose(out["Vectors"][:, 12], 420.0, rtol=1e-6)
    out["Vectors"][1, 12] = 400.0
    with pytest.raises(ValueError, match="centred on the source, of radius 420, got radius 400 in view 1"):
        astra.from_astra(out)


@pytest.mark.parametrize(
    "grid",
    [
        VolumeGrid((3, 4, 5), voxel_size=(0.5, 1.0, 2.0), center=(1.0, -2.0, 3.0)),
        VolumeGrid((4, 5), voxel_size=(1.0, 2.0), center=(-2.0, 3.0)),
    ],
    ids=["3-D", "2-D"],
)
def test_volume_geometries_come_back(grid):
    vol_geom = astra.to_astra_volume(grid)
    assert (vol_geom["GridRowCount"], vol_geom["GridColCount"]) == (4, 5)
    assert (vol_geom["option"]["WindowMinX"], vol_geom["option"]["WindowMaxX"]) == (-2.0, 8.0)
    assert (vol_geom["option"]["WindowMinY"], vol_geom["option"]["WindowMaxY"]) == (-4.0, 0.0)
    assert ("GridSliceCount" in vol_geom) == ("WindowMinZ" in vol_geom["option"]) == (grid.ndim == 3)
    back = astra.from_astra_volume(vol_geom)
    assert back.shape == grid.shape
    np.testing.assert_allclose(back.voxel_size, grid.voxel_size)
    np.testing.assert_allclose(back.center, grid.center)


def test_a_volume_without_a_window_has_unit_voxels():
    grid = astra.from_astra_volume({"GridRowCount": 4, "GridColCount": 5, "GridSliceCount": 3})
    assert grid.shape == (3, 4, 5)
    np.testing.assert_allclose(grid.voxel_size, 1.0)
    np.testing.assert_allclose(grid.center, 0.0)


def test_images_are_turned_upside_down_and_volumes_are_not():
    image = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(astra.volume_to_astra(image), [[3, 4, 5], [0, 1, 2]])
    np.testing.assert_array_equal(astra.volume_from_astra(astra.volume_to_astra(image)), image)
    volume = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(astra.volume_to_astra(volume), volume)


def test_projections_put_the_rows_first():
    projections = np.arange(24).reshape(2, 3, 4)  # view, row, column
    out = astra.projections_to_astra(projections)
    assert out.shape == (3, 2, 4)
    assert out[2, 1, 3] == projections[1, 2, 3]
    np.testing.assert_array_equal(astra.projections_from_astra(out), projections)
    sinogram = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(astra.projections_to_astra(sinogram), sinogram)


def test_array_helpers_trace():
    out = jax.jit(lambda x: astra.projections_from_astra(astra.projections_to_astra(x)))(np.ones((2, 3, 4)))
    assert out.shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("proj_geom", "message"),
    [
        ({**CONE, "type": "sparse_matrix"}, "type of the projection geometry must be one that jaxct has"),
        ({k: v for k, v in CONE.items() if k != "DetectorSpacingX"}, "must have the entry 'DetectorSpacingX'"),
        ({}, "must have the entry 'type'"),
        (
            {"type": "cone_vec", "DetectorRowCount": 2, "DetectorColCount": 2, "Vectors": np.ones((3, 6))},
            r"\(views, 12\)",
        ),
        ({**CONE, "DistanceOriginDetector": -10.0}, "source_detector_distance"),
        ({**CONE, "DetectorColCount": 0}, "detector_shape"),
    ],
)
def test_wrong_descriptions(proj_geom, message):
    with pytest.raises(ValueError, match=message):
        astra.from_astra(proj_geom)


@pytest.mark.parametrize("convert", [astra.volume_to_astra, astra.projections_to_astra])
def test_arrays_of_other_ranks_are_refused(convert):
    with pytest.raises(ValueError, match="must have 2 or 3 axes"):
        convert(np.zeros(3))


def test_only_geometries_are_converted():
    with pytest.raises(TypeError, match="must be a jaxct geometry"):
        astra.to_astra("cone")
