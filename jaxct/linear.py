"""Forward and back projection as bare linear maps: each is a primitive whose transpose is the other.

Same arguments and checks as :func:`jaxct.forward_project` and :func:`jaxct.back_project`, without the choice of another
adjoint.
"""

import weakref
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxct import _linear, _lors
from jaxct.geometry import ConeVectors, ParallelVectors, VolumeGrid
from jaxct.geometry._base import Acquisition, Geometry
from jaxct.geometry.lors import LineGeometry

LINE_MODELS = ("siddon", "joseph")
FOOTPRINT_MODELS = ("distance_driven", "separable_footprint")
PROJECTOR_MODELS = LINE_MODELS + FOOTPRINT_MODELS
BACK_MODELS = (*PROJECTOR_MODELS, "voxel_driven")
DTYPES = ("float32", "float64", "float16", "bfloat16")
PRECISIONS = ("exact", "fast")

# Footprint models need the detector's rows stacked within this angle (cosine: 30 degrees) of z.
_MIN_ROW_COSINE = 0.8660254


def forward_project(
    volume: ArrayLike,
    geometry: Acquisition,
    grid: VolumeGrid,
    *,
    model: str | None = None,
    precision: str = "exact",
) -> jax.Array:
    """:func:`jaxct.forward_project` as a linear map of ``volume``."""
    model = check_setup(geometry, grid, model, PROJECTOR_MODELS, precision)
    volume = as_data("volume", volume, grid.shape, "grid.shape")
    return project("forward", volume, geometry, grid, model, precision=precision)


def back_project(
    projections: ArrayLike,
    geometry: Acquisition,
    grid: VolumeGrid,
    *,
    model: str | None = None,
    precision: str = "exact",
) -> jax.Array:
    """:func:`jaxct.back_project` as a linear map of ``projections``."""
    model = check_setup(geometry, grid, model, BACK_MODELS, precision)
    projections = as_data("projections", projections, geometry.projection_shape, "(views, *detector_shape)")
    return project("back", projections, geometry, grid, model, precision=precision)


def project(
    direction: str,
    data: jax.Array,
    geometry: Acquisition,
    grid: VolumeGrid,
    model: str,
    *,
    magnification_power: int = 2,
    precision: str = "exact",
) -> jax.Array:
    """Bind the primitive ``direction`` ("forward" or "back"), arguments being known to fit."""
    if isinstance(geometry, LineGeometry):
        return _linear.apply(direction, data, *_lors.pack(geometry, grid, model))
    assert isinstance(geometry, Geometry)
    vectors = geometry.to_vectors()
    scan = _linear.Scan(
        model=model,
        beam=_beam(vectors),
        detector_shape=geometry.detector_shape,
        volume_shape=grid.shape,
        magnification_power=magnification_power if model == "voxel_driven" else 0,
        precision=precision,
    )
    return _linear.apply(direction, data, _pack_vectors(vectors), _pack_grid(grid), scan)


def _beam(vectors: ParallelVectors | ConeVectors) -> str:
    if isinstance(vectors, ParallelVectors):
        return "parallel"
    return "cone" if vectors.detector == "flat" else "curved"


def _pack_vectors(v: ParallelVectors | ConeVectors) -> jax.Array:
    """(views, 4, 3). A 2-D detector is a row of the plane z = 0."""
    anchor = v.direction if isinstance(v, ParallelVectors) else v.source
    if v.row_axis is not None:
        return jnp.stack([anchor, v.detector_center, v.row_axis, v.col_axis], -2)
    flat = jnp.stack([anchor, v.detector_center, jnp.zeros_like(anchor), v.col_axis], -2)
    z = jnp.broadcast_to(jnp.array([0, 0, 1, 0], flat.dtype)[:, None], (*flat.shape[:-1], 1))
    return jnp.concatenate([z, flat], -1)


def _pack_grid(grid: VolumeGrid) -> jax.Array:
    """(2, 3). A 2-D grid is a slice of unit thickness in the plane z = 0."""
    packed = jnp.stack([grid.voxel_size, grid.center])
    if grid.ndim == 3:
        return packed
    return jnp.concatenate([jnp.array([[1], [0]], packed.dtype), packed], -1)


def as_data(name: str, value: Any, shape: tuple[int, ...], shape_name: str) -> jax.Array:
    """An array of floats of the given shape."""
    if not isinstance(value, jax.Array | np.ndarray):
        raise TypeError(f"{name} must be a JAX or NumPy array, got {type(value).__name__}")
    if value.dtype not in DTYPES:
        raise TypeError(f"{name} must be {', '.join(DTYPES[:-1])} or {DTYPES[-1]}, got {value.dtype}")
    if value.shape != shape:
        raise ValueError(f"{name} must have shape {shape_name} = {shape}, got {value.shape}")
    return jnp.asarray(value)


def check_setup(geometry: Any, grid: Any, model: Any, models: tuple[str, ...], precision: Any) -> str:
    """Refuse what the native code could not run; values only where they are concrete. Answers which model is meant."""
    if not isinstance(geometry, Acquisition):
        raise TypeError(f"geometry must be a jaxct geometry, got {type(geometry).__name__}")
    if not isinstance(grid, VolumeGrid):
        raise TypeError(f"grid must be a jaxct.VolumeGrid, got {type(grid).__name__}")
    if isinstance(geometry, LineGeometry):
        models = _lors.MODELS
    if model is None:
        model = "joseph" if isinstance(geometry, LineGeometry) else "separable_footprint"
    if model not in models:
        raise ValueError(f"model must be one of {', '.join(map(repr, models))}, got {model!r}")
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(map(repr, PRECISIONS))}, got {precision!r}")
    if geometry.ndim != grid.ndim:
        raise ValueError(f"geometry and grid must both be 2-D or 3-D, got {geometry.ndim}-D and {grid.ndim}-D")
    if isinstance(geometry, LineGeometry):
        if model in _lors.TUBE_MODELS and not geometry.has_widths:
            raise ValueError(f"model {model!r} needs a geometry that says how wide its crystals are")
    elif isinstance(geometry, Geometry) and not any(
        isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((geometry, grid))
    ):
        with jax.ensure_compile_time_eval():  # inside jit, too, a concrete geometry is looked at now
            _check_values(geometry, grid, model)
    return model


# What has been checked already. Geometries and grids are immutable and hashed by identity.
_sound: weakref.WeakKeyDictionary[Geometry, weakref.WeakSet[VolumeGrid]] = weakref.WeakKeyDictionary()
_near_axial: weakref.WeakSet[Geometry] = weakref.WeakSet()


def _check_values(geometry: Geometry, grid: VolumeGrid, model: str) -> None:
    if grid not in _sound.setdefault(geometry, weakref.WeakSet()):
        _check_sources(geometry, grid)
        _sound[geometry].add(grid)
    if model in FOOTPRINT_MODELS and geometry.ndim == 3 and geometry not in _near_axial:
        _check_rows(geometry, model)
        _near_axial.add(geometry)


@jax.jit
def _vectors(geometry: Geometry) -> ParallelVectors | ConeVectors:
    """In one program: compiling operation by operation would be most of the time of a first call."""
    return geometry.to_vectors()


def _check_sources(geometry: Geometry, grid: VolumeGrid) -> None:
    vectors = _vectors(geometry)
    if isinstance(vectors, ParallelVectors):
        return
    half = 0.5 * np.asarray(grid.shape) * np.asarray(grid.voxel_size)
    inside = (np.abs(np.asarray(vectors.source) - np.asarray(grid.center)) < half).all(-1)
    if inside.any():
        view = int(np.argmax(inside))
        raise ValueError(
            f"geometry must have its source outside the volume, got source {np.asarray(vectors.source[view]).tolist()} "
            f"in view {view} inside the grid of half-size {half.tolist()} around {np.asarray(grid.center).tolist()}"
        )


def _check_rows(geometry: Geometry, model: str) -> None:
    row_axis = np.asarray(_vectors(geometry).row_axis)
    cosine = np.abs(row_axis[:, 0]) / np.linalg.norm(row_axis, axis=-1)
    if (cosine < _MIN_ROW_COSINE).any():
        view = int(np.argmin(cosine))
        raise ValueError(
            f"model {model!r} needs detector rows stacked within 30 degrees of z, got row_axis "
            f"{row_axis[view].tolist()} in view {view}; use model='joseph' or 'siddon'"
        )
