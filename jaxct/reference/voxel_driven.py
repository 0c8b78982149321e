"""The voxel-driven back projector of filtered back projection: a voxel reads each view where its centre projects.

L. A. Feldkamp, L. C. Davis, J. W. Kress, "Practical cone-beam algorithm", J. Opt. Soc. Am. A 1 (1984). The weight is
the square of the magnification M; filtering and constant factors are the caller's.
"""

import jax
import jax.numpy as jnp

from jaxct.geometry import VolumeGrid
from jaxct.reference.detector import View
from jaxct.reference.numerics import linear_weights
from jaxct.reference.project import project, voxel_centers


def back_view(projection: jax.Array, view: View, grid: VolumeGrid) -> jax.Array:
    """Back-project one view: ``M^2 * projection(row, col)``, (bi)linear, with zeros outside the detector."""
    center = project(voxel_centers(grid), view)
    weights = [linear_weights(center.pixel[..., k], n) for k, n in enumerate(projection.shape)]
    terms = "rc,...r,...c->..." if len(weights) == 2 else "c,...c->..."
    sample = jnp.einsum(terms, projection, *weights, precision="highest")
    return jnp.where(center.in_front, center.magnification**2, 0) * sample
