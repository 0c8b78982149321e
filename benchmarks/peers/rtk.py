"""RTK, the Reconstruction Toolkit of ITK, on the CPU. "voxel_driven" is its unmatched back projector.

RTK turns about its y axis, and its source starts at +z: its (x, y, z) are jaxct's (x, z, -y). Angles, detector rows and
columns then agree. pip install itk-rtk
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from _workloads import Scan

_FILTERS = {
    ("forward", "joseph"): "JosephForwardProjectionImageFilter",
    ("back", "joseph"): "JosephBackProjectionImageFilter",
    ("back", "voxel_driven"): "BackProjectionImageFilter",
    ("back", "fdk_back_projector"): "FDKBackProjectionImageFilter",
    ("reconstruct", "fdk"): "FDKConeBeamReconstructionFilter",
}


def operators(scan: Scan, direction: str) -> tuple[str, ...]:
    if scan.ndim != 3 or not scan.plain:
        return ()
    names = tuple(name for kind, name in _FILTERS if kind == direction)
    return names if scan.beam == "cone" else tuple(n for n in names if not n.startswith("fdk"))


def versions() -> dict[str, str]:
    from importlib.metadata import version

    import itk

    # ITK loads its parts when they are first used: that should not count as the first run.
    _ = itk.RTK, itk.RTK.ThreeDCircularProjectionGeometry
    return {name: version(name) for name in ("itk-rtk", "itk-core", "numpy")}


def prepare(scan: Scan, direction: str, operator: str, threads: int) -> "_Operator":
    return _Operator(scan, direction, operator, threads)


class _Operator:
    def __init__(self, scan: Scan, direction: str, operator: str, threads: int):
        import itk

        itk.MultiThreaderBase.SetGlobalMaximumNumberOfThreads(threads)
        itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(threads)
        self._itk, self._scan, self._forward = itk, scan, direction == "forward"
        self._is_fdk = direction == "reconstruct"
        self._image = itk.Image[itk.F, 3]
        self._class = getattr(itk.RTK, _FILTERS[direction, operator])
        self._geometry = itk.RTK.ThreeDCircularProjectionGeometry.New()
        # RTK reads a source-detector distance of 0 as parallel rays.
        origin = scan.source_origin_distance or 500.0
        for angle in np.rad2deg(scan.angles):
            self._geometry.AddProjection(origin, scan.source_detector_distance, float(angle))

    def load(self, array: np.ndarray) -> None:
        nz, ny, nx = self._scan.shape
        volume = np.zeros((ny, nz, nx), np.float32)
        projections = np.zeros(self._scan.projection_shape, np.float32)
        if self._forward:
            volume[:] = array[:, ::-1].transpose(1, 0, 2)
        else:
            projections[:] = array
        images = [
            self._centred(volume, (1.0, 1.0, 1.0)),
            self._centred(projections, (1.0, self._scan.pixel_size, self._scan.pixel_size)),
        ]
        # RTK adds the result to its first input.
        self._inputs = images[::-1] if self._forward else images
        self._run = self._prepare()

    def _prepare(self) -> Callable[[], Any]:
        """A filter is kept and run again; FDK's, whose parts would remember, is made anew every time."""
        if self._is_fdk:
            return self._new_filter
        kept = self._new_filter()

        def again() -> Any:
            kept.Modified()
            return kept

        return again

    def _new_filter(self) -> Any:
        types = self._image if self._is_fdk else (self._image, self._image)
        new = self._class[types].New()
        new.SetInPlace(False)
        for index, image in enumerate(self._inputs):
            new.SetInput(index, image)
        new.SetGeometry(self._geometry)
        if self._is_fdk:
            new.GetRampFilter().SetTruncationCorrection(0.0)
            new.GetRampFilter().SetHannCutFrequency(0.0)
        return new

    def run(self) -> None:
        self._filter = self._run()
        self._filter.UpdateLargestPossibleRegion()

    def result(self) -> np.ndarray:
        output = self._itk.array_from_image(self._filter.GetOutput())
        return output if self._forward else output.transpose(1, 0, 2)[:, ::-1]

    def _centred(self, array: np.ndarray, spacing: tuple[float, ...]) -> Any:
        """An ITK image whose middle is the origin; along the views, which have no place, from zero."""
        image = self._itk.image_from_array(array)
        image.SetSpacing([float(s) for s in spacing[::-1]])
        image.SetOrigin([-(n - 1) / 2 * s for n, s in zip(array.shape[::-1], spacing[::-1], strict=True)])
        return image
