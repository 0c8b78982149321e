"""How much device memory a call takes, from the allocator's own count."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def allocated_by(run: Callable[[], Any], device: jax.Device) -> int:
    """Bytes that ``run`` had allocated at most, its result included.

    The allocator's peak cannot be reset. So ballast first fills up what earlier calls had at their peak: anything more
    that is allocated after that shows in the peak.
    """
    jax.block_until_ready(run())  # compiled, and whatever it keeps is kept
    before = device.memory_stats()
    ballast = _fill(before["peak_bytes_in_use"] - before["bytes_in_use"], device)
    start = device.memory_stats()
    jax.block_until_ready(run())
    peak = device.memory_stats()["peak_bytes_in_use"]
    del ballast
    return max(0, peak - start["bytes_in_use"])


def _fill(size: int, device: jax.Device) -> jax.Array | None:
    if size <= 0:
        return None
    with jax.default_device(device):
        return jax.block_until_ready(jnp.zeros(size, jnp.uint8))
