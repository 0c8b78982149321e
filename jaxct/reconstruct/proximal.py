"""Proximal maps that several solvers share: of total variation, of bounds, of sizes, and of fits to data.

``prox_g(x) = argmin_u |u - x|^2 / 2 + g(u)``. A vector field (a gradient, or a dual variable of total variation) is a
tuple with one array for each axis: one array of all axes would be written and read once more by every operation on it.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxct._arithmetic import or_one, ratio, root
from jaxct._divergence import kullback_leibler
from jaxct.geometry import _validate
from jaxct.reconstruct._checks import check_bounds, check_nonnegative

FITS = ("least_squares", "kullback_leibler", "l1")
Field = tuple[Array, ...]


def gradient(x: Array, spacing: Array) -> Field:
    """The forward differences of :func:`jaxct.priors.differences`, an array for each axis."""
    return tuple(_difference(x, axis) / spacing[axis] for axis in range(x.ndim))


def transposed_gradient(field: Field, spacing: Array) -> Array:
    """The exact transpose of :func:`gradient`: minus the divergence."""
    return sum(
        (_transposed(part, axis) / spacing[axis] for axis, part in enumerate(field)), jnp.zeros((), field[0].dtype)
    )


def squared_gradient_norm(shape: tuple[int, ...], spacing: Array) -> Array:
    """``sum_k 4 / spacing_k^2``, above the square of the gradient's norm; an axis of one voxel has no differences."""
    return sum((4 / spacing[axis] ** 2 for axis, size in enumerate(shape) if size > 1), jnp.zeros((), spacing.dtype))


def field_norm(field: Field) -> Array:
    """``sum_i |field_i|``, of the gradient of x the isotropic total variation of x."""
    return jnp.sum(field_lengths(field))


def field_lengths(field: Field) -> Array:
    """The length of the vector at each voxel."""
    return root(_squares(field))


def project_dual_ball(field: Field, radius: ArrayLike) -> Field:
    """Shorten the vectors longer than ``radius`` to it: projection on the ball that is dual to isotropic variation."""
    # What is within is multiplied by 1, and nothing is divided by zero. Faster than a choice for each vector.
    least = jnp.where(jnp.equal(radius, 0), 1, jnp.square(radius) / 4)
    scale = jnp.minimum(1, radius * jax.lax.rsqrt(jnp.maximum(_squares(field), least)))
    return tuple(part * scale for part in field)


def soft_threshold(x: ArrayLike, threshold: ArrayLike) -> Array:
    """The proximal map of ``threshold |x|_1``: nearer to zero by the threshold, or zero."""
    x = jnp.asarray(x)
    return x - jnp.clip(x, -jnp.asarray(threshold, x.dtype), jnp.asarray(threshold, x.dtype))


def box(x: ArrayLike, lower: ArrayLike | None = None, upper: ArrayLike | None = None) -> Array:
    """The nearest value within the bounds; None is no bound."""
    x = jnp.asarray(x)
    low, high = (None if bound is None else jnp.asarray(bound, x.dtype) for bound in (lower, upper))
    return jnp.clip(x, low, high)


def prox_total_variation(
    x: ArrayLike,
    weight: ArrayLike,
    *,
    num_iters: int = 50,
    spacing: ArrayLike = 1.0,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
) -> Array:
    r"""``argmin_u |u - x|^2 / 2 + weight TV(u)`` over ``lower <= u <= upper``: denoising by isotropic total variation.

    By the fast gradient projection of the dual problem, the error of whose value falls like ``1 / num_iters^2``. TV is
    ``sum_i sqrt(sum_k d_k,i^2)`` with the differences d of :func:`jaxct.priors.differences`.

    Args:
        x: an image of any shape.
        weight: not negative.
        num_iters: iterations, of a few passes over the image each.
        spacing: distance between neighbours, one for all axes or one for each.
        lower, upper: bounds, that broadcast to the shape of x; None is no bound.

    Returns:
        Of the shape of x.

    Raises:
        ValueError: a spacing or a number of iterations that is not positive, a weight that is negative, bounds that
            cross.
        TypeError: values that are not real numbers.

    References:
        A. Beck and M. Teboulle, "Fast gradient-based algorithms for constrained total variation image denoising and
        deblurring problems", IEEE Trans. Image Process. 18 (2009) 2419-2434.
    """
    x = _validate.floats("x", x)
    steps = _validate.per_axis("spacing", spacing, x.ndim, positive=True).astype(x.dtype)
    _validate.count("num_iters", num_iters)
    start = (jnp.zeros_like(x),) * x.ndim
    weight = check_nonnegative("weight", weight, x.shape, x.dtype)
    lower, upper = check_bounds(lower, upper, x.shape, x.dtype)
    return total_variation_dual(x, weight, start, steps, num_iters=num_iters, lower=lower, upper=upper)[0]


@partial(jax.jit, static_argnames="num_iters")
def total_variation_dual(
    x: Array,
    weight: ArrayLike,
    field: Field,
    spacing: Array,
    *,
    num_iters: int,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
) -> tuple[Array, Field]:
    """What :func:`prox_total_variation` computes, from the dual field of an earlier call; and the field to go on from.

    The field is within the ball of radius ``weight``, and the image is ``clip(x - D^T field)``.
    """
    norm = squared_gradient_norm(x.shape, spacing)
    step = 1 / jnp.where(norm > 0, norm, 1)

    def image(adjoint: Array) -> Array:
        return box(x - adjoint, lower, upper)

    # D^T of both fields is carried along: it would be computed anew wherever the image and its neighbours are read.
    def advance(carry: tuple, _: None) -> tuple[tuple, None]:
        field, adjoint, ahead, adjoint_ahead, t = carry
        slopes = gradient(image(adjoint_ahead), spacing)
        new = project_dual_ball(tuple(a + step * s for a, s in zip(ahead, slopes, strict=True)), weight)
        adjoint_new = transposed_gradient(new, spacing)
        t_new = (1 + jnp.sqrt(1 + 4 * t**2)) / 2
        further = (t - 1) / t_new
        ahead = tuple(n + further * (n - f) for n, f in zip(new, field, strict=True))
        return (new, adjoint_new, ahead, adjoint_new + further * (adjoint_new - adjoint), t_new), None

    field = project_dual_ball(field, weight)
    adjoint = transposed_gradient(field, spacing)
    start: tuple = (field, adjoint, field, adjoint, jnp.ones((), x.dtype))
    (field, adjoint, *_), _ = jax.lax.scan(advance, start, length=num_iters)
    return image(adjoint), field


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DataFit:
    r"""A convex distance ``f(q) = sum_i w_i phi(q_i; b_i)`` of projections q from data b.

    "least_squares": ``(q - b)^2 / 2``. "kullback_leibler": ``q + r - b + b log(b / (q + r))`` with the background r, of
    Poisson data, infinite where ``q + r < 0``. "l1": ``|q - b|``. Rays of weight zero do not count.

    Attributes:
        data: b, of the shape of the projections.
        weights: w, not negative, of the same shape.
        background: r, of the same shape; None is none.
        kind: which of the three.
    """

    data: Array
    weights: Array
    background: Array | None
    kind: str = dataclasses.field(metadata={"static": True})

    def value(self, projections: Array) -> Array:
        """f, a scalar."""
        if self.kind == "least_squares":
            terms = (projections - self.data) ** 2 / 2
        elif self.kind == "l1":
            terms = jnp.abs(projections - self.data)
        else:
            mean = projections if self.background is None else projections + self.background
            terms = jnp.where(mean < 0, jnp.inf, kullback_leibler(self.data, mean))
        return jnp.sum(jnp.where(self.weights == 0, 0, self.weights * terms))

    def derivative(self, projections: Array) -> Array:
        """f', of the shape of the projections; of |q - b| at its kink 0."""
        if self.kind == "least_squares":
            return jnp.where(self.weights == 0, 0, self.weights * (projections - self.data))
        if self.kind == "l1":
            return self.weights * jnp.sign(projections - self.data)
        mean = projections if self.background is None else projections + self.background
        return jnp.where(self.weights == 0, 0, self.weights * (1 - ratio(self.data, mean)))

    def curvature(self, projections: Array) -> Array:
        """About how fast f's derivative changes with each of some typical projections; zero for a ray of no weight."""
        if self.kind == "least_squares":
            return self.weights
        mean = jnp.abs(projections) if self.background is None else jnp.abs(projections) + self.background
        return jnp.where(mean == 0, 0, self.weights / or_one(mean))

    def prox_conjugate(self, dual: Array, step: Array) -> Array:
        r"""``argmin_y (y - dual)^2 / (2 step) + f*(y)``, for each ray."""
        w, b = self.weights, self.data
        if self.kind == "least_squares":
            return jnp.where(w == 0, 0, w * (dual - step * b) / jnp.where(w == 0, 1, w + step))
        if self.kind == "l1":
            return jnp.clip(jnp.where(w == 0, 0, dual - step * b), -w, w)
        ahead = dual if self.background is None else dual + step * self.background
        return jnp.where(w == 0, 0, (w + ahead - root((w - ahead) ** 2 + 4 * step * w * b)) / 2)


def _squares(field: Field) -> Array:
    return sum((part**2 for part in field), jnp.zeros((), field[0].dtype))


def _difference(x: Array, axis: int) -> Array:
    size = x.shape[axis]
    inner = jax.lax.slice_in_dim(x, 1, size, axis=axis) - jax.lax.slice_in_dim(x, 0, size - 1, axis=axis)
    return _padded(inner, axis, 0, 1)


def _transposed(part: Array, axis: int) -> Array:
    inner = jax.lax.slice_in_dim(part, 0, part.shape[axis] - 1, axis=axis)
    return _padded(inner, axis, 1, 0) - _padded(inner, axis, 0, 1)


def _padded(x: Array, axis: int, before: int, after: int) -> Array:
    return jnp.pad(x, [(before, after) if k == axis else (0, 0) for k in range(x.ndim)])
