"""Whether a grid of voxels suits a scanner, and the grid that does."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from jaxct.geometry.grid import VolumeGrid

if TYPE_CHECKING:
    from jaxct.pet._scanner import Scanner

# Voxels a quarter larger than a crystal blur what the scanner resolves; an eighth of one only adds unknowns.
COARSE, FINE = 1.25, 0.125
ALIGNED = 0.05


@dataclasses.dataclass(frozen=True)
class GridReport:
    """How a grid lies in a scanner; lengths in mm. ``print(report)`` says it in words.

    Attributes:
        scanner: its name.
        grid_extent: (z, y, x) edge lengths of the grid.
        inside_bore: fraction of the voxels whose centres lie in the bore.
        bore_radius: of the bore.
        field_radius: how far from the axis the vendor's bins, or the bore, reach.
        grid_radius: of the largest circle about the axis inside the grid; 0 if the axis is outside.
        axial_margins: (at the lower, at the upper end) by how much the grid reaches beyond the outermost rings'
            centres; negative where it does not cover them.
        voxels_per_crystal: (axially, transaxially) a crystal's pitch over a voxel's size.
        slice_shift: how far the rings' planes are from the nearest slices' centres, at most.
        problems: what makes the grid unfit.
        notes: what is good to know.
    """

    scanner: str
    grid_extent: tuple[float, float, float]
    inside_bore: float
    bore_radius: float
    field_radius: float
    grid_radius: float
    axial_margins: tuple[float, float]
    voxels_per_crystal: tuple[float, float]
    slice_shift: float
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    def __str__(self) -> str:
        size = " x ".join(f"{e:.4g}" for e in self.grid_extent)
        verdict = "fits" if self.fits else "does not fit"
        lines = [f"A grid of {size} mm (z, y, x) {verdict} {self.scanner}."]
        return "\n".join([*lines, *(f"  problem: {p}" for p in self.problems), *(f"  note: {n}" for n in self.notes)])


def check_grid(scanner: Scanner, grid: VolumeGrid) -> GridReport:
    """See :class:`GridReport`.

    Raises:
        ValueError: for a 2-D grid.
    """
    if grid.ndim != 3:
        raise ValueError(f"grid must have three axes, got shape {grid.shape}")
    low, high = (np.asarray(b, float) for b in grid.bounds())
    voxel = np.asarray(grid.voxel_size, float)
    rings = outer_rings(scanner)
    pitch = crystal_pitch(scanner)
    planes = np.asarray(grid.to_index(np.stack([scanner.rings, *[np.zeros_like(scanner.rings)] * 2], -1)), float)[:, 0]
    z, y, x = (high - low).tolist()
    report = GridReport(
        scanner=scanner.name,
        grid_extent=(z, y, x),
        inside_bore=inside_bore(scanner, grid),
        bore_radius=scanner.inner_radius,
        field_radius=field_radius(scanner),
        grid_radius=max(0.0, float(np.minimum(-low[1:], high[1:]).min())),
        axial_margins=(float(rings[0] - low[0]), float(high[0] - rings[1])),
        voxels_per_crystal=(float(pitch[0] / voxel[0]), float(pitch[1] / voxel[1:].max())),
        slice_shift=float(np.abs(planes - np.round(planes)).max() * voxel[0]),
        problems=(),
        notes=(),
    )
    return dataclasses.replace(report, problems=tuple(_problems(report)), notes=tuple(_notes(report, voxel[0])))


def _problems(report: GridReport) -> list[str]:
    problems = []
    if report.inside_bore == 0:
        problems.append(f"no voxel lies in the bore, radius {report.bore_radius:.4g} mm")
    for name, margin in zip(("lower", "upper"), report.axial_margins, strict=True):
        if margin < 0:
            problems.append(
                f"at its {name} end in z the grid is {-margin:.4g} mm shorter than the rings: "
                "activity there would be put into other voxels"
            )
    for name, ratio in zip(("axially", "transaxially"), report.voxels_per_crystal, strict=True):
        if ratio < 1 / COARSE:
            problems.append(f"{name} a voxel is as large as {1 / ratio:.3g} crystals: detail is lost")
    return problems


def _notes(report: GridReport, slice_size: float) -> list[str]:
    notes = []
    if 0 < report.inside_bore < 1:
        outside = 1 - report.inside_bore
        notes.append(f"{outside:.2%} of the voxels lie outside the bore, radius {report.bore_radius:.4g} mm")
    if report.grid_radius < report.field_radius:
        notes.append(
            f"bins see up to {report.field_radius:.4g} mm from the axis, the grid reaches {report.grid_radius:.4g} mm: "
            "what is active between must be none"
        )
    beyond = [m for m in report.axial_margins if m > 1.5 * slice_size]
    if beyond:
        notes.append(f"slices up to {max(beyond):.4g} mm beyond the outermost rings are seen by few lines or none")
    for name, ratio in zip(("axially", "transaxially"), report.voxels_per_crystal, strict=True):
        if ratio > 1 / FINE:
            notes.append(f"{name} a crystal is as large as {ratio:.3g} voxels: more unknowns than the data can tell")
    if report.slice_shift > ALIGNED * slice_size:
        notes.append(f"rings lie up to {report.slice_shift:.3g} mm from the nearest slice's centre")
    return notes


def fit_grid(scanner: Scanner, voxel_size: float | tuple[float, float, float] | None = None) -> VolumeGrid:
    """The smallest grid that holds all that a scanner sees: from ring to ring, and a square about its field of view.

    Args:
        scanner: any.
        voxel_size: in mm, a scalar or (z, y, x); None for half a crystal's pitch, so that slices lie on the rings'
            planes and between them.
    """
    half = np.asarray(crystal_pitch(scanner))[[0, 1, 1]] / 2
    voxel = half if voxel_size is None else np.broadcast_to(np.asarray(voxel_size, float), (3,))
    low, high = outer_rings(scanner)
    across = [int(np.ceil(2 * field_radius(scanner) / v - 1e-6)) for v in voxel[1:]]
    slices = int(np.ceil((high - low) / voxel[0] - 1e-6)) + 1
    return VolumeGrid((slices, *across), tuple(voxel.tolist()), ((low + high) / 2, 0.0, 0.0))


def inside_bore(scanner: Scanner, grid: VolumeGrid) -> float:
    """Fraction of the voxels whose centres lie in the bore."""
    _, y, x = (np.asarray(c, float) for c in grid.coordinates())
    return float((np.hypot(*np.meshgrid(y, x)) <= scanner.inner_radius).mean())


def outer_rings(scanner: Scanner) -> tuple[float, float]:
    """z of the first and the last crystals' centres."""
    z = scanner.rings[scanner.live_rings] if scanner.heights is None else scanner.heights[scanner.live]
    return float(z.min()), float(z.max())


def crystal_pitch(scanner: Scanner) -> tuple[float, float]:
    """(axial, transaxial): median distance of neighbouring rings and crystals, else a crystal's size."""
    if scanner.heights is None:
        across = float(np.median(np.linalg.norm(np.diff(scanner.crystals, axis=0), axis=1)))
        axial = float(np.median(np.diff(scanner.rings))) if scanner.num_rings > 1 else scanner.axial_size or across
        return axial, across
    points = np.concatenate([scanner.heights[:, None], scanner.crystals], 1)
    some = points[np.linspace(0, len(points) - 1, min(len(points), 64)).astype(int)]
    distances = np.linalg.norm(some[:, None] - points, axis=2)
    nearest = float(np.median(np.where(distances > 0, distances, np.inf).min(1)))
    return nearest, nearest


def field_radius(scanner: Scanner) -> float:
    """How far from the axis the vendor's bins reach, and no farther than the bore."""
    if scanner.heights is not None or scanner.num_crystals % 2:
        return scanner.inner_radius
    return min(float(np.abs(scanner.layout().distances).max()), scanner.inner_radius)
