"""What the promise tests share: every operator by name, random data of either sign, and how far apart arrays are."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import jaxct
from jaxct import linear
from tests.geometries import CASES, models_for

# (case, model) for every pair of forward and back projector.
PAIRS = [(case, model) for case in CASES for model in models_for(case)]
# The same with the voxel-driven back projector, whose forward is internal.
BACK_PROJECTORS = PAIRS + [(case, "voxel_driven") for case in CASES]


def operators(case, model):
    """A and A^T of a case, as functions of the data alone, with their shapes."""
    geometry, grid = case()
    if model == "voxel_driven":
        forward = partial(linear.project, "forward", geometry=geometry, grid=grid, model=model)
    else:
        forward = partial(jaxct.forward_project, geometry=geometry, grid=grid, model=model)
    back = partial(jaxct.back_project, geometry=geometry, grid=grid, model=model)
    return forward, back, grid.shape, geometry.projection_shape


def random(seed: int, shape: tuple[int, ...], dtype=None) -> jax.Array:
    """Normal numbers of either sign, which hide no mismatch, in the working float type."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype or jnp.result_type(float))


def relative_error(got, wanted) -> float:
    """|got - wanted| / |wanted| in the Euclidean norm, in double precision; the absolute error where wanted is zero."""
    got, wanted = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
    return float(np.linalg.norm(got - wanted) / (np.linalg.norm(wanted) or 1.0))


def adjoint_gap(forward, back, x, y) -> float:
    """|<Ax, y> - <x, A^T y>| / (|Ax| |y|), the sums in double precision."""
    ax, aty = np.asarray(forward(x), np.float64), np.asarray(back(y), np.float64)
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    scale = np.linalg.norm(ax) * np.linalg.norm(y)
    return float(abs(np.vdot(ax, y) - np.vdot(x, aty)) / (scale or 1.0))
