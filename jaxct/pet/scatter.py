"""Scattered coincidences: what one Compton scatter of one of two photons adds, from activity and attenuation."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.ndimage import map_coordinates
from jax.scipy.special import erf
from jax.typing import ArrayLike

from jaxct.geometry import VolumeGrid, _validate
from jaxct.geometry.lors import TOF
from jaxct.pet.sinograms import SinogramLayout

__all__ = ["ScatterPoints", "fit_tails", "klein_nishina", "scatter_points", "scatter_sinogram", "single_scatter"]

REST_ENERGY = 511.0
"""Of the electron, in keV."""
BATCH = 64
"""Lines of response at once."""


class ScatterPoints(NamedTuple):
    """Where photons scatter.

    Attributes:
        position: (points, 3) in mm, (z, y, x).
        strength: (points,) attenuation times volume that each stands for, in mm^2.
    """

    position: Array
    strength: Array


def scatter_points(
    mu: ArrayLike, grid: VolumeGrid, *, block: int | Sequence[int], key: Array | None = None
) -> ScatterPoints:
    r"""The object in blocks of voxels, each as one point that scatters as much as all of it.

    Args:
        mu: attenuation at 511 keV per mm, ``grid.shape``, 3-D and concrete. Blocks without any are left out.
        grid: its grid.
        block: voxels along each edge of a block, one number or one for each axis. Blocks of 15 to 30 mm are usual.
        key: of :func:`jax.random.key`, to place each point at random within its block, in which case a regular pattern
            leaves no trace; in the block's middle if None.

    Raises:
        ValueError: a mu of another shape, blocks that are no positive numbers, a mu without any attenuation.
        TypeError: values that are not real numbers.
    """
    values = np.asarray(_validate.floats("mu", mu))
    if values.shape != grid.shape or values.ndim != 3:
        raise ValueError(f"mu must have the shape of a 3-D grid, {grid.shape}, got {values.shape}")
    edges = [block] * 3 if isinstance(block, int) else list(block)
    size = np.array([_validate.count("block", edge) for edge in edges])
    counts = -(-np.array(grid.shape) // size)
    padded = np.pad(values, [(0, c * s - n) for c, s, n in zip(counts, size, grid.shape, strict=True)])
    blocks = padded.reshape(counts[0], size[0], counts[1], size[1], counts[2], size[2])
    sums = blocks.sum((1, 3, 5))
    if not (sums > 0).any():
        raise ValueError("mu has no attenuation anywhere")
    numbers = np.argwhere(sums > 0)
    within = np.full(numbers.shape, 0.5)
    if key is not None:
        within = np.asarray(jax.random.uniform(key, numbers.shape))
    index = numbers * size + np.minimum(within * size, np.array(grid.shape) - numbers * size) - 0.5
    strength = sums[tuple(numbers.T)] * float(np.prod(grid.voxel_size))
    return ScatterPoints(grid.to_world(index), jnp.asarray(strength, values.dtype))


def klein_nishina(cosine: ArrayLike) -> tuple[Array, Array]:
    r"""How photons of 511 keV scatter: the density of directions, and the energy that is left.

    Per steradian ``P^2 (P + 1/P - sin^2) / (2 sigma)``, with ``P = 1 / (2 - cos)`` the energy after over that before
    and sigma such that the integral over the sphere is 1.

    Args:
        cosine: of the angle of scatter.

    Returns:
        The density, per steradian, and P.

    References:
        O. Klein and Y. Nishina, Z. Phys. 52 (1929) 853-868.
    """
    cos = jnp.asarray(cosine)
    left = 1 / (2 - cos)
    return left**2 * (left + 1 / left - (1 - cos**2)) / (2 * _cross_section(1.0)), left


def single_scatter(
    activity: ArrayLike,
    mu: ArrayLike,
    grid: VolumeGrid,
    start: ArrayLike,
    end: ArrayLike,
    *,
    points: ScatterPoints,
    energy_window: tuple[float, float] = (425.0, 650.0),
    energy_resolution: float = 0.12,
    normals: tuple[ArrayLike, ArrayLike] | None = None,
    num_samples: int = 64,
    tof: TOF | None = None,
) -> Array:
    r"""Coincidences of which one photon scattered once, in the unit of a projection: what is to be added to
    ``exp(-P mu) P activity`` on the same lines, before normalisation.

    With the points S of strength w, the detectors A and B of a line and the angle at S,

        sum_S w k(cos) e(E) / e(511) R_AB^2 / (R_AS^2 R_BS^2) c
            (exp(-m_AS - t m_BS) a_AS + exp(-t m_AS - m_BS) a_BS)

    where k is :func:`klein_nishina`, a and m are the integrals of activity and attenuation between a point and a
    detector, t the attenuation at the energy E that is left over that at 511 keV, e(E) the share of photons of this
    energy that are measured in the window and c the cosines at which the detectors see S, over those at which they see
    each other. Activity outside of the grid, multiple and coherent scatter are left out; :func:`fit_tails` makes up for
    them.

    With time of flight a is the integral over what falls into a bin: the photons of a point at the distance t from S
    on the way to B arrive as those of a point of the line that is ``t + (R_AS - R_BS) / 2`` from its middle, towards B.

    Integrals are computed once for every detector and point; the rest for every line and point. As scatter is smooth, a
    small part of the lines, and some hundred points, are enough.

    Args:
        activity: ``grid.shape``; differentiable, and linear.
        mu: attenuation at 511 keV per mm, ``grid.shape``; as for the points.
        grid: of both, 3-D.
        start, end: (n, 3) of the lines, (z, y, x) in mm, outside of the object.
        points: of :func:`scatter_points`.
        energy_window: (from, to) in keV.
        energy_resolution: full width at half maximum over the energy, at 511 keV; it grows as one over the root of the
            energy.
        normals: unit vectors (n, 3) of the detectors' faces at the starts and the ends; to the axis if None.
        num_samples: of the integrals, along what lies within the grid; with time of flight, twice as many places along
            its diagonal, which should be less than sigma apart, are kept for every detector and point.
        tof: bins of time of flight, along the lines from start to end; none if None.

    Returns:
        (n,); (n, tof.num_bins) with time of flight.

    Raises:
        ValueError: shapes that do not fit, a window that is empty.
        TypeError: values that are not real numbers.

    References:
        C. C. Watson, "New, faster, image-based scatter correction for 3D PET", IEEE Trans. Nucl. Sci. 47 (2000)
        1587-1594; J. M. Ollinger, "Model-based scatter correction for fully 3D PET", Phys. Med. Biol. 41 (1996)
        153-176; C. C. Watson, "Extension of single scatter simulation to scatter correction of time-of-flight PET",
        IEEE Trans. Nucl. Sci. 54 (2007) 1679-1686.
    """
    images = [_validate.floats(name, value) for name, value in (("activity", activity), ("mu", mu))]
    with jax.ensure_compile_time_eval():  # lines that are known stay so under jit, and their detectors are found once
        ends = [_validate.floats(name, value) for name, value in (("start", start), ("end", end))]
    for name, image in zip(("activity", "mu"), images, strict=True):
        if image.shape != grid.shape or grid.ndim != 3:
            raise ValueError(f"{name} must have the shape of a 3-D grid, {grid.shape}, got {image.shape}")
    for name, array in zip(("start", "end"), ends, strict=True):
        if array.ndim != 2 or array.shape[1] != 3 or array.shape != ends[0].shape:
            raise ValueError(f"{name} must have shape (n, 3), as many as starts, got {array.shape}")
    if not 0 <= energy_window[0] < energy_window[1]:
        raise ValueError(f"energy_window must be (from, to) in keV, got {energy_window}")
    faces = [_inwards(e) if normals is None else jnp.asarray(normals[k]) for k, e in enumerate(ends)]
    with jax.ensure_compile_time_eval():
        detectors, numbers = _unique(jnp.concatenate(ends))
    count = _validate.count("num_samples", num_samples)
    tables = _integrals(images[0], images[1].astype(images[0].dtype), grid, detectors, points.position, tof, count)
    sigma = energy_resolution * REST_ENERGY / math.sqrt(8 * math.log(2))
    lines = (*ends, *faces, *jnp.split(numbers, 2))
    return _sum_over_points(lines, points, tables, tof, jnp.asarray([*energy_window, sigma]))


def scatter_sinogram(
    activity: ArrayLike,
    mu: ArrayLike,
    grid: VolumeGrid,
    layout: SinogramLayout,
    *,
    points: ScatterPoints,
    spacing: tuple[int, float, int] = (8, 15.0, 8),
    tof: TOF | None = None,
    **options: Any,
) -> Array:
    r""":func:`single_scatter` on some lines of a sinogram, and by linear interpolation on all.

    Lines are sampled in planes across the axis; a bin of an oblique plane has the scatter of the plane through its
    middle, which is close, as scatter hardly depends on the obliqueness of a line.

    Args:
        activity, mu, grid, points, options: as for :func:`single_scatter`.
        layout: of the sinogram.
        spacing: of what is sampled: in views, in mm along the axis, in bins.
        tof: bins of time of flight, such as ``layout.scanner.tof``; none if None.

    Returns:
        ``layout.shape``, followed by ``tof.num_bins`` with time of flight.

    Raises:
        ValueError, TypeError: as :func:`single_scatter`; a spacing that is not positive.
    """
    views = np.append(np.arange(0, layout.num_views, _validate.count("spacing", spacing[0])), layout.num_views)
    bins = _samples(layout.num_bins - 1, _validate.count("spacing", spacing[2]))
    middles = layout.planes.mean(1)
    _validate.scalar("spacing", spacing[1], positive=True)
    heights = middles.min() + _samples(np.ptp(middles), spacing[1])
    # Half a turn on a line is the one with the opposite distance from the axis, run the other way.
    mirrored = np.clip(2 * (layout.num_bins // 2) - bins, 0, layout.num_bins - 1)
    lines = np.concatenate([layout.lines[views[:-1]][:, bins], layout.lines[:1, mirrored, ::-1]])
    z = np.broadcast_to(heights[:, None], (len(views), len(heights), len(bins)))
    ends = [
        np.concatenate([z[..., None], np.broadcast_to(lines[:, None, :, k], (*z.shape, 2))], -1).reshape(-1, 3)
        for k in (0, 1)
    ]
    sampled = single_scatter(activity, mu, grid, *ends, points=points, tof=tof, **options)
    sampled = sampled.reshape(*z.shape, *sampled.shape[1:])
    wanted = (np.arange(layout.num_views), middles, np.arange(layout.num_bins))
    for axis, (known, at) in enumerate(zip((views, heights, bins), wanted, strict=True)):
        sampled = _interpolated(sampled, np.asarray(known, float), np.asarray(at, float), axis)
    return sampled


def fit_tails(
    measured: ArrayLike,
    scatter: ArrayLike,
    tails: ArrayLike,
    *,
    background: ArrayLike = 0.0,
    axis: int | tuple[int, ...] = (0, 2),
) -> Array:
    r"""The factor by which a scatter estimate explains what is counted where no true coincidence can be:
    ``sum(measured - background) / sum(scatter)`` over the tails.

    Args:
        measured: counts.
        scatter: estimate, normalised as the counts are, of the same shape.
        tails: boolean, broadcasting to that shape: rays that miss the object, such as ``attenuation > 0.98``.
        background: randoms, broadcasting likewise.
        axis: over which to sum; (0, 2) gives one factor for each plane of a sinogram (views, planes, bins).

    Returns:
        Factors, not negative, with axes of length 1 for those summed over; 1 where there are no tails.

    Raises:
        ValueError: shapes that do not fit.
        TypeError: tails that are not boolean.
    """
    counts, estimate, outside = jnp.asarray(measured), jnp.asarray(scatter), jnp.asarray(tails)
    if counts.shape != estimate.shape:
        raise ValueError(f"scatter must have the shape of measured, {counts.shape}, got {estimate.shape}")
    if outside.dtype != bool:
        raise TypeError(f"tails must be boolean, got an array of {outside.dtype}")
    found = jnp.sum(jnp.where(outside, counts - background, 0), axis, keepdims=True)
    known = jnp.sum(jnp.where(outside, estimate, 0), axis, keepdims=True)
    return jnp.where(known > 0, jnp.maximum(found, 0) / jnp.where(known > 0, known, 1), 1)


def _samples(length: float, spacing: float) -> np.ndarray:
    """From 0 to length, no farther apart than the spacing; whole numbers where both are."""
    count = max(1, math.ceil(length / spacing - 1e-9))
    at = np.arange(count + 1) * (length / count)
    return np.unique(np.round(at).astype(int)) if isinstance(length, int) else np.unique(at)


def _interpolated(values: Array, known: np.ndarray, wanted: np.ndarray, axis: int) -> Array:
    """Linearly, along an axis."""
    low = np.clip(np.searchsorted(known, wanted, side="right") - 1, 0, max(len(known) - 2, 0))
    high = np.minimum(low + 1, len(known) - 1)
    gap = np.where(known[high] > known[low], known[high] - known[low], 1)
    share = ((wanted - known[low]) / gap).reshape(-1, *[1] * (values.ndim - axis - 1))
    share = jnp.asarray(share, values.dtype)
    return (1 - share) * jnp.take(values, low, axis) + share * jnp.take(values, high, axis)


def _cross_section(energy: ArrayLike) -> Array:
    """Klein and Nishina's, of a photon of this energy over that of the electron's rest, in squares of its radius."""
    k = jnp.asarray(energy)
    logarithm = jnp.log1p(2 * k)
    first = (1 + k) / k**2 * (2 * (1 + k) / (1 + 2 * k) - logarithm / k)
    return 2 * jnp.pi * (first + logarithm / (2 * k) - (1 + 3 * k) / (1 + 2 * k) ** 2)


def _inwards(positions: Array) -> Array:
    """Unit vectors towards the axis."""
    across = positions.at[:, 0].set(0)
    return -across / jnp.linalg.norm(across, axis=1, keepdims=True)


def _unique(positions: Array) -> tuple[Array, Array]:
    """Detectors that several lines share, once, and the number of each end's; all of them where they are traced."""
    if not _validate.concrete(positions):
        return positions, jnp.arange(len(positions))
    unique, numbers = np.unique(np.asarray(positions), axis=0, return_inverse=True)
    return jnp.asarray(unique), jnp.asarray(numbers.reshape(-1))


class _Tables(NamedTuple):
    """Integrals from every point to every detector, (detectors, points)."""

    active: Array
    thick: Array
    up_to: Array
    """(detectors, points, nodes): the integral of activity over what seems to lie nearer to the point than a node does;
    without nodes where there is no time of flight."""
    first: Array
    """Distance of the first node from the point, and from one to the next, in mm."""
    pitch: Array


@partial(jax.jit, static_argnames="num_samples")
def _integrals(
    activity: Array, mu: Array, grid: VolumeGrid, detectors: Array, points: Array, tof: TOF | None, num_samples: int
) -> _Tables:
    low, high = grid.bounds()
    reach = 0.0 if tof is None else tof.num_sigmas * tof.sigma
    nodes = jnp.linspace(-reach, jnp.linalg.norm(high - low) + reach, 2 * num_samples)

    def to_points(detector: Array) -> tuple[Array, Array, Array]:
        span = detector - points
        # Up to where the line leaves the grid; a point is in it.
        parallel = span == 0
        leaves = jnp.where(span > 0, high - points, low - points) / jnp.where(parallel, 1, span)
        share = jnp.clip(jnp.min(jnp.where(parallel, 1, leaves), -1), 0, 1)
        at = (jnp.arange(num_samples) + 0.5) / num_samples * share[:, None]
        index = [*jnp.moveaxis(grid.to_index(points[:, None] + at[..., None] * span[:, None]), -1, 0)]
        length = jnp.linalg.norm(span, axis=-1)
        step = (share * length / num_samples)[:, None]
        active, thick = (step * map_coordinates(x, index, order=1, mode="nearest") for x in (activity, mu))
        up_to = jnp.zeros((len(points), 0), active.dtype)
        if tof is not None:
            distance = at * length[:, None]
            up_to = jnp.einsum("pj,pjn->pn", active, _seems_below(tof, nodes - distance[..., None]))
        return jnp.sum(active, -1), jnp.sum(thick, -1), up_to

    active, thick, up_to = jax.lax.map(to_points, detectors)
    return _Tables(active, thick, up_to, nodes[0], nodes[1] - nodes[0])


def _seems_below(tof: TOF, distance: Array) -> Array:
    """The probability that a point seems to lie below one that is so far above it."""
    tail = math.erf(tof.num_sigmas / math.sqrt(2))
    return jnp.clip(0.5 + 0.5 * erf(distance / (math.sqrt(2) * tof.sigma)) / tail, 0, 1)


def _into_bins(tof: TOF, tables: _Tables, up_to: Array, offset: Array) -> Array:
    """(points, bins): the integral of activity over what seems to lie in each bin.

    Args:
        tof: the bins.
        tables: where the nodes are.
        up_to: (points, nodes).
        offset: (points,) of the point from the line's middle, in time.
    """
    edges = tof.center_offset + (jnp.arange(tof.num_bins + 1) - tof.num_bins / 2) * tof.bin_width
    last = up_to.shape[1] - 1
    at = jnp.clip((edges - offset[:, None] - tables.first) / tables.pitch, 0, last)
    low = jnp.minimum(at.astype(jnp.int32), last - 1)
    below, above = (jnp.take_along_axis(up_to, low + k, 1) for k in (0, 1))
    return jnp.diff(below + (at - low) * (above - below), axis=1)


@jax.jit
def _sum_over_points(
    lines: tuple[Array, ...], points: ScatterPoints, tables: _Tables, tof: TOF | None, window: Array
) -> Array:
    low, high, sigma = window
    full = _cross_section(1.0)

    def accepted(left: Array) -> Array:
        width = math.sqrt(2) * sigma * jnp.sqrt(left)
        return (erf((high - REST_ENERGY * left) / width) - erf((low - REST_ENERGY * left) / width)) / 2

    def line(ends: tuple[Array, ...]) -> Array:
        a, b, face_a, face_b, number_a, number_b = ends
        to_a, to_b, between = a - points.position, b - points.position, b - a
        r_a, r_b, r = (jnp.linalg.norm(v, axis=-1) for v in (to_a, to_b, between))
        density, left = klein_nishina(-jnp.sum(to_a * to_b, -1) / (r_a * r_b))
        # A detector sees nothing from behind.
        seen = jnp.maximum(-to_a @ face_a / r_a, 0) * jnp.maximum(-to_b @ face_b / r_b, 0)
        straight = (between @ face_a / r) * (-between @ face_b / r)
        thicker = _cross_section(left) / full
        thick_a, thick_b = tables.thick[number_a], tables.thick[number_b]
        through = jnp.exp(-thick_a - thicker * thick_b), jnp.exp(-thicker * thick_a - thick_b)
        if tof is None:
            arriving = through[0] * tables.active[number_a] + through[1] * tables.active[number_b]
        else:
            middle = (r_a - r_b) / 2  # where a point of the line would be whose photons came as those of S do
            to_end = _into_bins(tof, tables, tables.up_to[number_b], middle)
            to_start = _into_bins(_turned(tof), tables, tables.up_to[number_a], -middle)[:, ::-1]
            arriving = (through[0][:, None] * to_start + through[1][:, None] * to_end).T
        geometry = seen / straight * (r / (r_a * r_b)) ** 2
        strength = points.strength * density * accepted(left) / accepted(jnp.ones(())) * geometry
        return jnp.sum(strength * arriving, -1)

    return jax.lax.map(line, lines, batch_size=BATCH)


def _turned(tof: TOF) -> TOF:
    """The bins from the other end of a line, in which they come in the opposite order."""
    return TOF(tof.sigma, tof.bin_width, tof.num_bins, tof.num_sigmas, -tof.center_offset)
