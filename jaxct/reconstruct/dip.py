"""The deep image prior: a network's weights fitted to one scan."""

import dataclasses
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from jaxct import priors
from jaxct._arithmetic import or_one
from jaxct.geometry import _validate
from jaxct.reconstruct import stopping
from jaxct.reconstruct._checks import check_nonnegative
from jaxct.reconstruct._network import Generator, adam, fit_step, generator, normal
from jaxct.reconstruct.cgls import cgls
from jaxct.reconstruct.run import LinearOperator, LoopOptions, Result, check_data, check_num_iters, iterate

# The variance over the window is that of so many voxels at most, so that the window fits into memory beside a volume.
_WATCHED_VOXELS = 2**16


class EarlyStopping(NamedTuple):
    """What the rule of :func:`dip` has seen: the outputs in the window (those of its voxels), the least variance of
    one, iterations since then, and the volume that belongs to it."""

    recent: Array
    least: Array
    since: Array
    best: Array


class DIPState(NamedTuple):
    """State of :func:`dip`: average of the network's outputs (or the last one), the network's parameters and what else
    it holds, the optimiser's state, random key, iterations done, the stopping rule's part (None without it)."""

    volume: Array
    parameters: Any
    other: Any
    optimizer: Any
    key: Array
    iteration: Array
    early: EarlyStopping | None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Operands:
    A: Any
    data: Array
    make: Generator
    tv_weight: Array | None
    spacing: Array
    input_noise: Array | None
    averaging: Array
    patience: int = dataclasses.field(metadata={"static": True})


def dip(
    A: LinearOperator,  # noqa: N803
    data: ArrayLike,
    *,
    num_iters: int,
    init: ArrayLike | None = None,
    input: ArrayLike | None = None,
    network: nnx.Module | None = None,
    optimizer: optax.GradientTransformation | None = None,
    tv_weight: ArrayLike = 0.0,
    spacing: ArrayLike = 1.0,
    input_noise: ArrayLike = 0.05,
    averaging: ArrayLike = 0.95,
    window: int | None = None,
    patience: int = 300,
    fit_iters: int = 100,
    key: Array | None = None,
    **loop: Unpack[LoopOptions],
) -> Result:
    r"""Deep image prior: minimise ``1/2 |A x - data|^2 + tv_weight TV(x)`` over the weights of f, where ``x = s f(z)``.

    The input z is noise or a prior image, and stays; the weights are fitted, to this scan alone. A convolutional
    network is quick to make structure and slow to make noise, so that stopping early regularises. The scale s, the
    largest value after one iteration of CGLS, lets f be of the order of 1 whatever the units. Iteration k evaluates the
    network, records the residual, then moves the weights.

    ``window`` turns on a rule for when to stop: the variance of the last ``window`` outputs falls while structure
    settles and rises again when noise comes in. The volume at its least value is returned; a run ends when that is
    ``patience`` iterations ago. (Under ``jit`` or ``vmap`` it goes through all iterations to the same volume.)

    One application of A and of its transpose an iteration, beside the network's; some more of an optimiser with a line
    search.

    Args:
        A: a linear operator with a matched transpose, such as :class:`jaxct.Projector`.
        data: of shape ``A.out_shape``.
        num_iters: number of iterations (static under ``jit``).
        init: an image of ``A.in_shape``, such as an FBP, that the network is fitted to first.
        input: what the network sees: an image of ``A.in_shape``, such as one of another modality, or several,
            ``(*A.in_shape, channels)``, each brought to zero mean and unit variance; normal noise if None, of as many
            channels as ``network.in_channels`` says.
        network: ``(*A.in_shape, channels) -> (*A.in_shape, 1)``, which starts from the parameters that it has and is
            not changed. It has to see to it that nothing negative comes out, where that is wanted. None: a
            :class:`jaxct.nn.UNet` of 4 levels that ends in a softplus.
        optimizer: any of optax, such as ``optax.lbfgs()`` (then with ``input_noise=0``); ``optax.adam(0.01, eps=1e-5)``
            if None. It is given the objective divided by ``|data|^2``.
        tv_weight: weight of the total variation, see :func:`jaxct.priors.total_variation`; its kink is rounded below
            s / 100.
        spacing: distance between voxels for it, one for all axes or one for each.
        input_noise: standard deviation of the noise that is added to z anew in every iteration, which regularises.
        averaging: the volume is the exponentially weighted mean of the outputs, each weighing this times what the next
            one does; 0: the last output.
        window: number of outputs whose variance is watched, 30 to 100; None for no rule. Of volumes with more than
            65536 voxels as many are drawn to be watched.
        patience: iterations without a lesser variance after which a run ends.
        fit_iters: iterations in which the network is fitted to ``init``.
        key: of :func:`jax.random.key`, for the default network, its input and noise; ``jax.random.key(0)`` if None.
        loop: callback (with a :class:`DIPState`), progress, stop, checkpoint: see
            :class:`~jaxct.reconstruct.LoopOptions`.

    Returns:
        ``Result(volume, history)``; the history has ``residual_norm`` = ``|A x - data|`` of each iteration's output x
        and, with a window, ``variance``, of a voxel over the window on average.

    Raises:
        ValueError: where a shape does not fit the operator or the network, for negative weights, noise or numbers of
            iterations, ``averaging`` outside [0, 1), a window below 2; without a network, images of neither 2 nor 3
            axes.
        TypeError: for values that are not real numbers.

    References:
        D. Ulyanov, A. Vedaldi, V. Lempitsky, "Deep image prior", CVPR 2018, 9446-9454; D. O. Baguer, J. Leuschner,
        M. Schmidt, "Computed tomography reconstruction using deep image prior and learned reconstruction methods",
        Inverse Problems 36 (2020) 094004 (with total variation); H. Wang, T. Li, Z. Zhuang, T. Chen, H. Liang, J. Sun,
        "Early stopping for deep image prior", arXiv:2112.06074 (the rule).
    """
    data, init = check_data(A, data, init)
    check_num_iters(num_iters)
    shape = tuple(A.in_shape)
    network_key, input_key, key = jax.random.split(jax.random.key(0) if key is None else key, 3)
    make, weights = generator(
        network,
        input,
        adam() if optimizer is None else optimizer,
        shape=shape,
        dtype=data.dtype,
        key=network_key,
        input_key=input_key,
    )
    make = dataclasses.replace(make, scale=_scale(A, data))
    operands = _Operands(
        A=A,
        data=data,
        make=make,
        tv_weight=_unless_zero(check_nonnegative("tv_weight", tv_weight, (), data.dtype)),
        spacing=_validate.per_axis("spacing", spacing, len(shape), positive=True).astype(data.dtype),
        input_noise=_unless_zero(check_nonnegative("input_noise", input_noise, (), data.dtype)),
        averaging=_check_averaging(averaging).astype(data.dtype),
        patience=_validate.count("patience", patience),
    )
    if init is not None:
        num_fits = _validate.count("fit_iters", fit_iters)
        weights, _ = iterate(fit_step, weights, (make, init), num_iters=num_fits)
        weights = make.weights(weights.parameters, weights.other)
    volume = jnp.zeros(shape, data.dtype) if init is None else init
    early = None if window is None else _start_watching(volume, window)
    state = DIPState(volume, *weights, key, jnp.zeros((), jnp.int32), early)
    if early is not None and _validate.concrete(*jax.tree.leaves((state, operands))):
        loop = _with_rule(loop, operands.patience)
    state, history = iterate(_step, state, operands, num_iters=num_iters, label="DIP", **loop)
    return Result(state.volume if state.early is None else state.early.best, history)


def _step(state: DIPState, operands: _Operands) -> tuple[DIPState, dict[str, Array]]:
    key, noise_key = jax.random.split(state.key)
    make, seen = operands.make, operands.make.input
    if operands.input_noise is not None:
        seen = seen + operands.input_noise * normal(noise_key, seen.shape, seen.dtype)

    def objective(parameters: Any) -> tuple[Array, tuple[Array, Any, Array]]:
        volume, other = make.image(parameters, state.other, seen)
        residual_norm = jnp.linalg.norm((operands.A(volume) - operands.data).ravel())
        loss = 0.5 * residual_norm**2
        if operands.tv_weight is not None:
            smoothing = 0.01 * make.scale
            variation = priors.total_variation(volume, smoothing=smoothing, spacing=operands.spacing)
            loss += operands.tv_weight * variation
        return loss / or_one(jnp.vdot(operands.data, operands.data)), (volume, other, residual_norm)

    (loss, found), gradient = jax.value_and_grad(objective, has_aux=True)(state.parameters)
    output, other, residual_norm = found
    parameters, optimizer = make.move(state.parameters, state.optimizer, loss, gradient, lambda p: objective(p)[0])
    iteration = state.iteration + 1
    share = (1 - operands.averaging) / (1 - operands.averaging**iteration)
    volume = (1 - share) * state.volume + share * output
    record = {"residual_norm": residual_norm}
    early = state.early
    if early is not None:
        early, record["variance"] = _watch(early, output, volume, iteration, operands.patience)
    return DIPState(volume, parameters, other, optimizer, key, iteration, early), record


def _start_watching(volume: Array, window: int) -> EarlyStopping:
    if _validate.count("window", window) < 2:
        raise ValueError(f"window must be 2 or more, got {window}")
    recent = jnp.zeros((window, _watched(volume).size), volume.dtype)
    return EarlyStopping(recent, jnp.asarray(jnp.inf, volume.dtype), jnp.zeros((), jnp.int32), volume)


def _watched(volume: Array) -> Array:
    """All voxels, or as many as are watched, drawn once and for all."""
    values = volume.ravel()
    if values.size <= _WATCHED_VOXELS:
        return values
    return values[np.sort(np.random.default_rng(0).choice(values.size, _WATCHED_VOXELS, replace=False))]


def _watch(
    early: EarlyStopping, output: Array, volume: Array, iteration: Array, patience: int
) -> tuple[EarlyStopping, Array]:
    """The rule's part after one more output, and the variance over the window (over what there is of it at first)."""
    window = early.recent.shape[0]
    recent = early.recent.at[(iteration - 1) % window].set(_watched(output))
    count = jnp.minimum(iteration, window)
    there = (jnp.arange(window) < count)[:, None]
    centred = jnp.where(there, recent - jnp.sum(recent, 0) / count, 0)
    variance = jnp.mean(jnp.sum(centred**2, 0) / count)
    full, over = iteration >= window, early.since >= patience
    lesser = full & ~over & (variance < early.least)
    return EarlyStopping(
        recent,
        jnp.where(lesser, variance, early.least),
        jnp.where(lesser, 0, early.since + full),
        jnp.where(lesser | ~full, volume, early.best),
    ), variance


def _with_rule(loop: LoopOptions, patience: int) -> LoopOptions:
    """The loop's options with the end of patience among the rules to stop."""

    def rule(previous: DIPState, state: DIPState, record: dict[str, float]) -> bool:
        return state.early is not None and int(state.early.since) >= patience

    asked = loop.get("stop")
    return {**loop, "stop": rule if asked is None else stopping.any_of(rule, asked)}


def _scale(A: LinearOperator, data: Array) -> Array:  # noqa: N803
    return or_one(jnp.max(jnp.abs(cgls(A, data, num_iters=1).volume)))


def _unless_zero(value: Array) -> Array | None:
    """None for what is known to be 0, so that the step is compiled without it."""
    with jax.ensure_compile_time_eval():
        return None if _validate.concrete(value) and value == 0 else value


def _check_averaging(averaging: ArrayLike) -> Array:
    with jax.ensure_compile_time_eval():
        value = _validate.scalar("averaging", averaging)
        if _validate.concrete(value) and not 0 <= value < 1:
            raise ValueError(f"averaging must be 0 or more and below 1, got {value:g}")
    return value
