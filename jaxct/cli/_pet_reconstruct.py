"""``jaxct pet reconstruct``: a PET file into a volume."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxct import io
from jaxct.cli import INTERRUPTED, _pet_solvers
from jaxct.cli._pet_fbp import parallel_sinograms
from jaxct.cli._pet_randoms import expected_randoms
from jaxct.cli._pet_scan import Emission, ListModeChoice, open_emission, read_sinograms, read_volume
from jaxct.cli._pet_scatter import check_scatter, expected_scatter
from jaxct.cli.reconstruct import describe_grid, run_iterations
from jaxct.cli.report import Report
from jaxct.filters import WINDOWS
from jaxct.geometry import VolumeGrid
from jaxct.io.volume import check_ending
from jaxct.operators import Diagonal, GaussianBlur, fwhm_to_sigma
from jaxct.pet import physics
from jaxct.projection import Projector
from jaxct.reconstruct import fbp

EMISSION_METHODS = (*_pet_solvers.METHODS, "fbp")
TRANSMISSION_METHODS = ("mltr", "fbp")
MODELS = ("joseph", "siddon", "multi_ray", "distance_driven")
# Attenuation above this, per mm, is one per cm: bone has 0.017, and steel 0.06.
_MOST_ATTENUATION = 0.07


@dataclasses.dataclass(frozen=True)
class Request:
    """The options of the command, as typed."""

    scan: Path
    output: Path
    method: str = ""
    iters: int | None = None
    subsets: int | None = None
    scanner: str = ""
    grid: Path | None = None
    voxel_size: str = ""
    shape: str = ""
    model: str = ""
    psf: float | None = None
    attenuation: Path | None = None
    normalisation: Path | None = None
    randoms: str = ""
    scatter: bool = False
    prior: str = ""
    prior_image: Path | None = None
    prior_weight: float | None = None
    window: str = ""
    post_filter: float | None = None
    list_mode: ListModeChoice = dataclasses.field(default_factory=ListModeChoice)
    blank: Path | None = None
    description: Path | None = None
    tolerance: float | None = None
    checkpoint: Path | None = None
    picture: Path | None = None
    quiet: bool = False


def reconstruct_pet(request: Request) -> int:
    """Read, reconstruct, write. Returns the exit code."""
    report = Report(request.quiet)
    _check_outputs(request)
    _check_choices(request)
    if request.blank is not None or request.scan.suffix.lower() == ".mat":
        from jaxct.cli._pet_transmission import reconstruct_transmission

        method, volume, grid, done = reconstruct_transmission(request, report)
    else:
        method, volume, grid, done = _reconstruct_emission(request, report)
    if request.post_filter:
        volume = np.asarray(GaussianBlur(grid, fwhm_to_sigma(request.post_filter))(volume))
    with report.stage(f"write {request.output.name}"):
        io.save_volume(request.output, volume, grid, description=f"{request.scan.name}; jaxct {method}")
    if request.picture is not None:
        with report.stage(f"draw {request.picture.name}"):
            _draw(request.picture, volume, grid, method, request.scan.name)
    report.total()
    return 0 if done else INTERRUPTED


def _draw(path: Path, volume: np.ndarray, grid: VolumeGrid, method: str, title: str) -> None:
    from jaxct.plot import plot_slices

    figure = plot_slices({method.upper(): volume}, grid, title=title)
    if method in _ITERATIVE or volume.ndim == 3:
        figure.axes[-1].set_ylabel("counts per mm of line", color="w", fontsize=8)
    figure.savefig(path, facecolor=figure.get_facecolor())


def _check_outputs(request: Request) -> None:
    check_ending(request.output)
    if request.picture is not None and request.picture.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise ValueError(f"--picture: expected a name ending in .png, .pdf or .svg, got {request.picture.name!r}")
    for option, path in (("--output", request.output), ("--picture", request.picture)):
        if path is not None and not path.parent.is_dir():
            raise ValueError(f"{option}: no such folder: {path.parent}")
        if path is not None and path.exists() and request.scan.exists() and path.samefile(request.scan):
            raise ValueError(f"{option}: would overwrite the scan {path}")
    for option, path in (
        ("FILE", request.scan),
        ("--grid", request.grid),
        ("--attenuation", request.attenuation),
        ("--normalisation", request.normalisation),
        ("--prior-image", request.prior_image),
        ("--blank", request.blank),
        ("--description", request.description),
    ):
        if path is not None and not path.exists():
            raise FileNotFoundError(f"{option}: no such file: {path}")


def _check_choices(request: Request) -> None:
    for option, value, known in (
        ("--method", request.method, tuple(dict.fromkeys(EMISSION_METHODS + TRANSMISSION_METHODS))),
        ("--model", request.model, MODELS),
        ("--window", request.window, tuple(WINDOWS)),
        ("--prior", request.prior, _pet_solvers.PRIORS),
    ):
        if value and value not in known:
            raise ValueError(f"{option}: expected one of {', '.join(known)}, got {value!r}")
    for option, length in (("--psf", request.psf), ("--post-filter", request.post_filter)):
        if length is not None and not 0 <= length < 1000:
            raise ValueError(f"{option}: expected a length in mm, got {length}")
    if request.scatter and request.attenuation is None:
        raise ValueError("--scatter: needs --attenuation, a map of what scatters")
    if request.grid is not None and (request.voxel_size or request.shape):
        raise ValueError("--grid: the file has voxel size and shape; leave --voxel-size and --shape out")


def check_takes(request: Request, method: str, takes: dict[str, tuple[str, ...]]) -> None:
    """An option that a method does not know would otherwise be ignored.

    Args:
        request: as typed.
        method: that is run.
        takes: for each option, by its name in the request, the methods that take it.
    """
    for name, methods in takes.items():
        given = getattr(request, name)
        if given and method not in methods:
            option = "--iters" if name == "iters" else f"--{name.replace('_', '-')}"
            raise ValueError(f"{option}: for {', '.join(methods) or 'emission scans'}, not for {method}")


_ITERATIVE = _pet_solvers.METHODS
_TAKES = {
    "iters": _ITERATIVE,
    "subsets": _pet_solvers.BY_SUBSETS,
    "model": _ITERATIVE,
    "psf": _ITERATIVE,
    "prior": _pet_solvers.PENALISED,
    "prior_weight": (*_pet_solvers.PENALISED, "dictionary"),
    "tolerance": _ITERATIVE,
    "checkpoint": _ITERATIVE,
    "window": ("fbp",),
    "blank": (),
    "description": (),
}


def _reconstruct_emission(request: Request, report: Report) -> tuple[str, np.ndarray, VolumeGrid, bool]:
    method = request.method or "osem"
    if method not in EMISSION_METHODS:
        raise ValueError(f"--method: {method} is for transmission scans; expected {', '.join(EMISSION_METHODS)}")
    check_takes(request, method, _TAKES)
    _pet_solvers.check_prior(request, method)
    scan, grid = _opened(request, method, report)
    prior_image = None if request.prior_image is None else _pet_solvers.read_prior_image(request.prior_image, grid)
    system = _system(request, scan, grid, report)
    if method == "fbp":
        with report.stage("FBP"):
            sinograms, beam = parallel_sinograms(scan, system.factors, system.background)
            image = fbp(sinograms, beam, grid, window=request.window or "hann")
            return method, np.asarray(image), grid, True
    sensitivity = _sensitivity(request, scan, grid, report)
    problem = _pet_solvers.Problem(system.operator, scan.data, grid, system.background, sensitivity, prior_image)
    with report.stage(f"prepare {method}"):
        solve = _pet_solvers.solver(request, method, problem)
    iters = _pet_solvers.num_iters(request, method)
    volume, done = run_iterations(solve, method, iters, request.tolerance, request.checkpoint, report)
    return method, volume, grid, done


def _opened(request: Request, method: str, report: Report) -> tuple[Emission, VolumeGrid]:
    """The scan and the image's grid, if they go with the other options."""
    with report.stage(f"read {request.scan.name}"):
        scan = open_emission(request.scan, request.scanner, request.list_mode)
    report.line(scan.name)
    for note in scan.notes:
        report.line(f"  {note}")
    # FBP is linear, and takes what a correction has left.
    negative = np.count_nonzero(scan.data < 0)
    if negative and method != "fbp":
        report.line(f"  {negative} negative values were set to 0")
        scan = dataclasses.replace(scan, data=np.maximum(scan.data, 0))
    grid = choose_grid(request, scan.grid)
    report.line(f"grid {describe_grid(grid)}")
    _check_fit(scan, grid, report)
    if request.model in ("multi_ray", "distance_driven") and not scan.lors.has_widths:
        raise ValueError(
            f"--model: {request.model} needs the widths of crystals, which --scanner knows; joseph does not"
        )
    _pet_solvers.check_data(request, method, len(scan.data), events=scan.sensitivity is not None)
    if request.scatter:
        check_scatter(scan)
    return scan, grid


class _System(NamedTuple):
    """The operator, what its lines are worth, and what is expected besides the image."""

    operator: Any
    factors: tuple[np.ndarray, ...]
    background: np.ndarray | None


def _system(request: Request, scan: Emission, grid: VolumeGrid, report: Report) -> _System:
    mu, worth = _attenuation(request, scan), _worth(request, scan)
    background = _randoms(request, scan, report)
    if mu is None:
        return _System(_operator(request, scan, grid, worth), worth, background)
    through = _attenuation_factors(scan, *mu, report)
    factors = (*worth, through)
    operator = _operator(request, scan, grid, factors)
    if request.scatter:
        scatter = expected_scatter(scan, operator, grid, *mu, worth, through, background, report)
        background = scatter if background is None else background + scatter
    return _System(operator, factors, background)


def _sensitivity(request: Request, scan: Emission, grid: VolumeGrid, report: Report) -> jax.Array | None:
    """Of events; None of sinograms, whose system knows it."""
    if scan.sensitivity is None:
        return None
    with report.stage("sensitivity"):
        found = jax.block_until_ready(scan.sensitivity(grid, request.model or "joseph"))
    return GaussianBlur(grid, fwhm_to_sigma(request.psf))(found) if request.psf else found


def choose_grid(request: Request, usual: VolumeGrid) -> VolumeGrid:
    """The grid that the options ask for; without ``--shape`` it covers what the usual one does."""
    if request.grid is not None:
        return read_volume(request.grid, "--grid")[1]
    axes = usual.ndim
    sizes = np.asarray(usual.voxel_size, np.float64)
    if request.voxel_size:
        given = _numbers("--voxel-size", request.voxel_size, axes, float)
        sizes_wanted = np.broadcast_to(given, axes)
    else:
        sizes_wanted = sizes
    if request.shape:
        shape = tuple(int(n) for n in _numbers("--shape", request.shape, axes, int, exact=True))
    else:
        shape = tuple(int(np.ceil(n - 1e-3)) for n in np.asarray(usual.shape) * sizes / sizes_wanted)
    return VolumeGrid(shape, voxel_size=tuple(sizes_wanted.tolist()), center=usual.center)


def _numbers(option: str, text: str, axes: int, kind: Callable, exact: bool = False) -> np.ndarray:
    try:
        values = np.array([kind(part) for part in text.split(",")])
    except ValueError:
        values = np.zeros(0)
    if len(values) not in ((axes,) if exact else (1, axes)) or not (values > 0).all() or not np.isfinite(values).all():
        wanted = "Z,Y,X" if axes == 3 else "Y,X"
        raise ValueError(f"{option}: expected {wanted if exact else f'one number or {wanted}'}, positive, got {text!r}")
    return values


def _check_fit(scan: Emission, grid: VolumeGrid, report: Report) -> None:
    if scan.scanner is None:
        return
    fit = scan.scanner.check_grid(grid)
    if fit.inside_bore == 0:
        raise ValueError(f"--grid: {fit.problems[0]}")
    for problem in fit.problems:
        report.line(f"  problem: {problem}")


def _worth(request: Request, scan: Emission) -> tuple[np.ndarray, ...]:
    """What lines are worth beside attenuation: pairs of crystals, efficiencies."""
    if request.normalisation is None:
        return scan.factors
    return (*scan.factors, _beside(request.normalisation, "--normalisation", scan))


def _attenuation(request: Request, scan: Emission) -> tuple[np.ndarray, VolumeGrid] | None:
    """The map and its grid."""
    if request.attenuation is None:
        return None
    if scan.sensitivity is not None:
        raise ValueError("--attenuation: not for single events, whose sensitivity is made without it")
    mu, grid = read_volume(request.attenuation, "--attenuation")
    if mu.min() < 0 or np.percentile(mu, 99.9) > _MOST_ATTENUATION:
        raise ValueError(
            f"--attenuation: expected attenuation at 511 keV in 1/mm (water: 0.0096), got {mu.min():.4g} to "
            f"{mu.max():.4g}"
        )
    return mu, grid


def _attenuation_factors(scan: Emission, mu: np.ndarray, grid: VolumeGrid, report: Report) -> np.ndarray:
    with report.stage("attenuation"):
        lines = Projector(dataclasses.replace(scan.lors, tof=None), grid)  # type: ignore[type-var]
        values = np.asarray(physics.attenuation_factors(lines, mu))
    return values if scan.lors.tof is None else values[..., None]


def _randoms(request: Request, scan: Emission, report: Report) -> np.ndarray | None:
    if not request.randoms:
        return None
    if request.randoms == "delayeds":
        if scan.delayeds is None or scan.layout is None:
            raise ValueError("--randoms: delayeds are in list mode of Siemens alone; give a sinogram's file")
        if not scan.delayeds.any():
            raise ValueError("--randoms: there are no delayeds")
        with report.stage("randoms from delayeds"):
            return expected_randoms(scan.delayeds, scan.layout)
    path = Path(request.randoms)
    if not path.is_file():
        raise FileNotFoundError(f"--randoms: expected 'delayeds' or a file of sinograms, no such file: {path}")
    return _beside(path, "--randoms", scan)


def _beside(path: Path, option: str, scan: Emission) -> np.ndarray:
    """Another sinogram of the scan, in the order of its planes."""
    values, header = read_sinograms(path, option)
    if scan.sensitivity is not None:
        raise ValueError(f"{option}: for sinograms, not for single events")
    if scan.layout is not None:
        planes = scan.layout.planes_of_segments(header.min_ring_difference, header.max_ring_difference)
        values = values[:, np.argsort(planes)] if len(planes) == values.shape[1] else values
    if values.shape == scan.data.shape[:3] and scan.data.ndim == 4:
        values = values[..., None] / (scan.data.shape[3] if option == "--randoms" else 1)
    if values.shape[:3] != scan.data.shape[:3]:
        raise ValueError(f"{option}: expected sinograms of shape {scan.data.shape}, got {values.shape}")
    if (values < 0).any():
        raise ValueError(f"{option}: expected values that are not negative, got {values.min():.4g}")
    return values


def _operator(request: Request, scan: Emission, grid: VolumeGrid, factors: tuple[np.ndarray, ...]) -> Any:
    operator: Any = Projector(scan.lors, grid, model=request.model or "joseph")
    for factor in factors:
        operator = Diagonal(factor, scan.data.shape) @ operator
    return operator @ GaussianBlur(grid, fwhm_to_sigma(request.psf)) if request.psf else operator
