"""What pairs of crystals have in common: random coincidences, efficiencies; and dead time."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.pet.sinograms import SinogramLayout

DEAD_TIMES = ("non_paralysable", "paralysable")


def pair_products(values: ArrayLike, layout: SinogramLayout) -> Array:
    r"""``sum v_i v_j`` over the pairs of crystals (i, j) of every bin of a sinogram.

    Args:
        values: v, (rings, crystals); what is in gaps counts, too, and should be 0.
        layout: of the sinogram.

    Returns:
        ``layout.shape``, (views, planes, bins).

    Raises:
        ValueError: values of another shape.
        TypeError: values that are not real numbers.
    """
    array = _validate.floats("values", values)
    scanner = layout.scanner
    if array.shape != (scanner.num_rings, scanner.num_crystals):
        wanted = scanner.num_rings, scanner.num_crystals
        raise ValueError(f"values must have shape (rings, crystals) = {wanted}, got {array.shape}")
    return _pair_products(array, jnp.asarray(layout.ring_pairs), jnp.asarray(layout.crystal_pairs))


def randoms_from_singles(
    singles: ArrayLike, layout: SinogramLayout, *, coincidence_window: ArrayLike, duration: ArrayLike = 1.0
) -> Array:
    r"""Expected random coincidences of every bin, ``2 tau r_i r_j duration`` summed over its pairs of crystals.

    Args:
        singles: r, single events per second, (rings, crystals).
        layout: of the sinogram.
        coincidence_window: 2 tau, in seconds: the range of differences in time, of either sign, that is taken.
        duration: in seconds.

    Returns:
        ``layout.shape``: counts, of all time-of-flight bins together. They are spread evenly over these.

    Raises:
        ValueError: singles of another shape, a window or a duration that is not positive.
        TypeError: values that are not real numbers.

    References:
        D. L. Bailey, D. W. Townsend, P. E. Valk and M. N. Maisey (eds.), "Positron emission tomography: basic
        sciences", Springer 2005, chapter 4.
    """
    window = _validate.floats("coincidence_window", coincidence_window, positive=True)
    time = _validate.floats("duration", duration, positive=True)
    return window * time * pair_products(singles, layout)


def randoms_from_delayeds(delayeds: ArrayLike, layout: SinogramLayout, *, num_iters: int = 20) -> Array:
    r"""Expected random coincidences of every bin from measured delayed ones, with their noise taken out.

    Delayed coincidences of crystals i and j have the mean ``r_i r_j`` in some unit: a few thousand numbers r
    (:func:`fit_crystals`) say what the millions of bins, with hardly a count each, do. Iterated fan sums.

    Args:
        delayeds: counts, ``layout.shape``, without time of flight.
        layout: of the sinogram.
        num_iters: of the fit (static).

    Returns:
        ``layout.shape``, with as many counts as there were, in the sum over the fan of any crystal.

    Raises:
        ValueError, TypeError: as :func:`fit_crystals`.

    References:
        M. E. Casey and E. J. Hoffman, "Quantitation in positron emission computed tomography: 7. A technique to reduce
        noise in accidental coincidence measurements and coincidence efficiency calibration", J. Comput. Assist.
        Tomogr. 10 (1986) 845-850; V. Y. Panin, M. Chen and C. Michel, "Simultaneous update iterative algorithm for
        variance reduction on random coincidences in PET", IEEE Nucl. Sci. Symp. Conf. Rec. (2007) 2807-2811.
    """
    return pair_products(fit_crystals(delayeds, layout, num_iters=num_iters), layout)


def fit_crystals(
    counts: ArrayLike, layout: SinogramLayout, *, factors: ArrayLike | None = None, num_iters: int = 20
) -> Array:
    r"""The most likely values v of the crystals for ``counts ~ Poisson(factors sum v_i v_j)``, the sum over a bin's
    pairs.

    For delayed coincidences the v are rates of singles, up to a unit; for a scan of a uniform source, with what is
    expected of perfect crystals as factors, they are efficiencies. With the bins' expected counts m,

        v_i <- v_i sqrt(sum_j v_j f_b y_b / m_b / sum_j v_j f_b),    b the bin of (i, j)

    The likelihood never falls, and at the end each crystal's fan has as many counts as were measured.

    Args:
        counts: not negative, ``layout.shape``.
        layout: of the sinogram.
        factors: not negative, broadcasting to that shape; 1 if None. Bins of factor 0 are left out.
        num_iters: number of iterations (static).

    Returns:
        (rings, crystals); 0 in gaps and for crystals without counts.

    Raises:
        ValueError: shapes that do not fit, negative values, a number of iterations that is not positive.
        TypeError: values that are not real numbers.

    References:
        As for :func:`randoms_from_delayeds`; D. Hogg, K. Thielemans, T. Spinks and N. Spyrou, "Maximum-likelihood
        estimation of normalisation factors for PET", IEEE Nucl. Sci. Symp. Conf. Rec. (2001) 2065-2069.
    """
    measured = _not_negative("counts", counts)
    if measured.shape != layout.shape:
        raise ValueError(f"counts must have the layout's shape {layout.shape}, got {measured.shape}")
    weights = _not_negative("factors", 1.0 if factors is None else factors).astype(measured.dtype)
    try:
        weights = jnp.broadcast_to(weights, layout.shape)
    except ValueError as error:
        raise ValueError(f"factors must broadcast to {layout.shape}, got shape {weights.shape}") from error
    scanner = layout.scanner
    live = jnp.asarray(scanner.live_rings[:, None] & scanner.live, measured.dtype)
    tables = jnp.asarray(layout.ring_pairs), jnp.asarray(layout.crystal_pairs)
    return _fit(live, measured, weights, tables, num_iters=_validate.count("num_iters", num_iters))


def normalization_factors(efficiencies: ArrayLike, layout: SinogramLayout, *, geometric: ArrayLike = 1.0) -> Array:
    r"""What a bin measures of what comes along its mean line, ``g_b sum e_i e_j`` over its pairs of crystals.

    Args:
        efficiencies: e, (rings, crystals); 0 in gaps.
        layout: of the sinogram.
        geometric: g, for pairs of perfect crystals (solid angle, depth of interaction, interference of block and
            position), broadcasting to ``layout.shape``.

    Returns:
        ``layout.shape``: factors of the rays, for :class:`jaxct.operators.Diagonal`.

    Raises:
        ValueError, TypeError: as :func:`pair_products`.

    References:
        R. D. Badawi and P. K. Marsden, "Developments in component-based normalization for 3D PET", Phys. Med. Biol. 44
        (1999) 571-594.
    """
    return _validate.floats("geometric", geometric) * pair_products(efficiencies, layout)


def live_fraction(rate: ArrayLike, dead_time: ArrayLike, *, model: str = "non_paralysable") -> Array:
    r"""The share of events that a detector records.

    "non_paralysable": ``1 / (1 + n tau)``, an event during the dead time is merely lost; "paralysable":
    ``exp(-n tau)``, it makes the detector dead anew.

    Args:
        rate: n, true events per second, of any shape.
        dead_time: tau, in seconds.
        model: of the two.

    Raises:
        ValueError: negative values, an unknown model.
        TypeError: values that are not real numbers.

    References:
        G. F. Knoll, "Radiation detection and measurement", 4th ed., Wiley 2010, chapter 4.
    """
    _validate.choice("model", model, DEAD_TIMES)
    load = _not_negative("rate", rate) * _not_negative("dead_time", dead_time)
    return 1 / (1 + load) if model == "non_paralysable" else jnp.exp(-load)


def true_rate(recorded_rate: ArrayLike, dead_time: ArrayLike, *, model: str = "non_paralysable") -> Array:
    r"""The rate of events of which this rate is recorded, the inverse of :func:`live_fraction`: ``n live_fraction(n) =
    recorded``.

    A paralysable detector records each rate for two: the smaller one is returned, up to ``n tau = 1``.

    Args:
        recorded_rate: events per second, of any shape.
        dead_time: tau, in seconds.
        model: as for :func:`live_fraction`.

    Returns:
        The true rate; infinite or NaN where no rate is recorded as this: ``recorded tau`` is 1 or more, or 1/e.

    Raises:
        ValueError, TypeError: as for :func:`live_fraction`.
    """
    _validate.choice("model", model, DEAD_TIMES)
    rate, tau = _not_negative("recorded_rate", recorded_rate), _not_negative("dead_time", dead_time)
    load = rate * tau
    if model == "non_paralysable":
        return jnp.where(load < 1, rate / (1 - jnp.minimum(load, 1)), jnp.inf)
    # x = log(n tau / load) solves x = load exp(x), by Newton's method from below, where it is monotone.
    x = jnp.zeros_like(load)
    for _ in range(40):  # at the summit, a double root, an iteration is a bit of the result
        grown = load * jnp.exp(x)
        x = x + (grown - x) / jnp.maximum(1 - grown, jnp.finfo(load.dtype).eps)
    return jnp.where(load <= np.exp(-1), rate * jnp.exp(jnp.minimum(x, 1)), jnp.nan)


def _not_negative(name: str, value: ArrayLike) -> Array:
    array = _validate.floats(name, value)
    with jax.ensure_compile_time_eval():
        if _validate.concrete(array) and array.size and (least := float(jnp.min(array))) < 0:
            raise ValueError(f"{name} must not be negative, got {least:g}")
    return array


@jax.jit
def _pair_products(values: Array, ring_pairs: Array, crystal_pairs: Array) -> Array:
    views, bins, merged, _ = crystal_pairs.shape
    planes, most, _ = ring_pairs.shape

    def add(total: Array, numbers: Array) -> tuple[Array, None]:
        rings, crystals = ring_pairs[:, numbers[0]], crystal_pairs[:, :, numbers[1]]
        ends = jnp.where(rings[:, :, None] >= 0, values[rings], 0)  # (planes, 2, crystals)
        products = ends[:, 0][:, crystals[..., 0]] * ends[:, 1][:, crystals[..., 1]]
        return total + products.swapaxes(0, 1), None

    steps = jnp.stack(jnp.meshgrid(jnp.arange(most), jnp.arange(merged), indexing="ij"), -1).reshape(-1, 2)
    return jax.lax.scan(add, jnp.zeros((views, planes, bins), values.dtype), steps)[0]


@partial(jax.jit, static_argnames="num_iters")
def _fit(live: Array, counts: Array, factors: Array, tables: tuple[Array, Array], *, num_iters: int) -> Array:
    def step(values: Array, _: None) -> tuple[Array, None]:
        pairs, pull_back = jax.vjp(lambda v: _pair_products(v, *tables), values)
        expected = factors * pairs
        (found,) = pull_back(jnp.where(expected > 0, counts / jnp.where(expected > 0, expected, 1), 0) * factors)
        (seen,) = pull_back(factors)
        return values * jnp.sqrt(jnp.where(seen > 0, found / jnp.where(seen > 0, seen, 1), 0)), None

    pairs = jnp.sum(factors * _pair_products(live, *tables))
    start = live * jnp.sqrt(jnp.sum(counts) / jnp.where(pairs > 0, pairs, 1))
    return jax.lax.scan(step, start, None, length=num_iters)[0]
