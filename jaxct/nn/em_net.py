"""EM-Net: expectation maximisation with a learned penalty."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from jaxct._arithmetic import reciprocal
from jaxct._emission import back_projected, back_projected_policy, checkpoint_keeping_images
from jaxct.geometry import _validate
from jaxct.nn._emission import Correction, not_negative, scan_in_units
from jaxct.nn._layers import check_ndim
from jaxct.nn._unroll import Policy, stack, unroll


class _Step(nnx.Module):
    def __init__(self, ndim: int, param_dtype: Any, **options: Any):
        self.size = nnx.Param(jnp.ones((), param_dtype))
        self.penalty = Correction(ndim, param_dtype=param_dtype, **options)


class EMNet(nnx.Module):
    r"""EM-Net: steps of expectation maximisation with a U-Net in the place of a penalty's gradient: an image of
    ``A.in_shape``, of which no voxel is negative.

        x <- max(0, x - step_k (x / s) (A^T (1 - data / (A x + background)) + UNET_k(x)))

    for k = 1 ... num_unrolls, with ``s = A^T 1``. Steps start at 1 and the last convolution of each U-Net at 0:
    untrained, this is :func:`jaxct.reconstruct.mlem`. A voxel that has become 0 stays so.

    The image x0 to start from sets the units: a U-Net sees x divided by the mean of x0 weighted by x0 itself, ``<x0,
    x0> / <1, x0>``, which makes values of the order of 1, and what comes out of it is multiplied by the mean of s
    weighted likewise. So neither the counts' number nor the units matter. Train and use it with the same kind of x0.

    Of a gradient's residuals none has the shape of the data: a step of the gradient costs two applications of A and one
    of its transpose.

    Args:
        num_unrolls: how many steps.
        ndim: 2 or 3, axes of the image; data may have any.
        features, convs_per_level: of the U-Nets, see :class:`UNet`.
        shared: whether all steps have the same U-Net and size.
        remat: compute a step's intermediate values again for the gradient, so that memory hardly grows with their
            number; else those of the networks are kept.
        policy: what is kept nevertheless, of :mod:`jaxct.checkpoint_policies`; if None the image that the step back
            projects, so that this is not done again.
        dtype: what the convolutions are computed in, such as ``jnp.bfloat16``; that of the data if None.
        param_dtype: of the parameters.
        rngs: where the parameters' first values come from.

    Raises:
        TypeError, ValueError: numbers that are no such counts; when called, shapes that do not fit the operator.

    References:
        K. Gong et al., "EMnet: an unrolled deep neural network for PET image reconstruction", Proc. SPIE 10948 (2019).
    """

    def __init__(
        self,
        num_unrolls: int = 8,
        *,
        ndim: int = 3,
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
        self.shared, self.remat = bool(shared), bool(remat)
        self.policy = back_projected_policy if policy is None else policy

        def make() -> _Step:
            options = {"features": features, "convs_per_level": convs_per_level, "dtype": dtype}
            return _Step(ndim, param_dtype, rngs=rngs, **options)

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
        """The image.

        Args:
            A: a linear operator with weights that are not negative and its transpose ``A.T``.
            data: counts, of ``A.out_shape``; in list mode a one for each event.
            x: the image to start from, of ``A.in_shape``, such as a few iterations of MLEM; if None the uniform one
                that expects as many counts as there are.
            background: what is expected besides the image, broadcasting to ``A.out_shape``.
            sensitivity: s, where the rows of A are events, or not to compute it; broadcasting to ``A.in_shape``.
        """
        scan = scan_in_units(A, data, x, background, sensitivity, self.ndim)
        inverse = reciprocal(scan.sensitivity)
        found = checkpoint_keeping_images(lambda x, data, background: back_projected(A, data, x, background))

        def step(module: _Step, x: jax.Array) -> jax.Array:
            likely = scan.sensitivity - found(x, scan.data, scan.background)
            slope = likely + scan.stiffness * module.penalty(x, scan.scale)
            return not_negative(x - module.size[...].astype(x.dtype) * x * inverse * slope)

        num_shared = self.num_unrolls if self.shared else None
        return unroll(self.steps, step, scan.x, num_shared=num_shared, remat=self.remat, policy=self.policy)
