"""How XLA may split the projection primitives over devices under plain ``jit``: by batch, by view and by slab.

To XLA a custom call is opaque: it would gather every operand, and have every device do everything. So where a program
is compiled for several devices, a primitive is lowered as a call that says which axes of its operands and results
belong together, and what a device does with its parts of them.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.custom_partitioning import custom_partitioning
from jax.extend.core import Primitive
from jax.sharding import Mesh, NamedSharding, PartitionSpec

# What the operands and the results of each primitive are.
_SIGNATURES = {
    "forward": (("volume", "vectors", "grid"), ("projections",)),
    "back": (("projections", "vectors", "grid"), ("volume",)),
    "forward_tangent": (("volume", "vectors", "grid", "vectors", "grid"), ("projections",)),
    "back_tangent": (("projections", "vectors", "grid", "vectors", "grid"), ("volume",)),
    "geometry_gradient": (("volume", "projections", "vectors", "grid"), ("vectors", "grid")),
}
_DATA = ("volume", "projections")
# What may be split besides the batch: each device then has some of the views, or some of the slices.
_SPLIT = ("view", "slice")

Axes = tuple[str, ...]


def request_devices() -> Any:
    """A parameter for the primitives, for no one to read: JAX then tells their lowering what the devices are.

    It does so where a program, or a jaxpr among the parameters in it, has a ``custom_partitioning``. Under
    ``shard_map`` there is nothing left to split.
    """
    if jax.device_count() == 1 or jax.sharding.get_abstract_mesh().manual_axes:
        return None
    return _custom_partitioning_jaxpr()


@functools.cache
def _custom_partitioning_jaxpr() -> Any:
    identity = custom_partitioning(lambda x: x)
    identity.def_partition(lambda *_: None, sharding_rule="i -> i")
    return jax.make_jaxpr(identity)(jax.ShapeDtypeStruct((1,), jnp.float32))


def is_wanted(axis_context: Any) -> bool:
    """Whether a program is lowered for XLA to split it over a known mesh; not inside ``shard_map``, nor on one device.

    Where JAX tells less than expected the answer is no, which costs time but never the result.
    """
    devices = getattr(axis_context, "device_assignment", None)
    mesh = getattr(axis_context, "abstract_mesh", None)
    shardy = getattr(jax.config, "jax_use_shardy_partitioner", True)  # the rule below is in its language
    return devices is not None and mesh is not None and len(devices) > 1 and shardy


def call(name: str, primitive: Primitive, *operands: jax.Array, scan: Any, batch_axes: int) -> Any:
    """The primitive as a call that XLA can split."""
    labels = _Labels.of(name, operands, scan, batch_axes)
    split = custom_partitioning(lambda *operands: primitive.bind(*operands, scan=scan, batch_axes=batch_axes))
    split.def_partition(
        functools.partial(_partition, primitive, scan, batch_axes, labels),
        decode_shardings=False,  # JAX's decoding fails where a mesh axis is split between two axes of an array
        sharding_rule=labels.rule(),
        need_replication_factors=labels.whole(),
        reduction_factors=labels.summed(),
    )
    return split(*operands)


@dataclasses.dataclass(frozen=True)
class _Labels:
    """A name for every axis of every operand and result; axes of one name are split alike."""

    kinds: tuple[str, ...]
    operands: tuple[tuple[str, ...], ...]
    results: tuple[tuple[str, ...], ...]
    batch: tuple[str, ...]

    @staticmethod
    def of(name: str, operands: Sequence[jax.Array], scan: Any, batch_axes: int) -> "_Labels":
        items = scan.axes
        kinds, results = _SIGNATURES[name]
        batch = tuple(f"batch{k}" for k in range(batch_axes))
        # An operand that all items share has an axis of size 1, which is not split along with the batch.
        shared = [
            tuple(label if n > 1 else f"{label}_of{i}" for label, n in zip(batch, a.shape, strict=False))
            for i, a in enumerate(operands)
        ]
        return _Labels(
            kinds,
            tuple(s + items[kind] for s, kind in zip(shared, kinds, strict=True)),
            tuple(batch + items[kind] for kind in results),
            batch,
        )

    def rule(self) -> str:
        sides = (", ".join(" ".join(axes) for axes in side) for side in (self.operands, self.results))
        return " -> ".join(sides)

    def _all(self) -> list[str]:
        """In order of appearance, which is the order that a rule's lists must have."""
        return list(dict.fromkeys(label for axes in (*self.operands, *self.results) for label in axes))

    def summed(self) -> tuple[str, ...]:
        kept = {label for axes in self.results for label in axes}
        return tuple(label for label in self._all() if label in _SPLIT and label not in kept)

    def whole(self) -> tuple[str, ...]:
        return tuple(label for label in self._all() if label not in (*_SPLIT, *self.batch))


def _partition(
    primitive: Primitive, scan: Any, batch_axes: int, labels: _Labels, mesh: Mesh, operands: Any, results: Any
) -> tuple[Mesh, Any, Any, Any]:
    """What ``custom_partitioning`` asks: the mesh, what a device does, and how results and operands are to lie."""
    mesh = _refine(mesh)
    splits = _choose_splits(mesh, labels, (*operands, *jax.tree.leaves(results)))
    at = [NamedSharding(mesh, _spec(axes, splits)) for axes in (*labels.operands, *labels.results)]
    part = functools.partial(_part, primitive, scan, batch_axes, labels, splits, mesh)
    result_shardings = jax.tree.unflatten(jax.tree.structure(results), at[len(operands) :])
    return mesh, part, result_shardings, tuple(at[: len(operands)])


def _refine(mesh: Mesh) -> Mesh:
    """The same devices with an axis for every prime factor of every axis.

    Views that lie on four devices may have been reshaped to two subsets, on two pairs of devices.
    """
    factors = [p for n in mesh.devices.shape for p in _prime_factors(n)]
    return Mesh(mesh.devices.reshape(factors), tuple(f"axis{k}" for k in range(len(factors))))


def _prime_factors(n: int) -> list[int]:
    for p in range(2, math.isqrt(n) + 1):
        if n % p == 0:
            return [p, *_prime_factors(n // p)]
    return [n] if n > 1 else []


def _choose_splits(mesh: Mesh, labels: _Labels, arrays: Sequence[Any]) -> dict[str, Axes]:
    """For each label the mesh axes that XLA has proposed for it; none where they are taken or do not divide evenly."""
    splits: dict[str, Axes] = {}
    for names, array in zip((*labels.operands, *labels.results), arrays, strict=True):
        for label, size, axes in zip(names, array.shape, _read(array.sharding, mesh, len(names)), strict=True):
            taken = {name for others in splits.values() for name in others}
            may_be = label in (*_SPLIT, *labels.batch) and label not in splits and not taken & set(axes)
            if axes and may_be and size % _count(mesh, axes) == 0:
                splits[label] = axes
    return splits


def _read(sharding: Any, mesh: Mesh, ndim: int) -> list[Axes]:
    """By which mesh axes, slowest first, each axis of an array is split; by none where they cannot express it."""
    # In an array with as many entries along every axis as there are devices, all parts have whole sizes.
    indices = sharding.devices_indices_map((mesh.size,) * ndim)
    starts = np.array([[part.start or 0 for part in indices[device]] for device in mesh.devices.flat], int)
    # What one step along each mesh axis adds to where a device's part starts; so all of them must follow.
    neighbours = [math.prod(mesh.devices.shape[k + 1 :]) for k in range(mesh.devices.ndim)]
    steps = starts[neighbours]
    positions = np.indices(mesh.devices.shape).reshape(mesh.devices.ndim, -1)
    follows = (positions.T @ steps == starts).all(0)
    return [
        tuple(mesh.axis_names[k] for k in np.argsort(-step) if step[k]) if expressed else ()
        for step, expressed in zip(steps.T, follows, strict=True)
    ]


def _count(mesh: Mesh, axes: Axes) -> int:
    return math.prod(mesh.shape[name] for name in axes)


def _spec(names: tuple[str, ...], splits: dict[str, Axes]) -> PartitionSpec:
    return PartitionSpec(*(splits.get(name) for name in names))


def _part(
    primitive: Primitive,
    scan: Any,
    batch_axes: int,
    labels: _Labels,
    splits: dict[str, Axes],
    mesh: Mesh,
    *operands: jax.Array,
) -> Any:
    """On one device: the primitive on its parts, and the sum over the devices that share a result."""
    scan, shift = _slab(scan, mesh, splits.get("slice", ()))
    sums = [
        tuple(a for label in _SPLIT if label not in names for a in splits.get(label, ())) for names in labels.results
    ]
    dtype = operands[0].dtype
    # 16-bit data are widened where partial results are added, and the sum is rounded.
    wide = jnp.promote_types(dtype, jnp.float32) if any(sums) else dtype
    parts = [
        _move(a, shift) if kind == "grid" else a.astype(wide) if kind in _DATA else a
        for kind, a in zip(labels.kinds, operands, strict=True)
    ]
    out = primitive.bind(*parts, scan=scan, batch_axes=batch_axes)
    if primitive.multiple_results:
        vectors, grid = out
        return [_sum(a, axes) for a, axes in zip((vectors, _move_transposed(grid, shift)), sums, strict=True)]
    return _sum(out, sums[0]).astype(dtype)


def _slab(scan: Any, mesh: Mesh, axes: Axes) -> tuple[Any, jax.Array | None]:
    """The scan of one device's slices, and by how many their middle lies above the volume's (None: it has all)."""
    if not axes:
        return scan, None
    whole = scan.volume_shape[0]
    slices = whole // _count(mesh, axes)
    shift = jax.lax.axis_index(axes) * slices - (whole - slices) / 2
    return dataclasses.replace(scan, volume_shape=(slices, *scan.volume_shape[1:])), shift


def _sum(part: jax.Array, axes: Axes) -> jax.Array:
    return jax.lax.psum(part, axes) if axes else part


def _move(grid: jax.Array, slices: jax.Array | None) -> jax.Array:
    """A packed grid (or its tangent), its centre moved by so many slices along z."""
    return grid if slices is None else grid.at[..., 1, 0].add(slices * grid[..., 0, 0])


def _move_transposed(grid: jax.Array, slices: jax.Array | None) -> jax.Array:
    return grid if slices is None else grid.at[..., 0, 0].add(slices * grid[..., 1, 0])
