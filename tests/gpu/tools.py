"""What the GPU checks share: the two devices, and operators of geometries that are the same bits on both."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import jaxct
from jaxct import linear, reference
from jaxct._linear import DIFFERENTIABLE_MODELS
from tests.geometries import CASES, Case, models_for
from tests.gpu.mode import REHEARSAL

DIRECTIONS = ("forward", "back")
# One small set-up of each kind; values over the whole catalogue are test_values' promise.
SOME = [c for c in CASES if c.name in ("parallel_2d", "fan_curved", "parallel_3d", "cone_flat", "cone_curved_tilted")]
SOME_OPERATORS = [(case, model) for case in SOME for model in (*models_for(case), "voxel_driven")]
DERIVATIVES = ("forward_tangent", "back_tangent", "geometry_gradient")
SOME_DIFFERENTIABLE = [(case, model) for case, model in SOME_OPERATORS if model in DIFFERENTIABLE_MODELS]


def cpu() -> jax.Device:
    return jax.devices("cpu")[0]


def gpu() -> jax.Device:
    """The GPU; in a rehearsal, the CPU."""
    return cpu() if REHEARSAL else jax.devices("gpu")[0]


def on(device: jax.Device, function: Callable[..., Any], *arrays: Any) -> Any:
    """``function(*arrays)``, computed on ``device``."""
    with jax.default_device(device):
        return function(*jax.device_put(arrays, device))


def fixed(case: Case) -> tuple[Any, jaxct.VolumeGrid]:
    """The case's vectors and grid as NumPy arrays: a geometry computed on each device would differ in its last bits."""
    with jax.default_device(cpu()):
        geometry, grid = case()
        return jax.tree.map(np.asarray, (geometry.to_vectors(), grid))


def operator(direction: str, case: Case, model: str, **options: Any) -> Callable[..., Any]:
    """A case's forward or back projector as a function of the data alone."""
    geometry, grid = fixed(case)
    if direction == "back":
        return lambda y: jaxct.back_project(y, geometry, grid, model=model, **options)
    if model == "voxel_driven":  # internal
        return lambda x: linear.project("forward", x, geometry, grid, model, **options)
    return lambda x: jaxct.forward_project(x, geometry, grid, model=model, **options)


def derivative(name: str, case: Case, model: str) -> Callable[..., Any]:
    """A derivative by vectors and grid as a function of the data; of volume and projections for the gradient."""
    setup = fixed(case)
    rng = np.random.default_rng(7)
    dots = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), setup)
    if name == "geometry_gradient":
        return lambda x, y: jax.vjp(lambda s: jaxct.forward_project(x, *s, model=model), setup)[1](y)[0]
    project = jaxct.forward_project if name == "forward_tangent" else jaxct.back_project
    return lambda data: jax.jvp(lambda s: project(data, *s, model=model), (setup,), (dots,))[1]


def data_of_derivative(name: str, case: Case, dtype: Any = np.float32) -> list[Any]:
    """What a derivative takes."""
    directions = DIRECTIONS if name == "geometry_gradient" else (name.removesuffix("_tangent"),)
    return [data_for(direction, case, dtype, seed=i) for i, direction in enumerate(directions)]


def oracle(direction: str, case: Case, model: str, data: Any) -> np.ndarray:
    """The reference in double precision, on the CPU."""
    geometry, grid = fixed(case)
    project = reference.forward_project if direction == "forward" else reference.back_project
    with jax.enable_x64(True):
        return on(cpu(), lambda a: project(a, geometry, grid, model=model, dtype=np.float64), data)


def shape_of_input(direction: str, case: Case) -> tuple[int, ...]:
    geometry, grid = fixed(case)
    return grid.shape if direction == "forward" else geometry.projection_shape


def data_for(direction: str, case: Case, dtype: Any = np.float32, batch: tuple[int, ...] = (), seed: int = 0) -> Any:
    """Random input of either sign, as a NumPy array."""
    values = np.random.default_rng(seed).normal(size=(*batch, *shape_of_input(direction, case)))
    return values.astype(dtype)
