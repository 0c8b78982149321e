r"""The geometry that explains measured projections best: alignment of scanners, motion of objects.

Only a volume that no one knows links the geometry to the data, so the volume is eliminated: the misfit of parameters
theta is

    ``phi(theta) = min_x 1/2 |F (A(theta) x - p)|^2``,

a function of theta alone, as in the variable projection method of Golub and Pereyra (SIAM J. Numer. Anal. 10 (1973)
413). F filters detector rows with a power of the ramp. That makes the inner problem nearly orthogonal, so that a few
iterations of CGLS solve it, and weighs edges, which show misalignment, above slow variations, in which real data depart
from any model.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from jaxct import filters
from jaxct._linear import DIFFERENTIABLE_MODELS
from jaxct.geometry import VolumeGrid
from jaxct.geometry._base import Geometry
from jaxct.projection import Projector
from jaxct.reconstruct.cgls import cgls
from jaxct.reconstruct.run import LoopOptions, iterate

GeometryOf = Callable[[Any], Geometry]


class Calibration(NamedTuple):
    """What :func:`calibrate` returns.

    Attributes:
        parameters: the estimate, a pytree like the first guess.
        standard_errors: of the parameters, a pytree like them, if what the volume leaves of the data were independent
            noise. Infinite for a parameter that the projections do not depend on; a large one is hardly determined.
        volume: the volume that went with the last step's first guess.
        history: "misfit" ``phi`` before each step, and "step", the largest change of a parameter in standard errors.
    """

    parameters: Any
    standard_errors: Any
    volume: jax.Array
    history: dict[str, jax.Array]


class CalibrationState(NamedTuple):
    """State of :func:`calibrate`: parameters and their standard errors as vectors, the volume."""

    parameters: jax.Array
    standard_errors: jax.Array
    volume: jax.Array


def calibrate(
    geometry_of: GeometryOf,
    init: Any,
    projections: ArrayLike,
    grid: VolumeGrid,
    *,
    num_iters: int = 5,
    volume_iters: int = 10,
    ramp_power: float = 0.5,
    model: str = "joseph",
    **loop: Unpack[LoopOptions],
) -> Calibration:
    r"""Parameters of a geometry by Gauss-Newton on ``phi(theta)``, the volume being eliminated.

    A step minimises ``|J delta + r|^2`` with the residual ``r = F (A(theta) x - p)`` of the best volume x and the
    columns ``J_k = P F (dA/dtheta_k) x``: the derivative of the projections less what another volume would explain of
    it (P; Kaufman, BIT 15 (1975) 49). The scale of the parameters does not matter. Nothing may be asked that the data
    cannot tell, such as where the object lies, or how large it is at given cone angles.

    A step costs ``(volume_iters + 1) (1 + parameters)`` forward and back projections, those of the parameters in one
    batch. From far away, start with binned projections.

    Args:
        geometry_of: the geometry for parameters, differentiable; :mod:`jaxct.geometry.poses` has turned detectors and
            moved objects.
        init: first guess, a pytree of floats.
        projections: of the geometry's ``projection_shape``.
        grid: voxels that hold the whole object, fewer than there are rays.
        num_iters: number of Gauss-Newton steps (static under ``jit``).
        volume_iters: iterations of CGLS for each volume.
        ramp_power: F is the ramp filter to half this power: 0 for plain least squares, 1 for the weighting of filtered
            back projection, which sees finer detail and draws from less far.
        model: "joseph" or "separable_footprint".
        loop: callback (with a :class:`CalibrationState`), progress, stop, checkpoint: see
            :class:`~jaxct.reconstruct.LoopOptions`.

    Returns:
        A :class:`Calibration`.

    Raises:
        TypeError: parameters that are no floats, ``geometry_of`` that returns no geometry.
        ValueError: projections that do not fit the geometry, a model without derivatives.
    """
    vector, unravel = _as_vector(init)
    projections = _check(geometry_of, init, projections, model)
    problem = _Problem(
        lambda v: geometry_of(unravel(v)),
        projections,
        _half_filter(projections.shape[-1], ramp_power, projections.dtype),
        grid,
        model,
        volume_iters,
    )
    start = CalibrationState(vector, jnp.full_like(vector, jnp.inf), jnp.zeros(grid.shape, projections.dtype))
    state, history = iterate(_gauss_newton, start, problem, num_iters=num_iters, label="calibration", **loop)
    return Calibration(unravel(state.parameters), unravel(state.standard_errors), state.volume, history)


def misfit(
    parameters: Any,
    geometry_of: GeometryOf,
    projections: ArrayLike,
    grid: VolumeGrid,
    *,
    volume_iters: int = 10,
    ramp_power: float = 0.5,
    model: str = "joseph",
) -> jax.Array:
    """``phi(theta)``, a scalar for any optimiser: its gradient costs one geometry gradient more than its value.

    At the best volume the derivative of ``|F (A(theta) x - p)|^2`` by way of x vanishes, so x is kept fixed: the
    gradient is that of ``phi`` as far as the volume has converged. Arguments and errors are those of
    :func:`calibrate`.
    """
    _as_vector(parameters)
    projections = _check(geometry_of, parameters, projections, model)
    response = _half_filter(projections.shape[-1], ramp_power, projections.dtype)
    problem = _Problem(geometry_of, projections, response, grid, model, volume_iters)
    volume = jax.lax.stop_gradient(_best_volume(problem.operator(parameters), problem.filtered(), volume_iters))
    residual = problem.operator(parameters)(volume) - problem.filtered()
    return 0.5 * jnp.vdot(residual, residual)


class _Problem(NamedTuple):
    geometry_of: GeometryOf
    projections: jax.Array
    response: jax.Array
    grid: VolumeGrid
    model: str
    volume_iters: int

    def operator(self, parameters: Any) -> "_FilteredProjector":
        projector = Projector(self.geometry_of(parameters), self.grid, model=self.model)
        return _FilteredProjector(projector, self.response)

    def filtered(self) -> jax.Array:
        return filters.convolve_rows(self.projections, self.response)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _FilteredProjector:
    """F A. The filter is symmetric: its own transpose."""

    projector: Projector
    response: jax.Array

    @property
    def in_shape(self) -> tuple[int, ...]:
        return self.projector.in_shape

    @property
    def out_shape(self) -> tuple[int, ...]:
        return self.projector.out_shape

    @property
    def T(self) -> Callable[[ArrayLike], jax.Array]:  # noqa: N802
        return lambda residual: self.projector.T(filters.convolve_rows(jnp.asarray(residual), self.response))

    def __call__(self, volume: ArrayLike) -> jax.Array:
        return filters.convolve_rows(self.projector(volume), self.response)


def _best_volume(operator: _FilteredProjector, data: jax.Array, num_iters: int) -> jax.Array:
    return cgls(operator, data, num_iters=num_iters).volume


def _gauss_newton(state: CalibrationState, problem: _Problem) -> tuple[CalibrationState, dict[str, jax.Array]]:
    operator, data = problem.operator(state.parameters), problem.filtered()
    volume = _best_volume(operator, data, problem.volume_iters)
    explained, along = jax.linearize(lambda theta: problem.operator(theta)(volume), state.parameters)
    residual = explained - data

    def column(direction: jax.Array) -> jax.Array:
        change = along(direction)
        return change - operator(_best_volume(operator, change, problem.volume_iters))

    columns = jax.vmap(column)(jnp.eye(state.parameters.size, dtype=state.parameters.dtype))
    columns, residual = columns.reshape(columns.shape[0], -1), residual.ravel()
    step, inverse = _solve(columns @ columns.T, columns @ residual)
    square = jnp.vdot(residual, residual)
    errors = jnp.sqrt(inverse * square / max(1, residual.size - step.size))
    record = {"misfit": 0.5 * square, "step": jnp.max(jnp.abs(step) / errors)}
    return CalibrationState(state.parameters - step, errors, volume), record


def _solve(normal: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The Gauss-Newton step and the diagonal of the normal matrix's inverse: 0 and infinity where a column is zero."""
    norms = jnp.sqrt(jnp.diag(normal))
    seen = norms > 0
    safe = jnp.where(seen, norms, 1)
    scaled = normal / jnp.outer(safe, safe) + jnp.diag(jnp.where(seen, 0.0, 1.0).astype(normal.dtype))
    inverse = jnp.linalg.inv(scaled)
    return inverse @ (gradient / safe) / safe, jnp.where(seen, jnp.diag(inverse) / safe**2, jnp.inf)


def _half_filter(num_cols: int, ramp_power: float, dtype: Any) -> jax.Array:
    return (filters.ramp_response(num_cols) ** (ramp_power / 2)).astype(dtype)


def _as_vector(parameters: Any) -> tuple[jax.Array, Callable[[jax.Array], Any]]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(parameters):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise TypeError(
                f"parameters must be floats, got {jnp.result_type(leaf)} at parameters{jax.tree_util.keystr(path)}"
            )
    return ravel_pytree(jax.tree.map(jnp.asarray, parameters))


def _check(geometry_of: GeometryOf, parameters: Any, projections: ArrayLike, model: str) -> jax.Array:
    if model not in DIFFERENTIABLE_MODELS:
        raise ValueError(f"model must be one of {', '.join(map(repr, DIFFERENTIABLE_MODELS))}, got {model!r}")
    geometry = jax.eval_shape(geometry_of, parameters)
    if not isinstance(geometry, Geometry):
        raise TypeError(f"geometry_of must return a jaxct geometry, got {type(geometry).__name__}")
    projections = filters.as_float(projections, "projections")
    if projections.shape != geometry.projection_shape:
        raise ValueError(
            f"projections must have the geometry's shape {geometry.projection_shape}, got {projections.shape}"
        )
    return projections
