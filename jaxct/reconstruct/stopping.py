"""Rules that end an iteration early: functions of the state before a step, the state after it, and its record.

They keep nothing themselves, so that a run which goes on from a checkpoint stops where it would have stopped anyway.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxct.geometry import _validate
from jaxct.reconstruct.run import Stop


def discrepancy(noise_norm: float, *, factor: float = 1.0, quantity: str = "residual_norm") -> Stop:
    """Stop once the residual is no larger than the noise: Morozov's discrepancy principle.

    Args:
        noise_norm: expected norm of the noise in the data, in the norm of the recorded quantity: of Gaussian noise
            ``sigma * sqrt(number of rays)``.
        factor: stop at ``factor * noise_norm``; a little above 1 is usual.
        quantity: the recorded quantity that is looked at.

    Raises:
        ValueError: for a norm that is not positive, or (when the run starts) a quantity that the algorithm does not
            record.

    References:
        V. A. Morozov, "On the solution of functional equations by the method of regularization", Soviet Math. Dokl. 7
        (1966) 414-417.
    """
    with jax.ensure_compile_time_eval():  # inside jit, too, so that the run can say what it needs there
        level = float(_validate.scalar("factor", factor, positive=True) * _validate.scalar("noise_norm", noise_norm))
    if level <= 0:
        raise ValueError(f"noise_norm must be positive, got {noise_norm!r}")

    def stop(previous: Any, state: Any, record: dict[str, float]) -> bool:
        if quantity not in record:
            raise ValueError(f"quantity must be one that is recorded, {', '.join(record)}, got {quantity!r}")
        return record[quantity] <= level

    return stop


def relative_change(tolerance: float) -> Stop:
    """Stop once a step changes the volume (an array or a pytree of them) by no more than ``tolerance`` times its norm.

    Raises:
        ValueError: for a tolerance that is not positive.
    """
    with jax.ensure_compile_time_eval():
        limit = float(_validate.scalar("tolerance", tolerance, positive=True))
    return lambda previous, state, record: bool(_change(previous.volume, state.volume) <= limit)


@jax.jit
def _change(before: Any, after: Any) -> jax.Array:
    norm = _norm(after)
    return _norm(jax.tree.map(jnp.subtract, after, before)) / jnp.where(norm > 0, norm, 1)


def _norm(tree: Any) -> jax.Array:
    return jnp.linalg.norm(jnp.stack([jnp.linalg.norm(leaf.ravel()) for leaf in jax.tree.leaves(tree)]))


def any_of(*rules: Stop) -> Stop:
    """Stop as soon as one of several rules says so."""
    return lambda previous, state, record: any(rule(previous, state, record) for rule in rules)


def not_finite(previous: Any, state: Any, record: dict[str, float]) -> bool:
    """Stop when something recorded is no longer a number."""
    return not np.isfinite(list(record.values())).all()
