"""Scatter of a scan by simulation, for the command line."""

from typing import Any

import numpy as np

from jaxct.cli._pet_scan import Emission
from jaxct.cli._pet_solvers import usual_subsets
from jaxct.cli.report import Report
from jaxct.geometry import VolumeGrid
from jaxct.pet import physics
from jaxct.pet.scatter import fit_tails, scatter_points, scatter_sinogram
from jaxct.projection import forward_project
from jaxct.reconstruct import osem

_ROUNDS = 2  # the first image has the scatter still in it
_PASSES = 2
_BLOCK = 20.0  # mm, of the object that scatters as one point
_SPACING = 15.0  # mm, from one line that is simulated to the next
_VIEWS = 32  # that are simulated
_LARGE = 300.0  # mm, radius of a scanner from which on these lengths hold; they shrink with smaller ones
_TAIL = 0.98  # of photons get through: such rays miss the object


def check_scatter(scan: Emission) -> None:
    """What a simulation needs to know of the scan."""
    if scan.sensitivity is not None or scan.lors.tof is not None:
        raise ValueError("--scatter: for sinograms without time of flight")
    if scan.layout is None:
        raise ValueError("--scatter: needs crystals, which --scanner knows")


def expected_scatter(
    scan: Emission,
    A: Any,  # noqa: N803
    grid: VolumeGrid,
    mu: np.ndarray,
    mu_grid: VolumeGrid,
    worth: tuple[np.ndarray, ...],
    through: np.ndarray,
    randoms: np.ndarray | None,
    report: Report,
) -> np.ndarray:
    """Single scatter of an image that is reconstructed with it, one factor for all of it fitted to the tails.

    Args:
        scan: sinograms.
        A: the whole system, attenuation and all.
        grid: of the image.
        mu, mu_grid: attenuation at 511 keV.
        worth: factors of lines, beside attenuation.
        through: attenuation factors, of the sinogram's shape.
        randoms: expected, or None.
        report: told the share of scatter.
    """
    layout, scanner = scan.layout, scan.scanner
    assert layout is not None
    assert scanner is not None, "layouts have one"
    dense = np.asarray(physics.resample(mu, mu_grid, grid))
    if not dense.max() > 0:
        raise ValueError("--scatter: the map of the attenuation shows nothing where the image is to be")
    scale = min(1.0, scanner.effective_radius / _LARGE)
    block = [max(1, round(scale * _BLOCK / size)) for size in np.asarray(grid.voxel_size).tolist()]
    points = scatter_points(dense, grid, block=block)
    pitch = np.pi * scanner.effective_radius / scanner.num_crystals
    bins = max(1, round(scale * _SPACING / pitch))
    options: dict[str, Any] = {"spacing": (max(1, layout.num_views // _VIEWS), scale * _SPACING, bins)}
    if scanner.energy_window is not None:
        options["energy_window"] = scanner.energy_window
    if scanner.energy_resolution is not None:
        options["energy_resolution"] = scanner.energy_resolution
    lines = np.ones(layout.shape, np.float32)
    for factors in worth:
        lines = lines * factors
    # Of what lies beside the map nobody knows whether it is empty.
    seen = np.asarray(forward_project(np.ones(mu_grid.shape, np.float32), layout.lors(tof=False), mu_grid)) > 0
    tails = seen & (through > _TAIL) & (lines > 0)
    others = 0.0 if randoms is None else randoms
    scatter, factor = np.zeros(layout.shape, np.float32), 1.0
    with report.stage("scatter"):
        for _ in range(_ROUNDS):
            subsets = usual_subsets(len(scan.data))
            activity = osem(A, scan.data, num_iters=_PASSES, num_subsets=subsets, background=others + scatter).volume
            simulated = lines * np.asarray(scatter_sinogram(activity, dense, grid, layout, points=points, **options))
            factor = float(fit_tails(scan.data, simulated, tails, background=others, axis=(0, 1, 2)).squeeze())
            scatter = factor * simulated
    share = scatter.sum(dtype=np.float64) / max(scan.data.sum(dtype=np.float64), 1)
    fitted = (
        f"{factor:.2f} of what was simulated" if tails.any() else "as simulated: no line of the map misses the object"
    )
    report.line(f"  scatter: {share:.0%} of the counts, {fitted}")
    return scatter
