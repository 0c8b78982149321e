"""ParallelVectors and ConeVectors: shapes, pixel centres, and what they refuse."""

import numpy as np
import pytest

from jaxct.geometry import ConeVectors, ParallelVectors

SOURCE = [[0.0, -100.0, 0.0]]
CENTER = [[0.0, 50.0, 0.0]]
ROW = [[2.0, 0.0, 0.0]]
COL = [[0.0, 0.0, 1.0]]


def test_to_vectors_is_the_identity(geometry):
    vectors = geometry.to_vectors()
    assert vectors.to_vectors() is vectors
    assert vectors.ndim == geometry.ndim
    assert vectors.projection_shape == geometry.projection_shape == (4, *geometry.detector_shape)


def test_vector_fields_have_one_vector_per_view(geometry):
    v = geometry.to_vectors()
    first = v.direction if isinstance(v, ParallelVectors) else v.source
    fields = [first, v.detector_center, v.col_axis] + ([] if v.row_axis is None else [v.row_axis])
    assert {field.shape for field in fields} == {(4, geometry.ndim)}
    assert (v.row_axis is None) == (geometry.ndim == 2)


def test_the_middle_of_the_pixels_is_the_detector_centre(geometry):
    v = geometry.to_vectors()
    rows_cols = tuple(n // 2 for n in geometry.detector_shape)  # odd shapes: the middle pixel
    np.testing.assert_allclose(v.pixel_centers()[(slice(None), *rows_cols)], v.detector_center, atol=1e-4)


def test_pixel_centres_step_along_the_axes():
    v = ConeVectors(SOURCE, CENTER, ROW, COL, (2, 3))
    centres = np.asarray(v.pixel_centers())
    np.testing.assert_allclose(centres[0, 1, 2] - centres[0, 0, 2], ROW[0])
    np.testing.assert_allclose(centres[0, 1, 2] - centres[0, 1, 1], COL[0])


def test_an_oblique_row_offset_of_a_curved_detector_does_not_change_its_radius(x64):
    v = ConeVectors(SOURCE, [[30.0, 50.0, 0.0]], ROW, COL, (1, 101), "curved")
    from_source = np.asarray(v.pixel_centers())[0, 0] - np.asarray(SOURCE)
    np.testing.assert_allclose(np.hypot(from_source[:, 1], from_source[:, 2]), 150.0, rtol=1e-14)
    np.testing.assert_allclose(from_source[:, 0], 30.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((SOURCE, CENTER, ROW, ROW, (2, 3)), "row_axis must not be parallel to col_axis"),
        ((SOURCE, CENTER, ROW, [[0.0, 0.0, 0.0]], (2, 3)), "col_axis must not be zero"),
        ((CENTER, CENTER, ROW, COL, (2, 3)), "detector_center - source must not be zero"),
        (([[5.0, 50.0, 9.0]], CENTER, ROW, COL, (2, 3)), "detector_center - source must not lie in the detector"),
        (
            (SOURCE, CENTER, ROW, [[0.0, 0.5, 1.0]], (2, 3), "curved"),
            "col_axis of a curved detector must be perpendicular",
        ),
        ((SOURCE, CENTER, ROW, COL, (2, 3), "round"), "detector must be one of 'flat', 'curved', got 'round'"),
        ((SOURCE, CENTER, None, COL, (2, 3)), "row_axis must be None in 2-D and given in 3-D"),
        ((SOURCE, CENTER, ROW, COL, (3,)), r"source must have shape \(views, 2\)"),
        ((SOURCE, CENTER[0], ROW, COL, (2, 3)), r"detector_center must have shape \(views, ndim\) = \(1, 3\)"),
        (([[0.0, np.inf, 0.0]], CENTER, ROW, COL, (2, 3)), "source must be finite, got inf"),
        ((np.zeros((0, 3)), CENTER, ROW, COL, (2, 3)), "at least one view"),
    ],
)
def test_degenerate_vectors_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ConeVectors(*arguments)


def test_parallel_rays_along_the_detector_are_refused():
    with pytest.raises(ValueError, match=r"direction must not lie in the detector, got \(1\.0, 0\.0, 1\.0\) in view 1"):
        ParallelVectors([[0, 1, 0], [1, 0, 1]], CENTER * 2, ROW * 2, COL * 2, (2, 3))


def test_two_dimensional_rays_along_the_detector_are_refused():
    with pytest.raises(ValueError, match="direction must not lie in the detector"):
        ParallelVectors([[0.0, 1.0]], [[0.0, 0.0]], None, [[0.0, -2.0]], (3,))
