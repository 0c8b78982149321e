"""The set-ups that every promise is tested over: a catalogue of named cases, and hypothesis strategies for random ones.

A case is a factory: its arrays take the float type that holds (float32, or float64 under ``jax.enable_x64(True)``)
when it is called. Numbers are generic on purpose: a ray exactly on a voxel face, or at exactly 45 degrees, belongs to
the one or the other side by rounding, which differs between implementations. Where such rays are meant
(``*_on_faces``), the numbers are exact in binary. Sizes are few, so that what is compiled for one case serves others.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from hypothesis import strategies as st

from jaxct.geometry import ConeBeam, ConeVectors, FanBeam, Geometry, ParallelBeam, ParallelVectors, VolumeGrid

LINE_MODELS = ("siddon", "joseph")
FOOTPRINT_MODELS = ("distance_driven", "separable_footprint")
MODELS = LINE_MODELS + FOOTPRINT_MODELS

SetUp = tuple[Geometry, VolumeGrid]


@dataclass(frozen=True)
class Case:
    """A named set-up: ``geometry, grid = case()``."""

    name: str
    build: Callable[[], SetUp]
    axial: bool = True

    def __call__(self) -> SetUp:
        return self.build()

    def __repr__(self) -> str:
        return self.name


def models_for(case: Case) -> tuple[str, ...]:
    """The forward models that apply to a case; ``voxel_driven`` back projection applies to all."""
    return MODELS if case.axial else LINE_MODELS


def _angles(views: int, start: float = 0.3) -> np.ndarray:
    """Angles in no order and at no special place: steps by the golden angle."""
    return start + np.arange(views) * 2.399963229728653


def _box(ndim: int, center: bool = True) -> VolumeGrid:
    shape, size, middle = (7, 8, 9), (1.2537, 0.8161, 1.0973), (0.4127, -0.7039, 0.3251)
    return VolumeGrid(shape[-ndim:], voxel_size=size[-ndim:], center=middle[-ndim:] if center else 0.0)


def _parallel_2d() -> SetUp:
    return ParallelBeam(_angles(4), detector_shape=(11,), pixel_size=0.9137, detector_offset=0.2113), _box(2)


def _parallel_2d_on_faces() -> SetUp:
    """Axis-aligned rays through voxel faces, corners of the grid included, every number exact in binary."""
    geometry = ParallelVectors(
        direction=[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]],
        detector_center=[[0.0, 0.0], [0.5, 0.0], [0.0, 0.0]],
        row_axis=None,
        col_axis=[[0.0, 0.5], [-0.5, 0.0], [0.0, 1.0]],
        detector_shape=(11,),
    )
    return geometry, VolumeGrid((5, 4))


def _fan(detector: str) -> SetUp:
    geometry = FanBeam(
        _angles(4),
        source_origin_distance=20.3,
        source_detector_distance=31.7,
        detector_shape=(11,),
        pixel_size=1.7057,
        detector_offset=-0.6181,
        detector=detector,
    )
    return geometry, _box(2)


def _fan_per_view(detector: str) -> SetUp:
    geometry = FanBeam(
        _angles(4),
        source_origin_distance=[17.13, 19.42, 25.31, 14.97],
        source_detector_distance=[29.23, 33.17, 30.71, 28.83],
        detector_shape=(11,),
        pixel_size=1.4233,
        detector_offset=[0.4139, -1.3217, 2.2361, 0.9511],
        detector=detector,
    )
    return geometry, _box(2)


def _fan_close() -> SetUp:
    """The source barely outside the circle that the image turns in: magnifications up to 17."""
    geometry = FanBeam(
        _angles(4),
        source_origin_distance=6.4131,
        source_detector_distance=20.937,
        detector_shape=(11,),
        pixel_size=7.319,
    )
    return geometry, _box(2, center=False)


def _fan_vectors() -> SetUp:
    """Fans in any pose: the detector tilted, the detector between source and image, columns running backwards."""
    geometry = ConeVectors(
        source=[[-14.317, 2.1237], [9.7139, 11.231], [1.3571, 16.823], [12.961, -8.3311]],
        detector_center=[[11.657, 1.7321], [2.9127, 4.1231], [-3.2219, -9.4337], [-6.8557, 8.4261]],
        row_axis=None,
        col_axis=[[0.3119, 1.6143], [-0.4523, 0.5267], [0.2239, -1.9051], [1.2211, 1.1173]],
        detector_shape=(11,),
    )
    return geometry, _box(2)


def _parallel_3d() -> SetUp:
    geometry = ParallelBeam(
        _angles(4), detector_shape=(9, 11), pixel_size=(1.1531, 0.9337), detector_offset=(0.3119, -0.2237)
    )
    return geometry, _box(3)


def _parallel_on_faces() -> SetUp:
    """Rays along the axes through voxel faces and edges, every number exact in binary."""
    geometry = ParallelVectors(
        direction=[[0.0, 1.0, 0.0], [0.0, 0.0, -1.0]],
        detector_center=[[0.0, 0.0, 0.0], [0.5, 0.0, 0.0]],
        row_axis=[[0.5, 0.0, 0.0], [1.0, 0.0, 0.0]],
        col_axis=[[0.0, 0.0, 0.5], [0.0, 1.0, 0.0]],
        detector_shape=(7, 9),
    )
    return geometry, VolumeGrid((3, 5, 4))


def _laminography(tilt: float) -> SetUp:
    """Parallel rays that rise by ``tilt`` from the plane of rotation, the detector perpendicular to them."""
    angles = _angles(4)
    zero, one = np.zeros_like(angles), np.ones_like(angles)
    along, col = (
        np.stack([zero, np.cos(angles), -np.sin(angles)], 1),
        np.stack([zero, np.sin(angles), np.cos(angles)], 1),
    )
    up = np.stack([one, zero, zero], 1)
    direction = np.cos(tilt) * along + np.sin(tilt) * up
    row = np.cos(tilt) * up - np.sin(tilt) * along
    geometry = ParallelVectors(direction, 0.1327 * row - 0.2143 * col, 1.0523 * row, 0.9539 * col, (9, 11))
    return geometry, _box(3)


def _cone(detector: str = "flat", **changes) -> SetUp:
    options = {
        "angles": _angles(4),
        "source_origin_distance": 21.437,
        "source_detector_distance": 32.951,
        "detector_shape": (9, 11),
        "pixel_size": (1.9073, 1.6127),
        "detector_offset": (0.3761, -0.5833),
        "detector": detector,
    }
    return ConeBeam(**{**options, **changes}), _box(3)


def _helix(detector: str) -> SetUp:
    return _cone(detector, angles=0.3 + 1.7 * np.arange(4), source_z=np.linspace(-5.317, 4.923, 4))


def _cone_per_view(detector: str) -> SetUp:
    return _cone(
        detector,
        source_origin_distance=[17.13, 19.42, 25.31, 14.97],
        source_detector_distance=[29.23, 33.17, 30.71, 28.83],
        detector_offset=[[0.4139, -0.3217], [-1.3361, 0.9119], [0.2237, 2.2153], [0.7177, -1.8211]],
    )


def _tilted_cone(detector: str) -> SetUp:
    """Measured-looking poses: every detector turned a few hundredths of a radian about each axis."""
    geometry, grid = _cone(detector)
    v = geometry.to_vectors()
    turns = [_rotation(t) for t in ((0.03, -0.05, 0.02), (-0.06, 0.04, 0.05), (0.05, 0.06, -0.03), (0.01, -0.02, 0.06))]
    source, center = np.asarray(v.source, np.float64), np.asarray(v.detector_center, np.float64)
    # The curved detector turns about its source, which keeps it an arc around it; the flat one about its own middle.
    pivot = source if detector == "curved" else center
    turned = [np.einsum("vij,vj->vi", turns, np.asarray(a)) for a in (center - pivot, v.row_axis, v.col_axis)]
    return ConeVectors(source, pivot + turned[0], turned[1], turned[2], (9, 11), detector), grid


def _arbitrary_cone() -> SetUp:
    """A C-arm out of the plane: sources all around, above and below, with detectors turned about their own normal."""
    rng = np.random.default_rng(5)
    sources = rng.normal(size=(4, 3))
    sources *= 22.7 / np.linalg.norm(sources, axis=1, keepdims=True)
    return _facing_cone(rng, sources, magnification=1.6, detector_shape=(9, 11), pixel_size=(1.8, 1.5)), _box(3)


CASES = (
    Case("parallel_2d", _parallel_2d),
    Case("parallel_2d_on_faces", _parallel_2d_on_faces),
    Case("fan_flat", partial(_fan, "flat")),
    Case("fan_curved", partial(_fan, "curved")),
    Case("fan_flat_per_view", partial(_fan_per_view, "flat")),
    Case("fan_curved_per_view", partial(_fan_per_view, "curved")),
    Case("fan_close", _fan_close),
    Case("fan_vectors", _fan_vectors),
    Case("parallel_3d", _parallel_3d),
    Case("parallel_on_faces", _parallel_on_faces),
    Case("parallel_slightly_tilted", partial(_laminography, 0.07)),
    Case("laminography_shallow", partial(_laminography, 0.4)),
    Case("laminography_steep", partial(_laminography, 0.7), axial=False),
    Case("cone_flat", _cone),
    Case("cone_curved", partial(_cone, "curved")),
    Case("helix_flat", partial(_helix, "flat")),
    Case("helix_curved", partial(_helix, "curved")),
    Case("cone_flat_per_view", partial(_cone_per_view, "flat")),
    Case("cone_curved_per_view", partial(_cone_per_view, "curved")),
    Case("cone_flat_tilted", partial(_tilted_cone, "flat")),
    Case("cone_curved_tilted", partial(_tilted_cone, "curved")),
    Case("cone_arbitrary", _arbitrary_cone, axial=False),
    Case(
        "cone_close",
        partial(_cone, source_origin_distance=7.7171, source_detector_distance=19.333, pixel_size=(4.1233, 5.2171)),
    ),
    Case("cone_truncated", partial(_cone, pixel_size=(0.4337, 0.5239))),
    Case("cone_one_pixel", partial(_cone, detector_shape=(1, 1), pixel_size=(3.1237, 2.7193))),
    Case("cone_half_missing", partial(_cone, detector_offset=(6.3137, -11.421))),
    Case("cone_all_missing", partial(_cone, detector_offset=(0.0, 300.0))),
)


def _rotation(vector) -> np.ndarray:
    """The rotation about ``vector`` by its length in radians (Rodrigues' formula)."""
    angle = np.linalg.norm(vector)
    k = np.cross(np.eye(3), np.asarray(vector) / angle)
    return np.eye(3) - np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def _facing_cone(rng, source, *, magnification, detector_shape, pixel_size) -> ConeVectors:
    """Detectors facing their sources across the origin, turned about the central ray and tilted a little."""
    forward = -source / np.linalg.norm(source, axis=1, keepdims=True)
    row = np.cross(forward, rng.normal(size=source.shape))
    row /= np.linalg.norm(row, axis=1, keepdims=True)
    col = np.cross(forward, row) + 0.1 * rng.normal(size=source.shape)
    center = (1 - magnification) * source + 0.3 * rng.normal(size=source.shape)
    return ConeVectors(source, center, pixel_size[0] * row, pixel_size[1] * col, detector_shape)


# Few distinct sizes, so that compiled oracles are shared between examples: odd, even, flat, single.
_SIZES_2D = (((8, 7), (9,), 3), ((5, 10), (11,), 1), ((1, 6), (4,), 4), ((9, 9), (1,), 2))
_SIZES_3D = (((6, 7, 8), (5, 9), 3), ((9, 10, 11), (9, 11), 2), ((1, 5, 4), (2, 7), 4), ((4, 1, 6), (7, 1), 1))


def _random_grid(rng: np.random.Generator, shape: tuple[int, ...]) -> VolumeGrid:
    size = rng.uniform(0.6, 1.6, len(shape))
    return VolumeGrid(shape, voxel_size=size, center=rng.uniform(-1.5, 1.5, len(shape)) * size)


def _reach(grid: VolumeGrid, axes: int) -> float:
    """Radius about the origin, in the last ``axes`` axes, within which all voxels lie."""
    low, high = (np.asarray(bound, np.float64)[-axes:] for bound in grid.bounds())
    return float(np.linalg.norm(np.maximum(np.abs(low), np.abs(high))))


def _pixels(rng, shadow, detector_shape) -> np.ndarray:
    """Pixel sizes that let the shadow (full widths, row and column) under- or overfill the detector by half."""
    axes = len(detector_shape)
    return np.asarray(shadow)[-axes:] * rng.uniform(0.5, 1.6, axes) / np.asarray(detector_shape)


def _random_parallel(seed: int, shape, detector_shape, views: int) -> SetUp:
    rng = np.random.default_rng(seed)
    grid = _random_grid(rng, shape)
    pixel = _pixels(rng, (2 * _reach(grid, len(shape)), 2 * _reach(grid, 2)), detector_shape)
    offset = rng.uniform(-2, 2, (views, len(detector_shape))) * pixel
    angles = rng.uniform(-7, 7, views)
    return ParallelBeam(angles, detector_shape=detector_shape, pixel_size=pixel, detector_offset=offset), grid


def _random_circle(seed: int, shape, detector_shape, views: int, detector: str) -> SetUp:
    """Fans and cones, from hardly diverging to sources that nearly touch the volume; every view has its own values."""
    rng = np.random.default_rng(seed)
    grid = _random_grid(rng, shape)
    reach = _reach(grid, 2)
    origin = reach * rng.choice([1.15, 1.5, 3, 12]) * rng.uniform(1, 1.1, views)
    distance = origin + reach * rng.uniform(0.1, 3, views)
    half = np.arcsin(reach / origin.min())
    width = 2 * distance.max() * (min(half, 1.0) if detector == "curved" else np.tan(half))
    height = 2 * distance.max() / (origin.min() - reach) * _reach(grid, len(shape))
    pixel = _pixels(rng, (height, width), detector_shape)
    options = {
        "source_origin_distance": origin,
        "source_detector_distance": distance,
        "detector_shape": detector_shape,
        "pixel_size": pixel,
        "detector_offset": rng.uniform(-1, 1, (views, len(detector_shape))) * pixel,
        "detector": detector,
    }
    angles = rng.uniform(-7, 7, views)
    if len(shape) == 2:
        return FanBeam(angles, **options), grid
    return ConeBeam(angles, source_z=rng.uniform(-1, 1, views) * reach, **options), grid


def _random_pose(seed: int, shape, detector_shape, views: int) -> SetUp:
    """Sources anywhere on a sphere around the volume, detectors in any orientation (3-D)."""
    rng = np.random.default_rng(seed)
    grid = _random_grid(rng, shape)
    reach = _reach(grid, 3)
    source = rng.normal(size=(views, 3))
    source *= reach * rng.uniform(1.3, 6) / np.linalg.norm(source, axis=1, keepdims=True)
    magnification = rng.uniform(1.1, 2.5)
    pixel = _pixels(rng, (2 * magnification * reach,) * 2, detector_shape)
    return _facing_cone(rng, source, magnification=magnification, detector_shape=detector_shape, pixel_size=pixel), grid


_KINDS = {
    "parallel": (_random_parallel, True),
    "flat": (partial(_random_circle, detector="flat"), True),
    "curved": (partial(_random_circle, detector="curved"), True),
    "any_pose": (_random_pose, False),
}


@st.composite
def geometries(draw, ndim: int | None = None, axial: bool = False) -> Case:
    """Random small set-ups: parallel, fan and cone, flat and curved, near and far, and (3-D) cones in any pose.

    Args:
        ndim: 2 or 3; by default both.
        axial: only set-ups that the footprint models take.
    """
    dimension = draw(st.sampled_from((2, 3))) if ndim is None else ndim
    kinds = [name for name, (_, is_axial) in _KINDS.items() if is_axial or (dimension == 3 and not axial)]
    kind = draw(st.sampled_from(kinds))
    shape, detector_shape, views = draw(st.sampled_from(_SIZES_2D if dimension == 2 else _SIZES_3D))
    # Hypothesis chooses the structure; the numbers come from a seed, because the round ones it prefers are the
    # measure-zero coincidences described above.
    seed = draw(st.integers(0, 2**32 - 1))
    build, is_axial = _KINDS[kind]
    name = f"{kind}(seed={seed}, shape={shape}, detector_shape={detector_shape}, views={views})"
    return Case(name, partial(build, seed, shape, detector_shape, views), is_axial)
