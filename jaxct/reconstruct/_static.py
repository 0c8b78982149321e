"""Functions among the operands of a compiled step.

A compiled step is found again when its operands have the same structure. Functions belong to that structure, and two of
them are taken for the same when they run the same code and all that it refers to is the same: so an ``optax.adam(0.1)``
or a lambda that is written out again in every call is compiled once. What a function refers to must be numbers, strings
and other such things that cannot change, or modules and classes of libraries that are known not to. A function that
refers to an array, or to anything else, is compiled anew on every call: the array may be another one by then, and must
not be kept alive by a cache. A module or class of the user's own may have other attributes by then.
"""

import functools
import types
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_LIBRARIES = frozenset({"jax", "jaxct", "optax", "flax", "numpy"})
# Their classes and modules turn up beside those of the libraries.
_FOUNDATIONS = frozenset({"jaxlib", "ml_dtypes", "builtins", "math", "functools", "operator"})


class _NotFixedError(Exception):
    """Something that may change, or holds arrays."""


@jax.tree_util.register_static
class _Fixed:
    """A leaf that is part of the tree's structure."""

    def __init__(self, value: Any, key: Any):
        self.value, self.key = value, key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Fixed) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


class _Same:
    """Equal to the same object alone, and keeps it, so that its address stays its own."""

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def as_operands(tree: Any) -> Any:
    """The tree with numbers as arrays and, where that can be, its other leaves as part of its structure."""
    return jax.tree.map(_as_operand, tree)


def restored(operands: Any) -> Any:
    """The tree that :func:`as_operands` took."""
    is_fixed = lambda leaf: isinstance(leaf, _Fixed)  # noqa: E731
    return jax.tree.map(lambda leaf: leaf.value if is_fixed(leaf) else leaf, operands, is_leaf=is_fixed)


def _as_operand(leaf: Any) -> Any:
    if hasattr(leaf, "shape") and hasattr(leaf, "dtype"):
        return leaf
    if isinstance(leaf, float):
        return jnp.asarray(leaf)
    try:
        return _Fixed(leaf, _key(leaf, ()))
    except _NotFixedError:
        return leaf


def _key(value: Any, within: tuple[Any, ...]) -> Any:
    """What is equal for two values that can stand for each other; ``within``: the functions being looked at."""
    if value is None or isinstance(value, bool | int | str | bytes | np.dtype | np.generic | types.CodeType):
        return type(value), value
    if isinstance(value, float):
        return float, value.hex()
    if isinstance(value, np.ufunc) or (isinstance(value, type | types.ModuleType) and _is_known(value)):
        return _Same(value)
    if isinstance(value, types.BuiltinFunctionType) and isinstance(value.__self__, types.ModuleType | None):
        return _Same(value)
    if isinstance(value, tuple | list):
        return type(value), *(_key(v, within) for v in value)
    if isinstance(value, dict):
        return dict, _key(tuple(value.items()), within)
    if isinstance(value, functools.partial):
        return functools.partial, _key((value.func, value.args, *value.keywords.items()), within)
    if isinstance(value, types.FunctionType):
        return _function_key(value, within)
    if callable(value) and type(value).__module__.split(".")[0] in ("jax", "jaxlib"):
        # What jax.jit and the like make of a function, perhaps of a user's.
        inner = getattr(value, "__wrapped__", None)
        return _Same(value), None if inner is None else _key(inner, within)
    raise _NotFixedError


def _is_known(value: type | types.ModuleType) -> bool:
    """Whether a module or class belongs to a library, whose attributes do not change."""
    name = value.__name__ if isinstance(value, types.ModuleType) else value.__module__
    return name.split(".")[0] in _LIBRARIES | _FOUNDATIONS


def _function_key(function: types.FunctionType, within: tuple[Any, ...]) -> Any:
    if function in within:
        return "recursion", within.index(function)
    within = (*within, function)
    cells = tuple(_content(cell) for cell in function.__closure__ or ())
    defaults = (function.__defaults__, *(function.__kwdefaults__ or {}).items())
    # The globals of libraries do not change.
    own = (function.__module__ or "").split(".")[0] not in _LIBRARIES
    names = sorted(set(_names(function.__code__)) & function.__globals__.keys()) if own else ()
    outside = tuple((name, function.__globals__[name]) for name in names)
    return function.__module__, function.__code__, *(_key(part, within) for part in (cells, defaults, outside))


def _content(cell: types.CellType) -> Any:
    try:
        return (cell.cell_contents,)
    except ValueError:  # a variable that has no value
        return ()


def _names(code: types.CodeType) -> Iterator[str]:
    """All global names of a function, with those of the functions in it (and names of attributes)."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
