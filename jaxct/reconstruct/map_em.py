"""Expectation maximisation with a prior: of the posterior, not of the likelihood alone."""

from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxct._arithmetic import ratio
from jaxct._emission import em_step, first_image, pulled_em_step, pulled_step
from jaxct.reconstruct._checks import check_nonnegative, check_reals
from jaxct.reconstruct._poisson import (
    check_counts,
    check_prior,
    check_sensitivity,
    likelihood_of,
    penalty_of,
)
from jaxct.reconstruct._static import as_operands
from jaxct.reconstruct.run import LinearOperator, LoopOptions, Result, iterate


class MAPEMState(NamedTuple):
    """State of :func:`map_em`: iterate, expected counts ``A x + background``, gradient of the prior at x."""

    volume: Array
    expected: Array
    slope: Array


class _Operands(NamedTuple):
    A: Any
    data: Array
    sensitivity: Array
    background: Array
    given: Array | None
    prior: Any
    curvature: Array
    pull: Array
    target: Array


def map_em(
    A: LinearOperator,  # noqa: N803
    data: ArrayLike,
    *,
    num_iters: int,
    prior: Callable[[Array], Array] | None = None,
    curvature: ArrayLike | None = None,
    pull: ArrayLike = 0.0,
    target: ArrayLike = 0.0,
    init: ArrayLike | None = None,
    background: ArrayLike | None = None,
    sensitivity: ArrayLike | None = None,
    **loop: Unpack[LoopOptions],
) -> Result:
    r"""Maximise the log-likelihood of ``data ~ Poisson(A x + background)`` less ``prior(x) + sum_j pull_j (x_j -
    target_j)^2 / 2`` over ``x >= 0``.

    With ``x_em = x / s * A^T (data / (A x + background))``, ``s = A^T 1``, the step of
    :func:`~jaxct.reconstruct.mlem`, the next iterate is for every voxel the root that is not negative of

        c x^2 + (s - c m) x - s x_em = 0,    c = curvature + pull,    c m = curvature x - grad prior(x) + pull target

    It maximises the sum of De Pierro's surrogate of the likelihood and a parabola below each penalty, which separate
    the voxels; so the objective never falls, and there is no step size. Without prior and pull this is MLEM. A prior
    without a curvature that holds for all images (relative differences with ``epsilon = 0``) is for
    :func:`~jaxct.reconstruct.bsrem`.

    One application of A and of its transpose and one gradient of the prior an iteration, and one of each to start.

    Args:
        A: a linear operator with weights that are not negative and a matched transpose.
        data: counts, not negative, of shape ``A.out_shape``. They need not be whole numbers.
        num_iters: number of iterations (static under ``jit``).
        prior: a differentiable function of the image with a scalar value, of strength and all; none if None.
            :mod:`jaxct.priors` and :mod:`jaxct.priors_anatomical` have some. Convex, if the end is to be the maximum.
        curvature: a diagonal matrix above the prior's Hessian at every image, not negative, broadcasting to
            ``A.in_shape``: for ``lambda x: 0.1 * quadratic(x)`` it is ``0.1 * pair_curvature(A.in_shape)``.
        pull: rho, of the quadratic pull towards the target, not negative, a scalar or an array that broadcasts to
            ``A.in_shape``: counts per square of the image's unit, to be compared with ``s / x``.
        target: where it pulls to, likewise, of any sign.
        init: first iterate, not negative, of shape ``A.in_shape``; if None the uniform image whose projections have
            the total of the data.
        background: what is expected besides the image (randoms and scatter), not negative, a scalar or an array that
            broadcasts to ``A.out_shape``; none if None.
        sensitivity: s, where the rays of A are not the whole scan: see :func:`~jaxct.reconstruct.mlem`.
        loop: callback (with a :class:`MAPEMState`), progress, stop, checkpoint: see
            :class:`~jaxct.reconstruct.LoopOptions`. A checkpoint knows the run it belongs to by arrays, not by
            functions such as the prior.

    Returns:
        ``Result(volume, history)``; the history has, after each iteration, ``log_likelihood`` as MLEM's and
        ``objective``, which is that less the prior and the pull.

    Raises:
        ValueError: where a shape does not fit the operator, for a negative number of iterations, a prior without a
            curvature or the other way round, for counts, an initial image, a background, a sensitivity, a curvature or
            a pull that are negative. Values that are traced are not looked at.
        TypeError: for values that are not real numbers, a prior that is no function.

    References:
        A. R. De Pierro, "A modified expectation maximization algorithm for penalized likelihood estimation in emission
        tomography", IEEE Trans. Med. Imaging 14 (1995) 132-137; E. Levitan and G. T. Herman, "A maximum a posteriori
        probability expectation maximization algorithm for image reconstruction in emission tomography", IEEE Trans.
        Med. Imaging 6 (1987) 185-192.
    """
    data, init, background = check_counts(A, data, init, background)
    background = jnp.zeros((), data.dtype) if background is None else background
    given = check_sensitivity(A, sensitivity, data.dtype)
    bend = check_prior(A, prior, curvature, data.dtype)
    rho = check_nonnegative("pull", pull, tuple(A.in_shape), data.dtype)
    goal = check_reals("target", target, tuple(A.in_shape), data.dtype)
    sums = A.T(jnp.ones(A.out_shape, data.dtype)) if given is None else given
    volume = first_image(data, init, sums)
    penalty = as_operands(prior)
    state = MAPEMState(volume, A(volume) + background, penalty_of(penalty, volume)[1])
    operands = _Operands(A, data, sums, background, given, penalty, bend, rho, goal)
    state, history = iterate(_step, state, operands, num_iters=num_iters, label="MAP-EM", **loop)
    return Result(state.volume, history)


def map_em_step(
    A: LinearOperator,  # noqa: N803
    data: Array,
    volume: Array,
    *,
    sensitivity: Array,
    pull: ArrayLike,
    target: ArrayLike,
    background: ArrayLike = 0.0,
) -> Array:
    r"""One step of expectation maximisation from an image, with a quadratic pull towards another: the root that is not
    negative of ``rho x^2 + (s - rho m) x - s x_em = 0``, where ``x_em = volume / s * A^T (data / (A volume +
    background))`` is the step without the pull, which ``rho = 0`` leaves.

    For algorithms that split image and prior, and networks that are unrolled from them. In derivatives images alone are
    kept: reverse mode computes ``A volume`` again, so that the step costs one application of A and of its transpose and
    its derivative two and one, and no residual has the shape of the data. Nothing is checked here.

    Args:
        A: a linear operator with weights that are not negative and a matched transpose.
        data: counts, of shape ``A.out_shape``.
        volume: the image to start from, not negative; zeros stay zero but for a positive target. A voxel that nothing
            sees (s = 0) becomes m, or 0 if that is negative, and remains as it is without a pull.
        sensitivity: s, ``A^T 1`` of the whole scan.
        pull: rho, not negative; may be traced, and learned.
        target: m, of any sign.
        background: what is expected besides the image.

    Returns:
        The next image.

    References:
        As for :func:`map_em`; K. Gong, C. Catana, J. Qi and Q. Li, "PET image reconstruction using deep image prior",
        IEEE Trans. Med. Imaging 38 (2019) 1655-1665.
    """
    arguments = (A, data, volume, sensitivity, jnp.asarray(pull), jnp.asarray(target), jnp.asarray(background))
    return pulled_step(*arguments)


def _step(state: MAPEMState, operands: _Operands) -> tuple[MAPEMState, dict[str, Array]]:
    A, data, sensitivity, background, given, prior, curvature, pull, target = operands  # noqa: N806
    em = em_step(state.volume, sensitivity, A.T(ratio(data, state.expected)))
    moment = curvature * state.volume - state.slope + pull * target
    volume = pulled_em_step(em, sensitivity, curvature + pull, moment)
    expected = A(volume) + background
    penalty, slope = penalty_of(prior, volume)
    likelihood = likelihood_of(data, expected, volume, given)
    cost = penalty + jnp.sum(pull * (volume - target) ** 2) / 2
    return MAPEMState(volume, expected, slope), {"log_likelihood": likelihood, "objective": likelihood - cost}
