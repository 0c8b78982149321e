r"""Weights of analytic reconstruction: what every ray counts before it is filtered and back projected.

Three factors multiply a projection: the cosine of the ray against the central one, the share of its line among all the
rays that measure it (redundancy), and the angle that its view stands for (quadrature). All of them are pure JAX, so
angles, distances and offsets may be traced, batched and differentiated.

The fan angle gamma of a ray is positive towards higher columns. Rays of the view at angle beta run along the parallel
direction beta - gamma, so the line (beta, gamma) is measured again by (beta + pi - 2 gamma, -gamma).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxct.geometry import ConeBeam, FanBeam, ParallelBeam

CircularGeometry = ParallelBeam | FanBeam | ConeBeam

TURN = 2 * jnp.pi

_REPEATED = 0.01  # views nearer than this fraction of the mean step are at the same angle


@jax.jit
def column_positions(geometry: CircularGeometry) -> jax.Array:
    """Pixel centres along the column axis in mm, from the foot of the central ray: (cols,) or (views, cols)."""
    return _positions(geometry, -1)


@jax.jit
def row_positions(geometry: CircularGeometry) -> jax.Array:
    """Pixel centres along the row axis in mm, from the foot of the central ray: (rows,) or (views, rows)."""
    return _positions(geometry, -2)


def _positions(geometry: CircularGeometry, axis: int) -> jax.Array:
    num = geometry.detector_shape[axis]
    pixel_size = geometry.pixel_size[axis]
    offset = geometry.detector_offset[..., axis]
    return offset[..., None] + (jnp.arange(num, dtype=pixel_size.dtype) - (num - 1) / 2) * pixel_size


@jax.jit
def fan_angles(geometry: FanBeam | ConeBeam) -> jax.Array:
    """Angle gamma of every column against the central ray in radians: (cols,) or (views, cols)."""
    ratio = column_positions(geometry) / geometry.source_detector_distance[..., None]
    return jnp.arctan(ratio) if geometry.detector == "flat" else ratio


@jax.jit
def cosine_weights(geometry: FanBeam | ConeBeam) -> jax.Array:
    """Cosine between every ray and the central ray: Feldkamp's ``D / sqrt(D^2 + u^2 + v^2)``.

    On a curved detector ``cos(gamma) D / sqrt(D^2 + v^2)``. The source-detector distance D and the positions u, v may
    differ from view to view.

    Returns:
        Shape (cols,) or (rows, cols), with the views in front if the weights depend on them.

    References:
        L. A. Feldkamp, L. C. Davis, J. W. Kress, Practical cone-beam algorithm, JOSA A 1 (1984) 612-619.
    """
    in_plane = jnp.cos(fan_angles(geometry))
    if geometry.ndim == 2:
        return in_plane
    distance = geometry.source_detector_distance[..., None, None]
    slope = row_positions(geometry)[..., :, None] / distance
    if geometry.detector == "flat":
        # The ray's length in the central plane is D / cos(gamma): its elevation is that much lower.
        slope = slope * in_plane[..., None, :]
    return in_plane[..., None, :] * jax.lax.rsqrt(1 + slope**2)


class _Arc(NamedTuple):
    """Views in the order of their angles, starting after the widest gap. ``gaps[k]`` lies before view ``order[k]``."""

    order: jax.Array
    gaps: jax.Array
    is_open: jax.Array


def _sort_views(angles: jax.Array, period: float) -> _Arc:
    """Sort the angles on the circle; an arc is open if its widest gaps are not just other steps between two views.

    Open arcs end half a mean step beyond the views on either side of the widest gap.
    """
    turned = jnp.mod(angles, period)
    order = jnp.argsort(turned)
    gaps = jnp.diff(turned[order], prepend=turned[order[-1]] - period)
    from_widest = (jnp.argmax(gaps) + jnp.arange(gaps.shape[0])) % gaps.shape[0]
    order, gaps = order[from_widest], gaps[from_widest]
    if angles.shape[0] == 1:
        return _Arc(order, gaps, jnp.asarray(True))
    is_open = _has_unmeasured(gaps, period)
    steps = jnp.maximum(jnp.sum(_is_step(gaps[1:], period)), 1)
    gaps = gaps.at[0].set(jnp.where(is_open, jnp.sum(gaps[1:]) / steps, gaps[0]))
    return _Arc(order, gaps, is_open)


def _has_unmeasured(gaps: jax.Array, period: float) -> jax.Array:
    """Whether a few gaps, one at least and a quarter of all at most, stand out as parts that no view measured.

    Each is more than 2 % of the period and more than thrice the widest of the others. The spacing of random angles
    hardly ever looks like that (its widest gaps are alike: once in about N^2 sets).
    """
    few = max(gaps.shape[0] // 4, 1)
    widest = jnp.sort(gaps, descending=True)[: few + 1]
    stands_out = (widest[:-1] > 3 * widest[1:]) & (widest[:-1] > 0.02 * period)
    # Next to repeated views every step is wide: several gaps are compared with steps alone.
    comparable = (widest[1:] > _REPEATED * period / gaps.shape[0]).at[0].set(True)
    return jnp.any(stands_out & comparable)


def _is_step(gaps: jax.Array, period: float) -> jax.Array:
    """Whether views are apart, not repeated: nearer than 1 % of the mean step counts as the same angle."""
    return gaps > _REPEATED * period / gaps.shape[0]


@partial(jax.jit, static_argnames="period")
def angular_weights(angles: jax.Array, period: float = TURN) -> jax.Array:
    """Quadrature weights of the views: half the distance between the neighbours on the circle (trapezoid rule).

    Any order, spacing and number of turns; views at the same angle, such as the last of 0 ... 360 degrees inclusive,
    share its weight. The weights add up to ``period``, or to the length of an open arc, whose first and last views
    reach half a mean step beyond themselves.

    Args:
        angles: (views,) in radians.
        period: 2 pi, or pi for parallel rays, which measure a line from both sides.

    Returns:
        (views,) in radians, differentiable in the angles.
    """
    num_views = angles.shape[0]
    order, gaps, _ = _sort_views(angles, period)
    cells = (gaps + jnp.roll(gaps, -1)) / 2
    group = jnp.cumsum(_is_step(gaps, period).at[0].set(True)) - 1
    total = jax.ops.segment_sum(cells, group, num_views)
    count = jax.ops.segment_sum(jnp.ones_like(cells), group, num_views)
    return jnp.zeros_like(cells).at[order].set(total[group] / count[group])


@partial(jax.jit, static_argnames="period")
def is_open_arc(angles: jax.Array, period: float = TURN) -> jax.Array:
    """Whether the views leave a gap, so that they do not cover the whole period (a boolean array)."""
    return _sort_views(angles, period).is_open


@jax.jit
def scan_arc(angles: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Start and length in radians of the arc that the views cover, from half a step before them to half a step after.

    The arc of a full turn starts in its widest gap and has the length 2 pi.
    """
    order, gaps, is_open = _sort_views(angles, TURN)
    length = jnp.where(is_open, jnp.sum(gaps), TURN)
    return angles[order[0]] - gaps[0] / 2, length


@jax.jit
def short_scan_weights(angles: jax.Array, fan_angle: jax.Array) -> jax.Array:
    """Share of every ray in a scan of less than a turn: Parker's smooth weights, with Silver's extension.

    With ``2 Gamma = arc - pi``, b the angle from the start of the arc and ``S(x) = sin^2(pi/2 clip(x, 0, 1))``::

        w(b, gamma) = S(b / (2 Gamma + 2 gamma)) S((arc - b) / (2 Gamma - 2 gamma))

    so that a line measured twice has weights that add up to 1, and one measured once has weight 1. If Gamma is the half
    fan angle these are Parker's weights; a longer arc, up to 2 pi, is Silver's virtual fan. Shorter arcs leave lines
    unmeasured.

    Args:
        angles: (views,) in radians, any order.
        fan_angle: (cols,) or (views, cols) in radians.

    Returns:
        (views, cols), in [0, 1].

    References:
        D. L. Parker, Optimal short scan convolution reconstruction for fan beam CT, Med. Phys. 9 (1982) 254-257.
        M. D. Silver, A method for including redundant data in computed tomography, Med. Phys. 27 (2000) 773-774.
    """
    start, arc = scan_arc(angles)
    angle = jnp.mod(angles - start, TURN)[:, None]
    overlap = arc - jnp.pi
    return _ramp_up(angle, overlap + 2 * fan_angle) * _ramp_up(arc - angle, overlap - 2 * fan_angle)


def _ramp_up(x: jax.Array, width: jax.Array) -> jax.Array:
    """Rise from 0 to 1 over [0, width]; with no width left the ray has no partner and counts in full."""
    has_partner = width > 1e-6
    fraction = jnp.where(has_partner, x / jnp.where(has_partner, width, 1.0), 1.0)
    return jnp.sin(jnp.pi / 2 * jnp.clip(fraction, 0.0, 1.0)) ** 2


@jax.jit
def offset_detector_weights(position: jax.Array) -> jax.Array:
    """Share of every ray in a full turn with a displaced detector (half fan): Wang's smooth weights.

    With T the extent of the short side of the detector and s = +-1 the sign of the long one::

        w(t) = (1 + s sin(pi/2 clip(t / T, -1, 1))) / 2

    so ``w(t) + w(-t) = 1``: lines that are measured from one side only count in full, and the weight falls smoothly to
    zero at the short edge, where the data end.

    Args:
        position: (cols,) or (views, cols): fan angles, or of a parallel beam the column positions. The short side is
            what all views have in common.

    Returns:
        The positions' shape, in [0, 1].

    References:
        G. Wang, X-ray micro-CT with a displaced detector array, Med. Phys. 29 (2002) 1634-1636.
    """
    low, high = jnp.max(position[..., 0]), jnp.min(position[..., -1])
    short = jnp.maximum(jnp.minimum(-low, high), jnp.finfo(position.dtype).tiny)
    sign = jnp.where(low + high < 0, -1.0, 1.0)
    return 0.5 * (1 + sign * jnp.sin(jnp.pi / 2 * jnp.clip(position / short, -1.0, 1.0)))
