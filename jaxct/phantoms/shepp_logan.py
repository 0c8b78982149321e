"""The Shepp-Logan head phantoms."""

import numpy as np
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.phantoms.phantom import Phantom
from jaxct.phantoms.shapes import Ellipsoid

# x, y, semi-axis a, semi-axis b, angle of a (degrees); the head fills the square [-1, 1]^2.
_ELLIPSES = np.array(
    [
        [0.0, 0.0, 0.69, 0.92, 0],
        [0.0, -0.0184, 0.6624, 0.874, 0],
        [0.22, 0.0, 0.11, 0.31, -18],
        [-0.22, 0.0, 0.16, 0.41, 18],
        [0.0, 0.35, 0.21, 0.25, 0],
        [0.0, 0.1, 0.046, 0.046, 0],
        [0.0, -0.1, 0.046, 0.046, 0],
        [-0.08, -0.605, 0.046, 0.023, 0],
        [0.0, -0.605, 0.023, 0.023, 0],
        [0.06, -0.605, 0.023, 0.046, 0],
    ]
)

# x, y, z, semi-axes a, b, c, angle of a about z (degrees).
_ELLIPSOIDS = np.array(
    [
        [0.0, 0.0, 0.0, 0.69, 0.92, 0.9, 0],
        [0.0, 0.0, 0.0, 0.6624, 0.874, 0.88, 0],
        [-0.22, 0.0, -0.25, 0.41, 0.16, 0.21, 108],
        [0.22, 0.0, -0.25, 0.31, 0.11, 0.22, 72],
        [0.0, 0.35, -0.25, 0.21, 0.25, 0.5, 0],
        [0.0, 0.1, -0.25, 0.046, 0.046, 0.046, 0],
        [-0.08, -0.65, -0.25, 0.046, 0.023, 0.02, 0],
        [0.06, -0.65, -0.25, 0.046, 0.023, 0.02, 90],
        [0.06, -0.105, 0.625, 0.056, 0.04, 0.1, 90],
        [0.0, 0.1, 0.625, 0.056, 0.056, 0.1, 0],
    ]
)

_VALUES = {
    (2, "original"): (2.0, -0.98, -0.02, -0.02, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01),
    (2, "modified"): (1.0, -0.8, -0.2, -0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1),
    (3, "original"): (2.0, -0.98, -0.02, -0.02, 0.02, 0.02, 0.01, 0.01, 0.02, -0.02),
    (3, "modified"): (1.0, -0.8, -0.2, -0.2, 0.2, 0.2, 0.1, 0.1, 0.2, -0.2),
}


def shepp_logan(
    ndim: int = 2, variant: str = "modified", *, radius: ArrayLike = 100.0, scale: ArrayLike = 1.0
) -> Phantom:
    """The Shepp-Logan head: ten ellipses (2-D) or ellipsoids (3-D).

    2-D "original" is the table of Shepp and Logan (1974): skull 2.0, brain 1.02, features of 1 % relative to water.
    2-D "modified" has the same ellipses with the contrasts of Toft (1996): skull 1.0, brain 0.2, features of 0.1, as
    most software draws it. 3-D "original" is the table on page 102 of Kak and Slaney (1988), and 3-D "modified" the
    same ellipsoids with the contrasts of Yu, Ye and Wang (2004).

    Args:
        ndim: 2 or 3.
        variant: "modified" or "original".
        radius: what one unit of the tables is, in mm. The head reaches 0.69 units along x, 0.92 along y and, in 3-D,
            0.9 along z: it fits into a circle (or ball) of this radius.
        scale: factor on the values; the attenuation of water in 1/mm (0.0206 at 60 keV) gives "original" real ones.

    Raises:
        ValueError: another dimension or variant, a radius that is not positive.
        TypeError: values that are not real numbers.

    References:
        L. A. Shepp, B. F. Logan, IEEE Trans. Nucl. Sci. 21(3) (1974), 21-43, doi:10.1109/TNS.1974.6499235.
        A. C. Kak, M. Slaney, Principles of Computerized Tomographic Imaging, IEEE Press (1988).
        P. Toft, The Radon Transform: Theory and Implementation, PhD thesis, DTU (1996).
        H. Yu, Y. Ye, G. Wang, Proc. SPIE 5535 (2004), 550-557.
    """
    _validate.choice("variant", variant, ("modified", "original"))
    if ndim not in (2, 3):
        raise ValueError(f"ndim must be 2 or 3, got {ndim!r}")
    radius = _validate.floats("radius", radius, positive=True)
    table = _ELLIPSES if ndim == 2 else _ELLIPSOIDS
    # The tables are in (x, y, z); shapes want (z, y, x), axes included.
    center, semi_axes = table[:, :ndim][:, ::-1], table[:, ndim : 2 * ndim][:, ::-1]
    values = np.asarray(_VALUES[ndim, variant]) * _validate.floats("scale", scale)
    return Phantom(Ellipsoid(radius * center, radius * semi_axes, values, np.deg2rad(table[:, -1])))
