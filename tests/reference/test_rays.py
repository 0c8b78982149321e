"""Pixels lie where the geometry puts them, and projecting a point undoes casting a ray."""

import numpy as np
import pytest

from jaxct.geometry import ConeVectors
from jaxct.reference.project import project
from jaxct.reference.rays import pixel_positions, pixel_rays
from tests.geometries import CASES
from tests.reference.tools import per_view

PART = 0.37
ALL_CASES = pytest.mark.parametrize("case", CASES, ids=repr)


@ALL_CASES
def test_pixels_lie_where_the_geometry_says(case):
    geometry, _ = case()
    expected = geometry.to_vectors().pixel_centers()
    np.testing.assert_allclose(per_view(pixel_positions, geometry), expected, rtol=0, atol=1e-12)


def _project_points_of_rays(view):
    origin, direction = pixel_rays(view)
    return project(origin + PART * direction, view)


@ALL_CASES
def test_points_of_a_ray_project_onto_its_pixel(case):
    geometry, _ = case()
    pixel, magnification, in_front = per_view(_project_points_of_rays, geometry)
    index = np.stack(np.meshgrid(*map(np.arange, geometry.detector_shape), indexing="ij"), -1)
    np.testing.assert_allclose(pixel, np.broadcast_to(index, pixel.shape), rtol=0, atol=1e-11)
    expected = 1 / PART if isinstance(geometry.to_vectors(), ConeVectors) else 1.0
    np.testing.assert_allclose(magnification, np.full(magnification.shape, expected), rtol=1e-12)
    assert in_front.all()
