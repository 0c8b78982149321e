"""The scans of the PET study: settings by size, the phantom, realisations of its scan, and anatomies to train on."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxct
from jaxct import pet
from jaxct.operators import Compose, Diagonal
from jaxct.pet import simulate
from jaxct.reconstruct import osem

RANDOMS = 0.15
SCATTER = 0.15 / (1 - RANDOMS)  # of what is not random: together 30 % of the prompts
NOWHERE = ((900.0, 0.0, 0.0),)  # where a sphere does not show


class Settings(NamedTuple):
    """What a folder of results is made with. Weights and penalties are relative: see the methods that take them. Where
    the values of a knob lie was tried with other seeds.
    """

    size: str
    shape: tuple[int, int, int]
    voxel_mm: float
    oversample: int  # scans are simulated with voxels smaller by this factor
    head: bool  # whether skull and scalp attenuate, too
    every: int  # view of the scanner's
    num_bins: int
    max_ring_difference: int
    counts: float
    num_subsets: int
    start_passes: int  # of OSEM, to the image that all others begin with
    passes: int  # of OSEM with a post-filter, from the same image on
    filters_mm: tuple[float, ...]
    prior_passes: int
    weights: tuple[float, ...]
    kernel_neighbours: int
    kernel_window: int
    kernel_sigma: float
    kernel_passes: tuple[int, ...]
    atoms: int
    dictionary_iters: int
    dictionary_weights: tuple[float, ...]
    dip_features: tuple[int, ...]
    dip_prefit: int
    dip_fit: int
    dip_penalty: float
    dip_iters: tuple[int, ...]
    anatomies: int
    training_steps: int
    learning_rate: float
    unrolls: int
    features: tuple[int, ...]
    seed: int


SMALL = Settings(
    size="small",
    shape=(40, 56, 48),
    voxel_mm=4.0,
    oversample=2,
    head=True,
    every=8,
    num_bins=113,
    max_ring_difference=3,
    counts=4e6,
    num_subsets=6,
    start_passes=3,
    passes=7,
    filters_mm=(0.0, 3.0, 5.0, 7.0, 10.0),
    prior_passes=6,
    weights=(0.3, 0.1, 0.03, 0.01, 0.003, 0.001),
    kernel_neighbours=24,
    kernel_window=5,
    kernel_sigma=0.5,
    kernel_passes=(3, 6, 12, 24, 40),
    atoms=128,
    dictionary_iters=10,
    dictionary_weights=(10.0, 3.0, 1.0, 0.3, 0.1),
    dip_features=(8, 16, 32),
    dip_prefit=100,
    dip_fit=10,
    dip_penalty=0.1,
    dip_iters=(3, 6, 10, 15, 20, 30),
    anatomies=40,
    training_steps=300,
    learning_rate=2e-3,
    unrolls=6,
    features=(8, 16, 32),
    seed=0,
)
SIZES = {
    "tiny": SMALL._replace(
        size="tiny",
        shape=(16, 20, 18),
        voxel_mm=11.0,
        oversample=2,
        head=False,
        every=36,
        num_bins=113,
        max_ring_difference=1,
        counts=2e5,
        num_subsets=2,
        start_passes=2,
        passes=2,
        filters_mm=(0.0, 12.0),
        prior_passes=2,
        weights=(0.3, 0.03),
        kernel_neighbours=12,
        kernel_passes=(1, 3),
        atoms=16,
        dictionary_iters=2,
        dictionary_weights=(0.3, 0.03),
        dip_features=(4,),
        dip_prefit=4,
        dip_fit=2,
        dip_iters=(1, 2),
        anatomies=2,
        training_steps=4,
        unrolls=2,
        features=(4,),
    ),
    "small": SMALL,
    "full": SMALL._replace(
        size="full",
        shape=(49, 128, 128),
        voxel_mm=3.27,
        every=1,
        num_bins=191,
        max_ring_difference=23,
        counts=4e7,
        num_subsets=16,
        passes=9,
        filters_mm=(0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0),
        prior_passes=10,
        weights=(0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003),
        kernel_neighbours=48,
        kernel_window=7,
        kernel_passes=(2, 4, 7, 12, 20, 40),
        atoms=256,
        dictionary_iters=20,
        dictionary_weights=(10.0, 3.0, 1.0, 0.3, 0.1),
        dip_features=(16, 32, 64, 128),
        dip_fit=10,
        dip_iters=(5, 10, 20, 40, 70, 100),
        anatomies=40,
        training_steps=1000,
        learning_rate=1e-3,
        unrolls=8,
        features=(16, 32, 64),
    ),
}


class Phantom(NamedTuple):
    """Arrays that the study keeps in its folder. ``regions``: weights of gray matter, the spheres, the white balls."""

    activity: Any  # fine
    attenuation: Any  # fine
    gray: Any  # fine, without spheres, as the next two
    white: Any
    t1_fine: Any
    truth: Any
    t1: Any
    regions: Any
    num_spheres: Any


class Scan(NamedTuple):
    """A scan and the images that reconstructions of it start from, in units of ``scale * activity``."""

    A: Any
    data: Any
    background: Any
    sensitivity: Any
    start: Any
    level: Any
    """Mean of the start, weighted by itself."""
    stiffness: Any
    """Mean of the sensitivity, weighted by the start."""


class Sample(NamedTuple):
    """What a network is trained on. ``late``: OSEM with all its passes; ``truth``: in the scan's units."""

    factors: Any
    data: Any
    background: Any
    start: Any
    late: Any
    truth: Any


class System(NamedTuple):
    """Grids and projectors: of the images, and of what is simulated."""

    settings: Settings
    grid: jaxct.VolumeGrid
    P: Any
    fine: Any


def make_system(settings: Settings) -> System:
    scanner = pet.scanners.ge_discovery_690()
    layout = scanner.layout(num_bins=settings.num_bins, max_ring_difference=settings.max_ring_difference)
    lors = layout.lors(tof=False)[:: settings.every]
    grid = jaxct.VolumeGrid(settings.shape, settings.voxel_mm)
    return System(settings, grid, jaxct.Projector(lors, grid), jaxct.Projector(lors, fine_grid(settings)))


def fine_grid(settings: Settings) -> jaxct.VolumeGrid:
    factor = settings.oversample
    return jaxct.VolumeGrid(tuple(factor * n for n in settings.shape), settings.voxel_mm / factor)


def make_phantom(settings: Settings) -> Phantom:
    """Gray matter is measured where a voxel is nearly all gray and no sphere is; truth is what is in the voxels."""
    grid = fine_grid(settings)
    hot = pet.phantoms.brain(grid, head=settings.head)
    plain = pet.phantoms.brain(grid, head=False, sphere_centers=NOWHERE)
    coarse = lambda image: pooled(image, settings.oversample)  # noqa: E731
    gray = coarse(hot.gray)
    is_gray = gray > min(0.8, 0.9 * gray.max())
    regions = [is_gray.astype(np.float32)[None]]
    for labels in (hot.spheres, hot.white_regions):
        numbers = np.arange(1, int(np.max(labels)) + 1)
        regions.append(np.stack([coarse(np.asarray(labels) == n) for n in numbers]))
    return Phantom(
        activity=np.asarray(hot.activity),
        attenuation=np.asarray(hot.attenuation),
        gray=np.asarray(plain.gray),
        white=np.asarray(plain.white),
        t1_fine=np.asarray(plain.t1),
        truth=coarse(hot.activity),
        t1=coarse(hot.t1),
        regions=np.concatenate(regions),
        num_spheres=np.asarray(len(regions[1])),
    )


def load_phantom(settings: Settings, path: Path) -> Phantom:
    """From the folder, or made and put there."""
    if path.exists():
        with np.load(path) as stored:
            return Phantom(**stored)
    phantom = make_phantom(settings)
    save(path, phantom._asdict())
    return phantom


def save(path: Path, arrays: dict[str, Any]) -> None:
    """Whole or not at all, whenever this is stopped."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.savez_compressed(file, **arrays)
    unfinished.replace(path)


def pooled(image: Any, factor: int) -> np.ndarray:
    """Means of blocks of voxels."""
    z, y, x = (n // factor for n in np.shape(image))
    return np.asarray(image, np.float32).reshape(z, factor, y, factor, x, factor).mean((1, 3, 5))


def expected(system: System, activity: Any, attenuation: Any, counts: float) -> simulate.Expectation:
    return simulate.expected_counts(
        project(system.fine, activity),
        counts=counts,
        attenuation=pet.physics.attenuation_factors(lambda mu: project(system.fine, mu), attenuation),
        scatter_fraction=SCATTER,
        randoms_fraction=RANDOMS,
    )


@jax.jit
def project(A: Any, image: Any) -> jax.Array:  # noqa: N803
    return A(jnp.asarray(image))


@jax.jit
def back_project(A: Any, data: Any) -> jax.Array:  # noqa: N803
    return A.T(data)


def uniform(background: jax.Array) -> jax.Array:
    """Randoms and scatter are spread evenly: one number."""
    return background.ravel()[0]


def draw(expectation: simulate.Expectation, key: jax.Array) -> jax.Array:
    return simulate.realisations(key, expectation.prompts, 1)[0]


def make_scan(system: System, factors: Any, data: Any, background: Any) -> Scan:
    """With its first passes of OSEM."""
    A = attenuated(system.P, factors)  # noqa: N806
    sensitivity = back_project(A, jnp.ones(A.out_shape))
    start = passes(system.settings, A, data, background, None, system.settings.start_passes)
    total = jnp.sum(start)
    level, stiffness = jnp.vdot(start, start) / total, jnp.vdot(sensitivity, start) / total
    return Scan(A, data, background, sensitivity, start, level, stiffness)


def attenuated(P: Any, factors: Any) -> Any:  # noqa: N803
    return Compose(Diagonal(factors), P)


def passes(settings: Settings, A: Any, data: Any, background: Any, init: Any, number: int) -> jax.Array:  # noqa: N803
    """Of OSEM."""
    options = {"num_subsets": settings.num_subsets, "background": background, "init": init}
    return osem(A, data, num_iters=number, **options).volume


def sample(system: System, phantom: Phantom, number: int) -> Sample:
    """A scan of another anatomy, the same for the same number; held by the host."""
    settings = system.settings
    rng = np.random.default_rng((settings.seed, 1, number))
    activity, attenuation = random_anatomy(rng, phantom, fine_grid(settings))
    counts = settings.counts * rng.uniform(0.5, 2.0)
    expectation = expected(system, activity, attenuation, counts)
    data = draw(expectation, jax.random.key(int(rng.integers(2**31))))
    scan = make_scan(system, expectation.factors, data, uniform(expectation.background))
    late = passes(settings, scan.A, data, scan.background, scan.start, settings.passes)
    truth = expectation.scale * pooled(activity, settings.oversample)
    return Sample(*jax.device_get((expectation.factors, data, scan.background, scan.start, late, truth)))


def random_anatomy(rng: np.random.Generator, phantom: Phantom, grid: jaxct.VolumeGrid) -> tuple[Any, Any]:
    """Activity and attenuation: the template stretched and warped, of other contrasts, with other lesions."""
    gray, white, t1, attenuation = warped(
        rng, [phantom.gray, phantom.white, phantom.t1_fine, phantom.attenuation], float(grid.voxel_size[0])
    )
    levels = rng.uniform((2.5, 0.7, 0.0), (5.5, 1.3, 0.3))
    fluid = np.where(t1 > 0, np.maximum(1 - gray - white, 0), 0)
    activity = levels[0] * gray + levels[1] * white + levels[2] * fluid
    activity = activity * np.exp(0.1 * smooth_noise(rng, grid.shape))
    inside = np.argwhere(gray + white > 0.5)
    for _ in range(rng.integers(4, 17)):
        center, radius = inside[rng.integers(len(inside))], rng.uniform(3.0, 12.0)
        lesion(activity, center, radius / float(grid.voxel_size[0]), rng.uniform(2.0, 9.0))
    return activity.astype(np.float32), attenuation


def lesion(activity: np.ndarray, center: np.ndarray, radius: float, level: float) -> None:
    """A ball, in voxels, put into the image."""
    first = np.maximum(np.floor(center - radius).astype(int), 0)
    last = np.minimum(np.ceil(center + radius).astype(int) + 1, activity.shape)
    window = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    distance = np.stack(np.meshgrid(*(np.arange(w.start, w.stop) for w in window), indexing="ij"), -1) - center
    activity[window][(distance**2).sum(-1) <= radius**2] = level


def warped(rng: np.random.Generator, images: list[Any], voxel_mm: float) -> list[np.ndarray]:
    """All alike: each axis stretched by up to 8 %, and displaced by 4 mm, more or less from place to place."""
    from scipy.ndimage import map_coordinates

    shape = np.shape(images[0])
    stretch = rng.uniform(0.92, 1.08, 3)
    places = []
    for axis, length in enumerate(shape):
        middle = (length - 1) / 2
        index = np.arange(length, dtype=np.float32).reshape([-1 if k == axis else 1 for k in range(3)])
        places.append(middle + (index - middle) * stretch[axis] + 4.0 / voxel_mm * smooth_noise(rng, shape))
    return [map_coordinates(np.asarray(image), places, order=1) for image in images]


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], knots: int = 6) -> np.ndarray:
    """About of unit variance at the knots, the same number along each axis; a cubic spline between them."""
    from scipy.ndimage import zoom

    coarse = rng.normal(size=(knots,) * len(shape)).astype(np.float32)
    return zoom(coarse, [n / knots for n in shape], order=3)
