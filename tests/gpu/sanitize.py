"""Every operator on tiny sizes, for compute-sanitizer: ``compute-sanitizer python -m tests.gpu.sanitize``.

Odd sizes, so that blocks hang over every edge; planar, axial and tilted set-ups, rays that miss the volume and volumes
that miss the detector, all storage types, both precisions, and batches with shared and with mapped operands.
"""

import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxct
from jaxct._linear import DIFFERENTIABLE_MODELS
from tests.geometries import CASES, models_for
from tests.gpu.device import NoDeviceError, find_device
from tests.lors import KINDS, make_lors
from tests.lors import MODELS as LOR_MODELS

NAMES = (
    "parallel_2d",
    "fan_curved",
    "parallel_3d",
    "cone_flat",
    "cone_curved",
    "cone_half_missing",
    "cone_one_pixel",
    "laminography_shallow",
    "cone_flat_tilted",
    "cone_arbitrary",
)
BATCH = 19  # more than one run of images that share their weights, and no multiple of it
FAST = {"precision": "fast"}
# What an operator is tried on: dtype of the data, options, and axes that vmap maps in data and vectors.
VARIANTS: dict[str, tuple[Any, dict[str, str], tuple[int | None, int | None] | None]] = {
    "float32": (jnp.float32, {}, None),
    "float64": (jnp.float64, {}, None),
    "float16": (jnp.float16, {}, None),
    "bfloat16": (jnp.bfloat16, {}, None),
    "fast": (jnp.float32, FAST, None),
    "over data": (jnp.float32, {}, (0, None)),
    "over data, float16": (jnp.float16, {}, (0, None)),
    "over data, fast": (jnp.float32, FAST, (0, None)),
    "over geometries": (jnp.float32, {}, (None, 0)),
    "over both": (jnp.float32, {}, (0, 0)),
}


def operators(case, options) -> Iterator[tuple[str, Any]]:
    """Direction and function of data and vectors, of every operator of a case and its derivatives in the geometry."""
    _, grid = case()
    for model in (*models_for(case), "voxel_driven"):
        yield "back", lambda y, g, m=model: jaxct.back_project(y, g, grid, model=m, **options)
        if model != "voxel_driven":
            yield "forward", lambda x, g, m=model: jaxct.forward_project(x, g, grid, model=m, **options)
        if model in DIFFERENTIABLE_MODELS:
            forward, back = (partial(f, model=model, **options) for f in (jaxct.forward_project, jaxct.back_project))
            yield "back", lambda y, g, f=back: _tangent(lambda *s: f(y, *s), g, grid)
            yield "forward", lambda x, g, f=forward: _tangent(lambda *s: f(x, *s), g, grid)
            yield "forward", lambda x, g, f=forward: jax.grad(lambda s: jnp.sum(f(x, *s)))((g, grid))


def _tangent(project, *setup):
    return jax.jvp(project, setup, jax.tree.map(jnp.ones_like, setup))[1]


def run(case, variant: str) -> int:
    """All operators of a case as one program (compilation takes most of the time); how many that were."""
    dtype, options, axes = VARIANTS[variant]
    geometry, grid = case()
    vectors = geometry.to_vectors()
    rng = np.random.default_rng(0)
    batch = (BATCH,) if axes and axes[0] == 0 else ()
    shapes = {"forward": grid.shape, "back": geometry.projection_shape}
    data = {d: jnp.asarray(rng.normal(size=(*batch, *shape)), dtype) for d, shape in shapes.items()}
    if axes and axes[1] == 0:
        vectors = jax.tree.map(lambda leaf: jnp.stack([leaf] * BATCH), vectors)
    chosen = list(operators(case, options))
    mapped = partial(jax.vmap, in_axes=axes) if axes else lambda f: f
    results = jax.jit(lambda data, g: [mapped(project)(data[d], g) for d, project in chosen])(data, vectors)
    if not all(np.isfinite(np.asarray(r, np.float64)).all() for r in jax.tree.leaves(results)):
        raise ArithmeticError(f"{case}, {variant}: a result is not finite")
    return len(chosen)


def lor_operators(lors, grid) -> Iterator[tuple[str, Any]]:
    """The same of all models on lines of response, as functions of the data and a factor of the grid's voxel size."""

    def project(f, data, model, factor):
        scaled = jaxct.VolumeGrid(grid.shape, grid.voxel_size * factor, center=grid.center)
        return f(data, lors, scaled, model=model)

    for model in LOR_MODELS:
        forward, back = (partial(project, f, model=model) for f in (jaxct.forward_project, jaxct.back_project))
        yield "back", lambda y, s, f=back: f(y, factor=s)
        yield "forward", lambda x, s, f=forward: f(x, factor=s)
        if model != "siddon":
            yield "back", lambda y, s, f=back: jax.jvp(lambda s: f(y, factor=s), (s,), (jnp.ones_like(s),))[1]
            yield "forward", lambda x, s, f=forward: jax.jvp(lambda s: f(x, factor=s), (s,), (jnp.ones_like(s),))[1]
            yield "forward", lambda x, s, f=forward: jax.grad(lambda s: jnp.sum(f(x, factor=s)))(s)


def run_lors(kind: str, dtype: Any, batch: tuple[int, ...]) -> int:
    """All of them as one program; how many that were."""
    lors, grid = make_lors(kind), jaxct.VolumeGrid((5, 7, 9), 4.0)
    rng = np.random.default_rng(0)
    shapes = {"forward": grid.shape, "back": lors.projection_shape}
    data = {d: jnp.asarray(rng.normal(size=(*batch, *shape)), dtype) for d, shape in shapes.items()}
    chosen = list(lor_operators(lors, grid))
    mapped = partial(jax.vmap, in_axes=(0, None)) if batch else lambda f: f
    results = jax.jit(lambda data, s: [mapped(f)(data[d], s) for d, f in chosen])(data, jnp.asarray(1.0, dtype))
    if not all(np.isfinite(np.asarray(r)).all() for r in jax.tree.leaves(results)):
        raise ArithmeticError(f"{kind}: a result is not finite")
    return len(chosen)


def main() -> int:
    try:
        device = find_device()
    except NoDeviceError as error:
        print(f"Nothing to sanitize: {error}.", file=sys.stderr)
        return 1
    chosen = [case for case in CASES if case.name in NAMES]
    with jax.enable_x64(True):
        calls = sum(run(case, variant) for case in chosen for variant in VARIANTS)
        calls += sum(
            run_lors(kind, dtype, batch)
            for kind in KINDS
            for dtype in (jnp.float32, jnp.float64)
            for batch in ((), (3,))
        )
    print(f"{calls} calls of {len(chosen) + len(KINDS)} set-ups ran on {device}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
