"""The scans that are timed, their phantoms and exact projections. To import this takes NumPy alone."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Scan:
    """A circular scan of a uniform disk or ball of value 1, on voxels of size 1, in numbers that any library takes.

    Tuples are in array order. Angles are ``pi * half_turns * i / views``, counter-clockwise; the source (or where the
    parallel rays come from) starts at -y. ``roll * sin(angle)`` radians turn the detector in its own plane.
    """

    beam: str  # "parallel", "fan" or "cone"
    shape: tuple[int, ...]
    views: int
    half_turns: int
    detector_shape: tuple[int, ...]
    pixel_size: float
    radius: float
    center: tuple[float, ...]
    source_origin_distance: float = 0.0
    source_detector_distance: float = 0.0
    detector: str = "flat"
    roll: float = 0.0

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def projection_shape(self) -> tuple[int, ...]:
        return (self.views, *self.detector_shape)

    @property
    def angles(self) -> np.ndarray:
        return np.pi * self.half_turns * np.arange(self.views) / self.views

    @property
    def plain(self) -> bool:
        """A flat detector with rows along z: what every library can do."""
        return self.detector == "flat" and self.roll == 0.0

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Scan":
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})

    def scaled(self, factor: float) -> "Scan":
        """The same scan with fewer voxels, pixels and views, and everything but their size smaller in proportion."""
        return dataclasses.replace(
            self,
            shape=tuple(int(n / factor) for n in self.shape),
            views=int(self.views / factor),
            detector_shape=tuple(int(n / factor) for n in self.detector_shape),
            radius=self.radius / factor,
            center=tuple(x / factor for x in self.center),
            source_origin_distance=self.source_origin_distance / factor,
            source_detector_distance=self.source_detector_distance / factor,
        )


@dataclasses.dataclass(frozen=True)
class Workload:
    """A scan and what is done with it."""

    title: str
    scan: Scan
    directions: tuple[str, ...] = ("forward", "back")


_DISK: dict[str, Any] = {"shape": (512, 512), "radius": 150.0, "center": (-30.0, 40.0), "detector_shape": (768,)}
_BALL: dict[str, Any] = {"shape": (128, 128, 128), "radius": 35.0, "center": (5.0, -8.0, 10.0)}
_FAN: dict[str, Any] = _DISK | {
    "beam": "fan",
    "half_turns": 2,
    "pixel_size": 1.5,
    "source_origin_distance": 1000.0,
    "source_detector_distance": 1500.0,
}
_CONE: dict[str, Any] = _BALL | {
    "beam": "cone",
    "half_turns": 2,
    "detector_shape": (192, 192),
    "pixel_size": 2.0,
    "source_origin_distance": 500.0,
    "source_detector_distance": 1000.0,
}
_STACK: dict[str, Any] = _BALL | {
    "beam": "parallel",
    "half_turns": 1,
    "detector_shape": (128, 192),
    "pixel_size": 1.0,
}

# Directions that are algorithms, named as jaxct and ASTRA name them.
ITERATIVE = ("cgls", "sirt")

# The C and R scans differ from the ones they are named after in the detector alone, and take a quarter of the views.
_W1 = Scan(beam="parallel", views=720, half_turns=1, pixel_size=1.0, **_DISK)
WORKLOADS = {
    "W1": Workload("2-D parallel", _W1),
    "W2": Workload("2-D fan, flat", Scan(views=720, **_FAN)),
    "W3": Workload("3-D cone, flat", Scan(views=120, **_CONE)),
    "W4": Workload("FDK of W3", Scan(views=120, **_CONE), ("reconstruct",)),
    "W5": Workload("3-D parallel", Scan(views=180, **_STACK)),
    "W7": Workload("an iteration of W1", _W1, ITERATIVE),
    "W2C": Workload("2-D fan, curved", Scan(views=180, detector="curved", **_FAN)),
    "W3C": Workload("3-D cone, curved", Scan(views=30, detector="curved", **_CONE)),
    "W3R": Workload("3-D cone, rolled detector", Scan(views=30, roll=0.1, **_CONE)),
    "W5R": Workload("3-D parallel, rolled detector", Scan(views=45, roll=0.1, **_STACK)),
}
SIZES = {"small": 4, "full": 1}


def geometry(scan: Scan) -> Any:
    """The scan as a jaxct geometry."""
    import jaxct

    fields: dict[str, Any] = {"detector_shape": scan.detector_shape, "pixel_size": scan.pixel_size}
    if scan.beam == "parallel":
        beam = jaxct.ParallelBeam(scan.angles, **fields)
    else:
        fields["source_origin_distance"] = scan.source_origin_distance
        fields["source_detector_distance"] = scan.source_detector_distance
        kind = jaxct.FanBeam if scan.beam == "fan" else jaxct.ConeBeam
        beam = kind(scan.angles, **fields, detector=scan.detector)
    return _rolled(beam.to_vectors(), scan) if scan.roll else beam


def _rolled(vectors: Any, scan: Scan) -> Any:
    """Rows and columns of square pixels turned about the detector's normal."""
    roll = (scan.roll * np.sin(scan.angles))[:, None].astype(np.float32)
    row, col = np.asarray(vectors.row_axis), np.asarray(vectors.col_axis)
    return dataclasses.replace(
        vectors,
        row_axis=np.cos(roll) * row + np.sin(roll) * col,
        col_axis=np.cos(roll) * col - np.sin(roll) * row,
    )


def grid(scan: Scan) -> Any:
    """The scan's voxels as a jaxct grid."""
    import jaxct

    return jaxct.VolumeGrid(scan.shape)


def write_arrays(scan: Scan, folder: Path, *, exact: bool = True) -> None:
    """Write random inputs and, unless ``exact`` is False, the phantom and its exact projections as ``.npy`` files."""
    rng = np.random.default_rng(0)
    arrays = {
        "volume": rng.standard_normal(scan.shape, np.float32),
        "projections": rng.standard_normal(scan.projection_shape, np.float32),
    }
    for name, array in (arrays | (_exact_arrays(scan) if exact else {})).items():
        np.save(folder / f"{name}.npy", np.asarray(array, np.float32))


def _exact_arrays(scan: Scan) -> dict[str, Any]:
    """The phantom and its projections.

    The phantom's voxels are averages over the voxel: its error is then the projector's, not an aliased edge's. ``ray``
    holds the line integrals through the pixels' centres, ``pixel`` averages of them over the pixels.
    """
    from jaxct import phantoms

    make = phantoms.disk if scan.ndim == 2 else phantoms.ball
    phantom = make(scan.radius, center=scan.center)
    oversample = 8 if scan.ndim == 2 else 4
    return {
        "phantom": phantom.rasterize(grid(scan), oversample=oversample),
        "ray": phantom.project(geometry(scan)),
        "pixel": phantom.project(geometry(scan), oversample=oversample),
    }
