"""Linear operators between sinograms of one scanner: axial compression, mashing, arc correction."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.geometry._base import _view_index
from jaxct.pet._michelogram import members

if TYPE_CHECKING:
    from jaxct.pet.sinograms import SinogramLayout


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Rebinning:
    """A sparse linear map along one axis of a sinogram: ``y[o] = sum_j weight[o, j] x[index[o, j]]``.

    The transpose is such a map, too, kept beside it with the same weights: both gather, so their results do not depend
    on the order in which a GPU works. Made by :func:`axial_compression` and its like.

    Attributes:
        index: (outputs, most entries), or (views, outputs, most entries) where each view has its own; an index past the
            end stands for no entry.
        weight: of the same shape.
        transposed_index: (inputs, most entries), or with views in front.
        transposed_weight: of the same shape.
        axis: 0 for views, 1 for planes, 2 for bins, 3 for those of time of flight.
        in_shape: of x.
        out_shape: of y.
    """

    index: Array
    weight: Array
    transposed_index: Array
    transposed_weight: Array
    axis: int = dataclasses.field(metadata={"static": True})
    in_shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    out_shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    @property
    def T(self) -> Rebinning:  # noqa: N802
        """The transpose."""
        return Rebinning(
            self.transposed_index,
            self.transposed_weight,
            self.index,
            self.weight,
            self.axis,
            self.out_shape,
            self.in_shape,
        )

    def __getitem__(self, views: Any) -> Rebinning:
        """The operator of some views, of input and output alike: a slice, an index array or a concrete mask.

        Raises:
            IndexError, TypeError: as for a geometry; TypeError for an operator that merges views.
        """
        if self.axis == 0:
            raise TypeError("an operator that merges views has none of its own: mash the data, then take the subset")
        index = _view_index(views, self.in_shape[0])
        count = len(range(*index.indices(self.in_shape[0]))) if isinstance(index, slice) else len(index)
        part = dataclasses.replace(self, in_shape=(count, *self.in_shape[1:]), out_shape=(count, *self.out_shape[1:]))
        if self.index.ndim == 2:
            return part
        tables = ("index", "weight", "transposed_index", "transposed_weight")
        return dataclasses.replace(part, **{name: getattr(self, name)[index] for name in tables})

    def __call__(self, x: ArrayLike) -> Array:
        """The map.

        Raises:
            ValueError: for a shape that is not ``in_shape``.
            TypeError: for values that are not real.
        """
        x = _validate.floats("x", x, finite=False) if not isinstance(x, jax.Array) else x
        if x.shape != self.in_shape:
            raise ValueError(f"x must have the operator's in_shape {self.in_shape}, got {x.shape}")
        if jnp.issubdtype(x.dtype, jnp.complexfloating):
            raise TypeError(f"x must be real, got {x.dtype}")
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        return _gather_views(x, self.index, self.weight, self.axis)


@functools.partial(jax.jit, static_argnames="axis")
def _gather_views(x: Array, index: Array, weight: Array, axis: int) -> Array:
    """Compiled once for a shape, also where it is called from outside of a compiled function."""
    if index.ndim == 2:
        return _gather(x, index, weight, axis)
    return jax.vmap(_gather, (0, 0, 0, None))(x, index, weight, axis - 1)


def _gather(x: Array, index: Array, weight: Array, axis: int) -> Array:
    """One entry of all sums after the other, so that no array is larger than the result."""
    trailing = (1,) * (x.ndim - axis - 1)

    def add(total: Array, entry: tuple[Array, Array]) -> tuple[Array, None]:
        where, factor = entry
        values = jnp.take(x, where, axis=axis, mode="fill", fill_value=0)
        return total + values * factor.astype(x.dtype).reshape(-1, *trailing), None

    shape = (*x.shape[:axis], index.shape[0], *x.shape[axis + 1 :])
    # Zeros made of x, so that they vary over the same axes of a mesh as it does.
    zeros = jnp.zeros_like(x, shape=shape)
    return jax.lax.scan(add, zeros, (index.T, weight.T))[0]


def axial_compression(
    fine: SinogramLayout, coarse: SinogramLayout, *, mean: bool = False, tof: bool = False
) -> Rebinning:
    """Merges the planes of a sinogram into those of a larger span.

    Args:
        fine: the layout that is put in.
        coarse: what comes out: the same but for span and largest ring difference. Planes of ring differences that it
            leaves out are left out.
        mean: the mean of the planes merged, for line integrals; else their sum, for counts.
        tof: whether the sinograms have bins of time of flight.

    Returns:
        An operator from sinograms of ``fine`` to those of ``coarse``.

    Raises:
        ValueError: layouts that differ in more, a coarse plane that holds only part of a fine one.
    """
    _check_alike(fine, coarse, "span", "max_ring_difference")
    pairs = fine.ring_pairs
    plane = np.where(pairs[..., 0] >= 0, coarse.plane_of_rings[pairs[..., 0], pairs[..., 1]], -2)
    target = plane.max(1)
    if ((plane != target[:, None]) & (plane != -2)).any():
        raise ValueError(
            f"coarse: its planes (span {coarse.span}) must hold whole planes of fine (span {fine.span}); "
            "start from span 1"
        )
    source = np.flatnonzero(target >= 0)
    return _merge(1, source, target[source], fine, coarse, mean, tof)


def view_mashing(fine: SinogramLayout, coarse: SinogramLayout, *, mean: bool = False, tof: bool = False) -> Rebinning:
    """Merges neighbouring views.

    Args:
        fine, coarse: layouts that differ in mashing alone, that of ``coarse`` a multiple of that of ``fine``.
        mean, tof: as of :func:`axial_compression`.

    Raises:
        ValueError: other layouts.
    """
    _check_alike(fine, coarse, "mashing")
    if coarse.mashing % fine.mashing:
        raise ValueError(f"coarse: its mashing must be a multiple of fine's, {fine.mashing}, got {coarse.mashing}")
    views = np.arange(fine.num_views)
    return _merge(0, views, views // (coarse.mashing // fine.mashing), fine, coarse, mean, tof)


def tof_mashing(layout: SinogramLayout, bins: int) -> Rebinning:
    """Merges neighbouring bins of time of flight.

    The projections of ``layout.tof_mashed(bins)`` are what this makes of those of the layout: the probabilities of bins
    side by side add up to that of one as wide as all.

    Args:
        layout: the layout that is put in, of a scanner that measures times.
        bins: how many become one; divides their number.

    Raises:
        ValueError, TypeError: a scanner without timing, a number that does not divide that of its bins.
    """
    wide, fine = layout.tof_mashed(bins).scanner.timing, layout.scanner.timing
    assert fine is not None
    assert wide is not None, "tof_mashed has looked"
    source = np.arange(fine.num_bins)
    in_shape, out_shape = ((*layout.shape, timing.num_bins) for timing in (fine, wide))
    return _rebinning(3, [(source, source // bins, np.ones(len(source)))], in_shape, out_shape)


def single_slice_rebinning(layout: SinogramLayout, *, mean: bool = True, tof: bool = False) -> Rebinning:
    """Puts oblique planes into the direct plane at the middle of each: 2 rings - 1 planes, sorted by z.

    It is the axial compression with the largest span that there is. With :func:`arc_correction` the result is a stack
    of parallel-beam sinograms.

    Args:
        layout: the layout that is put in.
        mean, tof: as of :func:`axial_compression`.

    References:
        M. E. Daube-Witherspoon and G. Muehllehner, "Treatment of axial data in three-dimensional PET", J. Nucl. Med. 28
        (1987) 1717-1724.
    """
    span = 2 * layout.max_ring_difference + 1
    return axial_compression(layout, dataclasses.replace(layout, span=span), mean=mean, tof=tof)


def arc_correction(
    layout: SinogramLayout,
    bin_size: float | None = None,
    num_bins: int | None = None,
    *,
    inverse: bool = False,
    tof: bool = False,
) -> Rebinning:
    """Interpolates line integrals from the bins of a ring, which crowd at its rim, to bins of one size, or back.

    Bin b of the result is at ``t = (b - (num_bins - 1)/2) * bin_size``, in each view between the two nearest lines;
    what lies beyond the outermost is 0. Half of a view's bins lie half a step of the angle before it, which is not
    interpolated. Planes and views as one stack of slices, ``ParallelBeam(layout.angles, ...)`` is the geometry of the
    result. Counts are no line integrals: they must be normalised first.

    Args:
        layout: of the bins of the ring.
        bin_size: in mm; None for the vendor's, else the mean distance of the lines in the middle.
        num_bins: None for as many as fit between the outermost lines.
        inverse: from bins of one size to those of the ring. (Not quite the inverse: linear interpolation blurs.)
        tof: whether the sinograms have bins of time of flight.

    Raises:
        ValueError, TypeError: a size that is not positive, a number that is no count.
    """
    distances = layout.distances
    if bin_size is None:
        defaults = layout.scanner.sinogram_defaults
        middle = np.diff(np.sort(distances, axis=1), axis=1)[:, distances.shape[1] // 2 - 1]
        bin_size = float(middle.mean()) if defaults is None or defaults.bin_size is None else defaults.bin_size
    if not 0 < bin_size < np.inf:
        raise ValueError(f"bin_size must be positive, got {bin_size!r}")
    if num_bins is None:
        reach = min(distances.max(1).min(), -distances.min(1).max())
        num_bins = 2 * int(reach / bin_size) + 1
    count = _validate.count("num_bins", num_bins)
    regular = np.broadcast_to((np.arange(count) - (count - 1) / 2) * bin_size, (len(distances), count))
    known, wanted = (regular, distances) if inverse else (distances, regular)
    tables = [_interpolation(k, w) for k, w in zip(known, wanted, strict=True)]
    shape, sizes = layout.shape[:2], (known.shape[1], wanted.shape[1])
    bins = (layout.scanner.timing.num_bins,) if tof and layout.scanner.timing is not None else ()
    return _rebinning(2, tables, (*shape, sizes[0], *bins), (*shape, sizes[1], *bins))


def _interpolation(known: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Linear interpolation on one axis as entries: where from, where to, weight."""
    order = np.argsort(known, kind="stable")
    ascending = known[order]
    inside = np.flatnonzero((ascending[0] <= wanted) & (wanted <= ascending[-1]))
    if len(known) == 1:
        return np.zeros_like(inside), inside, np.ones(len(inside))
    right = np.clip(np.searchsorted(ascending, wanted[inside]), 1, len(known) - 1)
    gap = ascending[right] - ascending[right - 1]
    fraction = np.where(gap > 0, (wanted[inside] - ascending[right - 1]) / np.where(gap > 0, gap, 1), 0)
    source = np.concatenate([order[right - 1], order[right]])
    weight = np.concatenate([1 - fraction, fraction])
    some = weight != 0
    return source[some], np.concatenate([inside, inside])[some], weight[some]


def _check_alike(fine: SinogramLayout, coarse: SinogramLayout, *free: str) -> None:
    for field in dataclasses.fields(fine):
        if field.name not in free and getattr(fine, field.name) != getattr(coarse, field.name):
            raise ValueError(
                f"coarse: {field.name} must be that of fine, {getattr(fine, field.name)}, "
                f"got {getattr(coarse, field.name)}"
            )


def _merge(
    axis: int,
    source: np.ndarray,
    target: np.ndarray,
    fine: SinogramLayout,
    coarse: SinogramLayout,
    mean: bool,
    tof: bool,
) -> Rebinning:
    counts = np.bincount(target, minlength=coarse.shape[axis])
    weight = 1 / counts[target] if mean else np.ones(len(target))
    bins = (fine.scanner.timing.num_bins,) if tof and fine.scanner.timing is not None else ()
    return _rebinning(axis, [(source, target, weight)], (*fine.shape, *bins), (*coarse.shape, *bins))


def _rebinning(
    axis: int,
    tables: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
    in_shape: tuple[int, ...],
    out_shape: tuple[int, ...],
) -> Rebinning:
    """From the entries (from, to, weight) of one map for all views, or of one for each."""
    forward = _padded([(s, t, w) for s, t, w in tables], in_shape[axis], out_shape[axis])
    back = _padded([(t, s, w) for s, t, w in tables], out_shape[axis], in_shape[axis])
    index, weight, back_index, back_weight = (jnp.asarray(t if axis == 2 else t[0]) for t in (*forward, *back))
    return Rebinning(index, weight, back_index, back_weight, axis, in_shape, out_shape)


def _padded(
    tables: list[tuple[np.ndarray, np.ndarray, np.ndarray]], inputs: int, outputs: int
) -> tuple[np.ndarray, np.ndarray]:
    """(views, outputs, most entries) indices and weights."""
    groups = [members(target, len(target), outputs)[0] for _, target, _ in tables]
    most = max(group.shape[1] for group in groups)
    index = np.full((len(tables), outputs, most), inputs, np.int32)
    weight = np.zeros(index.shape, np.float64)
    for view, (entries, (source, _, weights)) in enumerate(zip(groups, tables, strict=True)):
        index[view, :, : entries.shape[1]] = np.append(source, inputs)[entries]
        weight[view, :, : entries.shape[1]] = np.append(weights, 0.0)[entries]
    return index, weight
