"""A brain after FDG, made from the anatomical template that nilearn ships."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxct.geometry import VolumeGrid, _validate
from jaxct.io import load_volume
from jaxct.io._require import require
from jaxct.pet.phantoms.parts import SKULL, WATER
from jaxct.phantoms import ball

# (z, y, x) in mm of the template. The middle of the brain:
_MIDDLE = (5.0, -17.0, 0.0)
# The deepest places in white matter, left of the midline, mirrored to the right: where balls of 16 mm are white matter
# to 95 % and more, 26 mm or more apart; and, clear of these by 4 mm, where balls of 10 mm are, 16 mm apart.
_LEFT_SPHERES = ((0, 41, -24), (25, 24, -23), (34, -3, -27), (30, -36, -32), (20, -61, -32), (-1, -48, -42))
_LEFT_WHITE = (
    (29, -19, -38), (21, 8, -30), (38, 12, -20), (25, -4, -42), (45, -29, -24), (43, -45, -22), (16, -45, -37),
    (12, 33, -15), (5, -33, -36),
)  # fmt: skip
_WHITE_DIAMETER = 10.0

# How far from the brain the skull begins, and how thick skull and scalp are, in mm.
_TO_SKULL, _SKULL_THICKNESS, _SCALP_THICKNESS = 2.0, 7.0, 6.0
_CLOSING = 12.0  # folds of the brain's surface narrower than twice this do not fold the skull


class Brain(NamedTuple):
    """A brain for PET with its anatomy, all on one grid: ``[z, y, x]``, +z to the top, +y to the forehead, +x right."""

    activity: jax.Array
    """Activity concentration relative to white matter (with the default levels)."""
    attenuation: jax.Array
    """At 511 keV, in 1/mm."""
    t1: jax.Array
    """T1-weighted MR image of the brain without its skull, between 0 and 1. It knows nothing of the hot spheres."""
    gray: jax.Array
    """Fraction of gray matter in each voxel, where no hot sphere is."""
    white: jax.Array
    """Fraction of white matter in each voxel, where no hot sphere is."""
    spheres: jax.Array
    """int32 labels: 1, 2, ... in the voxels whose centres lie in the hot spheres, 0 elsewhere."""
    white_regions: jax.Array
    """int32 labels 1 ... 18: balls of 10 mm in white matter, clear of the default spheres, to measure background in."""


def brain(
    grid: VolumeGrid,
    *,
    gray: float = 4.0,
    white: float = 1.0,
    csf: float = 0.0,
    sphere: float = 6.0,
    sphere_diameter: float = 16.0,
    sphere_centers: ArrayLike | None = None,
    head: bool = True,
    middle: Sequence[float] = _MIDDLE,
) -> Brain:
    """A brain phantom for FDG, with hot spheres that are in the PET image only.

    Activity is ``gray * g + white * w + csf * (1 - g - w)`` inside the brain, g and w being the fractions of gray and
    white matter in the symmetric ICBM 2009a template (197 x 233 x 189 voxels of 1 mm), and ``sphere`` inside the hot
    spheres. The maps are linear between the template's voxels; the grid's voxels get their exact averages.

    Attenuation is that of water wherever there is tissue. The template has no skull: with ``head`` one of 7 mm is put
    2 mm around the brain, and a scalp of 6 mm around it, face and neck missing.

    Needs the extra "pet" (the packages nilearn, whose files these are, nibabel and SciPy).

    Args:
        grid: any 3-D grid, of concrete values. The brain is about 155 x 180 x 145 mm (z, y, x), the head 30 mm wider.
        gray, white, csf: activity of the tissues.
        sphere: activity of the hot spheres.
        sphere_diameter: in mm.
        sphere_centers: (n, 3), (z, y, x) in mm of the template; by default twelve places deep in white matter, six on
            either side, which spheres of 16 mm fill without touching.
        head: whether there are skull and scalp.
        middle: the point (z, y, x) of the template, in mm, that is put at the world's origin.

    Raises:
        ImportError: without the extra "pet".
        ValueError: a grid that is not 3-D, negative activities, no spheres or ones of no size.
        TypeError: not a grid, values that are not real numbers.

    References:
        V. Fonov, A. C. Evans, K. Botteron, C. R. Almli, R. C. McKinstry, D. L. Collins, Unbiased average
        age-appropriate atlases for pediatric studies, NeuroImage 54 (2011), 313-327,
        doi:10.1016/j.neuroimage.2010.07.033.
        K. Gong, C. Catana, J. Qi, Q. Li, PET image reconstruction using deep image prior, IEEE Trans. Med. Imaging
        38(7) (2019), 1655-1665, doi:10.1109/TMI.2018.2888491.
    """
    if not isinstance(grid, VolumeGrid):
        raise TypeError(f"grid must be a VolumeGrid, got {type(grid).__name__}")
    if grid.ndim != 3:
        raise ValueError(f"grid must be 3-D, got shape {grid.shape}")
    for name, value in {"gray": gray, "white": white, "csf": csf, "sphere": sphere}.items():
        if not np.asarray(_validate.scalar(name, value)) >= 0:
            raise ValueError(f"{name} must not be negative, got {value:g}")
    radius = float(_validate.scalar("sphere_diameter", sphere_diameter, positive=True)) / 2
    centers = _mirrored(_LEFT_SPHERES) if sphere_centers is None else _centers(sphere_centers)
    maps, template = _template()
    g, w = maps["gm"], maps["wm"]
    inside = (g + w > 0) | (maps["t1"] > 0)
    hot = _balls(centers, radius, template)
    tissue = gray * g + white * w + csf * np.where(inside, np.maximum(1 - g - w, 0), 0)
    mu = _head(inside) if head else np.where(inside, WATER, 0)

    offset = np.asarray(_validate.per_axis("middle", middle, 3), np.float64)
    resample = _Resampling(template, grid, offset)
    return Brain(
        activity=resample(tissue * (1 - hot) + sphere * hot),
        attenuation=resample(mu),
        t1=resample(maps["t1"]),
        gray=resample(g * (1 - hot)),
        white=resample(w * (1 - hot)),
        spheres=_labels(grid, centers - offset, radius),
        white_regions=_labels(grid, _mirrored(_LEFT_WHITE) - offset, _WHITE_DIAMETER / 2),
    )


def _template() -> tuple[dict[str, np.ndarray], VolumeGrid]:
    """The maps as (z, y, x) arrays between 0 and 1, and their grid, in mm of the template."""
    found = importlib.util.find_spec("nilearn")
    if found is None or not found.submodule_search_locations:
        raise ImportError("nilearn is needed for this: pip install 'jaxct[pet]'")
    folder = Path(found.submodule_search_locations[0]) / "datasets" / "data"
    maps, grid = {}, None
    for name in ("t1", "gm", "wm"):
        path = folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"
        if not path.exists():
            raise ImportError(f"nilearn does not ship {path.name}: pip install --upgrade 'jaxct[pet]'")
        values, grid = load_volume(path)
        maps[name] = values.astype(np.float32) / 255
    assert grid is not None
    return maps, grid


def _mirrored(left: Sequence[Sequence[float]]) -> np.ndarray:
    """Every place on the left and then on the right."""
    places = np.asarray(left, np.float64)
    return np.stack([places, places * (1, 1, -1)], 1).reshape(-1, 3)


def _centers(value: ArrayLike) -> np.ndarray:
    centers = np.asarray(_validate.floats("sphere_centers", value), np.float64)
    if centers.ndim != 2 or centers.shape[1] != 3 or len(centers) == 0:
        raise ValueError(f"sphere_centers must have shape (n, 3) with at least one sphere, got {centers.shape}")
    return centers


def _balls(centers: np.ndarray, radius: float, grid: VolumeGrid) -> np.ndarray:
    """The fraction of each voxel of the template that lies in one of the balls."""
    covered = np.zeros(grid.shape, np.float32)
    reach = int(np.ceil(radius)) + 1
    patch = ball(radius)
    for center in centers:
        corner = np.round(np.asarray(grid.to_index(center))).astype(int) - reach
        first, last = np.maximum(corner, 0), np.minimum(corner + 2 * reach + 1, grid.shape)
        if (first >= last).any():
            continue
        window = VolumeGrid((2 * reach + 1,) * 3, grid.voxel_size, grid.to_world(corner + reach) - center)
        fraction = np.asarray(patch.rasterize(window))
        where = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        part = tuple(slice(a, b) for a, b in zip(first - corner, last - corner, strict=True))
        covered[where] = np.maximum(covered[where], fraction[part])
    return covered


def _labels(grid: VolumeGrid, centers: np.ndarray, radius: float) -> jax.Array:
    z, y, x = (np.asarray(c, np.float64) for c in grid.coordinates())
    labels = np.zeros(grid.shape, np.int32)
    for number, (cz, cy, cx) in enumerate(centers, 1):
        distance2 = ((z - cz) ** 2)[:, None, None] + ((y - cy) ** 2)[:, None] + (x - cx) ** 2
        labels[distance2 <= radius**2] = number
    return jnp.asarray(labels)


def _head(brain_mask: np.ndarray) -> np.ndarray:
    """Attenuation of the brain in a skull and a scalp."""
    distance_from = require("scipy.ndimage", "pet").distance_transform_edt
    # The surface of what lies within reach of all that lies within reach of the brain.
    closed = distance_from(distance_from(~brain_mask) <= _CLOSING) > _CLOSING
    outside = distance_from(~(closed | brain_mask))
    head = _TO_SKULL + _SKULL_THICKNESS + _SCALP_THICKNESS
    mu = np.where(outside <= head, WATER, 0)
    skull = (outside > _TO_SKULL) & (outside <= _TO_SKULL + _SKULL_THICKNESS)
    return np.where(skull, SKULL, mu)


class _Resampling:
    """A grid's voxel averages of maps that are linear between the voxel centres of another grid, and 0 outside."""

    def __init__(self, source: VolumeGrid, grid: VolumeGrid, offset: np.ndarray):
        self.weights = [
            _hat_averages(np.asarray(s, np.float64), np.asarray(c, np.float64) + o, float(w))
            for s, c, o, w in zip(source.coordinates(), grid.coordinates(), offset, grid.voxel_size, strict=True)
        ]

    def __call__(self, values: np.ndarray) -> jax.Array:
        values = values.astype(np.float32)
        for axis, weights in enumerate(self.weights):
            values = np.moveaxis(np.tensordot(weights, values, (1, axis)), 0, axis)
        return jnp.asarray(values)


def _hat_averages(knots: np.ndarray, centers: np.ndarray, width: float) -> np.ndarray:
    """(centers, knots): mean over each interval of the hat function at each of the equidistant knots."""
    pitch = knots[1] - knots[0]

    def integral(edges: np.ndarray) -> np.ndarray:
        u = np.clip((edges[:, None] - knots) / pitch, -1, 1)
        return pitch * np.where(u < 0, (1 + u) ** 2 / 2, 1 - (1 - u) ** 2 / 2)

    return ((integral(centers + width / 2) - integral(centers - width / 2)) / width).astype(np.float32)
