"""A projector over several devices: views on one axis of a mesh, slabs of the volume on another.

Device (i, j) of a mesh (views, slabs) holds the views i of the projections and the slab j of the volume. Forward, it
projects its slab into its views, and the partial projections are summed over ``slabs``; back, it smears its views over
its slab, and the partial volumes are summed over ``views``. Volumes and projections never travel, only those sums do.
"""

import dataclasses
import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.typing import ArrayLike

from jaxct import linear
from jaxct.geometry import VolumeGrid
from jaxct.geometry._base import Acquisition
from jaxct.geometry._fields import build, replace_leaves

Axes = str | tuple[str, ...] | None


@dataclasses.dataclass(frozen=True, eq=False)
class ShardedProjector:
    """The system matrix A of a scan, spread over the devices of a mesh: ``A(volume)``, ``A.T(projections)``.

    Takes the place of :class:`jaxct.Projector`: a true linear map to JAX, differentiable in the geometry and the grid
    too, an operator for :mod:`jaxct.reconstruct`. Arrays are global ones, of the shapes that a single device would
    see. They may come from anywhere; those that lie as ``volume_sharding`` and ``projections_sharding`` say stay where
    they are, and so do results.

    Every slab is projected into all rows of the detector: slabs split the volume's memory, but not all of the work.

    float16 and bfloat16 are widened to float32, and rounded once, after the sum over devices.

    Args:
        geometry: any geometry of :mod:`jaxct.geometry`, or lines of response of :mod:`jaxct.pet`. Values that all views
            share are copied to every device.
        grid: where the voxels lie.
        mesh: a :class:`jax.sharding.Mesh`. Its axes count as ``Auto``, whatever their type; only under ``jax.set_mesh``
            they must be.
        views: the axis of ``mesh`` (or the axes, as a tuple) over which views are split; None: each device has all.
        slabs: the same for the volume's z axis.
        model: as in :func:`jaxct.forward_project`.
        precision: as in :func:`jaxct.forward_project`.

    Under ``jax.vmap``, ``spmd_axis_name`` names the axis of ``mesh`` over which the batch is split.

    Raises:
        ValueError: an axis that the mesh does not have, or the same one twice; views or slices that do not divide
            evenly; slabs of an image; and as in :func:`jaxct.forward_project`.
        TypeError: an argument of the wrong kind.
    """

    geometry: Acquisition
    grid: VolumeGrid
    mesh: Mesh
    views: Axes = dataclasses.field(default="views", kw_only=True)
    slabs: Axes = dataclasses.field(default=None, kw_only=True)
    model: str | None = dataclasses.field(default=None, kw_only=True)
    precision: str = dataclasses.field(default="exact", kw_only=True)

    def __post_init__(self) -> None:
        model = linear.check_setup(self.geometry, self.grid, self.model, linear.PROJECTOR_MODELS, self.precision)
        object.__setattr__(self, "model", model)
        _check_axes(self.mesh, self.views, self.slabs)
        if self.slabs is not None and self.grid.ndim == 2:
            raise ValueError(f"slabs must be None for an image, which has no z axis, got {self.slabs!r}")
        _check_split("geometry.num_views", self.geometry.num_views, "views", self.views, self.mesh)
        _check_split("grid.shape[0]", self.grid.shape[0], "slabs", self.slabs, self.mesh)
        # An Explicit axis would make the type of every array depend on how it is split, which algorithms do not expect.
        object.__setattr__(self, "mesh", Mesh(self.mesh.devices, self.mesh.axis_names))

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of a volume."""
        return self.grid.shape

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of the projections."""
        return self.geometry.projection_shape

    @property
    def volume_sharding(self) -> NamedSharding:
        """How a volume lies on the mesh."""
        return NamedSharding(self.mesh, P(self.slabs))

    @property
    def projections_sharding(self) -> NamedSharding:
        """How projections lie on the mesh."""
        return NamedSharding(self.mesh, P(self.views))

    @property
    def T(self) -> "TransposedShardedProjector":  # noqa: N802
        """The transpose."""
        return TransposedShardedProjector(self)

    def __call__(self, volume: ArrayLike) -> jax.Array:
        return _project(self, linear.as_data("volume", volume, self.in_shape, "grid.shape"), direction="forward")


_CHILDREN = ("geometry", "grid")
_STATIC = ("mesh", "views", "slabs", "model", "precision")


def _flatten(a: ShardedProjector) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    return tuple(getattr(a, name) for name in _CHILDREN), tuple(getattr(a, name) for name in _STATIC)


def _unflatten(static: tuple[Any, ...], children: tuple[Any, ...]) -> ShardedProjector:
    return build(ShardedProjector, **dict(zip((*_CHILDREN, *_STATIC), (*children, *static), strict=True)))


jax.tree_util.register_pytree_node(ShardedProjector, _flatten, _unflatten)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class TransposedShardedProjector:
    """The transpose of a :class:`ShardedProjector`; its ``T`` is the projector again."""

    T: ShardedProjector

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of the projections."""
        return self.T.out_shape

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of a volume."""
        return self.T.in_shape

    def __call__(self, projections: ArrayLike) -> jax.Array:
        data = linear.as_data("projections", projections, self.in_shape, "geometry.projection_shape")
        return _project(self.T, data, direction="back")


@partial(jax.jit, static_argnames="direction")
def _project(a: ShardedProjector, data: jax.Array, *, direction: str) -> jax.Array:
    volume, projections = P(a.slabs), P(a.views)
    source, result = (volume, projections) if direction == "forward" else (projections, volume)
    per_view = replace_leaves(a.geometry, lambda leaf, rank: projections if leaf.ndim > rank else P())
    run = jax.shard_map(
        partial(_project_part, a, direction), mesh=a.mesh, in_specs=(source, per_view, P()), out_specs=result
    )
    return run(data, a.geometry, a.grid)


def _project_part(
    a: ShardedProjector, direction: str, data: jax.Array, geometry: Acquisition, grid: VolumeGrid
) -> jax.Array:
    """On one device, of whose data, views and whole grid; then the sum over the devices that share its result."""
    wide = data.astype(jnp.promote_types(data.dtype, jnp.float32))
    part = linear.project(direction, wide, geometry, _slab(grid, a), str(a.model), precision=a.precision)
    axes = _names(a.slabs if direction == "forward" else a.views)
    return jax.lax.psum(part, axes).astype(data.dtype)


def _slab(grid: VolumeGrid, a: ShardedProjector) -> VolumeGrid:
    """The part of a grid that the device at hand has."""
    if a.slabs is None:
        return grid
    whole = grid.shape[0]
    slices = whole // _count(a.mesh, a.slabs)
    first = jax.lax.axis_index(_names(a.slabs)) * slices
    shift = (first - (whole - slices) / 2) * grid.voxel_size[0]
    return VolumeGrid((slices, *grid.shape[1:]), grid.voxel_size, grid.center.at[0].add(shift))


def _names(axes: Axes) -> tuple[str, ...]:
    return () if axes is None else (axes,) if isinstance(axes, str) else axes


def _count(mesh: Mesh, axes: Axes) -> int:
    return math.prod(mesh.shape[name] for name in _names(axes))


def _check_axes(mesh: Any, views: Any, slabs: Any) -> None:
    if not isinstance(mesh, Mesh):
        raise TypeError(f"mesh must be a jax.sharding.Mesh, got {type(mesh).__name__}")
    for name, axes in (("views", views), ("slabs", slabs)):
        is_names = isinstance(axes, tuple) and axes and all(isinstance(axis, str) for axis in axes)
        if not (axes is None or isinstance(axes, str) or is_names):
            raise TypeError(f"{name} must be an axis of mesh, a tuple of axes or None, got {axes!r}")
        for axis in _names(axes):
            if axis not in mesh.axis_names:
                raise ValueError(f"{name} must be among the axes {mesh.axis_names} of mesh, got {axis!r}")
    both = (*_names(views), *_names(slabs))
    if not both:
        raise ValueError(f"views or slabs must name an axis of mesh, got None twice for the axes {mesh.axis_names}")
    if len(set(both)) < len(both):
        raise ValueError(f"views and slabs must name different axes of mesh, got views={views!r} and slabs={slabs!r}")


def _check_split(what: str, size: int, name: str, axes: Axes, mesh: Mesh) -> None:
    parts = _count(mesh, axes)
    if size % parts:
        raise ValueError(
            f"{what} must be a multiple of the number of devices along {name}={axes!r}, {parts}, got {size}"
        )
