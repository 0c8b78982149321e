"""What a checkpointed function keeps and what it projects again, told from the compiled program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from jaxct import checkpoint_policies

GRID = jaxct.VolumeGrid((10, 11))
BEAM = jaxct.ParallelBeam(np.linspace(0, 3, 7), detector_shape=(15,))
A = jaxct.Projector(BEAM, GRID)


def step(image):
    """One whose derivative needs both the sinogram and the back projection."""
    return jnp.tanh(A.T(jnp.tanh(A(image))))


@pytest.mark.parametrize(
    ("policy", "forward", "back"),
    [
        (jax.checkpoint_policies.everything_saveable, 2, 2),
        (checkpoint_policies.save_projections, 2, 2),
        (checkpoint_policies.save_forward_projections, 2, 3),
        (jax.checkpoint_policies.nothing_saveable, 3, 3),
    ],
)
def test_how_often_is_projected(policy, forward, back):
    image = jnp.asarray(np.random.default_rng(0).normal(size=GRID.shape), jnp.float32)
    loss = lambda step: lambda image: jnp.sum(step(image) ** 2)  # noqa: E731
    gradient = jax.jit(jax.grad(loss(jax.checkpoint(step, policy=policy))))
    text = gradient.lower(image).as_text()
    counts = [text.count(f"@jaxct_separable_footprint_{direction}(") for direction in ("forward", "back")]
    assert counts == [forward, back]
    np.testing.assert_allclose(gradient(image), jax.grad(loss(step))(image), rtol=1e-4, atol=1e-5)
