"""Forward and back projection, and the projector as an operator."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxct import _sparse, linear
from jaxct._linear import KEEP_FIXED
from jaxct._sharding import vary_trees
from jaxct.geometry import VolumeGrid
from jaxct.geometry._base import Acquisition, Geometry

ADJOINTS = ("matched", "voxel_driven")


def forward_project(
    volume: ArrayLike,
    geometry: Acquisition,
    grid: VolumeGrid,
    *,
    model: str | None = None,
    adjoint: str = "matched",
    precision: str = "exact",
) -> jax.Array:
    """Line integrals (value x mm) of a volume along every ray of a geometry, ``p = A x``.

    Args:
        volume: ``grid.shape``; values per mm. float32 or float64; float16 and bfloat16 are storage types, computed with
            in float32.
        geometry: any geometry of :mod:`jaxct.geometry`, or lines of response of :mod:`jaxct.pet`.
        grid: where the voxels lie.
        model: the weights a_ij of A. "siddon": exact length of the ray in the voxel; "joseph": linear interpolation in
            the planes across the ray's dominant axis. Of beams also "distance_driven" and "separable_footprint" (what
            None means): the voxel's shadow averaged over the pixel, for detectors whose rows are stacked near z. Of
            lines of response, for which None means "joseph", also "multi_ray": the mean of several of Joseph's lines
            between two crystals, and "distance_driven": the part of the tube between them that a voxel fills.
        adjoint: "matched": the gradient is the exact transpose. "voxel_driven", for beams: the gradient is the
            voxel-driven back projector, scaled like the transpose: faster and smoother, but no longer the derivative.
        precision: "exact": float32 data are read as they are. "fast": GPUs read them rounded to half precision (after
            scaling by a power of two, so any range will do), which moves half the bytes. The weights and sums are the
            same, so the pair stays matched up to that rounding, 2^-11 of a value. CPUs always compute exactly.

    Returns:
        ``geometry.projection_shape``, of beams ``(views, rows, cols)`` or ``(views, cols)``, in the dtype of
        ``volume``.

    Raises:
        ValueError: shapes that do not fit, an unknown model, a source inside the volume, a detector that the model
            cannot take.
        TypeError: an argument of the wrong kind or dtype.
        NotImplementedError: a derivative that does not exist. In the geometry and the grid "joseph" and
            "separable_footprint" have first ones, and all but "siddon" along lines of response; in the volume all
            have. Where rays run in voxels' faces, or voxels' edges fall on pixels', the former have kinks.

    References:
        Siddon, Med. Phys. 12 (1985); Joseph, IEEE TMI 1 (1982); De Man & Basu, PMB 49 (2004); Long, Fessler & Balter,
        IEEE TMI 29 (2010).
    """
    model = linear.check_setup(geometry, grid, model, linear.PROJECTOR_MODELS, precision)
    if adjoint not in ADJOINTS:
        raise ValueError(f"adjoint must be one of {', '.join(map(repr, ADJOINTS))}, got {adjoint!r}")
    if adjoint == "voxel_driven" and not isinstance(geometry, Geometry):
        raise ValueError(f"adjoint 'voxel_driven' is for beams, got a {type(geometry).__name__}")
    volume = linear.as_data("volume", volume, grid.shape, "grid.shape")
    if adjoint == "voxel_driven":
        return _forward_unmatched(*vary_trees(volume, *_constants(geometry, grid)), model, precision)
    return linear.project("forward", volume, geometry, grid, model, precision=precision)


def back_project(
    projections: ArrayLike,
    geometry: Acquisition,
    grid: VolumeGrid,
    *,
    model: str | None = None,
    precision: str = "exact",
) -> jax.Array:
    """The exact transpose of :func:`forward_project`, ``x = A^T p``; or the voxel-driven back projector.

    Args:
        projections: ``geometry.projection_shape``; float32, float64, float16 or bfloat16.
        geometry: as there.
        grid: where the voxels lie.
        model: a model of :func:`forward_project`, or for beams "voxel_driven": the sum over views of M^2 times the
            projection, linearly interpolated where the voxel's centre falls (zero off the detector), with M the voxel's
            magnification: Feldkamp's weight. Scale factors are left to :func:`jaxct.reconstruct.fbp` and
            :func:`jaxct.reconstruct.fdk`.
        precision: as in :func:`forward_project`.

    Returns:
        ``grid.shape``, in the dtype of ``projections``.

    Raises:
        ValueError, TypeError, NotImplementedError: as :func:`forward_project`.
    """
    model = linear.check_setup(geometry, grid, model, linear.BACK_MODELS, precision)
    projections = linear.as_data(
        "projections", projections, geometry.projection_shape, "geometry.projection_shape = (views, *detector_shape)"
    )
    return linear.project("back", projections, geometry, grid, model, precision=precision)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _forward_unmatched(volume, geometry, grid, model, precision):
    return linear.project("forward", volume, geometry, grid, model, precision=precision)


def _forward_unmatched_fwd(volume, geometry, grid, model, precision):
    return _forward_unmatched(volume, geometry, grid, model, precision), (geometry, grid)


def _forward_unmatched_bwd(model, precision, residuals, cotangent):
    geometry, grid = residuals
    weighted = _density(geometry, grid).astype(cotangent.dtype).reshape(-1, *[1] * (cotangent.ndim - 1)) * cotangent
    power = geometry.ndim - 1
    back = linear.project(
        "back", weighted, geometry, grid, "voxel_driven", magnification_power=power, precision=precision
    )
    return back, None, None


_forward_unmatched.defvjp(_forward_unmatched_fwd, _forward_unmatched_bwd)


def _density(geometry: Geometry, grid: VolumeGrid) -> jax.Array:
    """Voxel volume over pixel area (2-D: area over width) per view: makes interpolation an approximate transpose."""
    vectors = geometry.to_vectors()
    pixel = vectors.col_axis if vectors.row_axis is None else jnp.cross(vectors.row_axis, vectors.col_axis)
    return jnp.prod(grid.voxel_size) / jnp.linalg.norm(pixel, axis=-1)


def _constants(*trees: Any) -> tuple[Any, ...]:
    """The same trees, but differentiating with respect to them raises, where ``custom_vjp`` would answer zero."""
    return jax.tree.map(_constant, trees)


@jax.custom_jvp
def _constant(leaf: jax.Array) -> jax.Array:
    return leaf


@_constant.defjvp
def _constant_jvp(primals, tangents):
    raise NotImplementedError(
        "adjoint='voxel_driven' replaces the derivative with respect to the volume and has none with respect to the "
        f"geometry or the grid: use adjoint='matched'; {KEEP_FIXED}"
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Projector:
    """The system matrix A of a scan as a linear operator: ``A(volume)``, ``A.T(projections)``.

    A true linear map to JAX (it is built on :mod:`jaxct.linear`): ``jax.linear_transpose``, ``jax.jvp`` and solvers
    take it as it is.

    Args:
        geometry: any geometry of :mod:`jaxct.geometry`, or lines of response of :mod:`jaxct.pet`.
        grid: where the voxels lie.
        model: as in :func:`forward_project`.
        precision: as in :func:`forward_project`.
    """

    geometry: Acquisition
    grid: VolumeGrid
    model: str | None = dataclasses.field(default=None, metadata={"static": True}, kw_only=True)
    precision: str = dataclasses.field(default="exact", metadata={"static": True}, kw_only=True)

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of a volume."""
        return self.grid.shape

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of the projections."""
        return self.geometry.projection_shape

    @property
    def T(self) -> "TransposedProjector":  # noqa: N802
        """The transpose."""
        return TransposedProjector(self)

    def __getitem__(self, views: int | slice | ArrayLike) -> "Projector":
        """The projector of some views: a slice, an index array (may be traced) or a concrete mask."""
        return dataclasses.replace(self, geometry=self.geometry[views])

    def to_sparse(self, format: str = "scipy", *, max_entries: int = 2**31) -> Any:
        """The matrix M itself, its zeros left out: ``A(x)`` is ``M @ x.ravel()``, ``A.T(y)`` is ``M.T @ y.ravel()``.

        For small problems: to look at, to factorise, to give to libraries that want a matrix. Every entry is computed,
        the zeros too, a ray at a time, some 64 MiB of them at once. What remains takes 8 bytes a weight (12 under x64;
        in "bcoo" 12 and 16), and there are about as many weights in a row as there are voxels along a ray, times the
        neighbours that a model takes.

        Args:
            format: "scipy": a ``scipy.sparse.csr_array`` (needs ``jaxct[io]``); "bcoo": a
                ``jax.experimental.sparse.BCOO``, its indices sorted.
            max_entries: how large the matrix may be at most, zeros included. The default is that of a 128 x 128 image
                with 500 views of 256 pixels.

        Returns:
            The matrix, of shape ``(prod(A.out_shape), prod(A.in_shape))``, rays and voxels in C order, float32 (float64
            under x64).

        Raises:
            ValueError: an unknown format, a matrix that is too large, a geometry or a grid that is traced.
            ImportError: "scipy" without scipy.
        """
        return _sparse.system_matrix(self, format, max_entries)

    def __call__(self, volume: ArrayLike) -> jax.Array:
        return linear.forward_project(volume, self.geometry, self.grid, model=self.model, precision=self.precision)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class TransposedProjector:
    """The transpose of a :class:`Projector`; its ``T`` is the projector again."""

    T: Projector

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of the projections."""
        return self.T.out_shape

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of a volume."""
        return self.T.in_shape

    def __call__(self, projections: ArrayLike) -> jax.Array:
        a = self.T
        return linear.back_project(projections, a.geometry, a.grid, model=a.model, precision=a.precision)
