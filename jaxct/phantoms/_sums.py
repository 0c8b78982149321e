"""Sums over shapes, in programs whose size does not grow with the number of shapes."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxct.phantoms.shapes import Shape


def dtype_of(*trees: Any) -> Any:
    """The type in which everything can be computed."""
    return jnp.result_type(*(leaf.dtype for leaf in jax.tree.leaves(trees)))


def sum_over(shapes: Sequence[Shape], term: Callable[[Shape], jax.Array], total: jax.Array) -> jax.Array:
    """``total`` plus ``term(shape)`` over all shapes: one loop for each kind, holding the term of one member."""
    step = jax.checkpoint(lambda acc, shape: (acc + term(shape), None))
    for family in _families(shapes):
        total, _ = jax.lax.scan(step, total, family)
    return total


@jax.jit
def evaluate(shapes: tuple[Shape, ...], points: jax.Array) -> jax.Array:
    """Sum of the values at points (..., ndim). A point is inside if the line along x enters before and leaves after."""
    flat = points.reshape(-1, points.shape[-1]).T.astype(dtype_of(shapes, points))
    direction = jnp.zeros_like(flat).at[-1].set(1.0)

    def value(shape: Shape) -> jax.Array:
        enter, leave = shape.interval(flat, direction)
        return shape.value * ((enter <= 0) & (leave > 0))

    return sum_over(shapes, value, jnp.zeros(flat.shape[1], flat.dtype)).reshape(points.shape[:-1])


def _families(shapes: Sequence[Shape]) -> list[Shape]:
    """Shapes of one structure joined into a family."""
    kinds: dict[Any, list[Shape]] = {}
    for shape in shapes:
        family = shape if shape.num_shapes is not None else jax.tree.map(lambda x: x[None], shape)
        kinds.setdefault(jax.tree.structure(family), []).append(family)
    return [jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *members) for members in kinds.values()]
