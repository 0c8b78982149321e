"""ASTRA Toolbox on the GPU, 3-D: its Joseph-like forward projector, its unmatched voxel-driven back projector.

Arrays stay on the GPU, as torch tensors. Volumes, angles and detector agree with jaxct's; projections are [row, view,
column]. pip install astra-toolbox, which loads cuFFT for its FDK alone. That is not measured; where cuFFT is missing,
an empty library takes its place.
"""

import ctypes
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from _gpu_cases import GpuScan

_CUFFT = "libcufft.so.11"
_FUNCTIONS = ("cufftDestroy", "cufftExecC2R", "cufftExecR2C", "cufftPlan1d", "cufftSetStream")


def operators(scan: GpuScan, direction: str) -> tuple[str, ...]:
    if scan.ndim != 3 or not scan.plain:
        return ()
    return {"forward": ("linear",), "back": ("voxel_driven",)}.get(direction, ())


def versions() -> dict[str, str]:
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("torch sees no CUDA device")
    cufft = provide_cufft()
    import astra

    if not astra.use_cuda():
        raise RuntimeError("astra finds no CUDA device")
    return {"astra-toolbox": astra.__version__, "cuFFT": cufft, "torch": torch.__version__, "numpy": np.__version__}


def provide_cufft() -> str:
    """Have cuFFT 11 loaded before astra asks for it: "real", or "a stub" whose functions all fail."""
    try:
        ctypes.CDLL(_CUFFT, mode=ctypes.RTLD_GLOBAL)
        return "real"
    except OSError:
        pass
    with tempfile.TemporaryDirectory() as folder:  # once loaded, the file is not needed
        ctypes.CDLL(str(_build_stub(Path(folder))), mode=ctypes.RTLD_GLOBAL)
    return "a stub"


def _build_stub(folder: Path) -> Path:
    source, versions, library = folder / "stub.c", folder / "versions", folder / _CUFFT
    source.write_text("\n".join(f"int {name}(void) {{ return 5; }}" for name in _FUNCTIONS) + "\n")
    versions.write_text(f"{_CUFFT} {{ global: cufft*; local: *; }};\n")
    linking = [f"-Wl,-soname,{_CUFFT}", f"-Wl,--version-script,{versions}"]
    command = ["cc", "-shared", "-fPIC", *linking, "-o", str(library), str(source)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return library


def prepare(scan: GpuScan, direction: str, operator: str) -> "_Operator":
    return _Operator(scan, direction)


class _Operator:
    def __init__(self, scan: GpuScan, direction: str):
        import astra

        self._scan, self._forward = scan, direction == "forward"
        nz, ny, nx = scan.shape
        volumes = astra.create_vol_geom(ny, nx, nz)
        detector = (scan.pixel_size, scan.pixel_size, *scan.detector_shape, scan.angles)
        if scan.beam == "parallel":
            projections = astra.create_proj_geom("parallel3d", *detector)
        else:
            origin, behind = scan.source_origin_distance, scan.source_detector_distance - scan.source_origin_distance
            projections = astra.create_proj_geom("cone", *detector, origin, behind)
        self._projector = astra.create_projector("cuda3d", projections, volumes)

    def load(self, array: np.ndarray) -> None:
        import torch

        rows, cols = self._scan.detector_shape
        tensor = torch.from_numpy(np.ascontiguousarray(array, np.float32)).cuda()
        self._input = tensor if self._forward else tensor.transpose(0, 1).contiguous()
        shape = (rows, self._scan.views, cols) if self._forward else self._scan.shape
        self._output: Any = torch.zeros(shape, dtype=torch.float32, device="cuda")
        torch.cuda.synchronize()

    def run(self) -> None:
        import astra
        import torch

        apply = astra.projector3d.direct_FP if self._forward else astra.projector3d.direct_BP
        apply(self._projector, self._input, out=self._output)
        torch.cuda.synchronize()

    def result(self) -> np.ndarray:
        output = self._output.transpose(0, 1) if self._forward else self._output
        return np.ascontiguousarray(output.cpu().numpy())
