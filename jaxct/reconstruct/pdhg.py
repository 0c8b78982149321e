"""The primal-dual hybrid gradient method for total variation."""

from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.fft import dctn, idctn
from jax.typing import ArrayLike

from jaxct._arithmetic import or_one, ratio, reciprocal, root, where_weighed
from jaxct.geometry import _validate
from jaxct.reconstruct._checks import check_bounds, check_nonnegative, require_nonnegative
from jaxct.reconstruct.implicit import fixed_point
from jaxct.reconstruct.proximal import (
    FITS,
    DataFit,
    Field,
    box,
    field_lengths,
    field_norm,
    gradient,
    project_dual_ball,
    squared_gradient_norm,
    transposed_gradient,
)
from jaxct.reconstruct.run import LinearOperator, LoopOptions, Result, check_data, iterate

# The shares of the fit and of total variation in the step sizes. With 30 views of a measured walnut and 1e-4 or 3e-4 of
# constant_tv_weight 100 iterations come to within 2e-3 of the least objective, with steps 3 times either way to 3e-2.
FIT_STEP = 0.1
VARIATION_STEP = 0.3
DERIVATIVES = ("unrolled", "implicit")


class PDHGState(NamedTuple):
    """State of :func:`pdhg`: iterate, its projections A x, the dual variables y of the rays and p of the gradient, and
    D^T p: kept, as it would otherwise be computed anew wherever the next iterate and its neighbours are read."""

    volume: Array
    projections: Array
    dual: Array
    dual_gradient: Field
    adjoint_gradient: Array


class Steps(NamedTuple):
    """Step sizes: of the voxels, of the rays (zero: left out), of the dual of the gradient."""

    volume: Array
    dual: Array
    dual_gradient: Array


class _Operands(NamedTuple):
    A: Any
    fit: DataFit
    tv_weight: Array
    spacing: Array
    steps: Steps
    lower: Array | None
    upper: Array | None


def pdhg(
    A: LinearOperator,  # noqa: N803
    data: ArrayLike,
    *,
    num_iters: int,
    tv_weight: ArrayLike,
    init: ArrayLike | None = None,
    fit: str = "least_squares",
    weights: ArrayLike | None = None,
    background: ArrayLike | None = None,
    spacing: ArrayLike = 1.0,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    step_ratio: ArrayLike = 1.0,
    differentiate: str = "unrolled",
    **loop: Unpack[LoopOptions],
) -> Result:
    r"""Minimise ``f(A x) + tv_weight TV(x)`` within bounds by Chambolle and Pock's primal-dual hybrid gradient method.

    f is one of

    - "least_squares": ``sum_i w_i ((A x)_i - b_i)^2 / 2``;
    - "kullback_leibler": ``sum_i w_i (m_i - b_i + b_i log(b_i / m_i))``, ``m = A x + background``: Poisson data, as of
      PET. The volume should then have ``lower=0``; the objective is infinite where some m_i is negative;
    - "l1": ``sum_i w_i |(A x)_i - b_i|``, for data with outliers;

    and ``TV(x) = sum_j |D x|_j`` is the isotropic total variation, D the forward differences of
    :func:`jaxct.priors.differences`. With K = (A, D) and the dual variables y and p of A x and D x an iteration is::

        x' = clip(x - T (A^T y + D^T p), lower, upper)
        y' = prox_{S f*}(y + S A (2 x' - x))
        p' = p + s D (2 x' - x), shortened to tv_weight where it is longer

    T, S and s are computed: with the curvature h of f at the projections of a constant image (w for least squares)
    ``S = 0.1 h``, ``1/T = A^T (S A 1) + beta``, ``s = beta / sum_k (4 / spacing_k^2)`` and beta = 0.3 times the mean of
    ``A^T (S A 1)``. For weights that are not negative ``A^T S A <= diag(A^T (S A 1))``, so that the method converges.
    It does so neither monotonically in the objective nor fast at the end; ``fixed_point_residual`` never rises.

    Ray weights, data and tv_weight have the usual scales: with c times the data a solution of least squares for c times
    tv_weight is c times as large. For a tv_weight that suits a scan take some 1e-4 to 1e-2 times
    :func:`constant_tv_weight`.

    One application of A and of its transpose an iteration, and one of each to start; one more of A where ``init`` is
    given. Besides a few volumes and projections there are as many dual volumes as axes.

    Args:
        A: a linear operator with weights that are not negative and a matched transpose, such as
            :class:`jaxct.Projector`.
        data: of shape ``A.out_shape``. Rays that meet no voxel are left out, in the objective, too.
        num_iters: number of iterations (static under ``jit``).
        tv_weight: weight of total variation, not negative.
        init: first iterate, of shape ``A.in_shape``; zero if None. It is not clipped.
        fit: see above.
        weights: of the rays, not negative, broadcasting to ``A.out_shape``; one if None.
        background: expected data without an object (scattered and random coincidences), not negative, likewise; for
            "kullback_leibler" alone.
        spacing: distance between voxels, one for all axes or one for each; of a grid ``grid.voxel_size``, or just its
            ratios. TV is in the unit of the volume over that of spacing.
        lower, upper: bounds of the voxels, scalars or arrays that broadcast to ``A.in_shape``; None is no bound.
        step_ratio: factor of S and s, with 1/T as its inverse: above 1 the dual variables arrive sooner, below 1 the
            volume. It changes how fast a solution is found, not which. For large weights, 3e-3 of
            :func:`constant_tv_weight` and more, 3 is faster.
        differentiate: "unrolled": the derivative is that of the iterate, and in reverse mode all iterates are kept.
            "implicit": it is that of the solution, by :func:`~jaxct.reconstruct.implicit.fixed_point` in the data,
            weights, tv_weight and the leaves of A (a projector's geometry), for ``num_iters`` products with the
            derivative of a step, in reverse mode alone; none of the iterates is kept, and the history has no
            derivative. It is right as far as the iterates have converged.
        loop: callback (with a :class:`PDHGState`), progress, stop, checkpoint: see
            :class:`~jaxct.reconstruct.LoopOptions`.

    Returns:
        ``Result(volume, history)``; the history has after each iteration the ``objective``, and
        ``fixed_point_residual``, the length of the step in the method's own metric, ``|x' - x|^2 / T + |y' - y|^2 / S
        + |p' - p|^2 / s - 2 <A (x' - x), y' - y> - 2 <D (x' - x), p' - p>`` under the root: it is zero at a solution.

    Raises:
        ValueError: where a shape does not fit the operator, for a negative number of iterations, bounds that cross,
            weights that are negative, negative data for "kullback_leibler", an unknown fit, a background that it does
            not have. Values that are traced are not looked at.
        TypeError: for values that are not real numbers.

    References:
        A. Chambolle and T. Pock, "A first-order primal-dual algorithm for convex problems with applications to
        imaging", J. Math. Imaging Vis. 40 (2011) 120-145; T. Pock and A. Chambolle, "Diagonal preconditioning for first
        order primal-dual algorithms in convex optimization", ICCV 2011, 1762-1769; E. Y. Sidky, J. H. Jorgensen and
        X. Pan, "Convex optimization problem prototyping for image reconstruction in computed tomography with the
        Chambolle-Pock algorithm", Phys. Med. Biol. 57 (2012) 3065-3091; metric of the steps: B. He and X. Yuan,
        "Convergence analysis of primal-dual algorithms for a saddle-point problem", SIAM J. Imaging Sci. 5 (2012)
        119-149.
    """
    data, init = check_fit_data(A, data, init, fit)
    lower, upper = check_bounds(lower, upper, tuple(A.in_shape), data.dtype)
    tv_weight = check_nonnegative("tv_weight", tv_weight, (), data.dtype)
    spacing = _validate.per_axis("spacing", spacing, len(A.in_shape), positive=True).astype(data.dtype)
    step_ratio = _validate.scalar("step_ratio", step_ratio, positive=True).astype(data.dtype)
    ray_sums = A(jnp.ones(A.in_shape, data.dtype))
    term = data_fit(A, data, ray_sums, fit=fit, weights=weights, background=background)
    dual = dual_steps(term, ray_sums, step_ratio)
    steps = gradient_steps(dual, A.T(dual * ray_sums), spacing)
    state = _start(A, init, term, steps, spacing, tv_weight)
    operands = _Operands(A, term, tv_weight, spacing, steps, lower, upper)
    if _validate.choice("differentiate", differentiate, DERIVATIVES) == "unrolled":
        state, history = iterate(_step, state, operands, num_iters=num_iters, label="PDHG", **loop)
        return Result(state.volume, history)
    fixed = jax.lax.stop_gradient((state, operands))
    state, history = iterate(_step, *fixed, num_iters=num_iters, label="PDHG", **loop)
    state = fixed_point(_next_state, state, operands, num_iters=0, adjoint_iters=num_iters)
    return Result(state.volume, history)


def check_fit_data(
    A: LinearOperator,  # noqa: N803
    data: ArrayLike,
    init: ArrayLike | None,
    fit: str,
) -> tuple[Array, Array | None]:
    """As :func:`~jaxct.reconstruct.run.check_data`; for "kullback_leibler" none of the data is negative."""
    checked = check_data(A, data, init)
    if fit == "kullback_leibler":
        require_nonnegative("data", data)  # as given: what is made of it is traced under jit
    return checked


def data_fit(
    A: LinearOperator,  # noqa: N803
    data: Array,
    ray_sums: Array,
    *,
    fit: str,
    weights: ArrayLike | None,
    background: ArrayLike | None,
) -> DataFit:
    """The checked fit, the weight of rays that meet nothing being zero. ``ray_sums`` is A 1."""
    shape = tuple(A.out_shape)
    kind = _validate.choice("fit", fit, FITS)
    if kind != "kullback_leibler" and background is not None:
        raise ValueError(f"background: only for fit='kullback_leibler', got fit={kind!r}; subtract it from the data")
    w = check_nonnegative("weights", 1.0 if weights is None else weights, shape, data.dtype)
    met = reciprocal(ray_sums)
    w = jnp.where(met == 0, 0, w + 0 * met)  # what is NaN shows
    if background is not None:
        background = jnp.broadcast_to(check_nonnegative("background", background, shape, data.dtype), shape)
    return DataFit(where_weighed(data, w), w, background, kind)


def dual_steps(fit: DataFit, ray_sums: Array, step_ratio: Array) -> Array:
    """S: a share of the fit's curvature at the projections of a constant image that is about as bright as the data."""
    counted = jnp.where(fit.weights == 0, 0, ray_sums)
    level = ratio(jnp.sum(jnp.where(fit.weights == 0, 0, jnp.abs(fit.data))), jnp.sum(counted))
    return FIT_STEP * step_ratio * fit.curvature(or_one(level) * ray_sums)


def gradient_steps(dual: Array, diagonal: Array, spacing: Array) -> Steps:
    """T and s to S: ``1/T = diagonal + beta``, beta a share of the diagonal's mean."""
    share = VARIATION_STEP * jnp.mean(diagonal)
    # Without any weight (or data that count) there is nothing to balance.
    share = or_one(share)
    norm = squared_gradient_norm(diagonal.shape, spacing)
    return Steps(1 / (diagonal + share), dual, share / jnp.where(norm > 0, norm, 1))


def _start(
    A: LinearOperator,  # noqa: N803
    init: Array | None,
    fit: DataFit,
    steps: Steps,
    spacing: Array,
    tv_weight: Array,
) -> PDHGState:
    """The first step of the dual variables, from zero."""
    if init is None:
        volume, projections = jnp.zeros(A.in_shape, fit.data.dtype), jnp.zeros_like(fit.data)
    else:
        volume, projections = init, A(init)
    dual = fit.prox_conjugate(steps.dual * projections, steps.dual)
    slopes = tuple(steps.dual_gradient * slope for slope in gradient(volume, spacing))
    field = project_dual_ball(slopes, tv_weight)
    return PDHGState(volume, projections, dual, field, transposed_gradient(field, spacing))


def _step(state: PDHGState, operands: _Operands) -> tuple[PDHGState, dict[str, Array]]:
    A, fit, tv_weight, spacing, steps, lower, upper = operands  # noqa: N806
    volume = box(state.volume - steps.volume * (A.T(state.dual) + state.adjoint_gradient), lower, upper)
    projections = A(volume)
    dual = fit.prox_conjugate(state.dual + steps.dual * (2 * projections - state.projections), steps.dual)
    slopes = gradient(2 * volume - state.volume, spacing)
    raised = tuple(p + steps.dual_gradient * slope for p, slope in zip(state.dual_gradient, slopes, strict=True))
    field = project_dual_ball(raised, tv_weight)
    new = PDHGState(volume, projections, dual, field, transposed_gradient(field, spacing))
    objective = fit.value(projections) + tv_weight * field_norm(gradient(volume, spacing))
    return new, {"objective": objective, "fixed_point_residual": _step_length(state, new, steps)}


def _next_state(state: PDHGState, operands: _Operands) -> PDHGState:
    return _step(state, operands)[0]


def _step_length(before: PDHGState, after: PDHGState, steps: Steps) -> Array:
    x, q, y, p, u = jax.tree.map(jnp.subtract, after, before)
    rays = jnp.where(steps.dual == 0, 0, y * (y / or_one(steps.dual) - 2 * q))
    voxels = x * (x / steps.volume - 2 * u)
    dual_gradient = sum((jnp.sum(part**2) for part in p), jnp.zeros((), x.dtype)) / steps.dual_gradient
    return root(jnp.maximum(jnp.sum(rays) + jnp.sum(voxels) + dual_gradient, 0))


def constant_tv_weight(
    A: LinearOperator,  # noqa: N803
    data: ArrayLike,
    *,
    fit: str = "least_squares",
    weights: ArrayLike | None = None,
    background: ArrayLike | None = None,
    spacing: ArrayLike = 1.0,
) -> Array:
    r"""A weight of total variation from which on the best volume is constant: the unit in which to choose weights.

    The constant c that fits best is a minimiser of ``f(A x) + weight TV(x)`` if there is a field p, nowhere longer than
    weight, with ``D^T p = g``, ``g = -A^T f'(A c)``. Such a p is ``D phi`` with ``D^T D phi = g``, Poisson's equation,
    solved by cosine transforms; its greatest length is returned. (The least weight may be smaller.) Useful weights of
    a scan are some 1e-4 to 1e-2 of it. It scales like tv_weight: with the data (of least squares), the weights of the
    rays, the lengths of their paths and the spacing.

    One application of A and of its transpose.

    Args:
        A, data, weights, background, spacing: as for :func:`pdhg`.
        fit: "least_squares" or "kullback_leibler".

    Returns:
        A scalar.

    Raises:
        ValueError, TypeError: as :func:`pdhg`.
    """
    data, _ = check_fit_data(A, data, None, fit)
    _validate.choice("fit", fit, FITS[:2])
    spacing = _validate.per_axis("spacing", spacing, len(A.in_shape), positive=True).astype(data.dtype)
    ray_sums = A(jnp.ones(A.in_shape, data.dtype))
    term = data_fit(A, data, ray_sums, fit=fit, weights=weights, background=background)
    slope = -A.T(term.derivative(_best_constant(term, ray_sums) * ray_sums))
    potential = _solve_poisson(slope, spacing)
    return jnp.max(field_lengths(gradient(potential, spacing)))


def _best_constant(fit: DataFit, ray_sums: Array) -> Array:
    """c that minimises f(c A 1), at least 0 for the Kullback-Leibler distance."""
    counted = jnp.where(fit.weights == 0, 0, fit.weights * ray_sums)
    if fit.kind == "least_squares":
        return ratio(jnp.sum(counted * fit.data), jnp.sum(counted * ray_sums))
    greatest = ratio(jnp.sum(jnp.where(fit.weights == 0, 0, fit.weights * fit.data)), jnp.sum(counted))
    return greatest if fit.background is None else _bisect(fit, ray_sums, greatest)


@jax.jit
def _bisect(fit: DataFit, ray_sums: Array, greatest: Array) -> Array:
    """The derivative in c rises, and is not negative where the fit without background has its minimum."""

    def halve(bracket: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        low, high = bracket
        middle = (low + high) / 2
        rising = jnp.vdot(ray_sums, fit.derivative(middle * ray_sums)) > 0
        return (jnp.where(rising, low, middle), jnp.where(rising, middle, high)), None

    (low, high), _ = jax.lax.scan(halve, (jnp.zeros_like(greatest), greatest), length=50)
    return (low + high) / 2


@jax.jit
def _solve_poisson(source: Array, spacing: Array) -> Array:
    """phi of mean zero with ``D^T D phi = source - its mean``, exactly: cosines are the eigenvectors of D^T D."""
    eigenvalues = jnp.zeros((), source.dtype)
    for axis, size in enumerate(source.shape):
        waves = (2 - 2 * jnp.cos(jnp.pi * jnp.arange(size, dtype=source.dtype) / size)) / spacing[axis] ** 2
        eigenvalues = eigenvalues + waves.reshape([-1 if k == axis else 1 for k in range(source.ndim)])
    return idctn(ratio(dctn(source, norm="ortho"), eigenvalues), norm="ortho")
