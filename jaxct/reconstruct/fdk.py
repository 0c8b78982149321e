"""Feldkamp-Davis-Kress reconstruction of circular cone beams."""

import jax
import numpy as np
from jax.typing import ArrayLike

from jaxct.filters import Window
from jaxct.geometry import ConeBeam, VolumeGrid
from jaxct.reconstruct import _analytic


def fdk(
    projections: ArrayLike,
    geometry: ConeBeam,
    grid: VolumeGrid,
    *,
    window: Window = "hann",
    cutoff: ArrayLike = 1.0,
    short_scan: bool = False,
    limited_angle: bool = False,
    offset_detector: bool | None = None,
) -> jax.Array:
    r"""Approximate inversion of a circular cone beam, quantitative in 1/mm; exact in the plane of the source.

    ``f(x) = int share (D / L)^2 ((p cos) * h)(u, v) dbeta``: fan-beam filtered back projection (see
    :func:`jaxct.reconstruct.fbp`) along every detector row, with the cosine of the ray in both directions. On a curved
    detector (a cylinder about the source, parallel to the axis) L is the distance from the source in the plane, and the
    ramp is that of equiangular rays. Away from the source's plane values fall off with the cone angle, as the circular
    orbit does not measure them completely.

    Arguments, derivatives and errors are those of :func:`jaxct.reconstruct.fbp`, except:

    Args:
        projections: (views, rows, cols).
        geometry: circular cone beam, flat or curved; ``source_z`` the same for all views.
        grid: the volume's grid.
        window: as in ``fbp``; by default "hann".

    Raises:
        ValueError: also a ``source_z`` that varies (a helix). A traced one is taken as constant.

    References:
        L. A. Feldkamp, L. C. Davis, J. W. Kress, Practical cone-beam algorithm, JOSA A 1 (1984) 612-619.
    """
    _analytic.require_geometry(
        geometry,
        (ConeBeam,),
        "a ConeBeam (fbp takes parallel and fan beams; other orbits have no FDK: use an iterative algorithm)",
    )
    _refuse_helix(geometry)
    return _analytic.reconstruct(
        projections,
        geometry,
        grid,
        window=window,
        cutoff=cutoff,
        short_scan=short_scan,
        limited_angle=limited_angle,
        offset_detector=offset_detector,
    )


def _refuse_helix(geometry: ConeBeam) -> None:
    heights = geometry.source_z
    if isinstance(heights, jax.core.Tracer):
        return
    travel = float(np.ptp(np.asarray(heights)))
    if travel > 1e-3 * float(np.asarray(geometry.pixel_size).min()):
        raise ValueError(
            f"source_z must be the same for all views, got a travel of {travel:g} mm: FDK is for circular orbits, "
            "reconstruct a helix with an iterative algorithm"
        )
