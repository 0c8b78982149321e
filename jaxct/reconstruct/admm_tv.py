"""Total variation by the alternating direction method of multipliers (split Bregman)."""

from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxct._arithmetic import norm, or_one, ratio, root
from jaxct.geometry import _validate
from jaxct.reconstruct._checks import check_bounds, check_nonnegative
from jaxct.reconstruct.norms import weighted_squared_norm
from jaxct.reconstruct.proximal import (
    DataFit,
    Field,
    box,
    field_norm,
    gradient,
    project_dual_ball,
    squared_gradient_norm,
    transposed_gradient,
)
from jaxct.reconstruct.run import LinearOperator, LoopOptions, Result, check_data, iterate


class ADMMState(NamedTuple):
    """State of :func:`admm_tv`: the iterate v within the bounds; x, A x and A^T w A x; z and the scaled multipliers of
    z = D x and v = x (zero without bounds)."""

    volume: Array
    image: Array
    projections: Array
    normal: Array
    split: Field
    multiplier: Field
    bound_multiplier: Array


class _Operands(NamedTuple):
    A: Any
    fit: DataFit
    back_projection: Array
    tv_weight: Array
    spacing: Array
    penalty: Array
    bound_penalty: Array
    lower: Array | None
    upper: Array | None
    inner: Array


def admm_tv(
    A: LinearOperator,  # noqa: N803
    data: ArrayLike,
    *,
    num_iters: int,
    tv_weight: ArrayLike,
    init: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    spacing: ArrayLike = 1.0,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    penalty: ArrayLike = 1.0,
    cg_iters: int = 3,
    squared_norm: ArrayLike | None = None,
    **loop: Unpack[LoopOptions],
) -> Result:
    r"""Minimise ``sum_i w_i ((A x)_i - b_i)^2 / 2 + tv_weight TV(x)`` within bounds, with ``z = D x`` and ``v = x``.

    By the alternating direction method of multipliers, for total variation also known as split Bregman::

        x <- argmin |A x - b|_w^2 / 2 + rho |D x - z + u|^2 / 2 + mu |x - v + s|^2 / 2    (conjugate gradients)
        z <- D x + u, shortened by tv_weight / rho (to zero, where it is not longer)
        v <- clip(x + s, lower, upper)
        u <- u + D x - z,   s <- s + x - v

    D are the forward differences and TV is isotropic, as for :func:`~jaxct.reconstruct.pdhg`. Without bounds v is x.
    Conjugate gradients go on from the last x; a few inner iterations are enough, as they find little left to do.

    rho and mu are computed: with L the square of the norm of ``sqrt(w) A``, ``rho = penalty L / sum_k (4 /
    spacing_k^2)`` and ``mu = penalty L / 100``, so that with penalty = 1 no part of the inner problem is much stiffer
    than the fit. They change how fast a solution is found, not which: a large penalty settles edges late, a small one
    needs more inner iterations.

    ``cg_iters`` applications of A and of its transpose an iteration; one of A^T to start, and one of each more where
    ``init`` is given; 12 of each for L where ``squared_norm`` is not given. Besides that, three volumes for each axis.

    Args:
        A: a linear operator with a matched transpose, such as :class:`jaxct.Projector`.
        data: of shape ``A.out_shape``.
        num_iters: number of iterations (static under ``jit``).
        tv_weight: weight of total variation, not negative; see :func:`~jaxct.reconstruct.constant_tv_weight`.
        init: first iterate, of shape ``A.in_shape``; zero if None.
        weights: of the rays, w, not negative, broadcasting to ``A.out_shape``; one if None.
        spacing, lower, upper: as for :func:`~jaxct.reconstruct.pdhg`.
        penalty: factor of rho and mu, positive.
        cg_iters: inner iterations (static under ``jit``).
        squared_norm: L, where it is known.
        loop: callback (with an :class:`ADMMState`), progress, stop, checkpoint: see
            :class:`~jaxct.reconstruct.LoopOptions`.

    Returns:
        ``Result(volume, history)``; the volume is v, within the bounds. The history has after each iteration the
        ``objective`` of x, ``primal_residual``, ``|(D x - z, x - v)|``, and ``dual_residual``, the norm of
        ``rho D^T`` times the change of z and mu times that of v: all of these settle, the residuals at zero.

    Raises:
        ValueError: where a shape does not fit the operator, for a negative number of iterations or weight, bounds that
            cross, a penalty or a number of inner iterations that is not positive.
        TypeError: for values that are not real numbers.

    References:
        T. Goldstein and S. Osher, "The split Bregman method for L1-regularized problems", SIAM J. Imaging Sci. 2 (2009)
        323-343; S. Boyd et al., "Distributed optimization and statistical learning via the alternating direction method
        of multipliers", Found. Trends Mach. Learn. 3 (2011) 1-122.
    """
    data, init = check_data(A, data, init)
    low, high = check_bounds(lower, upper, tuple(A.in_shape), data.dtype)
    tv_weight = check_nonnegative("tv_weight", tv_weight, (), data.dtype)
    spacing = _validate.per_axis("spacing", spacing, len(A.in_shape), positive=True).astype(data.dtype)
    penalty = _validate.scalar("penalty", penalty, positive=True).astype(data.dtype)
    w = check_nonnegative("weights", 1.0 if weights is None else weights, tuple(A.out_shape), data.dtype)
    fit = DataFit(data, jnp.broadcast_to(w, data.shape), None, "least_squares")
    rho, mu = _penalties(A, fit, penalty, spacing, squared_norm)
    inner = jnp.zeros(_validate.count("cg_iters", cg_iters), bool)
    back_projection = A.T(jnp.where(fit.weights == 0, 0, fit.weights * data))
    operands = _Operands(A, fit, back_projection, tv_weight, spacing, rho, mu, low, high, inner)
    state, history = iterate(
        _step, _start(A, fit, init, spacing), operands, num_iters=num_iters, label="ADMM", **loop
    )  # fmt: skip
    return Result(state.volume, history)


def _penalties(
    A: LinearOperator,  # noqa: N803
    fit: DataFit,
    penalty: Array,
    spacing: Array,
    squared_norm: ArrayLike | None,
) -> tuple[Array, Array]:
    if squared_norm is None:
        bound = weighted_squared_norm(A, fit.weights, fit.data.dtype)
    else:
        bound = _validate.scalar("squared_norm", squared_norm, positive=True).astype(fit.data.dtype)
    bound = or_one(bound)
    differences = squared_gradient_norm(tuple(A.in_shape), spacing)
    return penalty * bound / or_one(differences), penalty * bound / 100


def _start(A: LinearOperator, fit: DataFit, init: Array | None, spacing: Array) -> ADMMState:  # noqa: N803
    """z = D x, v = x, no multipliers."""
    zero = jnp.zeros(A.in_shape, fit.data.dtype)
    none = (zero,) * zero.ndim
    if init is None:
        return ADMMState(zero, zero, jnp.zeros_like(fit.data), zero, none, none, zero)
    projections = A(init)
    return ADMMState(init, init, projections, A.T(fit.weights * projections), gradient(init, spacing), none, zero)


def _step(state: ADMMState, operands: _Operands) -> tuple[ADMMState, dict[str, Array]]:
    _, fit, _, tv_weight, spacing, rho, mu, lower, upper, _ = operands
    bounded = lower is not None or upper is not None
    x, projections, normal = _solve(state, operands, bounded)
    slopes = gradient(x, spacing)

    raised = tuple(slope + u for slope, u in zip(slopes, state.multiplier, strict=True))
    # What shortening takes away is the part within the dual ball: it is the multiplier's new value.
    multiplier = project_dual_ball(raised, tv_weight / rho)
    split = tuple(a - b for a, b in zip(raised, multiplier, strict=True))
    volume = box(x + state.bound_multiplier, lower, upper) if bounded else x
    bound_multiplier = state.bound_multiplier + x - volume if bounded else state.bound_multiplier

    gaps = sum((jnp.sum((a - b) ** 2) for a, b in zip(slopes, split, strict=True)), jnp.sum((x - volume) ** 2))
    moved = rho * transposed_gradient(tuple(a - b for a, b in zip(split, state.split, strict=True)), spacing)
    moved = moved + mu * (volume - state.volume) if bounded else moved
    record = {
        "objective": fit.value(projections) + tv_weight * field_norm(slopes),
        "primal_residual": root(gaps),
        "dual_residual": norm(moved),
    }
    return ADMMState(volume, x, projections, normal, split, multiplier, bound_multiplier), record


def _solve(state: ADMMState, operands: _Operands, bounded: bool) -> tuple[Array, Array, Array]:
    """x, A x and A^T w A x after some steps of conjugate gradients on the normal equations, which are kept up to date
    along with x."""
    A, fit, back_projection, _, spacing, rho, mu, _, _, inner = operands  # noqa: N806

    def regular(x: Array) -> Array:
        smooth = rho * transposed_gradient(gradient(x, spacing), spacing)
        return smooth + mu * x if bounded else smooth

    goal = tuple(z - u for z, u in zip(state.split, state.multiplier, strict=True))
    target = back_projection + rho * transposed_gradient(goal, spacing)
    target = target + mu * (state.volume - state.bound_multiplier) if bounded else target
    residual = target - state.normal - regular(state.image)
    rounding = jnp.finfo(target.dtype).eps ** 2 * jnp.vdot(target, target)

    def advance(carry: tuple, _: Array) -> tuple[tuple, None]:
        x, projections, normal, residual, direction, gamma = carry
        projected = A(direction)
        image = A.T(fit.weights * projected)
        stiff = image + regular(direction)
        # As in conjugate_gradients, whose projections of x are needed here, too.
        arrived = gamma <= rounding
        alpha = jnp.where(arrived, 0, ratio(jnp.where(arrived, 0, gamma), jnp.vdot(direction, stiff)))
        residual = residual - alpha * stiff
        new = jnp.vdot(residual, residual)
        beta = ratio(new, jnp.where(arrived, 0, gamma))
        x, projections, normal = x + alpha * direction, projections + alpha * projected, normal + alpha * image
        return (x, projections, normal, residual, residual + beta * direction, new), None

    start = (state.image, state.projections, state.normal, residual, residual, jnp.vdot(residual, residual))
    (x, projections, normal, *_), _ = jax.lax.scan(advance, start, inner)
    return x, projections, normal
