"""The commands and their options. What they do is imported when they run, so that ``--help`` stays quick."""

from pathlib import Path
from typing import Annotated

import typer

from jaxct.cli.pet import pet

app = typer.Typer(
    name="jaxct",
    help="Tomographic reconstruction with JAX.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(pet)

_SCAN = typer.Argument(metavar="SCAN", help="A scan: jaxct's HDF5, APS Data Exchange HDF5, Helsinki .mat.")


def _show_version(wanted: bool) -> None:
    if wanted:
        from jaxct import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _common(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Tomographic reconstruction with JAX."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path("demo"),
    iters: Annotated[int, typer.Option(min=1, help="Iterations of CGLS.")] = 20,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Reconstruct the bundled measured walnut."""
    from jaxct.cli.demo import run_demo

    raise typer.Exit(run_demo(output, iters, quiet=quiet))


@app.command()
def info(scan: Annotated[Path, _SCAN]) -> None:
    """Tell what is in a scan: geometry, numbers, licence."""
    from jaxct.cli.info import describe

    for line in describe(scan):
        typer.echo(line)


@app.command()
def reconstruct(
    scan: Annotated[Path, _SCAN],
    output: Annotated[Path, typer.Option("--output", "-o", help="Volume: .nii, .nii.gz, .tif, .h5 or .npy.")],
    method: Annotated[
        str,
        typer.Option(
            help="fdk or fbp, the default for cone beams and for others; cgls, lsqr, lsmr, landweber, sirt, sart, "
            "os-sart, tv, spdhg, admm-tv (total variation too), dip."
        ),
    ] = "",
    voxel_size: Annotated[float | None, typer.Option(help="Voxel size in mm.")] = None,
    shape: Annotated[
        str,
        typer.Option(
            metavar="Z,Y,X", help="Voxels along each axis (2-D: Y,X); their size stays unless it is given too."
        ),
    ] = "",
    window: Annotated[str, typer.Option(help="ram-lak, shepp-logan, cosine, hamming or hann.")] = "",
    cutoff: Annotated[float, typer.Option(help="Cut-off of the window, a fraction of Nyquist.")] = 1.0,
    short_scan: Annotated[bool, typer.Option("--short-scan", help="Weights for less than a full turn.")] = False,
    limited_angle: Annotated[
        bool, typer.Option("--limited-angle", help="Take less than a short scan for what it is.")
    ] = False,
    iters: Annotated[
        int | None,
        typer.Option(
            min=1, help="Iterations of iterative methods: by default 20, of dip (slow: minutes to hours) 500."
        ),
    ] = None,
    damping: Annotated[float | None, typer.Option(min=0, help="Tikhonov weight of cgls, lsqr and lsmr.")] = None,
    relaxation: Annotated[float | None, typer.Option(help="Of landweber, sirt and sart: above 0, below 2.")] = None,
    tv_weight: Annotated[
        float | None,
        typer.Option(min=0, help="Weight of total variation; 1 leaves a constant image, 1e-4 to 1e-2 is usual."),
    ] = None,
    subsets: Annotated[int | None, typer.Option(min=1, help="Subsets of the views.")] = None,
    non_negative: Annotated[bool, typer.Option("--non-negative", help="No negative attenuation.")] = False,
    tolerance: Annotated[
        float | None, typer.Option(help="Stop when an iteration changes the volume by less than this part of it.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints: the same command goes on where it was killed.")
    ] = None,
    model: Annotated[
        str,
        typer.Option(help="Projector of iterative methods: siddon, joseph, distance_driven or separable_footprint."),
    ] = "separable_footprint",
    axis_offset: Annotated[
        str, typer.Option(metavar="auto|PX", help="Column offset of the detector in pixels; auto finds it.")
    ] = "",
    views: Annotated[str, typer.Option(metavar="A:B:STEP", help="Views to use, as a Python slice.")] = "",
    background: Annotated[
        str, typer.Option(metavar="ROWS,COLS", help="Detector region of air, as Python slices: 0:25,0:20.")
    ] = "",
    picture: Annotated[Path | None, typer.Option(help="Also draw orthogonal slices: .png, .pdf, .svg.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Reconstruct a scan into a volume."""
    from jaxct.cli.methods import Settings
    from jaxct.cli.reconstruct import Request, reconstruct_scan

    request = Request(
        scan=scan,
        output=output,
        method=method,
        voxel_size=voxel_size,
        shape=shape,
        window=window,
        cutoff=cutoff,
        short_scan=short_scan,
        limited_angle=limited_angle,
        iters=iters,
        settings=Settings(damping, relaxation, tv_weight, subsets, non_negative or None),
        tolerance=tolerance,
        checkpoint=checkpoint,
        model=model,
        axis_offset=axis_offset,
        views=views,
        background=background,
        picture=picture,
        quiet=quiet,
    )
    raise typer.Exit(reconstruct_scan(request))
