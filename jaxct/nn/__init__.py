"""Networks (flax.nnx) for reconstruction: layers that know nothing of an operator, and those that call one.

Channels come last. Modules take one image, or any number in leading axes; with an operator inside, one scan, and a
batch is ``jax.vmap``'s. Parameters are float32; ``dtype=jnp.bfloat16`` computes a network's convolutions in bfloat16,
while its input, its output and every projection keep their own precision.

Convolutions have derivatives in reverse mode (``jax.grad``, ``jax.vjp``, of any order), not in forward mode
(``jax.jvp``, ``jax.jacfwd``): on CPUs that is what makes their gradients quick within loops.
"""

from jaxct.nn._layers import num_parameters
from jaxct.nn.em_net import EMNet
from jaxct.nn.learned_filter import LearnedFilter
from jaxct.nn.mapem_net import MAPEMNet
from jaxct.nn.primal_dual import LearnedPrimalDual
from jaxct.nn.unet import UNet
from jaxct.nn.unrolled_gradient import UnrolledGradient
from jaxct.nn.variational import VariationalNetwork

__all__ = [
    "EMNet",
    "LearnedFilter",
    "LearnedPrimalDual",
    "MAPEMNet",
    "UNet",
    "UnrolledGradient",
    "VariationalNetwork",
    "num_parameters",
]
