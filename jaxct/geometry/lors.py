"""Lines of response: what a PET scanner measures along, given by their end points.

A line is the segment between two points, or, for the models that see how wide crystals are, the tube between two faces.
"""

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.geometry._base import Acquisition
from jaxct.geometry._fields import describe, register, set_fields


@register(sigma=0, bin_width=0, center_offset=0)
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class TOF:
    """Time of flight: where on its line a coincidence comes from, as far as the scanner can tell.

    Positions are measured from a line's middle, in mm, positive towards its end. Bin b of ``num_bins`` has its centre
    at ``center_offset + (b - (num_bins - 1)/2) * bin_width``. A point at s falls into it with the probability
    ``F((c + w/2 - s)/sigma) - F((c - w/2 - s)/sigma)``, F being the normal distribution cut off at ``num_sigmas`` on
    either side and normalised. So the probabilities of all bins that a point can reach sum to 1.

    Args:
        sigma: standard deviation of the position along the line: c/2 times that of the time difference, or c/2 times
            its FWHM over 2.3548.
        bin_width: c/2 times the width in time.
        num_bins: number of bins.
        num_sigmas: where the distribution is cut off.
        center_offset: of all bins along the line. Where lines are told from their ends, as the timing of a scanner is,
            swapping the ends changes its sign.

    Raises:
        ValueError: values that are not positive, not finite or not scalars.
        TypeError: values that are not real numbers, a number of bins that is no integer.
    """

    sigma: jax.Array
    bin_width: jax.Array
    center_offset: jax.Array
    num_bins: int
    num_sigmas: float

    def __init__(
        self,
        sigma: ArrayLike,
        bin_width: ArrayLike,
        num_bins: int,
        num_sigmas: float = 3.0,
        center_offset: ArrayLike = 0.0,
    ):
        scalars = {
            "sigma": _validate.floats("sigma", sigma, positive=True),
            "bin_width": _validate.floats("bin_width", bin_width, positive=True),
            "center_offset": _validate.floats("center_offset", center_offset),
        }
        for name, value in scalars.items():
            if value.ndim != 0:
                raise ValueError(f"{name} must be a scalar, got shape {value.shape}")
        if not 0 < num_sigmas < np.inf:
            raise ValueError(f"num_sigmas must be positive and finite, got {num_sigmas!r}")
        set_fields(self, **scalars, num_bins=_validate.count("num_bins", num_bins), num_sigmas=float(num_sigmas))

    def bin_centers(self) -> jax.Array:
        """(num_bins,), in mm from the line's middle."""
        return self.center_offset + (jnp.arange(self.num_bins) - (self.num_bins - 1) / 2) * self.bin_width

    def __repr__(self) -> str:
        return describe(self)


class LineGeometry(Acquisition):
    """Base of all that is made of lines of response. A "view" is whatever the first axis of the projections counts."""

    tof: TOF | None
    rays: tuple[int, int]

    @property
    def ndim(self) -> int:
        """3."""
        return 3

    @property
    @abc.abstractmethod
    def has_widths(self) -> bool:
        """Whether it is known how wide the tubes are."""

    @abc.abstractmethod
    def pack(self, offsets: tuple[np.ndarray, np.ndarray]) -> jax.Array:
        """(views, numbers): what the native code reads of each view, with the ends of every line at all offsets.

        Args:
            offsets: axial and tangential ones, as fractions of the width.
        """


@register("tof", start=1, end=1, widths=1)
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class LORs(LineGeometry):
    """Any list of lines of response. Projections are (n,), with time of flight (n, bins).

    Args:
        start: (n, 3) points (z, y, x) in mm.
        end: (n, 3). Both may lie anywhere, also inside a volume: what is measured is the segment between them.
        widths: axial and tangential width of the tube in mm, (2,) or (n, 2); for the models "multi_ray" and
            "distance_driven". The tube's cross-section is spanned by z and the horizontal direction across the line.
        tof: time of flight; bin 0 is nearest to start.
        rays: axial and tangential number of lines in a tube, of the model "multi_ray".

    Raises:
        ValueError: shapes that disagree, non-finite values, lines without length, widths that are not positive.
        TypeError: values that are not real numbers.
    """

    start: jax.Array
    end: jax.Array
    widths: jax.Array | None
    tof: TOF | None
    rays: tuple[int, int]

    def __init__(
        self,
        start: ArrayLike,
        end: ArrayLike,
        *,
        widths: ArrayLike | None = None,
        tof: TOF | None = None,
        rays: Sequence[int] = (2, 2),
    ):
        start, end = _ends(start, end)
        set_fields(
            self, start=start, end=end, widths=_widths(widths, len(start)), tof=_check_tof(tof), rays=_check_rays(rays)
        )

    @property
    def detector_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """``()``, with time of flight ``(bins,)``."""
        return () if self.tof is None else (self.tof.num_bins,)

    @property
    def has_widths(self) -> bool:
        return self.widths is not None

    def pack(self, offsets: tuple[np.ndarray, np.ndarray]) -> jax.Array:
        return _pack_ends(self.start, self.end, self.widths, offsets)


@register("tof", start=1, end=1, tof_bin=0, widths=1)
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class ListMode(LineGeometry):
    """Coincidences one by one, each with its bin of time of flight. Projections are (n,): of each line that bin.

    Without time of flight, :class:`LORs` are a list of coincidences.

    Args:
        start: (n, 3) points (z, y, x) in mm.
        end: (n, 3).
        tof_bin: (n,) integers; bin 0 is nearest to start. A bin outside [0, tof.num_bins) is one that the scanner does
            not record, and gets what falls there.
        tof: time of flight.
        widths: as of :class:`LORs`.
        rays: as of :class:`LORs`.

    Raises:
        ValueError: shapes that disagree, non-finite values, lines without length.
        TypeError: values that are not real numbers, bins that are not integers.
    """

    start: jax.Array
    end: jax.Array
    tof_bin: jax.Array
    widths: jax.Array | None
    tof: TOF
    rays: tuple[int, int]

    def __init__(
        self,
        start: ArrayLike,
        end: ArrayLike,
        tof_bin: ArrayLike,
        tof: TOF,
        *,
        widths: ArrayLike | None = None,
        rays: Sequence[int] = (2, 2),
    ):
        start, end = _ends(start, end)
        if not isinstance(tof, TOF):
            raise TypeError(f"tof must be a jaxct.pet.TOF, got {type(tof).__name__}")
        tof_bin = jnp.asarray(tof_bin)
        if not jnp.issubdtype(tof_bin.dtype, np.integer):
            raise TypeError(f"tof_bin must be integers, got {tof_bin.dtype}")
        if tof_bin.shape != start.shape[:1]:
            raise ValueError(f"tof_bin must have shape (n,) = {start.shape[:1]} as start has, got {tof_bin.shape}")
        set_fields(
            self,
            start=start,
            end=end,
            tof_bin=tof_bin.astype(np.int32),
            widths=_widths(widths, len(start)),
            tof=tof,
            rays=_check_rays(rays),
        )

    @property
    def detector_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """``()``."""
        return ()

    @property
    def has_widths(self) -> bool:
        return self.widths is not None

    def pack(self, offsets: tuple[np.ndarray, np.ndarray]) -> jax.Array:
        ends = _pack_ends(self.start, self.end, self.widths, offsets)
        bins = self.tof_bin.astype(ends.dtype) - (self.tof.num_bins - 1) / 2
        return jnp.concatenate([ends, (bins * self.tof.bin_width)[:, None]], -1)


@register("tof", lines=3, planes=2, tangents=3, plane_width=0)
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class SinogramLORs(LineGeometry):
    """A sinogram's lines: every transaxial line in every plane, none of them ever stored.

    Line (v, p, b) runs from ``(z, y, x) = (planes[p, 0], *lines[v, b, 0])`` to ``(planes[p, 1], *lines[v, b, 1])``.
    Projections are (views, planes, bins), with time of flight (views, planes, bins, tof bins).

    Args:
        lines: (views, bins, 2, 2): for each view and bin the start and the end, each (y, x), in mm.
        planes: (planes, 2): for each plane z of the start and of the end.
        tangents: (views, bins, 2, 2): for each end the vector (y, x) across the face of the crystal, as long as the
            crystal is wide; those of a line point to the same side of it. For the models "multi_ray" and
            "distance_driven".
        plane_width: axial width of a crystal, for the same.
        tof: time of flight; bin 0 is nearest to start.
        rays: axial and tangential number of lines in a tube, of the model "multi_ray".

    Raises:
        ValueError: shapes that disagree, non-finite values, lines whose ends lie on one axial line, a width that is not
            positive, tangents without plane_width or the other way round.
        TypeError: values that are not real numbers.
    """

    lines: jax.Array
    planes: jax.Array
    tangents: jax.Array | None
    plane_width: jax.Array | None
    tof: TOF | None
    rays: tuple[int, int]

    def __init__(
        self,
        lines: ArrayLike,
        planes: ArrayLike,
        *,
        tangents: ArrayLike | None = None,
        plane_width: ArrayLike | None = None,
        tof: TOF | None = None,
        rays: Sequence[int] = (2, 2),
    ):
        lines, planes = _validate.floats("lines", lines), _validate.floats("planes", planes)
        if lines.ndim != 4 or lines.shape[2:] != (2, 2) or 0 in lines.shape:
            raise ValueError(f"lines must have shape (views, bins, 2, 2), got {lines.shape}")
        if planes.ndim != 2 or planes.shape[1] != 2 or 0 in planes.shape:
            raise ValueError(f"planes must have shape (planes, 2), got {planes.shape}")
        if (tangents is None) != (plane_width is None):
            raise ValueError("tangents and plane_width must be given both or neither")
        if tangents is not None:
            tangents = _validate.floats("tangents", tangents)
            if tangents.shape != lines.shape:
                raise ValueError(f"tangents must have the shape of lines, {lines.shape}, got {tangents.shape}")
        if plane_width is not None:
            plane_width = _validate.floats("plane_width", plane_width, positive=True)
            if plane_width.ndim:
                raise ValueError(f"plane_width must be a scalar, got shape {plane_width.shape}")
        _refuse_no_length("lines", lines[:, :, 0], lines[:, :, 1])
        set_fields(
            self,
            lines=lines,
            planes=planes,
            tangents=tangents,
            plane_width=plane_width,
            tof=_check_tof(tof),
            rays=_check_rays(rays),
        )

    @property
    def detector_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """``(planes, bins)``, with time of flight ``(planes, bins, tof bins)``."""
        shape = (self.planes.shape[-2], self.lines.shape[-3])
        return shape if self.tof is None else (*shape, self.tof.num_bins)

    @property
    def has_widths(self) -> bool:
        return self.tangents is not None

    def to_ends(self) -> jax.Array:
        """(views, planes, bins, 2, 3): start and end of every line, in (z, y, x). For small sinograms, and to look."""
        lines, planes = self.lines[:, None], self.planes[None, :, None, :, None]
        shape = (*lines.shape[:1], planes.shape[1], *lines.shape[2:4])
        parts = jnp.broadcast_to(planes, (*shape, 1)), jnp.broadcast_to(lines, (*shape, 2))
        return jnp.concatenate(parts, -1)

    def pack(self, offsets: tuple[np.ndarray, np.ndarray]) -> jax.Array:
        axial, tangential = (jnp.asarray(o, self.lines.dtype) for o in offsets)
        lines, planes = self.lines[:, :, None], self.planes[:, None]
        if self.tangents is not None:
            lines = lines + tangential[:, None, None] * self.tangents[:, :, None]
        if self.plane_width is not None:
            planes = planes + axial[:, None] * self.plane_width
        views = len(lines)
        planes = jnp.broadcast_to(planes.reshape(1, -1), (views, planes.size))
        return jnp.concatenate([lines.reshape(views, -1), planes.astype(lines.dtype)], -1)


def _ends(start: Any, end: Any) -> tuple[jax.Array, jax.Array]:
    start, end = _validate.floats("start", start), _validate.floats("end", end)
    if start.ndim != 2 or start.shape[1] != 3 or len(start) == 0:
        raise ValueError(f"start must have shape (n, 3) with at least one line, got {start.shape}")
    if end.shape != start.shape:
        raise ValueError(f"end must have the shape of start, {start.shape}, got {end.shape}")
    _refuse_no_length("start and end", start, end)
    dtype = jnp.promote_types(start.dtype, end.dtype)
    return start.astype(dtype), end.astype(dtype)


def _refuse_no_length(name: str, start: jax.Array, end: jax.Array) -> None:
    if _validate.concrete(start, end):
        same = (np.asarray(start) == np.asarray(end)).all(-1)
        if same.any():
            index = tuple(int(i) for i in np.argwhere(same)[0])
            raise ValueError(f"{name} must differ, got a line without length at index {index}")


def _widths(widths: Any, n: int) -> jax.Array | None:
    if widths is None:
        return None
    widths = _validate.floats("widths", widths, positive=True)
    if widths.shape not in ((2,), (n, 2)):
        raise ValueError(f"widths must have shape (2,) or ({n}, 2), axial and tangential, got {widths.shape}")
    return widths


def _check_tof(tof: Any) -> TOF | None:
    if not isinstance(tof, TOF | None):
        raise TypeError(f"tof must be a jaxct.pet.TOF or None, got {type(tof).__name__}")
    return tof


def _check_rays(rays: Any) -> tuple[int, int]:
    axial, tangential = _validate.shape_tuple("rays", rays, (2,))
    return axial, tangential


def _pack_ends(
    start: jax.Array, end: jax.Array, widths: jax.Array | None, offsets: tuple[np.ndarray, np.ndarray]
) -> jax.Array:
    """(n, lines * 6), the axial offset changing slowest."""
    ends = jnp.stack([start, end], -2)[:, None]
    if widths is not None:
        # Divided by the larger of the two first: a line along z has no direction across, and its tube no width.
        across = jnp.stack([(end - start)[:, 2], -(end - start)[:, 1]], -1)
        length = jnp.linalg.norm(across, axis=-1, keepdims=True)
        unit = jnp.concatenate([jnp.zeros_like(length), across / jnp.where(length > 0, length, 1)], -1)
        axial, tangential = (np.ravel(o) for o in np.meshgrid(*offsets, indexing="ij"))
        widths = jnp.broadcast_to(widths, (len(start), 2))
        along_z = jnp.asarray([1, 0, 0], ends.dtype)
        shift = (
            axial[:, None] * widths[:, None, :1] * along_z + tangential[:, None] * widths[:, None, 1:] * unit[:, None]
        )
        ends = ends + shift[:, :, None].astype(ends.dtype)
    return ends.reshape(len(start), -1)
