"""Expectation maximisation by ordered subsets of the views."""

from typing import NamedTuple, Unpack

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxct._emission import first_image
from jaxct.reconstruct._em_pass import emission_scan, next_pass
from jaxct.reconstruct._poisson import check_counts_by_subsets, check_sensitivity
from jaxct.reconstruct.run import LoopOptions, Result, iterate
from jaxct.reconstruct.subsets import ViewOperator


class OSEMState(NamedTuple):
    """State of :func:`osem`: iterate, key of the random orders to come."""

    volume: Array
    key: Array


def osem(
    A: ViewOperator,  # noqa: N803
    data: ArrayLike,
    *,
    num_iters: int,
    num_subsets: int,
    init: ArrayLike | None = None,
    background: ArrayLike | None = None,
    sensitivity: ArrayLike | None = None,
    order: str = "herman_meyer",
    key: Array | None = None,
    **loop: Unpack[LoopOptions],
) -> Result:
    r"""The step of :func:`~jaxct.reconstruct.mlem` for one subset of the views after the other.

    For each subset s, with its rows A_s, its data and its background, in turn

        x <- x / (A_s^T 1) * A_s^T (data_s / (A_s x + background_s))

    An iteration is one pass over all subsets. At first it does what about as many iterations of MLEM do; it does not
    converge, but to a cycle about the most likely image, unless the data are without noise. A subset leaves a voxel as
    it is that it does not see. With one subset this is MLEM.

    List mode: A has a row for each event, in their order in time, the data are ones, and ``sensitivity`` is that of the
    whole scan. Of n events each subset is then a random share of the scan, for which ``A_s^T 1`` is this share of the
    sensitivity: its number of events over n.

    One application of A and of its transpose an iteration, and two of the transpose to start. The sensitivities
    ``A_s^T 1`` take one volume a subset: above 8 subsets they are not kept but computed anew in every pass, by one more
    application of the transpose an iteration.

    Args:
        A: a linear operator with weights that are not negative, a matched transpose and views to choose from, the
            leading axis of its data.
        data: counts, not negative, of shape ``A.out_shape``. They need not be whole numbers.
        num_iters: number of passes (static under ``jit``).
        num_subsets: from 1 to the number of views.
        init: first iterate, not negative, of shape ``A.in_shape``; if None the uniform image whose projections have
            the total of the data.
        background: what is expected besides the image (randoms and scatter), not negative, a scalar or an array that
            broadcasts to ``A.out_shape``; none if None.
        sensitivity: of the whole scan, not negative, broadcasting to ``A.in_shape``, where the rays of A are events;
            None where they are the whole scan.
        order: of the subsets, see :func:`~jaxct.reconstruct.ordered_subsets`; "random" draws one for each pass.
        key: a ``jax.random`` key for these; that of seed 0 if None.
        loop: callback (with an :class:`OSEMState`), progress, stop, checkpoint: see
            :class:`~jaxct.reconstruct.LoopOptions`.

    Returns:
        ``Result(volume, history)``; the history has ``log_likelihood`` and ``total`` as MLEM's has, but summed over the
        subsets as each found its own part before its step, so that the numbers of the first pass start at ``init``.
        (Those of the last image would cost one more application of A.)

    Raises:
        ValueError: where a shape does not fit the operator, for a negative number of iterations, a number of subsets
            that there cannot be, an unknown order, for counts, an initial image, a background or a sensitivity that are
            negative. Values that are traced are not looked at.
        TypeError: for values that are not real numbers; an operator without views; a key that is none.

    References:
        H. M. Hudson and R. S. Larkin, "Accelerated image reconstruction using ordered subsets of projection data", IEEE
        Trans. Med. Imaging 13 (1994) 601-609.
    """
    checked = check_counts_by_subsets(A, data, init, background, num_subsets, order, key)
    data, init, background, subsets, key = checked
    given = check_sensitivity(A, sensitivity, data.dtype)
    whole = A.T(jnp.ones(A.out_shape, data.dtype)) if given is None else given
    state = OSEMState(first_image(data, init, whole), key)
    scan = emission_scan(A, data, background, whole, given, subsets)
    label = "OSEM in random order" if subsets.random else "OSEM"
    state, history = iterate(next_pass, state, scan, num_iters=num_iters, label=label, **loop)
    return Result(state.volume, history)
