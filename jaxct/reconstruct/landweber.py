"""Landweber's iteration: projected gradient descent for least squares."""

from typing import Any, NamedTuple, Unpack

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxct._arithmetic import ratio, root, where_weighed
from jaxct.reconstruct._checks import check_bounds, check_nonnegative, check_relaxation
from jaxct.reconstruct.norms import weighted_squared_norm
from jaxct.reconstruct.run import LinearOperator, LoopOptions, Result, check_data, iterate


class LandweberState(NamedTuple):
    """State of :func:`landweber`: iterate, residual ``data - A x``."""

    volume: Array
    residual: Array


class _Operands(NamedTuple):
    A: Any
    data: Array
    weights: Array
    step_size: Array
    lower: Array | None
    upper: Array | None


def landweber(
    A: LinearOperator,  # noqa: N803
    data: ArrayLike,
    *,
    num_iters: int,
    init: ArrayLike | None = None,
    relaxation: ArrayLike = 1.0,
    weights: ArrayLike | None = None,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    **loop: Unpack[LoopOptions],
) -> Result:
    r"""Minimise ``|data - A x|_W`` within bounds, by ``x <- clip(x + step A^T W (data - A x), lower, upper)``.

    W is diagonal, ``|r|_W = sqrt(sum_i W_i r_i^2)``, and ``step = relaxation / |W^(1/2) A|^2``. The norm is estimated
    from above, so that ``|data - A x|_W`` never rises from one iterate within the bounds to the next. Stopping early
    regularises: the large singular values of A are fitted first. To derivatives the step is a constant.

    One application of A and of its transpose an iteration, and twelve of each for the norm; one more of A where
    ``init`` is given.

    Args:
        A: a linear operator with a matched transpose, such as :class:`jaxct.Projector`.
        data: of shape ``A.out_shape``.
        num_iters: number of iterations (static under ``jit``).
        init: first iterate, of shape ``A.in_shape``; zero if None. It is not clipped.
        relaxation: factor of the steps, above 0 and below 2. At 1 the largest singular value is fitted at once; beyond,
            it swings about the solution, by the factor 1 - relaxation a step, and the small ones come faster.
        weights: W, not negative, a scalar or an array that broadcasts to ``A.out_shape``: the inverse variances of the
            data, or 0 for rays that are to be left out, whatever their data. 1 if None.
        lower: least value of a voxel, a scalar or an array that broadcasts to ``A.in_shape``; None for no bound.
        upper: greatest value, likewise. An array that is 0 outside the object and infinite in it acts as a mask.
        loop: callback (with a :class:`LandweberState`), progress, stop, checkpoint: see
            :class:`~jaxct.reconstruct.LoopOptions`.

    Returns:
        ``Result(volume, history)``; the history has ``residual_norm`` = ``|data - A x|_W`` after each iteration.

    Raises:
        ValueError: where a shape does not fit the operator, for a negative number of iterations, a relaxation outside
            (0, 2), weights that are negative or not finite, bounds that are NaN or cross. Values that are traced are
            not looked at.
        TypeError: for values that are not real numbers.

    References:
        L. Landweber, "An iteration formula for Fredholm integral equations of the first kind", Amer. J. Math. 73 (1951)
        615-624; M. Bertero and P. Boccacci, "Introduction to Inverse Problems in Imaging", IOP 1998, chapter 6.
    """
    data, init = check_data(A, data, init)
    relaxation = check_relaxation(relaxation).astype(data.dtype)
    weights = check_nonnegative("weights", 1.0 if weights is None else weights, tuple(A.out_shape), data.dtype)
    data = where_weighed(data, weights)
    lower, upper = check_bounds(lower, upper, tuple(A.in_shape), data.dtype)
    step_size = ratio(relaxation, weighted_squared_norm(A, weights, data.dtype))
    state = (
        LandweberState(jnp.zeros(A.in_shape, data.dtype), data)
        if init is None
        else LandweberState(init, data - A(init))
    )
    operands = _Operands(A, data, weights, step_size, lower, upper)
    state, history = iterate(_step, state, operands, num_iters=num_iters, label="Landweber", **loop)
    return Result(state.volume, history)


def _step(state: LandweberState, operands: _Operands) -> tuple[LandweberState, dict[str, Array]]:
    A, data, weights, step_size, lower, upper = operands  # noqa: N806
    volume = jnp.clip(state.volume + step_size * A.T(weights * state.residual), lower, upper)
    residual = data - A(volume)
    return LandweberState(volume, residual), {"residual_norm": root(jnp.vdot(residual, weights * residual))}
