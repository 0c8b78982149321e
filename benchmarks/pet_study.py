"""PET of a brain by networks and without: contrast recovery against noise, over realisations of a scan.

``python benchmarks/pet_study.py --size small --output FOLDER``. The brain phantom (gray to white matter 4 : 1, twelve
hot spheres of 16 mm that the MR image does not show) on a GE Discovery 690 with attenuation; 30 % of what is recorded
are randoms and scatter. Scans are simulated with voxels half as large as those of the images.

Ten methods, each a curve over its own knob: OSEM with a post-filter; the quadratic, relative-difference and Bowsher's
penalty, by BSREM, over the weight; the kernel method over its passes; a dictionary of patches over the weight; DIPRecon
over its iterations; EM-Net, MAPEM-Net, and a U-Net with as many parameters behind OSEM, over a post-filter (its first
width, 0, is the network as trained). Bowsher, kernel, dictionary and DIPRecon are given the T1 image; the networks are
not.

Networks are trained here, on scans of other anatomies with other contrasts and lesions. But one template is behind all
of them, that of the test, too: they are stretched and warped copies of it, which flatters networks in comparison to a
test on other patients. Nothing is chosen by the realisations that are reported.

CRC and STD are those of :mod:`jaxct.pet.metrics`, true contrasts those of the truth averaged over the same voxels. All
results stay in the folder as they come, networks in training every few steps, and a call that finds them there goes on.
``--report`` writes curves, table and figures of what is there.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _pet_study_report as report
import numpy as np
from _common import describe_machine
from _pet_study_methods import METHODS, Study, prepare, reconstruct
from _pet_study_networks import NETWORKS, matched_features, num_parameters
from _pet_study_scan import SIZES, Scan, Settings, load_phantom, make_system, save

from jaxct.pet.metrics import region_means

REALISATIONS = {"tiny": 2, "small": 20, "full": 20}


def settle(folder: Path, size: str | None) -> Settings:
    """The settings of the size, written into a folder that has none; else those of the folder.

    Raises:
        ValueError: where they differ, or no size is given and the folder has no settings.
    """
    path = folder / "settings.json"
    stored = json.loads(path.read_text()) if path.exists() else None
    if size is None:
        if stored is None:
            raise ValueError(f"{folder} has no results to report")
        size = stored["size"]
    settings = SIZES[size]
    wanted = json.loads(json.dumps(settings._asdict()))
    if stored is None:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(wanted, indent=1))
    elif differing := [key for key in wanted | stored if wanted.get(key) != stored.get(key)]:
        text = ", ".join(f"{key} {stored.get(key)}, now {wanted.get(key)}" for key in differing)
        raise ValueError(f"{folder} holds results of other settings ({text}): take another folder")
    return settings


def run(study: Study, methods: Sequence[str], realisations: int) -> None:
    """Every realisation by every method, but for what is there; prints a line for each."""
    for realisation in range(realisations):
        missing = [name for name in methods if not report.result_path(study.folder, name, realisation).exists()]
        if missing:
            scan = study.scan(realisation)
        for name in missing:
            _one(study, scan, name, realisation)


def _one(study: Study, scan: Scan, name: str, realisation: int) -> None:
    prepare(name, study)
    start = time.perf_counter()
    images = reconstruct(name, study, scan)
    seconds = time.perf_counter() - start
    means = np.stack([np.asarray(region_means(image, study.phantom.regions)) for image in images])
    arrays: dict[str, Any] = {"means": means, "seconds": seconds}
    if realisation == 0:  # for the figure; the curves need no more than the means
        arrays |= {"images": images, "scale": np.asarray(study.expectation.scale)}
    save(report.result_path(study.folder, name, realisation), arrays)
    print(f"{name} realisation {realisation}: {seconds:.1f} s", flush=True)


def print_parameters(settings: Settings) -> dict[str, int]:
    numbers = {name: num_parameters(name, settings) for name in NETWORKS}
    text = ", ".join(f"{name} {number}" for name, number in numbers.items())
    print(f"parameters: {text} (unet with features {matched_features(settings)})", flush=True)
    return numbers


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=list(SIZES))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--realisations", type=int, metavar="N", help="20, of size tiny 2")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--std", type=float, nargs="+", default=[], help="where to compare CRC, as 0.05 for 5 %%")
    parser.add_argument("--report", action="store_true", help="of what is in the folder; nothing is run")
    options = parser.parse_args(arguments)
    if options.size is None and not options.report:
        parser.error("--size is needed, except for --report")
    if options.realisations is not None and options.realisations < 1:
        parser.error(f"--realisations must be positive, got {options.realisations}")
    try:
        settings = settle(options.output, options.size)
    except ValueError as error:
        parser.error(str(error))
    phantom = load_phantom(settings, options.output / "phantom.npz")
    facts = {"machine": describe_machine(), "parameters": print_parameters(settings)}
    if not options.report:
        study = Study(make_system(settings), phantom, options.output)
        run(study, options.methods, options.realisations or REALISATIONS[settings.size])
    report.write(options.output, settings, phantom, options.std, facts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
