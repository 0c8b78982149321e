"""Radioactive decay: isotopes, frames of a scan and the factors that belong to them."""

import dataclasses
import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.geometry._fields import describe, register, set_fields


class Isotope(NamedTuple):
    """A positron emitter: half-life in seconds, positrons per decay."""

    name: str
    half_life: float
    branching: float


ISOTOPES = {
    isotope.name: isotope
    for isotope in (
        Isotope("C-11", 1221.66, 0.9975),
        Isotope("N-13", 598.02, 0.99818),
        Isotope("O-15", 122.46, 0.99885),
        Isotope("F-18", 6584.04, 0.9686),
        Isotope("Ga-68", 4069.8, 0.8888),
        Isotope("Rb-82", 75.45, 0.9543),
    )
}
"""By name. M.-M. Bé et al., "Table of radionuclides", Monographie BIPM-5, with the updates of the Decay Data Evaluation
Project at nucleide.org; Rb-82: J. K. Tuli and E. Browne, Nuclear Data Sheets 157 (2019) 260."""


def decay_factor(isotope: Isotope | str | ArrayLike, time: ArrayLike) -> Array:
    """The share of the activity that is left after a time, ``2^(-time / half-life)``.

    Args:
        isotope: one of :data:`ISOTOPES`, its name, or a half-life in seconds.
        time: in seconds, of any shape; negative before the time of reference.

    Raises:
        ValueError: an isotope that is not known, a half-life that is not positive.
        TypeError: values that are not real numbers.
    """
    return jnp.exp2(-_validate.floats("time", time) / half_life(isotope))


def half_life(isotope: Isotope | str | ArrayLike) -> Array:
    """In seconds; see :func:`decay_factor`."""
    if isinstance(isotope, Isotope):
        return jnp.asarray(isotope.half_life)
    if isinstance(isotope, str):
        if isotope not in ISOTOPES:
            raise ValueError(f"isotope must be one of {', '.join(ISOTOPES)} or a half-life, got {isotope!r}")
        return jnp.asarray(ISOTOPES[isotope].half_life)
    return _validate.floats("isotope", isotope, positive=True)


@register(starts=1, durations=1)
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Frames:
    """The intervals that a dynamic scan is cut into.

    Args:
        starts: (frames,) in seconds after the time of reference, such as that of injection.
        durations: (frames,) in seconds, positive.

    Raises:
        ValueError: shapes that differ, durations that are not positive.
        TypeError: values that are not real numbers.
    """

    starts: Array
    durations: Array

    def __init__(self, starts: ArrayLike, durations: ArrayLike):
        first, length = _validate.floats("starts", starts), _validate.floats("durations", durations, positive=True)
        if first.ndim != 1 or first.shape != length.shape:
            raise ValueError(f"starts and durations must have shape (frames,), got {first.shape} and {length.shape}")
        set_fields(self, starts=first, durations=length)

    @classmethod
    def consecutive(cls, durations: ArrayLike, start: float = 0.0) -> "Frames":
        """One after the other, without gaps.

        Args:
            durations: (frames,) in seconds.
            start: of the first.
        """
        length = _validate.floats("durations", durations, positive=True)
        return cls(start + jnp.cumsum(length) - length, length)

    @property
    def ends(self) -> Array:
        """(frames,) in seconds."""
        return self.starts + self.durations

    @property
    def mid_times(self) -> Array:
        """(frames,) in seconds, the middles."""
        return self.starts + self.durations / 2

    def decay_factors(self, isotope: Isotope | str | ArrayLike) -> Array:
        r"""The mean over each frame of the share of activity that is left since the time of reference,
        ``exp(-k start) (1 - exp(-k duration)) / (k duration)``, ``k = log 2 / half-life``.

        What is counted in a frame is the activity at the time of reference times this and the duration; to correct for
        decay is to divide by it. It is not quite the factor of the middle of the frame.

        Args:
            isotope: as for :func:`decay_factor`.

        Raises:
            ValueError, TypeError: as for :func:`decay_factor`.
        """
        rate = math.log(2) / half_life(isotope)
        decays = rate * self.durations
        return jnp.exp(-rate * self.starts) * -jnp.expm1(-decays) / decays

    def __repr__(self) -> str:
        return describe(self)
