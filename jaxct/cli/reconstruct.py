"""``jaxct reconstruct``: a scan into a volume."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxct import io
from jaxct.cli import INTERRUPTED
from jaxct.cli.methods import METHODS, Settings
from jaxct.cli.options import parse_axis_offset, parse_region, parse_shape, parse_slice
from jaxct.cli.report import Report
from jaxct.filters import WINDOWS
from jaxct.geometry import ConeBeam, FanBeam, Geometry, ParallelBeam, VolumeGrid
from jaxct.io.volume import check_ending
from jaxct.linear import PROJECTOR_MODELS
from jaxct.projection import Projector
from jaxct.reconstruct import LoopOptions, Result, fbp, fdk, stopping

_FBP_BEAMS = (ParallelBeam, FanBeam)
_METHODS = ("fdk", "fbp", *METHODS)


@dataclasses.dataclass(frozen=True)
class Request:
    """The options of the command, as typed."""

    scan: Path
    output: Path
    method: str = ""
    voxel_size: float | None = None
    shape: str = ""
    window: str = ""
    cutoff: float = 1.0
    short_scan: bool = False
    limited_angle: bool = False
    iters: int | None = None
    settings: Settings = dataclasses.field(default_factory=Settings)
    tolerance: float | None = None
    checkpoint: Path | None = None
    model: str = "separable_footprint"
    axis_offset: str = ""
    views: str = ""
    background: str = ""
    picture: Path | None = None
    quiet: bool = False


def reconstruct_scan(request: Request) -> int:
    """Read, prepare, reconstruct, write. Returns the exit code."""
    report = Report(request.quiet)
    _check_outputs(request)
    _check_choices(request)
    scan = _open(request)
    method = _method(request, scan.geometry)
    grid = _grid(request, scan)
    with report.stage(f"read {request.scan.name}"):
        region = parse_region(request.background, scan.geometry.ndim - 1)
        integrals = scan.line_integrals(background=region)
        projections = jax.block_until_ready(integrals.values)
    if int(integrals.num_guarded):
        share = 100 * int(integrals.num_guarded) / projections.size
        report.line(f"{int(integrals.num_guarded)} samples ({share:.2g} %) without signal were set to the floor")
    geometry = _geometry(request, scan, projections, report)
    report.line(f"grid {describe_grid(grid)}")
    volume, done = _reconstruct(request, method, projections, geometry, grid, report)
    with report.stage(f"write {request.output.name}"):
        io.save_volume(request.output, volume, grid, description=f"{scan.title}; jaxct {method}".strip("; "))
    if request.picture is not None:
        from jaxct.plot import save_slices

        with report.stage(f"draw {request.picture.name}"):
            caption = "  ".join(filter(None, (scan.attribution, scan.licence)))
            save_slices(request.picture, {method.upper(): volume}, grid, title=scan.title, caption=caption)
    report.total()
    return 0 if done else INTERRUPTED


def _open(request: Request) -> io.Scan:
    if not request.views:
        return io.open_scan(request.scan)
    try:
        return io.open_scan(request.scan, views=parse_slice("--views", request.views))
    except IndexError as error:
        raise ValueError(f"--views: {error}") from error


def _check_outputs(request: Request) -> None:
    """Everything that would fail after the reconstruction, before it."""
    check_ending(request.output)
    if request.picture is not None and request.picture.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise ValueError(f"--picture: expected a name ending in .png, .pdf or .svg, got {request.picture.name!r}")
    for option, path in (("--output", request.output), ("--picture", request.picture)):
        if path is not None and not path.parent.is_dir():
            raise ValueError(f"{option}: no such folder: {path.parent}")
        if path is not None and path.exists() and request.scan.exists() and path.samefile(request.scan):
            raise ValueError(f"{option}: would overwrite the scan {path}")


def _check_choices(request: Request) -> None:
    choices = {
        "--method": (request.method, _METHODS),
        "--window": (request.window, tuple(WINDOWS)),
        "--model": (request.model, PROJECTOR_MODELS),
    }
    for option, (value, known) in choices.items():
        if value and value not in known:
            raise ValueError(f"{option}: expected one of {', '.join(known)}, got {value!r}")


def _method(request: Request, geometry: Geometry) -> str:
    name = request.method
    analytic = {
        "--window": request.window,
        "--short-scan": request.short_scan,
        "--limited-angle": request.limited_angle,
    }
    given = [option for option, value in analytic.items() if value]
    if name in METHODS and given:
        raise ValueError(f"{', '.join(given)}: for fdk and fbp, not for {name}")
    suited = "fdk" if isinstance(geometry, ConeBeam) else "fbp" if isinstance(geometry, _FBP_BEAMS) else "cgls"
    if name not in ("", *METHODS, suited):
        raise ValueError(f"--method: {name} is not for a {type(geometry).__name__}; {suited} is")
    _check_settings(request, name or suited)
    return name or suited


def _check_settings(request: Request, method: str) -> None:
    """An option that a method does not know would otherwise be ignored."""
    takes = (*METHODS[method].takes, "iters", "tolerance", "checkpoint") if method in METHODS else ()
    given = dict(
        request.settings.given(), iters=request.iters, tolerance=request.tolerance, checkpoint=request.checkpoint
    )
    for name, value in given.items():
        if value is not None and name not in takes:
            option = f"--{name.replace('_', '-')}"
            suited = [m for m, known in METHODS.items() if name in (*known.takes, "iters", "tolerance", "checkpoint")]
            raise ValueError(f"{option}: for {', '.join(suited)}, not for {method}")


def _grid(request: Request, scan: io.Scan) -> VolumeGrid:
    shape = parse_shape(request.shape, scan.geometry.ndim)
    if request.voxel_size is not None and not request.voxel_size > 0:
        raise ValueError(f"--voxel-size: expected a positive length in mm, got {request.voxel_size}")
    if scan.grid is not None and shape is None and request.voxel_size is None:
        return scan.grid
    return io.suggest_grid(scan.geometry, voxel_size=request.voxel_size, shape=shape)


def describe_grid(grid: VolumeGrid) -> str:
    """Voxels, their size and the size of all, in words."""
    sizes = np.asarray(grid.voxel_size)
    extents = " x ".join(f"{n * d:.4g}" for n, d in zip(grid.shape, sizes, strict=True))
    voxel = f"{sizes[0]:.4g}" if np.ptp(sizes) == 0 else " x ".join(f"{d:.4g}" for d in sizes)
    return f"{' x '.join(map(str, grid.shape))} voxels of {voxel} mm: {extents} mm"


def _geometry(request: Request, scan: io.Scan, projections: jax.Array, report: Report) -> Geometry:
    if not request.axis_offset:
        return scan.geometry
    offset = parse_axis_offset(request.axis_offset)
    if offset is None:
        with report.stage("find the rotation axis"):
            offset = io.find_axis_offset(projections, scan.geometry)
        column = (scan.geometry.detector_shape[-1] - 1) / 2 - offset
        report.line(f"rotation axis at column {column:.2f} (offset {offset:+.2f} pixels)")
    return io.with_axis_offset(scan.geometry, offset)


def _reconstruct(
    request: Request, method: str, projections: jax.Array, geometry: Geometry, grid: VolumeGrid, report: Report
) -> tuple[np.ndarray, bool]:
    """The volume, and whether it is finished (Ctrl-C leaves what iterations there are)."""
    if method in METHODS:
        return _iterative(request, method, projections, geometry, grid, report)
    options: dict[str, Any] = {"cutoff": request.cutoff}
    if request.short_scan:
        options["short_scan"] = True
    if request.limited_angle:
        options["limited_angle"] = True
    if request.window:
        options["window"] = request.window
    analytic: Callable = fdk if method == "fdk" else fbp
    try:
        with report.stage(method.upper()):
            return np.asarray(analytic(projections, geometry, grid, **options)), True
    except ValueError as error:
        words = str(error).replace("short_scan=True", "--short-scan").replace("limited_angle=True", "--limited-angle")
        raise ValueError(words) from error


def _iterative(
    request: Request, method: str, projections: jax.Array, geometry: Geometry, grid: VolumeGrid, report: Report
) -> tuple[np.ndarray, bool]:
    operator = Projector(geometry, grid, model=request.model)
    iters = request.iters or METHODS[method].iters

    def solve(loop: LoopOptions) -> Result:
        return METHODS[method](operator, projections, request.settings, num_iters=iters, loop=loop)

    return run_iterations(solve, method, iters, request.tolerance, request.checkpoint, report)


def run_iterations(
    solve: Callable[[LoopOptions], Result],
    method: str,
    iters: int,
    tolerance: float | None,
    checkpoint: Path | None,
    report: Report,
) -> tuple[np.ndarray, bool]:
    """The volume of an iterative method, and whether it is finished: Ctrl-C leaves the last whole iterate.

    Raises:
        KeyboardInterrupt: where there is none yet.
    """
    stopped = False

    def stop(previous: Any, state: Any, record: dict[str, float]) -> bool:
        nonlocal stopped
        assert rule is not None
        stopped = bool(rule(previous, state, record))
        return stopped

    rule = None if tolerance is None else stopping.relative_change(tolerance)
    loop: LoopOptions = {
        "progress": not report.quiet,
        "stop": None if rule is None else stop,
        "checkpoint": checkpoint,
    }
    with report.stage(f"{method.upper()}, {iters} iterations", spinner=False):
        result = solve(loop)
    done = len(next(iter(result.history.values())))
    if done == 0:
        raise KeyboardInterrupt
    finished = stopped or done == iters
    if stopped:
        report.line(f"stopped after {done} iterations, which change little any more")
    elif not finished:
        report.line(f"interrupted after {done} iterations; the volume as it stands is kept")
    return np.asarray(result.volume), finished
