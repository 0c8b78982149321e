"""Sparse codes: signals as sums of a few atoms of a dictionary, many at a time, by orthogonal matching pursuit."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

# TensorFloat-32, with which GPUs would multiply, has three digits.
_einsum = partial(jnp.einsum, precision="highest")


class Codes(NamedTuple):
    """Numbers of the atoms and their coefficients, both (signals, sparsity), and what is left of the signals."""

    support: Array
    coefficients: Array
    residual: Array


def matching_pursuit(signals: Array, atoms: Array, sparsity: int) -> Codes:
    """Orthogonal matching pursuit: the atom that is most like what is left, then the best sum of all taken, and again.

    Args:
        signals: (signals, n).
        atoms: (atoms, n), of norm 1.
        sparsity: how many atoms a code has, at most the number of them.
    """
    return _pursue(signals, atoms, sparsity, None)


def projected(signals: Array, atoms: Array, support: Array) -> Codes:
    """The best sum of atoms that are given."""
    return _pursue(signals, atoms, support.shape[1], support)


def better(first: Codes, second: Codes) -> Codes:
    """Of two codes of each signal the one that leaves less of it; the first, if both leave as much."""
    squares = [jnp.sum(codes.residual**2, -1, keepdims=True) for codes in (first, second)]
    return jax.tree.map(partial(jnp.where, squares[1] < squares[0]), second, first)


def _pursue(signals: Array, atoms: Array, sparsity: int, support: Array | None) -> Codes:
    """By Gram and Schmidt: ``basis`` is an orthonormal one of the atoms taken, ``mix`` are the sums of them it is."""
    count, size = signals.shape

    def pick(residual: Array) -> Array:
        # What is left has nothing in common with atoms that were taken but rounding; to take one again does no harm.
        return jnp.argmax(jnp.abs(_einsum("pn,kn->pk", residual, atoms)), -1).astype(jnp.int32)

    def step(carry: tuple[Array, ...], number: Array) -> tuple[tuple[Array, ...], None]:
        residual, coefficients, taken, basis, mix = carry
        chosen = pick(residual) if support is None else support[:, number].astype(jnp.int32)
        vector = atoms[chosen]
        share = jnp.broadcast_to(jax.nn.one_hot(number, sparsity, dtype=signals.dtype), (count, sparsity))
        for _ in range(2):  # once is not enough for atoms that are much alike
            along = _einsum("psn,pn->ps", basis, vector)
            vector = vector - _einsum("ps,psn->pn", along, basis)
            share = share - _einsum("ps,pst->pt", along, mix)
        length = jnp.linalg.norm(vector, axis=-1, keepdims=True)
        # One that is a sum of those taken adds nothing.
        new = length > jnp.finfo(signals.dtype).eps ** 0.5
        vector, share = (jnp.where(new, part / jnp.where(new, length, 1), 0) for part in (vector, share))
        gain = jnp.sum(vector * residual, -1, keepdims=True)
        carry = (
            residual - gain * vector,
            coefficients + gain * share,
            taken.at[:, number].set(chosen),
            basis.at[:, number].set(vector),
            mix.at[:, number].set(share),
        )
        return carry, None

    start: tuple[Array, ...] = (
        signals,
        jnp.zeros((count, sparsity), signals.dtype),
        jnp.zeros((count, sparsity), jnp.int32),
        jnp.zeros((count, sparsity, size), signals.dtype),
        jnp.zeros((count, sparsity, sparsity), signals.dtype),
    )
    (residual, coefficients, taken, _, _), _ = jax.lax.scan(step, start, jnp.arange(sparsity))
    return Codes(taken, coefficients, residual)
