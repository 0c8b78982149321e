"""What optimisers of optax that search along a line know from one step to the next."""

from collections.abc import Callable
from typing import Any

import jax
import optax
from jax import Array


def evaluated(objective: Callable[[Any], Array], at: Any, optimizer: Any, *, exact: bool) -> tuple[Array, Any]:
    """Objective and gradient, from the optimiser's state if they are there and are those of this objective."""
    if exact and keeps_value(optimizer):
        return optax.value_and_grad_from_state(objective)(at, state=optimizer)
    return jax.value_and_grad(objective)(at)


def keeps_value(optimizer: Any) -> bool:
    """Whether a state has the objective's value and gradient where the last step led to."""
    return all(optax.tree_utils.tree_get(optimizer, name, None) is not None for name in ("value", "grad"))


def keeps_differences(optimizer: Any) -> bool:
    """Whether a state has differences of gradients, as L-BFGS's: it is worth nothing to another objective."""
    return optax.tree_utils.tree_get(optimizer, "diff_updates_memory", None) is not None
