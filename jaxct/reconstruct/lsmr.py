"""LSMR: least squares by bidiagonalisation, with the smallest gradient."""

from typing import NamedTuple, Unpack

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxct._arithmetic import ratio, root
from jaxct.reconstruct._bidiagonal import Bidiagonal, Damped, advance, least_squares, rotation, unless
from jaxct.reconstruct.run import LinearOperator, LoopOptions, Result, iterate


class ResidualNorm(NamedTuple):
    """What the norm of LSMR's residual is computed from, in the letters of Fong and Saunders: two right sides (with
    two dots and with one), the diagonal with a dot, the off-diagonal with a tilde, and tau with a tilde."""

    beta_dots: Array
    beta_dot: Array
    rho_dot: Array
    theta_tilde: Array
    tau_tilde: Array


class LSMRState(NamedTuple):
    """State of :func:`lsmr`: iterate, bidiagonalisation, the two search directions h and h with a bar; the scalars of
    the two QR factorisations in the letters of Fong and Saunders; the largest ``|A v| / |v|`` seen, which estimates
    A's norm; what the norm of the residual is computed from."""

    volume: Array
    bidiagonal: Bidiagonal
    direction: Array
    direction_bar: Array
    alpha_bar: Array
    rho: Array
    rho_bar: Array
    c_bar: Array
    s_bar: Array
    zeta: Array
    zeta_bar: Array
    norm: Array
    residual: ResidualNorm


def lsmr(
    A: LinearOperator,  # noqa: N803
    data: ArrayLike,
    *,
    num_iters: int,
    init: ArrayLike | None = None,
    damping: ArrayLike = 0.0,
    **loop: Unpack[LoopOptions],
) -> Result:
    r"""Minimise ``|A x - data|^2 + damping^2 |x|^2`` by Fong and Saunders' LSMR.

    Of all x in ``init + span{(A^T A)^j A^T (data - A init), j < k}`` iterate k has the smallest gradient
    ``|A^T (data - A x) - damping^2 x|``, which falls monotonically; so does the residual, which is hardly above that of
    :func:`~jaxct.reconstruct.lsqr`. An early stop is safer here: the gradient is what tells how far the solution is.
    Where it is no larger than rounding makes it, ``eps |A| |data|``, everything stays as it is. One application of A
    and of its transpose an iteration, and one of each to start. Damping costs the memory of one more volume.

    Args:
        A: a linear operator with a matched transpose, such as :class:`jaxct.Projector`.
        data: of shape ``A.out_shape``.
        num_iters: number of iterations (static under ``jit``).
        init: first iterate, of shape ``A.in_shape``; zero if None. The damping pulls towards zero whatever it is.
        damping: Tikhonov weight.
        loop: callback (with an :class:`LSMRState`), progress, stop, checkpoint: see
            :class:`~jaxct.reconstruct.LoopOptions`.

    Returns:
        ``Result(volume, history)``; the history has ``residual_norm`` = ``|data - A x|`` and ``gradient_norm`` =
        ``|A^T (data - A x) - damping^2 x|`` after each iteration, both by the recurrences.

    Raises:
        ValueError: where a shape does not fit the operator, for a negative number of iterations, a damping that is no
            finite scalar.
        TypeError: for values that are not real numbers.

    References:
        D. C.-L. Fong and M. Saunders, "LSMR: An iterative algorithm for sparse least-squares problems", SIAM J. Sci.
        Comput. 33 (2011) 2950-2971.
    """
    problem = least_squares(A, data, init, damping)
    first = problem.first
    zero = jnp.zeros_like(first.alpha)
    one = jnp.ones_like(zero)
    state = LSMRState(
        volume=problem.volume,
        bidiagonal=first,
        direction=first.v,
        direction_bar=jnp.zeros_like(first.v),
        alpha_bar=first.alpha,
        rho=one,
        rho_bar=one,
        c_bar=one,
        s_bar=zero,
        zeta=zero,
        zeta_bar=first.alpha * first.beta,
        norm=first.alpha,
        residual=ResidualNorm(first.beta, zero, one, zero, zero),
    )
    operands = (problem.operator, problem.rounding)
    state, history = iterate(_step, state, operands, num_iters=num_iters, label="LSMR", **loop)
    return Result(state.volume, history)


def _step(state: LSMRState, operands: tuple[Damped, Array]) -> tuple[LSMRState, dict[str, Array]]:
    operator, rounding = operands
    last, here = state.bidiagonal, advance(operator, state.bidiagonal)
    norm = jnp.maximum(state.norm, root(last.alpha**2 + here.beta**2))
    arrived = jnp.abs(state.zeta_bar) <= rounding * norm  # NaN goes on being NaN

    # The bidiagonal matrix is made upper triangular, R, and R's transpose then upper triangular too, R bar.
    c, s, rho = rotation(state.alpha_bar, here.beta)
    theta = s * here.alpha
    theta_bar = state.s_bar * rho
    c_bar, s_bar, rho_bar = rotation(state.c_bar * rho, theta)
    zeta = c_bar * state.zeta_bar
    direction_bar = state.direction - ratio(theta_bar * rho, state.rho * state.rho_bar) * state.direction_bar

    following = LSMRState(
        volume=state.volume + ratio(zeta, rho * rho_bar) * direction_bar,
        bidiagonal=here,
        direction=here.v - ratio(theta, rho) * state.direction,
        direction_bar=direction_bar,
        alpha_bar=c * here.alpha,
        rho=rho,
        rho_bar=rho_bar,
        c_bar=c_bar,
        s_bar=s_bar,
        zeta=zeta,
        zeta_bar=-s_bar * state.zeta_bar,
        norm=norm,
        residual=_next(state, c, s, theta_bar, rho_bar),
    )
    state = unless(arrived, state, following)
    record = {
        "residual_norm": operator.residual_norm(_norm(state), state.volume),
        "gradient_norm": jnp.abs(state.zeta_bar),
    }
    return state, record


def _next(state: LSMRState, c: Array, s: Array, theta_bar: Array, rho_bar: Array) -> ResidualNorm:
    """By a third rotation, of the two columns of R bar that are not final yet."""
    r = state.residual
    c_tilde, s_tilde, rho_tilde = rotation(r.rho_dot, theta_bar)
    return ResidualNorm(
        beta_dots=-s * r.beta_dots,
        beta_dot=c_tilde * c * r.beta_dots - s_tilde * r.beta_dot,
        rho_dot=c_tilde * rho_bar,
        theta_tilde=s_tilde * rho_bar,
        tau_tilde=ratio(state.zeta - r.theta_tilde * r.tau_tilde, rho_tilde),
    )


def _norm(state: LSMRState) -> Array:
    """Of the residual, damping included."""
    r = state.residual
    tau_dot = ratio(state.zeta - r.theta_tilde * r.tau_tilde, r.rho_dot)
    return root((r.beta_dot - tau_dot) ** 2 + r.beta_dots**2)
