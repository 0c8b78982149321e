"""Where a run's state is kept on disk, so that it can go on after it was killed: orbax, one step per iteration number.

A checkpoint has the leaves of the state, the history, and the run's fingerprint: what the algorithm is called, the
structure of its state, and a digest of what it works on. Orbax writes to a temporary folder and renames it, so that a
process killed while it writes leaves the checkpoint before.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

Records = list[dict[str, Array]]


class Disabled:
    """No checkpoints."""

    def restore(self, state: Any, rows: Mapping[str, Any], num_iters: int) -> tuple[int, Any, Records]:
        """Iterations done, the state after them, and their records; ``rows`` says what a record is like."""
        return 0, state, []

    def save(self, done: int, state: Any, records: Records) -> None:
        """Keep the state after ``done`` iterations."""


class Checkpoints(Disabled):
    """Checkpoints of one run, in orbax's ``manager``."""

    def __init__(self, manager: Any, fingerprint: dict[str, str]):
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
            "history": {name: jnp.zeros((done, *kind.shape), kind.dtype) for name, kind in rows.items()},
        }
        found = self._manager.restore(done, args=args.Composite(arrays=args.StandardRestore(wanted)))["arrays"]
        restored = [_like(found["state"][str(i)], leaf) for i, leaf in enumerate(leaves)]
        records = [{name: found["history"][name][i] for name in rows} for i in range(done)]
        return done, jax.tree.unflatten(structure, restored), records

    def save(self, done: int, state: Any, records: Records) -> None:
        from orbax.checkpoint import args

        arrays = {
            "state": {str(i): _data(leaf) for i, leaf in enumerate(jax.tree.leaves(state))},
            "history": jax.tree.map(lambda *values: jnp.stack(values), *records),
        }
        self._manager.save(
            done, args=args.Composite(arrays=args.StandardSave(arrays), run=args.JsonSave(self._fingerprint))
        )

    def _check(self, found: dict[str, str]) -> None:
        for name, value in self._fingerprint.items():
            if found.get(name) != value:
                raise ValueError(
                    f"checkpoint: {self._manager.directory} holds another run ({name}: {found.get(name)}, here "
                    f"{value}); give this one a folder of its own"
                )


@contextmanager
def opened(folder: str | os.PathLike[str] | None, label: str, state: Any, operands: Any) -> Iterator[Disabled]:
    """The checkpoints in a folder, which is made if need be; none without a folder."""
    if folder is None:
        yield Disabled()
        return
    try:
        import orbax.checkpoint as ocp
    except ImportError as error:
        raise ImportError("checkpoint: needs orbax-checkpoint; pip install 'jaxct[io]'") from error
    options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
    with ocp.CheckpointManager(Path(folder).absolute(), options=options) as manager:
        yield Checkpoints(manager, _fingerprint(label, state, operands))


def _fingerprint(label: str, state: Any, operands: Any) -> dict[str, str]:
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(operands):
        value = np.asarray(_data(leaf))
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(value.tobytes())
    kinds = [f"{leaf.dtype}{list(leaf.shape)}" for leaf in map(jnp.asarray, jax.tree.leaves(state))]
    return {"algorithm": label, "state": " ".join(kinds), "data and operator": digest.hexdigest()[:16]}


def _data(leaf: Any) -> Array:
    """Random keys as numbers."""
    array = jnp.asarray(leaf)
    return jax.random.key_data(array) if jnp.issubdtype(array.dtype, jax.dtypes.prng_key) else array


def _like(data: Array, leaf: Any) -> Array:
    array = jnp.asarray(leaf)
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(array))
    return data
