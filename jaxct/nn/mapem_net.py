"""MAPEM-Net: the alternating directions of a penalised likelihood, unrolled."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from jaxct._emission import back_projected_policy, pulled_step
from jaxct.geometry import _validate
from jaxct.nn._emission import Correction, not_negative, scan_in_units
from jaxct.nn._layers import check_ndim
from jaxct.nn._unroll import Policy, stack, unroll


class _Step(nnx.Module):
    def __init__(self, ndim: int, penalty: float, param_dtype: Any, **options: Any):
        self.log_penalty = nnx.Param(jnp.full((), math.log(penalty), param_dtype))
        self.denoise = Correction(ndim, param_dtype=param_dtype, **options)


class MAPEMNet(nnx.Module):
    r"""MAPEM-Net: ADMM for a penalised likelihood with a U-Net in the place of the penalty's proximal map: an image of
    ``A.in_shape``, of which no voxel is negative.

    From ``z = x`` and ``u = 0`` on, for k = 1 ... num_unrolls:

        x <- em_iters steps of MAP-EM from x, pulled by rho_k towards z - u   (:func:`jaxct.reconstruct.map_em_step`)
        z <- max(0, x + u + UNET_k(x + u));    u <- u + x - z

    z is returned. The last convolution of each U-Net starts at 0: untrained, this is MLEM that holds on to the image
    before.

    The image x0 to start from sets the units: a U-Net sees images divided by the mean of x0 weighted by x0 itself,
    ``<x0, x0> / <1, x0>``, which makes values of the order of 1, and what comes out is multiplied by it; and ``rho =
    exp(p) <A^T 1, x0> / <x0, x0>`` with a parameter p for each step. So neither the counts' number nor the units
    matter. Train and use it with the same kind of x0.

    Of a gradient's residuals none has the shape of the data: a MAP-EM step of the gradient costs two applications of A
    and one of its transpose.

    Args:
        num_unrolls: how many times.
        ndim: 2 or 3, axes of the image; data may have any.
        em_iters: MAP-EM steps between two denoisings.
        penalty: ``exp(p)`` at the start, positive.
        features, convs_per_level: of the U-Nets, see :class:`UNet`.
        shared: whether all steps have the same U-Net and penalty.
        remat: compute a step's intermediate values again for the gradient, so that memory hardly grows with their
            number; else those of the networks are kept.
        policy: what is kept nevertheless, of :mod:`jaxct.checkpoint_policies`; if None the images that a step back
            projects, so that this is not done again.
        dtype: what the convolutions are computed in, such as ``jnp.bfloat16``; that of the data if None.
        param_dtype: of the parameters.
        rngs: where the parameters' first values come from.

    Raises:
        TypeError, ValueError: numbers that are no such counts, a penalty that is not positive; when called, shapes that
            do not fit the operator.

    References:
        K. Gong et al., "MAPEM-Net: an unrolled neural network for fully 3D PET image reconstruction", Proc. SPIE 11072
        (2019).
    """

    def __init__(
        self,
        num_unrolls: int = 8,
        *,
        ndim: int = 3,
        em_iters: int = 2,
        penalty: float = 0.1,
        features: Sequence[int] = (16, 32, 64),
        convs_per_level: int = 2,
        shared: bool = False,
        remat: bool = True,
        policy: Policy | None = None,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.num_unrolls, self.ndim = _validate.count("num_unrolls", num_unrolls), check_ndim(ndim)
        self.em_iters = _validate.count("em_iters", em_iters)
        with jax.ensure_compile_time_eval():  # a number, also where a module is made inside jit
            strength = float(_validate.scalar("penalty", penalty, positive=True))
        self.shared, self.remat = bool(shared), bool(remat)
        self.policy = back_projected_policy if policy is None else policy

        def make() -> _Step:
            options = {"features": features, "convs_per_level": convs_per_level, "dtype": dtype}
            return _Step(ndim, strength, param_dtype, rngs=rngs, **options)

        self.steps = make() if shared else stack(make, self.num_unrolls)

    def __call__(
        self,
        A: Any,  # noqa: N803
        data: ArrayLike,
        x: ArrayLike | None = None,
        *,
        background: ArrayLike = 0.0,
        sensitivity: ArrayLike | None = None,
    ) -> jax.Array:
        """The image: arguments as for :class:`EMNet`."""
        scan = scan_in_units(A, data, x, background, sensitivity, self.ndim)

        def step(module: _Step, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            x, z, u = carry
            pull = jnp.exp(module.log_penalty[...]).astype(x.dtype) * scan.stiffness / scan.scale
            for _ in range(self.em_iters):
                x = pulled_step(A, scan.data, x, scan.sensitivity, pull, z - u, scan.background)
            seen = x + u
            z = not_negative(seen + scan.scale * module.denoise(seen, scan.scale))
            return x, z, seen - z

        num_shared = self.num_unrolls if self.shared else None
        start = (scan.x, scan.x, jnp.zeros_like(scan.x))
        return unroll(self.steps, step, start, num_shared=num_shared, remat=self.remat, policy=self.policy)[1]
