"""Varying mesh axes: what keeps an FFI call right under ``shard_map``.

XLA knows nothing of a custom call's data dependencies, so JAX must be told over which mesh axes a result varies.
Without that, values and gradients come out wrong with no error.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec


def vary_together(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Give every array the union of the mesh axes that any of them varies over; the identity outside ``shard_map``.

    The transpose of this cast is the sum over devices that the gradient of a replicated operand needs.
    """
    varying = [jax.typeof(a).manual_axis_type.varying for a in arrays]
    union = frozenset().union(*varying)
    return tuple(
        jax.lax.pcast(a, tuple(union - v), to="varying") if union - v else a
        for a, v in zip(arrays, varying, strict=True)
    )


def vary_trees(*trees: Any) -> tuple[Any, ...]:
    """:func:`vary_together` over all leaves of several pytrees."""
    leaves, structure = jax.tree.flatten(trees)
    return jax.tree.unflatten(structure, vary_together(*map(jnp.asarray, leaves)))


def result_like(x: jax.Array, shape: tuple[int, ...], dtype: Any = None) -> jax.ShapeDtypeStruct:
    """Result type of an FFI call: varying mesh axes of ``x``, and its dtype unless another is given."""
    kind = jax.typeof(x)
    mesh = kind.sharding.mesh
    sharding = None if mesh.empty else NamedSharding(mesh, PartitionSpec())
    return jax.ShapeDtypeStruct(shape, dtype or x.dtype, sharding=sharding, manual_axis_type=kind.manual_axis_type)


def abstract_like(x: Any, shape: tuple[int, ...]) -> Any:
    """The same for a primitive's abstract evaluation: ``x`` is a shaped abstract value."""
    mesh = x.sharding.mesh
    sharding = None if mesh.empty else x.sharding.update(spec=PartitionSpec(*[None] * len(shape)))
    return x.update(shape=shape, sharding=sharding, weak_type=False)


def lie_like(x: jax.Array, kind: Any) -> jax.Array:
    """A cotangent, moved to where its primal lies; the identity unless that is part of its type (on Explicit axes)."""
    sharding = kind.sharding
    return x if jax.typeof(x).sharding.spec == sharding.spec else jax.sharding.reshard(x, sharding)
