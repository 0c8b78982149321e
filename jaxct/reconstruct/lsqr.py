"""LSQR: least squares by bidiagonalisation."""

from typing import NamedTuple, Unpack

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxct._arithmetic import ratio, root
from jaxct.reconstruct._bidiagonal import Bidiagonal, Damped, advance, least_squares, rotation, unless
from jaxct.reconstruct.run import LinearOperator, LoopOptions, Result, iterate


class LSQRState(NamedTuple):
    """State of :func:`lsqr`: iterate, bidiagonalisation, search direction; the last diagonal entry and the last right
    side of the triangular system, in the letters of Paige and Saunders; the largest ``|A v| / |v|`` seen, which
    estimates A's norm."""

    volume: Array
    bidiagonal: Bidiagonal
    direction: Array
    rho_bar: Array
    phi_bar: Array
    norm: Array


def lsqr(
    A: LinearOperator,  # noqa: N803
    data: ArrayLike,
    *,
    num_iters: int,
    init: ArrayLike | None = None,
    damping: ArrayLike = 0.0,
    **loop: Unpack[LoopOptions],
) -> Result:
    r"""Minimise ``|A x - data|^2 + damping^2 |x|^2`` by Paige and Saunders' LSQR.

    In exact arithmetic the iterates are those of :func:`~jaxct.reconstruct.cgls`: iterate k is the best in
    ``init + span{(A^T A)^j A^T (data - A init), j < k}``, and the residual falls monotonically. Its authors found it
    the more reliable of the two where A is ill-conditioned. Where the gradient is no larger than rounding makes it,
    ``eps |A| |data|``, everything stays as it is. One application of A and of its transpose an iteration, and one of
    each to start. Damping costs the memory of one more volume.

    Args:
        A: a linear operator with a matched transpose, such as :class:`jaxct.Projector`.
        data: of shape ``A.out_shape``.
        num_iters: number of iterations (static under ``jit``).
        init: first iterate, of shape ``A.in_shape``; zero if None. The damping pulls towards zero whatever it is.
        damping: Tikhonov weight.
        loop: callback (with an :class:`LSQRState`), progress, stop, checkpoint: see
            :class:`~jaxct.reconstruct.LoopOptions`.

    Returns:
        ``Result(volume, history)``; the history has ``residual_norm`` = ``|data - A x|`` and ``gradient_norm`` =
        ``|A^T (data - A x) - damping^2 x|`` after each iteration, both by the recurrences.

    Raises:
        ValueError: where a shape does not fit the operator, for a negative number of iterations, a damping that is no
            finite scalar.
        TypeError: for values that are not real numbers.

    References:
        C. C. Paige and M. A. Saunders, "LSQR: An algorithm for sparse linear equations and sparse least squares", ACM
        Trans. Math. Softw. 8 (1982) 43-71.
    """
    problem = least_squares(A, data, init, damping)
    first = problem.first
    state = LSQRState(problem.volume, first, first.v, first.alpha, first.beta, first.alpha)
    operands = (problem.operator, problem.rounding)
    state, history = iterate(_step, state, operands, num_iters=num_iters, label="LSQR", **loop)
    return Result(state.volume, history)


def _step(state: LSQRState, operands: tuple[Damped, Array]) -> tuple[LSQRState, dict[str, Array]]:
    operator, rounding = operands
    last, here = state.bidiagonal, advance(operator, state.bidiagonal)
    norm = jnp.maximum(state.norm, root(last.alpha**2 + here.beta**2))
    arrived = state.phi_bar * jnp.abs(state.rho_bar) <= rounding * norm  # NaN goes on being NaN
    c, s, rho = rotation(state.rho_bar, here.beta)
    volume = state.volume + ratio(c * state.phi_bar, rho) * state.direction
    direction = here.v - ratio(s * here.alpha, rho) * state.direction
    following = LSQRState(volume, here, direction, -c * here.alpha, s * state.phi_bar, norm)
    state = unless(arrived, state, following)
    record = {
        "residual_norm": operator.residual_norm(state.phi_bar, state.volume),
        "gradient_norm": state.phi_bar * jnp.abs(state.rho_bar),
    }
    return state, record
