"""Single rays between crystals of 4 mm do not see voxels of 1 mm alike: their moire, and what is against it.

One ring of the GE Discovery 690, all 288 views of 381 bins, and an image of 256 x 256 voxels of 1 mm. For single rays
(Joseph's model), for 2 and 4 of them across a crystal and for the whole tube between two crystals the script computes
the sensitivity A^T 1, and OSEM of a uniform cylinder from exact data without noise, which are averages over the tubes.
Prints how uneven they are and how long a projection takes, draws pet_aliasing.png. No random numbers.

python docs/examples/pet_aliasing.py [FILE]
"""

import dataclasses
import sys
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import jaxct
from jaxct import pet
from jaxct.operators import GaussianBlur, fwhm_to_sigma

RADIUS = 100.0  # of the cylinder, in mm
# Name, model, and axial and tangential number of rays.
MODELS = (
    ("single ray", "joseph", (1, 1)),
    ("two rays", "multi_ray", (1, 2)),
    ("four rays", "multi_ray", (1, 4)),
    ("distance-driven", "distance_driven", (1, 1)),
)


class Setup(NamedTuple):
    """Lines of one ring, voxels, and the exact projections of a cylinder of activity 1."""

    lors: pet.SinogramLORs
    grid: jaxct.VolumeGrid
    data: jax.Array


def make_setup(voxel_size: float = 1.0, num_voxels: int = 256) -> Setup:
    scanner = pet.scanners.ge_discovery_690()
    ring = dataclasses.replace(scanner, rings=np.zeros(1), live_rings=np.ones(1, bool))
    lors = ring.layout(span=1, max_ring_difference=0).lors(tof=False)
    grid = jaxct.VolumeGrid((1, num_voxels, num_voxels), (6.54, voxel_size, voxel_size))
    cylinder = jaxct.phantoms.Phantom(jaxct.phantoms.Cylinder((0.0, 0.0, 0.0), RADIUS, 1000.0))
    return Setup(lors, grid, cylinder.project(lors, oversample=6))


def projector(setup: Setup, model: str, rays: tuple[int, int]) -> jaxct.Projector:
    return jaxct.Projector(dataclasses.replace(setup.lors, rays=rays), setup.grid, model=model)


def sensitivity(A: jaxct.Projector) -> np.ndarray:  # noqa: N803
    """Over its own mean within 12 mm: what changes slowly is the scanner's, what is left the model's."""
    image = A.T(jnp.ones(A.out_shape))
    smooth = GaussianBlur(A.grid, fwhm_to_sigma(jnp.asarray([0.0, 12.0, 12.0])))(image)
    return np.asarray(image / smooth)[0]


def cylinder_by_osem(A: jaxct.Projector, data: jax.Array, num_iters: int = 4) -> np.ndarray:  # noqa: N803
    return np.asarray(jaxct.reconstruct.osem(A, data, num_iters=num_iters, num_subsets=12).volume)[0]


def unevenness(image: np.ndarray, grid: jaxct.VolumeGrid) -> float:
    """Standard deviation over the mean, 10 mm and more inside the cylinder and away from the axis."""
    y, x = (np.asarray(c) for c in grid.coordinates()[1:])
    distance = np.hypot(y[:, None], x)
    inside = image[(distance > 10) & (distance < RADIUS - 10)]
    return float(inside.std() / inside.mean())


def seconds(A: jaxct.Projector) -> float:  # noqa: N803
    """A forward and a back projection, the best of three."""
    image = jnp.ones(A.in_shape)
    jax.block_until_ready(A.T(A(image)))
    times = []
    for _ in range(3):
        start = time.perf_counter()
        jax.block_until_ready(A.T(A(image)))
        times.append(time.perf_counter() - start)
    return min(times)


def draw(images: dict[str, tuple[np.ndarray, np.ndarray]], grid: jaxct.VolumeGrid) -> Figure:
    figure = Figure(figsize=(11.5, 6.2), layout="constrained")
    rows = figure.subplots(2, len(images))
    (_, bottom, left), (_, top, right) = (np.asarray(corner) for corner in grid.bounds())
    for index, (name, pictures) in enumerate(images.items()):
        for row, picture, label in zip(rows, pictures, ("sensitivity", "OSEM"), strict=True):
            shown = row[index].imshow(
                picture,
                "gray",
                origin="lower",
                extent=(left, right, bottom, top),
                vmin=0.9,
                vmax=1.1,
                interpolation="nearest",
            )
            middle = 0 if label == "sensitivity" else RADIUS - 20
            row[index].set(xlim=(middle - 30, middle + 30), ylim=(-30, 30), title=f"{label}, {name}", xlabel="x (mm)")
            row[index].tick_params(labelleft=index == 0)
    for row in rows:
        row[0].set_ylabel("y (mm)")
    figure.colorbar(shown, ax=list(rows.ravel()), shrink=0.6, label="1 is even")
    return figure


def main(target: Path) -> None:
    start = time.perf_counter()
    setup = make_setup()
    images = {}
    for name, model, rays in MODELS:
        A = projector(setup, model, rays)  # noqa: N806
        images[name] = sensitivity(A), cylinder_by_osem(A, setup.data)
        uneven = [f"{100 * unevenness(image, setup.grid):.2f} %" for image in images[name]]
        print(f"{name:16} sensitivity {uneven[0]}, OSEM {uneven[1]}; {seconds(A):.2f} s forward and back")
    draw(images, setup.grid).savefig(target, dpi=64)
    print(f"wall time {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
