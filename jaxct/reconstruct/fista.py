"""The fast proximal gradient method."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxct._arithmetic import or_one, root
from jaxct.geometry import _validate
from jaxct.reconstruct._checks import check_bounds, check_nonnegative
from jaxct.reconstruct.norms import weighted_squared_norm
from jaxct.reconstruct.proximal import DataFit, Field, field_norm, gradient, total_variation_dual
from jaxct.reconstruct.run import LinearOperator, LoopOptions, Result, check_data, iterate

MOMENTA = ("restart", "monotone", "plain")
Prox = Callable[[Array, Array], Array]
Penalty = Callable[[Array], Array]


class FISTAState(NamedTuple):
    """State of :func:`fista`: iterate and its projections A x; the point that the next step starts from, and its
    projections; Nesterov's t; where g is total variation, the dual field that its proximal map goes on from."""

    volume: Array
    projections: Array
    ahead: Array
    projections_ahead: Array
    t: Array
    dual_gradient: Field


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _TotalVariation:
    spacing: Array
    lower: Array | None
    upper: Array | None
    num_iters: int = dataclasses.field(metadata={"static": True})

    def prox(self, x: Array, step: Array, field: Field) -> tuple[Array, Field]:
        return total_variation_dual(
            x, step, field, self.spacing, num_iters=self.num_iters, lower=self.lower, upper=self.upper
        )

    def value(self, x: Array) -> Array:
        return field_norm(gradient(x, self.spacing))


class _Given(NamedTuple):
    map: Any
    penalty: Any

    def prox(self, x: Array, step: Array, field: Field) -> tuple[Array, Field]:
        return self.map(x, step), field

    def value(self, x: Array) -> Array | None:
        return None if self.penalty is None else self.penalty(x)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Operands:
    A: Any
    fit: DataFit
    weight: Array
    step: Array
    g: Any
    momentum: str = dataclasses.field(metadata={"static": True})

    def objective(self, x: Array, projections: Array) -> Array | None:
        value = self.g.value(x)
        return None if value is None else self.fit.value(projections) + self.weight * value


def fista(
    A: LinearOperator,  # noqa: N803
    data: ArrayLike,
    *,
    num_iters: int,
    weight: ArrayLike,
    prox: Prox | None = None,
    penalty: Penalty | None = None,
    init: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    spacing: ArrayLike = 1.0,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    momentum: str = "restart",
    prox_iters: int = 10,
    squared_norm: ArrayLike | None = None,
    **loop: Unpack[LoopOptions],
) -> Result:
    r"""Minimise ``sum_i w_i ((A x)_i - b_i)^2 / 2 + weight g(x)`` by Beck and Teboulle's fast proximal gradient method.

    ::

        x' = prox_{weight g / L}(v - A^T w (A v - b) / L),   v' = x' + (t - 1) / t' (x' - x)

    with ``t' = (1 + sqrt(1 + 4 t^2)) / 2`` and L, above the square of the norm of ``sqrt(w) A``, by
    :func:`~jaxct.reconstruct.squared_norm`. With an exact proximal map the objective is within
    ``2 L |init - x*|^2 / (k + 1)^2`` of its least value after k iterations, but may rise on the way. The momentum is

    - "restart": t goes back to 1 where ``<v - x', x' - x> > 0``, when the path bends back. Usually fastest, though that
      bound is for the other two;
    - "monotone": a step to a larger objective is not taken, but leads v all the same. Needs g's value;
    - "plain": neither.

    g is total variation within bounds, unless ``prox`` is given. Its proximal map is found by ``prox_iters`` iterations
    of :func:`~jaxct.reconstruct.proximal.prox_total_variation` that go on from those of the step before. That is exact
    in the limit; each costs several passes over volumes, few as against a projection.

    One application of A and of its transpose an iteration, and 12 of each for L where ``squared_norm`` is not given.

    Args:
        A: a linear operator with a matched transpose, such as :class:`jaxct.Projector`.
        data: of shape ``A.out_shape``.
        num_iters: number of iterations (static under ``jit``).
        weight: of g, not negative. For total variation see :func:`~jaxct.reconstruct.constant_tv_weight`.
        prox: ``prox(x, step) = argmin_u |u - x|^2 / 2 + step g(u)``; bounds are then its own matter. One that is made
            anew for each call (a lambda) is compiled anew, too; a ``jax.tree_util.Partial`` of a function that is
            defined once, arrays bound to it, is not.
        penalty: g(x), a scalar, of a given ``prox``, for the history and momentum="monotone".
        init: first iterate, of shape ``A.in_shape``; zero if None.
        weights: of the rays, w, not negative, broadcasting to ``A.out_shape``; one if None.
        spacing, lower, upper: of total variation, as for :func:`~jaxct.reconstruct.pdhg`.
        momentum: see above.
        prox_iters: iterations of total variation's proximal map in each step (static under ``jit``).
        squared_norm: that of ``sqrt(w) A``, or a bound above it, where it is known.
        loop: callback (with a :class:`FISTAState`), progress, stop, checkpoint: see
            :class:`~jaxct.reconstruct.LoopOptions`.

    Returns:
        ``Result(volume, history)``; the history has ``residual_norm = sqrt(sum_i w_i ((A x)_i - b_i)^2)`` after each
        iteration, and the ``objective`` where g's value is known.

    Raises:
        ValueError: where a shape does not fit the operator, for a negative number of iterations or weight, bounds that
            cross, bounds or a spacing together with ``prox``, an unknown momentum, or "monotone" without g's value.
        TypeError: for values that are not real numbers.

    References:
        A. Beck and M. Teboulle, "A fast iterative shrinkage-thresholding algorithm for linear inverse problems", SIAM
        J. Imaging Sci. 2 (2009) 183-202, and "Fast gradient-based algorithms for constrained total variation image
        denoising and deblurring problems", IEEE Trans. Image Process. 18 (2009) 2419-2434 (monotone); B. O'Donoghue and
        E. Candes, "Adaptive restart for accelerated gradient schemes", Found. Comput. Math. 15 (2015) 715-732.
    """
    data, init = check_data(A, data, init)
    weight = check_nonnegative("weight", weight, (), data.dtype)
    w = check_nonnegative("weights", 1.0 if weights is None else weights, tuple(A.out_shape), data.dtype)
    fit = DataFit(data, jnp.broadcast_to(w, data.shape), None, "least_squares")
    g = _penalty(A, data, prox, penalty, spacing, lower, upper, prox_iters)
    _validate.choice("momentum", momentum, MOMENTA)
    if momentum == "monotone" and prox is not None and penalty is None:
        raise ValueError("momentum='monotone' needs the value of g: give penalty along with prox")
    if squared_norm is None:
        bound = weighted_squared_norm(A, fit.weights, data.dtype)
    else:
        bound = _validate.scalar("squared_norm", squared_norm, positive=True).astype(data.dtype)
    step = 1 / or_one(bound)
    operands = _Operands(A, fit, weight, step, g, momentum)
    state = _start(A, data, init, () if prox is not None else (jnp.zeros(A.in_shape, data.dtype),) * len(A.in_shape))
    state, history = iterate(_step, state, operands, num_iters=num_iters, label="FISTA", **loop)
    return Result(state.volume, history)


def _penalty(
    A: LinearOperator,  # noqa: N803
    data: Array,
    prox: Prox | None,
    penalty: Penalty | None,
    spacing: ArrayLike,
    lower: ArrayLike | None,
    upper: ArrayLike | None,
    prox_iters: int,
) -> _TotalVariation | _Given:
    if prox is not None:
        if lower is not None or upper is not None:
            raise ValueError("lower, upper: for total variation; a prox that is given has to keep its bounds itself")
        return _Given(prox, penalty)
    if penalty is not None:
        raise ValueError("penalty: the value of the g of prox, which is not given")
    low, high = check_bounds(lower, upper, tuple(A.in_shape), data.dtype)
    steps = _validate.per_axis("spacing", spacing, len(A.in_shape), positive=True).astype(data.dtype)
    return _TotalVariation(steps, low, high, _validate.count("prox_iters", prox_iters))


def _start(A: LinearOperator, data: Array, init: Array | None, field: Field) -> FISTAState:  # noqa: N803
    volume = jnp.zeros(A.in_shape, data.dtype) if init is None else init
    projections = jnp.zeros_like(data) if init is None else A(init)
    return FISTAState(volume, projections, volume, projections, jnp.ones((), data.dtype), field)


def _step(state: FISTAState, operands: _Operands) -> tuple[FISTAState, dict[str, Array]]:
    fit, step = operands.fit, operands.step
    descent = operands.A.T(fit.derivative(state.projections_ahead))
    found, field = operands.g.prox(state.ahead - step * descent, operands.weight * step, state.dual_gradient)
    projections = operands.A(found)

    t_before, taken = state.t, jnp.asarray(True)
    value = operands.objective(found, projections)
    if operands.momentum == "restart":
        t_before = jnp.where(jnp.vdot(state.ahead - found, found - state.volume) > 0, 1, t_before)
    if operands.momentum == "monotone":
        before = operands.objective(state.volume, state.projections)
        assert value is not None
        assert before is not None
        taken = ~(value > before)  # NaN goes on being NaN
        value = jnp.where(taken, value, before)
    t = (1 + jnp.sqrt(1 + 4 * t_before**2)) / 2

    def advance(found: Array, old: Array) -> tuple[Array, Array]:
        new = jnp.where(taken, found, old)
        return new, new + t_before / t * (found - new) + (t_before - 1) / t * (new - old)

    volume, volume_ahead = advance(found, state.volume)
    projections, projections_ahead = advance(projections, state.projections)
    record = {"residual_norm": root(2 * fit.value(projections))} | ({} if value is None else {"objective": value})
    return FISTAState(volume, projections, volume_ahead, projections_ahead, t, field), record
