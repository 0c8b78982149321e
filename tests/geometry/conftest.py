"""Geometries that several promises are checked on."""

import jax
import numpy as np
import pytest

from jaxct.geometry import ConeBeam, ConeVectors, FanBeam, ParallelBeam, ParallelVectors

ANGLES = np.array([0.3, 1.1, 2.7, 4.0])
DISTANCES = {"source_origin_distance": 200.0, "source_detector_distance": 320.0}


def _make(name: str):
    views = len(ANGLES)
    varying = np.linspace(1.0, 2.0, views)
    if name == "parallel-2d":
        return ParallelBeam(ANGLES, detector_shape=(7,), pixel_size=0.5, detector_offset=varying)
    if name == "parallel-3d":
        return ParallelBeam(ANGLES, detector_shape=(5, 7), pixel_size=(0.5, 0.8), detector_offset=(1.0, -2.0))
    if name == "fan":
        return FanBeam(ANGLES, **DISTANCES, detector_shape=(7,), pixel_size=0.5, detector_offset=3.0)
    if name == "fan-curved":
        return FanBeam(ANGLES, **DISTANCES, detector_shape=(7,), pixel_size=0.5, detector_offset=9.0, detector="curved")
    if name == "cone":
        return ConeBeam(ANGLES, **DISTANCES, detector_shape=(5, 7), pixel_size=(0.5, 0.8), source_z=10 * varying)
    if name == "cone-curved":
        offset = np.stack([varying, -varying], 1)
        distances = {"source_origin_distance": 200 * varying, "source_detector_distance": 320 * varying}
        shape = {"detector_shape": (5, 7), "pixel_size": (0.5, 0.8)}
        return ConeBeam(ANGLES, **distances, **shape, detector_offset=offset, detector="curved")
    if name == "parallel-vectors":
        v = _make("parallel-3d").to_vectors()
        return ParallelVectors(v.direction, v.detector_center, v.row_axis, v.col_axis, v.detector_shape)
    v = _make("cone-curved" if name == "cone-vectors-curved" else "fan").to_vectors()
    return ConeVectors(v.source, v.detector_center, v.row_axis, v.col_axis, v.detector_shape, v.detector)


NAMES = (
    "parallel-2d",
    "parallel-3d",
    "fan",
    "fan-curved",
    "cone",
    "cone-curved",
    "parallel-vectors",
    "cone-vectors-2d",
    "cone-vectors-curved",
)


@pytest.fixture(params=NAMES)
def geometry(request):
    return _make(request.param)


@pytest.fixture(params=NAMES)
def geometry64(request):
    with jax.enable_x64(True):
        yield _make(request.param)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield
