"""Attenuation of photons of 511 keV: from CT numbers to a map, and from a map to factors of the rays."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxct.geometry import VolumeGrid, _validate
from jaxct.operators import GaussianBlur, fwhm_to_sigma

WATER = 9.6e-3
"""Attenuation of water at 511 keV, per mm."""

# Slope and intercept of mu (per cm) over the CT number + 1000, above the break point (Carney et al. 2006, table I).
CARNEY = {
    80: (3.64e-5, 6.26e-2),
    100: (4.43e-5, 5.44e-2),
    110: (4.92e-5, 4.88e-2),
    120: (5.10e-5, 4.71e-2),
    130: (5.51e-5, 4.24e-2),
    140: (5.64e-5, 4.08e-2),
}


def attenuation_factors(A: Callable[[Any], Array], mu: ArrayLike) -> Array:  # noqa: N803
    r"""``exp(-A mu)``: the share of photon pairs that neither of which is lost on its way, for every ray.

    Args:
        A: a projector without time of flight, whose lines go through all of the object. For data with bins of time of
            flight, all bins of a ray have its factor: ``factors[..., None]``.
        mu: attenuation at 511 keV, per mm; :func:`mu_map` makes it of a CT volume.

    Returns:
        ``A.out_shape``, between 0 and 1.

    Raises:
        ValueError: a projector with time of flight, whose bins would each have the attenuation of a part of the line.
    """
    if getattr(getattr(A, "geometry", None), "tof", None) is not None:
        raise ValueError("A must have no time of flight, such as of layout.lors(tof=False)")
    return jnp.exp(-A(mu))


def hounsfield_to_mu(ct_numbers: ArrayLike, *, kvp: int = 120) -> Array:
    r"""Attenuation at 511 keV, per mm, of CT numbers in Hounsfield units.

    Two lines that meet somewhat above water: mixtures of air and water, ``mu = 0.0096 (H + 1000) / 1000``, and of water
    and bone, ``mu = a (H + 1000) + b``, flatter, as bone owes what it is to X-rays to the photoelectric effect. Of the
    two the smaller. Metal and contrast agents follow neither. Below air it is zero.

    Args:
        ct_numbers: of any shape.
        kvp: of the tube, one of 80, 100, 110, 120, 130 and 140 kV.

    Raises:
        ValueError: another tube voltage.
        TypeError: values that are not real numbers.

    References:
        J. P. J. Carney, D. W. Townsend, V. Rappoport and B. Bendriem, "Method for transforming CT images for
        attenuation correction in PET/CT imaging", Med. Phys. 33 (2006) 976-983; P. E. Kinahan, D. W. Townsend, T. Beyer
        and D. Sashin, "Attenuation correction for a combined 3D PET/CT scanner", Med. Phys. 25 (1998) 2046-2053.
    """
    if kvp not in CARNEY:
        raise ValueError(f"kvp must be one of {', '.join(map(str, CARNEY))}, got {kvp!r}")
    slope, intercept = (0.1 * number for number in CARNEY[kvp])
    above_air = _validate.floats("ct_numbers", ct_numbers) + 1000
    return jnp.maximum(jnp.minimum(WATER / 1000 * above_air, slope * above_air + intercept), 0)


def resample(volume: ArrayLike, grid: VolumeGrid, new_grid: VolumeGrid) -> Array:
    """An image at the voxel centres of another grid, by linear interpolation; zero outside of the old one.

    Linear in the image, so that it can be differentiated. To a coarser grid blur first, or what is between the new
    centres is not seen.

    Args:
        volume: ``grid.shape``.
        grid: where it is given.
        new_grid: where it is wanted, of as many axes.

    Returns:
        ``new_grid.shape``.

    Raises:
        ValueError: shapes that do not fit.
        TypeError: values that are not real numbers.
    """
    image = _validate.floats("volume", volume)
    if image.shape != grid.shape or grid.ndim != new_grid.ndim:
        raise ValueError(
            f"volume must have the shape of grid, {grid.shape}, on as many axes as new_grid's "
            f"{new_grid.shape}, got {image.shape}"
        )
    for axis, centers in enumerate(new_grid.coordinates()):
        size = grid.shape[axis]
        at = (centers - grid.center[axis]) / grid.voxel_size[axis] + (size - 1) / 2
        low = jnp.floor(at).astype(jnp.int32)
        for_high = (at - low).astype(image.dtype)
        parts = []
        for index, weight in ((low, 1 - for_high), (low + 1, for_high)):
            weight = jnp.where((index >= 0) & (index < size), weight, 0)
            part = jnp.take(image, jnp.clip(index, 0, size - 1), axis=axis)
            parts.append(part * weight.reshape(-1, *[1] * (image.ndim - axis - 1)))
        image = parts[0] + parts[1]
    return image


def mu_map(
    ct_numbers: ArrayLike,
    ct_grid: VolumeGrid,
    grid: VolumeGrid,
    *,
    kvp: int = 120,
    fwhm: ArrayLike | Sequence[float] = 4.0,
) -> Array:
    r"""Attenuation at 511 keV on the grid of a PET image, per mm, from a CT volume.

    CT numbers become attenuation (:func:`hounsfield_to_mu`) on their own grid, are blurred to the resolution of the PET
    scanner, so that edges of the two agree, and interpolated (:func:`resample`). Outside of the CT volume is air.

    Args:
        ct_numbers: in Hounsfield units, ``ct_grid.shape``.
        ct_grid: their grid, in the coordinates of the PET scanner.
        grid: that of the PET image.
        kvp: of the CT scan.
        fwhm: resolution of the PET scanner, full width at half maximum in mm, for all axes or one for each; 0 for none.

    Returns:
        ``grid.shape``.

    Raises:
        ValueError, TypeError: as the functions named.
    """
    mu = hounsfield_to_mu(ct_numbers, kvp=kvp)
    with jax.ensure_compile_time_eval():  # inside jit, too, so that the blur's reach is known
        sigma = fwhm_to_sigma(jnp.asarray(fwhm))
    return resample(GaussianBlur(ct_grid, sigma)(mu), ct_grid, grid)
