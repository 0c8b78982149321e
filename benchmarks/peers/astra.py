"""ASTRA Toolbox on the CPU (2-D alone, one thread): "linear" is Joseph's model, "line" is Siddon's.

Its images begin with the row of largest y; angles and detector agree with jaxct's. pip install astra-toolbox
"""

from typing import Any

import numpy as np
from _workloads import ITERATIVE, Scan


def operators(scan: Scan, direction: str) -> tuple[str, ...]:
    if scan.ndim != 2 or not scan.plain or direction == "reconstruct":
        return ()
    return ("linear", "line") if scan.beam == "parallel" else ("line",)


def versions() -> dict[str, str]:
    import astra

    return {"astra-toolbox": astra.__version__, "numpy": np.__version__}


def prepare(scan: Scan, direction: str, operator: str, threads: int) -> "_Operator | _Algorithm":
    return (_Algorithm if direction in ITERATIVE else _Operator)(scan, direction, operator)


def _create(scan: Scan, operator: str) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """A projector, and the geometries of its images and projections."""
    import astra

    volumes = astra.create_vol_geom(*scan.shape)
    (cols,) = scan.detector_shape
    if scan.beam == "parallel":
        projections = astra.create_proj_geom("parallel", scan.pixel_size, cols, scan.angles)
    else:
        origin, detector = scan.source_origin_distance, scan.source_detector_distance
        projections = astra.create_proj_geom("fanflat", scan.pixel_size, cols, scan.angles, origin, detector - origin)
        operator += "_fanflat"
    return astra.create_projector(operator, projections, volumes), volumes, projections


class _Operator:
    def __init__(self, scan: Scan, direction: str, operator: str):
        import astra

        self._astra, self._forward = astra, direction == "forward"
        self._projector, self._volumes, self._scan = _create(scan, operator)
        self._algorithm: int | None = None

    def load(self, array: np.ndarray) -> None:
        data = self._astra.data2d
        if self._algorithm is not None:
            data.store(self._input, self._turned(array))
            return
        kinds = [("-vol", self._volumes), ("-sino", self._scan)]
        (source, target) = kinds if self._forward else kinds[::-1]
        self._input = data.create(*source, self._turned(array))
        self._output = data.create(*target, 0)
        config = self._astra.astra_dict("FP" if self._forward else "BP")
        config["ProjectorId"] = self._projector
        config["ProjectionDataId"] = self._output if self._forward else self._input
        config["VolumeDataId" if self._forward else "ReconstructionDataId"] = (
            self._input if self._forward else self._output
        )
        self._algorithm = self._astra.algorithm.create(config)

    def run(self) -> None:
        self._astra.algorithm.run(self._algorithm)

    def result(self) -> np.ndarray:
        output = self._astra.data2d.get(self._output)
        return output if self._forward else output[::-1]

    def _turned(self, array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(array[::-1] if self._forward else array)


class _Algorithm:
    """An algorithm begins anew every time: ASTRA's CGLS goes on where it was when it is run again."""

    def __init__(self, scan: Scan, direction: str, operator: str):
        import astra

        self._astra = astra
        projector, volumes, self._scan = _create(scan, operator)
        self._image = astra.data2d.create("-vol", volumes)
        self._config = astra.astra_dict(direction.upper())
        self._config["ProjectorId"] = projector
        self._config["ReconstructionDataId"] = self._image

    def load(self, array: np.ndarray) -> None:
        self._config["ProjectionDataId"] = self._astra.data2d.create("-sino", self._scan, array)

    def iterate(self, count: int) -> None:
        self._astra.data2d.store(self._image, 0)
        algorithm = self._astra.algorithm.create(self._config)
        self._astra.algorithm.run(algorithm, count)
        self._astra.algorithm.delete(algorithm)

    def result(self) -> np.ndarray:
        return self._astra.data2d.get(self._image)[::-1]
