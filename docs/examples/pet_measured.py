"""Two measured PET scans: a head from 600 ms of list mode, and the attenuation of a thorax phantom.

The head: 218,881 coincidences of a Siemens Biograph mMR in sinograms of span 11, random coincidences from the delayed
ones, attenuation of water in the outline of a first image, OSEM, and a Gaussian on the image, as the counts are so few.
There is no normalisation but the gaps between blocks, and no scatter. The thorax: transmission and blank scan of an
ECAT EXACT 921, by FBP of the logarithm and by maximum likelihood (MLTR). Prints what was counted and found, draws
pet_measured.png. Needs the folder of measured scans, in the variable JAXCT_DATA or shared/data beside the checkout. No
random numbers.

python docs/examples/pet_measured.py [FILE]
"""

import dataclasses
import os
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
from jaxct.operators import Diagonal, GaussianBlur, fwhm_to_sigma
from jaxct.pet import physics

DATA = Path(os.environ.get("JAXCT_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
WATER = 0.0096


class Head(NamedTuple):
    """Counts of the bins of a layout, the mean of the randoms among them, and how many live pairs each bin has."""

    layout: pet.SinogramLayout
    prompts: np.ndarray
    randoms: np.ndarray
    pairs: tuple[np.ndarray, np.ndarray]


def read_head(folder: Path = DATA, span: int = 11) -> Head:
    path = folder / "pet_mmr_listmode" / "small_listmode_file.l"
    layout = pet.scanners.siemens_mmr().layout(span=span)
    listed = jaxct.io.read_list_mode_header(path.with_name("PET_ACQ_small.l.hdr.STIR")).sinogram.ring_pairs()
    planes = layout.plane_of_rings[listed[:, 0], listed[:, 1]]
    prompts, delayeds = jaxct.io.histogram_list_mode(path, planes=planes)
    transaxial, axial = (pairs.astype(np.float32) for pairs in layout.live_pairs())
    return Head(
        layout, prompts.astype(np.float32), mean_randoms(delayeds, layout), (transaxial[:, None], axial[:, None])
    )


def mean_randoms(delayeds: np.ndarray, layout: pet.SinogramLayout) -> np.ndarray:
    """One delayed coincidence in two thousand bins: rates of crystals around one ring, and a share of each plane."""
    ring = dataclasses.replace(layout.scanner, rings=np.zeros(1), live_rings=np.ones(1, bool))
    flat = dataclasses.replace(layout, scanner=ring, span=1, max_ring_difference=0)
    around = physics.randoms_from_delayeds(delayeds.sum(1, keepdims=True).astype(np.float32), flat)
    share = delayeds.sum((0, 2)) / delayeds.sum()
    return np.asarray(around) * share[:, None].astype(np.float32)


def coarse_grid(scanner: pet.Scanner, voxel_size: float) -> jaxct.VolumeGrid:
    """The middle 300 mm, slices on the rings."""
    across = round(300 / voxel_size)
    return jaxct.VolumeGrid((scanner.num_rings, across, across), (4.0625, voxel_size, voxel_size))


def reconstruct_head(
    head: Head, grid: jaxct.VolumeGrid, mu: jax.Array | None, num_iters: int, subsets: int = 21, fwhm: float = 8.0
) -> np.ndarray:
    lors = head.layout.lors()
    A: Any = jaxct.Projector(lors, grid)  # noqa: N806
    if mu is not None:
        A = Diagonal(physics.attenuation_factors(A, mu)) @ A  # noqa: N806
    for factor in head.pairs:
        A = Diagonal(factor, lors.projection_shape) @ A  # noqa: N806
    options = {"num_iters": num_iters, "num_subsets": subsets, "background": head.randoms}
    volume = jaxct.reconstruct.osem(A, head.prompts, **options).volume
    return np.asarray(GaussianBlur(grid, fwhm_to_sigma(fwhm))(volume))


def outline(volume: np.ndarray, grid: jaxct.VolumeGrid) -> np.ndarray:
    """Where there is a third or more of the activity that is usual in the middle, seen without detail: the head."""
    smooth = np.asarray(GaussianBlur(grid, fwhm_to_sigma(25.0))(volume))
    return smooth > 0.33 * np.percentile(smooth, 99)


class Thorax(NamedTuple):
    grid: jaxct.VolumeGrid
    images: dict[str, np.ndarray]


def thorax(folder: Path = DATA, voxel_size: float = 3.375, num_iters: int = 4, fwhm: float = 10.0) -> Thorax:
    """Both images with the same blur, so that they are alike in resolution."""
    here = folder / "pet_transmission_mirt"
    scan = jaxct.io.read_transmission(here / "phan_trans.mat", here / "phan_blank.mat")
    grid = jaxct.VolumeGrid((round(400 / voxel_size), round(480 / voxel_size)), voxel_size)
    lines = -np.log(np.maximum(scan.transmission, 0.5) / scan.blank)
    by_fbp = jaxct.reconstruct.fbp(lines, scan.geometry, grid)
    A = jaxct.Projector(scan.geometry, grid)  # noqa: N806
    options = {"num_iters": num_iters, "num_subsets": 8, "init": by_fbp}
    by_mltr = jaxct.reconstruct.mltr(A, scan.transmission, blank=scan.blank, **options).volume
    blur = GaussianBlur(grid, fwhm_to_sigma(fwhm))
    return Thorax(grid, {"FBP": np.asarray(blur(by_fbp)), "MLTR": np.asarray(blur(by_mltr))})


def tissue(image: np.ndarray, grid: jaxct.VolumeGrid) -> np.ndarray:
    """Values between the lungs, where the phantom is water."""
    y, x = (np.asarray(c) for c in grid.coordinates())
    return image[(np.abs(y[:, None] - 25) < 30) & (np.abs(x) < 20)]


def draw(heads: dict[str, np.ndarray], grid: jaxct.VolumeGrid, scan: Thorax) -> Figure:
    figure = Figure(figsize=(12, 7.4), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1, 1])
    axes = above.subplots(1, 2 * len(heads))
    (low, _, left), (high, _, right) = (np.asarray(corner) for corner in grid.bounds())
    for pair, (name, volume) in zip(axes.reshape(-1, 2), heads.items(), strict=True):
        middle = [n // 2 for n in volume.shape]
        options = {"cmap": "gray_r", "origin": "lower", "vmin": 0, "vmax": np.percentile(volume, 99.7)}
        slices = (("axial", volume[middle[0]], left, right), ("sagittal", volume[:, :, middle[2]], low, high))
        for ax, (kind, image, bottom, top) in zip(pair, slices, strict=True):
            ax.imshow(image, extent=(left, right, bottom, top), **options)
            ax.set(title=f"{kind}, {name}", xlabel="x (mm)" if kind == "axial" else "y (mm)", xlim=(-130, 130))
            ax.set(ylabel="y (mm)" if kind == "axial" else "z (mm)", ylim=(-130, 130))
    panels = below.subplots(1, len(scan.images))
    (bottom, left), (top, right) = (np.asarray(corner) for corner in scan.grid.bounds())
    for ax, (name, image) in zip(panels, scan.images.items(), strict=True):
        shown = ax.imshow(image, "gray", origin="lower", extent=(left, right, bottom, top), vmin=0, vmax=0.016)
        ax.set(title=f"thorax phantom, {name}", xlabel="x (mm)", ylabel="y (mm)")
    below.colorbar(shown, ax=panels, shrink=0.8, label="attenuation (1/mm)")
    return figure


def main(target: Path) -> None:
    start = time.perf_counter()
    head = read_head()
    counts = f"{head.prompts.sum(dtype=float):.0f} prompts, {head.randoms.sum(dtype=float):.0f} randoms"
    print(f"head: {counts} in {head.prompts.size} bins, read in {time.perf_counter() - start:.0f} s")
    grid = coarse_grid(head.layout.scanner, 4.2)
    print(head.layout.scanner.check_grid(grid))
    began = time.perf_counter()
    heads = {"not corrected": reconstruct_head(head, grid, None, 1)}
    mu = jnp.where(outline(heads["not corrected"], grid), WATER, 0.0)
    heads["corrected"] = reconstruct_head(head, grid, mu, 1)
    size = float(jnp.sum(mu) / WATER * jnp.prod(grid.voxel_size)) / 1e6
    print(f"outline of {size:.2f} litres; a pass without and one with it: {time.perf_counter() - began:.0f} s")
    scan = thorax()
    for name, image in scan.images.items():
        values = tissue(image, scan.grid)
        spread = 100 * values.std() / values.mean()
        print(f"thorax, {name}: {values.mean():.5f}/mm between the lungs (water {WATER}), spread {spread:.0f} %")
    draw(heads, grid, scan).savefig(target, dpi=65)
    print(f"wall time {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
