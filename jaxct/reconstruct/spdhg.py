"""The stochastic primal-dual hybrid gradient method: PDHG whose steps see one subset of the views, drawn at random."""

from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.reconstruct._checks import check_bounds, check_key, check_nonnegative, check_views
from jaxct.reconstruct.pdhg import Steps, check_fit_data, data_fit, dual_steps, gradient_steps
from jaxct.reconstruct.proximal import (
    DataFit,
    Field,
    box,
    field_norm,
    gradient,
    project_dual_ball,
    transposed_gradient,
)
from jaxct.reconstruct.run import LoopOptions, Result, iterate
from jaxct.reconstruct.subsets import Subsets, ViewOperator, ordered_subsets


class SPDHGState(NamedTuple):
    """State of :func:`spdhg`: iterate; the dual variables y and p of the rays and of the gradient; ``A^T y + D^T p``
    and its extrapolation; the key of the draws to come."""

    volume: Array
    dual: Array
    dual_gradient: Field
    adjoint: Array
    extrapolated: Array
    key: Array


class _Operands(NamedTuple):
    A: Any
    fit: DataFit
    tv_weight: Array
    spacing: Array
    steps: Steps
    subsets: Subsets
    lower: Array | None
    upper: Array | None


def spdhg(
    A: ViewOperator,  # noqa: N803
    data: ArrayLike,
    *,
    num_iters: int,
    num_subsets: int,
    tv_weight: ArrayLike,
    init: ArrayLike | None = None,
    fit: str = "least_squares",
    weights: ArrayLike | None = None,
    background: ArrayLike | None = None,
    spacing: ArrayLike = 1.0,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    step_ratio: ArrayLike = 1.0,
    key: Array | None = None,
    **loop: Unpack[LoopOptions],
) -> Result:
    r"""Minimise ``f(A x) + tv_weight TV(x)`` within bounds, as :func:`~jaxct.reconstruct.pdhg`, by subsets of views.

    The dual variable of one subset s at a time, drawn with the same probability 1 / n for each, is updated, and that of
    the gradient every time::

        x' = clip(x - T z, lower, upper)
        y_s' = prox_{S f_s*}(y_s + S A_s x')
        p' = p + s D x', shortened to tv_weight where it is longer
        z = A^T y' + D^T p' + n A_s^T (y_s' - y_s) + D^T (p' - p)

    ``A^T y + D^T p`` is kept and updated. S and s are those of pdhg, and ``1 / T = n max_s A_s^T (S A_s 1) + beta``: n
    steps, the pass that counts as one iteration, go about as far as n iterations of pdhg for the price of one. Other
    than where each step knows its subset alone, the iterates converge, almost surely, to a minimiser for all data.
    Draws are independent of each other, so that a pass may leave out some views and take others twice.

    One application of A and of its transpose an iteration (on average, where subsets differ in size), and n steps of
    total variation; to start one of A and two of its transpose, one more of A where ``init`` is given.

    Args:
        A: a linear operator with weights that are not negative, a matched transpose and views to choose from, such as
            :class:`jaxct.Projector`.
        data: of shape ``A.out_shape``, views first.
        num_iters: number of passes (static under ``jit``).
        num_subsets: n, from 1 to the number of views.
        tv_weight, init, fit, weights, background, spacing, lower, upper, step_ratio: as for
            :func:`~jaxct.reconstruct.pdhg`.
        key: a ``jax.random`` key for the draws; that of seed 0 if None.
        loop: callback (with a :class:`SPDHGState`), progress, stop, checkpoint: see
            :class:`~jaxct.reconstruct.LoopOptions`.

    Returns:
        ``Result(volume, history)``; the history has ``objective``, an estimate: the fits of the subsets that were
        drawn, each at the x of its step, and the total variation of the last x. (The fit of the last x to all data
        would cost one more application of A.)

    Raises:
        ValueError, TypeError: as :func:`~jaxct.reconstruct.pdhg`; a number of subsets that there cannot be, an operator
            without views, a key that is none.

    References:
        A. Chambolle, M. J. Ehrhardt, P. Richtarik and C.-B. Schonlieb, "Stochastic primal-dual hybrid gradient
        algorithm with arbitrary sampling and imaging applications", SIAM J. Optim. 28 (2018) 2783-2808; M. J. Ehrhardt,
        P. Markiewicz and C.-B. Schonlieb, "Faster PET reconstruction with non-smooth priors by randomization and
        preconditioning", Phys. Med. Biol. 64 (2019) 225019.
    """
    subsets = ordered_subsets(check_views(A), num_subsets, order="sequential")
    key = check_key(key)
    data, init = check_fit_data(A, data, init, fit)
    lower, upper = check_bounds(lower, upper, tuple(A.in_shape), data.dtype)
    tv_weight = check_nonnegative("tv_weight", tv_weight, (), data.dtype)
    spacing = _validate.per_axis("spacing", spacing, len(A.in_shape), positive=True).astype(data.dtype)
    step_ratio = _validate.scalar("step_ratio", step_ratio, positive=True).astype(data.dtype)
    ray_sums = A(jnp.ones(A.in_shape, data.dtype))
    term = data_fit(A, data, ray_sums, fit=fit, weights=weights, background=background)
    steps = _step_sizes(A, term, ray_sums, spacing, step_ratio, subsets)
    state = _start(A, init, term, steps, spacing, tv_weight, jax.random.key(0) if key is None else key)
    operands = _Operands(A, term, tv_weight, spacing, steps, subsets, lower, upper)
    state, history = iterate(_pass, state, operands, num_iters=num_iters, label="SPDHG", **loop)
    return Result(state.volume, history)


def _step_sizes(
    A: ViewOperator,  # noqa: N803
    fit: DataFit,
    ray_sums: Array,
    spacing: Array,
    step_ratio: Array,
    subsets: Subsets,
) -> Steps:
    dual = dual_steps(fit, ray_sums, step_ratio)

    sums = jnp.zeros(A.in_shape, dual.dtype)
    # Not a loop of jax: outside of jit that would be compiled anew in every call.
    for index in range(subsets.num_subsets):
        part = subsets.operator(A, index)
        sums = jnp.maximum(sums, part.T(subsets.data(dual * ray_sums, index)))
    return gradient_steps(dual, subsets.num_subsets * sums, spacing)


def _start(
    A: ViewOperator,  # noqa: N803
    init: Array | None,
    fit: DataFit,
    steps: Steps,
    spacing: Array,
    tv_weight: Array,
    key: Array,
) -> SPDHGState:
    """As after one step of all dual variables from zero."""
    volume = jnp.zeros(A.in_shape, fit.data.dtype) if init is None else init
    projections = jnp.zeros_like(fit.data) if init is None else A(init)
    dual = fit.prox_conjugate(steps.dual * projections, steps.dual)
    slopes = tuple(steps.dual_gradient * slope for slope in gradient(volume, spacing))
    field = project_dual_ball(slopes, tv_weight)
    adjoint = A.T(dual) + transposed_gradient(field, spacing)
    return SPDHGState(volume, dual, field, adjoint, adjoint, key)


def _pass(state: SPDHGState, operands: _Operands) -> tuple[SPDHGState, dict[str, Array]]:
    count = operands.subsets.num_subsets
    key, now = jax.random.split(state.key)
    draws = jax.random.randint(now, (count,), 0, count, jnp.int32)  # the same draws in either precision
    state, fits = jax.lax.scan(lambda s, index: _step(s, index, operands), state, draws)
    variation = operands.tv_weight * field_norm(gradient(state.volume, operands.spacing))
    return state._replace(key=key), {"objective": jnp.sum(fits) + variation}


def _step(state: SPDHGState, index: Array, operands: _Operands) -> tuple[SPDHGState, Array]:
    A, fit, tv_weight, spacing, steps, subsets, lower, upper = operands  # noqa: N806
    volume = box(state.volume - steps.volume * state.extrapolated, lower, upper)

    part, own = subsets.operator(A, index), _restricted(fit, subsets, index)
    projections, step = part(volume), subsets.data(steps.dual, index)
    before = subsets.data(state.dual, index)
    change = own.prox_conjugate(before + step * projections, step) - before
    dual = state.dual.at[subsets.views[index]].add(change)

    raised = tuple(
        p + steps.dual_gradient * slope for p, slope in zip(state.dual_gradient, gradient(volume, spacing), strict=True)
    )
    field = project_dual_ball(raised, tv_weight)
    moved = tuple(new - old for new, old in zip(field, state.dual_gradient, strict=True))

    seen, smoothed = part.T(change), transposed_gradient(moved, spacing)
    adjoint = state.adjoint + seen + smoothed
    extrapolated = adjoint + subsets.num_subsets * seen + smoothed
    return SPDHGState(volume, dual, field, adjoint, extrapolated, state.key), own.value(projections)


def _restricted(fit: DataFit, subsets: Subsets, index: Array) -> DataFit:
    """The fit of one subset; a view that only fills it up has the weight zero."""
    background = None if fit.background is None else subsets.data(fit.background, index)
    return DataFit(subsets.data(fit.data, index), subsets.data(fit.weights, index), background, fit.kind)
