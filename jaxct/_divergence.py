"""The distance that goes with Poisson data, for objectives and solvers alike."""

import jax
import jax.numpy as jnp

# Of r = (m - y) / (m + y); ten terms of the series below are all digits of float64 up to here.
NEAR = 0.2
SERIES = tuple(1 / (2 * k + 3) for k in range(10))


@jax.jit
def kullback_leibler(counts: jax.Array, mean: jax.Array) -> jax.Array:
    r"""``m - y + y log(y / m)`` of counts y and means m, for each: not negative, and 0 where they agree.

    Without counts it is m, whatever its sign; it is infinite where ``m <= 0 < y``. What is NaN stays NaN. Derivatives
    in the mean are finite everywhere, 0 where it is infinite.

    Near m = y its terms nearly cancel. With ``r = (m - y) / (m + y)`` it is ``(m - y) r - 2 y r^3 (1/3 + r^2/5 +
    r^4/7 + ...)``, from ``log(m / y) = 2 artanh(r)``, of which the first term is nearly all.
    """
    none, impossible = counts == 0, (counts > 0) & (mean <= 0)
    usual = ~(none | impossible)
    y, m = jnp.where(usual, counts, 1), jnp.where(usual, mean, 1)
    difference = m - y
    near = jnp.abs(difference) < NEAR * (m + y)
    # What is not chosen is kept where it and its derivatives are finite.
    r = jnp.where(near, difference / (m + y), 0)
    square, series = r**2, jnp.zeros_like(r)
    for coefficient in reversed(SERIES):
        series = coefficient + square * series
    close = difference * r - 2 * y * r * square * series
    distant = difference - y * jnp.log(jnp.where(near, 1, m / y))
    distance = jnp.where(near, close, distant)
    return jnp.where(none, mean, jnp.where(impossible, jnp.inf, distance))
