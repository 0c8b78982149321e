"""Where the crystals of a ring are, and checks on what describes them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxct.geometry import _validate


class Ring(NamedTuple):
    """Crystals of one ring, (n, 2) positions and unit vectors (y, x) along their faces, and which are no gaps."""

    positions: np.ndarray
    directions: np.ndarray
    live: np.ndarray


def outwards(angles: np.ndarray) -> np.ndarray:
    """Unit vectors (y, x) from the axis to a crystal."""
    return np.stack([-np.cos(angles), np.sin(angles)], -1)


def along(angles: np.ndarray) -> np.ndarray:
    """Unit vectors (y, x) along the face of a crystal, to where the angle grows."""
    return np.stack([np.sin(angles), np.cos(angles)], -1)


def polygon(
    *,
    num_sides: int,
    blocks_per_side: int,
    crystals_per_block: int,
    virtual_crystals: int,
    radius: float,
    pitch: float,
    block_gap: float,
    first_angle: float,
) -> Ring:
    """Flat blocks on the sides of a polygon; the place of a gap is spread between the crystals beside it.

    A side is turned so that the mean of its crystals' nominal angles, ``first_angle + 2 pi c/n``, is where it faces.
    """
    sides = _validate.count("num_sides", num_sides)
    blocks = _validate.count("blocks_per_side", blocks_per_side)
    crystals = _validate.count("crystals_per_block", crystals_per_block)
    if sides < 3:
        raise ValueError(f"num_sides must be at least 3, got {num_sides}")
    if virtual_crystals < 0 or block_gap < 0:
        raise ValueError(f"virtual_crystals and block_gap must not be negative, got {virtual_crystals}, {block_gap}")
    places = crystals + virtual_crystals
    period = crystals * positive("pitch", pitch) + block_gap
    _check_fit(blocks * period - block_gap, 2 * radius * np.tan(np.pi / sides))
    block, crystal = (i.ravel() for i in np.indices((blocks, crystals)))
    offset = (block - (blocks - 1) / 2) * period + (crystal - (crystals - 1) / 2) * pitch
    place = block * places + virtual_crystals + crystal
    total = sides * blocks * places
    facing = first_angle + 2 * np.pi * (np.arange(sides) * blocks * places + place.mean()) / total
    positions = radius * outwards(facing)[:, None] + offset[:, None] * along(facing)[:, None]
    numbers = (np.arange(sides)[:, None] * blocks * places + place).ravel()
    live = np.zeros(total, bool)
    live[numbers] = True
    everywhere = np.repeat(facing, blocks * places)
    return Ring(_fill(numbers, positions.reshape(-1, 2), total), along(everywhere), live)


def _check_fit(needed: float, side: float) -> None:
    if needed > side * (1 + 1e-6):
        raise ValueError(f"pitch: the crystals of a side take {needed:g} mm, which is more than the side, {side:g} mm")


def _fill(numbers: np.ndarray, positions: np.ndarray, total: int) -> np.ndarray:
    """Positions of all numbers, those between known ones interpolated around the ring."""
    around = np.concatenate([numbers[-1:] - total, numbers, numbers[:1] + total])
    known = np.concatenate([positions[-1:], positions, positions[:1]])
    return np.stack([np.interp(np.arange(total), around, known[:, k]) for k in range(2)], -1)


def seen_widths(tangents: jax.Array, start: jax.Array, end: jax.Array) -> jax.Array:
    """(n,) how wide two faces, (n, 2, 2), are across the line between them, on average."""
    along = (end - start)[:, 1:]
    across = jnp.stack([along[:, 1], -along[:, 0]], -1) / jnp.linalg.norm(along, axis=-1, keepdims=True)
    seen = jnp.abs(jnp.einsum("nek,nk->ne", tangents, across)).mean(-1)
    # Lines along a flat face see nothing of it, but a tube needs some width.
    return jnp.maximum(seen, 1e-3 * jnp.linalg.norm(tangents, axis=-1).mean(-1))


def checked(name: str, value: Any, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """A read-only array of finite numbers (or booleans) of this shape."""
    array = np.asarray(value)
    if dtype is bool and array.dtype != bool:
        raise TypeError(f"{name} must be booleans, got {array.dtype}")
    if dtype is float and (array.dtype == bool or not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array)):
        raise TypeError(f"{name} must be real numbers, got {array.dtype}")
    if array.shape != shape or 0 in shape or not shape:
        raise ValueError(f"{name} must have shape {shape}, none of it 0, got {array.shape}")
    array = np.array(array, dtype)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite")
    array.setflags(write=False)
    return array


def positive(name: str, value: float) -> float:
    """A number above zero."""
    if not 0 < value < np.inf:
        raise ValueError(f"{name} must be positive and finite, got {value!r}")
    return float(value)


def sizes(value: tuple[float, float]) -> tuple[float, float]:
    """Axial and transaxial size of a crystal."""
    if np.shape(value) != (2,):
        raise ValueError(f"crystal_size must be (axial, transaxial), got {value!r}")
    return positive("crystal_size", value[0]), positive("crystal_size", value[1])


def numbers(name: str, value: ArrayLike, count: int) -> jax.Array:
    """Integers below ``count``; looked at where they are concrete."""
    array = value if isinstance(value, jax.Array) else np.asarray(value)
    if not jnp.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{name} must be integers, got {array.dtype}")
    if not isinstance(array, jax.core.Tracer) and array.size and not (array.min() >= 0 and array.max() < count):
        raise ValueError(f"{name} must lie in [0, {count}), got {array.min()} to {array.max()}")
    return jnp.asarray(array)
