"""Lines of response to test with: random ones on a cylinder, a small ring of crystals, and geometries of every kind."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxct.pet import TOF, ListMode, LORs, SinogramLORs

MODELS = ("siddon", "joseph", "multi_ray", "distance_driven")
KINDS = ("list", "list_tof", "events", "sinogram", "sinogram_tof")


def random_ends(n: int, radius: float, height: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points on a cylinder, as coincidences of a scanner without detectors' edges."""
    rng = np.random.default_rng(seed)
    angle, z = rng.uniform(0, 2 * np.pi, (n, 2)), rng.uniform(-height, height, (n, 2))
    points = np.stack([z, radius * np.sin(angle), radius * np.cos(angle)], -1)
    return points[:, 0], points[:, 1]


def ring_lines(crystals: int, radius: float, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Transaxial lines (views, bins, 2, 2) of a ring, with the tangents of its crystals."""
    views = crystals // 2
    v, b = np.meshgrid(np.arange(views), np.arange(bins) - bins // 2, indexing="ij")
    ends = np.stack([v + (b + 1) // 2, v + views - b // 2], -1)
    angle = 2 * np.pi * ends / crystals
    lines = radius * np.stack([np.sin(angle), np.cos(angle)], -1)
    width = 2 * np.pi * radius / crystals
    across = width * np.stack([np.cos(angle), -np.sin(angle)], -1) * np.array([1, -1])[:, None]
    return lines, across


def time_of_flight(bins: int = 7, sigma: float = 5.0) -> TOF:
    return TOF(sigma, 2 * sigma, bins, center_offset=0.3 * sigma)


def make_lors(kind: str, radius: float = 30.0, height: float = 4.0, n: int = 24, seed: int = 0):
    """Of a kind of KINDS, in the dtype that x64 allows."""
    tof = time_of_flight() if kind.endswith("tof") or kind == "events" else None
    if kind.startswith("sinogram"):
        lines, tangents = ring_lines(16, radius, 7)
        z = np.linspace(-height, height, 3)
        planes = [(a, b) for a in z for b in z]
        return SinogramLORs(lines, planes, tangents=tangents, plane_width=height, tof=tof)
    start, end = random_ends(n, radius, height, seed)
    if kind == "events":
        bins = np.random.default_rng(seed + 1).integers(0, tof.num_bins, n)
        return ListMode(start, end, bins, tof, widths=(1.1, 1.3))
    return LORs(start, end, widths=(1.1, 1.3), tof=tof)


def flatten(sinogram: SinogramLORs) -> LORs:
    """The same lines, one by one."""
    ends = sinogram.to_ends().reshape(-1, 2, 3)
    return LORs(ends[:, 0], ends[:, 1], tof=sinogram.tof)


def chords(start: np.ndarray, end: np.ndarray, radius: float) -> np.ndarray:
    """Lengths in a ball around the origin, of lines that both begin and end outside."""
    length = np.linalg.norm(end - start, axis=-1)
    along = -np.sum(start * (end - start), -1) / length
    nearest = np.sum(start**2, -1) - along**2
    return 2 * np.sqrt(np.maximum(radius**2 - nearest, 0))


def box_lengths(start: np.ndarray, end: np.ndarray, half: np.ndarray) -> np.ndarray:
    """The same in a box of these half sizes."""
    with np.errstate(divide="ignore"):
        low, high = ((sign * half - start) / (end - start) for sign in (-1, 1))
    near, far = np.minimum(low, high).max(-1), np.maximum(low, high).min(-1)
    return np.maximum(far - near, 0) * np.linalg.norm(end - start, axis=-1)


def _covered(low: float, high: float, n: int) -> np.ndarray:
    """Of each of n cells, cell i from i - 1/2 to i + 1/2, the part of [low, high] that lies in it."""
    edges = np.clip(np.arange(n + 1) - 0.5, min(low, high), max(low, high))
    return np.diff(edges) / abs(high - low)


def tube_means(x: np.ndarray, grid, sinogram: SinogramLORs, corners: np.ndarray) -> np.ndarray:
    """The model "distance_driven" of a sinogram by its definition: in each slab the mean over the tube's rectangle."""
    views, planes, bins = sinogram.projection_shape
    sides = corners[:, : bins * 8].reshape(views, bins, 2, 2, 2)  # side, end, (y, x)
    levels = corners[0, bins * 8 :].reshape(planes, 2, 2)  # edge, end
    size, center = np.asarray(grid.voxel_size), np.asarray(grid.center)
    middle = (np.array(x.shape) - 1) / 2
    out = np.zeros((views, planes, bins))
    for v, p, b in np.ndindex(*out.shape):
        yx = (sides[v, b] - center[1:]) / size[1:] + middle[1:]
        z = (levels[p] - center[0]) / size[0] + middle[0]
        start, end = yx.mean(0)
        axis = int(abs((end - start)[1]) > abs((end - start)[0]))
        mid = np.array([np.append(z[:, i].mean(), (start, end)[i]) for i in (0, 1)])
        step = np.linalg.norm((mid[1] - mid[0]) * size) / abs((end - start)[axis])
        for k in range(x.shape[1 + axis]):
            # How far along each side, and along the middle for the heights, slab k is met.
            along = [(k - s[0, axis]) / (s[1, axis] - s[0, axis]) for s in (*yx, np.stack([start, end]))]
            across = [s[0, 1 - axis] + t * (s[1, 1 - axis] - s[0, 1 - axis]) for s, t in zip(yx, along, strict=False)]
            heights = z[:, 0] + along[2] * (z[:, 1] - z[:, 0])
            plane = x[:, k] if axis == 0 else x[:, :, k]
            out[v, p, b] += step * (_covered(*heights, x.shape[0]) @ plane @ _covered(*across, plane.shape[1]))
    return out


def random_array(seed: int, shape: tuple[int, ...]) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape, jnp.result_type(float))
