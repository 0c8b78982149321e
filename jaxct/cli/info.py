"""``jaxct info``: what is in a scan."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxct.geometry import ConeBeam, FanBeam, Geometry, ParallelBeam
from jaxct.geometry._fields import leaf_ranks
from jaxct.io import Scan, open_scan, suggest_grid

_LABEL_WIDTH = 26


def describe(path: Path) -> Iterator[str]:
    """Lines of text about a scan; only a few of its views are read."""
    scan = open_scan(path)
    for label, value in (
        ("title", scan.title),
        ("projections", f"{_shape(scan.projections.shape)} {scan.projections.dtype} ({scan.state})"),
        ("values", _values(scan)),
        ("flats", "" if scan.flats is None else _shape(scan.flats.shape)),
        ("darks", "" if scan.darks is None else _shape(scan.darks.shape)),
        *_geometry(scan.geometry),
        ("suggested grid", _grid(scan)),
        ("licence", scan.licence),
        ("attribution", scan.attribution),
        ("source", scan.source),
        *(("note", note) for note in scan.notes),
    ):
        if value:
            yield f"{label:<{_LABEL_WIDTH}}{value}"


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _values(scan: Scan) -> str:
    views = np.unique(np.linspace(0, len(scan.projections) - 1, 5).astype(int))
    some = np.asarray(scan.projections[views], np.float32)
    return f"{some.min():.4g} to {some.max():.4g}, mean {some.mean():.4g} ({len(views)} views read)"


def _grid(scan: Scan) -> str:
    grid = scan.grid or suggest_grid(scan.geometry)
    sizes = np.unique(np.asarray(grid.voxel_size).round(6))
    return f"{_shape(grid.shape)} voxels of {' x '.join(f'{s:g}' for s in sizes)} mm"


def _geometry(geometry: Geometry) -> Iterator[tuple[str, str]]:
    kind = type(geometry).__name__
    yield "geometry", f"{kind}, {geometry.detector} detector" if hasattr(geometry, "detector") else kind
    if not isinstance(geometry, ParallelBeam | FanBeam | ConeBeam):
        return
    angles = np.degrees(np.asarray(geometry.angles, np.float64))
    yield "angles", f"{angles.min():.2f} to {angles.max():.2f} degrees, {geometry.num_views} views"
    for name in leaf_ranks(geometry):
        value = np.asarray(getattr(geometry, name))
        if name != "angles" and not (name == "source_z" and not value.any()):
            yield name.replace("_", " "), f"{_number(value)} mm"
    if not isinstance(geometry, ParallelBeam):
        ratio = np.asarray(geometry.source_detector_distance) / np.asarray(geometry.source_origin_distance)
        yield "magnification", f"{float(np.mean(ratio)):.4g}"


def _number(value: np.ndarray) -> str:
    """A value all views share, (row, col), or the range of one that varies."""
    if value.size <= 2:
        return ", ".join(f"{v:.6g}" for v in value.ravel()) + (" (row, col)" if value.size == 2 else "")
    return f"{value.min():.6g} to {value.max():.6g}"
