"""Penalised weighted least squares by ordered subsets, separable quadratic surrogates and momentum."""

from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxct._arithmetic import reciprocal
from jaxct.reconstruct._checks import check_bounds, check_key, check_nonnegative, check_subsets
from jaxct.reconstruct._static import as_operands, restored
from jaxct.reconstruct.run import LinearOperator, LoopOptions, Result, check_data, iterate
from jaxct.reconstruct.subsets import Subsets


class PWLSState(NamedTuple):
    """State of :func:`pwls`: iterate, the point that the next step starts from, length of the momentum's memory, key of
    the random orders to come."""

    volume: Array
    ahead: Array
    memory: Array
    key: Array


class _Operands(NamedTuple):
    A: Any
    data: Array
    weights: Array
    subsets: Subsets | None
    prior: Any
    momentum: Any
    step_size: Array
    lower: Array | None
    upper: Array | None


def pwls(
    A: LinearOperator,  # noqa: N803
    data: ArrayLike,
    *,
    num_iters: int,
    weights: ArrayLike | None = None,
    prior: Callable[[Array], Array] | None = None,
    curvature: ArrayLike | None = None,
    num_subsets: int = 1,
    momentum: bool = True,
    init: ArrayLike | None = None,
    lower: ArrayLike | None = 0.0,
    upper: ArrayLike | None = None,
    order: str = "herman_meyer",
    key: Array | None = None,
    **loop: Unpack[LoopOptions],
) -> Result:
    r"""Minimise ``1/2 sum_i w_i (A x - data)_i^2 + prior(x)`` within bounds.

    For each of S subsets s of the views in turn, with ``D = A^T W A 1 + curvature``, a diagonal matrix above the
    Hessian of the objective where A has no negative weights,

        x_next <- clip(z - D^-1 (S A_s^T W_s (A_s z - data_s) + grad prior(z)), lower, upper)
        z      <- x_next + (t - 1) / t_next (x_next - x),    t_next = (1 + sqrt(1 + 4 t^2)) / 2

    where t starts at 1; without momentum ``z = x_next``. An iteration is one pass over all subsets.

    With one subset this converges: without momentum the objective falls in every step, with momentum its excess falls
    as ``1 / iterations^2``. With more subsets the first iterations do about as much as S of those; in the end the
    iterates stay near the minimum without reaching it, farther off with momentum than without, and with very many
    subsets momentum may drive them away. To arrive, go on with fewer subsets from what came out as ``init``.

    One application of A and of its transpose an iteration, one of each to start, and S gradients of the prior.

    Args:
        A: a linear operator with weights that are not negative and a matched transpose; for more subsets than one with
            views to choose from, such as :class:`jaxct.Projector`.
        data: of shape ``A.out_shape``, views first.
        num_iters: number of passes (static under ``jit``).
        weights: of the rays, not negative, broadcasting to ``A.out_shape``; inverse variances of the data (for line
            integrals about the counts). 1 if None. Rays of weight zero may have any data, NaN too.
        prior: a differentiable function of the image with a scalar value, of strength and all; none if None.
            :mod:`jaxct.priors` has some.
        curvature: a diagonal matrix above the prior's Hessian at every image, broadcasting to ``A.in_shape``: for
            ``lambda x: 0.1 * huber(x, delta=...)`` it is ``0.1 * pair_curvature(A.in_shape)``.
        num_subsets: S, from 1 to the number of views.
        momentum: Nesterov's.
        init: first iterate, of shape ``A.in_shape``; zero if None. It is not clipped.
        lower: least value of a voxel, a scalar or an array that broadcasts to ``A.in_shape``; None for no bound.
        upper: greatest value, likewise.
        order: of the subsets, see :func:`~jaxct.reconstruct.ordered_subsets`; "random" draws one for each pass.
        key: a ``jax.random`` key for these; that of seed 0 if None.
        loop: callback (with a :class:`PWLSState`), progress, stop, checkpoint: see
            :class:`~jaxct.reconstruct.LoopOptions`. A checkpoint knows the run it belongs to by arrays, not by
            functions such as the prior.

    Returns:
        ``Result(volume, history)``; the history has ``objective``, its data term summed over the subsets and its prior
        averaged over them, with the z that each subset found before its own step: with one subset and no momentum the
        objective before each iteration. (That of the last x would cost one more application of A.)

    Raises:
        ValueError: where a shape does not fit the operator, for a prior without a curvature or the other way round,
            weights or a curvature that are negative, a number of subsets that there cannot be, an unknown order, bounds
            that are NaN or cross, a negative number of iterations. Values that are traced are not looked at.
        TypeError: for values that are not real numbers; an operator without views for several subsets; a key that is
            none.

    References:
        H. Erdogan and J. A. Fessler, "Ordered subsets algorithms for transmission tomography", Phys. Med. Biol. 44
        (1999) 2835-2851; D. Kim, S. Ramani and J. A. Fessler, "Combining ordered subsets and momentum for accelerated
        X-ray CT image reconstruction", IEEE Trans. Med. Imaging 34 (2015) 167-178.
    """
    key = check_key(key)
    data, init = check_data(A, data, init)
    subsets = check_subsets(A, num_subsets, order)
    weights = check_nonnegative("weights", 1.0 if weights is None else weights, tuple(A.out_shape), data.dtype)
    lower, upper = check_bounds(lower, upper, tuple(A.in_shape), data.dtype)
    step_size = _step_size(A, weights, prior, curvature)
    volume = jnp.zeros(A.in_shape, data.dtype) if init is None else init
    weights = jnp.broadcast_to(weights, A.out_shape)
    state = PWLSState(volume, volume, jnp.ones((), data.dtype), jax.random.key(0) if key is None else key)
    penalty, inertia = as_operands((prior, bool(momentum)))
    operands = _Operands(A, data, weights, subsets, penalty, inertia, step_size, lower, upper)
    state, history = iterate(_pass, state, operands, num_iters=num_iters, label=_label(subsets), **loop)
    return Result(state.volume, history)


def _step_size(A: LinearOperator, weights: Array, prior: Any, curvature: ArrayLike | None) -> Array:  # noqa: N803
    """``1 / D``, 0 for voxels that neither data nor prior have a say on."""
    if (prior is None) != (curvature is None):
        raise ValueError(f"prior and curvature belong together, got prior {prior!r} and curvature {curvature!r}")
    if prior is not None and not callable(prior):
        raise TypeError(f"prior must be a function, got {prior!r}")
    sums = A.T(weights * A(jnp.ones(A.in_shape, weights.dtype)))
    if curvature is not None:
        sums = sums + check_nonnegative("curvature", curvature, tuple(A.in_shape), weights.dtype)
    return reciprocal(sums)


def _label(subsets: Subsets | None) -> str:
    return "PWLS in random order" if subsets is not None and subsets.random else "PWLS"


def _pass(state: PWLSState, operands: _Operands) -> tuple[PWLSState, dict[str, Array]]:
    subsets = operands.subsets
    key, now = jax.random.split(state.key)
    carry = (state.volume, state.ahead, state.memory)
    if subsets is None:
        carry, objective = _step(carry, operands, operands.A, operands.data, operands.weights, 1)
        return PWLSState(*carry, key), {"objective": objective}

    def step(carry: tuple[Array, Array, Array], index: Array) -> tuple[tuple[Array, Array, Array], Array]:
        part, data = subsets.operator(operands.A, index), subsets.data(operands.data, index)
        return _step(carry, operands, part, data, subsets.data(operands.weights, index), subsets.num_subsets)

    carry, objectives = jax.lax.scan(step, carry, subsets.order(now))
    return PWLSState(*carry, key), {"objective": jnp.sum(objectives)}


def _step(
    carry: tuple[Array, Array, Array],
    operands: _Operands,
    A: LinearOperator,  # noqa: N803
    data: Array,
    weights: Array,
    num_subsets: int,
) -> tuple[tuple[Array, Array, Array], Array]:
    """One step with the rays of a subset, and its share of the objective."""
    volume, ahead, memory = carry
    residual = jnp.where(weights == 0, 0, A(ahead) - data)
    gradient = num_subsets * A.T(weights * residual)
    objective = jnp.vdot(residual, weights * residual) / 2
    prior, momentum = restored((operands.prior, operands.momentum))
    if prior is not None:
        penalty, slope = jax.value_and_grad(prior)(ahead)
        gradient, objective = gradient + slope, objective + penalty / num_subsets
    following = jnp.clip(ahead - operands.step_size * gradient, operands.lower, operands.upper)
    longer = (1 + jnp.sqrt(1 + 4 * memory**2)) / 2
    ahead = following + (memory - 1) / longer * (following - volume) if momentum else following
    return (following, ahead, longer), objective
