"""Conjugate gradients for least squares."""

from typing import Any, NamedTuple, Unpack

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxct._arithmetic import ratio
from jaxct.reconstruct.run import LinearOperator, LoopOptions, Result, check_data, iterate


class CGLSState(NamedTuple):
    """State of :func:`cgls`: iterate, residual ``data - A x``, search direction, squared norm of the gradient; the
    square of the largest ``|A p| / |p|`` seen, which estimates that of A's norm."""

    volume: Array
    residual: Array
    direction: Array
    gamma: Array
    squared_norm: Array


def cgls(
    A: LinearOperator,  # noqa: N803
    data: ArrayLike,
    *,
    num_iters: int,
    init: ArrayLike | None = None,
    damping: ArrayLike = 0.0,
    **loop: Unpack[LoopOptions],
) -> Result:
    r"""Minimise ``|A x - data|^2 + damping^2 |x|^2`` by conjugate gradients on the normal equations, never formed.

    In exact arithmetic iterate k minimises the objective over the Krylov space
    ``init + span{(A^T A)^j A^T (data - A init), j < k}``, so that the residual falls monotonically, and stopping early
    regularises. Where the gradient is no larger than rounding makes it, ``eps |A| |data|``, the iterate stays. One
    application of A and of its transpose an iteration, and one of each to start.

    Args:
        A: a linear operator with a matched transpose, such as :class:`jaxct.Projector`.
        data: of shape ``A.out_shape``.
        num_iters: number of iterations (static under ``jit``).
        init: first iterate, of shape ``A.in_shape``; zero if None.
        damping: Tikhonov weight.
        loop: callback (with a :class:`CGLSState`), progress, stop, checkpoint: see
            :class:`~jaxct.reconstruct.LoopOptions`.

    Returns:
        ``Result(volume, history)``; the history has ``residual_norm`` = ``|data - A x|`` (by the recurrence) and
        ``gradient_norm`` = ``|A^T (data - A x) - damping^2 x|`` after each iteration.

    Raises:
        ValueError: where a shape does not fit the operator, or for a negative number of iterations.
        TypeError: for complex values.

    References:
        M. R. Hestenes and E. Stiefel, "Methods of conjugate gradients for solving linear systems", J. Res. Nat. Bur.
        Standards 49 (1952) 409-436, section 10; A. Bjorck, "Numerical Methods for Least Squares Problems", SIAM 1996,
        algorithm 7.4.1.
    """
    data, init = check_data(A, data, init)
    damping = jnp.asarray(damping, data.dtype)
    state = _start(A, data, init, damping)
    rounding = jnp.finfo(data.dtype).eps ** 2 * _square(data)
    state, history = iterate(_step, state, (A, damping, rounding), num_iters=num_iters, label="CGLS", **loop)
    return Result(state.volume, history)


def _start(A: LinearOperator, data: Array, init: Array | None, damping: Array) -> CGLSState:  # noqa: N803
    if init is None:
        volume, residual = jnp.zeros(A.in_shape, data.dtype), data
    else:
        volume, residual = init, data - A(init)
    gradient = A.T(residual) - damping**2 * volume
    return CGLSState(volume, residual, gradient, _square(gradient), jnp.zeros((), data.dtype))


def _step(state: CGLSState, operands: tuple[Any, Array, Array]) -> tuple[CGLSState, dict[str, Array]]:
    A, damping, rounding = operands  # noqa: N806
    projected, length = A(state.direction), _square(state.direction)
    curvature = _square(projected) + damping**2 * length
    squared_norm = jnp.maximum(state.squared_norm, ratio(curvature, length))
    # A gradient that is all rounding leads nowhere or, over many iterations, far away. (NaN goes on being NaN.)
    alpha = jnp.where(state.gamma <= rounding * squared_norm, 0, ratio(state.gamma, curvature))
    volume = state.volume + alpha * state.direction
    residual = state.residual - alpha * projected
    gradient = A.T(residual) - damping**2 * volume
    gamma = _square(gradient)
    direction = gradient + ratio(gamma, state.gamma) * state.direction
    record = {"residual_norm": jnp.sqrt(_square(residual)), "gradient_norm": jnp.sqrt(gamma)}
    return CGLSState(volume, residual, direction, gamma, squared_norm), record


def _square(x: Array) -> Array:
    return jnp.vdot(x, x)
