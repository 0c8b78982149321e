"""Bad arguments: each is refused with a message that names it."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxct.geometry import ConeBeam, FanBeam, ParallelBeam, VolumeGrid

CONE = {
    "angles": [0.0, 1.0],
    "source_origin_distance": 100.0,
    "source_detector_distance": 150.0,
    "detector_shape": (3, 4),
    "pixel_size": 1.0,
}
FAN = {**CONE, "detector_shape": (4,)}
PARALLEL = {"angles": [0.0, 1.0], "detector_shape": (3, 4)}
GRID = {"shape": (3, 4, 5)}
CLASSES = [(ConeBeam, CONE), (FanBeam, FAN), (ParallelBeam, PARALLEL)]

VALUES = [
    ("angles", [0.0, np.nan], "finite, got nan at index (1,)"),
    ("angles", [], "at least one view, got shape (0,)"),
    ("angles", 1.0, "shape (views,)"),
    ("angles", [[0.0, 1.0]], "shape (views,)"),
    ("pixel_size", 0.0, "positive and finite, got 0"),
    ("pixel_size", -1.0, "positive and finite, got -1"),
    ("pixel_size", np.inf, "positive and finite, got inf"),
    ("pixel_size", (1.0, 2.0, 3.0), "must be a scalar or have shape"),
    ("pixel_size", [1.0, [2.0, 3.0]], "a number or an array of numbers"),
    ("pixel_size", 1e-60, "positive and finite, got 0"),
    ("detector_offset", np.nan, "finite, got nan"),
    ("detector_offset", np.zeros((3, 1)), "num_views = 2, got shape (3, 1)"),
    ("detector_offset", 1e300, "finite, got inf"),
    ("detector_shape", (3, 4, 5), "positive integers, got (3, 4, 5)"),
    ("detector_shape", (), "positive integers, got ()"),
]
DISTANCES = [
    ("source_origin_distance", 0.0, "positive and finite, got 0"),
    ("source_origin_distance", -5.0, "positive and finite, got -5"),
    ("source_origin_distance", [100.0, -5.0], "positive and finite, got -5 at index (1,)"),
    ("source_origin_distance", [1.0, 2.0, 3.0], "one value per view, shape (2,), got shape (3,)"),
    ("source_detector_distance", -5.0, "positive and finite, got -5"),
    ("source_detector_distance", np.nan, "positive and finite, got nan"),
    ("source_detector_distance", [[150.0, 150.0]], "one value per view, shape (2,), got shape (1, 2)"),
    ("source_detector_distance", 60.0, "not be less than source_origin_distance, got a difference of -40 mm"),
    ("detector", "round", "one of 'flat', 'curved', got 'round'"),
]
TYPES = [
    ("angles", "0 1", "got '0 1'"),
    ("angles", None, "got None"),
    ("angles", np.array([True, False]), "got an array of bool"),
    ("angles", jnp.array([1j, 0]), "got an array of complex64"),
    ("pixel_size", True, "got True"),
    ("pixel_size", {"row": 1.0}, "real numbers"),
    ("detector_offset", "0", "got '0'"),
    ("detector_shape", 4, "positive integers, got 4"),
    ("detector_shape", "34", "positive integers, got '34'"),
    ("detector_shape", (3.0, 4), "positive integers, got (3.0, 4)"),
    ("detector_shape", (True, 4), "positive integers, got (True, 4)"),
    ("detector_shape", None, "positive integers, got None"),
]


def _check(error, cls, good, name, value, message):
    with pytest.raises(error) as caught:
        cls(**{**good, name: value})
    assert name in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(("cls", "good"), CLASSES, ids=lambda c: getattr(c, "__name__", ""))
@pytest.mark.parametrize(("name", "value", "message"), VALUES)
def test_wrong_values(cls, good, name, value, message):
    _check(ValueError, cls, good, name, value, message)


@pytest.mark.parametrize(("cls", "good"), CLASSES[:2], ids=lambda c: getattr(c, "__name__", ""))
@pytest.mark.parametrize(("name", "value", "message"), DISTANCES)
def test_wrong_distances_and_modes(cls, good, name, value, message):
    _check(ValueError, cls, good, name, value, message)


@pytest.mark.parametrize(("cls", "good"), CLASSES, ids=lambda c: getattr(c, "__name__", ""))
@pytest.mark.parametrize(("name", "value", "message"), TYPES)
def test_wrong_types(cls, good, name, value, message):
    _check(TypeError, cls, good, name, value, message)


@pytest.mark.parametrize(
    ("cls", "good", "name", "value", "message"),
    [
        (ConeBeam, CONE, "source_z", [0.0, np.inf], "finite, got inf at index (1,)"),
        (ConeBeam, CONE, "source_z", [0.0, 1.0, 2.0], "one value per view"),
        (ConeBeam, CONE, "detector_shape", (4,), "a tuple of 2 positive integers"),
        (ConeBeam, CONE, "detector_shape", (0, 4), "positive integers, got (0, 4)"),
        (FanBeam, FAN, "detector_shape", (3, 4), "a tuple of 1 positive integers"),
        (ConeBeam, CONE, "detector_offset", [1.0, 2.0, 3.0], "a scalar, (row, col) or (num_views, 2)"),
        (FanBeam, FAN, "detector_offset", [1.0, 2.0, 3.0], "a scalar, (num_views,) or (num_views, 1)"),
        (VolumeGrid, GRID, "shape", (3,), "a tuple of 2 or 3 positive integers, got (3,)"),
        (VolumeGrid, GRID, "shape", (3, -4), "positive integers, got (3, -4)"),
        (VolumeGrid, GRID, "voxel_size", 0.0, "positive and finite, got 0"),
        (VolumeGrid, GRID, "voxel_size", (1.0, 1.0), "a scalar or have shape (3,), got shape (2,)"),
        (VolumeGrid, GRID, "center", (0.0, np.nan, 0.0), "finite, got nan at index (1,)"),
    ],
)
def test_wrong_values_of_one_class(cls, good, name, value, message):
    _check(ValueError, cls, good, name, value, message)


@pytest.mark.parametrize(("name", "value"), [("shape", 5), ("shape", (3.5, 2)), ("voxel_size", "1"), ("center", None)])
def test_wrong_types_of_a_grid(name, value):
    _check(TypeError, VolumeGrid, GRID, name, value, "got")


def test_a_mode_that_is_no_string():
    _check(TypeError, FanBeam, FAN, "detector", 1, "one of 'flat', 'curved', got 1")


def test_a_good_table():
    """The arguments above that are varied one at a time are right by themselves."""
    for cls, good in [*CLASSES, (VolumeGrid, GRID)]:
        cls(**good)
