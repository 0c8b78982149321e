"""Small phantoms: disk, ball, cylinder, line pairs, stacked discs."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxct.phantoms.phantom import Phantom
from jaxct.phantoms.rotations import frame
from jaxct.phantoms.shapes import Box, Cylinder, Ellipsoid


def disk(radius: ArrayLike, *, center: ArrayLike | Sequence[ArrayLike] = (0.0, 0.0), value: ArrayLike = 1.0) -> Phantom:
    """A uniform disk (2-D) of ``radius`` mm about ``center`` (y, x), of ``value`` 1/mm."""
    return Phantom(Ellipsoid(center, radius, value))


def ball(
    radius: ArrayLike, *, center: ArrayLike | Sequence[ArrayLike] = (0.0, 0.0, 0.0), value: ArrayLike = 1.0
) -> Phantom:
    """A uniform ball (3-D) of ``radius`` mm about ``center`` (z, y, x), of ``value`` 1/mm."""
    return Phantom(Ellipsoid(center, radius, value))


def uniform_cylinder(
    radius: ArrayLike,
    length: ArrayLike,
    *,
    center: ArrayLike | Sequence[ArrayLike] = (0.0, 0.0, 0.0),
    axis: ArrayLike | Sequence[ArrayLike] = (1.0, 0.0, 0.0),
    value: ArrayLike = 1.0,
) -> Phantom:
    """A uniform circular cylinder (3-D) of ``radius`` and ``length`` mm along ``axis`` (by default z)."""
    return Phantom(Cylinder(center, radius, jnp.asarray(length) / 2, value, frame(axis)))


def line_pairs(
    widths: Sequence[float] = (4.0, 3.0, 2.0, 1.5, 1.0, 0.75, 0.5),
    *,
    bars: int = 4,
    ndim: int = 2,
    radius: float = 100.0,
    background: float = 0.02,
    contrast: float = 0.02,
) -> Phantom:
    """A uniform disk or cylinder with groups of bars, to read the spatial resolution from.

    Every group has ``bars`` parallel bars one width apart, ten widths long at most, so that a width of w mm stands for
    1/(2 w) line pairs a millimetre. The groups stand on a circle of 0.6 times the radius, bars pointing outwards; the
    first is at +x, the others follow counter-clockwise.

    Args:
        widths: bar widths in mm, one a group.
        bars: bars a group.
        ndim: 2, or 3 for bars and cylinder of ``radius`` length along z.
        radius: of the disk, in mm.
        background: value of the disk, 1/mm.
        contrast: value of the bars above it, 1/mm.

    Raises:
        ValueError: no widths, widths that are not positive or too wide for the circle, another dimension.
    """
    widths_mm = np.asarray(widths, np.float64)
    if widths_mm.ndim != 1 or widths_mm.size == 0 or not (widths_mm > 0).all():
        raise ValueError(f"widths must be one or more positive numbers, got {widths!r}")
    if ndim not in (2, 3):
        raise ValueError(f"ndim must be 2 or 3, got {ndim!r}")
    room = 2 * np.pi / widths_mm.size * 0.4 * radius
    if (2 * bars - 1) * widths_mm.max() > room:
        raise ValueError(f"widths must leave each of {widths_mm.size} groups {room:g} mm, got {widths_mm.max():g} mm")
    angle = np.repeat(np.arange(widths_mm.size) * 2 * np.pi / widths_mm.size, bars)
    width = np.repeat(widths_mm, bars)
    across = np.tile(2 * np.arange(bars) - (bars - 1.0), widths_mm.size) * width
    outward, sideways = np.stack([np.sin(angle), np.cos(angle)], -1), np.stack([np.cos(angle), -np.sin(angle)], -1)
    center = 0.6 * radius * outward + across[:, None] * sideways
    half = np.stack([width / 2, np.minimum(5 * width, 0.2 * radius)], -1)
    if ndim == 2:
        return Phantom(Ellipsoid((0.0, 0.0), radius, background), Box(center, half, contrast, angle))
    height = np.full((center.shape[0], 1), radius / 2)
    bars_3d = Box(np.concatenate([0 * height, center], -1), np.concatenate([height, half], -1), contrast, angle)
    return Phantom(Cylinder((0.0, 0.0, 0.0), radius, radius / 2, background), bars_3d)


def defrise(
    num_discs: int = 7,
    *,
    radius: float = 40.0,
    thickness: float = 6.0,
    pitch: float = 12.0,
    value: float = 0.02,
) -> Phantom:
    """The Defrise phantom, thin discs stacked along z: what a circular cone-beam scan reconstructs worst.

    Args:
        num_discs: number of discs, centred on z = 0.
        radius: of every disc, in mm.
        thickness: of every disc, in mm.
        pitch: distance of their middle planes, in mm.
        value: 1/mm.

    Raises:
        ValueError: no discs, lengths that are not positive.
    """
    if num_discs < 1:
        raise ValueError(f"num_discs must be at least 1, got {num_discs}")
    z = (np.arange(num_discs) - (num_discs - 1) / 2) * pitch
    return Phantom(Cylinder(np.stack([z, 0 * z, 0 * z], -1), radius, thickness / 2, value))
