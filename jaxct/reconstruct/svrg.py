"""Stochastic variance-reduced gradients for counts, preconditioned as expectation maximisation is."""

from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxct._arithmetic import ratio
from jaxct._emission import first_image, unseen
from jaxct.geometry import _validate
from jaxct.reconstruct._checks import check_nonnegative, check_positive
from jaxct.reconstruct._poisson import check_any_prior, check_counts_by_subsets, log_likelihood, penalty_of
from jaxct.reconstruct.run import LoopOptions, Result, iterate
from jaxct.reconstruct.subsets import Subsets, ViewOperator

LEAST = 1e-6
"""Of the uniform image: added to the image in the preconditioner, so that what is zero can grow again."""


class SVRGState(NamedTuple):
    """State of :func:`svrg`: iterate; the one at which the gradients of all subsets were computed last; these, and
    their sum; passes done; key of the draws to come."""

    volume: Array
    anchor: Array
    slopes: Array
    slope: Array
    passes: Array
    key: Array


class _Operands(NamedTuple):
    A: Any
    data: Array
    background: Array | None
    sensitivity: Array
    prior: Any
    curvature: Array
    step: Array
    decay: Array
    refresh: Array
    least: Array
    subsets: Subsets


def svrg(
    A: ViewOperator,  # noqa: N803
    data: ArrayLike,
    *,
    num_iters: int,
    num_subsets: int,
    prior: Callable[[Array], Array] | None = None,
    curvature: ArrayLike = 0.0,
    step: ArrayLike = 1.0,
    decay: ArrayLike = 0.0,
    refresh: int = 2,
    init: ArrayLike | None = None,
    background: ArrayLike | None = None,
    key: Array | None = None,
    **loop: Unpack[LoopOptions],
) -> Result:
    r"""Maximise the log-likelihood of ``data ~ Poisson(A x + background)`` less ``prior(x)`` over ``x >= 0``.

    Every ``refresh`` passes the gradients G_s of the likelihood of all S subsets are computed at the image z that has
    been reached. S times a pass a subset s is drawn, with the same probability for each, and, with g_s its gradient,

        x <- max(x + a D (S (g_s(x) - G_s) + sum_t G_t - grad prior(x)), 0),   D = w / (A^T 1 + curvature w)

    where ``g_s(x) = A_s^T (y_s / (A_s x + background_s) - 1)`` and w is the lesser of x and z in every voxel. With it
    no gradient gives a voxel more than S times all counts would, however little of them x or z explains; with z alone
    few counts without a background can end anywhere. On average the direction is that of the objective, and its
    variance goes with ``x - z``: so, other than those of OSEM, the iterates arrive with steps that need not become
    shorter. Any prior with a gradient will do, as relative differences.

    One application of A and of its transpose an iteration (on average, where subsets differ in size), one more of each
    in every one that refreshes, S gradients of the prior; to start one of the transpose. S images of gradients are
    kept.

    Args:
        A: a linear operator with weights that are not negative, a matched transpose and views to choose from, the
            leading axis of its data.
        data: counts, not negative, of shape ``A.out_shape``. They need not be whole numbers.
        num_iters: number of passes (static under ``jit``).
        num_subsets: S, from 1 to the number of views.
        prior: a differentiable function of the image with a scalar value, of strength and all; none if None.
        curvature: about the diagonal of the prior's Hessian, not negative, broadcasting to ``A.in_shape``: shortens
            steps where the prior is strong. 0 leaves the steps of OSEM, which a strong prior makes too long at first.
        step: a of the first pass, positive. With 1 a subset's own step is that of OSEM.
        decay: a is ``step / (1 + decay n)`` in pass n; 0 for steps of one length.
        refresh: passes from one computation of all gradients to the next (static).
        init: first iterate, not negative, of shape ``A.in_shape``; if None the uniform image whose projections have
            the total of the data.
        background: what is expected besides the image (randoms and scatter), not negative, a scalar or an array that
            broadcasts to ``A.out_shape``; none if None.
        key: a ``jax.random`` key for the draws; that of seed 0 if None.
        loop: callback (with a :class:`SVRGState`), progress, stop, checkpoint: see
            :class:`~jaxct.reconstruct.LoopOptions`. A checkpoint knows the run it belongs to by arrays, not by
            functions such as the prior.

    Returns:
        ``Result(volume, history)``; the history has ``objective``, an estimate: the likelihoods of the subsets that
        were drawn, each at the x of its step, less the prior averaged over these. (That of the last x would cost one
        more application of A.)

    Raises:
        ValueError: where a shape does not fit the operator, for a negative number of iterations, a number of subsets
            that there cannot be, for counts, an initial image, a background, a curvature or a decay that are negative,
            a step that is not positive. Values that are traced are not looked at.
        TypeError: for values that are not real numbers; an operator without views; a key that is none.

    References:
        R. Johnson and T. Zhang, "Accelerating stochastic gradient descent using predictive variance reduction", NIPS
        2013; R. Twyman, S. Arridge, Z. Kereta, B. Jin, L. Brusaferri, S. Ahn, C. W. Stearns, B. F. Hutton, I. A.
        Burger, F. Kotasidis and K. Thielemans, "An investigation of stochastic variance reduction algorithms for
        relative difference penalized 3D PET image reconstruction", IEEE Trans. Med. Imaging 42 (2023) 29-41.
    """
    checked = check_counts_by_subsets(A, data, init, background, num_subsets, "sequential", key)
    data, init, background, subsets, key = checked
    penalty, bend = check_any_prior(A, prior, curvature, data.dtype)
    length, refresh = check_positive("step", step, data.dtype), _validate.count("refresh", refresh)
    shorter = check_nonnegative("decay", decay, (), data.dtype)
    sums = A.T(jnp.ones(A.out_shape, data.dtype))
    volume = first_image(data, init, sums)
    least = LEAST * ratio(jnp.sum(data), jnp.sum(sums))
    operands = _Operands(
        A,
        data,
        background,
        jnp.where(unseen(sums), 0, sums),
        penalty,
        bend,
        length,
        shorter,
        jnp.asarray(refresh),
        least,
        subsets,
    )
    slopes = jnp.zeros((subsets.num_subsets, *A.in_shape), data.dtype)
    start = (volume, jnp.zeros_like(volume), slopes, jnp.zeros_like(volume), jnp.zeros((), data.dtype))
    state = SVRGState(*start, key)
    state, history = iterate(_pass, state, operands, num_iters=num_iters, label="SVRG", **loop)
    return Result(state.volume, history)


def _pass(state: SVRGState, operands: _Operands) -> tuple[SVRGState, dict[str, Array]]:
    count = operands.subsets.num_subsets
    due = state.passes % operands.refresh == 0
    state = jax.lax.cond(due, lambda s: _refreshed(s, operands), lambda s: s, state)
    key, now = jax.random.split(state.key)
    draws = jax.random.randint(now, (count,), 0, count, jnp.int32)  # the same draws in either precision
    length = operands.step / (1 + operands.decay * state.passes)

    def step(volume: Array, index: Array) -> tuple[Array, Array]:
        slope, likelihood = _subset_slope(volume, index, operands)
        penalty, prior_slope = penalty_of(operands.prior, volume)
        direction = count * (slope - state.slopes[index]) + state.slope - prior_slope
        following = jnp.maximum(volume + length * _scale(volume, state.anchor, operands) * direction, 0)
        return following, likelihood - penalty / count

    volume, objectives = jax.lax.scan(step, state.volume, draws)
    state = state._replace(volume=volume, passes=state.passes + 1, key=key)
    return state, {"objective": jnp.sum(objectives)}


def _refreshed(state: SVRGState, operands: _Operands) -> SVRGState:
    """With the gradients of all subsets at the image as it is."""
    numbers = jnp.arange(operands.subsets.num_subsets)
    _, slopes = jax.lax.scan(lambda _, i: ((), _subset_slope(state.volume, i, operands)[0]), (), numbers)
    return state._replace(anchor=state.volume, slopes=slopes, slope=jnp.sum(slopes, 0))


def _scale(volume: Array, anchor: Array, operands: _Operands) -> Array:
    """The preconditioner."""
    lesser = jnp.minimum(volume, anchor) + operands.least
    seen = jnp.where(operands.sensitivity > 0, lesser, 0)
    return ratio(seen, operands.sensitivity + operands.curvature * seen)


def _subset_slope(volume: Array, index: Array, operands: _Operands) -> tuple[Array, Array]:
    """Gradient of a subset's part of the likelihood, and that part."""
    subsets = operands.subsets
    part, counts = subsets.operator(operands.A, index), subsets.data(operands.data, index)
    expected = part(volume)
    if operands.background is not None:
        expected = expected + subsets.data(operands.background, index)
    return part.T(ratio(counts, expected) - 1), log_likelihood(counts, expected)
