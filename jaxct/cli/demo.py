"""``jaxct demo``: the bundled walnut, reconstructed with FDK and CGLS."""

from pathlib import Path
from typing import cast

import jax
import numpy as np

from jaxct import io
from jaxct.cli import INTERRUPTED
from jaxct.cli.report import Report
from jaxct.geometry import ConeBeam, VolumeGrid
from jaxct.plot import save_slices
from jaxct.projection import Projector
from jaxct.reconstruct import fdk
from jaxct.reconstruct.cgls import cgls


def run_demo(folder: Path, iters: int, *, quiet: bool = False) -> int:
    """Reconstruct the walnut and write ``walnut.png``, ``walnut_fdk.nii.gz`` and ``walnut_cgls.nii.gz``.

    Ctrl-C during CGLS ends it early; what there is by then is written. Returns the exit code.
    """
    report = Report(quiet)
    folder.mkdir(parents=True, exist_ok=True)
    scan = io.open_scan(io.WALNUT)
    report.line(
        f"{scan.title}: {scan.geometry.num_views} views of {' x '.join(map(str, scan.geometry.detector_shape))}"
    )
    grid = scan.grid or io.suggest_grid(scan.geometry)
    projections = scan.line_integrals().values
    with report.stage("FDK"):
        analytic = np.asarray(fdk(projections, cast(ConeBeam, scan.geometry), grid, window="shepp-logan"))
    with report.stage(f"CGLS, {iters} iterations", spinner=False):
        operator = Projector(scan.geometry, grid)
        result = cgls(operator, projections, num_iters=iters, progress=not quiet)
    done = len(result.history["residual_norm"])
    volumes = {"FDK": analytic}
    if done:
        volumes[f"CGLS, {done} iterations"] = np.asarray(result.volume)
    if done < iters:
        report.line(f"interrupted after {done} iterations; what is done is written")
    with report.stage("write pictures and volumes"):
        _write(folder, volumes, grid, scan)
    report.total()
    report.line(f"on {jax.devices()[0].platform.upper()}; results in {folder}/")
    return 0 if done == iters else INTERRUPTED


def _write(folder: Path, volumes: dict[str, np.ndarray], grid: VolumeGrid, scan: io.Scan) -> None:
    caption = f"Data: {scan.attribution} ({scan.licence})"
    for name, volume in volumes.items():
        stem = name.split(",")[0].lower()
        io.save_volume(folder / f"walnut_{stem}.nii.gz", volume, grid, description=f"walnut, {name}; {scan.licence}")
    save_slices(folder / "walnut.png", volumes, grid, title=scan.title, caption=caption)
