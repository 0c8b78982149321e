"""What unrolled networks share: steps with weights of their own, in one loop, recomputed for the gradient."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

Step = TypeVar("Step", bound=nnx.Module)
Policy = Callable[..., bool]


def stack(make: Callable[[], Step], count: int) -> Step:
    """``count`` modules made one after the other as one, whose parameters have a leading axis."""
    graphdefs, states = zip(*(nnx.split(make()) for _ in range(count)), strict=True)
    return nnx.merge(graphdefs[0], jax.tree.map(lambda *leaves: jnp.stack(leaves), *states))


def unroll(
    steps: Step,
    function: Callable[[Step, Any], Any],
    carry: Any,
    *,
    num_shared: int | None,
    remat: bool,
    policy: Policy | None,
) -> Any:
    """``carry <- function(step, carry)`` for each of the stacked steps, or ``num_shared`` times with the one there is.

    A scan: the program does not grow with the steps. With ``remat`` the gradient keeps what goes from step to step, and
    what the policy says, and computes the rest of a step again when its turn comes.
    """
    graphdef, state = nnx.split(steps)

    def body(carry, state):
        return function(nnx.merge(graphdef, state), carry), None

    if remat:
        # In a scan nothing can be merged with its repetition, so that no barrier against that is needed.
        body = jax.checkpoint(body, policy=policy, prevent_cse=False)
    if num_shared is not None:
        return jax.lax.scan(lambda carry, _: body(carry, state), carry, length=num_shared)[0]
    return jax.lax.scan(body, carry, state)[0]


def check_scan(A: Any, data: ArrayLike, x: ArrayLike | None, ndim: int) -> tuple[jax.Array, jax.Array]:  # noqa: N803
    """Data and image (zero if None) as arrays of one float type, checked against the operator."""
    data = jnp.asarray(data)
    shape, out_shape = tuple(A.in_shape), tuple(A.out_shape)
    if len(shape) != ndim:
        raise ValueError(f"A must act on images of {ndim} axes, got one for images of shape {shape}")
    if data.shape != out_shape:
        raise ValueError(f"data must have the operator's shape {out_shape}, got {data.shape}; batches are jax.vmap's")
    dtype = jnp.promote_types(data.dtype, jnp.float32)
    x = jnp.zeros(shape, dtype) if x is None else jnp.asarray(x, dtype)
    if x.shape != shape:
        raise ValueError(f"x must have the operator's shape {shape}, got {x.shape}; batches are jax.vmap's")
    return data.astype(dtype), x
