"""Conversion to and from the geometries and arrays of the ASTRA Toolbox, without importing it.

What differs between the two, all of it handled here and nowhere else:

===================  ==================================  ==========================================
                     jaxct                               ASTRA
===================  ==================================  ==========================================
vectors              (z, y, x), in 2-D (y, x)            (x, y, z), in 2-D (x, y)
volume               ``[z, y, x]``, y upwards            the same
2-D image            ``[y, x]``, row 0 at the lowest y   row 0 at the **highest** y
3-D projections      ``[view, row, col]``                ``[row, view, col]``
2-D sinogram         ``[view, col]``                     the same
distances            source to detector                  origin to detector
===================  ==================================  ==========================================

Angles, the sense of rotation and the directions of detector rows and columns agree. A projection geometry is a
dictionary as ``astra.create_proj_geom`` returns it, a volume geometry one as ``astra.create_vol_geom`` does.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxct.geometry._base import Geometry
from jaxct.geometry.cone import ConeBeam
from jaxct.geometry.fan import FanBeam
from jaxct.geometry.grid import VolumeGrid
from jaxct.geometry.parallel import ParallelBeam
from jaxct.geometry.vectors import ConeVectors, ParallelVectors

# How far (relative) a cylindrical detector's radius may be from the distance to the source, so as to be centred on it.
_RADIUS_TOLERANCE = 1e-5


def to_astra(geometry: Geometry) -> dict[str, Any]:
    """The projection geometry as an ASTRA dictionary in vector form, whatever the geometry's own parameters.

    The type is "parallel_vec" or "fanflat_vec" in 2-D, and "parallel3d_vec", "cone_vec" or, for curved detectors,
    "cyl_cone_vec" (ASTRA 2.4 and later) in 3-D.

    Raises:
        ValueError: a curved detector in 2-D, which ASTRA does not have.
        TypeError: not a geometry.
    """
    if not isinstance(geometry, Geometry):
        raise TypeError(f"geometry must be a jaxct geometry, got {geometry!r}")
    vectors = geometry.to_vectors()
    counts = dict(zip(_count_names(vectors.ndim), vectors.detector_shape, strict=True))
    return {"type": _vector_type(vectors), **counts, "Vectors": to_vector_array(vectors)}


def to_vector_array(geometry: Geometry) -> np.ndarray:
    """ASTRA's ``Vectors`` of a geometry: float64, one line per view.

    3-D, (views, 12): ray direction or source, detector centre, step along the columns, step along the rows, each
    (x, y, z); a curved detector adds its radius. 2-D, (views, 6): ray direction or source, detector centre, step along
    the columns, each (x, y).
    """
    v = geometry.to_vectors()
    first = v.direction if isinstance(v, ParallelVectors) else v.source
    parts = [first, v.detector_center, v.col_axis] + ([] if v.row_axis is None else [v.row_axis])
    array = np.concatenate([np.asarray(part, np.float64)[:, ::-1] for part in parts], axis=1)
    return np.hstack([array, _arc_radius(array)[:, None]]) if _vector_type(v) == "cyl_cone_vec" else array


def from_astra(proj_geom: Mapping[str, Any]) -> ParallelBeam | FanBeam | ConeBeam | ParallelVectors | ConeVectors:
    """The jaxct geometry of an ASTRA projection geometry.

    "parallel", "fanflat", "parallel3d" and "cone" keep their angles and distances (:class:`ParallelBeam`,
    :class:`FanBeam`, :class:`ConeBeam`); "parallel_vec", "fanflat_vec", "parallel3d_vec", "cone_vec" and "cyl_cone_vec"
    become vectors.

    Raises:
        ValueError: an unknown type, a missing entry, wrong shapes or values, a cylindrical detector that is not centred
            on its source.
    """
    kind = _entry(proj_geom, "type")
    if kind in ("parallel", "fanflat", "parallel3d", "cone"):
        return _from_angles(kind, proj_geom)
    columns = {"parallel_vec": 6, "fanflat_vec": 6, "parallel3d_vec": 12, "cone_vec": 12, "cyl_cone_vec": 13}
    if kind not in columns:
        raise ValueError(f"type of the projection geometry must be one that jaxct has, got {kind!r}")
    array = np.asarray(_entry(proj_geom, "Vectors"), np.float64)
    if array.ndim != 2 or array.shape[1] != columns[kind]:
        raise ValueError(f"Vectors of {kind!r} must have shape (views, {columns[kind]}), got {array.shape}")
    return _from_vector_array(kind, array, _detector_shape(proj_geom, 2 if columns[kind] == 6 else 3))


def to_astra_volume(grid: VolumeGrid) -> dict[str, Any]:
    """The grid as an ASTRA volume geometry: the numbers of voxels and the window that they fill."""
    lower, upper = (np.asarray(bound, np.float64)[::-1] for bound in grid.bounds())
    names = ("GridColCount", "GridRowCount", "GridSliceCount")
    option = {f"WindowMin{axis}": float(low) for axis, low in zip("XYZ", lower, strict=False)}
    option |= {f"WindowMax{axis}": float(high) for axis, high in zip("XYZ", upper, strict=False)}
    return {**dict(zip(names, grid.shape[::-1], strict=False)), "option": option}


def from_astra_volume(vol_geom: Mapping[str, Any]) -> VolumeGrid:
    """The grid of an ASTRA volume geometry, 2-D or 3-D. Without a window, voxels are unit cubes around the origin."""
    names = ("GridSliceCount",) * ("GridSliceCount" in vol_geom) + ("GridRowCount", "GridColCount")
    shape = np.array([_entry(vol_geom, name) for name in names])
    option = vol_geom.get("option", {})
    axes = "ZYX"[-len(shape) :]
    lower = np.array([option.get(f"WindowMin{axis}", -n / 2) for axis, n in zip(axes, shape, strict=True)])
    upper = np.array([option.get(f"WindowMax{axis}", n / 2) for axis, n in zip(axes, shape, strict=True)])
    return VolumeGrid(tuple(shape.tolist()), voxel_size=(upper - lower) / shape, center=(lower + upper) / 2)


def volume_to_astra(volume: Any) -> Any:
    """An array in ASTRA's order: a 2-D image is turned upside down, a 3-D volume stays. NumPy or JAX, kind kept."""
    if volume.ndim not in (2, 3):
        raise ValueError(f"volume must have 2 or 3 axes, got shape {volume.shape}")
    return volume[::-1] if volume.ndim == 2 else volume


def volume_from_astra(volume: Any) -> Any:
    """The inverse of :func:`volume_to_astra` (the same operation)."""
    return volume_to_astra(volume)


def projections_to_astra(projections: Any) -> Any:
    """An array in ASTRA's order: (view, row, col) becomes (row, view, col), a 2-D sinogram stays. NumPy or JAX."""
    if projections.ndim not in (2, 3):
        raise ValueError(f"projections must have 2 or 3 axes, got shape {projections.shape}")
    return projections.swapaxes(0, 1) if projections.ndim == 3 else projections


def projections_from_astra(projections: Any) -> Any:
    """The inverse of :func:`projections_to_astra` (the same operation)."""
    return projections_to_astra(projections)


def _count_names(ndim: int) -> tuple[str, ...]:
    return ("DetectorCount",) if ndim == 2 else ("DetectorRowCount", "DetectorColCount")


def _vector_type(vectors: ParallelVectors | ConeVectors) -> str:
    if isinstance(vectors, ParallelVectors):
        return "parallel_vec" if vectors.ndim == 2 else "parallel3d_vec"
    if vectors.detector == "flat":
        return "fanflat_vec" if vectors.ndim == 2 else "cone_vec"
    if vectors.ndim == 2:
        raise ValueError('geometry must not have detector="curved" in 2-D: ASTRA has no curved fan beam')
    return "cyl_cone_vec"


def _entry(description: Mapping[str, Any], name: str) -> Any:
    if name not in description:
        raise ValueError(f"an ASTRA geometry must have the entry {name!r}, got {sorted(description)}")
    return description[name]


def _detector_shape(proj_geom: Mapping[str, Any], ndim: int) -> tuple[int, ...]:
    return tuple(_entry(proj_geom, name) for name in _count_names(ndim))


def _from_angles(kind: str, proj_geom: Mapping[str, Any]) -> ParallelBeam | FanBeam | ConeBeam:
    flat_world = kind in ("parallel", "fanflat")
    pitches = ("DetectorWidth",) if flat_world else ("DetectorSpacingY", "DetectorSpacingX")
    angles = np.asarray(_entry(proj_geom, "ProjectionAngles"), np.float64)
    detector: dict[str, Any] = {
        "detector_shape": _detector_shape(proj_geom, 2 if flat_world else 3),
        "pixel_size": [_entry(proj_geom, name) for name in pitches],
    }
    if kind in ("parallel", "parallel3d"):
        return ParallelBeam(angles, **detector)
    to_source = _entry(proj_geom, "DistanceOriginSource")
    distance = to_source + _entry(proj_geom, "DistanceOriginDetector")
    beam = FanBeam if kind == "fanflat" else ConeBeam
    return beam(angles, source_origin_distance=to_source, source_detector_distance=distance, **detector)


def _from_vector_array(kind: str, array: np.ndarray, detector_shape: tuple[int, ...]) -> ParallelVectors | ConeVectors:
    ndim = 2 if array.shape[1] == 6 else 3
    first, center, col, *rest = (array[:, i : i + ndim][:, ::-1] for i in range(0, array.shape[1] - ndim + 1, ndim))
    row = rest[0] if rest else None
    if kind.startswith("parallel"):
        return ParallelVectors(first, center, row, col, detector_shape)
    if kind == "cyl_cone_vec":
        _check_radius(array)
    detector = "curved" if kind == "cyl_cone_vec" else "flat"
    return ConeVectors(first, center, row, col, detector_shape, detector)


def _arc_radius(array: np.ndarray) -> np.ndarray:
    """The distance from the source to the middle of the detector, perpendicular to the rows' direction."""
    axis = array[:, 9:12] / np.linalg.norm(array[:, 9:12], axis=1, keepdims=True)
    reach = array[:, 3:6] - array[:, 0:3]
    return np.linalg.norm(reach - np.sum(reach * axis, axis=1, keepdims=True) * axis, axis=1)


def _check_radius(array: np.ndarray) -> None:
    given, wanted = array[:, 12], _arc_radius(array)
    bad = ~(np.abs(given - wanted) <= _RADIUS_TOLERANCE * wanted)
    if bad.any():
        view = int(np.argmax(bad))
        raise ValueError(
            "Vectors of 'cyl_cone_vec' must describe a cylinder centred on the source, of radius "
            f"{wanted[view]:g}, got radius {given[view]:g} in view {view}"
        )
