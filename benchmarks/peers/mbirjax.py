"""mbirjax: parallel and cone beams, no fan. It leaves out voxels beyond its region of reconstruction.

Runs where JAX runs; on a GPU its results stay there, where by default it copies them to the host.
Its volumes are [row, column, slice] with y falling along the rows; angles and detector agree with jaxct's then.
pip install mbirjax
"""

import os
from functools import partial
from typing import Any

import numpy as np
from _workloads import Scan


def operators(scan: Scan, direction: str) -> tuple[str, ...]:
    if scan.beam == "fan" or not scan.plain:
        return ()
    return {"forward": ("mbirjax",), "back": ("mbirjax",), "reconstruct": ("fdk",)}.get(direction, ())


def versions() -> dict[str, str]:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from importlib.metadata import version

    import jax
    import mbirjax  # noqa: F401  (so that loading it is not part of the set-up)

    jax.jit(lambda x: x + 1)(0.0)  # nor is the start of the back end part of the first run
    return {name: version(name) for name in ("mbirjax", "jax", "jaxlib", "numpy")}


def prepare(scan: Scan, direction: str, operator: str, threads: int = 0) -> "_Operator":
    return _Operator(scan, direction)


class _Operator:
    def __init__(self, scan: Scan, direction: str):
        import jax

        self._scan, self._direction = scan, direction
        self._model = _model(scan)
        function = {
            "forward": self._model.forward_project,
            "back": self._model.back_project,
            "reconstruct": self._model.direct_recon,
        }[direction]
        self._function = partial(function, output_sharded=jax.default_backend() == "gpu")

    def load(self, array: np.ndarray) -> None:
        import jax

        if self._direction == "forward":
            volume = array if self._scan.ndim == 3 else array[None]
            array = np.ascontiguousarray(volume.transpose(1, 2, 0)[::-1])
        elif self._scan.ndim == 2:
            array = array[:, None]
        self._input = jax.block_until_ready(jax.device_put(array))

    def run(self) -> None:
        import jax

        self._output = jax.block_until_ready(self._function(self._input))

    def result(self) -> np.ndarray:
        output = np.asarray(self._output)
        if self._direction != "forward":
            output = output[::-1].transpose(2, 0, 1)
        return output.reshape(self._scan.projection_shape if self._direction == "forward" else self._scan.shape)


def _model(scan: Scan) -> Any:
    import mbirjax

    nz, ny, nx = scan.shape if scan.ndim == 3 else (1, *scan.shape)
    rows, cols = scan.detector_shape if scan.ndim == 3 else (1, *scan.detector_shape)
    sinogram, angles = (scan.views, rows, cols), scan.angles
    if scan.beam == "cone":
        model = mbirjax.ConeBeamModel(
            sinogram,
            angles,
            source_detector_dist=scan.source_detector_distance,
            source_iso_dist=scan.source_origin_distance,
        )
    else:
        model = mbirjax.ParallelBeamModel(sinogram, angles)
    pitches = {"delta_det_channel": scan.pixel_size, "delta_det_row": scan.pixel_size, "delta_voxel": 1.0}
    if scan.beam == "parallel":
        del pitches["delta_det_row"]
    model.set_params(no_warning=True, recon_shape=(ny, nx, nz), verbose=0, **pitches)
    return model
