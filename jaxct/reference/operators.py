"""The public functions: sums over views of a model's one-view operator, and of its transpose."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jaxct.geometry import Geometry, VolumeGrid
from jaxct.reference import footprint, joseph, siddon, voxel_driven
from jaxct.reference.detector import View

Linear = Callable[[jax.Array], jax.Array]

_FORWARD_VIEW = {
    "siddon": siddon.forward_view,
    "joseph": joseph.forward_view,
    "distance_driven": footprint.distance_driven_view,
    "separable_footprint": footprint.separable_footprint_view,
}
_BACK_VIEW = {"voxel_driven": voxel_driven.back_view}
MODELS = (*_FORWARD_VIEW, *_BACK_VIEW)


def forward_project(
    volume: ArrayLike,
    geometry: Geometry,
    grid: VolumeGrid,
    *,
    model: str = "separable_footprint",
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Project ``volume`` with the weights a_ij of ``model``: ``p_i = sum_j a_ij volume_j``.

    Slow and plain: every weight of a view is computed from the model's definition, whether it is zero or not.
    Linear in ``volume`` and differentiable, by ordinary autodiff, in the geometry and the grid.

    Args:
        volume: values per voxel, shape ``grid.shape`` (1/mm for an attenuation).
        geometry: any geometry with ``to_vectors()``.
        grid: where the voxels lie.
        model: "siddon", "joseph", "distance_driven", "separable_footprint", or "voxel_driven", whose forward projection
            is the transpose of its back projection. In 3-D the footprint models assume detector rows near the z axis;
            this function does not check that.
        dtype: type to compute and answer in. By default the volume's, at least float32. With float64 the vectors of a
            float32 geometry are taken as exact, which is what an operator given the same vectors must approximate.

    Returns:
        Projections of shape ``geometry.projection_shape``.

    Raises:
        ValueError: unknown model, or shapes that do not agree.
        TypeError: a volume that is not real floating point.
    """
    _check(model, geometry, grid)
    volume = _array("volume", volume, grid.shape, dtype)
    vectors, grid = _cast((geometry.to_vectors(), grid), volume.dtype)
    return _forward(volume, vectors, grid, model)


def back_project(
    projections: ArrayLike,
    geometry: Geometry,
    grid: VolumeGrid,
    *,
    model: str = "separable_footprint",
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Back-project with the transposed weights: ``volume_j = sum_i a_ij p_i``.

    Arguments and errors as in :func:`forward_project`; ``projections`` has the shape ``geometry.projection_shape``, the
    result ``grid.shape``.
    """
    _check(model, geometry, grid)
    projections = _array("projections", projections, geometry.projection_shape, dtype)
    vectors, grid = _cast((geometry.to_vectors(), grid), projections.dtype)
    return _back(projections, vectors, grid, model)


def _check(model: str, geometry: Geometry, grid: VolumeGrid) -> None:
    if model not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}; got {model!r}")
    if geometry.ndim != grid.ndim:
        raise ValueError(f"geometry and grid must have the same dimension; got {geometry.ndim}-D and {grid.ndim}-D")


def _array(name: str, value: ArrayLike, shape: tuple[int, ...], dtype: DTypeLike | None) -> jax.Array:
    """``value`` as an array of the type to compute in."""
    array = jnp.asarray(value)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}; got {array.shape}")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"{name} must be real floating point; got {array.dtype}")
    # Half-precision types are for storage; nothing is accumulated in them.
    return array.astype(jnp.promote_types(array.dtype, jnp.float32) if dtype is None else dtype)


def _cast(tree, dtype: DTypeLike):  # type: ignore[no-untyped-def]
    return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)


@partial(jax.jit, static_argnames="model")
def _forward(volume: jax.Array, vectors: View, grid: VolumeGrid, model: str) -> jax.Array:
    # One view at a time: a view's weights are a dense (pixels x voxels) table.
    return jax.lax.map(lambda view: _one_view(view, grid, model)[0](volume), vectors)


@partial(jax.jit, static_argnames="model")
def _back(projections: jax.Array, vectors: View, grid: VolumeGrid, model: str) -> jax.Array:
    def add_view(total: jax.Array, item: tuple[View, jax.Array]) -> tuple[jax.Array, None]:
        view, projection = item
        return total + _one_view(view, grid, model)[1](projection), None

    total, _ = jax.lax.scan(add_view, jnp.zeros(grid.shape, projections.dtype), (vectors, projections))
    return total


def _one_view(view: View, grid: VolumeGrid, model: str) -> tuple[Linear, Linear]:
    """The forward and back projectors of one view: one is the model's definition, the other its transpose."""
    dtype = grid.voxel_size.dtype
    if model in _BACK_VIEW:
        back = partial(_BACK_VIEW[model], view=view, grid=grid)
        return _transpose(back, view.detector_shape, dtype), back
    forward = partial(_FORWARD_VIEW[model], view=view, grid=grid)
    return forward, _transpose(forward, grid.shape, dtype)


def _transpose(linear: Linear, in_shape: tuple[int, ...], dtype: DTypeLike) -> Linear:
    def transposed(cotangent: jax.Array) -> jax.Array:
        (result,) = jax.linear_transpose(linear, jax.ShapeDtypeStruct(in_shape, dtype))(cotangent)
        return result

    return transposed
