"""The iterative methods of ``jaxct pet reconstruct``: their options become the algorithms' arguments."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxct import priors, priors_anatomical
from jaxct.cli._pet_scan import read_volume
from jaxct.geometry import VolumeGrid
from jaxct.operators import GaussianBlur, fwhm_to_sigma
from jaxct.pet import physics
from jaxct.reconstruct import (
    Kernel,
    LoopOptions,
    Result,
    bsrem,
    dictionary_em,
    kem,
    learn_dictionary,
    map_em,
    mlem,
    osem,
    svrg,
)

if TYPE_CHECKING:
    from jaxct.cli._pet_reconstruct import Request

METHODS = ("osem", "mlem", "map-em", "bsrem", "svrg", "kem", "dictionary")
BY_SUBSETS = ("osem", "bsrem", "svrg", "kem")
PENALISED = ("map-em", "bsrem", "svrg")
WITH_IMAGE = ("kem", "dictionary")
PRIORS = ("quadratic", "huber", "relative-difference", "bowsher")
SUBSETS = 14
PRIOR_WEIGHT = 0.1
_ITERATIONS = {"osem": 3, "bsrem": 10, "svrg": 10}
_SMALL = 0.1  # of the mean activity: a difference that Huber's penalty takes for noise
_EPSILON = 0.01  # of the mean activity: relative differences have a gradient at zero, too
_BOWSHER_NEIGHBOURS = 7


def num_iters(request: "Request", method: str) -> int:
    """Those that were asked for, or the usual number."""
    return request.iters or _ITERATIONS.get(method, 20)


def usual_subsets(views: int) -> int:
    """The largest number up to :data:`SUBSETS` that divides the views; of events, that number."""
    if views > 1000:
        return SUBSETS
    return max(n for n in range(1, min(SUBSETS, views) + 1) if views % n == 0)


def check_prior(request: "Request", method: str) -> None:
    """Options of priors that do not go with the method or with each other."""
    if request.prior == "relative-difference" and method == "map-em":
        raise ValueError("--prior: relative-difference is for bsrem, svrg: map-em needs a bound of its curvature")
    needs = method if method in WITH_IMAGE else "the prior bowsher" if request.prior == "bowsher" else ""
    if needs and request.prior_image is None:
        raise ValueError(f"--prior-image: {needs} needs one, such as an MR or CT image of the patient")
    if not needs and request.prior_image is not None:
        raise ValueError(f"--prior-image: for {', '.join(WITH_IMAGE)} and the prior bowsher")


def check_data(request: "Request", method: str, views: int, events: bool) -> None:
    """What the method cannot do with the data, and subsets that there cannot be."""
    if method == "svrg" and events:
        raise ValueError("--method: svrg is for sinograms, not for single events")
    if request.subsets is not None and request.subsets > views:
        raise ValueError(f"--subsets: at most as many as views, {views}, got {request.subsets}")


def read_prior_image(path: Path, grid: VolumeGrid) -> np.ndarray:
    """Another image of the patient, on the grid; blurred before, where that is coarser."""
    image, own = read_volume(path, "--prior-image")
    if own.ndim != grid.ndim:
        raise ValueError(f"--prior-image: expected an image of {grid.ndim} axes, got {image.shape}")
    if not np.isfinite(image).all():
        raise ValueError(f"--prior-image: {path} has values that are not finite")
    old, new = (np.asarray(g.voxel_size) for g in (own, grid))
    blurred = GaussianBlur(own, fwhm_to_sigma(np.where(new > old * (1 + 1e-4), new, 0)))(image)
    found = np.asarray(physics.resample(blurred, own, grid))
    if np.ptp(found) == 0:
        raise ValueError(f"--prior-image: {path} shows nothing where the image is to be")
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """What all methods are given.

    Attributes:
        A: the system.
        data: counts.
        grid: of the image.
        background: expected counts, or None.
        sensitivity: of events, or None.
        prior_image: on the grid, or None.
    """

    A: Any
    data: np.ndarray
    grid: VolumeGrid
    background: np.ndarray | None = None
    sensitivity: jax.Array | None = None
    prior_image: np.ndarray | None = None


def solver(request: "Request", method: str, problem: Problem) -> Callable[[LoopOptions], Result]:
    """The method with all its arguments but those of the loop."""
    A, data = problem.A, problem.data  # noqa: N806
    known: dict[str, Any] = {"background": problem.background, "num_iters": num_iters(request, method)}
    if method != "svrg":
        known["sensitivity"] = problem.sensitivity
    if method in BY_SUBSETS:
        known["num_subsets"] = request.subsets or (1 if method == "kem" else usual_subsets(len(data)))
    if method in PENALISED:
        known["prior"], known["curvature"] = _penalty(request, problem)
    elif method == "kem":
        known["kernel"] = jax.block_until_ready(Kernel(problem.prior_image))  # type: ignore[arg-type]
    elif method == "dictionary":
        atoms = learn_dictionary(problem.prior_image)  # type: ignore[arg-type]
        # What the patches that hold a voxel, as many as it has voxels, add to its curvature.
        own = 2 * np.prod(atoms.shape[1:])
        known |= {"dictionary": atoms, "weight": _weight(request) * _unit(problem).curvature / own}
    functions: dict[str, Callable[..., Result]] = {
        "osem": osem,
        "mlem": mlem,
        "map-em": map_em,
        "bsrem": bsrem,
        "svrg": svrg,
        "kem": kem,
        "dictionary": dictionary_em,
    }
    return lambda loop: functions[method](A, data, **known, **loop)


class _Unit(NamedTuple):
    """The activity of a uniform image with all counts, and the curvature of the likelihood there, mean of a voxel."""

    level: float
    curvature: float


def _unit(problem: Problem) -> _Unit:
    A, sums = problem.A, problem.sensitivity  # noqa: N806
    sums = A.T(jnp.ones(A.out_shape)) if sums is None else sums
    net = float(np.sum(problem.data, dtype=np.float64))
    if problem.background is not None:
        net = max(net - float(np.sum(problem.background, dtype=np.float64)), 0.05 * net)
    seen = sums > 0.1 * sums.max()
    level = net / float(jnp.sum(sums, where=seen))
    return _Unit(level, float(jnp.mean(sums, where=seen)) / level)


def _weight(request: "Request") -> float:
    return PRIOR_WEIGHT if request.prior_weight is None else request.prior_weight


def _penalty(request: "Request", problem: Problem) -> tuple[Callable[[jax.Array], jax.Array], jax.Array]:
    """A prior and its curvature, in units of the data's: one weight suits scans of any size and counts."""
    unit, shape = _unit(problem), tuple(problem.A.in_shape)
    sizes = np.asarray(problem.grid.voxel_size)
    spacing = sizes / sizes.min()
    name = request.prior or "quadratic"
    if name == "bowsher":
        pairs = priors_anatomical.bowsher_weights(
            problem.prior_image,  # type: ignore[arg-type]
            num_neighbours=_BOWSHER_NEIGHBOURS,
            spacing=spacing,
        )
        bend = priors_anatomical.bowsher_curvature(pairs)
    else:
        pairs = None
        around = "full" if name == "relative-difference" else "faces"
        bend = priors.pair_curvature(shape, neighbourhood=around, spacing=spacing)
    strength = _weight(request) * unit.curvature / float(jnp.mean(bend))

    def prior(x: jax.Array) -> jax.Array:
        if name == "bowsher":
            return strength * priors_anatomical.bowsher(x, pairs)  # type: ignore[arg-type]
        if name == "huber":
            return strength * priors.huber(x, delta=_SMALL * unit.level, spacing=spacing)
        if name == "relative-difference":
            # Of curvature 1 for each pair at the level, as the others.
            penalty = priors.relative_difference(x, epsilon=_EPSILON * unit.level, spacing=spacing)
            return strength * unit.level * penalty
        return strength * priors.quadratic(x, spacing=spacing)

    return prior, strength * bend
