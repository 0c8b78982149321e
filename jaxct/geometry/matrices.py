"""3 x 4 projection matrices, as C-arm calibrations and RTK have them, to and from cone-beam vectors.

A matrix P maps a world point to a pixel, up to a scale: ``(w u, w v, w) = P (x, y, z, 1)``, with u the column and v the
row in pixels, whole numbers at pixel centres, the first pixel at (0, 0). World points are here, and only here, in the
order **(x, y, z)**, since that is how such matrices come; the columns of P are in mm to that order.

RTK's matrices map to mm on the detector rather than to pixels, and its gantry turns about y. With ``P_rtk`` from RTK
and the ``origin`` and ``spacing`` of its projection images, both (u, v)::

    to_pixels = [[1/spacing[0], 0, -origin[0]/spacing[0]], [0, 1/spacing[1], -origin[1]/spacing[1]], [0, 0, 1]]
    to_rtk = [[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]]     # jaxct's z is RTK's y
    P = to_pixels @ P_rtk @ to_rtk
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.geometry._base import Geometry
from jaxct.geometry.vectors import ConeVectors

# The smallest determinant of the three unit-length rows of a matrix that still has a source.
_MIN_DETERMINANT = 1e-6
# How far (relative) the row pitch of a matrix may be from the given one.
_PITCH_TOLERANCE = 0.01


def from_projection_matrices(
    matrices: ArrayLike,
    *,
    detector_shape: Sequence[int],
    pixel_size: ArrayLike | Sequence[ArrayLike],
    in_front: ArrayLike | Sequence[float] = (0.0, 0.0, 0.0),
) -> ConeVectors:
    """The cone-beam geometry whose points project as the matrices say.

    With ``P = [M | p]`` the source is ``-M^-1 p``, and pixel (v, u) lies on the ray ``M^-1 (u, v, 1)``. A matrix knows
    rays, not how far away the detector stands: the column pitch fixes that, and the row pitch follows. The scale and
    the sign of P do not matter.

    Args:
        matrices: (views, 3, 4).
        detector_shape: (rows, cols).
        pixel_size: column pitch in mm; or (row, col), to have the row pitch checked against the matrices (to 1 %).
        in_front: a point (z, y, x) that the source sees on every view, in mm. It tells the detector's side of the
            source from the other, which P, being free in sign, does not.

    Raises:
        ValueError: a wrong shape, a non-finite value, a matrix without a source (rank below 3, or a parallel beam), a
            point ``in_front`` that lies beside the source, pitches that disagree with the matrices.
    """
    p = _as_matrices(matrices)
    shape = _validate.shape_tuple("detector_shape", detector_shape, (2,))
    pitch = _validate.floats("pixel_size", pixel_size, positive=True)
    if pitch.shape not in ((), (2,)):
        raise ValueError(f"pixel_size must be a scalar or (row, col), got shape {pitch.shape}")
    ahead = _validate.floats("in_front", in_front)
    if ahead.shape != (3,):
        raise ValueError(f"in_front must be a point (z, y, x), got shape {ahead.shape}")
    col_pitch = pitch if pitch.ndim == 0 else pitch[1]
    if not _validate.concrete(p, pitch, ahead):
        source, center, row, col = _decompose(jnp, p, shape, col_pitch, ahead[::-1])
        return ConeVectors(source[:, ::-1], center[:, ::-1], row[:, ::-1], col[:, ::-1], shape)
    # NumPy in double precision where possible: the inverse of a matrix in pixels and mm costs float32 digits.
    exact, point = np.asarray(matrices, np.float64), np.asarray(ahead, np.float64)[::-1]
    _check_matrices(exact, point)
    source, center, row, col = (v.astype(p.dtype) for v in _decompose(np, exact, shape, float(col_pitch), point))
    if pitch.ndim == 1:
        _check_row_pitch(np.linalg.norm(row, axis=-1), float(pitch[0]))
    return ConeVectors(source[:, ::-1], center[:, ::-1], row[:, ::-1], col[:, ::-1], shape)


def to_projection_matrices(geometry: Geometry) -> jax.Array:
    """The matrices (views, 3, 4) of a flat-detector cone beam, scaled so that w is the depth in mm: the distance from
    the source perpendicular to the detector, positive on the detector's side.

    Raises:
        ValueError: a parallel or 2-D geometry, a curved detector.
    """
    v = geometry.to_vectors()
    if not isinstance(v, ConeVectors) or v.ndim != 3 or v.detector != "flat":
        raise ValueError(f"geometry must be a 3-D cone beam with a flat detector, got {geometry!r}")
    assert v.row_axis is not None  # three dimensions
    rows, cols = v.detector_shape
    source, center, row, col = (a[:, ::-1] for a in (v.source, v.detector_center, v.row_axis, v.col_axis))
    first = center - source - (cols - 1) / 2 * col - (rows - 1) / 2 * row
    normal = jnp.cross(col, row)
    volume = jnp.sum(normal * first, -1, keepdims=True)
    depth = jnp.abs(volume) / jnp.linalg.norm(normal, axis=-1, keepdims=True)
    # The rows of [col, row, first]^-1, so that a point on the detector gets (u, v, 1), times the detector's depth.
    m = jnp.stack([jnp.cross(row, first), jnp.cross(first, col), normal], -2) * (depth / volume)[..., None]
    return jnp.concatenate([m, -jnp.einsum("vij,vj->vi", m, source)[..., None]], -1)


def _as_matrices(matrices: ArrayLike) -> jax.Array:
    p = _validate.floats("matrices", matrices)
    if p.ndim != 3 or p.shape[1:] != (3, 4) or p.shape[0] == 0:
        raise ValueError(f"matrices must have shape (views, 3, 4) with at least one view, got {p.shape}")
    return p


def _decompose(xp: ModuleType, p: Any, shape: tuple[int, ...], pitch: Any, ahead: Any) -> tuple[Any, Any, Any, Any]:
    """Source, detector centre, row and column steps in (x, y, z), in the arithmetic of ``xp`` (numpy or jax.numpy)."""
    depth = xp.sum(p[:, 2, :3] * ahead, -1) + p[:, 2, 3]
    p = p * xp.sign(depth)[:, None, None]
    m1, m2, m3 = p[:, 0, :3], p[:, 1, :3], p[:, 2, :3]
    adjugate = xp.stack([xp.cross(m2, m3), xp.cross(m3, m1), xp.cross(m1, m2)], -1)
    inverse = adjugate / xp.sum(m1 * adjugate[..., 0], -1)[:, None, None]
    source = -xp.einsum("vij,vj->vi", inverse, p[:, :, 3])
    inverse = inverse * (pitch / xp.linalg.norm(inverse[..., 0], axis=-1))[:, None, None]
    middle = xp.asarray([(shape[1] - 1) / 2, (shape[0] - 1) / 2, 1.0], p.dtype)
    center = source + xp.einsum("vij,j->vi", inverse, middle)
    return source, center, inverse[..., 1], inverse[..., 0]


def _check_matrices(p: np.ndarray, ahead: np.ndarray) -> None:
    lengths = np.linalg.norm(p[:, :, :3], axis=-1, keepdims=True)
    units = p[:, :, :3] / np.where(lengths > 0, lengths, 1)
    bad = np.abs(np.linalg.det(units)) < _MIN_DETERMINANT
    if bad.any():
        view = int(np.argmax(bad))
        raise ValueError(
            f"matrices must have a source (a left 3 x 3 part of full rank), got {p[view].tolist()} in view {view}"
        )
    depth = (p[:, 2, :3] @ ahead + p[:, 2, 3]) / lengths[:, 2, 0]
    bad = np.abs(depth) <= 1e-6 * np.abs(p[:, 2, 3] / lengths[:, 2, 0])
    if bad.any():
        view = int(np.argmax(bad))
        raise ValueError(f"in_front must be a point that the source sees, got one beside the source in view {view}")


def _check_row_pitch(pitches: np.ndarray, wanted: float) -> None:
    bad = np.abs(pitches - wanted) > _PITCH_TOLERANCE * wanted
    if bad.any():
        view = int(np.argmax(bad))
        raise ValueError(
            f"pixel_size (row, col) must agree with the matrices, got a row pitch of {wanted:g} mm where "
            f"view {view} has {pitches[view]:g} mm"
        )
