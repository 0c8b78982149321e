"""Policies for ``jax.checkpoint`` that know the operators; to be used like those of ``jax.checkpoint_policies``.

``jax.checkpoint(f)`` alone keeps nothing between a function's forward and backward pass: a sinogram that the gradient
needs is projected a second time.
"""

from typing import Any

from jaxct import _linear


def save_projections(primitive: Any, *_: Any, **__: Any) -> bool:
    """Keep what is projected, forward and back, and compute all else again: time for memory."""
    return primitive in _linear.PROJECTIONS


def save_forward_projections(primitive: Any, *_: Any, **__: Any) -> bool:
    """Keep sinograms alone; volumes are back projected again."""
    return primitive is _linear.PROJECTIONS[0]
