"""What time of flight is worth: the image quality phantom of NEMA NU 2 on nine rings of a GE Discovery 690.

Exact projections of the phantom with time of flight (averages over the tubes between crystals), attenuation, scatter,
randoms and Poisson noise; the data without time of flight are their sums over its bins, so both have the same noise.
OSEM with the scanner's resolution in its model reconstructs both. Prints contrast recovery and background variability
pass by pass, and the likelihood of OSEM beside that of MLEM; draws pet_simulation.png. Seed 0.

python docs/examples/pet_simulation.py [FILE]
"""

import dataclasses
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import jaxct
from jaxct import pet
from jaxct.operators import Diagonal, GaussianBlur
from jaxct.pet.phantoms.nema import SPHERE_DIAMETERS

COUNTS, SCATTER, RANDOMS = 2e7, 0.3, 0.2
SUBSETS = 9


class Scan(NamedTuple):
    """A realisation: counts, factors of the lines, what is expected besides, counts per unit of activity."""

    lors: pet.SinogramLORs
    counts: jax.Array
    factors: jax.Array
    background: jax.Array
    scale: float


class Setup(NamedTuple):
    phantom: pet.phantoms.PETPhantom
    grid: jaxct.VolumeGrid
    scans: dict[str, Scan]


def make_setup(
    span: int = 3, mashing: int = 4, voxel_size: float = 3.27, counts: float = COUNTS, oversample: int = 2
) -> Setup:
    """Voxels are about 3.27 mm; what differs between the scans is whether the bins of time of flight are added."""
    scanner = pet.scanners.ge_discovery_690(tof_mashing=5)
    rings = pet.scanners.equal_rings(9, 6.54)
    nine = dataclasses.replace(scanner, rings=rings, live_rings=np.ones(9, bool))
    layout = nine.layout(span=span, max_ring_difference=8, num_bins=157, mashing=mashing)
    phantom = pet.phantoms.nema_image_quality(contrast=4.0)
    grid = jaxct.VolumeGrid((17, round(236 / voxel_size), round(306 / voxel_size)), (3.27, voxel_size, voxel_size))
    lors, lors_without = layout.lors(), layout.lors(tof=False)
    pairs = np.multiply.outer(*layout.live_pairs()[::-1]).transpose(1, 0, 2).astype(np.float32)
    attenuation = jnp.exp(-phantom.attenuation.project(lors_without))
    activity = phantom.activity.project(lors, oversample=oversample)
    expected = pet.simulate.expected_counts(
        jnp.maximum(activity, 0),  # a sum of shapes rounds, where it is nothing, to either side
        counts=counts,
        attenuation=attenuation[..., None],
        normalisation=pairs[..., None],
        scatter_fraction=SCATTER,
        randoms_fraction=RANDOMS,
    )
    measured = pet.simulate.realisations(jax.random.key(0), expected.prompts, 1)[0]
    factors, scale = pairs * attenuation, float(expected.scale)
    scans = {
        "TOF": Scan(lors, measured, factors[..., None], expected.background, scale),
        "no TOF": Scan(lors_without, measured.sum(-1), factors, expected.background.sum(-1), scale),
    }
    return Setup(phantom, grid, scans)


def system(scan: Scan, grid: jaxct.VolumeGrid) -> Any:
    """The lines' factors, the projector, and a blur as wide as crystals are: 6.3 mm along z, 4.2 mm across."""
    width = jnp.asarray([6.3, 4.2, 4.2]) / np.sqrt(12)
    return Diagonal(scan.factors, scan.counts.shape) @ jaxct.Projector(scan.lors, grid) @ GaussianBlur(grid, width)


class Passes(NamedTuple):
    """After each pass: contrast and variability of the six spheres in percent; and the last image, background 1."""

    contrast: np.ndarray
    variability: np.ndarray
    image: np.ndarray


def quality_by_pass(scan: Scan, grid: jaxct.VolumeGrid, num_iters: int) -> Passes:
    found = []

    def measure(iteration: int, state: Any, record: dict[str, float]) -> None:
        found.append(pet.metrics.nema_image_quality(state.volume / scan.scale, grid))

    options = {"background": scan.background, "num_subsets": SUBSETS, "num_iters": num_iters}
    result = jaxct.reconstruct.osem(system(scan, grid), scan.counts, callback=measure, **options)
    curves = (np.stack([np.asarray(q.contrast) for q in found]), np.stack([np.asarray(q.variability) for q in found]))
    return Passes(*curves, np.asarray(result.volume) / scan.scale)


def contrast_at(passes: Passes, sphere: int, variability: float) -> float:
    """The contrast where the curve of a sphere has this variability."""
    return float(np.interp(variability, passes.variability[:, sphere], passes.contrast[:, sphere]))


def likelihoods(scan: Scan, grid: jaxct.VolumeGrid, num_passes: int) -> dict[str, np.ndarray]:
    """Of the images after each pass of OSEM and each iteration of MLEM, which has ``SUBSETS`` times as many."""
    A = system(scan, grid)  # noqa: N806
    fit = jaxct.data_fit.Poisson(A, scan.counts, background=scan.background)
    of_passes = []
    jaxct.reconstruct.osem(
        A,
        scan.counts,
        background=scan.background,
        num_subsets=SUBSETS,
        num_iters=num_passes,
        callback=lambda iteration, state, record: of_passes.append(-float(fit(state.volume))),
    )
    by_mlem = jaxct.reconstruct.mlem(A, scan.counts, background=scan.background, num_iters=SUBSETS * num_passes)
    return {"OSEM": np.array(of_passes), "MLEM": np.asarray(by_mlem.history["log_likelihood"])}


def draw(setup: Setup, passes: dict[str, Passes], found: dict[str, np.ndarray]) -> Figure:
    figure = Figure(figsize=(12, 7.2), layout="constrained")
    cells = [["truth", *passes], ["curves", "curves", "likelihood"]]
    axes = figure.subplot_mosaic(cells, height_ratios=[1, 1.05])
    grid, middle = setup.grid, setup.grid.shape[0] // 2
    (_, bottom, left), (_, top, right) = (np.asarray(corner) for corner in grid.bounds())
    truth = np.asarray(setup.phantom.activity.rasterize(grid))
    for name, image in {"truth": truth, **{name: p.image for name, p in passes.items()}}.items():
        extent = (left, right, bottom, top)
        shown = axes[name].imshow(image[middle], "gray_r", origin="lower", extent=extent, vmin=0, vmax=4.5)
        title = name if name == "truth" else f"{name}, {len(passes[name].contrast)} passes of OSEM"
        axes[name].set(title=title, xlabel="x (mm)")
    axes["truth"].set_ylabel("y (mm)")
    figure.colorbar(shown, ax=[axes[name] for name in ("truth", *passes)], shrink=0.8, label="background = 1")
    for name, style in zip(passes, ("o-", "s--"), strict=True):
        for sphere, colour in ((0, "tab:blue"), (2, "tab:orange"), (5, "tab:green")):
            label = f"{SPHERE_DIAMETERS[sphere]:.0f} mm, {name}"
            curve = passes[name]
            axes["curves"].plot(
                curve.variability[:, sphere], curve.contrast[:, sphere], style, color=colour, markersize=4, label=label
            )
    axes["curves"].set(xlabel="background variability (%)", ylabel="contrast recovery (%)", title="pass by pass")
    axes["curves"].legend(fontsize=8, ncols=2, loc="lower right")
    for name, step, style in (("MLEM", 1, ".-"), ("OSEM", SUBSETS, "o")):
        updates = step * (np.arange(len(found[name])) + 1)
        axes["likelihood"].semilogy(updates, -found[name], style, label=name)
    axes["likelihood"].set(xlabel="updates of the image", title="minus the log-likelihood (no TOF)")
    axes["likelihood"].legend()
    return figure


def main(target: Path) -> None:
    start = time.perf_counter()
    setup = make_setup()
    print(f"{setup.scans['TOF'].counts.size} bins with TOF, simulated in {time.perf_counter() - start:.0f} s")
    passes = {}
    for name, scan in setup.scans.items():
        began = time.perf_counter()
        passes[name] = quality_by_pass(scan, setup.grid, 8)
        print(f"{name}: {len(passes[name].contrast)} passes of OSEM in {time.perf_counter() - began:.0f} s")
        for number in (1, 3, 7):
            values = zip(passes[name].contrast[number], passes[name].variability[number], strict=True)
            print(f"  pass {number + 1}:", ", ".join(f"{c:.0f}/{v:.1f}" for c, v in values), "% contrast/variability")
    for sphere, diameter in enumerate(SPHERE_DIAMETERS):
        level = passes["no TOF"].variability[-1, sphere]
        without, with_tof = passes["no TOF"].contrast[-1, sphere], contrast_at(passes["TOF"], sphere, level)
        print(f"{diameter:.0f} mm at {level:.1f} % variability: {with_tof:.0f} % with TOF, {without:.0f} % without")
    found = likelihoods(setup.scans["no TOF"], setup.grid, 4)
    for number, value in enumerate(found["OSEM"], 1):
        same, equal = found["MLEM"][number - 1], found["MLEM"][SUBSETS * number - 1]
        print(f"OSEM, pass {number}: {value:.0f}; MLEM after as many {same:.0f}, after {SUBSETS * number} {equal:.0f}")
    draw(setup, passes, found).savefig(target, dpi=65)
    print(f"wall time {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
