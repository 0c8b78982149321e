"""Frozen pytree dataclasses: float fields are leaves, shapes and mode strings are static.

JAX rebuilds pytrees with tracers, ``None``, integers (``in_axes``) or bare ``object()`` in the leaves, so rebuilding
never runs ``__init__``: what a user constructs is validated, what JAX reconstructs is not.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import jax

T = TypeVar("T")


def leaf_ranks(node: Any) -> dict[str, int]:
    """The float fields of a registered dataclass (instance or type) with their ranks, in order."""
    return node._leaf_ranks


def set_fields(node: Any, **values: Any) -> None:
    """Assign the fields of a frozen dataclass from within its constructor."""
    for name, value in values.items():
        object.__setattr__(node, name, value)


def build(cls: type[T], **values: Any) -> T:
    """Make a node from fields known to be right, without the constructor's checks."""
    node = object.__new__(cls)
    set_fields(node, **values)
    return node


def replace_leaves(node: T, function: Any) -> T:
    """The same node with every leaf replaced by ``function(leaf, rank)``; absent (None) leaves stay absent."""
    values = {f.name: getattr(node, f.name) for f in dataclasses.fields(node)}  # type: ignore[arg-type]
    for name, rank in leaf_ranks(node).items():
        if values[name] is not None:
            values[name] = function(values[name], rank)
    for name in node._nodes:  # type: ignore[attr-defined]
        if values[name] is not None:
            values[name] = replace_leaves(values[name], function)
    return build(type(node), **values)


def register(*nodes: str, **ranks: int) -> Callable[[type[T]], type[T]]:
    """Class decorator: make a dataclass a pytree with key paths, whose leaves are the fields named.

    A leaf's rank is the one it has when all views share it; one axis more, in front, means one value per view. The
    fields in ``nodes`` are dataclasses of this kind themselves, or None. Every other field is static: hashable, part of
    the tree's structure.
    """

    def decorate(cls: type[T]) -> type[T]:
        inner = (*ranks, *nodes)
        statics = tuple(f.name for f in dataclasses.fields(cls) if f.name not in inner)  # type: ignore[arg-type]
        cls._leaf_ranks = ranks  # type: ignore[attr-defined]
        cls._nodes = nodes  # type: ignore[attr-defined]

        def flatten(node):
            return tuple(getattr(node, name) for name in inner), tuple(getattr(node, name) for name in statics)

        def flatten_with_keys(node):
            children, structure = flatten(node)
            return tuple(zip(map(jax.tree_util.GetAttrKey, inner), children, strict=True)), structure

        def unflatten(structure, children):
            return build(cls, **dict(zip(statics, structure, strict=True)), **dict(zip(inner, children, strict=True)))

        jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
        return cls

    return decorate


def describe(node: Any) -> str:
    """A one-line ``repr`` that holds for concrete, traced, batched and placeholder leaves alike."""
    ranks = leaf_ranks(node)
    parts = []
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        if value is not None:
            parts.append(f"{field.name}={_describe_leaf(value) if field.name in ranks else repr(value)}")
    return f"{type(node).__name__}({', '.join(parts)})"


def _describe_leaf(value: Any) -> str:
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        return f"<{type(value).__name__}>"
    kind = f"{value.dtype}[{','.join(map(str, value.shape))}]"
    if isinstance(value, jax.core.Tracer) or not isinstance(value, jax.Array) or value.is_deleted():
        return kind
    if value.size <= 3:
        return f"{value:g}" if value.ndim == 0 else "(" + ", ".join(f"{v:g}" for v in value.ravel().tolist()) + ")"
    return f"{kind} in [{value.min():g}, {value.max():g}]"
