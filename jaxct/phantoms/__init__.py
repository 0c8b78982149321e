"""Phantoms with exact projections for every geometry, and noise to put on them.

A :class:`Phantom` is a sum of convex shapes; it projects exactly, rasterises to voxel averages, and is a pytree.
"""

from jaxct.phantoms import noise
from jaxct.phantoms.forbild import forbild_head
from jaxct.phantoms.phantom import Phantom
from jaxct.phantoms.rotations import frame
from jaxct.phantoms.shapes import (
    Box,
    Cone,
    Cylinder,
    Ellipse,
    Ellipsoid,
    HalfSpace,
    Intersection,
    Rectangle,
    Shape,
)
from jaxct.phantoms.shepp_logan import shepp_logan
from jaxct.phantoms.simple import ball, defrise, disk, line_pairs, uniform_cylinder

__all__ = [
    "Box",
    "Cone",
    "Cylinder",
    "Ellipse",
    "Ellipsoid",
    "HalfSpace",
    "Intersection",
    "Phantom",
    "Rectangle",
    "Shape",
    "ball",
    "defrise",
    "disk",
    "forbild_head",
    "frame",
    "line_pairs",
    "noise",
    "shepp_logan",
    "uniform_cylinder",
]
