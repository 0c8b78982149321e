"""Block-sequential regularised expectation maximisation: ordered subsets with a prior, relaxed so that they arrive."""

from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxct._arithmetic import ratio, reciprocal
from jaxct._emission import first_image
from jaxct.geometry import _validate
from jaxct.reconstruct._checks import check_nonnegative, check_positive
from jaxct.reconstruct._poisson import (
    check_any_prior,
    check_counts_by_subsets,
    check_sensitivity,
    likelihood_of,
    penalty_of,
)
from jaxct.reconstruct._subset_sums import kept_sums, sums_of
from jaxct.reconstruct.run import LoopOptions, Result, iterate
from jaxct.reconstruct.subsets import Subsets, ViewOperator

LEAST = 1e-6
"""Of the uniform image: where a step that leads below zero ends, so that the next one can lead back."""


class BSREMState(NamedTuple):
    """State of :func:`bsrem`: iterate, passes done, key of the random orders to come."""

    volume: Array
    passes: Array
    key: Array


class _Operands(NamedTuple):
    A: Any
    data: Array
    background: Array | None
    sensitivity: Array
    sums: Array | None
    given: Array | None
    upper: Array
    least: Array
    prior: Any
    curvature: Array
    relaxation: Array
    decay: Array
    subsets: Subsets


def bsrem(
    A: ViewOperator,  # noqa: N803
    data: ArrayLike,
    *,
    num_iters: int,
    num_subsets: int,
    prior: Callable[[Array], Array] | None = None,
    curvature: ArrayLike = 0.0,
    relaxation: ArrayLike = 1.0,
    decay: ArrayLike = 0.1,
    init: ArrayLike | None = None,
    background: ArrayLike | None = None,
    sensitivity: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    order: str = "herman_meyer",
    key: Array | None = None,
    **loop: Unpack[LoopOptions],
) -> Result:
    r"""Maximise the log-likelihood of ``data ~ Poisson(A x + background)`` less ``prior(x)`` over ``0 <= x <= U``.

    For each of S subsets s of the views in turn, with its rows A_s, data y_s and background, in pass n = 0, 1, ...

        x <- P(x + a_n D(x) (S A_s^T (y_s / (A_s x + background_s) - 1) - grad prior(x)))
        a_n = relaxation / (1 + decay n),    D(x) = min(x, U - x) / (A^T 1 + curvature x)

    where P ends a step that leads below 0 just above it, and one above U just below. It is OSEM for a_n = 1 where
    subsets see alike and there is no prior; but the steps become shorter, their sum not finite and that of their
    squares finite, so that for a concave objective it converges to the maximum and not to a cycle about it. (In this
    form, with U, by Ahn and Fessler's proof.) Any prior with a gradient will do, as relative differences.

    By default U is ``sum(y) / s`` for each voxel, a bound of the maximum: at it ``<s, x> <= sum(y)`` for any convex
    prior that is least for x = 0.

    One application of A and of its transpose and S gradients of the prior an iteration, and two of the transpose to
    start; above 8 subsets one more of the transpose an iteration.

    Args:
        A: a linear operator with weights that are not negative, a matched transpose and views to choose from, the
            leading axis of its data.
        data: counts, not negative, of shape ``A.out_shape``. They need not be whole numbers.
        num_iters: number of passes (static under ``jit``).
        num_subsets: S, from 1 to the number of views.
        prior: a differentiable function of the image with a scalar value, of strength and all; none if None.
        curvature: about the diagonal of the prior's Hessian, not negative, broadcasting to ``A.in_shape``: shortens
            steps where the prior is strong. 0 leaves the steps of OSEM, which a strong prior makes too long at first.
        relaxation: of the first pass, positive.
        decay: how soon the steps become shorter, positive.
        init: first iterate, not negative, of shape ``A.in_shape``; zeros are a mask and stay. The uniform image whose
            projections have the total of the data if None.
        background: what is expected besides the image (randoms and scatter), not negative, a scalar or an array that
            broadcasts to ``A.out_shape``; none if None.
        sensitivity: s of the whole scan, where the rays of A are events: see :func:`~jaxct.reconstruct.osem`.
        upper: U, positive, a scalar or an array that broadcasts to ``A.in_shape``.
        order, key: of the subsets, as for :func:`~jaxct.reconstruct.osem`.
        loop: callback (with a :class:`BSREMState`), progress, stop, checkpoint: see
            :class:`~jaxct.reconstruct.LoopOptions`. A checkpoint knows the run it belongs to by arrays, not by
            functions such as the prior.

    Returns:
        ``Result(volume, history)``; the history has ``log_likelihood`` and ``objective``, which is that less the prior,
        summed over the subsets as each found its own part before its step.

    Raises:
        ValueError: where a shape does not fit the operator, for a negative number of iterations, a number of subsets
            that there cannot be, an unknown order, for counts, an initial image, a background, a sensitivity or a
            curvature that are negative, a relaxation, a decay or a bound that are not positive. Values that are traced
            are not looked at.
        TypeError: for values that are not real numbers; an operator without views; a key that is none.

    References:
        S. Ahn and J. A. Fessler, "Globally convergent image reconstruction for emission tomography using relaxed
        ordered subsets algorithms", IEEE Trans. Med. Imaging 22 (2003) 613-626; A. R. De Pierro and M. E. B. Yamagishi,
        "Fast EM-like methods for maximum a posteriori estimates in emission tomography", IEEE Trans. Med. Imaging 20
        (2001) 280-288.
    """
    checked = check_counts_by_subsets(A, data, init, background, num_subsets, order, key)
    data, init, background, subsets, key = checked
    shape, dtype = tuple(A.in_shape), data.dtype
    penalty, bend = check_any_prior(A, prior, curvature, dtype)
    given = check_sensitivity(A, sensitivity, dtype)
    first, shorter = check_positive("relaxation", relaxation, dtype), check_positive("decay", decay, dtype)
    sums = A.T(jnp.ones(A.out_shape, dtype)) if given is None else given
    bound = jnp.sum(data) * reciprocal(sums) if upper is None else _upper(upper, shape, dtype)
    # Voxels of the mask, and those that nothing sees, are bound to zero.
    volume = first_image(data, init, sums)
    bound = jnp.where(volume > 0, bound, 0)
    least = jnp.minimum(LEAST * ratio(jnp.sum(data), jnp.sum(sums)), bound / 2)
    state = BSREMState(volume, jnp.zeros((), dtype), key)
    kept = kept_sums(A, subsets, dtype) if given is None else None
    operands = _Operands(A, data, background, sums, kept, given, bound, least, penalty, bend, first, shorter, subsets)
    label = "BSREM in random order" if subsets.random else "BSREM"
    state, history = iterate(_pass, state, operands, num_iters=num_iters, label=label, **loop)
    return Result(state.volume, history)


def _upper(value: ArrayLike, shape: tuple[int, ...], dtype: Any) -> Array:
    with jax.ensure_compile_time_eval():
        return check_nonnegative("upper", _validate.floats("upper", value, positive=True), shape, dtype)


def _pass(state: BSREMState, operands: _Operands) -> tuple[BSREMState, dict[str, Array]]:
    key, now = jax.random.split(state.key)
    length = operands.relaxation / (1 + operands.decay * state.passes)

    def step(volume: Array, index: Array) -> tuple[Array, tuple[Array, Array]]:
        slope, likelihood = _likelihood_slope(volume, index, operands)
        penalty, prior_slope = penalty_of(operands.prior, volume)
        count = operands.subsets.num_subsets
        room = jnp.maximum(jnp.minimum(volume, operands.upper - volume), 0)
        scale = ratio(room, operands.sensitivity + operands.curvature * volume)
        following = volume + length * scale * (count * slope - prior_slope)
        inside = jnp.where(following <= 0, operands.least, following)
        inside = jnp.where(following >= operands.upper, operands.upper - operands.least, inside)
        return inside, (likelihood, penalty / count)

    volume, (likelihoods, penalties) = jax.lax.scan(step, state.volume, operands.subsets.order(now))
    likelihood = jnp.sum(likelihoods)
    record = {"log_likelihood": likelihood, "objective": likelihood - jnp.sum(penalties)}
    return BSREMState(volume, state.passes + 1, key), record


def _likelihood_slope(volume: Array, index: Array, operands: _Operands) -> tuple[Array, Array]:
    """Gradient of a subset's part of the likelihood, and that part."""
    subsets, given = operands.subsets, operands.given
    part, counts = subsets.operator(operands.A, index), subsets.data(operands.data, index)
    expected = part(volume)
    if operands.background is not None:
        expected = expected + subsets.data(operands.background, index)
    if given is None:
        sensitivity = sums_of(part, operands.sums, index, counts.dtype)
    else:
        sensitivity = subsets.share(index).astype(counts.dtype) * given
    likelihood = likelihood_of(counts, expected, volume, None if given is None else sensitivity)
    return part.T(ratio(counts, expected)) - sensitivity, likelihood
