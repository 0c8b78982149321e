"""ParallelBeam: its vectors, by hand."""

import numpy as np

from jaxct.geometry import ParallelBeam

QUARTERS = [0.0, np.pi / 2]


def test_vectors_in_three_dimensions():
    v = ParallelBeam(QUARTERS, detector_shape=(2, 3), pixel_size=(0.5, 2.0), detector_offset=(10.0, 1.0)).to_vectors()
    # (z, y, x): at angle 0 rays run along +y and columns along +x; a quarter turn later along -x and +y.
    np.testing.assert_allclose(v.direction, [[0, 1, 0], [0, 0, -1]], atol=1e-7)
    np.testing.assert_allclose(v.col_axis, [[0, 0, 2], [0, 2, 0]], atol=1e-6)
    np.testing.assert_allclose(v.row_axis, [[0.5, 0, 0], [0.5, 0, 0]])
    np.testing.assert_allclose(v.detector_center, [[10, 0, 1], [10, 1, 0]], atol=1e-6)
    assert (v.ndim, v.num_views, v.detector_shape) == (3, 2, (2, 3))


def test_vectors_in_two_dimensions():
    v = ParallelBeam(QUARTERS, detector_shape=(3,), pixel_size=2.0, detector_offset=[1.0, -1.0]).to_vectors()
    np.testing.assert_allclose(v.direction, [[1, 0], [0, -1]], atol=1e-7)
    np.testing.assert_allclose(v.col_axis, [[0, 2], [2, 0]], atol=1e-6)
    np.testing.assert_allclose(v.detector_center, [[0, 1], [-1, 0]], atol=1e-6)
    assert v.row_axis is None


def test_column_position_is_x_cos_plus_y_sin(x64):
    angles = np.linspace(0, 6, 13)
    v = ParallelBeam(angles, detector_shape=(9,), pixel_size=0.7, detector_offset=0.3).to_vectors()
    y, x = np.moveaxis(np.asarray(v.pixel_centers()), -1, 0)
    position = x * np.cos(angles)[:, None] + y * np.sin(angles)[:, None]
    np.testing.assert_allclose(position, np.broadcast_to(0.3 + 0.7 * (np.arange(9) - 4), (13, 9)), atol=1e-14)


def test_a_sequence_of_two_offsets_is_row_and_column():
    g = ParallelBeam(QUARTERS, detector_shape=(2, 3), detector_offset=[3.0, 4.0])
    np.testing.assert_allclose(g.to_vectors().detector_center[0], [3, 0, 4])


def test_offsets_per_view():
    g = ParallelBeam(QUARTERS, detector_shape=(2, 3), detector_offset=[[3.0, 4.0], [5.0, 6.0]])
    np.testing.assert_allclose(g.to_vectors().detector_center, [[3, 0, 4], [5, 6, 0]], atol=1e-6)


def test_offsets_in_two_dimensions_with_and_without_the_axis():
    flat = ParallelBeam(QUARTERS, detector_shape=(3,), detector_offset=[3.0, 4.0])
    column = ParallelBeam(QUARTERS, detector_shape=(3,), detector_offset=[[3.0], [4.0]])
    assert flat.detector_offset.shape == column.detector_offset.shape == (2, 1)
    np.testing.assert_array_equal(flat.detector_offset, column.detector_offset)
