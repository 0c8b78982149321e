"""Reconstruction with a dictionary: patches of the image are sums of a few atoms, learned from another image."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxct._arithmetic import ratio
from jaxct._emission import em_step, first_image, pulled_em_step
from jaxct.geometry import _validate
from jaxct.reconstruct._checks import check_key, check_nonnegative
from jaxct.reconstruct._patches import Edges, coverage, patch_counts, summed
from jaxct.reconstruct._poisson import check_counts, check_sensitivity, likelihood_of
from jaxct.reconstruct._sparse_codes import Codes, better, matching_pursuit, projected
from jaxct.reconstruct.run import LinearOperator, LoopOptions, Result, check_num_iters, iterate

FLAT = 0.01
"""Patches whose standard deviation is less than this, of the largest of them all, are not learned from."""


class DictionaryEMState(NamedTuple):
    """State of :func:`dictionary_em`: iterate; expected counts; for each patch the numbers of its atoms; the sum of all
    patches' approximations; the sum of the squares that these leave."""

    volume: Array
    expected: Array
    support: Array
    approximated: Array
    misfit: Array


class _Operands(NamedTuple):
    A: Any
    data: Array
    sensitivity: Array
    background: Array
    given: Array | None
    atoms: Array
    weight: Array
    coverage: Array
    patches: "_Patches"


@jax.tree_util.register_static
class _Patches(NamedTuple):
    edges: Edges
    stride: int


def dictionary_em(
    A: LinearOperator,  # noqa: N803
    data: ArrayLike,
    *,
    dictionary: ArrayLike,
    weight: ArrayLike,
    num_iters: int,
    sparsity: int = 4,
    stride: int = 1,
    init: ArrayLike | None = None,
    background: ArrayLike | None = None,
    sensitivity: ArrayLike | None = None,
    **loop: Unpack[LoopOptions],
) -> Result:
    r"""Maximise the log-likelihood of ``data ~ Poisson(A x + background)`` less ``weight * sum_j |R_j x - D a_j|^2``
    over ``x >= 0`` and the codes a_j, of which none has more than ``sparsity`` atoms.

    R_j x are the overlapping patches of the image, and D is a dictionary, such as :func:`learn_dictionary` makes of
    another image of the same patient. An iteration takes two steps:

    - Each patch is coded by orthogonal matching pursuit, or by the atoms that it had, whichever leaves less. Its mean
      is a part of the code beside its atoms, so that a patch may be of any activity; nor has the dictionary a scale.
    - With ``x_em``, the step of :func:`~jaxct.reconstruct.mlem`, n the number of patches that a voxel is in and m the
      mean of what their codes say of it, the next iterate is the root that is not negative of ``c x^2 + (s - c m) x - s
      x_em = 0`` with ``c = 2 weight n``, as of :func:`~jaxct.reconstruct.map_em` with this pull and target.

    Neither lowers the objective. Codes being discrete, where it ends depends on where it starts.

    One application of A and of its transpose an iteration, and one of each to start; and the codes, for each patch and
    atom of its code a product with the dictionary. They are made a slab at a time, so that there is no array of all
    patches, but for their atoms' numbers.

    Args:
        A: a linear operator with weights that are not negative and a matched transpose, of 2-D or 3-D images.
        data: counts, not negative, of shape ``A.out_shape``. They need not be whole numbers.
        dictionary: (atoms, \*patch), the atoms as patches. Their means are taken off, and their norms made 1.
        weight: beta, not negative: counts per square of the image's unit. Its pull ``2 beta n`` is to be compared with
            ``s / x``; inside of an image, and with a stride of 1, n is the number of a patch's voxels.
        num_iters: number of iterations (static under ``jit``).
        sparsity: the most atoms of a code, beside the mean (static).
        stride: voxels from one patch to the next (static), no more than its edges. The last are at the image's end,
            whatever the stride.
        init: first iterate, not negative, of shape ``A.in_shape``; if None the uniform image whose projections have
            the total of the data.
        background: what is expected besides the image (randoms and scatter), not negative, a scalar or an array that
            broadcasts to ``A.out_shape``; none if None.
        sensitivity: s, where the rays of A are not the whole scan: see :func:`~jaxct.reconstruct.mlem`.
        loop: callback (with a :class:`DictionaryEMState`), progress, stop, checkpoint: see
            :class:`~jaxct.reconstruct.LoopOptions`.

    Returns:
        ``Result(volume, history)``; the history has, after each iteration, ``log_likelihood`` as MLEM's and
        ``objective``, which is that less the penalty.

    Raises:
        ValueError: where a shape does not fit the operator, for patches that are no part of the image, a dictionary
            with atoms that are constant, more atoms in a code than there are or than a patch has voxels, a stride that
            leaves voxels out, a negative number of iterations, for counts, an initial image, a background, a
            sensitivity or a weight that are negative. Values that are traced are not looked at.
        TypeError: for values that are not real numbers, sizes that are no integers.

    References:
        Q. Xu, H. Yu, X. Mou, L. Zhang, J. Hsieh and G. Wang, "Low-dose X-ray CT reconstruction via dictionary
        learning", IEEE Trans. Med. Imaging 31 (2012) 1682-1697, for the penalty; M. Elad and M. Aharon, "Image
        denoising via sparse and redundant representations over learned dictionaries", IEEE Trans. Image Process. 15
        (2006) 3736-3745; for the step those of :func:`~jaxct.reconstruct.map_em`; Y. C. Pati, R. Rezaiifar and P. S.
        Krishnaprasad, "Orthogonal matching pursuit: recursive function approximation with applications to wavelet
        decomposition", Asilomar Conf. Signals, Systems and Computers (1993) 40-44.
    """
    data, init, background = check_counts(A, data, init, background)
    background = jnp.zeros((), data.dtype) if background is None else background
    given = check_sensitivity(A, sensitivity, data.dtype)
    shape = tuple(A.in_shape)
    atoms, edges = _check_dictionary(dictionary, shape, data.dtype)
    sparsity = _check_sparsity(sparsity, *atoms.shape)
    if _validate.count("stride", stride) > min(edges):
        raise ValueError(f"stride must be at most the patch's least edge, {min(edges)}, got {stride}")
    beta = check_nonnegative("weight", weight, (), data.dtype)
    sums = A.T(jnp.ones(A.out_shape, data.dtype)) if given is None else given
    patches, held = _Patches(edges, stride), jnp.asarray(coverage(shape, edges, stride), data.dtype)
    operands = _Operands(A, data, sums, background, given, atoms, beta, held, patches)
    volume = first_image(data, init, sums)
    counts = patch_counts(shape, edges, stride)
    support = jnp.zeros((counts[0], math.prod(counts[1:]), sparsity), jnp.int32)
    state = DictionaryEMState(volume, A(volume) + background, *_approximate(volume, support, atoms, patches))
    state, history = iterate(_step, state, operands, num_iters=num_iters, label="Dictionary EM", **loop)
    return Result(state.volume, history)


def learn_dictionary(
    prior: ArrayLike,
    *,
    num_atoms: int = 256,
    patch: int | Sequence[int] | None = None,
    sparsity: int = 4,
    num_iters: int = 10,
    num_patches: int = 20_000,
    key: Array | None = None,
) -> Array:
    r"""A dictionary of which a few atoms make any patch of an image, by K-SVD.

    Minimises ``sum_j |p_j - mean(p_j) - D a_j|^2`` over patches p_j of the image, drawn at random from those that are
    not flat, over the atoms and over codes of ``sparsity`` of them: in turn codes, by orthogonal matching pursuit or by
    the atoms that a patch had, whichever leaves less; and every atom with its coefficients, by one step of the power
    method for the first singular vectors of what the others leave. Neither raises the sum. Atoms that nothing uses
    become patches that the others explain worst.

    Args:
        prior: 2-D or 3-D, of any unit. It need not be on the grid of the image to come, but with voxels as large.
        num_atoms: of the dictionary; some times the number of a patch's voxels.
        patch: edges of a patch in voxels, one number or one for each axis; 8 in 2-D and 4 in 3-D if None,
            as far as the image goes.
        sparsity: atoms of a code, beside the mean.
        num_iters: of both steps.
        num_patches: that are learned from; all, if there are fewer.
        key: of ``jax.random``, for which they are; that of seed 0 if None.

    Returns:
        (num_atoms, \*patch), each atom of norm 1 and mean 0.

    Raises:
        ValueError: a prior that is no such image, is not finite or constant, patches that are no part of it, more atoms
            in a code than there are or than a patch has voxels, numbers that are not positive.
        TypeError: values that are not real numbers, sizes that are no integers, a key that is none.

    References:
        M. Aharon, M. Elad and A. Bruckstein, "K-SVD: an algorithm for designing overcomplete dictionaries for sparse
        representation", IEEE Trans. Signal Process. 54 (2006) 4311-4322; R. Rubinstein, M. Zibulevsky and M. Elad,
        "Efficient implementation of the K-SVD algorithm using batch orthogonal matching pursuit", Technion CS-2008-08
        (2008), for the step of the power method.
    """
    image = _validate.floats("prior", prior)
    if image.ndim not in (2, 3):
        raise ValueError(f"prior must be a 2-D or 3-D image, got shape {image.shape}")
    if _validate.concrete(image) and float(jnp.ptp(image)) == 0:
        raise ValueError("prior is constant: there is nothing to learn from")
    if patch is None:
        patch = tuple(min(n, 8 if image.ndim == 2 else 4) for n in image.shape)
    edges = _check_edges("patch", patch, image.shape)
    sparsity = _check_sparsity(sparsity, _validate.count("num_atoms", num_atoms), math.prod(edges))
    check_num_iters(num_iters)
    key = check_key(key)
    available = math.prod(patch_counts(image.shape, edges, 1))
    count = min(_validate.count("num_patches", num_patches), available)
    first, second = jax.random.split(jax.random.key(0) if key is None else key)
    signals = _training_patches(image, first, edges, count)
    atoms = _first_atoms(signals, second, num_atoms)
    atoms, _ = _learn(signals, atoms, sparsity=sparsity, num_iters=num_iters)
    return atoms.reshape(num_atoms, *edges)


def _check_dictionary(dictionary: ArrayLike, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Edges]:
    """(atoms, voxels), of mean 0 and norm 1, and the edges of a patch."""
    with jax.ensure_compile_time_eval():
        given = _validate.floats("dictionary", dictionary).astype(dtype)
        if len(shape) not in (2, 3) or given.ndim != len(shape) + 1:
            raise ValueError(
                f"dictionary must have shape (atoms, *patch) with patches of a 2-D or 3-D image of shape {shape}, got "
                f"{given.shape}"
            )
        edges = _check_edges("dictionary", given.shape[1:], shape)
        atoms = _mean_free(given.reshape(len(given), -1))
        norms = jnp.linalg.norm(atoms, axis=1, keepdims=True)
        least = jnp.finfo(dtype).eps * jnp.linalg.norm(given.reshape(len(given), -1), axis=1, keepdims=True)
        if _validate.concrete(norms) and (norms <= 4 * least).any():
            raise ValueError(f"dictionary: atom {int(jnp.argmax(norms <= 4 * least))} is constant")
    return atoms / norms, edges


def _check_edges(name: str, edges: int | Sequence[int], shape: Sequence[int]) -> Edges:
    each = edges if isinstance(edges, Sequence | np.ndarray) else [edges] * len(shape)
    found = tuple(_validate.count(name, edge) for edge in each)
    if len(found) != len(shape) or any(e > n for e, n in zip(found, shape, strict=True)):
        raise ValueError(f"{name}: patches must be a part of the image of shape {tuple(shape)}, got {found}")
    return found


def _check_sparsity(sparsity: int, num_atoms: int, voxels: int) -> int:
    most = min(num_atoms, voxels - 1)
    if _validate.count("sparsity", sparsity) > most:
        raise ValueError(
            f"sparsity must be at most {most} with {num_atoms} atoms and patches of {voxels} voxels, got {sparsity}"
        )
    return int(sparsity)


def _mean_free(patches: Array) -> Array:
    return patches - jnp.mean(patches, -1, keepdims=True)


@partial(jax.jit, static_argnames="patches")
def _approximate(volume: Array, support: Array, atoms: Array, patches: _Patches) -> tuple[Array, Array, Array]:
    """The patches' atoms, the sum of what their codes make of them, and the squares that these leave."""

    def coded(found: Array, known: Array) -> tuple[Array, tuple[Array, Array]]:
        codes = _coded(_mean_free(found), atoms, known)
        return found - codes.residual, (codes.support, jnp.sum(codes.residual**2))

    total, (support, squares) = summed(coded, volume, support, patches.edges, patches.stride)
    return support, total, jnp.sum(squares)


def _coded(signals: Array, atoms: Array, known: Array) -> Codes:
    """A greedy choice may be worse than one made before of other signals."""
    return better(projected(signals, atoms, known), matching_pursuit(signals, atoms, known.shape[1]))


def _step(state: DictionaryEMState, operands: _Operands) -> tuple[DictionaryEMState, dict[str, Array]]:
    A, data, sensitivity, background, given, atoms, weight, held, patches = operands  # noqa: N806
    em = em_step(state.volume, sensitivity, A.T(ratio(data, state.expected)))
    volume = pulled_em_step(em, sensitivity, 2 * weight * held, 2 * weight * state.approximated)
    expected = A(volume) + background
    support, approximated, misfit = _approximate(volume, state.support, atoms, patches)
    likelihood = likelihood_of(data, expected, volume, given)
    record = {"log_likelihood": likelihood, "objective": likelihood - weight * misfit}
    return DictionaryEMState(volume, expected, support, approximated, misfit), record


@partial(jax.jit, static_argnames=("edges", "count"))
def _training_patches(image: Array, key: Array, edges: Edges, count: int) -> Array:
    """(count, voxels), without their means; from those that are not flat, as long as there are some."""
    scaled = (image - jnp.mean(image)) / jnp.std(image)
    window = partial(jax.lax.reduce_window, init_value=0.0, computation=jax.lax.add, padding="VALID")
    total, squares = (window(x, window_dimensions=edges, window_strides=(1,) * len(edges)) for x in (scaled, scaled**2))
    spread = (squares - total**2 / math.prod(edges)).ravel()
    varied = spread > FLAT**2 * jnp.max(spread)
    # The largest of random numbers are a draw without replacement.
    _, drawn = jax.lax.top_k(jax.random.uniform(key, spread.shape) + varied, count)
    begin = jnp.stack(jnp.unravel_index(drawn, total.shape), -1)
    cut = jax.vmap(lambda corner: jax.lax.dynamic_slice(scaled, tuple(corner), edges))(begin)
    return _mean_free(cut.reshape(count, -1))


def _first_atoms(signals: Array, key: Array, num_atoms: int) -> Array:
    """Signals, and noise where there are too few."""
    noise = _mean_free(jax.random.normal(key, (num_atoms, signals.shape[1]), signals.dtype))
    start = noise.at[: len(signals)].set(signals[:num_atoms])
    norms = jnp.linalg.norm(start, axis=1, keepdims=True)
    start = jnp.where(norms > _least(signals), start, noise)
    return start / jnp.linalg.norm(start, axis=1, keepdims=True)


def _least(signals: Array) -> Array:
    """Signals with a smaller norm are rounding, and no longer without a mean when they are scaled to 1."""
    return jnp.finfo(signals.dtype).eps ** 0.5 * jnp.max(jnp.linalg.norm(signals, axis=1))


@partial(jax.jit, static_argnames=("sparsity", "num_iters"))
def _learn(signals: Array, atoms: Array, *, sparsity: int, num_iters: int) -> tuple[Array, Array]:
    """The dictionary, and the mean square that is left in each iteration after the codes and after the atoms."""

    def step(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        atoms, support = carry
        codes = _coded(signals, atoms, support)
        atoms, residual = _better_atoms(signals, atoms, codes)
        left = jnp.stack([jnp.mean(jnp.sum(r**2, -1)) for r in (codes.residual, residual)])
        return (atoms, codes.support), left

    start = (atoms, jnp.zeros((len(signals), sparsity), jnp.int32))
    (atoms, _), left = jax.lax.scan(step, start, length=num_iters)
    return atoms, left


def _better_atoms(signals: Array, atoms: Array, codes: Codes) -> tuple[Array, Array]:
    """Each atom and its coefficients in turn, for the signals that use it, given all others; and what is left then."""
    rows, least = jnp.arange(len(signals))[:, None], _least(signals)
    weights = jnp.zeros((len(signals), len(atoms)), signals.dtype).at[rows, codes.support].add(codes.coefficients)
    squares = jnp.sum(codes.residual**2, -1)
    worst = jax.lax.top_k(squares, min(len(atoms), len(signals)))[1]
    spare = signals[jnp.resize(worst, (len(atoms),))]

    def step(residual: Array, of_atom: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        atom, weight, other = of_atom
        uses = (weight != 0)[:, None]
        alone = jnp.where(uses, residual + weight[:, None] * atom, 0)
        size = jnp.linalg.norm(weight)
        known = size > least
        found = jnp.where(known, jnp.matmul(weight, alone, precision="highest") / jnp.where(known, size, 1), other)
        length = jnp.linalg.norm(found)
        new = length > least
        following = jnp.where(new, found / jnp.where(new, length, 1), atom)
        left = alone - jnp.matmul(alone, following, precision="highest")[:, None] * following
        return jnp.where(uses, left, residual), following

    residual, atoms = jax.lax.scan(step, codes.residual, (atoms, weights.T, spare))
    return atoms, residual
