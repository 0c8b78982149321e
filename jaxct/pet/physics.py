"""What happens to photons beside the geometry: attenuation, decay, dead time, random coincidences, efficiencies.

A scan is ``y ~ Poisson(D A x + r)`` with the projector A, factors D of attenuation, normalisation, decay and dead time
(:class:`jaxct.operators.Diagonal`) and a background r of random and scattered coincidences.
"""

from jaxct.pet._attenuation import attenuation_factors, hounsfield_to_mu, mu_map, resample
from jaxct.pet._coincidences import (
    fit_crystals,
    live_fraction,
    normalization_factors,
    pair_products,
    randoms_from_delayeds,
    randoms_from_singles,
    true_rate,
)
from jaxct.pet._decay import ISOTOPES, Frames, Isotope, decay_factor

__all__ = [
    "ISOTOPES",
    "Frames",
    "Isotope",
    "attenuation_factors",
    "decay_factor",
    "fit_crystals",
    "hounsfield_to_mu",
    "live_fraction",
    "mu_map",
    "normalization_factors",
    "pair_products",
    "randoms_from_delayeds",
    "randoms_from_singles",
    "resample",
    "true_rate",
]
