"""The simultaneous iterative reconstruction technique."""

from typing import Any, NamedTuple, Unpack

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxct._arithmetic import reciprocal
from jaxct.reconstruct._checks import check_bounds, check_relaxation
from jaxct.reconstruct.run import LinearOperator, LoopOptions, Result, check_data, iterate


class SIRTState(NamedTuple):
    """State of :func:`sirt`: iterate, residual ``data - A x``."""

    volume: Array
    residual: Array


class _Operands(NamedTuple):
    A: Any
    data: Array
    row_weights: Array
    step_size: Array
    lower: Array | None
    upper: Array | None


def sirt(
    A: LinearOperator,  # noqa: N803
    data: ArrayLike,
    *,
    num_iters: int,
    init: ArrayLike | None = None,
    relaxation: ArrayLike = 1.0,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    **loop: Unpack[LoopOptions],
) -> Result:
    r"""Minimise ``|data - A x|_R`` within bounds, by ``x <- clip(x + relaxation C A^T R (data - A x), lower, upper)``.

    R and C are diagonal, R = 1 / (A 1) for the rays and C = 1 / (A^T 1) for the voxels, and
    ``|r|_R = sqrt(sum_i R_i r_i^2)``. Where A has no negative weights, no eigenvalue of C A^T R A exceeds 1; and to
    clip is to project onto the bounds in the metric 1 / C, too. So this norm of the residual never rises from one
    iterate within the bounds to the next. Stopping early regularises.

    A sum that is not positive, or only by rounding (the machine epsilon times the largest one), has the weight zero: a
    ray that misses the volume is left out, and a voxel that no ray meets keeps its value, but for the bounds.

    One application of A and of its transpose an iteration, and one of each to start; one more of A where ``init`` is
    given.

    Args:
        A: a linear operator with weights that are not negative and a matched transpose, such as
            :class:`jaxct.Projector`.
        data: of shape ``A.out_shape``.
        num_iters: number of iterations (static under ``jit``).
        init: first iterate, of shape ``A.in_shape``; zero if None. It is not clipped.
        relaxation: factor of the steps, above 0 and below 2.
        lower: least value of a voxel, a scalar or an array that broadcasts to ``A.in_shape``; 0 is usual for
            attenuation, None for no bound.
        upper: greatest value, likewise. An array that is 0 outside the object and infinite in it acts as a mask.
        loop: callback (with a :class:`SIRTState`), progress, stop, checkpoint: see
            :class:`~jaxct.reconstruct.LoopOptions`.

    Returns:
        ``Result(volume, history)``; the history has ``residual_norm`` = ``|data - A x|_R`` after each iteration.

    Raises:
        ValueError: where a shape does not fit the operator, for a negative number of iterations, a relaxation outside
            (0, 2), bounds that are NaN or cross. Values that are traced are not looked at.
        TypeError: for values that are not real numbers.

    References:
        A. van der Sluis and H. A. van der Vorst, "SIRT- and CG-type methods for the iterative solution of sparse linear
        least-squares problems", Linear Algebra Appl. 130 (1990) 257-303; J. Gregor and T. Benson, "Computational
        analysis and improvement of SIRT", IEEE Trans. Med. Imaging 27 (2008) 918-924.
    """
    data, init = check_data(A, data, init)
    relaxation = check_relaxation(relaxation).astype(data.dtype)
    lower, upper = check_bounds(lower, upper, tuple(A.in_shape), data.dtype)
    row_weights = reciprocal(A(jnp.ones(A.in_shape, data.dtype)))
    step_size = relaxation * reciprocal(A.T(jnp.ones(A.out_shape, data.dtype)))
    state = SIRTState(jnp.zeros(A.in_shape, data.dtype), data) if init is None else SIRTState(init, data - A(init))
    operands = _Operands(A, data, row_weights, step_size, lower, upper)
    state, history = iterate(_step, state, operands, num_iters=num_iters, label="SIRT", **loop)
    return Result(state.volume, history)


def _step(state: SIRTState, operands: _Operands) -> tuple[SIRTState, dict[str, Array]]:
    A, data, row_weights, step_size, lower, upper = operands  # noqa: N806
    volume = jnp.clip(state.volume + step_size * A.T(row_weights * state.residual), lower, upper)
    residual = data - A(volume)
    return SIRTState(volume, residual), {"residual_norm": jnp.sqrt(jnp.vdot(residual, row_weights * residual))}
