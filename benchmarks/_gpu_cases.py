"""What is timed on a GPU: scans from small to large, and a smooth object with exact projections. NumPy alone."""

import dataclasses
import math
from typing import Any

import numpy as np
from _workloads import Scan


@dataclasses.dataclass(frozen=True)
class GpuScan(Scan):
    """A scan of ``batch`` images or volumes at once, which share the geometry."""

    batch: int = 1

    @property
    def lead(self) -> tuple[int, ...]:
        return (self.batch,) if self.batch > 1 else ()

    @property
    def updates(self) -> int:
        """Voxels x views x batch: what GUPS counts."""
        return math.prod(self.shape) * self.views * self.batch

    @property
    def numbers(self) -> int:
        """In volumes and projections together."""
        return self.batch * (math.prod(self.shape) + math.prod(self.projection_shape))

    def input_shape(self, direction: str) -> tuple[int, ...]:
        return (*self.lead, *(self.shape if direction == "forward" else self.projection_shape))


@dataclasses.dataclass(frozen=True)
class GpuWorkload:
    """A scan and what is done with it."""

    title: str
    scan: GpuScan
    directions: tuple[str, ...] = ("forward", "back")


def _plane(batch: int) -> GpuScan:
    return GpuScan(
        beam="parallel",
        shape=(512, 512),
        views=720,
        half_turns=1,
        detector_shape=(768,),
        pixel_size=1.0,
        radius=150.0,
        center=(-30.0, 40.0),
        batch=batch,
    )


def _stack(n: int, views: int) -> GpuScan:
    """Parallel rays, detector rows level with the slices."""
    return GpuScan(
        beam="parallel",
        shape=(n, n, n),
        views=views,
        half_turns=1,
        detector_shape=(n, 3 * n // 2),
        pixel_size=1.0,
        radius=0.3 * n,
        center=(n / 32, -n / 16, n / 12),
    )


def _cone(n: int, views: int, **changes: Any) -> GpuScan:
    """Magnification 2; the detector sees the whole volume in every view."""
    scan = GpuScan(
        beam="cone",
        shape=(n, n, n),
        views=views,
        half_turns=2,
        detector_shape=(3 * n // 2, 3 * n // 2),
        pixel_size=2.0,
        radius=0.3 * n,
        center=(n / 32, -n / 16, n / 12),
        source_origin_distance=4.0 * n,
        source_detector_distance=8.0 * n,
    )
    return dataclasses.replace(scan, **changes)


# The case of diffct's published scaling table: 360 views of 1024 columns x 768 rows at 1.25. Its distances are not
# published; these, 2.5 and 4 times the width of the volume, are what that project's other benchmarks take.
_PUBLISHED = _cone(
    512,
    360,
    detector_shape=(768, 1024),
    pixel_size=1.25,
    source_origin_distance=1280.0,
    source_detector_distance=2048.0,
)

# In the order in which they run: the largest last, so that a run cut short has lost the least.
GPU_WORKLOADS = {
    "plane": GpuWorkload("2-D parallel, 512^2 x 720", _plane(1)),
    "parallel256": GpuWorkload("3-D parallel, 256^3 x 256", _stack(256, 256)),
    "cone256": GpuWorkload("3-D cone, 256^3 x 256", _cone(256, 256), ("forward", "back", "reconstruct")),
    "planes": GpuWorkload("2-D parallel, 256 images of 512^2 x 720", _plane(256)),
    "published": GpuWorkload("3-D cone, 512^3 x 360, 1024 columns x 768 rows", _PUBLISHED),
    "parallel512": GpuWorkload("3-D parallel, 512^3 x 720", _stack(512, 720)),
    "cone512": GpuWorkload("3-D cone, 512^3 x 720", _cone(512, 720), ("forward", "back", "reconstruct")),
    "parallel1024": GpuWorkload("3-D parallel, 1024^3 x 1024", _stack(1024, 1024)),
    "cone1024": GpuWorkload("3-D cone, 1024^3 x 1024", _cone(1024, 1024)),
}
# Small scans of the same kinds, on which every operator is checked before it is timed.
GPU_CHECKS = {
    "plane": dataclasses.replace(_plane(1).scaled(8), views=90),
    "parallel": _stack(64, 60),
    "cone": _cone(64, 60),
}


def check_of(scan: GpuScan) -> str:
    """Which of the checks covers a scan."""
    return "plane" if scan.ndim == 2 else scan.beam


def scan_vectors(scan: Scan) -> dict[str, np.ndarray]:
    """Rays and detector of a plain scan: (views, 3) arrays in (z, y, x), axes of unit length, in double precision.

    ``source`` for fan and cone, ``direction`` for parallel beams; ``center``, ``row`` and ``col`` of the detector.
    """
    a, zero = scan.angles, np.zeros(scan.views)
    along = np.stack([zero, np.cos(a), -np.sin(a)], 1)
    vectors = {"row": np.stack([zero + 1, zero, zero], 1), "col": np.stack([zero, np.sin(a), np.cos(a)], 1)}
    if scan.beam == "parallel":
        return vectors | {"direction": along, "center": np.zeros((scan.views, 3))}
    behind = scan.source_detector_distance - scan.source_origin_distance
    return vectors | {"source": -scan.source_origin_distance * along, "center": behind * along}


def _blob(scan: Scan) -> tuple[np.ndarray, float]:
    """Centre (z, y, x) and width of a Gaussian off the axis that lies within the volume."""
    n = min(scan.shape)
    z = n / 20 if scan.ndim == 3 else 0.0
    return np.array([z, -n / 10, n / 8]), n / 10


def blob_volume(scan: Scan) -> np.ndarray:
    """exp(-r^2 / 2 s^2) at the voxels' centres."""
    center, width = _blob(scan)
    axes = [np.arange(n) - (n - 1) / 2 - c for n, c in zip(scan.shape, center[-scan.ndim :], strict=True)]
    parts = [np.exp(-(x**2) / (2 * width**2)) for x in axes]
    return np.asarray(math.prod(np.ix_(*parts)), np.float32)


def blob_projections(scan: Scan) -> np.ndarray:
    """Its line integrals: sqrt(2 pi) s exp(-d^2 / 2 s^2), d the distance of the ray from the centre."""
    v = scan_vectors(scan)
    rows, cols = (1, *scan.detector_shape)[-2:]
    r, c = ((np.arange(n) - (n - 1) / 2) * scan.pixel_size for n in (rows, cols))
    points = (
        v["center"][:, None, None]
        + r[:, None, None] * v["row"][:, None, None] * (scan.ndim == 3)
        + c[:, None] * v["col"][:, None, None]
    )
    if scan.beam == "parallel":
        along = np.broadcast_to(v["direction"][:, None, None], points.shape)
    else:
        along = points - v["source"][:, None, None]
        along /= np.linalg.norm(along, axis=-1, keepdims=True)
    return _blob_integrals(scan, points, along).reshape(scan.projection_shape).astype(np.float32)


def blob_back_projection(scan: Scan) -> np.ndarray:
    """What a voxel-driven back projector makes of them: the sum over all views of M^2 times the line integral through
    a voxel's centre, M the magnification there (1 for parallel beams). The detector must see the whole object."""
    v = scan_vectors(scan)
    axes = [np.arange(n) - (n - 1) / 2 for n in (1, *scan.shape)[-3:]]
    voxels = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    total = np.zeros(voxels.shape[:-1])
    for view in range(scan.views):
        if scan.beam == "parallel":
            total += _blob_integrals(scan, voxels, v["direction"][view])
            continue
        along = voxels - v["source"][view]
        normal = (v["center"][view] - v["source"][view]) / scan.source_detector_distance
        magnification = scan.source_detector_distance / (along @ normal)
        along /= np.linalg.norm(along, axis=-1, keepdims=True)
        total += magnification**2 * _blob_integrals(scan, voxels, along)
    return total.reshape(scan.shape).astype(np.float32)


def _blob_integrals(scan: Scan, points: np.ndarray, along: np.ndarray) -> np.ndarray:
    """The object's integrals along the lines through these points in these directions, which have unit length."""
    center, width = _blob(scan)
    offset = points - center
    squared = np.einsum("...i,...i", offset, offset) - np.einsum("...i,...i", offset, along) ** 2
    return math.sqrt(2 * math.pi) * width * np.exp(-squared / (2 * width**2))
