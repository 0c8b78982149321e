"""Minimisation of any objective by the optimisers of optax."""

from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike

from jaxct.reconstruct._checks import check_bounds, check_key
from jaxct.reconstruct._line_search import evaluated
from jaxct.reconstruct._static import as_operands, restored
from jaxct.reconstruct.run import LoopOptions, Result, iterate


class MinimizeState(NamedTuple):
    """State of :func:`minimize`: iterate (an array or a pytree of them), state of the optimiser, objective and gradient
    at the iterate, random key (None without)."""

    volume: Any
    optimizer: Any
    value: Array
    gradient: Any
    key: Array | None


class _Operands(NamedTuple):
    objective: Any
    optimizer: Any
    args: tuple[Any, ...]
    lower: Any
    upper: Any


def minimize(
    objective: Callable[..., Array],
    init: Any,
    *,
    optimizer: Any,
    num_iters: int,
    lower: Any = None,
    upper: Any = None,
    key: Array | None = None,
    args: tuple[Any, ...] = (),
    **loop: Unpack[LoopOptions],
) -> Result:
    r"""Minimise ``objective(x, *args)`` from ``init`` on, by any optimiser of optax.

    An iteration is one update of the optimiser, and one evaluation of the objective and its gradient at what comes of
    it; one of these more to start. An optimiser that searches along a line (``optax.lbfgs()``) evaluates more often;
    what it finds out is not evaluated again, where there are neither bounds nor a key. How long steps are is the
    optimiser's affair: for others than L-BFGS the learning rate has to fit the objective.

    Bounds are kept by projection. Components that lie on a bound, with a gradient that would push them over it, stay
    out of the update (the optimiser sees a gradient of zero there), and what it leads to is clipped; a search along a
    line follows the line clipped like this. So an iterate that stays is a stationary point within the bounds, and
    directions that mix components, as those of L-BFGS do, descend (two-metric projection). For L-BFGS this is a
    heuristic all the same: its memory bridges changes of the set of components on a bound.

    With a ``key`` the objective is called as ``objective(x, key, *args)``, with a new key in every iteration: so that
    views are drawn at random, for instance, as :meth:`jaxct.data_fit.LeastSquares.sample` does. The optimiser should
    then be one for noisy gradients, with steps that become shorter.

    Compiled steps are found again where an objective is of a known structure. An objective that is a pytree
    (:mod:`jaxct.data_fit`) and ``args`` bring their arrays as arguments of the step. A function that refers to arrays
    itself, by closure or as globals, is compiled anew on every call, with the arrays as constants in the program:
    better hand them over in ``args``. So is one that refers to modules or classes of your own.

    Args:
        objective: a differentiable function of the iterate with a scalar value; a function or a callable pytree.
        init: first iterate: an image, or any pytree of real arrays, such as the parameters of a network. It is moved
            within the bounds.
        optimizer: an ``optax.GradientTransformation``; a search along a line must be its last part.
        num_iters: number of iterations (static under ``jit``).
        lower: least value of a component: a number or an array that broadcasts to ``init``, for pytrees also one of
            the same structure; None for no bound.
        upper: greatest value, likewise.
        key: of :func:`jax.random.key`, for objectives that are random; None for others.
        args: further arguments of the objective, pytrees.
        loop: callback (with a :class:`MinimizeState`), progress, stop, checkpoint: see
            :class:`~jaxct.reconstruct.LoopOptions`. A checkpoint knows the run it belongs to by arrays, not by
            functions.

    Returns:
        ``Result(volume, history)``, the volume of the structure of ``init``; the history has ``objective`` and
        ``gradient_norm`` at the iterate after each iteration (of the objective with the next key, where there is one).
        The norm leaves out the components that a bound holds.

    Raises:
        ValueError: bounds that do not fit, are NaN or cross; a negative number of iterations.
        TypeError: what is no function or no optimiser; values that are not real numbers; a key that is none.

    References:
        D. P. Bertsekas, "Projected Newton methods for optimization problems with simple constraints", SIAM J. Control
        Optim. 20 (1982) 221-246; J. Nocedal and S. J. Wright, "Numerical Optimization", 2nd ed., Springer 2006,
        chapter 7; D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.
    """
    if not callable(objective):
        raise TypeError(f"objective must be a function, got {objective!r}")
    if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
        raise TypeError(f"optimizer must be an optax.GradientTransformation, got {optimizer!r}")
    volume = jax.tree.map(_as_float, init)
    low, high = _bounds(lower, upper, volume)
    volume, key = _clip(volume, low, high), check_key(key)
    optimizer = optax.with_extra_args_support(optimizer)
    operands = _Operands(as_operands(objective), as_operands(optimizer), as_operands(tuple(args)), low, high)
    zero = jnp.zeros((), jnp.result_type(*jax.tree.leaves(volume)))
    state = MinimizeState(volume, optimizer.init(volume), zero, jax.tree.map(jnp.zeros_like, volume), key)
    state, _ = iterate(_start, state, operands, num_iters=1)
    state, history = iterate(_step, state, operands, num_iters=num_iters, label="minimize", **loop)
    return Result(state.volume, history)


def _start(state: MinimizeState, operands: _Operands) -> tuple[MinimizeState, dict[str, Array]]:
    value, gradient = jax.value_and_grad(_objective(operands, state.key))(state.volume)
    return state._replace(value=value.astype(state.value.dtype), gradient=gradient), {}


def _step(state: MinimizeState, operands: _Operands) -> tuple[MinimizeState, dict[str, Array]]:
    volume, held = state.volume, _held(state, operands)
    optimizer = restored(operands.optimizer)
    objective = _objective(operands, state.key)

    def move(destination: Any) -> Any:
        """Where an update leads to within the bounds."""
        return _clip(_select(held, volume, destination), operands.lower, operands.upper)

    gradient = _select(held, jax.tree.map(jnp.zeros_like, state.gradient), state.gradient)
    updates, inner = optimizer.update(
        gradient,
        state.optimizer,
        volume,
        value=state.value,
        grad=gradient,
        value_fn=lambda x: objective(move(x)),
    )
    volume = move(optax.apply_updates(volume, updates))
    key = None if state.key is None else jax.random.split(state.key)[0]
    value, gradient = evaluated(_objective(operands, key), volume, inner, exact=held is None and key is None)
    following = MinimizeState(volume, inner, value.astype(state.value.dtype), gradient, key)
    left = _select(_held(following, operands), jax.tree.map(jnp.zeros_like, gradient), gradient)
    return following, {"objective": following.value, "gradient_norm": _norm(left)}


def _objective(operands: _Operands, key: Array | None) -> Callable[[Any], Array]:
    objective, args = restored(operands.objective), restored(operands.args)
    drawn = () if key is None else (jax.random.split(key)[1],)
    return lambda x: objective(x, *drawn, *args)


def _held(state: MinimizeState, operands: _Operands) -> Any:
    """Which components a bound keeps from following the gradient; None without bounds."""
    if operands.lower is None and operands.upper is None:
        return None
    none = jax.tree.map(lambda x: jnp.zeros(x.shape, bool), state.volume)
    below, above = none, none
    if operands.lower is not None:
        below = jax.tree.map(lambda x, g, b: (x <= b) & (g > 0), state.volume, state.gradient, operands.lower)
    if operands.upper is not None:
        above = jax.tree.map(lambda x, g, b: (x >= b) & (g < 0), state.volume, state.gradient, operands.upper)
    return jax.tree.map(jnp.logical_or, below, above)


def _select(mask: Any, chosen: Any, other: Any) -> Any:
    return other if mask is None else jax.tree.map(jnp.where, mask, chosen, other)


def _clip(volume: Any, lower: Any, upper: Any) -> Any:
    # Not jnp.clip, whose gradient on a bound is one half: a line that starts there and leads inwards has the whole one.
    if lower is not None:
        volume = jax.tree.map(lambda x, b: jnp.where(x < b, b, x), volume, lower)
    if upper is not None:
        volume = jax.tree.map(lambda x, b: jnp.where(x > b, b, x), volume, upper)
    return volume


def _norm(tree: Any) -> Array:
    leaves = jax.tree.leaves(tree)
    return jnp.sqrt(sum((jnp.sum(leaf**2) for leaf in leaves), jnp.zeros((), jnp.result_type(*leaves))))


def _as_float(leaf: ArrayLike) -> Array:
    array = jnp.asarray(leaf)
    if jnp.issubdtype(array.dtype, np.integer):
        return array.astype(jnp.result_type(float))
    if not jnp.issubdtype(array.dtype, np.floating):
        raise TypeError(f"init: expected real values, got {array.dtype}")
    # Not a weak type, which the step would turn into a firm one.
    return jax.lax.convert_element_type(array, array.dtype)


def _bounds(lower: Any, upper: Any, volume: Any) -> tuple[Any, Any]:
    """Bounds in the structure of the volume, each None if there is none."""
    structure = jax.tree.structure(volume)
    leaves = jax.tree.leaves(volume)
    columns = [_spread(name, bound, structure) for name, bound in (("lower", lower), ("upper", upper))]
    pairs = [_check_leaf(low, high, leaf) for low, high, leaf in zip(*columns, leaves, strict=True)]
    low, high = (jax.tree.unflatten(structure, [pair[i] for pair in pairs]) for i in (0, 1))
    return None if lower is None else low, None if upper is None else high


def _spread(name: str, bound: Any, structure: Any) -> list[Any]:
    """A bound for each leaf."""
    if jax.tree.structure(bound) == structure and bound is not None:
        return jax.tree.leaves(bound)
    if bound is not None and not jax.tree_util.all_leaves([bound]):
        raise ValueError(f"{name} must be a number, an array or a pytree of the structure of init, got {bound!r}")
    return [bound] * structure.num_leaves


def _check_leaf(lower: Any, upper: Any, leaf: Array) -> tuple[Array | None, Array | None]:
    for name, bound in (("lower", lower), ("upper", upper)):
        try:
            fits = np.broadcast_shapes(np.shape(bound), leaf.shape) == leaf.shape
        except ValueError:
            fits = False
        if bound is not None and not fits:
            raise ValueError(f"{name} must broadcast to the shape of init, {leaf.shape}, got shape {np.shape(bound)}")
    return check_bounds(lower, upper, leaf.shape, leaf.dtype)
