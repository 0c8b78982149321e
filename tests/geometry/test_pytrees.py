"""Geometries are pytrees: jit, vmap, grad, and whatever JAX puts into their leaves."""

import copy
import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxct.geometry import ConeBeam, ParallelBeam, VolumeGrid


def _leaves(geometry):
    return jax.tree.leaves(geometry.to_vectors())


def _assert_trees_equal(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    jax.tree.map(np.testing.assert_array_equal, left, right)


def test_leaves_are_floats_and_structure_is_hashable(geometry):
    leaves, structure = jax.tree.flatten(geometry)
    assert all(leaf.dtype == jnp.float32 for leaf in leaves)
    assert hash(structure) == hash(jax.tree.structure(geometry))


def test_key_paths_name_the_fields():
    g = ParallelBeam([0.0, 1.0], detector_shape=(3,))
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(g)]
    assert paths == [".angles", ".pixel_size", ".detector_offset"]


def test_unflattening_rebuilds_the_geometry(geometry):
    leaves, structure = jax.tree.flatten(geometry)
    _assert_trees_equal(jax.tree.unflatten(structure, leaves), geometry)


@pytest.mark.parametrize("placeholder", [None, 0, object(), "leaf"], ids=["None", "int", "object", "str"])
def test_any_leaf_survives_unflattening(geometry, placeholder):
    rebuilt = jax.tree.map(lambda leaf: placeholder, geometry)
    assert type(rebuilt) is type(geometry)
    assert rebuilt.detector_shape == geometry.detector_shape
    assert type(geometry).__name__ in repr(rebuilt)


def test_different_statics_are_different_structures():
    trees = {jax.tree.structure(ParallelBeam([0.0], detector_shape=(n,))) for n in (3, 3, 4)}
    assert len(trees) == 2


def test_jit_gives_the_same_vectors(geometry):
    jitted = jax.jit(lambda g: g.to_vectors())(geometry)
    for got, wanted in zip(jax.tree.leaves(jitted), _leaves(geometry), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-4)


def test_jit_traces_once_for_one_structure():
    traces = []

    @jax.jit
    def total(g):
        traces.append(g)
        return sum(jnp.sum(leaf) for leaf in _leaves(g))

    for shift in (0.0, 0.1):
        total(ParallelBeam([0.0 + shift, 1.0], detector_shape=(3,)))
    assert len(traces) == 1
    assert "ParallelBeam(angles=float32[2]" in repr(traces[0])


def test_vmap_over_a_stacked_geometry(geometry):
    other = jax.tree.map(lambda leaf: leaf * 1.01, geometry)
    batched = jax.tree.map(lambda *leaves: jnp.stack(leaves), geometry, other)
    assert batched.num_views == geometry.num_views
    vectors = jax.vmap(lambda g: g.to_vectors())(batched)
    for member, single in enumerate((geometry, other)):
        for got, wanted in zip(jax.tree.leaves(vectors), _leaves(single), strict=True):
            np.testing.assert_allclose(got[member], wanted, rtol=1e-5, atol=1e-4)


def test_vmap_over_angles_leaves_the_rest_shared():
    g = ConeBeam(
        [0.0, 1.0], source_origin_distance=10.0, source_detector_distance=20.0, detector_shape=(2, 2), pixel_size=1.0
    )
    angles = jnp.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])

    def with_angles(new, others):
        return jax.tree_util.tree_map_with_path(lambda path, leaf: new if path[0].name == "angles" else others(leaf), g)

    batched, axes = with_angles(angles, lambda leaf: leaf), with_angles(0, lambda leaf: None)
    sources = jax.vmap(lambda g: g.to_vectors().source, in_axes=(axes,))(batched)
    np.testing.assert_allclose(sources[2, :, 2], 10 * np.sin([4.0, 5.0]), rtol=1e-5)


def test_vmap_constructs_a_geometry_per_member():
    distances = jnp.array([100.0, 200.0])

    def source(distance):
        g = ConeBeam(
            [0.0], source_origin_distance=distance, source_detector_distance=400, detector_shape=(2, 2), pixel_size=1
        )
        return g.to_vectors().source[0, 1]

    np.testing.assert_allclose(jax.vmap(source)(distances), -distances)


def test_a_geometry_is_carried_by_scan(geometry):
    final, _ = jax.lax.scan(lambda g, _: (g, None), geometry, length=2)
    _assert_trees_equal(final, geometry)


def test_eval_shape_and_shape_structs(geometry):
    shapes = jax.eval_shape(lambda g: g.to_vectors(), geometry)
    assert shapes.projection_shape == geometry.projection_shape
    assert "float32[4" in repr(jax.eval_shape(lambda g: g, geometry))


def test_fields_are_frozen(geometry):
    with pytest.raises(dataclasses.FrozenInstanceError):
        geometry.detector_shape = (1,)


def test_replace_copies_and_pickles(geometry):
    _assert_trees_equal(dataclasses.replace(geometry), geometry)
    _assert_trees_equal(copy.deepcopy(geometry), geometry)
    _assert_trees_equal(pickle.loads(pickle.dumps(geometry)), geometry)


def test_geometries_are_equal_by_identity(geometry):
    assert geometry == geometry
    assert geometry != copy.deepcopy(geometry)
    assert len({geometry, copy.deepcopy(geometry)}) == 2


def test_repr_shows_values_and_ranges():
    g = ParallelBeam(np.linspace(0, 3, 90), detector_shape=(16,), pixel_size=0.25)
    expected = (
        "ParallelBeam(angles=float32[90] in [0, 3], pixel_size=(0.25), detector_offset=(0), detector_shape=(16,))"
    )
    assert repr(g) == expected
    assert repr(VolumeGrid((2, 3))) == "VolumeGrid(shape=(2, 3), voxel_size=(1, 1), center=(0, 0))"


def test_repr_of_donated_leaves():
    g = ParallelBeam(np.linspace(0, 3, 90), detector_shape=(16,))
    g.angles.delete()
    assert "angles=float32[90]," in repr(g)


def test_float_types_of_leaves():
    def angles_dtype(angles):
        return ParallelBeam(angles, detector_shape=(3,)).angles.dtype

    assert angles_dtype([0, 1]) == jnp.float32
    assert angles_dtype(np.zeros(2, np.float16)) == jnp.float32
    assert angles_dtype(jnp.zeros(2, jnp.bfloat16)) == jnp.float32
    assert angles_dtype(np.zeros(2)) == jnp.float32
    with jax.enable_x64(True):
        assert angles_dtype([0, 1]) == jnp.float64
        assert angles_dtype(np.zeros(2, np.float32)) == jnp.float32
        assert angles_dtype(np.zeros(2)) == jnp.float64


def test_double_precision_angles_give_double_precision_vectors(geometry64):
    assert {leaf.dtype for leaf in _leaves(geometry64)} == {np.dtype(np.float64)}


def test_mixed_precision_fields_give_vectors_of_one_type(geometry64):
    mixed = jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf.astype(jnp.float32 if path[0].name in ("angles", "source") else leaf.dtype), geometry64
    )
    vectors = dataclasses.replace(mixed).to_vectors()
    assert {leaf.dtype for leaf in jax.tree.leaves(vectors)} == {np.dtype(np.float64)}


def test_arrays_of_the_right_type_are_not_copied():
    angles = jnp.array([0.0, 1.0])
    assert ParallelBeam(angles, detector_shape=(3,)).angles is angles
