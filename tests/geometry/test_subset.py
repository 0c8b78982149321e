"""geometry[views]: some of the views, with what is shared left alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxct.geometry import ConeBeam

CONE = {"source_origin_distance": 100.0, "source_detector_distance": 150.0, "detector_shape": (3, 4), "pixel_size": 1.0}


@pytest.mark.parametrize(
    "views",
    [slice(1, 3), slice(None, None, -1), [2, 0], np.array([3, -1]), 1, np.array([True, False, True, False])],
    ids=str,
)
def test_the_vectors_of_a_subset_are_a_subset_of_the_vectors(geometry, views):
    subset = geometry[views].to_vectors()
    wanted = [np.atleast_2d(np.asarray(leaf)[views]) for leaf in jax.tree.leaves(geometry.to_vectors())]
    assert subset.num_views == len(wanted[0])
    for got, leaf in zip(jax.tree.leaves(subset), wanted, strict=True):
        np.testing.assert_allclose(got, leaf, rtol=1e-6, atol=1e-5)


def test_a_traced_subset(geometry):
    index = jnp.array([2, 0])
    traced = jax.jit(lambda g, i: g[i].to_vectors())(geometry, index)
    assert traced.num_views == 2
    for got, wanted in zip(jax.tree.leaves(traced), jax.tree.leaves(geometry[index].to_vectors()), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-4)


def test_a_traced_single_view_keeps_its_axis(geometry):
    assert jax.jit(lambda g, i: g[i])(geometry, 2).num_views == 1


def test_shared_values_stay_shared():
    g = ConeBeam([0.0, 1.0, 2.0], **CONE, source_z=[1.0, 2.0, 3.0])[1:]
    assert g.source_origin_distance.shape == ()
    assert g.detector_offset.shape == (2,)
    np.testing.assert_array_equal(g.source_z, [2.0, 3.0])


def test_two_views_do_not_confuse_row_and_column_with_views():
    g = ConeBeam([0.0, 1.0], **CONE, detector_offset=(5.0, 6.0))[[1]]
    np.testing.assert_array_equal(g.detector_offset, [5.0, 6.0])


def test_a_geometry_is_a_sequence_of_single_views(geometry):
    views = list(geometry)
    assert [view.num_views for view in views] == [1] * geometry.num_views


@pytest.mark.parametrize("views", [4, -5, [0, 7], [], slice(2, 2), np.zeros(4, bool)], ids=str)
def test_selections_out_of_range_or_empty(geometry, views):
    with pytest.raises(IndexError, match="views"):
        geometry[views]


@pytest.mark.parametrize("views", [1.0, "0", [0.5], np.zeros(3, bool), [[0, 1]], None, (0, 1.5)], ids=str)
def test_selections_that_are_no_indices(geometry, views):
    with pytest.raises(TypeError, match="views must be a slice, integers"):
        geometry[views]


def test_a_batched_geometry_is_not_indexed():
    g = ConeBeam([0.0, 1.0], **CONE)
    batched = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), g)
    with pytest.raises(ValueError, match="inside vmap"):
        batched[0]
    with pytest.raises(ValueError, match="inside vmap"):
        batched.to_vectors()
