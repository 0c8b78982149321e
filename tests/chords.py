"""Exact projections of a disk or ball: the chord ``2 sqrt(r^2 - distance^2)`` of the ray through every pixel centre."""

import jax
import numpy as np

from jaxct import ParallelVectors
from jaxct.geometry import Geometry, VolumeGrid


def ball_projections(geometry: Geometry, center: tuple[float, ...], radius: float, value: float) -> np.ndarray:
    """Line integrals of a uniform disk or ball, of ``geometry.projection_shape``, in float64."""
    origin, direction = pixel_rays(geometry)
    to_center = np.asarray(center) - origin
    along = (to_center * direction).sum(-1)
    squared = (to_center**2).sum(-1) - along**2
    return 2 * value * np.sqrt(np.maximum(radius**2 - squared, 0))


def pixel_rays(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """A point and the unit direction of the ray through every pixel centre, (views, [rows,] cols, ndim)."""
    vectors = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), geometry.to_vectors())
    pixels = _pixel_centers(vectors)
    shape = (-1,) + (1,) * (pixels.ndim - 2) + (geometry.ndim,)
    if isinstance(vectors, ParallelVectors):
        return pixels, np.broadcast_to(_unit(vectors.direction).reshape(shape), pixels.shape)
    source = vectors.source.reshape(shape)
    return np.broadcast_to(source, pixels.shape), _unit(pixels - source)


def _pixel_centers(vectors) -> np.ndarray:
    cols = np.arange(vectors.detector_shape[-1])[:, None] - (vectors.detector_shape[-1] - 1) / 2
    center, col_axis = vectors.detector_center[:, None], vectors.col_axis[:, None]
    if getattr(vectors, "detector", "flat") == "flat":
        line = center + cols * col_axis
    else:
        arm = center - vectors.source[:, None]
        arm[..., :-2] = 0  # the arc turns about the vertical line through the source
        radius = np.linalg.norm(arm, axis=-1, keepdims=True)
        gamma = cols * np.linalg.norm(col_axis, axis=-1, keepdims=True) / radius
        line = center + arm * (np.cos(gamma) - 1) + radius * _unit(col_axis) * np.sin(gamma)
    if vectors.row_axis is None:
        return line
    rows = np.arange(vectors.detector_shape[0])[:, None, None] - (vectors.detector_shape[0] - 1) / 2
    return line[:, None] + rows * vectors.row_axis[:, None, None]


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)


def distance_from(grid: VolumeGrid, center: tuple[float, ...]) -> np.ndarray:
    """Distance of every voxel centre from a point, of ``grid.shape``."""
    axes = np.meshgrid(*[np.asarray(c, np.float64) for c in grid.coordinates()], indexing="ij")
    return np.sqrt(sum((axis - c) ** 2 for axis, c in zip(axes, center, strict=True)))
