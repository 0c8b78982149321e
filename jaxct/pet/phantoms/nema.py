"""The image quality phantom of NEMA NU 2."""

from collections.abc import Sequence

import numpy as np
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.pet.phantoms.parts import ACRYLIC, NEMA_LUNG, WATER, PETPhantom
from jaxct.phantoms import Box, Cylinder, Ellipsoid, Phantom, Shape

SPHERE_DIAMETERS = (10.0, 13.0, 17.0, 22.0, 28.0, 37.0)

# All lengths in mm, from the middle of the circle of spheres; y points up, away from the bed.
_SPHERE_ANGLES = np.deg2rad([120.0, 60.0, 0.0, -60.0, -120.0, 180.0])
_SPHERE_CIRCLE = 114.4 / 2
_LUNG_RADIUS = 25.0
_ARC_Y = -35.0  # where the big arc of the upper side has its centre
_ARC, _CORNER, _FLAT = 147.0, 77.0, 70.0  # inner radii of arc and corners, half the flat part of the bottom
_WALL, _LID = 3.0, 10.0
_TO_LID, _LENGTH = 70.0, 194.0  # from the spheres to the nearer lid, from lid to lid; both inside
_FAR = 1000.0

# (x, y) of twelve circles of 37 mm, 15 mm or more from the wall and from every sphere, as far from one another as that
# allows.
_BACKGROUND_CENTERS = np.array(
    [
        (93, 29.9),
        (68.2, 55.6),
        (-2, 78),
        (-76, 49),
        (-109.5, -5.5),
        (-91.5, -50),
        (-67, -78.5),
        (62.4, -78.5),
        (96.8, -69.2),
        (72, -39.5),
        (113.4, -37.6),
        (108.6, -2.2),
    ]
)


def nema_image_quality(
    contrast: ArrayLike | Sequence[float] = 4.0,
    *,
    background: float = 1.0,
    sphere_wall: float = 1.0,
    center: ArrayLike | Sequence[float] = 0.0,
) -> PETPhantom:
    """The image quality phantom of NEMA NU 2 (IEC 61675-1): a torso with a lung insert and six spheres.

    Seen from +z the spheres of 10, 13, 17, 22, 28 and 37 mm inner diameter stand clockwise on a circle of 114.4 mm
    about the lung insert, 60 degrees apart, the one of 17 mm at +x; their centres lie in one plane, 70 mm inside the
    lid at +z. The torso's flat side, which lies on the bed, is at -y. It is 294 mm wide, 224 mm high and 194 mm long
    inside, with walls of 3 mm and lids of 10 mm of acrylic. The lung insert, 50 mm in diameter, is as long as the
    inside; it holds no activity and attenuates like water of 0.30 g/cm^3.

    Args:
        contrast: activity of the spheres relative to the background, one value or six, by diameter. All six hot at 4
            as in NU 2-2018; ``(4, 4, 4, 4, 0, 0)`` and 8 in place of 4 for the tests of NU 2-2007 and before, where the
            two largest are cold.
        background: activity concentration of the background.
        sphere_wall: thickness of the spheres' acrylic walls, without activity, in mm; 0 leaves them out.
        center: where the middle of the circle of spheres lies, (z, y, x) in mm or one number.

    Returns:
        The phantom with the regions ``"sphere_10"`` ... ``"sphere_37"`` (inside the walls), ``"lung"`` and
        ``"background"`` (all that holds background activity).

    Raises:
        ValueError: negative or non-finite values, another number of contrasts.
        TypeError: values that are not real numbers.

    References:
        NEMA Standards Publication NU 2-2018, Performance Measurements of Positron Emission Tomographs, section 7.
        IEC 61675-1:2013, Characteristics and test conditions: positron emission tomographs.
    """
    ratios = _contrasts(contrast)
    _not_negative(background=background, sphere_wall=sphere_wall)
    origin = np.asarray(_validate.per_axis("center", center, 3), np.float64)
    inside = Phantom(*_torso(origin, 0.0, 0.0))
    lung = _lung(origin)
    inner, outer = _spheres(origin, 0.0), _spheres(origin, sphere_wall)
    filled = inside + -1.0 * (lung + outer)
    radii = np.asarray(SPHERE_DIAMETERS)[:, None] / 2
    hot = Ellipsoid(nema_sphere_centers(origin), radii, background * ratios)
    acrylic = (ACRYLIC - WATER) * (outer + -1.0 * inner)
    attenuation = ACRYLIC * Phantom(*_torso(origin, _WALL, _LID)) + (WATER - ACRYLIC) * inside
    spheres = {
        f"sphere_{d:.0f}": Phantom(Ellipsoid(c, d / 2))
        for d, c in zip(SPHERE_DIAMETERS, nema_sphere_centers(origin), strict=True)
    }
    return PETPhantom(
        activity=background * filled + hot,
        attenuation=attenuation + (NEMA_LUNG - WATER) * lung + acrylic,
        regions={**spheres, "lung": lung, "background": filled},
    )


def nema_sphere_centers(center: ArrayLike | Sequence[float] = 0.0) -> np.ndarray:
    """(6, 3): centres (z, y, x) of the spheres by diameter, in mm, for a phantom at ``center``."""
    ring = _SPHERE_CIRCLE * np.stack([0 * _SPHERE_ANGLES, np.sin(_SPHERE_ANGLES), np.cos(_SPHERE_ANGLES)], -1)
    return ring + np.broadcast_to(np.asarray(center, np.float64), (3,))


def nema_background_centers(center: ArrayLike | Sequence[float] = 0.0) -> np.ndarray:
    """(12, 3): centres (z, y, x) of the circles in which the background is measured, in the spheres' plane, in mm.

    Circles of 37 mm keep the 15 mm from wall and spheres that NEMA NU 2 asks for. The standard draws their places in a
    figure; these are as far from one another as that rule allows.
    """
    xy = _BACKGROUND_CENTERS
    return np.stack([0 * xy[:, 0], xy[:, 1], xy[:, 0]], -1) + np.broadcast_to(np.asarray(center, np.float64), (3,))


def lung_ends(center: np.ndarray) -> tuple[float, float]:
    """z of both ends of the lung insert, in mm."""
    return center[0] + _TO_LID - _LENGTH, center[0] + _TO_LID


def _torso(origin: np.ndarray, wall: float, lid: float) -> list[Shape]:
    """Half a cylinder on a flat bottom with round corners, ``wall`` wider and ``lid`` longer on every side.

    The four parts share faces. Boxes cut them, whose faces belong to one side only, so that no line along a face counts
    twice.
    """
    half, z = _LENGTH / 2 + lid, _TO_LID - _LENGTH / 2
    arc, corner = _ARC + wall, _CORNER + wall

    def at(y: float, x: float) -> np.ndarray:
        return np.add(origin, (z, y, x))

    def cut(y: float, x: float) -> Box:
        return Box(at(y, x), (_FAR, _FAR, _FAR))

    upper = Cylinder(at(_ARC_Y, 0), arc, half) & cut(_ARC_Y + _FAR, 0)
    right = Cylinder(at(_ARC_Y, _FLAT), corner, half) & cut(_ARC_Y - _FAR, _FLAT + _FAR)
    left = Cylinder(at(_ARC_Y, -_FLAT), corner, half) & cut(_ARC_Y - _FAR, -_FLAT - _FAR)
    bottom = Box(at(_ARC_Y - corner / 2, 0), (half, corner / 2, _FLAT))
    return [upper, right, left, bottom]


def _lung(origin: np.ndarray) -> Phantom:
    return Phantom(Cylinder(np.add(origin, (_TO_LID - _LENGTH / 2, 0, 0)), _LUNG_RADIUS, _LENGTH / 2))


def _spheres(origin: np.ndarray, wall: float) -> Phantom:
    return Phantom(Ellipsoid(nema_sphere_centers(origin), np.asarray(SPHERE_DIAMETERS)[:, None] / 2 + wall))


def _contrasts(contrast: ArrayLike | Sequence[float]) -> np.ndarray:
    ratios = np.asarray(_validate.floats("contrast", contrast), np.float64)
    if ratios.shape not in ((), (6,)):
        raise ValueError(f"contrast must be a number or six, got shape {ratios.shape}")
    if (ratios < 0).any():
        raise ValueError(f"contrast must not be negative, got {ratios.min():g}")
    return np.broadcast_to(ratios, (6,))


def _not_negative(**values: float) -> None:
    for name, value in values.items():
        if not np.asarray(_validate.scalar(name, value)) >= 0:
            raise ValueError(f"{name} must not be negative, got {value:g}")
