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


def random_array(seed: int, shape: tuple[int, ...]) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape, jnp.result_type(float))
