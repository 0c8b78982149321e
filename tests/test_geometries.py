"""The catalogue of test set-ups is sound: a test that passes over it has tested what its names say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from jaxct.geometry import ConeVectors
from tests.geometries import CASES, FOOTPRINT_MODELS, LINE_MODELS, geometries, models_for


def _source_outside(geometry, grid):
    vectors = geometry.to_vectors()
    if not isinstance(vectors, ConeVectors):
        return True
    low, high = grid.bounds()
    return bool(((vectors.source < low) | (vectors.source > high)).any(axis=-1).all())


def _check_case(case):
    geometry, grid = case()
    assert geometry.ndim == grid.ndim
    assert _source_outside(geometry, grid)
    leaves = jax.tree.leaves((geometry.to_vectors(), grid))
    assert all(leaf.dtype == jnp.result_type(float) and jnp.isfinite(leaf).all() for leaf in leaves)
    row_axis = geometry.to_vectors().row_axis
    if row_axis is not None:
        tilts = np.degrees(np.arccos(np.abs(row_axis[:, 0]) / np.linalg.norm(row_axis, axis=1)))
        assert case.axial == bool((tilts < 30).all()) or case.name.startswith("any_pose")
    assert set(models_for(case)) == set(LINE_MODELS + FOOTPRINT_MODELS if case.axial else LINE_MODELS)


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("case", CASES, ids=repr)
def test_catalogued_cases_are_sound(case, x64):
    with jax.enable_x64(x64):
        _check_case(case)


@settings(max_examples=20, deadline=None)
@given(case=geometries())
def test_random_cases_are_sound(case):
    with jax.enable_x64(False):
        _check_case(case)
