"""The methods of the PET study, each with the knob that its curve is over."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from _pet_study_networks import NETWORKS, Trained, apply, train
from _pet_study_scan import Phantom, Sample, Scan, Settings, System, draw, expected, make_scan, passes, sample, uniform
from flax import nnx

from jaxct import nn, priors, priors_anatomical
from jaxct.operators import GaussianBlur
from jaxct.operators.gaussian import fwhm_to_sigma
from jaxct.reconstruct import Kernel, bsrem, dictionary_em, diprecon, kem, learn_dictionary

NEIGHBOURS = "full"  # of all three penalties on pairs
BOWSHER_NEIGHBOURS = 7
PATCH, STRIDE = 4, 2


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """What all realisations share, made when it is first asked for."""

    system: System
    phantom: Phantom
    folder: Path

    @property
    def settings(self) -> Settings:
        return self.system.settings

    @functools.cached_property
    def expectation(self) -> Any:
        return expected(self.system, self.phantom.activity, self.phantom.attenuation, self.settings.counts)

    @functools.cached_property
    def kernel(self) -> Kernel:
        settings = self.settings
        return Kernel(
            self.phantom.t1,
            num_neighbours=settings.kernel_neighbours,
            window=settings.kernel_window,
            sigma=settings.kernel_sigma,
        )

    @functools.cached_property
    def dictionary(self) -> jax.Array:
        return learn_dictionary(self.phantom.t1, num_atoms=self.settings.atoms, patch=PATCH)

    @functools.cached_property
    def bowsher_weights(self) -> jax.Array:
        options = {"num_neighbours": BOWSHER_NEIGHBOURS, "neighbourhood": NEIGHBOURS}
        return priors_anatomical.bowsher_weights(self.phantom.t1, **options)

    @functools.cached_property
    def networks(self) -> dict[str, Trained]:
        """Those that have been asked for, filled by :meth:`network`."""
        return {}

    @functools.cached_property
    def samples(self) -> dict[int, Sample]:
        return {}

    def network(self, name: str) -> Trained:
        if name not in self.networks:
            path = self.folder / "networks" / f"{name}.npz"
            self.networks[name] = train(name, self.settings, self.system.P, self.sample, path)
        return self.networks[name]

    def sample(self, number: int) -> Sample:
        if number not in self.samples:
            self.samples[number] = sample(self.system, self.phantom, number)
        return self.samples[number]

    def scan(self, realisation: int) -> Scan:
        key = jax.random.fold_in(jax.random.key(self.settings.seed), realisation)
        data, background = draw(self.expectation, key), uniform(self.expectation.background)
        return make_scan(self.system, self.expectation.factors, data, background)


class Method(NamedTuple):
    """``run`` makes an image for each of the knob's values."""

    title: str
    knob: str
    values: Callable[[Settings], Sequence[float]]
    run: Callable[[Study, Scan], Any]


def late(study: Study, scan: Scan) -> jax.Array:
    return passes(study.settings, scan.A, scan.data, scan.background, scan.start, study.settings.passes)


def filtered(study: Study, image: jax.Array) -> list[jax.Array]:
    widths = study.settings.filters_mm
    return [GaussianBlur(study.system.grid, fwhm_to_sigma(w))(image) if w else image for w in widths]


def post_filter(study: Study, scan: Scan) -> list[jax.Array]:
    return filtered(study, late(study, scan))


def quadratic(beta: Any, image: jax.Array) -> jax.Array:
    return beta * priors.quadratic(image, neighbourhood=NEIGHBOURS)


def relative_difference(parameters: Any, image: jax.Array) -> jax.Array:
    beta, epsilon = parameters
    return beta * priors.relative_difference(image, epsilon=epsilon, neighbourhood=NEIGHBOURS)


def bowsher(parameters: Any, image: jax.Array) -> jax.Array:
    beta, weights = parameters
    return beta * priors_anatomical.bowsher(image, weights, neighbourhood=NEIGHBOURS)


def with_prior(study: Study, scan: Scan, prior: Callable[[float], tuple[Any, Any]]) -> list[jax.Array]:
    """Passes of BSREM towards the maximum: for the first weight, the strongest, from the start, for each other one from
    the image before. ``prior``: penalty and curvature, for a weight in units of the mean sensitivity, as the curvature
    of the likelihood's surrogate at a voxel of value x is sensitivity over x.
    """
    image, images = scan.start, []
    for weight in study.settings.weights:
        penalty, curvature = prior(weight * scan.stiffness)
        image = bsrem(
            scan.A,
            scan.data,
            num_iters=study.settings.prior_passes,
            num_subsets=study.settings.num_subsets,
            prior=penalty,
            curvature=curvature,
            background=scan.background,
            init=image,
        ).volume
        images.append(image)
    return images


def pairs(study: Study) -> jax.Array:
    return priors.pair_curvature(study.settings.shape, neighbourhood=NEIGHBOURS)


def map_quadratic(study: Study, scan: Scan) -> list[jax.Array]:
    bend = pairs(study)
    strength = lambda beta: beta / scan.level  # noqa: E731
    partial = jax.tree_util.Partial
    return with_prior(study, scan, lambda beta: (partial(quadratic, strength(beta)), strength(beta) * bend))


def map_relative_difference(study: Study, scan: Scan) -> list[jax.Array]:
    """Its curvature between equal voxels of value x is that of the quadratic penalty over x."""
    bend, epsilon = pairs(study), 0.01 * scan.level
    penalty = lambda beta: jax.tree_util.Partial(relative_difference, (beta, epsilon))  # noqa: E731
    return with_prior(study, scan, lambda beta: (penalty(beta), beta / scan.level * bend))


def map_bowsher(study: Study, scan: Scan) -> list[jax.Array]:
    weights = study.bowsher_weights
    bend = priors_anatomical.bowsher_curvature(weights, neighbourhood=NEIGHBOURS)
    strength = lambda beta: beta / scan.level  # noqa: E731
    penalty = lambda beta: jax.tree_util.Partial(bowsher, (strength(beta), weights))  # noqa: E731
    return with_prior(study, scan, lambda beta: (penalty(beta), strength(beta) * bend))


def snapshots(solve: Callable[..., Any], at: Sequence[int]) -> list[jax.Array]:
    """``volume`` of a solver's state after these iterations."""
    found = []

    def keep(iteration: int, state: Any, _: Any) -> None:
        if iteration in at:
            found.append(state.volume)

    solve(num_iters=max(at), callback=keep)
    return found


def kernel_method(study: Study, scan: Scan) -> list[jax.Array]:
    settings = study.settings
    options = {"kernel": study.kernel, "num_subsets": settings.num_subsets, "background": scan.background}
    coefficients = snapshots(functools.partial(kem, scan.A, scan.data, **options), settings.kernel_passes)
    return [study.kernel(a) for a in coefficients]


def by_dictionary(study: Study, scan: Scan) -> list[jax.Array]:
    """A weight of 1 pulls at a voxel of mean value, which is in ``(PATCH / STRIDE)^3`` patches, as the likelihood's
    surrogate does.
    """
    unit = scan.stiffness / scan.level / (2 * (PATCH // STRIDE) ** 3)
    solve = functools.partial(
        dictionary_em,
        scan.A,
        scan.data,
        dictionary=study.dictionary,
        stride=STRIDE,
        num_iters=study.settings.dictionary_iters,
        background=scan.background,
        sensitivity=scan.sensitivity,
        init=scan.start,
    )
    return [solve(weight=weight * unit).volume for weight in study.settings.dictionary_weights]


def by_dip(study: Study, scan: Scan) -> list[jax.Array]:
    settings = study.settings
    network = nn.UNet(
        3,
        features=settings.dip_features,
        norm="instance",
        final_activation=nnx.softplus,
        rngs=nnx.Rngs(settings.seed),
    )
    solve = functools.partial(
        diprecon,
        scan.A,
        scan.data,
        init=scan.start,
        background=scan.background,
        input=study.phantom.t1,
        network=network,
        penalty=settings.dip_penalty,
        em_iters=1,
        fit_iters=settings.dip_fit,
        prefit_iters=settings.dip_prefit,
        num_subsets=settings.num_subsets,
        key=jax.random.key(settings.seed),
    )
    return snapshots(solve, settings.dip_iters)


def by_network(name: str, study: Study, scan: Scan) -> list[jax.Array]:
    seen = late(study, scan) if name == "unet" else scan.start
    return filtered(study, apply(study.network(name), scan, seen))


def _widths(settings: Settings) -> Sequence[float]:
    return settings.filters_mm


def _weights(settings: Settings) -> Sequence[float]:
    return settings.weights


_FILTER = ("filter, mm", _widths)
_WEIGHT = ("weight", _weights)
METHODS = {
    "osem": Method("OSEM + filter", *_FILTER, post_filter),
    "quadratic": Method("MAP, quadratic", *_WEIGHT, map_quadratic),
    "relative_difference": Method("MAP, relative differences", *_WEIGHT, map_relative_difference),
    "bowsher": Method("MAP, Bowsher", *_WEIGHT, map_bowsher),
    "kem": Method("KEM", "passes", lambda s: s.kernel_passes, kernel_method),
    "dictionary": Method("dictionary", "weight", lambda s: s.dictionary_weights, by_dictionary),
    "diprecon": Method("DIPRecon", "iterations", lambda s: s.dip_iters, by_dip),
    "em_net": Method("EM-Net", *_FILTER, functools.partial(by_network, "em_net")),
    "mapem_net": Method("MAPEM-Net", *_FILTER, functools.partial(by_network, "mapem_net")),
    "unet": Method("U-Net after OSEM", *_FILTER, functools.partial(by_network, "unet")),
}
_PREPARED = {"kem": "kernel", "dictionary": "dictionary", "bowsher": "bowsher_weights"}


def prepare(name: str, study: Study) -> None:
    """What a method needs for all realisations together, training included."""
    if name in NETWORKS:
        study.network(name)
    elif name in _PREPARED:
        jax.block_until_ready(getattr(study, _PREPARED[name]))


def reconstruct(name: str, study: Study, scan: Scan) -> np.ndarray:
    """An image for each of the knob's values.

    Raises:
        KeyboardInterrupt: where there are fewer: loops that are watched end by Ctrl-C without one.
    """
    images = [np.asarray(image) for image in METHODS[name].run(study, scan)]
    if len(images) < len(METHODS[name].values(study.settings)):
        raise KeyboardInterrupt
    return np.stack(images)
