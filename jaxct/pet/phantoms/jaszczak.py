"""The Jaszczak phantom: six sectors of rods, six spheres, and a uniform part."""

from collections.abc import Sequence

import numpy as np
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.pet.phantoms.parts import ACRYLIC, WATER, PETPhantom
from jaxct.phantoms import Cylinder, Ellipsoid, Phantom

ROD_DIAMETERS = (4.8, 6.4, 7.9, 9.5, 11.1, 12.7)
SPHERE_DIAMETERS = (9.5, 12.7, 15.9, 19.1, 25.4, 31.8)

# All lengths in mm, from the middle of the tank. The rods stand on the bottom, at -z.
_RADIUS, _LENGTH = 108.0, 186.0
_WALL, _LID = 3.2, 6.4
_ROD_LENGTH, _SPHERE_HEIGHT, _SPHERE_CIRCLE = 88.0, 127.0, 114.3 / 2
_GAP = 4.0  # that rods keep from the wall and from the borders between sectors


def jaszczak(
    *,
    rods: float = 0.0,
    spheres: float | Sequence[float] = 0.0,
    background: float = 1.0,
    center: ArrayLike | Sequence[float] = 0.0,
) -> PETPhantom:
    """The Jaszczak phantom (deluxe, flangeless): cold or hot rods and spheres in a tank of 216 mm by 186 mm.

    Rods of 4.8, 6.4, 7.9, 9.5, 11.1 and 12.7 mm stand in six sectors of 60 degrees, 88 mm long, their axes two
    diameters apart in a triangular pattern; the thickest are at +x, thinner ones follow counter-clockwise, seen from
    +z. Spheres of 9.5, 12.7, 15.9, 19.1, 25.4 and 31.8 mm have their centres on a circle of 114.3 mm, 127 mm above the
    bottom, each over the middle of a sector, the largest over the thinnest rods. Between them lies a uniform part.

    Cold rods and spheres are solid acrylic. Hot ones are filled, and their walls left out: they attenuate like water.

    Args:
        rods: activity of the rods relative to the background; 0 for cold ones.
        spheres: activity of the spheres relative to the background, one value or six, by diameter.
        background: activity concentration of the tank. 0 turns ``rods`` and ``spheres`` into activities themselves: a
            Derenzo pattern.
        center: where the middle of the tank lies, (z, y, x) in mm or one number.

    Returns:
        The phantom with the regions ``"rods_4.8"`` ... ``"rods_12.7"``, ``"sphere_9.5"`` ... ``"sphere_31.8"`` and
        ``"background"`` (the tank without rods and spheres).

    Raises:
        ValueError: negative or non-finite values, another number of spheres.
        TypeError: values that are not real numbers.

    References:
        Data Spectrum Corporation, Jaszczak SPECT phantoms, flangeless deluxe model.
    """
    rod, sphere = _activities("rods", rods), _activities("spheres", spheres)
    filling = np.asarray(_validate.scalar("background", background))
    if rod.min() < 0 or sphere.min() < 0 or filling < 0:
        raise ValueError("rods, spheres and background must not be negative")
    origin = np.asarray(_validate.per_axis("center", center, 3), np.float64)
    tank = Phantom(Cylinder(origin, _RADIUS, _LENGTH / 2))
    inserts = {f"rods_{d}": _rods(origin, i) for i, d in enumerate(ROD_DIAMETERS)}
    inserts |= {f"sphere_{d}": _sphere(origin, i) for i, d in enumerate(SPHERE_DIAMETERS)}
    levels = np.concatenate([rod, sphere]) * (filling if filling > 0 else 1.0)
    activity = float(filling) * tank
    attenuation = ACRYLIC * Phantom(Cylinder(origin, _RADIUS + _WALL, _LENGTH / 2 + _LID)) + (WATER - ACRYLIC) * tank
    background_region = tank
    for insert, level in zip(inserts.values(), levels, strict=True):
        activity += float(level - filling) * insert
        background_region += -1.0 * insert
        if level == 0:
            attenuation += (ACRYLIC - WATER) * insert
    return PETPhantom(activity, attenuation, {**inserts, "background": background_region})


def _rods(origin: np.ndarray, index: int) -> Phantom:
    """All rods of one diameter: rows of one, two, three ... along the middle line of their sector."""
    diameter = ROD_DIAMETERS[index]
    pitch = 2 * diameter
    angle = (len(ROD_DIAMETERS) - 1 - index) * np.pi / 3
    first = 2 * _GAP + diameter  # axes keep half of it from the borders, at 30 degrees to the middle line
    rows = np.arange(int(_RADIUS / diameter))
    row = np.repeat(rows, rows + 1)
    place = np.concatenate([np.arange(n + 1) - n / 2 for n in rows])
    along, across = first + row * pitch * np.sqrt(3) / 2, place * pitch
    fits = np.hypot(along, across) + diameter / 2 <= _RADIUS - _GAP
    along, across = along[fits], across[fits]
    y, x = along * np.sin(angle) + across * np.cos(angle), along * np.cos(angle) - across * np.sin(angle)
    middle = np.stack([np.full_like(y, (_ROD_LENGTH - _LENGTH) / 2), y, x], -1)
    return Phantom(Cylinder(origin + middle, np.full((len(y), 2), diameter / 2), np.full(len(y), _ROD_LENGTH / 2)))


def _sphere(origin: np.ndarray, index: int) -> Phantom:
    angle = index * np.pi / 3
    z = _SPHERE_HEIGHT - _LENGTH / 2
    middle = np.add(origin, (z, _SPHERE_CIRCLE * np.sin(angle), _SPHERE_CIRCLE * np.cos(angle)))
    return Phantom(Ellipsoid(middle, SPHERE_DIAMETERS[index] / 2))


def _activities(name: str, value: float | Sequence[float]) -> np.ndarray:
    array = np.asarray(_validate.floats(name, value), np.float64)
    if array.shape not in ((), (6,)):
        raise ValueError(f"{name} must be a number or six, got shape {array.shape}")
    return np.broadcast_to(array, (6,))
