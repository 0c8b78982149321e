"""Where the rotation axis falls on the detector, found from the projections themselves.

The answer is an *axis offset* in pixels: the column part of a geometry's ``detector_offset`` divided by the pixel size.
The axis's shadow lies on column ``(cols - 1)/2 - offset``. Two methods, chosen by what was measured:

- *Opposite rays* (fan and cone beams, and parallel beams over a full turn): the ray at view angle a and fan angle g is
  measured again, the other way, at view angle a + pi - 2 g and fan angle -g. The offset that makes the two agree best
  is the answer. A cone beam obeys this in its mid-plane; short scans use the rays they did measure twice.
- *Double wedge* (parallel beams over half a turn): the 2-D Fourier transform of a sinogram over a full turn vanishes
  for angular frequencies above ``2 pi q R`` at radial frequency q for an object of radius R (Rattey and Lindgren 1981).
  The second half turn is the first one mirrored about the axis, and only the right axis joins them without energy
  outside the wedge, as in N. T. Vo et al., "Reliable method for calculating the center of rotation in parallel-beam
  tomography", Optics Express 22 (2014) 19078. Here the energy is summed in closed form: it is a trigonometric
  polynomial in the axis position, so that no sinogram is shifted or interpolated.
"""

import dataclasses
from typing import Any, NamedTuple, TypeVar

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxct import weights
from jaxct.geometry import ConeBeam, FanBeam, Geometry, ParallelBeam
from jaxct.geometry._fields import build

CircularBeam = ParallelBeam | FanBeam | ConeBeam
Beam = TypeVar("Beam", bound=Geometry)

_MAX_ROWS = 16  # rows of a parallel scan that take part
_FULL_TURN = 0.97 * 2 * np.pi
_HALF_TURN = 0.97 * np.pi


def find_axis_offset(projections: Any, geometry: Geometry, *, max_offset: float | None = None) -> float:
    """The detector's column offset, in pixels, at which the projections agree with one another.

    Args:
        projections: line integrals ``(views, cols)`` or ``(views, rows, cols)``; only the rows needed are read, so that
            a lazily read scan is not loaded whole.
        geometry: :class:`ParallelBeam`, :class:`FanBeam` or :class:`ConeBeam`; its present column offset is ignored.
        max_offset: largest offset looked for, in pixels; 0.4 of the detector's width if not given.

    Returns:
        The offset in pixels, to a few hundredths on clean data. :func:`with_axis_offset` puts it into a geometry.

    Raises:
        TypeError: for a geometry without a circular orbit.
        ValueError: where the projections do not fit the geometry, or too few rays were measured twice to tell.
    """
    geometry = _circular(geometry)
    if tuple(projections.shape) != geometry.projection_shape:
        raise ValueError(f"projections: expected shape {geometry.projection_shape}, got {tuple(projections.shape)}")
    cols = geometry.detector_shape[-1]
    limit = 0.4 * cols if max_offset is None else float(max_offset)
    if not 0 < limit < cols / 2:
        raise ValueError(f"max_offset: expected more than 0 and less than half of {cols} columns, got {max_offset}")
    sinograms = _sinograms(projections, geometry)
    angles = np.asarray(geometry.angles, np.float64)
    if isinstance(geometry, ParallelBeam) and _arc(angles) < _FULL_TURN:
        return _double_wedge(sinograms, angles, limit)
    return _opposite_rays(sinograms, angles, _fan(geometry), limit)


def axis_offset(geometry: Geometry) -> Array:
    """The column offset of a circular geometry in pixels, (); (views,) where it varies."""
    beam = _circular(geometry)
    return beam.detector_offset[..., -1] / beam.pixel_size[-1]


def with_axis_offset(geometry: Beam, offset: ArrayLike) -> Beam:
    """The same geometry with its column offset set to ``offset`` pixels, differentiable with respect to it.

    Args:
        geometry: :class:`ParallelBeam`, :class:`FanBeam` or :class:`ConeBeam`.
        offset: (), or (views,) where it varies from view to view.

    Raises:
        TypeError: for a geometry without a circular orbit.
        ValueError: for an offset of another shape.
    """
    beam = _circular(geometry)
    offset = jnp.asarray(offset)
    if offset.shape not in ((), (beam.num_views,)):
        raise ValueError(f"offset: expected shape () or ({beam.num_views},), got {offset.shape}")
    before = beam.detector_offset
    views = jnp.broadcast_shapes(offset.shape, before.shape[:-1])
    moved = jnp.broadcast_to(before, (*views, before.shape[-1])).at[..., -1].set(offset * beam.pixel_size[-1])
    values = {f.name: getattr(beam, f.name) for f in dataclasses.fields(beam)}
    return build(type(geometry), **values | {"detector_offset": moved})


def _circular(geometry: Geometry) -> CircularBeam:
    if not isinstance(geometry, CircularBeam):
        raise TypeError(
            "geometry: expected a ParallelBeam, FanBeam or ConeBeam, whose detector can be moved along its columns, "
            f"got {type(geometry).__name__}"
        )
    return geometry


def _arc(angles: np.ndarray) -> float:
    """The angle swept on the circle, one step included: N views over a full turn without the last give 2 pi."""
    return float(weights.scan_arc(jnp.asarray(angles))[1])


def _fan(geometry: CircularBeam) -> "_Fan":
    if isinstance(geometry, ParallelBeam):
        return _Fan(flat=False, pitch=0.0)
    distance = float(np.mean(np.asarray(geometry.source_detector_distance)))
    return _Fan(flat=geometry.detector == "flat", pitch=float(geometry.pixel_size[-1]) / distance)


def _sinograms(projections: Any, geometry: CircularBeam) -> np.ndarray:
    """The rows that obey 2-D relations, (rows, views, cols): a cone's mid-plane, or rows all over a parallel scan."""
    if geometry.ndim == 2:
        return np.asarray(projections, np.float32)[None]
    if isinstance(geometry, ConeBeam):
        return _mid_plane(projections, geometry)[None]
    rows = np.unique(np.linspace(0, geometry.detector_shape[0] - 1, _MAX_ROWS).round().astype(int))
    return np.stack([np.asarray(projections[:, int(row)], np.float32) for row in rows])


def _mid_plane(projections: Any, geometry: ConeBeam) -> np.ndarray:
    """The detector line in the plane of the source's circle, between its two nearest rows."""
    height = np.unique(np.asarray(geometry.source_z))
    offset = np.unique(np.asarray(geometry.detector_offset)[..., 0])
    if np.ptp(height) > 0 or len(offset) > 1:
        raise ValueError("geometry: the axis of a scan whose source_z or row offset varies cannot be found")
    rows = geometry.detector_shape[0]
    middle = (rows - 1) / 2 - float(offset[0]) / float(geometry.pixel_size[0])
    if not -0.5 <= middle <= rows - 0.5:
        raise ValueError(f"geometry: the mid-plane (row {middle:.1f}) lies outside the detector's {rows} rows")
    low = int(np.clip(np.floor(middle), 0, rows - 1))
    high = min(low + 1, rows - 1)
    share = float(np.clip(middle - low, 0, 1))
    pair = [np.asarray(projections[:, row], np.float32) for row in (low, high)]
    return (1 - share) * pair[0] + share * pair[1]


# ---- double wedge


def _double_wedge(sinograms: np.ndarray, angles: np.ndarray, limit: float) -> float:
    if _arc(angles) < _HALF_TURN:
        raise ValueError(
            f"geometry: half a turn is needed to find the axis, got {np.degrees(_arc(angles)):.1f} degrees"
        )
    frequency, cross = _cross_spectrum(_resample_half_turn(sinograms, angles))
    axis = (sinograms.shape[-1] - 1) / 2

    def energy(offsets: np.ndarray) -> np.ndarray:
        return (np.exp(4j * np.pi * np.outer(axis - offsets, frequency)) @ cross).real

    coarse = np.arange(-limit, limit, 0.25)
    guess = coarse[np.argmin(energy(coarse))]
    fine = guess + np.arange(-0.3, 0.31, 0.02)
    return _best(fine, energy(fine))


def _resample_half_turn(sinograms: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Views at equal steps over exactly half a turn, linearly interpolated where they were not."""
    start = float(weights.scan_arc(jnp.asarray(angles))[0])
    angles = np.mod(angles - start, 2 * np.pi)
    order = np.argsort(angles)
    steps = max(round(np.pi / (_arc(angles) / len(angles))), 2)
    wanted = angles.min() + np.arange(steps) * np.pi / steps
    position = np.interp(wanted, angles[order], np.arange(len(angles)))
    low = np.minimum(position.astype(int), len(angles) - 2)
    share = (position - low)[:, None]
    return (1 - share) * sinograms[:, order[low]] + share * sinograms[:, order[low + 1]]


def _cross_spectrum(half_turn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Radial frequencies q, and G(q) such that ``2 Re sum_q G(q) exp(4 pi i q axis)`` is how the energy outside the
    double wedge, summed over rows, varies with the column the axis falls on.

    With A(k, q) the transform of the half turn padded by zeros to a full one and B that of its mirror image about
    column 0, mirroring about the axis multiplies B by (-1)^k exp(-4 pi i q axis). So the energy |A + B|^2 varies by
    the real part of G = sum_k (-1)^k A conj(B), k outside the wedge.
    """
    _, views, cols = half_turn.shape
    size = 2 * 2 ** int(np.ceil(np.log2(cols)))
    columns = np.fft.rfft(half_turn, size, axis=2)
    forward = np.fft.fft(columns, 2 * views, axis=1)
    mirrored = np.fft.fft(columns.conj(), 2 * views, axis=1)
    k = np.fft.fftfreq(2 * views, 1 / (2 * views))[:, None]
    q = np.arange(size // 2 + 1) / size
    # The wedge of an object as wide as the detector, and three harmonics for what its edges spill.
    outside = (np.abs(k) > np.pi * cols * q + 3) * np.where(k % 2, -1.0, 1.0)
    return q, np.sum(outside * forward * mirrored.conj(), axis=(0, 1))


# ---- opposite rays


class _Fan(NamedTuple):
    """How a column, counted in pixels from the axis, becomes a fan angle: its tangent or the angle itself, a pixel."""

    flat: bool
    pitch: float

    def angle(self, step: np.ndarray) -> np.ndarray:
        return np.arctan(step * self.pitch) if self.flat else step * self.pitch


class _Turn(NamedTuple):
    """Views in order of increasing angle with the turn closed: one view more at either end.

    ``gap_sampled[i]`` tells whether knot i + 1 follows knot i closely enough to interpolate between them.
    """

    knots: np.ndarray
    views: np.ndarray
    gap_sampled: np.ndarray

    @classmethod
    def close(cls, angles: np.ndarray) -> "_Turn":
        wrapped = np.mod(angles, 2 * np.pi)
        order = np.argsort(wrapped, kind="stable")
        ring = wrapped[order]
        knots = np.concatenate([ring[-1:] - 2 * np.pi, ring, ring[:1] + 2 * np.pi])
        gaps = np.diff(knots)
        gap_sampled = gaps < 2.5 * np.median(gaps[gaps > 1e-6])
        return cls(knots, np.concatenate([order[-1:], order, order[:1]]), gap_sampled)

    def locate(self, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The views below and above some angles, the share of the latter, and whether the gap was sampled."""
        position = np.interp(np.mod(angles, 2 * np.pi), self.knots, np.arange(len(self.knots)))
        below = np.minimum(position.astype(int), len(self.knots) - 2)
        return self.views[below], self.views[below + 1], position - below, self.gap_sampled[below]


def _opposite_rays(sinograms: np.ndarray, angles: np.ndarray, fan: _Fan, limit: float) -> float:
    turn, smooth = _Turn.close(angles), _smooth_columns(sinograms)
    _, views, cols = smooth.shape

    def mismatch(offsets: np.ndarray, max_views: int, max_cols: int) -> np.ndarray:
        view = np.arange(0, views, max(views // max_views, 1))
        col = np.arange(0, cols, max(cols // max_cols, 1))
        pairs = [_compare(smooth, angles, turn, fan, offset, view, col) for offset in offsets]
        difference, energy = np.array(pairs).T
        # Where the two sides overlap in air alone they agree by saying nothing.
        telling = energy > max(0.01 * energy.max(), 1e-12)
        return np.where(telling, difference / np.where(telling, energy, 1), np.inf)

    coarse = np.arange(-limit, limit + 0.5, 0.5 if cols < 256 else 1.0)
    rough = mismatch(coarse, 60, 100)
    if not np.isfinite(rough).any():
        raise ValueError("projections: no ray was measured twice, so the axis cannot be found from this arc of views")
    guess = coarse[np.argmin(rough)]
    for radius, step in ((2.0, 0.5), (0.4, 0.1)):
        fine = guess + np.arange(-radius, radius + step / 2, step)
        guess = _best(fine, mismatch(fine, 180, cols))
    return guess


def _compare(
    sinograms: np.ndarray,
    angles: np.ndarray,
    turn: _Turn,
    fan: _Fan,
    offset: float,
    view: np.ndarray,
    col: np.ndarray,
) -> tuple[float, float]:
    """The squared difference between the rays of some views and columns and their opposites, and the energy (variance
    times number) of the two; the ratio is 1 - correlation.
    """
    cols = sinograms.shape[-1]
    opposite = cols - 1 - col - 2 * offset
    col, opposite = col[(opposite >= 0) & (opposite <= cols - 1)], opposite[(opposite >= 0) & (opposite <= cols - 1)]
    gamma = fan.angle(col - (cols - 1) / 2 + offset)
    below, above, share, sampled = turn.locate(angles[view][:, None] + np.pi - 2 * gamma)
    if not sampled.any():
        return 0.0, 0.0
    left = np.minimum(opposite.astype(int), cols - 2)
    t = opposite - left

    def columns(at_view: np.ndarray) -> np.ndarray:
        return (1 - t) * sinograms[:, at_view, left] + t * sinograms[:, at_view, left + 1]

    there = ((1 - share) * columns(below) + share * columns(above))[:, sampled]
    here = sinograms[:, view[:, None], col][:, sampled]
    mean = (here.mean() + there.mean()) / 2
    return float(np.sum((here - there) ** 2)), float(np.sum((here - mean) ** 2 + (there - mean) ** 2))


def _smooth_columns(sinograms: np.ndarray) -> np.ndarray:
    """Binomial smoothing of about 1.2 pixels: without it, interpolation noise favours half-pixel positions."""
    padded = np.pad(sinograms, ((0, 0), (0, 0), (3, 3)), mode="edge")
    weights = np.array([1, 6, 15, 20, 15, 6, 1], sinograms.dtype) / 64
    return np.lib.stride_tricks.sliding_window_view(padded, 7, axis=-1) @ weights


def _best(offsets: np.ndarray, values: np.ndarray) -> float:
    """The minimum, refined by the parabola through its neighbours."""
    i = int(np.argmin(values))
    if not 0 < i < len(offsets) - 1 or not np.isfinite(values[i - 1 : i + 2]).all():
        return float(offsets[i])
    below, at, above = values[i - 1 : i + 2]
    bend = below - 2 * at + above
    shift = 0.5 * (below - above) / bend if bend > 0 else 0.0
    return float(offsets[i] + shift * (offsets[i + 1] - offsets[i]))
