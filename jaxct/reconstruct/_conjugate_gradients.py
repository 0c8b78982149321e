"""Conjugate gradients for the inner problems of other algorithms."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from jaxct._arithmetic import ratio


def conjugate_gradients(
    matvec: Callable[[Array], Array], target: Array, *, num_iters: int, start: Array | None = None
) -> Array:
    """``matvec^-1 target``, nearly, for a positive definite ``matvec``; from zero without a start.

    Where the residual is no larger than rounding makes it the iterate stays, and derivatives stay finite.
    """
    rounding = jnp.finfo(target.dtype).eps ** 2 * jnp.vdot(target, target)
    residual = target if start is None else target - matvec(start)

    def advance(carry: tuple[Array, Array, Array, Array], _: None) -> tuple[tuple[Array, Array, Array, Array], None]:
        x, residual, direction, gamma = carry
        image = matvec(direction)
        arrived = gamma <= rounding
        alpha = jnp.where(arrived, 0, ratio(jnp.where(arrived, 0, gamma), jnp.vdot(direction, image)))
        residual = residual - alpha * image
        new = jnp.vdot(residual, residual)
        beta = ratio(new, jnp.where(arrived, 0, gamma))
        return (x + alpha * direction, residual, residual + beta * direction, new), None

    carry = (jnp.zeros_like(target) if start is None else start, residual, residual, jnp.vdot(residual, residual))
    return jax.lax.scan(advance, carry, length=num_iters)[0][0]
