"""Adaptive steepest descent on total variation, projections onto what the data and the bounds allow."""

from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxct._arithmetic import norm, ratio, reciprocal
from jaxct.geometry import _validate
from jaxct.reconstruct._checks import check_bounds, check_key, check_nonnegative, check_views
from jaxct.reconstruct._subset_sums import kept_sums, sums_of
from jaxct.reconstruct.proximal import box, field_lengths, field_norm, gradient, transposed_gradient
from jaxct.reconstruct.run import LoopOptions, Result, check_data, iterate
from jaxct.reconstruct.subsets import Subsets, ViewOperator, ordered_subsets


class ASDPOCSState(NamedTuple):
    """State of :func:`asd_pocs`: the iterate after its data step; after its descent, where the next begins; beta, the
    relaxation of the data step; dtvg, the length of a step of descent (zero before the first iteration); the key of the
    orders to come."""

    volume: Array
    smoothed: Array
    beta: Array
    dtvg: Array
    key: Array


class _Parameters(NamedTuple):
    epsilon: Array
    beta_red: Array
    alpha: Array
    alpha_red: Array
    r_max: Array
    spacing: Array
    lower: Array | None
    upper: Array | None
    descents: Array


class _Operands(NamedTuple):
    A: Any
    data: Array
    row_weights: Array
    column_sums: Array | None
    subsets: Subsets
    parameters: _Parameters


def asd_pocs(
    A: ViewOperator,  # noqa: N803
    data: ArrayLike,
    *,
    num_iters: int,
    epsilon: ArrayLike,
    num_subsets: int = 1,
    init: ArrayLike | None = None,
    beta: ArrayLike = 1.0,
    beta_red: ArrayLike = 0.995,
    ng: int = 20,
    alpha: ArrayLike = 0.2,
    alpha_red: ArrayLike = 0.95,
    r_max: ArrayLike = 0.95,
    spacing: ArrayLike = 1.0,
    lower: ArrayLike | None = 0.0,
    upper: ArrayLike | None = None,
    order: str = "herman_meyer",
    key: Array | None = None,
    **loop: Unpack[LoopOptions],
) -> Result:
    r"""Sidky and Pan's ASD-POCS: the least total variation of all volumes with ``|A x - data| <= epsilon``.

    An iteration is

    1. a step towards the data: for each subset s of the views ``x <- x + beta C_s A_s^T R_s (data_s - A_s x)`` with the
       weights of :func:`~jaxct.reconstruct.os_sart` (the paper's is the step for single rays, ART); then the bounds.
       The volume after it is what is returned;
    2. ``ng`` steps of steepest descent on TV, each of the length dtvg; that is alpha times the way of the first
       iteration's data step.

    Where the descent went further than r_max times the way of the data step while the data are not yet met,
    ``|A x - data| > epsilon``, dtvg is multiplied by alpha_red; beta is multiplied by beta_red every time. So the two
    come to balance on the surface ``|A x - data| = epsilon``. This is a heuristic, without a proof of convergence, and
    depends on its parameters; :func:`~jaxct.reconstruct.pdhg` minimises an objective instead. The data step vanishes
    with beta: after a few times ``1 / (1 - beta_red)`` iterations nothing more happens. Where the residual is then
    still above epsilon, take a beta_red nearer to 1 or more subsets.

    TV is isotropic, with the forward differences of :func:`jaxct.priors.differences`; where they vanish they do not
    count for the gradient.

    Two applications of A and one of its transpose an iteration, and one of each to start; with more than 8 subsets one
    more of the transpose an iteration.

    Args:
        A: a linear operator with weights that are not negative, a matched transpose and views to choose from, such as
            :class:`jaxct.Projector`.
        data: of shape ``A.out_shape``, views first.
        num_iters: number of iterations (static under ``jit``).
        epsilon: how far from the data the projections may be, of Gaussian noise some ``sigma sqrt(number of rays)``.
            Rays that meet no voxel are left out.
        num_subsets: from 1, a step of SIRT, to the number of views, a pass of SART. More go further at once.
        init: first iterate, of shape ``A.in_shape``; zero if None.
        beta: relaxation of the first data step, above 0 and below 2.
        beta_red: its factor from one iteration to the next, above 0 and at most 1.
        ng: steps of descent an iteration (static under ``jit``).
        alpha: length of a step of descent in ways of the first data step, positive.
        alpha_red: factor of that length where it is too long, above 0 and at most 1.
        r_max: how long the descent may be, in ways of the data step, positive.
        spacing: as for :func:`~jaxct.reconstruct.pdhg`.
        lower, upper: bounds of the voxels, scalars or arrays that broadcast to ``A.in_shape``; None is no bound.
        order, key: of the subsets, as for :func:`~jaxct.reconstruct.os_sart`.
        loop: callback (with an :class:`ASDPOCSState`), progress, stop, checkpoint: see
            :class:`~jaxct.reconstruct.LoopOptions`.

    Returns:
        ``Result(volume, history)``; the history has ``residual_norm``, ``|A x - data|``, and ``total_variation`` of the
        volume after each data step; ``data_step`` and ``descent``, how far the two went.

    Raises:
        ValueError: where a shape does not fit the operator, for a negative number of iterations, parameters out of
            their ranges, bounds that cross. Values that are traced are not looked at.
        TypeError: for values that are not real numbers; an operator without views; a key that is none.

    References:
        E. Y. Sidky and X. Pan, "Image reconstruction in circular cone-beam computed tomography by constrained,
        total-variation minimization", Phys. Med. Biol. 53 (2008) 4777-4807.
    """
    subsets = ordered_subsets(check_views(A), num_subsets, order=order)
    key = check_key(key)
    data, init = check_data(A, data, init)
    lower, upper = check_bounds(lower, upper, tuple(A.in_shape), data.dtype)
    beta = _factor("beta", beta, below=2.0).astype(data.dtype)
    parameters = _Parameters(
        check_nonnegative("epsilon", epsilon, (), data.dtype),
        _factor("beta_red", beta_red, most=1.0).astype(data.dtype),
        _validate.scalar("alpha", alpha, positive=True).astype(data.dtype),
        _factor("alpha_red", alpha_red, most=1.0).astype(data.dtype),
        _validate.scalar("r_max", r_max, positive=True).astype(data.dtype),
        _validate.per_axis("spacing", spacing, len(A.in_shape), positive=True).astype(data.dtype),
        lower,
        upper,
        jnp.zeros(_validate.count("ng", ng), bool),
    )
    row_weights = reciprocal(A(jnp.ones(A.in_shape, data.dtype)))
    operands = _Operands(A, data, row_weights, kept_sums(A, subsets, data.dtype), subsets, parameters)
    volume = jnp.zeros(A.in_shape, data.dtype) if init is None else init
    state = ASDPOCSState(volume, volume, beta, jnp.zeros((), data.dtype), jax.random.key(0) if key is None else key)
    state, history = iterate(_step, state, operands, num_iters=num_iters, label="ASD-POCS", **loop)
    return Result(state.volume, history)


def _step(state: ASDPOCSState, operands: _Operands) -> tuple[ASDPOCSState, dict[str, Array]]:
    p = operands.parameters
    key, now = jax.random.split(state.key)
    volume = box(_data_step(state, operands, now), p.lower, p.upper)
    misfit = jnp.where(operands.row_weights == 0, 0, operands.A(volume) - operands.data)
    dd, dp = norm(misfit), norm(volume - state.smoothed)
    dtvg = jnp.where(state.dtvg == 0, p.alpha * dp, state.dtvg)
    smoothed = _descend(volume, dtvg, p)
    dg = norm(smoothed - volume)
    dtvg = jnp.where((dg > p.r_max * dp) & (dd > p.epsilon), p.alpha_red * dtvg, dtvg)
    record = {
        "residual_norm": dd,
        "total_variation": field_norm(gradient(volume, p.spacing)),
        "data_step": dp,
        "descent": dg,
    }
    return ASDPOCSState(volume, smoothed, p.beta_red * state.beta, dtvg, key), record


def _data_step(state: ASDPOCSState, operands: _Operands, key: Array) -> Array:
    A, data, row_weights, column_sums, subsets, _ = operands  # noqa: N806

    def advance(volume: Array, index: Array) -> tuple[Array, None]:
        part = subsets.operator(A, index)
        weighted = subsets.data(row_weights, index) * (subsets.data(data, index) - part(volume))
        columns = reciprocal(sums_of(part, column_sums, index, data.dtype))
        return volume + state.beta * columns * part.T(weighted), None

    return jax.lax.scan(advance, state.smoothed, subsets.order(key))[0]


def _descend(volume: Array, length: Array, p: _Parameters) -> Array:
    def advance(x: Array, _: Array) -> tuple[Array, None]:
        field = gradient(x, p.spacing)
        lengths = field_lengths(field)
        slope = transposed_gradient(tuple(ratio(part, lengths) for part in field), p.spacing)
        return x - length * ratio(slope, norm(slope)), None

    return jax.lax.scan(advance, volume, p.descents)[0]


def _factor(name: str, value: ArrayLike, *, below: float = jnp.inf, most: float = jnp.inf) -> Array:
    """A positive scalar below one limit, or at most another."""
    with jax.ensure_compile_time_eval():
        array = _validate.scalar(name, value, positive=True)
        if _validate.concrete(array) and not (array < below and array <= most):
            limit = f"below {below:g}" if below < jnp.inf else f"at most {most:g}"
            raise ValueError(f"{name} must be above 0 and {limit}, got {array:g}")
    return array
