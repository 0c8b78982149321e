"""What a PET scanner is: where its crystals are, and how well it knows time and energy."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.geometry.grid import VolumeGrid
from jaxct.geometry.lors import TOF, ListMode, LORs, SinogramLORs
from jaxct.pet import _crystals
from jaxct.pet._specification import FWHM, HALF_LIGHT_SPEED, ImageDefaults, SinogramDefaults, Timing

if TYPE_CHECKING:
    from jaxct.pet._grid_fit import GridReport
    from jaxct.pet.sinograms import SinogramLayout


@dataclasses.dataclass(frozen=True, eq=False)
class Scanner:
    """The crystals of a scanner: rings that are all alike, one behind the other along z. All lengths in mm.

    Made by :meth:`cylindrical`, :meth:`regular_polygon`, :meth:`blocks` and :meth:`from_crystals`, or by the presets of
    :mod:`jaxct.pet.scanners`. A scanner is static to JAX: two are equal only if they are the same object.

    Crystal c of n lies about at the angle ``a = first_angle + 2 pi c/n``, that is towards ``(y, x) = (-cos a, sin a)``:
    where the source of a CT scanner is at that angle. The numbers may count gaps: places where a block ends and no
    crystal is ("virtual crystals" of Siemens scanners), which ``live`` tells from crystals.

    Attributes:
        name: what it is called.
        crystals: (n, 2) positions (y, x) of one ring's crystals, at the effective depth of interaction.
        rings: (rings,) z of the rings, ascending.
        tangents: (n, 2) for each crystal the vector (y, x) along its face, as long as it is wide, counter-clockwise
            seen from +z; or None.
        axial_size: of a crystal, or None.
        inner_radius: of the bore.
        first_angle: of crystal 0, in radians.
        heights: (n,) or None: z of the crystals relative to their ring. Such a scanner has no sinograms.
        live: (n,) False where there is a gap instead of a crystal.
        live_rings: (rings,) the same for rings.
        timing: how time of flight is measured, or None.
        energy_window: (from, to) in keV, or None.
        energy_resolution: full width at half maximum over 511 keV, or None.
        sinogram_defaults: the vendor's sinogram, or None.
        image_defaults: the vendor's grid, or None.
    """

    name: str
    crystals: np.ndarray
    rings: np.ndarray
    tangents: np.ndarray | None
    axial_size: float | None
    inner_radius: float
    first_angle: float = 0.0
    heights: np.ndarray | None = None
    live: np.ndarray = None  # type: ignore[assignment]
    live_rings: np.ndarray = None  # type: ignore[assignment]
    timing: Timing | None = None
    energy_window: tuple[float, float] | None = None
    energy_resolution: float | None = None
    sinogram_defaults: SinogramDefaults | None = None
    image_defaults: ImageDefaults | None = None

    def __post_init__(self) -> None:
        n, rings = np.shape(self.crystals)[:1], np.shape(self.rings)
        for name, shape, dtype in (
            ("crystals", (*n, 2), float),
            ("rings", rings[:1], float),
            ("tangents", (*n, 2), float),
            ("heights", n, float),
            ("live", n, bool),
            ("live_rings", rings, bool),
        ):
            value = getattr(self, name)
            if value is None and dtype is bool:
                value = np.ones(shape, bool)
            if value is not None:
                object.__setattr__(self, name, _crystals.checked(name, value, shape, dtype))
        if (np.diff(self.rings) <= 0).any():
            raise ValueError("rings must ascend in z")

    @classmethod
    def cylindrical(
        cls,
        *,
        num_crystals: int,
        radius: float,
        rings: ArrayLike,
        crystal_size: tuple[float, float],
        depth_of_interaction: float = 0.0,
        name: str = "cylindrical",
        **properties: Any,
    ) -> Scanner:
        """Crystals at equal angles on a circle.

        Args:
            num_crystals: in a ring.
            radius: of the circle that the crystals' faces touch.
            rings: (rings,) z of the rings in mm.
            crystal_size: (axial, transaxial) in mm.
            depth_of_interaction: how far behind the faces photons are detected, on average.
            name: what it is called.
            properties: other attributes of :class:`Scanner`.

        Raises:
            ValueError, TypeError: for what is no such count, size, radius or array.
        """
        count = _validate.count("num_crystals", num_crystals)
        angles = properties.get("first_angle", 0.0) + 2 * np.pi * np.arange(count) / count
        axial, width = _crystals.sizes(crystal_size)
        effective = _crystals.positive("radius", radius) + depth_of_interaction
        return cls(
            name=name,
            crystals=effective * _crystals.outwards(angles),
            rings=np.asarray(rings),
            tangents=width * _crystals.along(angles),
            axial_size=axial,
            **{"inner_radius": radius, **properties},
        )

    @classmethod
    def regular_polygon(
        cls,
        *,
        num_sides: int,
        crystals_per_side: int,
        radius: float,
        pitch: float,
        rings: ArrayLike,
        crystal_size: tuple[float, float],
        depth_of_interaction: float = 0.0,
        name: str = "polygon",
        **properties: Any,
    ) -> Scanner:
        """Flat rows of crystals on the sides of a regular polygon.

        Args:
            num_sides: of the polygon.
            crystals_per_side: of one ring.
            radius: from the axis to the middle of a side, at the crystals' faces.
            pitch: between the crystals of a side.
            rings, crystal_size, depth_of_interaction, name, properties: as of :meth:`cylindrical`.

        Raises:
            ValueError, TypeError: as of :meth:`cylindrical`; crystals that do not fit on a side.
        """
        return cls.blocks(
            num_sides=num_sides,
            crystals_per_block=crystals_per_side,
            radius=radius,
            pitch=pitch,
            rings=rings,
            crystal_size=crystal_size,
            depth_of_interaction=depth_of_interaction,
            name=name,
            **properties,
        )

    @classmethod
    def blocks(
        cls,
        *,
        num_sides: int,
        crystals_per_block: int,
        radius: float,
        pitch: float,
        rings: ArrayLike,
        crystal_size: tuple[float, float],
        blocks_per_side: int = 1,
        block_gap: float = 0.0,
        virtual_crystals: int = 0,
        depth_of_interaction: float = 0.0,
        name: str = "blocks",
        **properties: Any,
    ) -> Scanner:
        """Blocks of crystals on the sides of a regular polygon, with gaps between them.

        Gaps along z are made by :func:`jaxct.pet.scanners.block_rings`, which gives ``rings`` and ``live_rings``.

        Args:
            num_sides: of the polygon.
            crystals_per_block: tangentially, gaps not counted.
            radius: from the axis to the middle of a side, at the crystals' faces.
            pitch: between the crystals of a block.
            blocks_per_side: tangentially.
            block_gap: between blocks of a side: what the distance of their outer crystals exceeds ``pitch`` by.
            virtual_crystals: how many places before each block are numbered though no crystals are there.
            rings, crystal_size, depth_of_interaction, name, properties: as of :meth:`cylindrical`.

        Raises:
            ValueError, TypeError: as of :meth:`cylindrical`; blocks that do not fit on a side.
        """
        effective = _crystals.positive("radius", radius) + depth_of_interaction
        ring = _crystals.polygon(
            num_sides=num_sides,
            blocks_per_side=blocks_per_side,
            crystals_per_block=crystals_per_block,
            virtual_crystals=virtual_crystals,
            radius=effective,
            pitch=pitch,
            block_gap=block_gap,
            first_angle=properties.get("first_angle", 0.0),
        )
        axial, width = _crystals.sizes(crystal_size)
        return cls(
            name=name,
            crystals=ring.positions,
            rings=np.asarray(rings),
            tangents=width * ring.directions,
            axial_size=axial,
            live=ring.live,
            **{"inner_radius": radius, **properties},
        )

    @classmethod
    def from_crystals(cls, positions: ArrayLike, *, name: str = "crystals", **properties: Any) -> Scanner:
        """Any list of crystals: one ring whose crystals have heights of their own. Pairs and list mode, no sinograms.

        Args:
            positions: (n, 3) in (z, y, x).
            name: what it is called.
            properties: other attributes of :class:`Scanner`; ``tangents`` and ``axial_size`` make widths known.

        Raises:
            ValueError, TypeError: for positions that are no such array.
        """
        points = _crystals.checked("positions", positions, (np.shape(positions)[0], 3), float)
        nearest = float(np.linalg.norm(points[:, 1:], axis=1).min())
        given: dict[str, Any] = {"tangents": None, "axial_size": None, "inner_radius": nearest, **properties}
        return cls(name=name, crystals=points[:, 1:], rings=np.zeros(1), heights=points[:, 0], **given)

    def rotated(self, angle: float) -> Scanner:
        """The same scanner turned about z, counter-clockwise seen from +z, by an angle in radians.

        Views and images turn with it. Vendors' first crystals are not all where a patient's up or down is.
        """
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        return dataclasses.replace(
            self,
            crystals=self.crystals @ turn.T,
            tangents=None if self.tangents is None else self.tangents @ turn.T,
            first_angle=self.first_angle + angle,
        )

    @property
    def num_crystals(self) -> int:
        """In one ring, places of gaps included."""
        return len(self.crystals)

    @property
    def num_rings(self) -> int:
        """How many there are, places of gaps included."""
        return len(self.rings)

    @functools.cached_property
    def effective_radius(self) -> float:
        """Mean distance of the crystals from the axis, in mm."""
        return float(np.linalg.norm(self.crystals[self.live], axis=1).mean())

    @property
    def tof(self) -> TOF | None:
        """Time of flight along lines of response: c/2 times what ``timing`` says."""
        if self.timing is None:
            return None
        sigma = HALF_LIGHT_SPEED * self.timing.resolution / FWHM
        return TOF(sigma, HALF_LIGHT_SPEED * self.timing.bin_width, self.timing.num_bins)

    def crystal_positions(self, ring: ArrayLike, crystal: ArrayLike) -> jax.Array:
        """(..., 3) points (z, y, x) of crystals by their numbers, which may be traced.

        Raises:
            ValueError, TypeError: for concrete numbers that no crystal has.
        """
        ring = _crystals.numbers("ring", ring, self.num_rings)
        crystal = _crystals.numbers("crystal", crystal, self.num_crystals)
        z = jnp.asarray(self.rings)[ring]
        if self.heights is not None:
            z = z + jnp.asarray(self.heights)[crystal]
        transaxial = jnp.asarray(self.crystals)[crystal]
        shape = jnp.broadcast_shapes(z.shape, crystal.shape)
        parts = jnp.broadcast_to(z, shape)[..., None], jnp.broadcast_to(transaxial, (*shape, 2))
        return jnp.concatenate(parts, -1)

    def flat_number(self, ring: ArrayLike, crystal: ArrayLike) -> jax.Array:
        """``ring * num_crystals + crystal``: one number for a crystal, as :meth:`lors_of` takes it."""
        return jnp.asarray(ring) * self.num_crystals + jnp.asarray(crystal)

    def lors_of(self, pairs: ArrayLike, *, tof: bool = True) -> LORs:
        """The lines of response of pairs of crystals.

        Args:
            pairs: (n, 2) integers, see :meth:`flat_number`: the crystals where each line starts and ends.
            tof: whether the projections have bins of time of flight, if the scanner measures it.

        Raises:
            ValueError, TypeError: for a wrong shape, and concrete numbers that no crystal has.
        """
        start, end, widths = self._ends(pairs)
        return LORs(start, end, widths=widths, tof=self.tof if tof else None)

    def list_mode(self, pairs: ArrayLike, tof_bin: ArrayLike | None = None) -> ListMode | LORs:
        """Coincidences one by one.

        Args:
            pairs: as of :meth:`lors_of`.
            tof_bin: (n,) integers, bin 0 nearest to the start; None for events without time of flight.

        Returns:
            :class:`ListMode`, without ``tof_bin`` :class:`LORs`.

        Raises:
            ValueError, TypeError: as :meth:`lors_of`; ``tof_bin`` for a scanner that measures no times.
        """
        if tof_bin is None:
            return self.lors_of(pairs, tof=False)
        if self.tof is None:
            raise ValueError(f"tof_bin: {self.name} has no timing")
        start, end, widths = self._ends(pairs)
        return ListMode(start, end, tof_bin, self.tof, widths=widths)

    def layout(
        self,
        span: int | None = None,
        max_ring_difference: int | None = None,
        num_bins: int | None = None,
        mashing: int | None = None,
    ) -> SinogramLayout:
        """Which crystals the bins of a sinogram hold; what is None is as the vendor has it.

        For a scanner without ``sinogram_defaults`` it is half as many bins as crystals in a ring, span 1, all ring
        differences and no mashing.

        Raises:
            ValueError, TypeError: see :class:`SinogramLayout`.
        """
        from jaxct.pet.sinograms import SinogramLayout

        usual = self.sinogram_defaults or SinogramDefaults(self.num_crystals // 2, 1, self.num_rings - 1)
        return SinogramLayout(
            self,
            num_bins=usual.num_bins if num_bins is None else num_bins,
            span=usual.span if span is None else span,
            max_ring_difference=usual.max_ring_difference if max_ring_difference is None else max_ring_difference,
            mashing=usual.mashing if mashing is None else mashing,
        )

    def sinogram(
        self,
        span: int | None = None,
        max_ring_difference: int | None = None,
        num_bins: int | None = None,
        mashing: int | None = None,
        tof: bool = True,
    ) -> SinogramLORs:
        """The lines of response of a sinogram: ``layout(...).lors(tof=tof)``.

        Raises:
            ValueError, TypeError: as :meth:`layout`.
        """
        return self.layout(span, max_ring_difference, num_bins, mashing).lors(tof=tof)

    def grid(self) -> VolumeGrid:
        """The vendor's grid, else :meth:`fit_grid`."""
        if self.image_defaults is None:
            return self.fit_grid()
        return VolumeGrid(self.image_defaults.shape, self.image_defaults.voxel_size)

    def fit_grid(self, voxel_size: float | tuple[float, float, float] | None = None) -> VolumeGrid:
        """The smallest grid that holds all that the scanner sees; see :func:`jaxct.pet.scanners.fit_grid`."""
        from jaxct.pet._grid_fit import fit_grid

        return fit_grid(self, voxel_size)

    def check_grid(self, grid: VolumeGrid) -> GridReport:
        """Whether a grid suits the scanner, in words and numbers; see :class:`jaxct.pet.scanners.GridReport`."""
        from jaxct.pet._grid_fit import check_grid

        return check_grid(self, grid)

    def _ends(self, pairs: ArrayLike) -> tuple[jax.Array, jax.Array, jax.Array | None]:
        pairs = _crystals.numbers("pairs", pairs, self.num_rings * self.num_crystals)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or len(pairs) == 0:
            raise ValueError(f"pairs must have shape (n, 2) with at least one pair, got {pairs.shape}")
        crystal = pairs % self.num_crystals
        points = self.crystal_positions(pairs // self.num_crystals, crystal)
        start, end = points[:, 0], points[:, 1]
        if self.tangents is None or self.axial_size is None:
            return start, end, None
        tangential = _crystals.seen_widths(jnp.asarray(self.tangents)[crystal], start, end)
        return start, end, jnp.stack([jnp.full_like(tangential, self.axial_size), tangential], -1)

    def __repr__(self) -> str:
        kind = "" if self.tof is None else f", TOF {self.timing.resolution:g} ps"  # type: ignore[union-attr]
        return f"Scanner({self.name}: {self.num_rings} x {self.num_crystals} crystals{kind})"
