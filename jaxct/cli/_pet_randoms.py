"""Random coincidences of a sinogram from its delayed ones, where these are few."""

import dataclasses

import numpy as np

from jaxct.pet import physics
from jaxct.pet.sinograms import SinogramLayout

_ITERS = 20


def expected_randoms(delayeds: np.ndarray, layout: SinogramLayout) -> np.ndarray:
    """The mean of random coincidences, (views, planes, bins) float32, with the total of the delayed ones.

    Crystal c of ring k is taken to count ``r_k e_c`` single events, r and e being fitted to the sums of the delayed
    coincidences over all views and bins, and over all planes. So a few hundred numbers say what millions of bins with
    hardly a count each do. (:func:`jaxct.pet.physics.randoms_from_delayeds` fits every crystal, for which it wants
    some hundreds of counts each.)
    """
    one_ring = dataclasses.replace(layout.scanner, rings=np.zeros(1), live_rings=np.ones(1, bool))
    flat = dataclasses.replace(layout, scanner=one_ring, span=1, max_ring_difference=0)
    around = delayeds.sum(1, keepdims=True, dtype=np.float64).astype(np.float32)
    transaxial = np.asarray(physics.randoms_from_delayeds(around, flat, num_iters=_ITERS))
    axial = _planes(delayeds.sum((0, 2), dtype=np.float64), layout)
    total = delayeds.sum(dtype=np.float64)
    scale = total / max(transaxial.sum(dtype=np.float64) * axial.sum(), np.finfo(np.float64).tiny)
    return transaxial * (scale * axial).astype(np.float32)[:, None]


def _planes(counts: np.ndarray, layout: SinogramLayout) -> np.ndarray:
    """``sum r_a r_b`` over the pairs of rings of every plane, r being most likely: the update of
    :func:`jaxct.pet.physics.fit_crystals`, for rings."""
    plane = layout.plane_of_rings
    taken = plane >= 0
    rates = np.where(layout.scanner.live_rings, 1.0, 0.0)

    def expected() -> np.ndarray:
        return np.bincount(plane[taken], np.outer(rates, rates)[taken], len(counts))

    def fans(values: np.ndarray) -> np.ndarray:
        pairs = np.where(taken, values[plane], 0)
        return (pairs + pairs.T) @ rates

    for _ in range(_ITERS):
        mean = expected()
        seen = fans(np.ones(len(counts)))
        found = fans(np.divide(counts, mean, out=np.zeros(len(counts)), where=mean > 0))
        rates = rates * np.sqrt(np.divide(found, seen, out=np.zeros_like(seen), where=seen > 0))
    return expected()
