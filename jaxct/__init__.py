"""jaxct: differentiable tomography operators for JAX.

Geometries and operators are imported eagerly; the larger sub-packages (``reconstruct``, ``phantoms``, ``io`` ...)
on first use, so that ``import jaxct`` stays cheap inside training scripts.
"""

import importlib
from typing import TYPE_CHECKING, Any

from jaxct import _native
from jaxct.geometry import (
    ConeBeam,
    ConeVectors,
    FanBeam,
    ParallelBeam,
    ParallelVectors,
    VolumeGrid,
)
from jaxct.projection import Projector, back_project, forward_project

if TYPE_CHECKING:
    from jaxct._backends import backends
    from jaxct._export import export_checks

# A program that was exported calls the operators without a word to this package.
_native.load()

__version__ = "0.1.0"

_LAZY_MODULES = (
    "calibration",
    "checkpoint_policies",
    "data_fit",
    "filters",
    "geometry",
    "io",
    "linear",
    "metrics",
    "nn",
    "operators",
    "pet",
    "phantoms",
    "plot",
    "priors",
    "priors_anatomical",
    "reconstruct",
    "reference",
    "sharding",
    "wavelets",
    "weights",
)

_LAZY_FUNCTIONS = {"backends": "jaxct._backends", "export_checks": "jaxct._export"}

__all__ = [
    "ConeBeam",
    "ConeVectors",
    "FanBeam",
    "ParallelBeam",
    "ParallelVectors",
    "Projector",
    "VolumeGrid",
    "back_project",
    "backends",
    "export_checks",
    "forward_project",
    *_LAZY_MODULES,
]


def __getattr__(name: str) -> Any:
    if name in _LAZY_MODULES:
        return importlib.import_module(f"jaxct.{name}")
    if name in _LAZY_FUNCTIONS:
        return getattr(importlib.import_module(_LAZY_FUNCTIONS[name]), name)
    raise AttributeError(f"module 'jaxct' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
