"""Run by test_graphs.py in a process of its own, whose XLA_FLAGS decide whether XLA records CUDA graphs.

Prints a digest of what all operators of a few set-ups give for inputs and geometries that change from call to call.
"""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np

import jaxct
from jaxct._linear import DIFFERENTIABLE_MODELS
from jaxct.linear import BACK_MODELS
from tests.gpu.tools import SOME, fixed

REPLAYS = 12
FAST = {"precision": "fast"}
# Model and options of every operator in the program.
BACK = [*((model, {}) for model in BACK_MODELS), ("separable_footprint", FAST)]
FORWARD = [(model, options) for model, options in BACK if model != "voxel_driven"]
CALLS = len(BACK) + len(FORWARD) + 3 * len(DIFFERENTIABLE_MODELS)
# The name shows in the names of the dumped files.
PROGRAM = "every_operator"


def program(case):
    """Every operator of a case, as one compiled function of the data and of the geometry's vectors."""
    _, grid = fixed(case)

    def derivatives(x, y, setup, model):
        forward = lambda s: jaxct.forward_project(x, *s, model=model)  # noqa: E731
        back = lambda s: jaxct.back_project(y, *s, model=model)  # noqa: E731
        dots = jax.tree.map(jnp.ones_like, setup)
        tangents = [jax.jvp(f, (setup,), (dots,))[1] for f in (forward, back)]
        return tangents + jax.tree.leaves(jax.vjp(forward, setup)[1](y))

    def every_operator(x, y, vectors):
        results = [jaxct.back_project(y, vectors, grid, model=model, **options) for model, options in BACK]
        results += [jaxct.forward_project(x, vectors, grid, model=model, **options) for model, options in FORWARD]
        for model in DIFFERENTIABLE_MODELS:
            results += derivatives(x, y, (vectors, grid), model)
        return results

    return jax.jit(every_operator)


def main() -> None:
    digest = hashlib.sha256()
    for case in SOME:
        geometry, grid = fixed(case)
        run = program(case)
        for call in range(REPLAYS):
            rng = np.random.default_rng(call)
            x = jnp.asarray(rng.normal(size=grid.shape), jnp.float32)
            y = jnp.asarray(rng.normal(size=geometry.projection_shape), jnp.float32)
            moved = jax.tree.map(lambda leaf, c=call: jnp.asarray(leaf * (1 + 1e-3 * c)), geometry)
            for result in run(x, y, moved):
                digest.update(np.asarray(result).tobytes())
    print(digest.hexdigest())


if __name__ == "__main__":
    main()
