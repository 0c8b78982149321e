"""The steps of expectation maximisation, for solvers and for networks that are unrolled from them."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.ad_checkpoint import checkpoint_name

from jaxct._arithmetic import or_one, ratio, root

BACK_PROJECTED = "back_projected"
"""What a policy of ``jax.checkpoint`` calls the image ``A^T (data / expected)`` of a step."""

back_projected_policy = jax.checkpoint_policies.save_only_these_names(BACK_PROJECTED)
checkpoint_keeping_images = functools.partial(jax.checkpoint, policy=back_projected_policy)
"""Makes a function that computes all but its arguments and that image again in reverse mode: no sinogram is kept."""


def first_image(data: Array, init: Array | None, sensitivity: Array) -> Array:
    """The image that is given or the uniform one with as many counts as the data; zero where sensitivity vanishes."""
    total = jnp.sum(jnp.where(unseen(sensitivity), 0, sensitivity))
    image = ratio(jnp.sum(data), total) if init is None else init
    return jnp.where(unseen(sensitivity), 0, image)


class Units(NamedTuple):
    """What an image is measured in, whatever the counts' number and the unit of activity."""

    scale: Array
    """``<x, x> / <1, x>``, its mean weighted by itself; 1 of an image of zeros."""
    stiffness: Array
    """``<s, x> / <1, x>``, the mean of the sensitivity weighted likewise: over the scale, it is how stiff the surrogate
    of the likelihood is at a voxel of that value."""


def units_of(image: Array, sensitivity: Array) -> Units:
    total = jnp.sum(image)
    return Units(or_one(ratio(jnp.vdot(image, image), total)), ratio(jnp.vdot(sensitivity, image), total))


def em_step(volume: Array, sensitivity: Array, back_projected: Array) -> Array:
    """``x / s * b``, with b the back projection of ``y / m``; x itself where the sensitivity vanishes."""
    vanishes = unseen(sensitivity)
    return jnp.where(vanishes, volume, volume / jnp.where(vanishes, 1, sensitivity) * back_projected)


def pulled_em_step(em: Array, sensitivity: Array, weight: Array, moment: Array) -> Array:
    """The root x >= 0 of ``c x^2 + (s - c m) x - s em = 0`` of weight c and moment c m; em itself where c vanishes.

    Of the formula's two forms that is taken whose terms do not cancel.
    """
    s = jnp.where(unseen(sensitivity), 0, sensitivity)
    slope = s - moment
    discriminant = root(slope**2 + 4 * weight * s * em)
    falling, free = slope > 0, weight == 0
    by_quotient = 2 * s * em / jnp.where(falling, discriminant + slope, 1)
    by_difference = (discriminant - slope) / jnp.where(free, 1, 2 * weight)
    return jnp.where(free, em, jnp.where(falling, by_quotient, by_difference))


def pulled_step(
    A: Any,  # noqa: N803
    data: Array,
    volume: Array,
    sensitivity: Array,
    pull: Array,
    target: Array,
    background: Array,
) -> Array:
    """:func:`jaxct.reconstruct.map_em_step`, which says what it is."""

    # A is no argument of it, so that it need not be a pytree.
    @checkpoint_keeping_images
    def step(data: Array, volume: Array, sensitivity: Array, pull: Array, target: Array, background: Array) -> Array:
        em = em_step(volume, sensitivity, back_projected(A, data, volume, background))
        return pulled_em_step(em, sensitivity, pull, pull * target)

    return step(data, volume, sensitivity, pull, target, background)


def back_projected(A: Any, data: Array, volume: Array, background: Array) -> Array:  # noqa: N803
    """The image ``A^T (data / (A volume + background))``, which policies of checkpoints know by its name."""
    return checkpoint_name(A.T(ratio(data, A(volume) + background)), BACK_PROJECTED)


def unseen(sensitivity: Array) -> Array:
    """Where the sensitivity vanishes or is no more than rounding, of its shape and boolean."""
    return sensitivity <= jnp.finfo(sensitivity.dtype).eps * jnp.max(sensitivity)
