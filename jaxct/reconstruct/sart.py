"""The simultaneous algebraic reconstruction technique, by single views or by ordered subsets of them."""

from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxct._arithmetic import reciprocal, root
from jaxct.reconstruct._checks import check_bounds, check_key, check_relaxation, check_views
from jaxct.reconstruct._subset_sums import kept_sums, sums_of
from jaxct.reconstruct.run import LoopOptions, Result, check_data, iterate
from jaxct.reconstruct.subsets import Subsets, ViewOperator, ordered_subsets


class SARTState(NamedTuple):
    """State of :func:`sart` and :func:`os_sart`: iterate, key of the random orders to come."""

    volume: Array
    key: Array


class _Operands(NamedTuple):
    A: Any
    data: Array
    row_weights: Array
    column_sums: Array | None
    subsets: Subsets
    relaxation: Array
    lower: Array | None
    upper: Array | None


def sart(
    A: ViewOperator,  # noqa: N803
    data: ArrayLike,
    *,
    num_iters: int,
    init: ArrayLike | None = None,
    relaxation: ArrayLike = 1.0,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    order: str = "herman_meyer",
    key: Array | None = None,
    **loop: Unpack[LoopOptions],
) -> Result:
    """Andersen and Kak's SART: :func:`os_sart` with every view a subset of its own.

    An iteration is one pass over all views. It is much faster than :func:`~jaxct.reconstruct.sirt` at first; with noisy
    data it is soon at its end, where each view spoils what the others have fitted, the less the smaller the relaxation.
    On a GPU single views may be too little work: then take subsets.

    Args:
        A, data, num_iters, init, relaxation, lower, upper, order, key, loop: as for :func:`os_sart`.

    Returns:
        As :func:`os_sart`.

    Raises:
        ValueError, TypeError: as :func:`os_sart`.

    References:
        A. H. Andersen and A. C. Kak, "Simultaneous algebraic reconstruction technique (SART): a superior implementation
        of the ART algorithm", Ultrasonic Imaging 6 (1984) 81-94.
    """
    return os_sart(
        A, data, num_iters=num_iters, num_subsets=check_views(A), init=init, relaxation=relaxation, lower=lower,
        upper=upper, order=order, key=key, **loop,
    )  # fmt: skip


def os_sart(
    A: ViewOperator,  # noqa: N803
    data: ArrayLike,
    *,
    num_iters: int,
    num_subsets: int,
    init: ArrayLike | None = None,
    relaxation: ArrayLike = 1.0,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    order: str = "herman_meyer",
    key: Array | None = None,
    **loop: Unpack[LoopOptions],
) -> Result:
    r"""SIRT's step for one subset of the views after the other: an iteration is one pass over all subsets.

    For each subset s, with its rows A_s and its data, in turn

        x <- clip(x + relaxation C_s A_s^T R_s (data_s - A_s x), lower, upper)

    with ``R_s = 1 / (A_s 1)`` and ``C_s = 1 / (A_s^T 1)``; sums that vanish have the weight zero, as in
    :func:`~jaxct.reconstruct.sirt`, which this is with one subset. No step raises the residual of its own subset. Where
    no image fits all the data the iterates end in a cycle, the smaller the smaller the relaxation.

    One application of A and of its transpose an iteration, and one of each (A for the weights of the rays, A^T for
    those of the voxels) to start. The latter take one volume a subset: above 8 subsets they are not kept but computed
    anew in every pass, by one more application of A^T an iteration.

    Args:
        A: a linear operator with weights that are not negative, a matched transpose and views to choose from, such as
            :class:`jaxct.Projector`.
        data: of shape ``A.out_shape``, views first.
        num_iters: number of passes (static under ``jit``).
        num_subsets: from 1 to the number of views.
        init: first iterate, of shape ``A.in_shape``; zero if None. It is not clipped.
        relaxation: factor of the steps, above 0 and below 2.
        lower: least value of a voxel, a scalar or an array that broadcasts to ``A.in_shape``; None for no bound.
        upper: greatest value, likewise. An array that is 0 outside the object and infinite in it acts as a mask.
        order: of the subsets, see :func:`~jaxct.reconstruct.ordered_subsets`; "random" draws one for each pass.
        key: a ``jax.random`` key for these; that of seed 0 if None.
        loop: callback (with a :class:`SARTState`), progress, stop, checkpoint: see
            :class:`~jaxct.reconstruct.LoopOptions`.

    Returns:
        ``Result(volume, history)``; the history has ``residual_norm``, ``sqrt(sum_s |data_s - A_s x|_{R_s}^2)`` with
        the x that each subset found before its own step. (That of the last x would cost one more application of A.)

    Raises:
        ValueError: where a shape does not fit the operator, for a negative number of iterations, a number of subsets
            that there cannot be, an unknown order, a relaxation outside (0, 2), bounds that are NaN or cross. Values
            that are traced are not looked at.
        TypeError: for values that are not real numbers; an operator without views; a key that is none.

    References:
        G. Wang and M. Jiang, "Ordered-subset simultaneous algebraic reconstruction techniques (OS-SART)", J. X-Ray Sci.
        Technol. 12 (2004) 169-177; M. Jiang and G. Wang, "Convergence of the simultaneous algebraic reconstruction
        technique (SART)", IEEE Trans. Image Process. 12 (2003) 957-961.
    """
    subsets = ordered_subsets(check_views(A), num_subsets, order=order)
    key = check_key(key)
    data, init = check_data(A, data, init)
    relaxation = check_relaxation(relaxation).astype(data.dtype)
    lower, upper = check_bounds(lower, upper, tuple(A.in_shape), data.dtype)
    row_weights = reciprocal(A(jnp.ones(A.in_shape, data.dtype)))
    column_sums = kept_sums(A, subsets, data.dtype)
    volume = jnp.zeros(A.in_shape, data.dtype) if init is None else init
    state = SARTState(volume, jax.random.key(0) if key is None else key)
    operands = _Operands(A, data, row_weights, column_sums, subsets, relaxation, lower, upper)
    label = "SART in random order" if subsets.random else "SART"
    state, history = iterate(_pass, state, operands, num_iters=num_iters, label=label, **loop)
    return Result(state.volume, history)


def _pass(state: SARTState, operands: _Operands) -> tuple[SARTState, dict[str, Array]]:
    A, data, row_weights, column_sums, subsets, relaxation, lower, upper = operands  # noqa: N806

    def step(volume: Array, index: Array) -> tuple[Array, Array]:
        part, weights = subsets.operator(A, index), subsets.data(row_weights, index)
        residual = subsets.data(data, index) - part(volume)
        step_size = relaxation * reciprocal(sums_of(part, column_sums, index, data.dtype))
        following = jnp.clip(volume + step_size * part.T(weights * residual), lower, upper)
        return following, jnp.vdot(residual, weights * residual)

    key, now = jax.random.split(state.key)
    volume, squares = jax.lax.scan(step, state.volume, subsets.order(now))
    return SARTState(volume, key), {"residual_norm": root(jnp.sum(squares))}
