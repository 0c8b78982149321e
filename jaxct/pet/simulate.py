"""Scans as a scanner would record them: expected counts, Poisson realisations of them, and lists of coincidences.

Everything takes a ``jax.random`` key where something is drawn, and works under ``jit`` and ``vmap`` where it says so.
"""

from collections.abc import Callable
from typing import NamedTuple, TypedDict, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.phantoms import noise

# What differences of exact integrals may be below zero, as a part of the largest; it counts as zero.
_ROUNDING = 1e-5


class Expectation(NamedTuple):
    """Expected counts, all of the projections' shape: ``y ~ Poisson(trues + scatter + randoms)``."""

    trues: jax.Array
    """``scale * factors * projections``."""
    scatter: jax.Array
    randoms: jax.Array
    factors: jax.Array
    """Attenuation times normalisation: what a model multiplies its projections with."""
    scale: jax.Array
    """Counts per unit of activity times length: a reconstruction with ``factors`` shows ``scale * activity``."""

    @property
    def background(self) -> jax.Array:
        """Scatter plus randoms."""
        return self.scatter + self.randoms

    @property
    def prompts(self) -> jax.Array:
        """All that is recorded."""
        return self.trues + self.background


class SimulatedScan(NamedTuple):
    """Realisations of a scan: ``data[r] ~ Poisson(trues + background)``, independent of one another."""

    data: jax.Array
    """(num_realisations, *projection shape) counts, in the projections' dtype."""
    trues: jax.Array
    background: jax.Array
    """What a reconstruction is given as the expected background."""
    factors: jax.Array
    scale: jax.Array
    """``trues = factors * A(scale * activity)``: what a reconstruction shows is ``scale * activity``."""


class ScanPhysics(TypedDict, total=False):
    """What stands between activity and expected counts: the keyword arguments of :func:`expected_counts`."""

    attenuation: ArrayLike | None
    normalisation: ArrayLike | None
    scatter_fraction: ArrayLike
    randoms_fraction: ArrayLike
    scatter: ArrayLike | None
    randoms: ArrayLike | None


def expected_counts(
    projections: ArrayLike,
    *,
    counts: ArrayLike,
    attenuation: ArrayLike | None = None,
    normalisation: ArrayLike | None = None,
    scatter_fraction: ArrayLike = 0.0,
    randoms_fraction: ArrayLike = 0.0,
    scatter: ArrayLike | None = None,
    randoms: ArrayLike | None = None,
) -> Expectation:
    """Expected counts of a scan of which the total and the fractions are known.

    With N = ``counts``, the randoms add up to ``randoms_fraction * N``, the scatter to ``scatter_fraction`` of the rest
    (as NEMA NU 2 defines it: scatter / (trues + scatter)), the trues to what remains. The trues are distributed like
    ``normalisation * attenuation * projections``.

    Args:
        projections: line integrals of the activity, any shape, with or without time of flight: of an operator or of
            :meth:`jaxct.phantoms.Phantom.project`.
        counts: expected number of all coincidences (prompts).
        attenuation: factors ``exp(-line integral of mu)``; None: 1. These and all that follow broadcast to the
            projections; for projections with time of flight they end with an axis of length 1.
        normalisation: detection efficiency of each line; None: 1.
        scatter_fraction: in [0, 1).
        randoms_fraction: in [0, 1).
        scatter: how the scatter is distributed, on any scale, efficiencies included; None: like ``normalisation``.
        randoms: how the randoms are distributed, likewise.

    Raises:
        ValueError: negative factors or distributions, fractions outside [0, 1), no counts, shapes that do not
            broadcast, projections or a distribution that are zero everywhere.
        TypeError: values that are not real numbers.
    """
    p = _distribution("projections", projections, None)
    total = _validate.scalar("counts", counts, positive=True).astype(p.dtype)
    share = _fraction("randoms_fraction", randoms_fraction, p.dtype)
    scattered = _fraction("scatter_fraction", scatter_fraction, p.dtype)
    one = jnp.ones((), p.dtype)
    efficiency = one if normalisation is None else _distribution("normalisation", normalisation, p)
    factors = efficiency if attenuation is None else efficiency * _distribution("attenuation", attenuation, p)
    factors = jnp.broadcast_to(factors, p.shape)
    shape_s = efficiency if scatter is None else _distribution("scatter", scatter, p)
    shape_r = efficiency if randoms is None else _distribution("randoms", randoms, p)

    geometric = factors * p
    sum_p = _sum(geometric)
    if _validate.concrete(sum_p) and not sum_p > 0:
        raise ValueError("projections times factors must not be zero everywhere: there is nothing to count")
    scale = total * (1 - share) * (1 - scattered) / sum_p
    return Expectation(
        trues=scale * geometric,
        scatter=_spread(shape_s, total * (1 - share) * scattered, p.shape),
        randoms=_spread(shape_r, total * share, p.shape),
        factors=factors,
        scale=scale,
    )


def realisations(key: jax.Array, expected: ArrayLike, num_realisations: int) -> jax.Array:
    """Independent Poisson variables of given expectation, (num_realisations, *shape).

    Works under jit, vmap and, with zero derivative, grad. Above 1e5 counts a bin the variable is drawn as a rounded
    normal one, as in :func:`jaxct.phantoms.noise.photon_counts`.

    Args:
        key: a ``jax.random`` key.
        expected: expected counts, not negative, any shape.
        num_realisations: how many to draw.

    Raises:
        ValueError: negative values, no realisations.
        TypeError: values that are not real numbers, a number that is no integer.
    """
    mean = _distribution("expected", expected, None)
    keys = jax.random.split(key, _validate.count("num_realisations", num_realisations))
    # Nothing expected, nothing drawn: the smallest number takes the place of the zero that photon_counts refuses.
    mean = jnp.maximum(mean, jnp.finfo(mean.dtype).tiny)
    nothing_absorbed = jnp.zeros_like(mean)
    return jax.lax.map(lambda k: noise.photon_counts(k, nothing_absorbed, mean), keys)


def simulate(
    key: jax.Array,
    A: Callable[[jax.Array], jax.Array],  # noqa: N803
    activity: ArrayLike,
    *,
    counts: ArrayLike,
    num_realisations: int = 1,
    **physics: Unpack[ScanPhysics],
) -> SimulatedScan:
    """Scans of an activity image with an operator, several realisations of the same.

    ``data[r] ~ Poisson(factors * A(scale * activity) + background)``. Works under jit and vmap.

    Args:
        key: a ``jax.random`` key.
        A: an operator, ``A(activity)`` its projections.
        activity: image that A takes.
        counts: expected number of coincidences in every realisation.
        num_realisations: how many to draw.
        **physics: ``attenuation``, ``normalisation``, ``scatter_fraction``, ``randoms_fraction``, ``scatter`` and
            ``randoms`` as of :func:`expected_counts`.

    Raises:
        ValueError, TypeError: as for :func:`expected_counts` and :func:`realisations`.
    """
    expected = expected_counts(A(jnp.asarray(activity)), counts=counts, **physics)
    data = realisations(key, expected.prompts, num_realisations)
    return SimulatedScan(data, expected.trues, expected.background, expected.factors, expected.scale)


def list_events(key: jax.Array, counts: ArrayLike) -> jax.Array:
    """The coincidences of a histogram one by one, in random order: list mode with exactly its counts.

    ``jnp.zeros(shape).at[tuple(events.T)].add(1)`` is the histogram again. Of a Poisson realisation this is a scan in
    list mode whose sinogram is that realisation. Not under jit: how many events there are must be known.

    Args:
        key: a ``jax.random`` key, for the order.
        counts: concrete whole numbers, not negative, any shape; one realisation.

    Returns:
        (events, rank) int32 indices into ``counts``.

    Raises:
        ValueError: negative or broken counts, no counts, 2^31 bins or events and more.
        TypeError: counts that are not real numbers.
    """
    numbers = np.asarray(counts)
    if not (np.issubdtype(numbers.dtype, np.integer) or np.issubdtype(numbers.dtype, np.floating)):
        raise TypeError(f"counts must be real numbers, got an array of {numbers.dtype}")
    if numbers.ndim == 0 or not ((numbers >= 0) & (numbers == np.floor(numbers))).all():
        raise ValueError("counts must be an array of whole numbers that are not negative")
    total = int(numbers.sum(dtype=np.float64))
    if not 0 < total < 2**31 or numbers.size >= 2**31:
        raise ValueError(f"counts must hold between 1 and 2^31 - 1 events and bins, got {total} in {numbers.size}")
    bins = np.repeat(np.arange(numbers.size, dtype=np.int32), numbers.astype(np.int64).ravel())
    order = jax.random.permutation(key, jnp.asarray(bins))
    return jnp.stack(jnp.unravel_index(order, numbers.shape), -1)


def draw_events(key: jax.Array, expected: ArrayLike, num_events: int) -> jax.Array:
    """Independent coincidences, each in bin i with probability ``expected_i / sum(expected)``.

    What is drawn is one index after the other, each given those before it, so that sums of 1e9 bins keep their digits.
    Works under jit and vmap. A scan of given duration has Poisson(sum) events: draw that number first.

    Args:
        key: a ``jax.random`` key.
        expected: expected counts, on any scale, not negative, not all zero, any shape but a scalar.
        num_events: how many to draw.

    Returns:
        (num_events, rank) int32 indices into ``expected``.

    Raises:
        ValueError: negative values, zero everywhere, a scalar, 2^31 bins or more, no events.
        TypeError: values that are not real numbers, a number that is no integer.
    """
    mean = _distribution("expected", expected, None)
    number = _validate.count("num_events", num_events)
    if mean.ndim == 0 or mean.size >= 2**31:
        raise ValueError(f"expected must have one axis or more and less than 2^31 bins, got shape {mean.shape}")
    if _validate.concrete(mean) and not _sum(mean) > 0:
        raise ValueError("expected must not be zero everywhere")
    before = jnp.zeros(number, np.int32)  # what was drawn so far, as one index into the axes done
    for axis, axis_key in enumerate(jax.random.split(key, mean.ndim)):
        length = mean.shape[axis]
        cumulative = jnp.cumsum(_sum(mean, axis + 1).reshape(-1, length), -1)
        total = cumulative[before, -1]
        level = jnp.minimum(
            jax.random.uniform(axis_key, (number,), mean.dtype) * total, jnp.nextafter(total, 0 * total)
        )
        before = before * length + _first_above(cumulative, before, level)
    return jnp.stack(jnp.unravel_index(before, mean.shape), -1)


def _first_above(cumulative: jax.Array, row: jax.Array, level: jax.Array) -> jax.Array:
    """The first place in a row whose value is above the level, for many rows at once, by bisection."""
    low, high = jnp.zeros_like(row), jnp.full_like(row, cumulative.shape[1] - 1)
    for _ in range(int(np.ceil(np.log2(cumulative.shape[1])))):
        middle = (low + high) // 2
        above = cumulative[row, middle] > level
        low, high = jnp.where(above, low, middle + 1), jnp.where(above, middle, high)
    return high


def _distribution(name: str, value: ArrayLike, projections: jax.Array | None) -> jax.Array:
    """Not negative but for rounding, of the projections' type and broadcasting to them."""
    array = _validate.floats(name, value)
    if _validate.concrete(array) and array.size and array.min() < -_ROUNDING * array.max():
        raise ValueError(f"{name} must not be negative, got {array.min():g}")
    array = jnp.maximum(array, 0)
    if projections is None:
        return array
    try:
        fits = jnp.broadcast_shapes(array.shape, projections.shape) == projections.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name} must broadcast to the projections' shape {projections.shape}, got {array.shape}")
    return array.astype(projections.dtype)


def _fraction(name: str, value: ArrayLike, dtype: np.dtype) -> jax.Array:
    fraction = _validate.scalar(name, value)
    if _validate.concrete(fraction) and not 0 <= fraction < 1:
        raise ValueError(f"{name} must lie in [0, 1), got {fraction:g}")
    return fraction.astype(dtype)


def _spread(weights: jax.Array, total: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """``total`` counts distributed like the weights."""
    weights = jnp.broadcast_to(weights, shape)
    whole = _sum(weights)
    if _validate.concrete(whole, total) and total > 0 and not whole > 0:
        raise ValueError("scatter and randoms must not be zero everywhere if there are any")
    return total * weights / jnp.where(whole > 0, whole, 1)


def _sum(x: jax.Array, axes: int = 0) -> jax.Array:
    """Over all axes but the first ``axes``, one by one: float32 keeps its digits."""
    while x.ndim > axes:
        x = jnp.sum(x, -1)
    return x
