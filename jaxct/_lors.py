"""Lines of response as the projection primitives see them.

The primitives of ``jaxct._linear`` read of them

* vectors: ``(*batch, views, numbers)``, for each view the ends of its lines: see ``LineGeometry.pack``,
* grid: ``(*batch, 3, 3)``, voxel size, centre, and of time of flight sigma, width of a bin and offset of their middle.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxct import _native
from jaxct.geometry import VolumeGrid
from jaxct.geometry.lors import TOF, LineGeometry, ListMode, SinogramLORs

MODELS = ("siddon", "joseph", "multi_ray", "distance_driven")
DIFFERENTIABLE_MODELS = ("joseph", "multi_ray", "distance_driven")
# Models of a tube, not of a line.
TUBE_MODELS = ("multi_ray", "distance_driven")

_KINDS = {"list": 0, "events": 1, "sinogram": 2}


@dataclasses.dataclass(frozen=True)
class LorScan:
    """What is static in an operator."""

    model: str
    kind: str
    detector_shape: tuple[int, ...]
    volume_shape: tuple[int, ...]
    rays: tuple[int, int]
    tof_bins: int
    num_sigmas: float

    @property
    def differentiable(self) -> bool:
        """Whether the model's weights have derivatives by the geometry."""
        return self.model in DIFFERENTIABLE_MODELS

    @property
    def _native_model(self) -> str:
        """Several rays are several lines of Joseph's."""
        return "joseph" if self.model == "multi_ray" else self.model

    def target(self, direction: str) -> str:
        """The name of an FFI target, the same on every platform."""
        return f"jaxct_lors_{self._native_model}_{direction}"

    @property
    def axes(self) -> dict[str, tuple[str, ...]]:
        """Names for the axes of one item of each operand; "view" and "slice" may be split over devices."""
        return {
            "volume": ("slice", "y", "x"),
            "projections": ("view", *(f"detector{k}" for k in range(len(self.detector_shape)))),
            "vectors": ("view", "number"),
            "grid": ("size_and_center", "axis"),
        }

    def attributes(self, batch_axes: int) -> dict[str, Any]:
        """The FFI attribute."""
        planes, bins = self.detector_shape[:2] if self.kind == "sinogram" else (1, 1)
        nz, ny, nx = self.volume_shape
        values = {
            "kind": _KINDS[self.kind],
            "planes": planes,
            "bins": bins,
            "axial_rays": self.rays[0],
            "tangential_rays": self.rays[1],
            "tof_bins": self.tof_bins,
            "nz": nz,
            "ny": ny,
            "nx": nx,
            "batch_axes": batch_axes,
        }
        return {name: np.int64(value) for name, value in values.items()} | {"num_sigmas": np.float64(self.num_sigmas)}

    @property
    def cuda_stores_16_bits(self) -> bool:
        """They take float32 and float64."""
        return False

    def cuda_workspace_bytes(
        self, name: str, data: Any, vectors: Any, grid: Any, others_batch: tuple[int, ...], batch_axes: int
    ) -> int:
        """Asked of the CPU module, which is there wherever something is lowered. Batches take turns in it."""
        del grid, others_batch
        numbers = self.attributes(batch_axes)
        del numbers["num_sigmas"]
        return _native.require("cpu").cuda_lor_workspace_bytes(
            model=self._native_model,
            name=name,
            dtype=data.dtype.name,
            views=vectors.shape[batch_axes],
            **{key: int(value) for key, value in numbers.items()},
        )


def offsets(lors: LineGeometry, model: str) -> tuple[np.ndarray, np.ndarray]:
    """Where in its tube a model wants lines, axially and tangentially, in fractions of the width."""
    if model == "distance_driven":
        return np.array([-0.5, 0.5]), np.array([-0.5, 0.5])
    if model == "multi_ray":
        axial, tangential = ((np.arange(n) + 0.5) / n - 0.5 for n in lors.rays)
        return axial, tangential
    return np.zeros(1), np.zeros(1)


def pack(lors: LineGeometry, grid: VolumeGrid, model: str) -> tuple[jax.Array, jax.Array, LorScan]:
    """Vectors, grid and scan of an operator, arguments being known to fit."""
    axial, tangential = offsets(lors, model)
    kind = "sinogram" if isinstance(lors, SinogramLORs) else "events" if isinstance(lors, ListMode) else "list"
    scan = LorScan(
        model=model,
        kind=kind,
        detector_shape=lors.detector_shape,
        volume_shape=grid.shape,
        rays=(len(axial), len(tangential)),
        tof_bins=0 if lors.tof is None else lors.tof.num_bins,
        num_sigmas=0.0 if lors.tof is None else lors.tof.num_sigmas,
    )
    packed = jnp.concatenate([jnp.stack([grid.voxel_size, grid.center]), _pack_tof(lors.tof, grid)[None]])
    return lors.pack((axial, tangential)), packed, scan


def _pack_tof(tof: TOF | None, grid: VolumeGrid) -> jax.Array:
    if tof is None:
        return jnp.zeros(3, grid.voxel_size.dtype)
    return jnp.stack([tof.sigma, tof.bin_width, tof.center_offset]).astype(grid.voxel_size.dtype)
