"""Filtered back projection of parallel and fan beams."""

import jax
from jax.typing import ArrayLike

from jaxct.filters import Window
from jaxct.geometry import FanBeam, ParallelBeam, VolumeGrid
from jaxct.reconstruct import _analytic


def fbp(
    projections: ArrayLike,
    geometry: ParallelBeam | FanBeam,
    grid: VolumeGrid,
    *,
    window: Window = "ram-lak",
    cutoff: ArrayLike = 1.0,
    short_scan: bool = False,
    limited_angle: bool = False,
    offset_detector: bool | None = None,
) -> jax.Array:
    r"""Filtered back projection of line integrals, quantitative in 1/mm without further scaling.

    Parallel beams, 2-D or 3-D (slice by slice): ``f(x) = int_0^pi (p * h)(t) dtheta``. Fan beams, with D the
    source-origin distance and L the depth of x seen from the source (flat detector, or on a curved one the distance):
    ``f(x) = int share (D / L)^2 ((p cos gamma) * h)(u) dbeta``, u scaled to the rotation centre; see
    :mod:`jaxct.filters` for the ramp h and :mod:`jaxct.weights` for the shares. Views may come in any order and spacing
    and in any number of turns. Distances that vary from view to view enter every view's weights, which is an
    approximation; offsets that vary are exact.

    Differentiable with respect to the projections and an array ``window``. Under ``jit`` or ``vmap`` the geometry may
    be an argument; its values cannot be checked then, and arcs that would be refused are reconstructed as they are.

    Args:
        projections: (views, cols) or (views, rows, cols), of ``geometry.projection_shape``.
        geometry: circular parallel or fan beam.
        grid: the image's or volume's grid.
        window: "ram-lak", "shepp-logan", "cosine", "hamming" or "hann"; a function of the normalised frequency that
            multiplies the ramp; or the whole filter as an array, see :func:`jaxct.filters.filter_response`.
        cutoff: fraction of the Nyquist frequency in (0, 1].
        short_scan: weight a fan beam's arc of pi + fan angle or more (Parker, Silver).
        limited_angle: accept views that leave lines unmeasured; artefacts are to be expected. Fan beams are weighted
            like a short scan.
        offset_detector: Wang's weights for a displaced detector in a full turn (half fan). None: if the detector's
            middle is more than 5 % of its width off the axis and the views cover a full turn. The rows are then
            extended on the short side by ``ceil(2 |offset| / pixel_size)`` columns (by as many as there are, if the
            geometry is traced), and an array ``window`` belongs to the extended rows; False avoids it.

    Returns:
        The image, of ``grid.shape``; float32, or float64 if the projections are.

    Raises:
        TypeError: another geometry; complex projections.
        ValueError: shapes that do not agree, angles that leave a gap without the flag for it, flags that exclude one
            another, a detector that misses the axis, a window or cut-off as in :mod:`jaxct.filters`.

    References:
        A. C. Kak and M. Slaney, Principles of Computerized Tomographic Imaging, IEEE Press 1988, chapter 3.
    """
    _analytic.require_geometry(
        geometry,
        (ParallelBeam, FanBeam),
        "a ParallelBeam or FanBeam (fdk takes a ConeBeam; other orbits have no filtered back projection here: "
        "use an iterative algorithm)",
    )
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
