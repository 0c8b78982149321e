"""Image quality of PET reconstructions, in regions of interest and over realisations; pure JAX.

Images are arrays of any rank, ``images`` have one more axis in front, of realisations. Regions come as

- labels: integers of the image's shape; region k is where they are k, k = 1 ... K, and 0 is outside;
- masks: booleans, or weights: floats, of the image's shape for one region, (K, *shape) for K regions. The mean in a
  region is the weighted mean, so that weights between 0 and 1 stand for voxels that are partly inside.

Everything works under jit, vmap and grad.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxct.geometry import VolumeGrid, _validate
from jaxct.pet.phantoms import nema
from jaxct.phantoms import Ellipse, Phantom

_LUNG_DIAMETER = 30.0
_BACKGROUND_SLICES = (-20.0, -10.0, 0.0, 10.0, 20.0)


def region_means(image: ArrayLike, regions: ArrayLike, *, num_regions: int | None = None) -> jax.Array:
    """Mean of an image in each region, (K,); NaN in a region without voxels.

    Args:
        image: any shape.
        regions: labels, masks or weights, see above.
        num_regions: K of labels. Needed only where these are traced; by default the largest label.

    Raises:
        ValueError: regions that do not fit the image, labels without a region, negative weights.
        TypeError: values that are not real numbers, traced labels without ``num_regions``.
    """
    values = _floats("image", image)
    return _region_means(values, _Regions.of(regions, values.shape, num_regions))


def contrast_recovery(image: ArrayLike, target: ArrayLike, background: ArrayLike, true_ratio: ArrayLike) -> jax.Array:
    """Contrast recovery in each target region of one image, (K,): ``(a_k/b - 1) / (a/b - 1)``.

    a_k is the mean in target k, b the mean over the background regions of their means, and the true ratio a/b is given.
    1 is full recovery, 0 none.

    Args:
        image: any shape.
        target: K regions.
        background: one region or more.
        true_ratio: activity of the targets over that of the background, a number or (K,), not 1.

    Raises:
        ValueError: regions that do not fit, a true ratio of 1 or of another shape.
        TypeError: values that are not real numbers.
    """
    values = _floats("image", image)
    means = _region_means(values, _Regions.of(target, values.shape, None, "target"))
    reference = _region_means(values, _Regions.of(background, values.shape, None, "background")).mean()
    return (means / reference - 1) / (_true_ratio(true_ratio, means.shape) - 1)


def contrast_recovery_coefficient(
    images: ArrayLike, target: ArrayLike, background: ArrayLike, true_ratio: ArrayLike
) -> jax.Array:
    """CRC over realisations, a scalar: ``(1/R) sum_r (a_r/b_r - 1) / (a/b - 1)``.

    a_r is the mean over the target regions of their means in realisation r, b_r likewise of the background, and a/b the
    true ratio.

    Args:
        images: (R, *shape).
        target: one region or more of ``shape``, as gray matter or tumours.
        background: one region or more, as white matter.
        true_ratio: a number, not 1.

    Raises:
        ValueError, TypeError: as for :func:`contrast_recovery`; images without an axis of realisations.

    References:
        K. Gong, C. Catana, J. Qi, Q. Li, IEEE Trans. Med. Imaging 38(7) (2019), 1655-1665,
        doi:10.1109/TMI.2018.2888491.
    """
    values = _realisations(images, 1)
    targets = _Regions.of(target, values.shape[1:], None, "target")
    backgrounds = _Regions.of(background, values.shape[1:], None, "background")
    ratio = _true_ratio(true_ratio, ())
    a = jax.vmap(lambda x: _region_means(x, targets).mean())(values)
    b = jax.vmap(lambda x: _region_means(x, backgrounds).mean())(values)
    return jnp.mean((a / b - 1) / (ratio - 1))


def background_std(images: ArrayLike, background: ArrayLike) -> jax.Array:
    """STD over realisations, a scalar: ``(1/K) sum_k sd_r(b_rk) / mean_r(b_rk)``.

    b_rk is the mean in background region k of realisation r, sd_r the standard deviation over realisations with R - 1.

    Args:
        images: (R, *shape), R >= 2.
        background: K regions of ``shape``.

    Raises:
        ValueError: regions that do not fit, less than two realisations.
        TypeError: values that are not real numbers.

    References:
        As for :func:`contrast_recovery_coefficient`.
    """
    values = _realisations(images, 2)
    regions = _Regions.of(background, values.shape[1:], None, "background")
    means = jax.vmap(lambda x: _region_means(x, regions))(values)
    return jnp.mean(jnp.std(means, 0, ddof=1) / jnp.mean(means, 0))


class EnsembleStatistics(NamedTuple):
    """Voxel by voxel over R realisations x_r of an image with the truth t."""

    mean: jax.Array
    """``m = (1/R) sum_r x_r``."""
    bias: jax.Array
    """``m - t``."""
    variance: jax.Array
    """``(1/(R - 1)) sum_r (x_r - m)^2``."""
    mse: jax.Array
    """``(1/R) sum_r (x_r - t)^2 = bias^2 + (R - 1)/R variance``."""


def ensemble_statistics(images: ArrayLike, truth: ArrayLike) -> EnsembleStatistics:
    """Bias, variance and mean squared error of an estimator from its realisations, as images.

    Their means in regions are :func:`region_means` of them; the bias of region means is the region mean of the bias.

    Args:
        images: (R, *shape), R >= 2.
        truth: (*shape,).

    Raises:
        ValueError: less than two realisations, a truth of another shape.
        TypeError: values that are not real numbers.
    """
    values = _realisations(images, 2)
    truth = _floats("truth", truth)
    if truth.shape != values.shape[1:]:
        raise ValueError(f"truth must have the shape of one image, {values.shape[1:]}, got {truth.shape}")
    mean = values.mean(0)
    variance = jnp.sum((values - mean) ** 2, 0) / (len(values) - 1)
    return EnsembleStatistics(mean, mean - truth, variance, jnp.mean((values - truth) ** 2, 0))


class NEMAImageQuality(NamedTuple):
    """What section 7 of NEMA NU 2 asks to be reported, all in percent; six values by sphere diameter."""

    contrast: jax.Array
    """(6,): ``Q_j = (C_j/B_j - 1) / (ratio_j - 1) * 100``, which of cold spheres is ``Q_C = (1 - C/B) * 100``."""
    variability: jax.Array
    """(6,): background variability ``N_j = S_j / B_j * 100``."""
    lung_error: jax.Array
    """(slices,): residual error ``C_lung,i / B_37 * 100`` in each slice of the lung insert."""
    lung_z: jax.Array
    """(slices,): where these slices are, in mm."""


def nema_image_quality(
    volume: ArrayLike,
    grid: VolumeGrid,
    *,
    contrast: ArrayLike | Sequence[float] = 4.0,
    center: ArrayLike | Sequence[float] = 0.0,
) -> NEMAImageQuality:
    """Contrast, background variability and lung residual of NEMA NU 2-2018, of the phantom of the same name.

    C_j is the mean in a circle as wide as sphere j inside, in the slice nearest to the spheres' centres. B_j is the
    mean and S_j the standard deviation (with K - 1) of the means in K = 60 circles as wide: twelve in the background,
    in the spheres' slice and those nearest to 10 and 20 mm on either side. C_lung,i is the mean in a circle of 30 mm in
    slice i of the lung insert. Pixels that a circle cuts count by their area inside.

    Args:
        volume: of the grid's shape.
        grid: of concrete values; it must hold all circles.
        contrast: true activity of the spheres relative to the background, one value or six; 0 is a cold sphere.
        center: where the phantom is, as of :func:`jaxct.pet.phantoms.nema_image_quality`.

    Raises:
        ValueError: a volume of another shape, a grid that does not hold all circles, a contrast of 1.
        TypeError: values that are not real numbers, not a grid.

    References:
        NEMA Standards Publication NU 2-2018, Performance Measurements of Positron Emission Tomographs, section 7.
    """
    values = _floats("volume", volume)
    if not isinstance(grid, VolumeGrid):
        raise TypeError(f"grid must be a VolumeGrid, got {type(grid).__name__}")
    if grid.ndim != 3 or values.shape != grid.shape:
        raise ValueError(f"volume must have the shape of a 3-D grid, got {values.shape} and {grid.shape}")
    ratio = _true_ratio(contrast, (6,), "contrast")
    with jax.ensure_compile_time_eval():
        origin = np.asarray(_validate.per_axis("center", center, 3), np.float64)
        z = np.asarray(grid.coordinates()[0], np.float64)
        places, spheres = nema.nema_background_centers(origin), nema.nema_sphere_centers(origin)
        _refuse_small(grid, np.concatenate([places, spheres]))
        low, high = nema.lung_ends(origin)
        inside = np.flatnonzero(abs(z - (low + high) / 2) + float(grid.voxel_size[0]) / 2 <= (high - low) / 2)
    slices = np.asarray([abs(z - origin[0] - offset).argmin() for offset in _BACKGROUND_SLICES])

    middle = values[abs(z - origin[0]).argmin()][None]
    hot, mean, deviation = [], [], []
    for diameter, sphere in zip(nema.SPHERE_DIAMETERS, spheres, strict=True):
        hot.append(_circle_means(middle, sphere[None], diameter, grid)[0, 0])
        around = _circle_means(values[slices], places, diameter, grid)
        mean.append(around.mean())
        deviation.append(jnp.std(around, ddof=1))
    b, s = jnp.stack(mean), jnp.stack(deviation)
    lung = _circle_means(values[inside], origin[None], _LUNG_DIAMETER, grid)[:, 0]
    return NEMAImageQuality(
        contrast=(jnp.stack(hot) / b - 1) / (ratio - 1) * 100,
        variability=s / b * 100,
        lung_error=lung / b[-1] * 100,
        lung_z=jnp.asarray(z[inside], values.dtype),
    )


def _circle_means(slices: jax.Array, centers: np.ndarray, diameter: float, grid: VolumeGrid) -> jax.Array:
    """(slices, circles): means in circles about (z, y, x), whatever z."""
    plane = VolumeGrid(grid.shape[1:], grid.voxel_size[1:], grid.center[1:])
    radius = diameter / 2
    weights = jax.vmap(lambda c: Phantom(Ellipse(c, radius)).rasterize(plane, oversample=8))(
        jnp.asarray(centers[:, 1:])
    )
    weights = weights.astype(slices.dtype)
    sums = jnp.einsum("syx,cyx->sc", slices, weights, precision=jax.lax.Precision.HIGHEST)
    return sums / weights.sum((1, 2))


def _refuse_small(grid: VolumeGrid, centers: np.ndarray) -> None:
    """The grid must hold circles of 37 mm about all centres and reach as far as the outer background slices."""
    radius = max(nema.SPHERE_DIAMETERS) / 2
    reach = np.asarray([max(_BACKGROUND_SLICES), radius, radius])
    lower, upper = (np.asarray(corner, np.float64) for corner in grid.bounds())
    if (centers - reach < lower).any() or (centers + reach > upper).any():
        wanted = [(centers - reach).min(0).tolist(), (centers + reach).max(0).tolist()]
        raise ValueError(f"grid must hold all circles, from {wanted[0]} to {wanted[1]} mm, got {lower} to {upper}")


class _Regions(NamedTuple):
    """Weights (K, *shape), or labels of ``shape`` and their number."""

    array: jax.Array
    num_labels: int | None

    @staticmethod
    def of(regions: Any, shape: tuple[int, ...], num_regions: int | None, name: str = "regions") -> "_Regions":
        # Under jit constants that JAX has touched count as traced: NumPy keeps them concrete.
        array = regions if isinstance(regions, jax.Array) else np.asarray(regions)
        concrete = not isinstance(array, jax.core.Tracer)
        if jnp.issubdtype(array.dtype, np.integer):
            if array.shape != shape:
                raise ValueError(f"{name} as labels must have the image's shape {shape}, got {array.shape}")
            number = _num_labels(name, np.asarray(array) if concrete else None, num_regions)
            return _Regions(jnp.asarray(array), number)
        if not (array.dtype == bool or jnp.issubdtype(array.dtype, np.floating)):
            raise TypeError(f"{name} must be labels, masks or weights, got an array of {array.dtype}")
        if array.shape != shape and array.shape[1:] != shape:
            raise ValueError(f"{name} must have shape {shape} or (K, *{shape}), got {array.shape}")
        if concrete and not (np.asarray(array) >= 0).all():
            raise ValueError(f"{name} must not be negative, got {np.asarray(array).min():g}")
        return _Regions(jnp.asarray(array).reshape(-1, *shape), None)


def _num_labels(name: str, labels: np.ndarray | None, num_regions: int | None) -> int:
    if num_regions is not None:
        return _validate.count("num_regions", num_regions)
    if labels is None:
        raise TypeError(f"num_regions must be given where {name} are traced labels")
    number = int(labels.max()) if labels.size else 0
    if number < 1:
        raise ValueError(f"{name} must have a label above 0, got none")
    return number


def _region_means(values: jax.Array, regions: _Regions) -> jax.Array:
    if regions.num_labels is None:
        weights = regions.array.astype(values.dtype)
        # What lies outside does not count, not even if it is NaN.
        return _sums(jnp.where(weights > 0, values, 0) * weights) / _sums(weights)
    number = regions.num_labels + 1
    shape = values.shape or (1,)
    labels = jnp.where((regions.array >= 0) & (regions.array < number), regions.array, 0).reshape(-1, shape[-1])

    def sums(x: jax.Array) -> jax.Array:
        # Row by row, then over rows: a float32 sum over a million voxels would lose digits.
        by_row = jax.vmap(lambda v, k: jax.ops.segment_sum(v, k, number))(x.reshape(-1, shape[-1]), labels)
        return _sums(jnp.moveaxis(by_row.reshape(*shape[:-1], number), -1, 0))[1:]

    return sums(values) / sums(jnp.ones_like(values))


def _sums(x: jax.Array) -> jax.Array:
    """Over all axes but the first, one by one."""
    while x.ndim > 1:
        x = jnp.sum(x, -1)
    return x


def _realisations(images: ArrayLike, least: int) -> jax.Array:
    values = _floats("images", images)
    if values.ndim == 0 or len(values) < least:
        raise ValueError(f"images must have shape (R, ...) with R >= {least} realisations, got {values.shape}")
    return values


def _true_ratio(value: ArrayLike | Sequence[float], shape: tuple[int, ...], name: str = "true_ratio") -> jax.Array:
    ratio = value if isinstance(value, jax.Array) else np.asarray(value)
    if ratio.shape not in ((), shape):
        raise ValueError(f"{name} must be a number or have shape {shape}, got {ratio.shape}")
    if not isinstance(ratio, jax.core.Tracer) and (np.asarray(ratio) == 1).any():
        raise ValueError(f"{name} must not be 1: there is no contrast to recover")
    return jnp.broadcast_to(_validate.floats(name, ratio), shape)


def _floats(name: str, value: Any) -> jax.Array:
    """As of _validate, but NaN and infinity are allowed: outside the regions they do not matter."""
    array = jnp.asarray(value)
    if jnp.issubdtype(array.dtype, np.integer):
        array = array.astype(jnp.result_type(float))
    if not jnp.issubdtype(array.dtype, np.floating):
        raise TypeError(f"{name} must be real numbers, got an array of {array.dtype}")
    return array.astype(jnp.promote_types(array.dtype, np.float32))
