"""diffct on the GPU: a matched Siddon pair, kernels by numba-cuda on torch tensors. pip install 'diffct[cu13]'

Its vectors are (x, y, z), its projections [view, column, row]; volumes, angles and signs agree with jaxct's.
Of 3-D parallel beams its own kernels know nothing: "slices" takes a stack as a batch of 2-D images (which it runs one
by one), "torch" is its portable back end. "native layout" keeps volumes as its cone kernels want them.
"""

from typing import Any

import numpy as np
from _gpu_cases import GpuScan, scan_vectors

# Up to here the portable back end is tried.
_PORTABLE_UPDATES = 2**32


def operators(scan: GpuScan, direction: str) -> tuple[str, ...]:
    if not scan.plain:
        return ()
    if direction == "reconstruct":
        return ("fdk",) if scan.beam == "cone" else ()
    if scan.beam == "cone":
        return ("siddon", "siddon, native layout")
    if scan.ndim == 2:
        return ("siddon",)
    level = scan.detector_shape[0] == scan.shape[0] and scan.pixel_size == 1.0
    portable = scan.updates <= _PORTABLE_UPDATES
    return (*(("siddon, slices",) if level else ()), *(("siddon, torch",) if portable else ()))


def versions() -> dict[str, str]:
    import diffct
    import numba
    import torch
    from numba import cuda  # its kernels are compiled when first used; without a working numba-cuda, not at all

    if not torch.cuda.is_available():
        raise RuntimeError("torch sees no CUDA device")
    cuda.get_current_device()
    return {
        "diffct": diffct.__version__,
        "torch": torch.__version__,
        "numba": numba.__version__,
        "numpy": np.__version__,
    }


def prepare(scan: GpuScan, direction: str, operator: str) -> "_Operator":
    return _Operator(scan, direction, operator)


def allocated_bytes(operator: "_Operator") -> int:
    """Device memory that torch allocates in a run beside its input."""
    import torch

    operator.forget()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    operator.run()
    return torch.cuda.max_memory_allocated() - before


class _Operator:
    def __init__(self, scan: GpuScan, direction: str, operator: str):
        import diffct

        self._scan, self._direction = scan, direction
        self._name, *changes = operator.split(", ")
        self._slices = "slices" in changes
        self._wants_layout = "native layout" in changes
        planar = scan.ndim == 2 or self._slices
        trajectory = _trajectory(scan, planar)
        if self._name == "fdk":
            angles = _tensor(scan.angles)
            self._function = lambda data: diffct.fdk(
                data, trajectory, scan.shape, angles, detector_spacing=scan.pixel_size, window="ram-lak"
            )
            return
        beam = {"parallel": "parallel" if planar else "parallel3d"}.get(scan.beam, scan.beam)
        projector = diffct.Projector(
            trajectory,
            scan.shape[-2:] if planar else scan.shape,
            scan.detector_shape[-1:] if planar else scan.detector_shape[::-1],
            beam=beam,
            detector_spacing=scan.pixel_size,
            backend="torch" if "torch" in changes else "numba",
            native_volume_layout=self._wants_layout,
        )
        self._function = projector.project if direction == "forward" else projector.backproject

    def load(self, array: np.ndarray) -> None:
        tensor = _tensor(array)
        if self._direction == "forward":
            if self._wants_layout:
                tensor = tensor.permute(2, 1, 0).contiguous().permute(2, 1, 0)
        elif self._slices:
            tensor = tensor.transpose(0, 1).contiguous()  # (rows, views, columns)
        elif self._scan.ndim == 3:
            tensor = tensor.transpose(1, 2).contiguous()  # (views, columns, rows)
        self._input = tensor
        self._output: Any = None

    def run(self) -> None:
        import torch

        self._output = None
        with torch.no_grad():
            self._output = self._function(self._input)
        torch.cuda.synchronize()

    def result(self) -> np.ndarray:
        output = self._output
        if self._direction == "forward" and self._slices:
            output = output.transpose(0, 1)
        elif self._direction == "forward" and self._scan.ndim == 3:
            output = output.transpose(1, 2)
        return np.ascontiguousarray(output.cpu().numpy())

    def forget(self) -> None:
        self._output = None


def _tensor(array: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(array, np.float32)).cuda()


def _trajectory(scan: GpuScan, planar: bool) -> tuple[Any, ...]:
    """diffct's frames: (x, y) or (x, y, z) vectors, axes of unit length."""
    v = {name: _tensor((a[:, 1:] if planar else a)[:, ::-1]) for name, a in scan_vectors(scan).items()}
    rays = v["direction"] if scan.beam == "parallel" else v["source"]
    return (rays, v["center"], v["col"]) if planar else (rays, v["center"], v["col"], v["row"])
