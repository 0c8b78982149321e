"""The FORBILD head phantom."""

from typing import Any

import numpy as np
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.phantoms.phantom import Phantom
from jaxct.phantoms.rotations import frame
from jaxct.phantoms.shapes import Cone, Cylinder, Ellipsoid, Shape

# All lengths of the definition are in cm, in (x, y, z); values are relative to water.
_CM = 10.0
_BRAIN, _BONE = 1.05, 1.8
_BONE_IN_BRAIN = _BONE - _BRAIN
_ROW = 0.2 * np.sqrt(3)  # distance of the rows of cavities in the ear
_COS15, _SIN15 = np.cos(np.pi / 12), np.sin(np.pi / 12)
_COS30, _SIN30 = np.cos(np.pi / 6), 0.5

# x, y, semi-axis a, semi-axis b, angle of a (degrees), value: what Yu et al. tabulate without clipping lines.
_ELLIPSES = np.array(
    [
        [-4.7, 4.3, 1.79989, 1.79989, 0, 0.010],
        [4.7, 4.3, 1.79989, 1.79989, 0, 0.010],
        [-1.08, -9.0, 0.4, 0.4, 0, 0.0025],
        [1.08, -9.0, 0.4, 0.4, 0, -0.0025],
        [0.0, 0.0, 9.6, 12.0, 0, 1.800],
        [0.0, 8.4, 1.8, 3.0, 0, -1.050],
        [1.9, 5.4, 0.41633, 1.17425, -31.07698, 0.750],
        [-1.9, 5.4, 0.41633, 1.17425, 31.07698, 0.750],
        [-4.3, 6.8, 1.8, 0.24, -30, 0.750],
        [4.3, 6.8, 1.8, 0.24, 30, 0.750],
        [0.0, -3.6, 1.8, 3.6, 0, -0.005],
        [6.39395, -6.39395, 1.2, 0.42, 58.1, 0.005],
    ]
)
# The same with clipping lines (distance from the ellipse's centre, direction in degrees).
_CLIPPED_ELLIPSES = (
    ((0.0, 3.6, 2.0, 2.0, 0, 0.750), ((1.2, 0), (1.2, 180), (0.27884, 90), (0.27884, 270))),
    ((0.0, 9.6, 1.8, 3.0, 0, 1.800), ((0.60687, 90), (0.60687, 270), (0.2, 0), (0.2, 180))),
    ((0.0, 0.0, 9.0, 11.4, 0, 0.750), ((-2.605, 15), (-2.605, 165), (-10.71177, 90))),
    ((0.0, -14.294530834372887, 0.443194085308632, 3.892760834372886, 0, 0.750), ((-3.582760834372887, 270),)),
)
_INNER_SKULL = (0.0, 0.0, 9.0, 11.4, 0, -0.750)
_EAR = (9.1, 0.0, 4.2, 1.8, 0, 0.750)
_EAR_EDGE = 8.88740  # where ear and inner skull meet

# Number of cavities in row |y| (columns) of layer |z| (rows), 0.4 cm apart from x = 8.8 or 8.6 inwards.
_CAVITIES = ((9, 8, 8, 6), (8, 8, 7, 6), (8, 7, 7, 5), (6, 6, 5, 4))


def forbild_head(ndim: int = 2, *, right_ear: bool = True, left_ear: bool = False, scale: ArrayLike = 1.0) -> Phantom:
    """The FORBILD head phantom of Lauritsch and Bruder: a skull with low contrasts and difficult bones.

    Air 0, water 1, brain 1.05, ventricle 1.045, haematoma 1.055, eyes 1.06, two low-contrast spheres 1.0475 and 1.0525,
    bone 1.8. The head is 192 x 240 x 250 mm along x, y, z; the forehead looks towards +y, the ear with its honeycomb of
    air cavities lies at +x.

    3-D follows the definition of 1999 object by object, where a later object replaces what it covers. Here the same
    function is written as a sum: where bones overlap each other or the inside of the skull, intersections are
    subtracted. 2-D is the table that Yu et al. (2012) made of the central slice, with its ellipses in place of the few
    sections that are none.

    Args:
        ndim: 2 or 3.
        right_ear: the temporal bone with air cavities of 3 mm, 53 in 2-D and 317 in 3-D.
        left_ear: the pattern of 80 bone dots for spatial resolution, 0.25 to 0.36 mm wide (2-D only).
        scale: factor on the values; the attenuation of water in 1/mm (0.0206 at 60 keV) gives real ones.

    Raises:
        ValueError: another dimension, or ``left_ear`` in 3-D.
        TypeError: ``scale`` is not a real number.

    References:
        G. Lauritsch, H. Bruder, FORBILD head phantom, University of Erlangen (1999).
        Z. Yu, F. Noo, F. Dennerlein, A. Wunderlich, G. Lauritsch, J. Hornegger, Simulation tools for two-dimensional
        experiments in x-ray computed tomography using the FORBILD head phantom, Phys. Med. Biol. 57 (2012),
        N237-N252, doi:10.1088/0031-9155/57/13/N237.
    """
    if ndim not in (2, 3):
        raise ValueError(f"ndim must be 2 or 3, got {ndim!r}")
    if ndim == 3 and left_ear:
        raise ValueError("left_ear must be False in 3-D: the published resolution pattern is two-dimensional")
    scale = _validate.floats("scale", scale)
    shapes = _slice(right_ear, left_ear) if ndim == 2 else _head(right_ear)
    return Phantom(*(shape.scaled(scale) for shape in shapes))


def _slice(right_ear: bool, left_ear: bool) -> list[Shape]:
    shapes: list[Shape] = [_ellipses(_ELLIPSES)]
    shapes += [_clipped(row, lines) for row, lines in _CLIPPED_ELLIPSES]
    if right_ear:
        shapes += [_clipped(row, ((_EAR_EDGE - row[0], 0),)) for row in (_INNER_SKULL, _EAR)]
        shapes.append(_ellipses([(x, y, 0.15, 0.15, 0, -_BONE) for x, y, z in _cavities() if z == 0]))
    else:
        shapes.append(_ellipses([_INNER_SKULL]))
    if left_ear:
        shapes.append(_ellipses([(x, y, d / 2, d / 2, 0, _BONE_IN_BRAIN) for x, y, d in _dots()]))
    return shapes


def _head(right_ear: bool) -> list[Shape]:
    inner_skull = _ball((0, 0, 0), (9.0, 11.4, 11.9), _BRAIN - _BONE)
    bones = _sinus_bones()
    shapes: list[Shape] = [
        _ball((0, 0, 0), (9.6, 12.0, 12.5), _BONE),
        inner_skull,
        _ball((0, -3.6, 0), (1.8, 3.6, 3.6), 1.045 - _BRAIN),
        _ball((0, 8.4, 0), (1.8, 3.0, 3.0), -_BRAIN),
        _ball(((-4.7, 4.3, 0.872), (4.7, 4.3, 0.872)), 2.0, 1.060 - _BRAIN),
        _ball(((-1.08, -9, 0), (1.08, -9, 0)), 0.4, (0.0025, -0.0025)),
        _ball((6.393945, -6.393945, 0), (1.2, 0.42, 1.2), 1.055 - _BRAIN, np.deg2rad(58.1)),
        *bones.values(),
        # the septum in the air of the frontal sinus
        _rod((0, 9.6, 0), 0.4, (0.525561, 2.0), (1, 0, 0), (0, _COS30, _SIN30), _BONE),
    ]
    for first, second in (("floor", "left"), ("floor", "right"), ("left plate", "left"), ("right plate", "right")):
        shapes.append((bones[first] & bones[second]).scaled(-1.0))
    lower, upper = (_spike(z) for z in (-0.2, 0.2))
    shapes += [lower & inner_skull, upper & inner_skull, (lower & upper & inner_skull).scaled(-1.0)]
    if right_ear:
        # Its own clipping plane, x < 9.1, lies outside the inner skull, where all is bone anyway.
        shapes.append(_ball((9.1, 0, 0), (4.2, 1.8, 1.8), _BONE_IN_BRAIN) & inner_skull)
        shapes.append(_ball(_cavities(), 0.15, -_BONE))
    return shapes


def _sinus_bones() -> dict[str, Shape]:
    """The bones around the frontal sinus and above the eyes; the sides of it differ by half a percent in size."""

    def side(sign: float, a: float, b: float) -> Shape:
        z_axis = np.array((-sign * _SIN15, 0.0, _COS15))
        x_axis = np.array((sign * _COS15 * _SIN30, _COS30, _SIN15 * _SIN30))
        axes = frame(_zyx(z_axis), _zyx(x_axis))
        semi_axes = np.array((3.0, a * _COS15, b * _COS15)) * _CM
        return Ellipsoid(_zyx((sign * 1.9, 5.4, 0.0)) * _CM, semi_axes, _BONE_IN_BRAIN, axes)

    def plate(sign: float) -> Shape:
        return _rod((sign * 4.3, 6.8, -1.0), 4.0, (1.8, 0.24), (0, 0, 1), (sign * _COS30, _SIN30, 0), _BONE_IN_BRAIN)

    return {
        "floor": _rod((0, 3.6, 0), 0.5 * _COS15, (1.2, 4.0), (0, -_COS30, _SIN30), (1, 0, 0), _BONE_IN_BRAIN),
        "left": side(-1.0, 1.206483, 0.420276),
        "right": side(1.0, 1.2, 0.42),
        "left plate": plate(-1.0),
        "right plate": plate(1.0),
    }


def _spike(z: float) -> Shape:
    """Half of the occipital protuberance."""
    return Cone(_zyx((0, -11.15, z)) * _CM, (0.5 * _CM, 0.2 * _CM), 0.75 * _CM, _BONE_IN_BRAIN, frame((0, 1, 0)))


def _cavities() -> np.ndarray:
    """Centres (x, y, z) of the air cavities in the right ear: hexagonal rows in every layer."""
    return np.array(
        [
            (8.8 - 0.2 * ((abs(y) + abs(z)) % 2) - 0.4 * n, y * _ROW, z * _ROW)
            for z in range(-3, 4)
            for y in range(-3, 4)
            for n in range(_CAVITIES[abs(z)][abs(y)])
        ]
    )


def _dots() -> np.ndarray:
    """x, y and diameter of the dots of the left ear: four columns of one diameter each, four groups of five."""
    return np.array(
        [
            (-7.0 + 0.08 * column, -1.0 + 0.48 * group + 2 * diameter * n, diameter)
            for column, diameter in enumerate((0.0357, 0.0312, 0.0278, 0.0250))
            for group in range(4)
            for n in range(5)
        ]
    )


def _ellipses(rows: Any) -> Ellipsoid:
    x, y, a, b, angle, value = np.asarray(rows).T
    return Ellipsoid(np.stack([y, x], -1) * _CM, np.stack([b, a], -1) * _CM, value, np.deg2rad(angle))


def _clipped(row: tuple, lines: tuple) -> Shape:
    x, y, a, b, _, value = row
    shape: Shape = Ellipsoid((y * _CM, x * _CM), (b * _CM, a * _CM), value)
    for distance, degrees in lines:
        normal = np.array((np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees))))
        shape = shape.clip(normal, (distance + normal @ (y, x)) * _CM)
    return shape


def _ball(center: Any, semi_axes: Any, value: Any, angle: float = 0.0) -> Ellipsoid:
    semi_axes = np.asarray(semi_axes)
    return Ellipsoid(_zyx(center) * _CM, (_zyx(semi_axes) if semi_axes.ndim else semi_axes) * _CM, value, angle)


def _rod(center: Any, length: float, semi_axes: Any, axis: Any, second: Any, value: float) -> Cylinder:
    rotation = frame(_zyx(axis), _zyx(second))
    return Cylinder(_zyx(center) * _CM, np.array(semi_axes) * _CM, length / 2 * _CM, value, rotation)


def _zyx(vector: Any) -> np.ndarray:
    return np.asarray(vector, np.float64)[..., ::-1]
