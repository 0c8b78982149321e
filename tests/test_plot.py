"""Pictures of slices: which are drawn, where, in what grey window."""

import numpy as np
import pytest

from jaxct import VolumeGrid
from jaxct.plot import grey_window, plot_slices, save_slices

pytest.importorskip("matplotlib")

GRID = VolumeGrid((6, 8, 10), voxel_size=(2.0, 1.0, 0.5), center=(1.0, 0.0, -3.0))


def images(figure):
    return [image for ax in figure.axes for image in ax.get_images() if ax.get_xlabel()]


def test_three_sections_a_volume_with_mm_axes():
    volume = np.arange(480.0).reshape(GRID.shape)
    figure = plot_slices({"a": volume, "b": 2 * volume}, GRID, at=(2.0, 1.5, -4.75), title="t", caption="c")
    axial, coronal, sagittal = images(figure)[:3]
    np.testing.assert_array_equal(axial.get_array(), volume[3])
    np.testing.assert_array_equal(coronal.get_array(), volume[:, 5])
    np.testing.assert_array_equal(sagittal.get_array(), volume[:, :, 1])
    assert len(images(figure)) == 6
    assert axial.get_extent() == [-5.5, -0.5, -4, 4]
    assert coronal.get_extent() == [-5.5, -0.5, -5, 7]
    assert sagittal.get_extent() == [-4, 4, -5, 7]
    assert {image.origin for image in images(figure)} == {"lower"}
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[:2] == ["a: axial, z = 2.0 mm", "a: coronal, y = 1.5 mm"]


def test_all_volumes_share_a_window_wide_enough_for_each():
    volume = np.ones(GRID.shape)
    figure = plot_slices({"a": volume, "b": 3 * volume}, GRID)
    assert {image.get_clim() for image in images(figure)} == {(0.0, 3.0)}
    figure = plot_slices(volume, GRID, window=(-1.0, 2.0))
    assert {image.get_clim() for image in images(figure)} == {(-1.0, 2.0)}


def test_images_and_thin_volumes_are_drawn_once():
    assert len(images(plot_slices(np.ones((8, 10)), VolumeGrid((8, 10))))) == 1
    assert len(images(plot_slices(np.ones((1, 80, 100)), VolumeGrid((1, 80, 100))))) == 1


def test_window_ignores_air_and_outliers():
    rng = np.random.default_rng(0)
    volume = rng.normal(0, 0.002, (40, 40, 40))
    volume[10:20, 10:20, 10:20] += 0.05
    volume[0, 0, 0] = 100.0
    low, high = grey_window(volume)
    assert low == 0
    assert 0.05 < high < 0.06
    assert grey_window(np.zeros((3, 3))) < (0.0, 1.0)
    assert grey_window(np.full((3, 3), np.nan)) == (0.0, 1.0)


def test_saved_picture(tmp_path):
    save_slices(tmp_path / "x.png", np.ones(GRID.shape), GRID)
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("volumes", "options", "message"),
    [
        (np.ones((2, 2, 2)), {}, "volumes"),
        ({"a": np.ones(GRID.shape), "b": np.ones(3)}, {}, "b"),
        ({}, {}, "volumes"),
        (np.ones(GRID.shape), {"at": (100.0, 0.0, 0.0)}, "at"),
        (np.ones(GRID.shape), {"at": (0.0, 0.0)}, "at"),
    ],
)
def test_what_does_not_fit_is_refused(volumes, options, message):
    with pytest.raises(ValueError, match=message):
        plot_slices(volumes, GRID, **options)
