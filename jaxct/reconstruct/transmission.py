"""Maximum likelihood for transmission scans: counts behind the object, not their logarithms."""

import dataclasses
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxct._arithmetic import ratio, reciprocal
from jaxct.geometry import _validate
from jaxct.reconstruct._checks import check_bounds, check_key, check_nonnegative, check_subsets, require_nonnegative
from jaxct.reconstruct._poisson import log_likelihood
from jaxct.reconstruct.run import LinearOperator, LoopOptions, Result, check_data, iterate
from jaxct.reconstruct.subsets import Subsets

CURVATURES = ("optimum", "fisher", "precomputed")


class MLTRState(NamedTuple):
    """State of :func:`mltr`: iterate, its projections (None if there are several subsets), key of the random orders to
    come."""

    volume: Array
    projections: Array | None
    key: Array


class _Rays(NamedTuple):
    """What is known of rays, all or those of a subset; ``lengths`` = A 1."""

    counts: Array
    blank: Array
    background: Array | None
    lengths: Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Operands:
    A: Any
    rays: _Rays
    upper: Array | None
    subsets: Subsets | None
    denominator: Array | None  # where it is computed once, and for one subset of them
    curvature: str = dataclasses.field(metadata={"static": True})


def mltr(
    A: LinearOperator,  # noqa: N803
    data: ArrayLike,
    *,
    blank: ArrayLike,
    num_iters: int,
    init: ArrayLike | None = None,
    background: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    curvature: str = "optimum",
    num_subsets: int = 1,
    order: str = "herman_meyer",
    key: Array | None = None,
    **loop: Unpack[LoopOptions],
) -> Result:
    r"""Maximise the likelihood of ``data ~ Poisson(blank exp(-A x) + background)`` over ``0 <= x <= upper``.

    "Maximum likelihood for transmission", which is what MLTR stands for. With few counts it is less noisy than what is
    made of their logarithms, and free of their bias: every ray counts as much as it knows, a ray without counts says
    so. The log-likelihood is replaced by paraboloids below it, which are made separable and maximised voxel by voxel:
    with l = A x, the counts that are expected t = blank exp(-l) behind the object and m = t + background in all,

        x <- clip(x + A^T (t (1 - data / m)) / A^T (c A 1), 0, upper)

    The curvatures c of the paraboloids are

    - "optimum": the smallest with which they stay below, a mean of the likelihood's own between 0 and l. The likelihood
      never falls. One application of A and two of its transpose an iteration.
    - "fisher": what is expected of the likelihood's own, ``t^2 / m``. Without background this is the algorithm that
      was called MLTR first. Longer steps; the likelihood may fall. The same cost.
    - "precomputed": ``(data - background)^2 / data``, about that of the best image; of little use far from it. The
      likelihood may fall. One application each; for scans with counts in most pixels, from an ``init`` that is near.

    With several subsets of the views an iteration is one pass over them: at first as good as about as many iterations,
    in the end a cycle about the most likely image. To start it takes one application of A, one more where ``init`` is
    given, and one of the transpose for "precomputed".

    Args:
        A: a linear operator with weights that are not negative and a matched transpose, such as
            :class:`jaxct.Projector`; for several subsets with views to choose from.
        data: counts, not negative, of shape ``A.out_shape``. They need not be whole numbers.
        blank: the counts that are expected without object, positive, a scalar or an array that broadcasts to
            ``A.out_shape``.
        num_iters: number of iterations, or passes (static under ``jit``).
        init: first iterate, of shape ``A.in_shape``, clipped to the bounds; zero if None. The image of
            :func:`~jaxct.reconstruct.fbp` saves many iterations.
        background: what is expected of scatter and dark current, not negative, a scalar or an array that broadcasts to
            ``A.out_shape``; none if None.
        upper: greatest value of a voxel, a scalar or an array that broadcasts to ``A.in_shape``; None for no bound. An
            array that is 0 outside the object and infinite in it acts as a mask.
        curvature: "optimum", "fisher" or "precomputed".
        num_subsets: from 1 to the number of views.
        order: of the subsets, see :func:`~jaxct.reconstruct.ordered_subsets`; "random" draws one for each pass.
        key: a ``jax.random`` key for these; that of seed 0 if None.
        loop: callback (with an :class:`MLTRState`), progress, stop, checkpoint: see
            :class:`~jaxct.reconstruct.LoopOptions`.

    Returns:
        ``Result(volume, history)``; the history has ``log_likelihood`` = ``sum(y log(m / y) - (m - y))`` after each
        iteration, which differs from the logarithm of the likelihood by a number that the data y alone determine, and
        is at most 0. With several subsets it is summed up over them as each found its own part before its step.

    Raises:
        ValueError: where a shape does not fit the operator, for a negative number of iterations, a number of subsets
            that there cannot be, an unknown order or curvature, counts or a background that are negative, a blank that
            is not positive, an upper bound that is negative. Values that are traced are not looked at.
        TypeError: for values that are not real numbers; an operator without views where there are several subsets; a
            key that is none.

    References:
        H. Erdogan and J. A. Fessler, "Monotonic algorithms for transmission tomography", IEEE Trans. Med. Imaging 18
        (1999) 801-814, and "Ordered subsets algorithms for transmission tomography", Phys. Med. Biol. 44 (1999)
        2835-2851; J. Nuyts, B. De Man, P. Dupont, M. Defrise, P. Suetens and L. Mortelmans, "Iterative reconstruction
        for helical CT: a simulation study", Phys. Med. Biol. 43 (1998) 729-737.
    """
    _validate.choice("curvature", curvature, CURVATURES)
    subsets = check_subsets(A, num_subsets, order)
    key = check_key(key)
    data, init, rays = _checked(A, data, init, blank, background)
    _, upper = check_bounds(0.0, upper, tuple(A.in_shape), data.dtype)
    denominator = _precomputed(A, rays) / num_subsets if curvature == "precomputed" else None
    operands = _Operands(A, rays, upper, subsets, denominator, curvature)
    volume = jnp.zeros(A.in_shape, data.dtype) if init is None else jnp.clip(init, 0, upper)
    lines = None if subsets is not None else A(volume) if init is not None else jnp.zeros_like(data)
    state = MLTRState(volume, lines, jax.random.key(0) if key is None else key)
    label = f"MLTR, {curvature}" + (" in random order" if subsets is not None and subsets.random else "")
    step = _step if subsets is None else _pass
    state, history = iterate(step, state, operands, num_iters=num_iters, label=label, **loop)
    return Result(state.volume, history)


def _checked(
    A: LinearOperator,  # noqa: N803
    data: ArrayLike,
    init: ArrayLike | None,
    blank: ArrayLike,
    background: ArrayLike | None,
) -> tuple[Array, Array | None, _Rays]:
    shape = tuple(A.out_shape)
    counts, start = check_data(A, data, init)
    require_nonnegative("data", data)
    with jax.ensure_compile_time_eval():
        _validate.floats("blank", blank, positive=True)
    blank = jnp.broadcast_to(check_nonnegative("blank", blank, shape, counts.dtype), shape)
    if background is not None:
        background = jnp.broadcast_to(check_nonnegative("background", background, shape, counts.dtype), shape)
    return counts, start, _Rays(counts, blank, background, A(jnp.ones(A.in_shape, counts.dtype)))


def _step(state: MLTRState, operands: _Operands) -> tuple[MLTRState, dict[str, Array]]:
    A, rays = operands.A, operands.rays  # noqa: N806
    assert state.projections is not None
    volume = _climb(state.volume, state.projections, A, rays, operands)
    lines = A(volume)
    record = {"log_likelihood": log_likelihood(rays.counts, _expected(rays, lines)[1])}
    return MLTRState(volume, lines, state.key), record


def _pass(state: MLTRState, operands: _Operands) -> tuple[MLTRState, dict[str, Array]]:
    A, subsets = operands.A, operands.subsets  # noqa: N806
    assert subsets is not None

    def step(volume: Array, index: Array) -> tuple[Array, Array]:
        part, rays = subsets.operator(A, index), jax.tree.map(lambda of: subsets.data(of, index), operands.rays)
        lines = part(volume)
        likelihood = log_likelihood(rays.counts, _expected(rays, lines)[1])
        return _climb(volume, lines, part, rays, operands), likelihood

    key, now = jax.random.split(state.key)
    volume, likelihoods = jax.lax.scan(step, state.volume, subsets.order(now))
    return MLTRState(volume, None, key), {"log_likelihood": jnp.sum(likelihoods)}


def _climb(volume: Array, lines: Array, part: LinearOperator, rays: _Rays, operands: _Operands) -> Array:
    """The top of the separable paraboloids that touch the likelihood at ``lines``."""
    behind, expected = _expected(rays, lines)
    fraction = jnp.ones_like(behind) if rays.background is None else ratio(behind, expected)
    denominator = operands.denominator
    if denominator is None:
        curvature = _optimum(lines, rays) if operands.curvature == "optimum" else behind * fraction
        denominator = part.T(rays.lengths * curvature)
    slope = behind - rays.counts * fraction
    return jnp.clip(volume + part.T(slope) * reciprocal(denominator), 0, operands.upper)


def _expected(rays: _Rays, lines: Array) -> tuple[Array, Array]:
    """Counts behind the object, and with the background."""
    behind = rays.blank * jnp.exp(-lines)
    return behind, behind if rays.background is None else behind + rays.background


def _precomputed(A: LinearOperator, rays: _Rays) -> Array:  # noqa: N803
    counts = rays.counts
    through = counts if rays.background is None else jnp.maximum(counts - rays.background, 0)
    return A.T(rays.lengths * ratio(through**2, counts))


# Below this line integral the closed form of the optimum curvature loses its digits, and Gauss' rule has them all.
_SMALL = 0.25
_NODES, _WEIGHTS = (values.tolist() for values in np.polynomial.legendre.leggauss(6))


def _optimum(lines: Array, rays: _Rays) -> Array:
    """The curvature at which a paraboloid that touches the log-likelihood h of a ray at l meets it at 0 again:
    ``2 (h(l) - h(0) - l h'(l)) / l^2``, which is the mean of -h'' over [0, l] with the weight 2 s / l^2. Not below 0.
    """
    small = lines < _SMALL
    near, far = jnp.where(small, lines, 0), jnp.where(small, 1, lines)
    mean = jnp.zeros_like(lines)
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        fraction = (1 + node) / 2
        mean = mean + weight * fraction * _negative_second_derivative(fraction * near, rays)
    return jnp.maximum(jnp.where(small, mean, 2 * _above_tangent(far, rays) / far**2), 0)


def _negative_second_derivative(lines: Array, rays: _Rays) -> Array:
    behind, expected = _expected(rays, lines)
    if rays.background is None:
        return behind
    return behind * (1 - ratio(rays.counts * rays.background, expected**2))


def _above_tangent(lines: Array, rays: _Rays) -> Array:
    """``h(l) - l h'(l) - h(0)``: by how much the tangent at l is above h at 0."""
    blank_part = -rays.blank * (jnp.expm1(-lines) + lines * jnp.exp(-lines))
    if rays.background is None:
        return blank_part
    behind, expected = _expected(rays, lines)
    whole = rays.blank + rays.background
    fall = ratio(rays.blank * jnp.expm1(-lines), whole)
    deep = fall < -0.5
    logarithm = jnp.where(deep, jnp.log(jnp.where(deep, expected / whole, 1)), jnp.log1p(jnp.where(deep, 0, fall)))
    return blank_part + rays.counts * (logarithm + lines * ratio(behind, expected))
