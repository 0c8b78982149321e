"""Phantoms for PET: activity, attenuation at 511 keV and the regions that image quality is measured in."""

from jaxct.pet.phantoms.brain import Brain, brain
from jaxct.pet.phantoms.jaszczak import jaszczak
from jaxct.pet.phantoms.nema import nema_background_centers, nema_image_quality, nema_sphere_centers
from jaxct.pet.phantoms.parts import PETPhantom

__all__ = [
    "Brain",
    "PETPhantom",
    "brain",
    "jaszczak",
    "nema_background_centers",
    "nema_image_quality",
    "nema_sphere_centers",
]
