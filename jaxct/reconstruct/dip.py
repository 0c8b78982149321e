"""The deep image prior: a network's weights fitted to one scan."""

import dataclasses
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from jaxct import priors
from jaxct.geometry import _validate
from jaxct.nn import UNet
from jaxct.reconstruct import stopping
from jaxct.reconstruct._checks import check_nonnegative
from jaxct.reconstruct.cgls import cgls
from jaxct.reconstruct.run import LinearOperator, LoopOptions, Result, check_data, check_num_iters, iterate

# Channels of the noise that the default network sees.
_CHANNELS = 16
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
    input: Array
    scale: Array
    tv_weight: Array | None
    spacing: Array
    input_noise: Array | None
    averaging: Array
    graphdef: Any = dataclasses.field(metadata={"static": True})
    update: Callable = dataclasses.field(metadata={"static": True})
    patience: int = dataclasses.field(metadata={"static": True})

    def volume(self, parameters: Any, other: Any, seen: Array) -> tuple[Array, Any]:
        """What the network makes of its input, and what it holds afterwards beside parameters."""
        # A copy: in a derivative, what a network keeps beside its parameters can be changed only where it was made.
        network = nnx.merge(self.graphdef, parameters, other, copy=True)
        output = network(seen)[..., 0].astype(self.data.dtype)
        return self.scale * output, _split(network)[2]


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
    graphdef, parameters, other, seen = _network(network, input, shape, data.dtype, network_key, input_key)
    optimizer = optax.with_extra_args_support(_adam() if optimizer is None else optimizer)
    operands = _Operands(
        A=A,
        data=data,
        input=seen,
        scale=_scale(A, data),
        tv_weight=_unless_zero(check_nonnegative("tv_weight", tv_weight, (), data.dtype)),
        spacing=_validate.per_axis("spacing", spacing, len(shape), positive=True).astype(data.dtype),
        input_noise=_unless_zero(check_nonnegative("input_noise", input_noise, (), data.dtype)),
        averaging=_check_averaging(averaging).astype(data.dtype),
        graphdef=graphdef,
        update=optimizer.update,
        patience=_validate.count("patience", patience),
    )
    if init is not None:
        parameters, other = _fit(operands, optimizer, parameters, other, init, fit_iters)
    volume = jnp.zeros(shape, data.dtype) if init is None else init
    early = None if window is None else _start_watching(volume, window)
    state = DIPState(volume, parameters, other, optimizer.init(parameters), key, jnp.zeros((), jnp.int32), early)
    if early is not None and _validate.concrete(*jax.tree.leaves((state, operands))):
        loop = _with_rule(loop, operands.patience)
    state, history = iterate(_step, state, operands, num_iters=num_iters, label="DIP", **loop)
    return Result(state.volume if state.early is None else state.early.best, history)


def _step(state: DIPState, operands: _Operands) -> tuple[DIPState, dict[str, Array]]:
    key, noise_key = jax.random.split(state.key)
    seen = operands.input
    if operands.input_noise is not None:
        seen = seen + operands.input_noise * _normal(noise_key, seen.shape, seen.dtype)

    def objective(parameters: Any) -> tuple[Array, tuple[Array, Any, Array]]:
        volume, other = operands.volume(parameters, state.other, seen)
        residual_norm = jnp.linalg.norm((operands.A(volume) - operands.data).ravel())
        loss = 0.5 * residual_norm**2
        if operands.tv_weight is not None:
            smoothing = 0.01 * operands.scale
            variation = priors.total_variation(volume, smoothing=smoothing, spacing=operands.spacing)
            loss += operands.tv_weight * variation
        return loss / _or_one(jnp.vdot(operands.data, operands.data)), (volume, other, residual_norm)

    (loss, found), gradient = jax.value_and_grad(objective, has_aux=True)(state.parameters)
    output, other, residual_norm = found
    parameters, optimizer = _move(operands, state, loss, gradient, lambda p: objective(p)[0])
    iteration = state.iteration + 1
    share = (1 - operands.averaging) / (1 - operands.averaging**iteration)
    volume = (1 - share) * state.volume + share * output
    record = {"residual_norm": residual_norm}
    early = state.early
    if early is not None:
        early, record["variance"] = _watch(early, output, volume, iteration, operands.patience)
    return DIPState(volume, parameters, other, optimizer, key, iteration, early), record


def _move(operands: _Operands, state: Any, loss: Array, gradient: Any, function: Callable) -> tuple[Any, Any]:
    """Parameters after a step of the optimiser, and its state; ``function`` is for those that search along a line."""
    updates, optimizer = operands.update(
        gradient, state.optimizer, state.parameters, value=loss, grad=gradient, value_fn=function
    )
    return optax.apply_updates(state.parameters, updates), optimizer


class _FitState(NamedTuple):
    parameters: Any
    other: Any
    optimizer: Any


def _fit(
    operands: _Operands, optimizer: Any, parameters: Any, other: Any, image: Array, num_iters: int
) -> tuple[Any, Any]:
    """The network fitted to an image, without noise."""
    state = _FitState(parameters, other, optimizer.init(parameters))
    num_iters = _validate.count("fit_iters", num_iters)
    return iterate(_fit_step, state, (operands, image), num_iters=num_iters)[0][:2]


def _fit_step(state: _FitState, operands: tuple[_Operands, Array]) -> tuple[_FitState, dict[str, Array]]:
    problem, image = operands

    def objective(parameters: Any) -> tuple[Array, Any]:
        volume, other = problem.volume(parameters, state.other, problem.input)
        return jnp.mean(((volume - image) / problem.scale) ** 2), other

    (loss, other), gradient = jax.value_and_grad(objective, has_aux=True)(state.parameters)
    parameters, optimizer = _move(problem, state, loss, gradient, lambda p: objective(p)[0])
    return _FitState(parameters, other, optimizer), {"loss": loss}


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


def _network(
    network: nnx.Module | None,
    image: ArrayLike | None,
    shape: tuple[int, ...],
    dtype: Any,
    key: Array,
    input_key: Array,
) -> tuple[Any, Any, Any, Array]:
    """The network as a graph, its parameters and other state, and its input."""
    seen = None if image is None else _standardised(image, shape, dtype)
    if network is None:
        if len(shape) not in (2, 3):
            raise ValueError(f"network must be given for images of shape {shape}: the default takes 2 or 3 axes")
        channels = _CHANNELS if seen is None else seen.shape[-1]
        graphdef, (parameters, other) = _default_graph(len(shape), channels), _draw(len(shape), channels, key)
    else:
        graphdef, parameters, other = _split(network)
        channels = getattr(network, "in_channels", 0)
    if seen is None:
        if not channels:
            raise ValueError("input must be given for a network that has no in_channels")
        seen = _normal(input_key, (*shape, channels), dtype)
    # In the data's precision: the steps of an optimiser are rounded to that of the parameters.
    parameters, other = jax.tree.map(
        lambda leaf: leaf.astype(jnp.promote_types(leaf.dtype, dtype)) if _is_float(leaf) else leaf, (parameters, other)
    )
    output = jax.eval_shape(lambda p, o, z: nnx.merge(graphdef, p, o, copy=True)(z), parameters, other, seen)
    if output.shape != (*shape, 1):
        raise ValueError(f"network must turn {seen.shape} into {(*shape, 1)}, got {output.shape}")
    return graphdef, parameters, other, seen


def _split(network: nnx.Module) -> tuple[Any, Any, Any]:
    """The graph, parameters, and what else there is."""
    parts: Any = nnx.split(network, nnx.Param, ...)
    return parts


def _is_float(leaf: Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.floating)


def _make(ndim: int, channels: int, key: Array) -> UNet:
    return UNet(ndim, in_channels=channels, final_activation=nnx.softplus, rngs=nnx.Rngs(key))


@partial(jax.jit, static_argnums=(0, 1))
def _draw(ndim: int, channels: int, key: Array) -> tuple[Any, Any]:
    """Parameters of the default network and its other state, in one program instead of one for each shape."""
    return _split(_make(ndim, channels, key))[1:]


def _default_graph(ndim: int, channels: int) -> Any:
    return _split(nnx.eval_shape(lambda: _make(ndim, channels, jax.random.key(0))))[0]


def _standardised(image: ArrayLike, shape: tuple[int, ...], dtype: Any) -> Array:
    """With channels, each of zero mean and unit variance (zero where it is constant)."""
    array = _validate.floats("input", image).astype(dtype)
    if array.shape == shape:
        array = array[..., None]
    if array.shape[:-1] != shape or array.shape[-1] == 0:
        raise ValueError(f"input must have shape {shape} or {(*shape, 'channels')}, got {array.shape}")
    axes = tuple(range(len(shape)))
    centred = array - jnp.mean(array, axes)
    return centred / _or_one(jnp.sqrt(jnp.mean(centred**2, axes)))


@cache
def _adam() -> optax.GradientTransformation:
    """One for all runs, so that their compiled steps are the same.

    With the usual eps, 1e-8, steps stay as long as ever when the gradient has become small, and some runs blow up.
    """
    return optax.adam(0.01, eps=1e-5)


def _scale(A: LinearOperator, data: Array) -> Array:  # noqa: N803
    return _or_one(jnp.max(jnp.abs(cgls(A, data, num_iters=1).volume)))


def _normal(key: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """The same numbers in either precision, up to their rounding."""
    return jax.random.normal(key, shape, jnp.float32).astype(dtype)


def _unless_zero(value: Array) -> Array | None:
    """None for what is known to be 0, so that the step is compiled without it."""
    with jax.ensure_compile_time_eval():
        return None if _validate.concrete(value) and value == 0 else value


def _or_one(value: Array) -> Array:
    return jnp.where(value == 0, 1, value)


def _check_averaging(averaging: ArrayLike) -> Array:
    with jax.ensure_compile_time_eval():
        value = _validate.scalar("averaging", averaging)
        if _validate.concrete(value) and not 0 <= value < 1:
            raise ValueError(f"averaging must be 0 or more and below 1, got {value:g}")
    return value
