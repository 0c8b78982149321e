"""Scan geometries and the voxel grid: frozen pytrees whose float fields can be batched and differentiated."""

from jaxct.geometry import astra, matrices, poses, trajectories
from jaxct.geometry._base import Geometry
from jaxct.geometry.cone import ConeBeam
from jaxct.geometry.fan import FanBeam
from jaxct.geometry.grid import VolumeGrid
from jaxct.geometry.lors import TOF, LineGeometry, ListMode, LORs, SinogramLORs
from jaxct.geometry.parallel import ParallelBeam
from jaxct.geometry.vectors import ConeVectors, ParallelVectors

__all__ = [
    "TOF",
    "ConeBeam",
    "ConeVectors",
    "FanBeam",
    "Geometry",
    "LORs",
    "LineGeometry",
    "ListMode",
    "ParallelBeam",
    "ParallelVectors",
    "SinogramLORs",
    "VolumeGrid",
    "astra",
    "matrices",
    "poses",
    "trajectories",
]
