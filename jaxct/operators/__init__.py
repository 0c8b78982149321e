"""Linear operators that a scanner's model is made of, beside the projector: products, factors of the rays, blur.

They meet the protocol of the iterative algorithms: ``A(x)``, ``A.T(y)``, ``A.in_shape``, ``A.out_shape`` and, where the
parts have views, ``A[views]``. They are pytrees, linear to JAX, and their transposes are exact. ``B @ A`` is their
product::

    A = Diagonal(attenuation * normalization) @ jaxct.Projector(geometry, grid) @ GaussianBlur(grid, fwhm_to_sigma(4.5))
"""

from jaxct.operators._base import Compose, Operator, Transposed
from jaxct.operators.diagonal import Diagonal
from jaxct.operators.gaussian import GaussianBlur, fwhm_to_sigma
from jaxct.operators.radial import RadialBlur

__all__ = ["Compose", "Diagonal", "GaussianBlur", "Operator", "RadialBlur", "Transposed", "fwhm_to_sigma"]
