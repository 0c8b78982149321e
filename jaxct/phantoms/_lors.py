"""Exact integrals along lines of response, with time of flight too."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from jaxct.geometry.lors import TOF, LineGeometry, ListMode, LORs, SinogramLORs
from jaxct.phantoms import _projection
from jaxct.phantoms._sums import dtype_of, sum_over
from jaxct.phantoms.shapes import Shape

# Values (rays times time-of-flight bins) held at once, as in _projection.
_VALUES_AT_ONCE = 1 << 18


class _Segments(NamedTuple):
    """Lines ``point + t * direction``, start <= t <= end, with components first; ``point`` is nearest to the origin."""

    point: jax.Array  # (3, n)
    direction: jax.Array  # (3, n), unit vectors
    start: jax.Array  # (n,)
    end: jax.Array  # (n,)


@functools.partial(jax.jit, static_argnums=2)
def project(shapes: tuple[Shape, ...], lors: LineGeometry, oversample: int) -> jax.Array:
    """Integrals along the segments, averaged over ``oversample`` x ``oversample`` of them in every tube."""
    dtype = dtype_of(shapes, lors)
    lors = jax.tree.map(lambda x: x if jnp.issubdtype(x.dtype, np.integer) else x.astype(dtype), lors)
    steps = (jnp.arange(oversample, dtype=dtype) + 0.5) / oversample - 0.5
    if isinstance(lors, SinogramLORs):
        found = _project_sinogram(shapes, lors, steps)
    elif isinstance(lors, LORs | ListMode):
        found = _project_list(shapes, lors, steps)
    else:
        raise TypeError(f"geometry must be LORs, ListMode or SinogramLORs, got {type(lors).__name__}")
    return found.reshape(lors.projection_shape)


def _project_sinogram(shapes: tuple[Shape, ...], lors: SinogramLORs, steps: jax.Array) -> jax.Array:
    """One plane of one view at a time, so that no list of all lines is ever made."""
    views, (planes, bins) = lors.num_views, lors.detector_shape[:2]

    def project_row(index: jax.Array) -> jax.Array:
        yx, z = lors.lines[index // planes][:, None, None], lors.planes[index % planes][:, None]
        if lors.tangents is not None and lors.plane_width is not None:
            yx = yx + steps[:, None, None, None] * lors.tangents[index // planes][:, None, None]
            z = z + steps[:, None, None] * lors.plane_width
        shape = (bins, len(steps), len(steps), 2)
        ends = jnp.concatenate([jnp.broadcast_to(z, (*shape, 1)), jnp.broadcast_to(yx, (*shape, 2))], -1)
        found = _integrals(shapes, _segments(ends.reshape(-1, 2, 3)), lors.tof, None)
        return found.reshape(bins, len(steps) ** 2, *found.shape[1:]).mean(1)

    values = bins * len(steps) ** 2 * (1 if lors.tof is None else lors.tof.num_bins)
    return _projection._map_chunks(project_row, jnp.arange(views * planes), _VALUES_AT_ONCE // values)


def _project_list(shapes: tuple[Shape, ...], lors: LORs | ListMode, steps: jax.Array) -> jax.Array:
    def project_lor(index: jax.Array) -> jax.Array:
        ends = jnp.stack([lors.start[index], lors.end[index]])
        if lors.widths is not None:
            widths = jnp.broadcast_to(lors.widths, (lors.num_views, 2))[index]
            ends = ends + _across(ends[1] - ends[0], widths, steps)[:, :, None]
        tof_bin = lors.tof_bin[index] if isinstance(lors, ListMode) else None
        return _integrals(shapes, _segments(ends.reshape(-1, 2, 3)), lors.tof, tof_bin).mean(0)

    values = len(steps) ** 2 * (1 if lors.tof is None or isinstance(lors, ListMode) else lors.tof.num_bins)
    return _projection._map_chunks(project_lor, jnp.arange(lors.num_views), _VALUES_AT_ONCE // values)


def _across(line: jax.Array, widths: jax.Array, steps: jax.Array) -> jax.Array:
    """(k, k, 3): from the middle of a tube to its lines, along z and horizontally across the line."""
    across = jnp.stack([0 * line[0], line[2], -line[1]])
    length2 = jnp.sum(across**2)
    across = across / jnp.sqrt(jnp.where(length2 > 0, length2, 1.0))
    axial = steps[:, None, None] * widths[0] * jnp.asarray([1, 0, 0], line.dtype)
    return axial + steps[:, None] * widths[1] * across


def _segments(ends: jax.Array) -> _Segments:
    """From (n, 2, 3)."""
    start, end = ends[:, 0].T, ends[:, 1].T
    length = jnp.sqrt(jnp.sum((end - start) ** 2, 0))
    direction = (end - start) / length
    at_start = jnp.sum(start * direction, 0)
    return _Segments(start - at_start * direction, direction, at_start, at_start + length)


def _integrals(shapes: tuple[Shape, ...], segments: _Segments, tof: TOF | None, tof_bin: jax.Array | None) -> jax.Array:
    """(n,), or (n, bins) with time of flight unless ``tof_bin`` names one."""
    middle = (segments.start + segments.end) / 2

    def chord(shape: Shape) -> tuple[jax.Array, jax.Array]:
        """From the middle of each segment; of no length where it misses the shape."""
        enter, leave = shape.interval(segments.point, segments.direction)
        enter = jnp.clip(enter, segments.start, segments.end)
        leave = jnp.maximum(jnp.clip(leave, segments.start, segments.end), enter)
        return enter - middle, leave - middle

    if tof is None:
        empty = jnp.zeros_like(middle)
        return sum_over(shapes, lambda shape: -shape.value * jnp.subtract(*chord(shape)), empty)
    centers = _bin_centers(tof, tof_bin, middle.dtype)

    def shares(shape: Shape) -> jax.Array:
        enter, leave = (t.reshape(-1, *(1,) * centers.ndim) for t in chord(shape))
        return shape.value * _share(tof, enter, leave, centers)

    return sum_over(shapes, shares, jnp.zeros((*middle.shape, *centers.shape), middle.dtype))


def _bin_centers(tof: TOF, tof_bin: jax.Array | None, dtype: np.dtype) -> jax.Array:
    if tof_bin is None:
        return tof.bin_centers().astype(dtype)
    return tof.center_offset + (tof_bin.astype(dtype) - (tof.num_bins - 1) / 2) * tof.bin_width


def _share(tof: TOF, enter: jax.Array, leave: jax.Array, centers: jax.Array) -> jax.Array:
    """What a bin sees of the chord from enter to leave: ``int F((c + w/2 - s)/sigma) - F((c - w/2 - s)/sigma) ds``.

    The length that chord and bin share, plus what the blur carries over the four pairs of their ends. Written this way
    nothing large cancels, and a bin out of reach gets exactly zero.
    """
    lower, upper = centers - tof.bin_width / 2, centers + tof.bin_width / 2
    common = jnp.maximum(jnp.minimum(leave, upper) - jnp.maximum(enter, lower), 0.0)

    def spill(edge: jax.Array, end: jax.Array) -> jax.Array:
        return _blurred_ramp((edge - end) / tof.sigma, tof.num_sigmas)

    carried = spill(upper, enter) - spill(upper, leave) - spill(lower, enter) + spill(lower, leave)
    return common + tof.sigma * carried


def _blurred_ramp(u: jax.Array, cut: float) -> jax.Array:
    """The integral of F up to u, less max(u, 0): an even bump that ends at ``cut``."""
    near = jnp.minimum(jnp.abs(u), cut)
    tail = norm.cdf(jnp.asarray(-cut, u.dtype))
    height = norm.pdf(near) - norm.pdf(jnp.asarray(cut, u.dtype))
    return (height - near * (norm.cdf(-near) - tail)) / (1 - 2 * tail)
