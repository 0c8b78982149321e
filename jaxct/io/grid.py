"""A volume grid that suits a geometry."""

import math

import numpy as np

from jaxct import weights
from jaxct.geometry import ConeBeam, FanBeam, Geometry, ParallelBeam, VolumeGrid
from jaxct.geometry.vectors import ConeVectors


def suggest_grid(
    geometry: Geometry, *, voxel_size: float | None = None, shape: tuple[int, ...] | None = None
) -> VolumeGrid:
    """A grid that holds what the detector sees, at the resolution it sees it with.

    Voxels are cubes of the detector's column pitch divided by the magnification at the rotation axis (per-view values
    are averaged). In the plane there are as many as detector columns, and on scans over a full turn as many more as an
    offset detector reaches out; along z as many as the detector's rows cover at the axis, plus the travel of a helix.

    Args:
        geometry: any geometry whose rotation axis is the world's z axis.
        voxel_size: another voxel size in mm; the grid covers the same region.
        shape: another shape, ``(nz, ny, nx)`` or ``(ny, nx)``.

    Raises:
        ValueError: for a shape of the wrong rank, or a voxel size that is not positive.
    """
    pixels = _pixels_at_axis(geometry)
    size = float(pixels[-1]) if voxel_size is None else float(voxel_size)
    if not (size > 0 and math.isfinite(size)):
        raise ValueError(f"voxel_size: expected a positive length in mm, got {voxel_size}")
    low, high = _height(geometry, pixels)
    if shape is None:
        width = (geometry.detector_shape[-1] + _reach(geometry)) * pixels[-1]
        in_plane = max(round(width / size), 1)
        shape = (in_plane, in_plane) if geometry.ndim == 2 else (max(round((high - low) / size), 1), in_plane, in_plane)
    center = 0.0 if geometry.ndim == 2 else ((low + high) / 2, 0.0, 0.0)
    return VolumeGrid(shape, voxel_size=size, center=center)


def _pixels_at_axis(geometry: Geometry) -> np.ndarray:
    """Pixel pitch (row, col) or (col,) divided by the magnification at the rotation axis, in mm."""
    if isinstance(geometry, ParallelBeam):
        return np.asarray(geometry.pixel_size, np.float64)
    if isinstance(geometry, FanBeam | ConeBeam):
        ratio = np.asarray(geometry.source_origin_distance) / np.asarray(geometry.source_detector_distance)
        return np.asarray(geometry.pixel_size, np.float64) * float(np.mean(ratio))
    vectors = geometry.to_vectors()
    axes = [a for a in (vectors.row_axis, vectors.col_axis) if a is not None]
    pitch = np.array([np.linalg.norm(np.asarray(a, np.float64), axis=-1).mean() for a in axes])
    return pitch / _magnification(vectors) if isinstance(vectors, ConeVectors) else pitch


def _magnification(vectors: ConeVectors) -> float:
    """Source-detector over source-axis distance, in the plane and along the line to the detector's middle."""
    source, center = (np.asarray(v, np.float64)[:, -2:] for v in (vectors.source, vectors.detector_center))
    return float(np.mean(np.linalg.norm(center - source, axis=-1) / np.linalg.norm(source, axis=-1)))


def _reach(geometry: Geometry) -> int:
    """Columns that an offset detector sees beyond its own width, as the views turn."""
    if not isinstance(geometry, ParallelBeam | FanBeam | ConeBeam):
        return 0
    _, arc = weights.scan_arc(geometry.angles)
    if arc < 0.97 * weights.TURN:
        return 0
    offset = np.abs(np.asarray(geometry.detector_offset)[..., -1] / np.asarray(geometry.pixel_size)[-1]).max()
    return 2 * int(offset + 1e-3)


def _height(geometry: Geometry, pixels: np.ndarray) -> tuple[float, float]:
    """Lowest and highest z that the detector sees at the axis."""
    if geometry.ndim == 2:
        return 0.0, 0.0
    half = geometry.detector_shape[0] * pixels[0] / 2
    middles = _middle_height(geometry, pixels)
    return float(middles.min() - half), float(middles.max() + half)


def _middle_height(geometry: Geometry, pixels: np.ndarray) -> np.ndarray:
    """Where the line to the detector's middle crosses the axis, per view."""
    if isinstance(geometry, ParallelBeam | ConeBeam):
        offset = np.asarray(geometry.detector_offset, np.float64)[..., 0] / np.asarray(geometry.pixel_size)[0]
        return np.atleast_1d(offset * pixels[0] + np.asarray(getattr(geometry, "source_z", 0.0), np.float64))
    vectors = geometry.to_vectors()
    center = np.asarray(vectors.detector_center, np.float64)
    if not isinstance(vectors, ConeVectors):
        return center[:, 0]
    source = np.asarray(vectors.source, np.float64)
    return source[:, 0] + (center[:, 0] - source[:, 0]) / _magnification(vectors)
