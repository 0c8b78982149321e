"""``jaxct pet``: the commands for PET and their options. What they do is imported when they run."""

from pathlib import Path
from typing import Annotated

import typer

pet = typer.Typer(
    name="pet",
    help="PET: sinograms and list mode into images.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
)

_SCANNERS = "ge-discovery-690, ge-discovery-mi, siemens-mmr or siemens-mct; found from the file where it can be."
_Scanner = Annotated[str, typer.Option(help=_SCANNERS)]
_Span = Annotated[int | None, typer.Option(min=1, help="List mode: axial compression, the vendor's by default.")]
_Frame = Annotated[str, typer.Option(metavar="A:B", help="List mode: only from A to B, in seconds.")]
_SingleSlice = Annotated[bool, typer.Option("--single-slice", help="List mode: all planes into direct ones.")]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]


@pet.command()
def info(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Sinograms, list mode, PETSIRD, or a volume.")],
) -> None:
    """Tell what is in a PET file; of a volume, which scanner it fits."""
    from jaxct.cli._pet_info import describe

    for line in describe(file):
        typer.echo(line)


@pet.command()
def histogram(
    scan: Annotated[Path, typer.Argument(metavar="FILE", help="Siemens list mode (.l), or its header.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Prompts, as Interfile sinograms: .hs.")],
    randoms: Annotated[
        Path | None, typer.Option(help="Also the mean of the randoms, from the delayed coincidences: .hs.")
    ] = None,
    span: _Span = None,
    frame: _Frame = "",
    single_slice: _SingleSlice = False,
    scanner: _Scanner = "",
    quiet: _Quiet = False,
) -> None:
    """Count list mode into sinograms."""
    from jaxct.cli._pet_histogram import histogram as count
    from jaxct.cli._pet_scan import ListModeChoice, parse_frame

    choice = ListModeChoice(span, parse_frame(frame), single_slice)
    raise typer.Exit(count(scan, output, randoms, scanner, choice, quiet=quiet))


@pet.command()
def reconstruct(
    scan: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Interfile sinograms (.hs), Siemens list mode, PETSIRD, a transmission scan (.mat)."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Volume: .nii, .nii.gz, .hv, .tif, .h5 or .npy.")],
    method: Annotated[
        str,
        typer.Option(
            help="osem (the default), mlem, map-em, bsrem, svrg, kem, dictionary, fbp; of transmission scans mltr (the "
            "default), fbp."
        ),
    ] = "",
    iters: Annotated[
        int | None,
        typer.Option(
            "--iters",
            "--iterations",
            min=1,
            help="Iterations: 3 of osem, 10 of bsrem and svrg, 5 of mltr, else 20.",
        ),
    ] = None,
    subsets: Annotated[int | None, typer.Option(min=1, help="Of the views, of osem, bsrem, svrg, kem, mltr.")] = None,
    scanner: _Scanner = "",
    grid: Annotated[Path | None, typer.Option(help="A volume whose voxels to take.")] = None,
    voxel_size: Annotated[str, typer.Option(metavar="MM|Z,Y,X", help="Voxel size in mm.")] = "",
    shape: Annotated[
        str, typer.Option(metavar="Z,Y,X", help="Voxels along each axis; their size stays unless it is given too.")
    ] = "",
    model: Annotated[
        str, typer.Option(help="Projector: joseph (the default), siddon, multi_ray or distance_driven.")
    ] = "",
    psf: Annotated[float | None, typer.Option(help="Resolution of the scanner to model: FWHM in mm.")] = None,
    attenuation: Annotated[
        Path | None, typer.Option(help="Map of the attenuation at 511 keV, a volume in 1/mm.")
    ] = None,
    normalisation: Annotated[Path | None, typer.Option(help="Efficiency of each bin, as sinograms (.hs).")] = None,
    randoms: Annotated[
        str, typer.Option(metavar="delayeds|FILE", help="Mean of the randoms: from the list's delayeds, or sinograms.")
    ] = "",
    scatter: Annotated[
        bool,
        typer.Option("--scatter", help="Simulate single scatter, of the attenuation map."),
    ] = False,
    prior: Annotated[
        str,
        typer.Option(
            help="Of map-em, bsrem, svrg: quadratic (the default), huber, relative-difference (not of map-em), bowsher."
        ),
    ] = "",
    prior_image: Annotated[
        Path | None, typer.Option(help="An MR or CT volume of the patient: of kem, dictionary and the prior bowsher.")
    ] = None,
    prior_weight: Annotated[
        float | None,
        typer.Option(min=0, help="Of the prior or the dictionary, its curvature beside that of the data; 0.1."),
    ] = None,
    window: Annotated[str, typer.Option(help="Of fbp: ram-lak, shepp-logan, cosine, hamming or hann.")] = "",
    post_filter: Annotated[float | None, typer.Option(help="Blur the image at the end: FWHM in mm.")] = None,
    span: _Span = None,
    frame: _Frame = "",
    single_slice: _SingleSlice = False,
    blank: Annotated[Path | None, typer.Option(help="The blank scan of a transmission scan (.mat).")] = None,
    description: Annotated[
        Path | None, typer.Option(help="Its system (.dsc); by default the only one beside it.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="Stop when an iteration changes the volume by less than this part of it.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints: the same command goes on where it was killed.")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Also draw orthogonal slices: .png, .pdf, .svg.")] = None,
    quiet: _Quiet = False,
) -> None:
    """Reconstruct a PET scan into a volume."""
    from jaxct.cli._pet_reconstruct import Request, reconstruct_pet
    from jaxct.cli._pet_scan import ListModeChoice, parse_frame

    request = Request(
        scan=scan,
        output=output,
        method=method,
        iters=iters,
        subsets=subsets,
        scanner=scanner,
        grid=grid,
        voxel_size=voxel_size,
        shape=shape,
        model=model,
        psf=psf,
        attenuation=attenuation,
        normalisation=normalisation,
        randoms=randoms,
        scatter=scatter,
        prior=prior,
        prior_image=prior_image,
        prior_weight=prior_weight,
        window=window,
        post_filter=post_filter,
        list_mode=ListModeChoice(span, parse_frame(frame), single_slice),
        blank=blank,
        description=description,
        tolerance=tolerance,
        checkpoint=checkpoint,
        picture=picture,
        quiet=quiet,
    )
    raise typer.Exit(reconstruct_pet(request))
