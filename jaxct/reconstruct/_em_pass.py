"""A pass of expectation maximisation over a scan, all at once or by ordered subsets of its views."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxct._arithmetic import ratio
from jaxct._emission import em_step, pulled_em_step
from jaxct.reconstruct._poisson import likelihood_of
from jaxct.reconstruct._subset_sums import kept_sums, sums_of
from jaxct.reconstruct.run import LinearOperator, iterate
from jaxct.reconstruct.subsets import Subsets


class EmissionScan(NamedTuple):
    """What was counted, and with what. ``sums`` are those of the subsets that are kept; without subsets, ``A^T 1``."""

    A: Any
    data: Array
    background: Array | None
    sums: Array | None
    given: Array | None
    subsets: Subsets | None

    def part(self, index: ArrayLike) -> tuple[LinearOperator, Array, Array | None, Array]:
        """Operator, counts, background and sensitivity of the subset of this number."""
        if self.subsets is None:
            whole = self.sums if self.given is None else self.given
            assert whole is not None
            return self.A, self.data, self.background, whole
        part, counts = self.subsets.operator(self.A, index), self.subsets.data(self.data, index)
        background = None if self.background is None else self.subsets.data(self.background, index)
        if self.given is None:
            return part, counts, background, sums_of(part, self.sums, index, self.data.dtype)
        return part, counts, background, self.subsets.share(index).astype(self.data.dtype) * self.given


def emission_scan(
    A: Any,  # noqa: N803
    data: Array,
    background: Array | None,
    whole: Array,
    given: Array | None,
    subsets: Subsets | None,
) -> EmissionScan:
    """``whole``: the sensitivity of the whole scan, which is ``given`` in list mode."""
    background = None if background is None else jnp.broadcast_to(background, A.out_shape)
    sums = None
    if given is None:
        sums = whole if subsets is None else kept_sums(A, subsets, data.dtype)
    return EmissionScan(A, data, background, sums, given, subsets)


def em_pass(
    scan: EmissionScan, volume: Array, key: Array, pull: Array | None = None, target: ArrayLike = 0.0
) -> tuple[Array, dict[str, Array]]:
    """The image after a step for every subset, each with its share of the pull; and ``log_likelihood`` and ``total``,
    summed over the subsets as each found its own part before its step. ``key`` is for random orders."""

    def step(volume: Array, index: ArrayLike) -> tuple[Array, tuple[Array, Array]]:
        part, counts, background, sensitivity = scan.part(index)
        expected = part(volume)
        if background is not None:
            expected = expected + background
        total = jnp.sum(expected) if scan.given is None else jnp.vdot(sensitivity, volume)
        likelihood = likelihood_of(counts, expected, volume, None if scan.given is None else sensitivity)
        found = em_step(volume, sensitivity, part.T(ratio(counts, expected)))
        if pull is not None:
            weight = pull if scan.subsets is None else scan.subsets.share(index).astype(volume.dtype) * pull
            found = pulled_em_step(found, sensitivity, weight, weight * target)
        return found, (likelihood, total)

    if scan.subsets is None:
        volume, (likelihood, total) = step(volume, 0)
    else:
        volume, found = jax.lax.scan(step, volume, scan.subsets.order(key))
        likelihood, total = (jnp.sum(values) for values in found)
    return volume, {"log_likelihood": likelihood, "total": total}


class _PassState(NamedTuple):
    volume: Array
    key: Array


def em_passes(scan: EmissionScan, volume: Array, key: Array, num_passes: int) -> tuple[Array, Array]:
    """The image after some passes, such as others start from, and a key for what comes."""
    state, _ = iterate(next_pass, _PassState(volume, key), scan, num_iters=num_passes)
    return state.volume, state.key


def next_pass(state: Any, scan: EmissionScan) -> tuple[Any, dict[str, Array]]:
    """A step for :func:`~jaxct.reconstruct.run.iterate`, of a named tuple with a volume and a key."""
    key, now = jax.random.split(state.key)
    volume, record = em_pass(scan, state.volume, now)
    return state._replace(volume=volume, key=key), record
