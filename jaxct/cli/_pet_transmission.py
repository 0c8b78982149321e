"""Transmission scans of the command line: their counts become a map of attenuation."""

from typing import TYPE_CHECKING

import numpy as np

from jaxct import io
from jaxct.cli.reconstruct import describe_grid, run_iterations
from jaxct.cli.report import Report
from jaxct.geometry import VolumeGrid
from jaxct.projection import Projector
from jaxct.reconstruct import fbp, mltr

if TYPE_CHECKING:
    from jaxct.cli._pet_reconstruct import Request

_METHODS = ("mltr", "fbp")
_TAKES: dict[str, tuple[str, ...]] = {
    "iters": ("mltr",),
    "subsets": ("mltr",),
    "tolerance": ("mltr",),
    "checkpoint": ("mltr",),
    "window": _METHODS,
    "model": (),
    "scanner": (),
    "psf": (),
    "attenuation": (),
    "normalisation": (),
    "randoms": (),
    "scatter": (),
    "prior": (),
    "prior_image": (),
    "prior_weight": (),
}
_FLOOR = 0.5  # counts that no counts stand for in a logarithm
_SUBSETS = 8


def reconstruct_transmission(request: "Request", report: Report) -> tuple[str, np.ndarray, VolumeGrid, bool]:
    """The method, attenuation per mm, its grid, and whether it is finished."""
    from jaxct.cli._pet_reconstruct import check_takes, choose_grid

    method = request.method or "mltr"
    if method not in _METHODS:
        raise ValueError(f"--method: {method} is for emission scans; expected {', '.join(_METHODS)}")
    check_takes(request, method, _TAKES)
    if request.list_mode.given():
        raise ValueError(f"{', '.join(request.list_mode.given())}: for list mode of Siemens")
    if request.blank is None:
        raise ValueError("--blank: a transmission scan (.mat) needs its blank scan")
    with report.stage(f"read {request.scan.name}"):
        scan = io.read_transmission(request.scan, request.blank, request.description)
    grid = choose_grid(request, io.suggest_grid(scan.geometry))
    report.line(f"grid {describe_grid(grid)}")
    with report.stage("FBP"):
        lines = -np.log(np.maximum(scan.transmission, _FLOOR) / np.maximum(scan.blank, _FLOOR))
        first = np.asarray(fbp(lines, scan.geometry, grid, window=request.window or "hann"))
    if method == "fbp":
        return method, first, grid, True
    iters = request.iters or 5
    subsets = min(request.subsets or _SUBSETS, len(scan.transmission))
    A = Projector(scan.geometry, grid)  # noqa: N806
    volume, done = run_iterations(
        lambda loop: mltr(
            A, scan.transmission, blank=scan.blank, num_iters=iters, init=first, num_subsets=subsets, **loop
        ),
        method,
        iters,
        request.tolerance,
        request.checkpoint,
        report,
    )
    return method, volume, grid, done
