"""Emission tomography with the deep image prior as a constraint: a network's output is the image."""

import dataclasses
from functools import partial
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from jaxct._arithmetic import norm
from jaxct._emission import first_image, units_of
from jaxct.geometry import _validate
from jaxct.reconstruct._checks import check_key, check_nonnegative, check_subsets
from jaxct.reconstruct._em_pass import EmissionScan, em_pass, em_passes, emission_scan
from jaxct.reconstruct._line_search import keeps_differences, keeps_value
from jaxct.reconstruct._network import Generator, Weights, fit_step, generator, lbfgs
from jaxct.reconstruct._poisson import check_counts, check_sensitivity
from jaxct.reconstruct.run import LinearOperator, LoopOptions, Result, check_num_iters, iterate


class DIPReconState(NamedTuple):
    """State of :func:`diprecon`: the network's output, the image that fits the counts, the sum of their differences,
    the network's parameters and what else it holds, the optimiser's state, key of the random orders to come."""

    volume: Array
    fitted: Array
    dual: Array
    parameters: Any
    other: Any
    optimizer: Any
    key: Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Operands:
    scan: EmissionScan
    make: Generator
    pull: Array
    em_iters: int = dataclasses.field(metadata={"static": True})
    fit_iters: int = dataclasses.field(metadata={"static": True})


def diprecon(
    A: LinearOperator,  # noqa: N803
    data: ArrayLike,
    *,
    num_iters: int,
    init: ArrayLike | None = None,
    background: ArrayLike | None = None,
    sensitivity: ArrayLike | None = None,
    input: ArrayLike | None = None,
    network: nnx.Module | None = None,
    optimizer: optax.GradientTransformation | None = None,
    penalty: ArrayLike = 0.1,
    em_iters: int = 2,
    fit_iters: int = 10,
    warmup: int = 20,
    prefit_iters: int = 100,
    num_subsets: int = 1,
    order: str = "herman_meyer",
    key: Array | None = None,
    **loop: Unpack[LoopOptions],
) -> Result:
    r"""DIPRecon: maximise the likelihood of ``data ~ Poisson(A x + background)`` over the images x that a network can
    make of an image of the patient, ``x = f(theta | z)``, by ADMM.

    The input z is a prior image, such as MR or CT of the same patient, or noise, and stays; the weights theta are
    fitted, to this scan alone. From an image x that is made first, the network fitted to it, and ``u = 0`` on:

        x <- em_iters steps of MAP-EM from x, pulled by rho towards f - u   (:func:`~jaxct.reconstruct.map_em_step`)
        theta <- fit_iters steps of the optimiser on |f(theta | z) - (x + u)|^2;    f <- f(theta | z)
        u <- u + x - f

    The first image x0 sets the units. The network's output is multiplied by s, the mean of x0 weighted by x0 itself
    (``<x0, x0> / <1, x0>``), so that f is of the order of 1 whatever the units; and ``rho = penalty <A^T 1, x0> / <x0,
    x0>``, so that the same penalty suits every number of counts and every unit: at 1 the pull is as stiff as the
    surrogate of the likelihood at a voxel of typical value. A small penalty lets x follow its counts (at 0 it is MLEM's
    iterate and the network looks on), a large one takes small steps from what the network said before: 0.03 where there
    are many counts, 0.3 where there are few.

    The network stops noise as long as it is not fitted for too long: ``num_iters`` is part of the regularisation.
    ``em_iters`` applications of A and of its transpose an iteration, with ``num_subsets`` passes over all subsets,
    which take ``num_subsets`` steps each (and, from 9 subsets on, one more transpose, as OSEM's); ``warmup`` of each
    before. For ten steps L-BFGS takes about 14 gradients of the network. An iteration is one compiled step. What comes
    before the first, ``warmup`` and ``prefit_iters``, knows nothing of the loop's options, and a run that resumes does
    it again.

    Args:
        A: a linear operator with weights that are not negative and a matched transpose, with time of flight or without;
            in list mode a row for each event, as for :func:`~jaxct.reconstruct.mlem`.
        data: counts, not negative, of shape ``A.out_shape``. They need not be whole numbers.
        num_iters: number of iterations (static under ``jit``).
        init: first image x0, not negative, of shape ``A.in_shape``; if None that of ``warmup`` iterations of MLEM (OSEM
            with ``num_subsets``).
        background: what is expected besides the image (randoms and scatter), not negative, a scalar or an array that
            broadcasts to ``A.out_shape``; none if None.
        sensitivity: ``A^T 1`` of the whole scan, where the rays of A are events: see :func:`~jaxct.reconstruct.mlem`.
        input: z, an image of ``A.in_shape``, or several, ``(*A.in_shape, channels)``, each brought to zero mean and
            unit variance; normal noise if None, of as many channels as ``network.in_channels`` says.
        network: f, ``(*A.in_shape, channels) -> (*A.in_shape, 1)``, which starts from the parameters that it has and is
            not changed. It has to see to it that nothing negative comes out, where that is wanted. None: a
            :class:`jaxct.nn.UNet` of 4 levels that ends in a softplus.
        optimizer: any of optax; ``optax.lbfgs()``, which searches along lines, if None. Those that search
            along lines start anew in every iteration, whose objective is another one; others, such as
            ``optax.adam(1e-3)``, go on.
        penalty: rho in the units above, not negative.
        em_iters: MAP-EM steps in an iteration, or passes over the subsets (static under ``jit``).
        fit_iters: steps of the optimiser in an iteration (static under ``jit``).
        warmup: iterations of MLEM or OSEM that make the first image (static under ``jit``).
        prefit_iters: steps of the optimiser in which the network is fitted to it (static under ``jit``).
        num_subsets: of the views, from 1 to their number; above 1 the steps are those of
            :func:`~jaxct.reconstruct.osem`, each with its share of the pull.
        order: of the subsets, see :func:`~jaxct.reconstruct.ordered_subsets`; "random" draws one for each pass.
        key: of :func:`jax.random.key`, for the default network, its input and the orders; ``jax.random.key(0)`` if
            None.
        loop: callback (with a :class:`DIPReconState`), progress, stop, checkpoint: see
            :class:`~jaxct.reconstruct.LoopOptions`.

    Returns:
        ``Result(volume, history)``, the volume being f; the history has, of each iteration, ``log_likelihood`` as
        :func:`~jaxct.reconstruct.osem` has it, found on the way of the last MAP-EM step (pass) to x; ``fit_loss``, the
        mean square of ``(f - (x + u)) / s`` before the optimiser's last step; ``primal_residual`` = ``|x - f|``, and
        ``dual_residual`` = ``rho |f - f before|``.

    Raises:
        ValueError: where a shape does not fit the operator or the network; for counts, a first image, a background, a
            sensitivity or a penalty that are negative; numbers of iterations or subsets that there cannot be, an
            unknown order; without a network, images of neither 2 nor 3 axes. Values that are traced are not looked at.
        TypeError: for values that are not real numbers; subsets of an operator without views; a key that is none.

    References:
        K. Gong, C. Catana, J. Qi and Q. Li, "PET image reconstruction using deep image prior", IEEE Trans. Med. Imaging
        38 (2019) 1655-1665.
    """
    data, init, background = check_counts(A, data, init, background)
    check_num_iters(num_iters)
    given = check_sensitivity(A, sensitivity, data.dtype)
    strength = check_nonnegative("penalty", penalty, (), data.dtype)
    subsets = check_subsets(A, num_subsets, order)
    numbers = {"em_iters": em_iters, "fit_iters": fit_iters, "warmup": warmup, "prefit_iters": prefit_iters}
    for name, number in numbers.items():
        _validate.count(name, number)
    key = check_key(key)
    network_key, input_key, key = jax.random.split(jax.random.key(0) if key is None else key, 3)
    make, weights = generator(
        network,
        input,
        lbfgs() if optimizer is None else optimizer,
        shape=tuple(A.in_shape),
        dtype=data.dtype,
        key=network_key,
        input_key=input_key,
    )
    whole = A.T(jnp.ones(A.out_shape, data.dtype)) if given is None else given
    scan = emission_scan(A, data, background, whole, given, subsets)
    image = first_image(data, init, whole)
    if init is None:
        image, key = em_passes(scan, image, key, warmup)
    units = units_of(image, whole)
    make = dataclasses.replace(make, scale=units.scale)
    weights, _ = iterate(fit_step, weights, (make, image), num_iters=prefit_iters)
    operands = _Operands(scan, make, strength * units.stiffness / units.scale, em_iters, fit_iters)
    weights = make.weights(weights.parameters, weights.other)
    made, _ = make.image(weights.parameters, weights.other)
    state = DIPReconState(made, image, jnp.zeros_like(image), *weights, key)
    state, history = iterate(_step, state, operands, num_iters=num_iters, label="DIPRecon", **loop)
    return Result(state.volume, history)


def _step(state: DIPReconState, operands: _Operands) -> tuple[DIPReconState, dict[str, Array]]:
    make, target = operands.make, state.volume - state.dual
    key, *passes = jax.random.split(state.key, operands.em_iters + 1)
    fitted, records = jax.lax.scan(
        lambda x, now: em_pass(operands.scan, x, now, operands.pull, target), state.fitted, jnp.stack(passes)
    )
    weights = Weights(state.parameters, state.other, state.optimizer)
    # What these know of the objective is of the one before.
    if keeps_differences(weights.optimizer) or keeps_value(weights.optimizer):
        weights = make.weights(weights.parameters, weights.other)
    towards = partial(fit_step, operands=(make, fitted + state.dual))
    weights, fits = jax.lax.scan(lambda w, _: towards(w), weights, length=operands.fit_iters)
    volume, other = make.image(weights.parameters, weights.other)
    record = {
        "log_likelihood": records["log_likelihood"][-1],
        "fit_loss": fits["loss"][-1],
        "primal_residual": norm(fitted - volume),
        "dual_residual": operands.pull * norm(volume - state.volume),
    }
    dual = state.dual + fitted - volume
    return DIPReconState(volume, fitted, dual, weights.parameters, other, weights.optimizer, key), record
