"""Maximum likelihood by expectation maximisation, for counts whose mean is linear in the image."""

from typing import Any, NamedTuple, Unpack

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxct._arithmetic import ratio
from jaxct._emission import em_step, first_image
from jaxct.reconstruct._poisson import check_counts, check_sensitivity, likelihood_of
from jaxct.reconstruct.run import LinearOperator, LoopOptions, Result, iterate


class MLEMState(NamedTuple):
    """State of :func:`mlem`: iterate, expected counts ``A x + background``."""

    volume: Array
    expected: Array


class _Operands(NamedTuple):
    A: Any
    data: Array
    sensitivity: Array
    background: Array
    given: Array | None


def mlem(
    A: LinearOperator,  # noqa: N803
    data: ArrayLike,
    *,
    num_iters: int,
    init: ArrayLike | None = None,
    background: ArrayLike | None = None,
    sensitivity: ArrayLike | None = None,
    **loop: Unpack[LoopOptions],
) -> Result:
    r"""Maximise the likelihood of ``data ~ Poisson(A x + background)`` over ``x >= 0``, by

        x <- x / s * A^T (data / (A x + background)),    s = A^T 1

    The likelihood never falls. Without background every iterate expects as many counts as there are in the data (on
    rays that meet the volume). Iterates are not negative; a voxel that is zero stays zero, so zeros of ``init`` are a
    mask. A voxel that no ray meets (s = 0) is zero. A ray of which nothing is expected contributes nothing, whatever
    was counted. Noise grows with the iterations: stop early, or smooth.

    List mode: A has a row for each event (an event may occur on a ray that others came by, too), the data are ones, and
    ``sensitivity`` is ``A^T 1`` over all rays of the scanner, with the attenuation and normalisation that the events
    have.

    One application of A and of its transpose an iteration, and one of each to start; of A alone, where the sensitivity
    is given.

    Args:
        A: a linear operator with weights that are not negative and a matched transpose: a projector, or for PET the
            whole of it, with attenuation and normalisation.
        data: counts, not negative, of shape ``A.out_shape``. They need not be whole numbers.
        num_iters: number of iterations (static under ``jit``).
        init: first iterate, not negative, of shape ``A.in_shape``; if None the uniform image whose projections have
            the total of the data.
        background: what is expected besides the image (randoms and scatter), not negative, a scalar or an array that
            broadcasts to ``A.out_shape``; none if None.
        sensitivity: s, not negative, broadcasting to ``A.in_shape``, where the rays of A are not the whole scan: list
            mode. ``A^T 1`` if None.
        loop: callback (with an :class:`MLEMState`), progress, stop, checkpoint: see
            :class:`~jaxct.reconstruct.LoopOptions`.

    Returns:
        ``Result(volume, history)``; the history has, after each iteration and with ``m = A x + background``,
        ``log_likelihood`` = ``sum(y log(m / y) - (m - y))``, which differs from the logarithm of the likelihood by a
        number that the data y alone determine, and is at most 0; and ``total`` = ``sum(m)``. Where the sensitivity is
        given, ``total`` = ``<s, x>``, what is expected of the image on all rays, and ``log_likelihood`` = ``sum(y
        (log(m / y) + 1)) - <s, x>``: it leaves out what the background is on all rays, which the events do not tell.

    Raises:
        ValueError: where a shape does not fit the operator, for a negative number of iterations, for counts, an initial
            image, a background or a sensitivity that are negative. Values that are traced are not looked at.
        TypeError: for values that are not real numbers.

    References:
        L. A. Shepp and Y. Vardi, "Maximum likelihood reconstruction for emission tomography", IEEE Trans. Med. Imaging
        1 (1982) 113-122; K. Lange and R. Carson, "EM reconstruction algorithms for emission and transmission
        tomography", J. Comput. Assist. Tomogr. 8 (1984) 306-316; L. Parra and H. H. Barrett, "List-mode likelihood: EM
        algorithm and image quality estimation demonstrated on 2-D PET", IEEE Trans. Med. Imaging 17 (1998) 228-235.
    """
    data, init, background = check_counts(A, data, init, background)
    background = jnp.zeros((), data.dtype) if background is None else background
    given = check_sensitivity(A, sensitivity, data.dtype)
    sums = A.T(jnp.ones(A.out_shape, data.dtype)) if given is None else given
    volume = first_image(data, init, sums)
    state = MLEMState(volume, A(volume) + background)
    operands = _Operands(A, data, sums, background, given)
    state, history = iterate(_step, state, operands, num_iters=num_iters, label="MLEM", **loop)
    return Result(state.volume, history)


def _step(state: MLEMState, operands: _Operands) -> tuple[MLEMState, dict[str, Array]]:
    A, data, sensitivity, background, given = operands  # noqa: N806
    volume = em_step(state.volume, sensitivity, A.T(ratio(data, state.expected)))
    expected = A(volume) + background
    total = jnp.sum(expected) if given is None else jnp.vdot(given, volume)
    record = {"log_likelihood": likelihood_of(data, expected, volume, given), "total": total}
    return MLEMState(volume, expected), record
