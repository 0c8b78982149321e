"""Networks for tests: parameters without compiling, which takes longer than the tests themselves."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from tests.operators import random


def filled(make: Callable[..., nnx.Module], *args: Any, **options: Any) -> Any:
    """A module with parameters of either sign, nowhere zero; as if trained."""
    graphdef, state = nnx.split(nnx.eval_shape(lambda: make(*args, **options)))
    leaves, structure = jax.tree.flatten(state)
    numbers = [0.5 * random(i, leaf.shape, leaf.dtype) for i, leaf in enumerate(leaves)]
    return nnx.merge(graphdef, jax.tree.unflatten(structure, numbers))


class TwoConvolutions(nnx.Module):
    """The smallest network for the deep image prior: nothing negative, any size, 2-D or 3-D."""

    def __init__(self, ndim: int = 2, in_channels: int = 2, features: int = 4):
        self.in_channels = in_channels
        conv = lambda *channels: nnx.Conv(*channels, (3,) * ndim, rngs=nnx.Rngs(0))  # noqa: E731
        self.first, self.last = conv(in_channels, features), conv(features, 1)

    def __call__(self, x: jax.Array) -> jax.Array:
        return nnx.softplus(self.last(jnp.tanh(self.first(x))))
