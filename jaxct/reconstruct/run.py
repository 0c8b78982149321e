"""The loop that iterative algorithms share: compiled steps, a history, a progress bar, stopping rules, checkpoints.

An algorithm is a step ``step(state, operands) -> (state, record)``. ``record`` is a dict of scalars, one row of the
history. What does not change (the operator, weights) goes into ``operands``, a pytree, so that large arrays are
arguments of the compiled step and not constants in it.
"""

import functools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, TypedDict, TypeVar, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.reconstruct import _checkpoint

State = TypeVar("State", bound=NamedTuple)
Step = Callable[[State, Any], tuple[State, dict[str, Array]]]
Callback = Callable[[int, Any, dict[str, float]], bool | None]
Stop = Callable[[Any, Any, dict[str, float]], Any]


class LinearOperator(Protocol):
    """What an algorithm asks of an operator: ``A(x)``, ``A.T(y)`` and the shapes of x and y."""

    @property
    def in_shape(self) -> tuple[int, ...]: ...

    @property
    def out_shape(self) -> tuple[int, ...]: ...

    @property
    def T(self) -> Callable[[Any], Array]: ...  # noqa: N802

    def __call__(self, x: Any, /) -> Array: ...


class Result(NamedTuple):
    """What an iterative algorithm returns.

    Attributes:
        volume: the last iterate.
        history: one array per recorded quantity, an entry per iteration done; shorter than asked if stopped early.
    """

    volume: Array
    history: dict[str, Array]


class LoopOptions(TypedDict, total=False):
    """How a long run behaves: keyword arguments that every iterative algorithm takes and hands on to :func:`iterate`.

    With any of them the steps are called from Python, each compiled once, and the arguments must be concrete. Ctrl-C
    then raises no KeyboardInterrupt: the loop ends, and the last whole iterate is returned with the history up to it.

    Attributes:
        callback: called as ``callback(iteration, state, record)`` after each step, iterations counted from 1, record
            holding floats; returning True stops.
        progress: show a progress bar (with rich, else not at all).
        stop: a rule of :mod:`jaxct.reconstruct.stopping`, or any ``stop(previous_state, state, record)``; True stops.
        checkpoint: a folder for the run's state, made if need be. Where it holds an earlier part of the same run, the
            run goes on from there and ends in the same bits as if it had never been interrupted; what belongs to
            another run is refused. Needs ``jaxct[io]``.
        checkpoint_every: iterations between two checkpoints, 10 if not given. The last of ``num_iters`` is kept, too,
            and the one that Ctrl-C ends; not the one that a rule or a callback stops at, so that the same call stops
            there again.
    """

    callback: Callback | None
    progress: bool
    stop: Stop | None
    checkpoint: str | os.PathLike[str] | None
    checkpoint_every: int


def iterate(
    step: Step,
    state: State,
    operands: Any = (),
    *,
    num_iters: int,
    label: str = "",
    **loop: Unpack[LoopOptions],
) -> tuple[State, dict[str, Array]]:
    """Run ``num_iters`` steps.

    Without options for the loop this is one ``lax.scan``: it works under ``jit`` and ``vmap`` and is differentiable.

    Args:
        step: a function defined once (not a closure made per call), so that its compiled form is found again.
        state: the first state, a pytree.
        operands: what the step needs and does not change, a pytree. Leaves that are not arrays (an operator that is no
            pytree) are allowed, at the price of compiling anew on every call.
        num_iters: number of steps.
        label: the algorithm's name: what the progress bar is called, and part of what tells one run from another.
        loop: see :class:`LoopOptions`.

    Returns:
        The last state, and the history as a dict of arrays with one entry per step.

    Raises:
        TypeError, ValueError: for a number of iterations that is no natural number, and options that are unknown.
        ValueError: for options of the loop under ``jit``, ``vmap`` or ``grad``; a checkpoint of another run.
    """
    check_num_iters(num_iters)
    num_iters = int(num_iters)
    options = _check_loop(loop)
    arrays, bind = _split(operands)
    asked = [name for name in ("callback", "progress", "stop", "checkpoint") if options.get(name)]
    if not asked:
        return _scan(step, state, arrays, bind, num_iters)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((state, arrays))):
        raise ValueError(f"{', '.join(asked)}: need concrete arrays; under jit, vmap or grad leave them out")
    return _loop(step, state, arrays, bind, num_iters, label, options)


def _check_loop(loop: LoopOptions) -> LoopOptions:
    unknown = sorted(set(loop) - LoopOptions.__annotations__.keys())
    if unknown:
        known = ", ".join(LoopOptions.__annotations__)
        raise TypeError(f"unexpected keyword argument {unknown[0]!r}; of the loop there are {known}")
    _validate.count("checkpoint_every", loop.get("checkpoint_every", 1))
    return loop


def check_num_iters(num_iters: int) -> None:
    if isinstance(num_iters, bool) or not isinstance(num_iters, int | np.integer):
        raise TypeError(f"num_iters: expected an int, got {num_iters!r}")
    if num_iters < 0:
        raise ValueError(f"num_iters: expected 0 or more, got {num_iters}")


def check_data(operator: LinearOperator, data: ArrayLike, init: ArrayLike | None = None) -> tuple[Array, Array | None]:
    """Data and initial volume as floating arrays of one dtype, checked against the operator's shapes.

    Raises:
        ValueError: where a shape does not fit.
        TypeError: where values are not real.
    """
    data = jnp.asarray(data)
    _check_array("data", data, operator.out_shape)
    dtype = jnp.promote_types(data.dtype, jnp.float32)
    if init is None:
        return data.astype(dtype), None
    init = jnp.asarray(init)
    _check_array("init", init, operator.in_shape)
    return data.astype(dtype), init.astype(dtype)


def _check_array(name: str, array: Array, shape: tuple[int, ...]) -> None:
    if array.shape != tuple(shape):
        raise ValueError(f"{name}: expected the operator's shape {tuple(shape)}, got {array.shape}")
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"{name}: expected real values, got {array.dtype}")


class _Bind(NamedTuple):
    """Puts arrays back where they were among operands; hashable where all leaves are arrays."""

    structure: Any
    fixed: tuple[Any, ...]

    def __call__(self, arrays: tuple[Array, ...]) -> Any:
        remaining = iter(arrays)
        leaves = [next(remaining) if leaf is None else leaf for leaf in self.fixed]
        return jax.tree.unflatten(self.structure, leaves)


def _split(operands: Any) -> tuple[tuple[Array, ...], _Bind]:
    leaves, structure = jax.tree.flatten(operands)
    is_array = [hasattr(leaf, "shape") and hasattr(leaf, "dtype") for leaf in leaves]
    fixed = tuple(None if array else leaf for leaf, array in zip(leaves, is_array, strict=True))
    return tuple(leaf for leaf, array in zip(leaves, is_array, strict=True) if array), _Bind(structure, fixed)


def _compiled(function: Callable, bind: _Bind, static: tuple[str, ...]) -> Callable:
    """``function`` jitted for this ``bind``. An operand that is no array, and may have no hash, must not outlive the
    call as a key of a global cache."""
    if all(leaf is None for leaf in bind.fixed):
        return functools.partial(_cached_jit(function, (*static, "bind")), bind=bind)
    return jax.jit(functools.partial(function, bind=bind), static_argnames=static)


@functools.cache
def _cached_jit(function: Callable, static: tuple[str, ...]) -> Callable:
    return jax.jit(function, static_argnames=static)


def _scan(step: Step, state: State, arrays: tuple, bind: _Bind, num_iters: int) -> tuple[State, dict[str, Array]]:
    run = _compiled(_scan_steps, bind, ("step", "num_iters"))
    return run(state, arrays, step=step, num_iters=num_iters)


def _scan_steps(state: State, arrays: tuple, *, step: Step, bind: _Bind, num_iters: int) -> tuple[State, dict]:
    return jax.lax.scan(lambda carry, _: step(carry, bind(arrays)), state, length=num_iters)


def _one_step(state: State, arrays: tuple, *, step: Step, bind: _Bind) -> tuple[State, dict]:
    return step(state, bind(arrays))


def _loop(
    step: Step,
    state: State,
    arrays: tuple,
    bind: _Bind,
    num_iters: int,
    label: str,
    options: LoopOptions,
) -> tuple[State, dict[str, Array]]:
    compiled = _compiled(_one_step, bind, ("step",))
    callback, stop = options.get("callback"), options.get("stop")
    every = options.get("checkpoint_every", 10)
    rows = jax.eval_shape(lambda s, a: step(s, bind(a))[1], state, arrays)
    with (
        _checkpoint.opened(options.get("checkpoint"), label, state, arrays, str(bind)) as kept,
        _progress_bar(num_iters, label, options.get("progress", False)) as advance,
    ):
        done, state, records = kept.restore(state, rows, num_iters)
        advance(done, {})
        saved = done
        try:
            while done < num_iters:
                following, record = jax.block_until_ready(compiled(state, arrays, step=step))
                records.append({name: np.asarray(value) for name, value in record.items()})
                # At once, and after the record: wherever an interrupt comes, state and count belong together.
                previous, state, done = state, following, done + 1
                values = {name: float(value) for name, value in records[-1].items()}
                advance(1, values)
                if (callback is not None and callback(done, state, values)) or (
                    stop is not None and stop(previous, state, values)
                ):
                    break
                if done % every == 0 or done == num_iters:
                    kept.save(done, state, records)
                    saved = done
        except KeyboardInterrupt:
            if saved < done:
                kept.save(done, state, records[:done])
    if done == 0:
        return state, {name: jnp.zeros((0, *row.shape), row.dtype) for name, row in rows.items()}
    return state, {name: jnp.asarray(np.stack([record[name] for record in records[:done]])) for name in rows}


@contextmanager
def _progress_bar(total: int, label: str, shown: bool) -> Iterator[Callable[[int, dict[str, float]], None]]:
    """A rich progress bar with what the last step recorded and the rate; nothing where rich is not installed."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.table import Column
    except ImportError:
        shown = False
    if not shown:
        yield lambda steps, record: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        # What a narrow terminal has no room for is cut off here, and nothing before it.
        TextColumn("{task.fields[note]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
    )
    with Progress(*columns, console=Console(stderr=True), expand=True) as bar:
        task = bar.add_task(label, total=total, note="")
        start, here = time.perf_counter(), 0

        def advance(steps: int, record: dict[str, float]) -> None:
            nonlocal here
            values = [f"{name.replace('_', ' ')} {value:.4g}" for name, value in record.items()]
            if record:
                here += steps
                values.insert(0, f"{here / (time.perf_counter() - start):.3g}/s")
            bar.update(task, advance=steps, note="  ".join(values))

        yield advance
