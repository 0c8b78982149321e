"""A measured scan: projections, the geometry they were taken in, and where they come from."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxct.geometry import Geometry, VolumeGrid
from jaxct.io import preprocess
from jaxct.io.preprocess import LineIntegrals

STATES = ("counts", "transmission", "line_integrals")


@dataclasses.dataclass(frozen=True, eq=False)
class Scan:
    """Projections with everything needed to reconstruct and to cite them.

    Attributes:
        projections: ``(views, rows, cols)`` or ``(views, cols)``, rows towards +z; an array, or a stack on disk that is
            read where it is indexed.
        geometry: how they were taken; its ``projection_shape`` is that of ``projections``.
        state: what the numbers are: ``"counts"`` (detector readings), ``"transmission"`` (I / I0) or
            ``"line_integrals"`` (-log(I / I0)).
        flats: open-beam frames ``(frames, [rows,] cols)``, for counts.
        darks: beam-off frames, likewise.
        grid: a grid that suits the scan, if whoever wrote it suggests one.
        title: what was scanned.
        licence: the terms under which the data may be used.
        attribution: whom to cite, and how.
        source: where the data were obtained.
        notes: remarks on processing and on what a reader had to assume.

    Raises:
        ValueError: for an unknown state, or arrays whose shapes disagree.
    """

    projections: Any
    geometry: Geometry
    state: str = "line_integrals"
    flats: Any = None
    darks: Any = None
    grid: VolumeGrid | None = None
    title: str = ""
    licence: str = ""
    attribution: str = ""
    source: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        if self.state not in STATES:
            raise ValueError(f"state: expected one of {', '.join(STATES)}, got {self.state!r}")
        shape, wanted = tuple(self.projections.shape), self.geometry.projection_shape
        if shape != wanted:
            raise ValueError(f"projections: shape {shape} does not fit the geometry's {wanted}")
        for name in ("flats", "darks"):
            frames = getattr(self, name)
            if frames is not None and tuple(frames.shape[-len(wanted) + 1 :]) != wanted[1:]:
                raise ValueError(f"{name}: frames of shape {tuple(frames.shape)} do not fit the detector {wanted[1:]}")
        if self.grid is not None and self.grid.ndim != self.geometry.ndim:
            raise ValueError(f"grid: {self.grid.ndim}-D, but the geometry is {self.geometry.ndim}-D")

    def __repr__(self) -> str:
        kind = "x".join(map(str, self.projections.shape))
        title = f"{self.title!r}, " if self.title else ""
        return f"Scan({title}{self.state} {self.projections.dtype}[{kind}], {self.geometry!r})"

    def replace(self, **changes: Any) -> "Scan":
        """The same scan with some attributes replaced, e.g. ``scan.replace(geometry=...)``."""
        return dataclasses.replace(self, **changes)

    def select(self, views: Any) -> "Scan":
        """The scan of some of its views: a slice or an array of integers. Reads those views."""
        return self.replace(projections=np.asarray(self.projections[views]), geometry=self.geometry[views])

    def line_integrals(
        self, *, background: tuple[slice, ...] | None = None, floor: float = preprocess.DEFAULT_FLOOR
    ) -> LineIntegrals:
        """The projections as line integrals in the working float type, ready to reconstruct.

        Args:
            background: detector region that sees air in every view; its median becomes transmission 1 in each view.
                For counts without flats this is the only way to I0.
            floor: smallest transmission taken at its word.

        Returns:
            ``(values, num_guarded)``: the line integrals, and how many samples were below the floor or not finite.

        Raises:
            ValueError: for counts with neither flats nor a background region, or line integrals that are not finite.
        """
        if self.state == "counts":
            if self.flats is None and background is None:
                raise ValueError("flats: these are counts without flats; give a background region that sees air")
            return preprocess.line_integrals(
                self.projections, self.flats, self.darks, background=background, floor=floor
            )
        if self.state == "transmission":
            return preprocess.line_integrals(self.projections, background=background, floor=floor)
        return LineIntegrals(self._finite_line_integrals(background), jnp.asarray(0))

    def _finite_line_integrals(self, background: tuple[slice, ...] | None) -> jax.Array:
        values = preprocess.as_float(np.asarray(self.projections))
        if not bool(jnp.isfinite(values).all()):
            raise ValueError("projections: line integrals that are not finite")
        return values if background is None else preprocess.subtract_background(values, background)
