"""What FBP and FDK share: weight, filter, back project.

With q the filtered, weighted projections and M the magnification of a voxel in a view, every circular geometry has the
same sum, ``volume = sum_views w M^2 q(u, v)``. What makes it quantitative is
``w = dbeta * share * source_origin_distance / source_detector_distance`` (parallel: ``dbeta * share``); the share of a
line that is measured twice in a turn is 1/2.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxct import linear, weights
from jaxct.filters import Window, as_float, check_broadcast, convolve_rows, filter_response
from jaxct.geometry import ParallelBeam, VolumeGrid
from jaxct.reconstruct._redundancy import Redundancy, check_coverage, choose_redundancy, is_concrete, view_weights
from jaxct.weights import CircularGeometry

# Padded samples of a block of views, unless its volume is so large that passing over it once a block would cost more.
_SAMPLES_PER_BLOCK = 2**20
# The CPU's loops take so many views at a time.
_VIEWS = 8


def reconstruct(
    projections: ArrayLike,
    geometry: CircularGeometry,
    grid: VolumeGrid,
    *,
    window: Window,
    cutoff: ArrayLike,
    short_scan: bool,
    limited_angle: bool,
    offset_detector: bool | None,
) -> jax.Array:
    """The steps of FBP and FDK; see there for the arguments."""
    linear.check_setup(geometry, grid, "voxel_driven", linear.BACK_MODELS, "exact")
    projections = as_float(projections, "projections")
    if projections.shape != geometry.projection_shape:
        raise ValueError(f"projections must have shape {geometry.projection_shape}, got {projections.shape}")
    redundancy = choose_redundancy(geometry, short_scan, limited_angle, offset_detector)
    if is_concrete(geometry):
        check_coverage(geometry, redundancy, limited_angle)
    margin = _margin(geometry) if redundancy.startswith("offset") else 0
    num_cols = geometry.detector_shape[-1] + margin
    response = filter_response(window, num_cols, cutoff=cutoff, fan_step=_fan_step(geometry))
    check_broadcast(response, projections.shape)
    return _reconstruct(projections, response, geometry, grid, redundancy, margin)


@partial(jax.jit, static_argnames=("redundancy", "margin"))
def _reconstruct(
    projections: jax.Array,
    response: jax.Array,
    geometry: CircularGeometry,
    grid: VolumeGrid,
    redundancy: Redundancy,
    margin: int,
) -> jax.Array:
    rank, dtype = projections.ndim, projections.dtype
    share = view_weights(geometry, redundancy)
    share = share[:, None, :] if rank == 3 else share
    cosine = jnp.ones(()) if isinstance(geometry, ParallelBeam) else weights.cosine_weights(geometry)
    response = response / geometry.pixel_size[-1]
    start, wider = _extend(geometry, margin)

    def block_image(views, index, share, cosine, response):
        weighted = views * (cosine * share).astype(dtype)
        filtered = convolve_rows(_place(weighted, start, margin), response)
        return linear.back_project(filtered, wider[index], grid, model="voxel_driven")

    operands = [_lift(a, rank) for a in (share, cosine, response)]
    return _sum_blocks(block_image, _views_per_block(projections.shape, grid), projections, operands)


def _views_per_block(shape: tuple[int, ...], grid: VolumeGrid) -> int:
    """So many that spectra and weighted copies stay small beside the volume, which is passed over once a block."""
    samples = max(_SAMPLES_PER_BLOCK, math.prod(grid.shape) // 4)
    return max(_VIEWS, samples // (2 * math.prod(shape[1:])) // _VIEWS * _VIEWS)


def _sum_blocks(
    function: Callable[..., jax.Array], block: int, views: jax.Array, operands: list[jax.Array]
) -> jax.Array:
    """The sum over blocks of views of ``function(views, index, *operands)``.

    Operands have one entry per view, or a single one for all. Of several blocks each is recomputed for a derivative.
    """
    num_views = views.shape[0]
    if num_views <= block:
        return function(views, slice(None), *operands)

    @partial(jax.checkpoint, static_argnums=1)
    def part(start: ArrayLike, count: int) -> jax.Array:
        def take(array: jax.Array) -> jax.Array:
            return jax.lax.dynamic_slice_in_dim(array, start, count) if array.shape[0] > 1 else array

        return function(take(views), start + jnp.arange(count), *map(take, operands))

    rest = num_views % block or block
    starts = jnp.arange(rest, num_views, block)
    return jax.lax.scan(lambda total, start: (total + part(start, block), None), part(0, rest), starts)[0]


def _lift(array: jax.Array, rank: int) -> jax.Array:
    """Unit axes in front up to this rank."""
    return array.reshape((1,) * (rank - array.ndim) + array.shape)


def _fan_step(geometry: CircularGeometry) -> jax.Array | None:
    """Angle between columns of a curved detector: (), or one per view, (views, 1 ...), to go with its projections."""
    if isinstance(geometry, ParallelBeam) or geometry.detector == "flat":
        return None
    step = geometry.pixel_size[-1] / geometry.source_detector_distance
    return step if step.ndim == 0 else step.reshape((-1,) + (1,) * (geometry.ndim - 2))


def _margin(geometry: CircularGeometry) -> int:
    """Columns to add beyond the short side of a displaced detector, so that it reaches as far as the long one.

    The data end there, but the filtered projections do not: their tails belong to the image. A traced offset may need
    as many columns as there are.
    """
    num_cols = geometry.detector_shape[-1]
    if not is_concrete(geometry):
        return num_cols
    offset, pixel_size = np.asarray(geometry.detector_offset), np.asarray(geometry.pixel_size)
    missing = 2 * np.abs(offset[..., -1]).max() / pixel_size[-1]
    return min(num_cols, int(np.ceil(missing - 1e-3)))  # not one more for a rounding error


def _extend(geometry: CircularGeometry, margin: int) -> tuple[jax.Array, CircularGeometry]:
    """First column of the data, and the geometry, once ``margin`` columns are added on the short side."""
    if margin == 0:
        return jnp.zeros((), jnp.int32), geometry
    # Columns in front if the long side is the upper one.
    upper = jnp.mean(geometry.detector_offset[..., -1]) > 0
    shift = jnp.where(upper, -0.5, 0.5) * margin * geometry.pixel_size[-1]
    *rows, num_cols = geometry.detector_shape
    wider = dataclasses.replace(
        geometry,
        detector_shape=(*rows, num_cols + margin),
        detector_offset=geometry.detector_offset.at[..., -1].add(shift),
    )
    return jnp.where(upper, margin, 0), wider


def _place(rows: jax.Array, start: jax.Array, margin: int) -> jax.Array:
    """Zeros before and after the rows, ``margin`` in all."""
    if margin == 0:
        return rows
    wider = jnp.zeros((*rows.shape[:-1], rows.shape[-1] + margin), rows.dtype)
    return jax.lax.dynamic_update_slice_in_dim(wider, rows, start, axis=-1)


def require_geometry(geometry: object, kinds: tuple[type, ...], supported: str) -> None:
    """Refuse geometries without a formula here, naming what there is."""
    if not isinstance(geometry, kinds):
        raise TypeError(f"geometry must be {supported}, got {type(geometry).__name__}")
