"""Where a run's state is kept on disk, so that it can go on after it was killed: orbax, one step per iteration number.

A checkpoint has the leaves of the state, the history, and the run's fingerprint: what the algorithm is called, how its
state and what it works on are built, and two numbers for each of their arrays. Orbax writes to a temporary folder and
renames it, so that a process killed while it writes leaves the checkpoint before.
"""

import hashlib
import os
import re
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

Records = list[dict[str, np.ndarray]]


class Disabled:
    """No checkpoints."""

    def restore(self, state: Any, rows: Mapping[str, Any], num_iters: int) -> tuple[int, Any, Records]:
        """Iterations done, the state after them, and their records; ``rows`` says what a record is like."""
        return 0, state, []

    def save(self, done: int, state: Any, records: Records) -> None:
        """Keep the state after ``done`` iterations."""


class Checkpoints(Disabled):
    """Checkpoints of one run, in orbax's ``manager``."""

    def __init__(self, manager: Any, fingerprint: dict[str, Any]):
        self._manager = manager
        self._fingerprint = fingerprint

    def restore(self, state: Any, rows: Mapping[str, Any], num_iters: int) -> tuple[int, Any, Records]:
        from orbax.checkpoint import args

        done = self._manager.latest_step()
        if done is None:
            return super().restore(state, rows, num_iters)
        self._check(self._manager.restore(done, args=args.Composite(run=args.JsonRestore()))["run"])
        if done > num_iters:
            folder = self._manager.directory
            raise ValueError(f"checkpoint: {folder} is {done} iterations far, num_iters is {num_iters}")
        leaves, structure = jax.tree.flatten(state)
        wanted = {
            "state": {str(i): _data(leaf) for i, leaf in enumerate(leaves)},
            "history": {name: np.zeros((done, *kind.shape), kind.dtype) for name, kind in rows.items()},
        }
        found = self._manager.restore(done, args=args.Composite(arrays=args.StandardRestore(wanted)))["arrays"]
        restored = [_like(found["state"][str(i)], leaf) for i, leaf in enumerate(leaves)]
        records = [{name: found["history"][name][i] for name in rows} for i in range(done)]
        return done, jax.tree.unflatten(structure, restored), records

    def save(self, done: int, state: Any, records: Records) -> None:
        from orbax.checkpoint import args

        if self._manager.latest_step() == done:
            return
        arrays = {
            "state": {str(i): _data(leaf) for i, leaf in enumerate(jax.tree.leaves(state))},
            "history": {name: np.stack([record[name] for record in records]) for name in records[0]},
        }
        with _uninterrupted():
            self._manager.save(
                done, args=args.Composite(arrays=args.StandardSave(arrays), run=args.JsonSave(self._fingerprint))
            )

    def _check(self, found: dict[str, Any]) -> None:
        for name, value in self._fingerprint.items():
            if not _same(found.get(name), value):
                raise ValueError(
                    f"checkpoint: {self._manager.directory} holds another run, which differs in its {name}; give this "
                    "one a folder of its own"
                )


@contextmanager
def opened(
    folder: str | os.PathLike[str] | None, label: str, state: Any, operands: Any, built: str
) -> Iterator[Disabled]:
    """The checkpoints in a folder, made if need be; none without one. ``built`` says how the operands are built."""
    if folder is None:
        yield Disabled()
        return
    try:
        import orbax.checkpoint as ocp
    except ImportError as error:
        raise ImportError("checkpoint: needs orbax-checkpoint; pip install 'jaxct[io]'") from error
    options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
    with ocp.CheckpointManager(Path(folder).absolute(), options=options) as manager:
        yield Checkpoints(manager, _fingerprint(label, state, operands, built))


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits until what is written is whole."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple] = []
    handler = signal.signal(signal.SIGINT, lambda *arguments: came.append(arguments))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if came and callable(handler):
        handler(*came[0])


def _fingerprint(label: str, state: Any, operands: Any, built: str) -> dict[str, Any]:
    # Where functions and objects lie in memory tells nothing.
    plain = re.sub(r" at 0x[0-9a-f]+", "", f"{jax.tree.structure(state)} {built}")
    kinds = [f"{leaf.dtype}{list(leaf.shape)}" for leaf in map(jnp.asarray, jax.tree.leaves((state, operands)))]
    return {
        "algorithm": label,
        "structure": hashlib.sha256(" ".join((plain, *kinds)).encode()).hexdigest(),
        "data, operator or options": [_summary(leaf) for leaf in jax.tree.leaves(operands)],
        "start": [_summary(leaf) for leaf in jax.tree.leaves(state)],
    }


def _summary(leaf: Any) -> list[float]:
    """The norm of an array and its product with random numbers."""
    value = np.nan_to_num(np.asarray(_data(leaf), np.float64).ravel(), nan=2, posinf=3, neginf=-3)
    weights = np.random.default_rng(0).normal(size=value.size)
    return [float(np.linalg.norm(value)), float(value @ weights)]


def _same(found: Any, wanted: Any) -> bool:
    """Numbers up to rounding: what a run starts from may have been computed on another machine."""
    if not isinstance(wanted, list):
        return found == wanted
    if not isinstance(found, list) or len(found) != len(wanted):
        return False
    pairs = zip(found, wanted, strict=True)
    return all(np.allclose(a, b, rtol=0, atol=1e-5 * max(a[0], b[0])) for a, b in pairs)


def _data(leaf: Any) -> Array:
    """Random keys as numbers."""
    array = jnp.asarray(leaf)
    return jax.random.key_data(array) if jnp.issubdtype(array.dtype, jax.dtypes.prng_key) else array


def _like(data: Array, leaf: Any) -> Array:
    array = jnp.asarray(leaf)
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(array))
    return data
