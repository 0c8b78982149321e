"""Penalties that know an image of the same patient, an anatomical one: differences cost less where it has an edge, too.

The image is on the same grid. Values of the two need not have to do with each other; it is edges that are shared.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxct._penalties import (
    NEIGHBOURHOODS,
    as_image,
    fit_to,
    half_square,
    neighbours,
    not_negative,
    relative_difference_term,
    require_not_negative,
    smoothed_length,
)
from jaxct.geometry import _validate
from jaxct.priors import differences

POTENTIALS = ("quadratic", "relative_difference")


def bowsher_weights(
    anatomy: ArrayLike,
    *,
    num_neighbours: int,
    neighbourhood: str = "full",
    spacing: ArrayLike | Sequence[float] = 1.0,
    mask: ArrayLike | None = None,
) -> jax.Array:
    r"""Weights of pairs for :func:`bowsher`: a voxel is compared with those of its neighbours that are most like it in
    the anatomical image.

    ``v_jk = (b_jk + b_kj) / (2 distance_jk)``, where b_jk is 1 if k is one of the ``num_neighbours`` neighbours of j
    whose values are nearest to its own, and else 0. Of equal ones the nearest in space are taken. With as many as there
    are, these are the weights of :func:`jaxct.priors.quadratic`.

    Args:
        anatomy: an image, on the grid of the image to come.
        num_neighbours: from 1 to the number of neighbours, 26 in 3-D and 8 in 2-D for "full" (static).
        neighbourhood: "faces": voxels that share a face; "full": also those that share an edge or a corner.
        spacing: distance between neighbours, one for all axes or one for each.
        mask: boolean, broadcasting to the shape of the image: voxels that count.

    Returns:
        ``(directions, *anatomy.shape)``, for each direction to a neighbour (one of two opposite ones) and the voxel
        that lies at its beginning; zero where there is no neighbour.

    Raises:
        ValueError: shapes that do not fit, a spacing that is not positive, a number of neighbours that there cannot be,
            an unknown neighbourhood.
        TypeError: values that are not real numbers, a mask that is not boolean.

    References:
        J. E. Bowsher, H. Yuan, L. W. Hedlund, T. G. Turkington, G. Akabani, A. Badea, W. C. Kurylo, C. T. Wheeler, G.
        P. Cofer, M. W. Dewhirst and G. A. Johnson, "Utilizing MRI information to estimate F18-FDG distributions in rat
        flank tumors", IEEE Nucl. Sci. Symp. Conf. Rec. (2004) 2488-2492; K. Vunckx, A. Atre, K. Baete, A. Reilhac, C.
        M. Deroose, K. Van Laere and J. Nuyts, "Evaluation of three MRI-based anatomical priors for quantitative PET
        brain imaging", IEEE Trans. Med. Imaging 31 (2012) 599-612.
    """
    image, _, inside = as_image(anatomy, mask=mask)
    _validate.choice("neighbourhood", neighbourhood, NEIGHBOURHOODS)
    steps = _validate.per_axis("spacing", spacing, image.ndim, positive=True).astype(image.dtype)
    most = 2 * len(list(neighbours(image.ndim, neighbourhood)))
    if _validate.count("num_neighbours", num_neighbours) > most:
        raise ValueError(f"num_neighbours must be at most {most}, got {num_neighbours}")
    return _bowsher_weights(image, inside, steps, num_neighbours, neighbourhood)


def bowsher(
    x: ArrayLike,
    weights: ArrayLike,
    *,
    neighbourhood: str = "full",
    potential: str = "quadratic",
    gamma: ArrayLike = 2.0,
    epsilon: ArrayLike = 0.0,
) -> jax.Array:
    r"""Bowsher's penalty, ``sum_{j,k} v_jk h(x_j, x_k)`` over pairs of neighbours, each once.

    h is ``(x_j - x_k)^2 / 2``, or that of :func:`jaxct.priors.relative_difference`.

    Args:
        x: an image.
        weights: v, of :func:`bowsher_weights`.
        neighbourhood: theirs.
        potential: "quadratic" or "relative_difference".
        gamma, epsilon: of relative differences.

    Returns:
        A scalar.

    Raises:
        ValueError: weights that are negative or not of the shape that belongs to x and the neighbourhood, an unknown
            potential, gamma or epsilon that is negative.
        TypeError: values that are not real numbers.

    References:
        As for :func:`bowsher_weights`.
    """
    image, _, _ = as_image(x)
    pairs = _pair_weights(weights, image.shape, neighbourhood).astype(image.dtype)
    _validate.choice("potential", potential, POTENTIALS)
    parameters = [not_negative(name, p).astype(image.dtype) for name, p in (("gamma", gamma), ("epsilon", epsilon))]
    return _pair_sum(image, pairs, *parameters, potential, neighbourhood)


def bowsher_curvature(weights: ArrayLike, *, neighbourhood: str = "full") -> jax.Array:
    r"""``2 sum_k v_jk``, a diagonal matrix above the Hessian of the quadratic :func:`bowsher`.

    Args:
        weights: v, of :func:`bowsher_weights`.
        neighbourhood: theirs.

    Returns:
        An image.

    Raises:
        ValueError, TypeError: as for :func:`bowsher`.
    """
    shape = jnp.shape(weights)[1:]
    pairs = _pair_weights(weights, shape, neighbourhood)
    return 2 * jax.grad(lambda x: _total(jnp.add, x, pairs, neighbourhood))(jnp.zeros(shape, pairs.dtype))


def parallel_level_sets(
    x: ArrayLike,
    anatomy: ArrayLike,
    *,
    eta: ArrayLike,
    smoothing: ArrayLike = 0.0,
    spacing: ArrayLike | Sequence[float] = 1.0,
    weights: ArrayLike | None = None,
    mask: ArrayLike | None = None,
) -> jax.Array:
    r"""``sum_i w_i (sqrt(|D x|_i^2 - <xi, D x>_i^2 + eps^2) - eps)``, ``xi = D a / sqrt(|D a|^2 + eta^2)`` the field of
    the anatomical image a: total variation that a gradient along that of a does not add to.

    So edges are free where a has them and in their direction, and cost what they do in
    :func:`jaxct.priors.total_variation` where a is flat, ``|D a|`` far below eta. The sign of a gradient does not
    matter. Also known as directional total variation.

    Args:
        x: an image.
        anatomy: a, of the same shape.
        eta: gradients of a that count as an edge, positive, in the unit of ``|D a|``.
        smoothing: eps, in the unit of ``|D x|``: differences far below it are penalised quadratically. 0 leaves a kink
            where the root vanishes, with the subgradient zero.
        spacing: distance between neighbours, one for all axes or one for each.
        weights: factors of the voxels' terms, broadcasting to the shape of x.
        mask: boolean, broadcasting to the shape of x.

    Returns:
        A scalar. Its curvature is at most that of total variation, ``4 max(w) sum_k spacing_k^-2 / eps``.

    Raises:
        ValueError: shapes that do not fit, a spacing or an eta that is not positive, a smoothing that is negative.
        TypeError: values that are not real numbers, a mask that is not boolean.

    References:
        M. J. Ehrhardt, P. Markiewicz, M. Liljeroth, A. Barnes, V. Kolehmainen, J. S. Duncan, L. Pizarro, D. Atkinson,
        B. F. Hutton, S. Ourselin, K. Thielemans and S. R. Arridge, "PET reconstruction with an anatomical MRI prior
        using parallel level sets", IEEE Trans. Med. Imaging 35 (2016) 2189-2199; M. J. Ehrhardt and M. M. Betcke,
        "Multicontrast MRI reconstruction with structure-guided total variation", SIAM J. Imaging Sci. 9 (2016)
        1084-1106.
    """
    image, factors, inside = as_image(x, weights, mask)
    if jnp.shape(anatomy) != image.shape:
        raise ValueError(f"anatomy must have the shape of x, {image.shape}, got {jnp.shape(anatomy)}")
    guide, _, _ = as_image(anatomy, mask=mask)
    edge = _validate.scalar("eta", eta, positive=True).astype(image.dtype)
    smoothing = not_negative("smoothing", smoothing).astype(image.dtype)
    steps = _validate.per_axis("spacing", spacing, image.ndim, positive=True).astype(image.dtype)
    return _parallel_level_sets(image, guide.astype(image.dtype), edge, smoothing, steps, factors, inside)


@partial(jax.jit, static_argnames=("num_neighbours", "neighbourhood"))
def _bowsher_weights(
    image: jax.Array, inside: jax.Array | None, steps: jax.Array, num_neighbours: int, neighbourhood: str
) -> jax.Array:
    pairs = list(neighbours(image.ndim, neighbourhood))
    lengths = jnp.stack([jnp.linalg.norm(jnp.asarray(offset, image.dtype) * steps) for _, _, offset in pairs])
    unlike = []
    for here, there, _ in pairs:
        difference = jnp.abs(image[here] - image[there])
        if inside is not None:
            difference = jnp.where(inside[here] & inside[there], difference, jnp.inf)
        far = jnp.full(image.shape, jnp.inf, image.dtype)
        unlike += [far.at[here].set(difference), far.at[there].set(difference)]
    # Near neighbours first, so that a stable order prefers them among equals.
    near = jnp.argsort(jnp.repeat(lengths, 2), stable=True)
    ranks = jnp.argsort(jnp.argsort(jnp.stack(unlike)[near], 0, stable=True), 0)[jnp.argsort(near)]
    chosen = (ranks < num_neighbours) & jnp.isfinite(jnp.stack(unlike))
    weights = jnp.zeros((len(pairs), *image.shape), image.dtype)
    for k, (here, there, _) in enumerate(pairs):
        both = chosen[2 * k][here].astype(image.dtype) + chosen[2 * k + 1][there]
        weights = weights.at[(k, *here)].set(both / (2 * lengths[k]))
    return weights


def _pair_weights(weights: ArrayLike, shape: tuple[int, ...], neighbourhood: str) -> jax.Array:
    _validate.choice("neighbourhood", neighbourhood, NEIGHBOURHOODS)
    require_not_negative("weights", weights)
    wanted = (len(list(neighbours(len(shape), neighbourhood))), *shape)
    array = _validate.floats("weights", weights)
    if array.shape != wanted:
        raise ValueError(f"weights must have shape (directions, *x.shape) = {wanted}, got {array.shape}")
    return fit_to("weights", array, wanted)


def _total(
    potential: Callable[[jax.Array, jax.Array], jax.Array], x: jax.Array, weights: jax.Array, neighbourhood: str
) -> jax.Array:
    total = jnp.zeros((), x.dtype)
    for k, (here, there, _) in enumerate(neighbours(x.ndim, neighbourhood)):
        total = total + jnp.sum(weights[(k, *here)] * potential(x[here], x[there]))
    return total


@partial(jax.jit, static_argnames=("potential", "neighbourhood"))
def _pair_sum(
    x: jax.Array, weights: jax.Array, gamma: jax.Array, epsilon: jax.Array, potential: str, neighbourhood: str
) -> jax.Array:
    if potential == "quadratic":
        return _total(half_square, x, weights, neighbourhood)
    return _total(partial(relative_difference_term, gamma=gamma, epsilon=epsilon), x, weights, neighbourhood)


@jax.jit
def _parallel_level_sets(
    x: jax.Array,
    anatomy: jax.Array,
    eta: jax.Array,
    smoothing: jax.Array,
    steps: jax.Array,
    weights: jax.Array | None,
    mask: jax.Array | None,
) -> jax.Array:
    d, guide = differences(x, steps), differences(anatomy, steps)
    if mask is not None:
        # The last voxel's neighbour would be the first; but its difference is zero anyway.
        both = jnp.stack([mask & jnp.roll(mask, -1, axis) for axis in range(x.ndim)])
        d, guide = jnp.where(both, d, 0), jnp.where(both, guide, 0)
    norm = jnp.sqrt(jnp.sum(guide**2, 0) + eta**2)
    xi = guide / norm
    # |d|^2 - <xi, d>^2 as the square of a vector, which no rounding makes negative.
    across = d - xi * jnp.sum(xi * d, 0) / (1 + eta / norm)
    lengths = smoothed_length(jnp.sum(across**2, 0), smoothing)
    return jnp.sum(lengths if weights is None else weights * lengths)
