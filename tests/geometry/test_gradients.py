"""Every float field of a geometry can be differentiated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads


def _leaves(geometry):
    return jax.tree.leaves(geometry.to_vectors())


def test_gradients_of_the_vectors_match_finite_differences(geometry64):
    @jax.jit
    def pull(g):
        leaves = _leaves(g)
        weights = [jnp.cos(jnp.arange(leaf.size, dtype=leaf.dtype)).reshape(leaf.shape) for leaf in leaves]
        return sum(jnp.vdot(w, leaf) for w, leaf in zip(weights, leaves, strict=True))

    check_grads(pull, (geometry64,), order=1, modes=("fwd", "rev"), eps=1e-4)


@pytest.mark.parametrize("geometry64", ["parallel-3d", "fan-curved", "cone-curved"], indirect=True)
def test_gradients_of_the_pixel_centres_match_finite_differences(geometry64):
    @jax.jit
    def pull(g):
        return jnp.sum(jnp.sin(0.01 * g.to_vectors().pixel_centers()))

    check_grads(pull, (geometry64,), order=1, modes=("rev",), eps=1e-4)


def test_gradients_flow_through_a_custom_rule(geometry):
    @jax.custom_vjp
    def total(g):
        return sum(jnp.sum(leaf) for leaf in _leaves(g))

    total.defvjp(lambda g: (total(g), g), lambda g, ct: (jax.tree.map(lambda leaf: ct * jnp.ones_like(leaf), g),))
    jax.tree.map(np.testing.assert_array_equal, jax.grad(total)(geometry), jax.tree.map(jnp.ones_like, geometry))
