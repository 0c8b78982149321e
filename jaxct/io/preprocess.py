"""From detector counts to line integrals, in JAX: flat and dark fields, I0 from the background, -log.

All functions work on ``(views, cols)`` and ``(views, rows, cols)`` arrays, under ``jit`` and ``vmap``, and are
differentiable where the physics is. Corrections that could draw rings are avoided: flats are averaged before dividing,
a dead pixel is filled from its neighbours instead of staying a constant column, and the background correction is one
factor a view.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

DEFAULT_FLOOR = 1e-5
"""Smallest transmission believed: less than one count of a 16-bit detector, a line integral of 11.5."""


class LineIntegrals(NamedTuple):
    """Line integrals, and how many of their samples had to be guarded before the logarithm."""

    values: Array
    num_guarded: Array


def line_integrals(
    counts: ArrayLike,
    flats: ArrayLike | None = None,
    darks: ArrayLike | None = None,
    *,
    background: tuple[slice, ...] | None = None,
    floor: float = DEFAULT_FLOOR,
) -> LineIntegrals:
    """``-log((counts - dark) / (flat - dark))``, the whole chain: :func:`transmission`, :func:`normalize_background`
    when a ``background`` region is given, :func:`negative_log`.
    """
    values = transmission(counts, flats, darks)
    if background is not None:
        values = normalize_background(values, background)
    return negative_log(values, floor=floor)


def transmission(counts: ArrayLike, flats: ArrayLike | None = None, darks: ArrayLike | None = None) -> Array:
    """Flat- and dark-corrected transmission, ``(counts - dark) / (flat - dark)``.

    Args:
        counts: ``(views, [rows,] cols)``.
        flats: open-beam frames, ``(frames, [rows,] cols)`` or one frame ``([rows,] cols)``; frames are averaged.
            Without flats the beam is taken as 1 and only the dark field is subtracted.
        darks: beam-off frames, as ``flats``; none means zero.

    Returns:
        Transmission, shaped as ``counts``, in the working float type. Where ``flat <= dark`` (a dead pixel) the value
        is interpolated linearly between the nearest live columns of its row; a row with no live pixel becomes 1.

    Raises:
        ValueError: where the frames do not fit the detector.
    """
    counts = as_float(counts)
    if counts.ndim not in (2, 3):
        raise ValueError(f"counts: expected (views, cols) or (views, rows, cols), got shape {counts.shape}")
    return _correct(counts, *(_frames(name, f, counts.shape[1:]) for name, f in (("flats", flats), ("darks", darks))))


@jax.jit
def _correct(counts: Array, flats: Array | None, darks: Array | None) -> Array:
    dark = 0.0 if darks is None else darks.mean(axis=0)
    if flats is None:
        return counts - dark
    beam = flats.mean(axis=0) - dark
    live = beam > 0
    return _fill_dead_columns((counts - dark) / jnp.where(live, beam, 1.0), live)


def normalize_background(values: ArrayLike, region: tuple[slice, ...]) -> Array:
    """Divide each view by the median of its background, so that air has transmission 1 in every view.

    Corrects a beam that drifts, or a flat taken at another exposure.

    Args:
        values: transmission ``(views, [rows,] cols)``.
        region: index of the region on the detector that sees air in every view: ``(rows, cols)`` slices, or
            ``(cols,)`` for 2-D data.

    Raises:
        ValueError: where the region has the wrong rank or is empty.
    """
    values = as_float(values)
    return values / _background_level(values, region)


def subtract_background(values: ArrayLike, region: tuple[slice, ...]) -> Array:
    """:func:`normalize_background` for values that are line integrals already: air becomes 0 in every view."""
    values = as_float(values)
    return values - _background_level(values, region)


def _background_level(values: Array, region: tuple[slice, ...]) -> Array:
    if len(region) != values.ndim - 1:
        raise ValueError(f"background: expected {values.ndim - 1} detector slices, got {len(region)}")
    patch = values[(slice(None), *region)]
    if patch.size == 0:
        raise ValueError(f"background: the region is empty on a detector of shape {values.shape[1:]}")
    level = jnp.median(patch.reshape(len(values), -1), axis=1)
    return level.reshape(-1, *[1] * (values.ndim - 1))


def negative_log(values: ArrayLike, *, floor: float = DEFAULT_FLOOR) -> LineIntegrals:
    """``-log(max(values, floor))``; zeros, negatives, NaN and infinities count as guarded.

    A non-finite sample becomes the floor too. The gradient of a guarded sample is zero.
    """
    if not floor > 0:
        raise ValueError(f"floor: expected a positive transmission, got {floor}")
    return _guarded_log(as_float(values), floor)


@jax.jit
def _guarded_log(values: Array, floor: float) -> LineIntegrals:
    good = jnp.isfinite(values) & (values >= floor)
    return LineIntegrals(-jnp.log(jnp.where(good, values, floor)), jnp.sum(~good))


def as_float(x: ArrayLike) -> Array:
    """A JAX array of the working type: float32, or float64 where the input is float64 and x64 is on."""
    x = jnp.asarray(x if isinstance(x, jax.Array) else np.asarray(x))
    return x if x.dtype in (jnp.float32, jnp.float64) else x.astype(jnp.float32)


def _frames(name: str, frames: ArrayLike | None, frame_shape: tuple[int, ...]) -> Array | None:
    """A stack of at least one frame that fits the detector."""
    if frames is None:
        return None
    frames = as_float(frames)
    if frames.shape == frame_shape:
        return frames[None]
    if frames.shape[1:] != frame_shape or frames.ndim == 0 or len(frames) == 0:
        raise ValueError(f"{name}: expected frames of shape {frame_shape}, got an array of shape {frames.shape}")
    return frames


def _fill_dead_columns(values: Array, live: Array) -> Array:
    """Linear interpolation along columns over the pixels where ``live`` is false; nearest at the edges."""
    cols = values.shape[-1]
    column = jnp.arange(cols)
    axis = live.ndim - 1
    left = jax.lax.cummax(jnp.where(live, column, -1), axis=axis)
    right = jax.lax.cummin(jnp.where(live, column, cols), axis=axis, reverse=True)
    lo = jnp.where(left >= 0, left, jnp.minimum(right, cols - 1))
    hi = jnp.where(right < cols, right, lo)
    t = jnp.where(hi > lo, (column - lo) / jnp.maximum(hi - lo, 1), 0.0).astype(values.dtype)
    below, above = (jnp.take_along_axis(values, index[None], axis=-1) for index in (lo, hi))
    filled = (1 - t) * below + t * above
    filled = jnp.where(live.any(axis=-1, keepdims=True), filled, 1.0)
    return jnp.where(live, values, filled)
