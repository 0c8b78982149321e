"""Footprint models: a weight is the share of a voxel's shadow that falls on a pixel.

The shadow is taken as separable, a unit-area shape U along the columns times a rectangle W along the rows, scaled so
that a voxel's total over a fine detector is its volume as seen from the source:

    weight(r, c) = dV M^2 / (dA cos(r, c)) U(c) W(r)          2-D: weight(c) = dV M / (dA cos(c)) U(c)

with dV and dA the size of a voxel and of a pixel, M the magnification at the voxel's centre and cos(r, c) the
obliqueness of the pixel's ray. U is the trapezoid of Y. Long, J. A. Fessler, J. M. Balter, "3D forward and
back-projection for X-ray CT using separable footprints", IEEE Trans. Med. Imaging 29 (2010), or the rectangle of
B. De Man, S. Basu, "Distance-driven projection and backprojection in three dimensions", Phys. Med. Biol. 49 (2004).
In 3-D both take the detector's rows to be stacked nearly along the z axis. A voxel that is not wholly in front of the
source casts no shadow.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxct.geometry import VolumeGrid
from jaxct.reference.detector import View, pixel_measure
from jaxct.reference.numerics import overlap, safe_divide
from jaxct.reference.project import project, voxel_centers
from jaxct.reference.rays import pixel_cosines

Shape = Callable[[View, VolumeGrid], jax.Array]

# Half-voxel steps from a voxel's centre along the last axes: to the corners of its cross-section, to the mid-points of
# the cross-section's edges, and to its ends in z.
_CORNERS = [(-1, -1), (-1, 1), (1, -1), (1, 1)]
_MID_POINTS = [(-1, 0), (1, 0), (0, -1), (0, 1)]
_ENDS = [(-1, 0, 0), (1, 0, 0)]


def separable_footprint_view(volume: jax.Array, view: View, grid: VolumeGrid) -> jax.Array:
    """Project ``volume`` onto one view with the trapezoids of the four projected corners."""
    return _forward_view(volume, view, grid, _trapezoids)


def distance_driven_view(volume: jax.Array, view: View, grid: VolumeGrid) -> jax.Array:
    """Project ``volume`` onto one view with the rectangles between two projected edge mid-points."""
    return _forward_view(volume, view, grid, _rectangles)


def _forward_view(volume: jax.Array, view: View, grid: VolumeGrid, shape: Shape) -> jax.Array:
    columns = shape(view, grid)
    magnification = project(voxel_centers(grid), view).magnification
    scale = jnp.prod(grid.voxel_size) / pixel_measure(view) * magnification ** (grid.ndim - 1)
    mass = jnp.where(_wholly_in_front(view, grid), scale, 0) * volume
    if grid.ndim == 2:
        shadow = jnp.einsum("yx,yxc->c", mass, columns, precision="highest")
    else:
        shadow = jnp.einsum("zyx,zyxr,zyxc->rc", mass, _row_fractions(view, grid), columns, precision="highest")
    return shadow / pixel_cosines(view)


def _wholly_in_front(view: View, grid: VolumeGrid) -> jax.Array:
    """Which voxels have their cross-section's corners and their ends ahead of the source; others are left out."""
    steps = _CORNERS if grid.ndim == 2 else _CORNERS + _ENDS
    return jnp.all(project(_displaced(grid, steps), view).in_front, axis=-1)


def _pixel_edges(count: int) -> tuple[jax.Array, jax.Array]:
    lower = jnp.arange(count) - 0.5
    return lower, lower + 1


def _displaced(grid: VolumeGrid, steps: Sequence[tuple[int, ...]]) -> jax.Array:
    """Voxel centres displaced by half voxels along their last axes, shape ``(*grid.shape, len(steps), ndim)``."""
    signs = jnp.asarray([(0,) * (grid.ndim - len(step)) + step for step in steps], grid.voxel_size.dtype)
    return voxel_centers(grid)[..., None, :] + signs * grid.voxel_size / 2


def _row_fractions(view: View, grid: VolumeGrid) -> jax.Array:
    """W, shape ``(z, y, x, rows)``: the share in each row of the shadow of the voxel's middle line along z."""
    ends = project(_displaced(grid, _ENDS), view)
    return _rectangle(ends.pixel[..., 0], view.detector_shape[0])


def _rectangles(view: View, grid: VolumeGrid) -> jax.Array:
    """U, shape ``(*grid.shape, cols)``, of the rectangle between the wider pair of opposite edges' mid-points."""
    mid_points = project(_displaced(grid, _MID_POINTS), view)
    across_y, across_x = jnp.split(mid_points.pixel[..., -1], 2, axis=-1)
    wider_y = jnp.abs(jnp.diff(across_y)) >= jnp.abs(jnp.diff(across_x))
    edges = jnp.where(wider_y, across_y, across_x)
    return _rectangle(edges, view.detector_shape[-1])


def _rectangle(edges: jax.Array, count: int) -> jax.Array:
    """Shares of ``count`` pixels in the rectangle between two edges ``(..., 2)``, in either order."""
    low, high = jnp.min(edges, axis=-1, keepdims=True), jnp.max(edges, axis=-1, keepdims=True)
    return safe_divide(overlap(low, high, *_pixel_edges(count)), high - low)


def _trapezoids(view: View, grid: VolumeGrid) -> jax.Array:
    """U, shape ``(*grid.shape, cols)``, of the trapezoid whose break points are the sorted corners' columns."""
    corners = project(_displaced(grid, _CORNERS), view)
    breaks = jnp.split(jnp.sort(corners.pixel[..., -1], axis=-1), 4, axis=-1)
    return _trapezoid_integral(breaks, *_pixel_edges(view.detector_shape[-1]))


def _trapezoid_integral(breaks: list[jax.Array], low: jax.Array, high: jax.Array) -> jax.Array:
    """Integral over [low, high] of the unit-area trapezoid that rises, is flat and falls between four break points.

    Each part is an overlap times the shape's mean height on it, which stays in [0, 1] of the top however short a slope
    is: differences of a cumulative function would lose digits there.
    """

    def slope(foot: jax.Array, top: jax.Array) -> jax.Array:
        left, right = jnp.minimum(foot, top), jnp.maximum(foot, top)
        a, b = jnp.clip(low, left, right), jnp.clip(high, left, right)
        return (b - a) * safe_divide((a + b) / 2 - foot, top - foot)

    k0, k1, k2, k3 = breaks
    area = slope(k0, k1) + overlap(k1, k2, low, high) + slope(k3, k2)
    return safe_divide(area, ((k3 - k0) + (k2 - k1)) / 2)
