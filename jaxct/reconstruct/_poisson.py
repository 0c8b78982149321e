"""What algorithms for counts share: checks and the likelihood."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxct._divergence import kullback_leibler
from jaxct.reconstruct._checks import check_key, check_nonnegative, check_views, require_nonnegative
from jaxct.reconstruct._static import as_operands, restored
from jaxct.reconstruct.run import LinearOperator, check_data
from jaxct.reconstruct.subsets import Subsets, ViewOperator, ordered_subsets


class CountsBySubsets(NamedTuple):
    """What algorithms that take the views by subsets are given, checked; the background has an entry for each ray."""

    data: Array
    init: Array | None
    background: Array | None
    subsets: Subsets
    key: Array


def check_counts(
    A: LinearOperator,  # noqa: N803
    data: ArrayLike,
    init: ArrayLike | None,
    background: ArrayLike | None,
) -> tuple[Array, Array | None, Array | None]:
    """Data, init and background, of one floating dtype; none of them negative."""
    counts, start = check_data(A, data, init)
    require_nonnegative("data", data)
    if init is not None:
        require_nonnegative("init", init)
    if background is not None:
        background = check_nonnegative("background", background, tuple(A.out_shape), counts.dtype)
    return counts, start, background


def check_counts_by_subsets(
    A: ViewOperator,  # noqa: N803
    data: ArrayLike,
    init: ArrayLike | None,
    background: ArrayLike | None,
    num_subsets: int,
    order: str,
    key: Array | None,
) -> CountsBySubsets:
    """As :func:`check_counts`, with subsets of A's views, and a key for what is random about them."""
    subsets = ordered_subsets(check_views(A), num_subsets, order=order)
    key = check_key(key)
    counts, start, background = check_counts(A, data, init, background)
    background = None if background is None else jnp.broadcast_to(background, A.out_shape)
    return CountsBySubsets(counts, start, background, subsets, jax.random.key(0) if key is None else key)


def log_likelihood(data: Array, expected: Array) -> Array:
    """``sum_i y_i log(m_i / y_i) - (m_i - y_i)``: the logarithm of how much less likely the data y are if m is expected
    than if y were. Rays of which nothing is expected are left out.

    Without the constant that this takes off small differences would not show in single precision.
    """
    return -jnp.sum(jnp.where(expected == 0, 0, kullback_leibler(data, expected)))


def events_log_likelihood(data: Array, expected: Array, total: Array) -> Array:
    """``sum_i y_i (log(m_i / y_i) + 1) - total`` over the events that were listed, with the total of all that was to be
    expected: :func:`log_likelihood` without the rays' list. Events of which nothing is expected are left out.
    """
    known = (expected > 0) & (data > 0)
    terms = data * (jnp.log(jnp.where(known, expected / jnp.where(known, data, 1), 1)) + 1)
    return jnp.sum(jnp.where(known, terms, 0)) - total


def likelihood_of(data: Array, expected: Array, volume: Array, sensitivity: Array | None) -> Array:
    """:func:`events_log_likelihood` where the sensitivity is given, in list mode; else :func:`log_likelihood`."""
    if sensitivity is None:
        return log_likelihood(data, expected)
    return events_log_likelihood(data, expected, jnp.vdot(sensitivity, volume))


def check_sensitivity(
    A: LinearOperator,  # noqa: N803
    sensitivity: ArrayLike | None,
    dtype: jnp.dtype,
) -> Array | None:
    """That of the whole scan in the shape of an image, or None."""
    if sensitivity is None:
        return None
    shape = tuple(A.in_shape)
    return jnp.broadcast_to(check_nonnegative("sensitivity", sensitivity, shape, dtype), shape)


def check_prior(
    A: LinearOperator,  # noqa: N803
    prior: Any,
    curvature: ArrayLike | None,
    dtype: jnp.dtype,
) -> Array:
    """The curvature that goes with a prior, 0 without one."""
    if (prior is None) != (curvature is None):
        raise ValueError(f"prior and curvature belong together, got prior {prior!r} and curvature {curvature!r}")
    require_function("prior", prior)
    return check_nonnegative("curvature", 0.0 if curvature is None else curvature, tuple(A.in_shape), dtype)


def check_any_prior(
    A: LinearOperator,  # noqa: N803
    prior: Any,
    curvature: ArrayLike,
    dtype: jnp.dtype,
) -> tuple[Any, Array]:
    """A prior as an operand, and a curvature that it need not have."""
    require_function("prior", prior)
    return as_operands(prior), check_nonnegative("curvature", curvature, tuple(A.in_shape), dtype)


def require_function(name: str, value: Any) -> None:
    """Or None."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be a function, got {value!r}")


def penalty_of(prior: Any, volume: Array) -> tuple[Array, Array]:
    """Value and gradient of a prior among operands; zeros without one."""
    penalty = restored(prior)
    if penalty is None:
        return jnp.zeros((), volume.dtype), jnp.zeros_like(volume)
    return jax.value_and_grad(penalty)(volume)
