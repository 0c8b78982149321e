"""Where a line lies inside a convex set: the maths that projections, rasterisation and point values share.

A line is ``point + t * direction`` with components first, arrays (ndim, n). Every function returns the parameters
``(enter, leave)`` at which lines enter and leave the set; a line that misses it has ``enter >= leave``. Infinite
values stand for a line that never enters or never leaves.
"""

import jax
import jax.numpy as jnp

Interval = tuple[jax.Array, jax.Array]


def to_body(rotation: jax.Array, vectors: jax.Array) -> jax.Array:
    """World vectors (ndim, n) in the body's own axes, the columns of ``rotation``.

    Written as a sum of products so that it fuses with its neighbours and never runs in a GPU's reduced precision.
    """
    total = rotation[0][:, None] * vectors[0]
    for j in range(1, rotation.shape[-1]):
        total = total + rotation[j][:, None] * vectors[j]
    return total


def unit_ball(point: jax.Array, direction: jax.Array) -> Interval:
    """The unit ball (disc, interval) in coordinates where the body is one; ``direction`` may have any length.

    The half chord is taken from the point of closest approach, sqrt((1 - |m|^2)/|v|^2), instead of from the
    discriminant b^2 - 4ac, which loses its digits when ``point`` is far away.
    """
    length2 = jnp.sum(direction**2, 0)
    parallel = length2 < _tiny(direction) ** 2
    length2 = jnp.where(parallel, 1.0, length2)
    nearest = -jnp.sum(point * direction, 0) / length2
    inside = 1.0 - jnp.sum((point + nearest * direction) ** 2, 0)
    half = _safe_sqrt(inside / length2)
    enter, leave = nearest - half, nearest + half
    return _where_parallel(parallel, inside > 0, enter, leave)


def slab(point: jax.Array, direction: jax.Array, half: jax.Array) -> Interval:
    """``-half <= x < half`` along one coordinate. The half-open side matters only to lines that lie in a face."""
    parallel = jnp.abs(direction) < _tiny(direction)
    slope = jnp.where(parallel, 1.0, direction)
    first, second = (-half - point) / slope, (half - point) / slope
    inside = (-half <= point) & (point < half)
    return _where_parallel(parallel, inside, jnp.minimum(first, second), jnp.maximum(first, second))


def half_space(height: jax.Array, slope: jax.Array) -> Interval:
    """``height + t * slope <= 0``."""
    parallel = jnp.abs(slope) < _tiny(slope)
    crossing = -height / jnp.where(parallel, 1.0, slope)
    enter = jnp.where(slope < 0, crossing, -jnp.inf)
    leave = jnp.where(slope > 0, crossing, jnp.inf)
    return _where_parallel(parallel, height <= 0, enter, leave)


def cone_side(point: jax.Array, direction: jax.Array, radius: jax.Array, growth: jax.Array) -> Interval:
    """The cone ``x1^2 + x2^2 <= r^2, r = radius + growth * x0 >= 0``, the axis being coordinate 0.

    ``direction`` has unit length. A line flatter than the cone crosses one nappe between two roots; a steeper one
    stays inside from its root on, on the side where r grows. The caller cuts the other nappe off.
    """
    shift = -jnp.sum(point * direction, 0)
    near = point + shift * direction
    r, dr = radius + growth * near[0], growth * direction[0]
    a = direction[1] ** 2 + direction[2] ** 2 - dr**2
    b = near[1] * direction[1] + near[2] * direction[2] - r * dr
    c = near[1] ** 2 + near[2] ** 2 - r**2
    a = jnp.where(jnp.abs(a) < _tiny(a), _tiny(a), a)
    discriminant = b**2 - a * c
    root = -(b + jnp.where(b < 0, -1.0, 1.0) * _safe_sqrt(discriminant))
    first, second = root / a, c / jnp.where(root == 0, 1.0, root)
    low, high = jnp.minimum(first, second), jnp.maximum(first, second)
    enter = jnp.where(a > 0, low, jnp.where(dr > 0, high, -jnp.inf))
    leave = jnp.where(a > 0, high, jnp.where(dr > 0, jnp.inf, low))
    missed = (a > 0) & (discriminant <= 0)
    return jnp.where(missed, jnp.inf, enter + shift), jnp.where(missed, -jnp.inf, leave + shift)


def intersect(*intervals: Interval) -> Interval:
    """The part of each line that lies inside all sets."""
    enter, leave = intervals[0]
    for other_enter, other_leave in intervals[1:]:
        enter, leave = jnp.maximum(enter, other_enter), jnp.minimum(leave, other_leave)
    return enter, leave


def _tiny(x: jax.Array) -> float:
    """A slope that moves a line by less than its rounding error over any distance of interest."""
    return 1e-3 * float(jnp.finfo(x.dtype).eps)


def _where_parallel(parallel: jax.Array, inside: jax.Array, enter: jax.Array, leave: jax.Array) -> Interval:
    enter = jnp.where(parallel, jnp.where(inside, -jnp.inf, jnp.inf), enter)
    leave = jnp.where(parallel, jnp.where(inside, jnp.inf, -jnp.inf), leave)
    return enter, leave


def _safe_sqrt(x: jax.Array) -> jax.Array:
    """sqrt(max(x, 0)) whose derivative is zero, not NaN, where the line misses."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), 0.0)
