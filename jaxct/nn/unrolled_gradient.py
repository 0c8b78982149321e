"""Learned gradient descent."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.nn._layers import ConvStack, check_ndim
from jaxct.nn._unroll import Policy, check_scan, stack, unroll


class _Step(nnx.Module):
    def __init__(self, ndim: int, features: int, memory: int, dtype: Any, param_dtype: Any, rngs: nnx.Rngs):
        self.size = nnx.Param(jnp.ones((), param_dtype))
        channels = (2 + memory, features, features, 1 + memory)
        self.correction = ConvStack(ndim, channels, zero=True, dtype=dtype, param_dtype=param_dtype, rngs=rngs)

    def __call__(self, x: jax.Array, gradient: jax.Array, memory: jax.Array) -> tuple[jax.Array, jax.Array]:
        seen = jnp.concatenate([x[..., None], gradient[..., None], memory], -1)
        found = self.correction(seen)
        step = self.size[...].astype(x.dtype) * gradient
        return x - step + found[..., 0], found[..., 1:]


class UnrolledGradient(nnx.Module):
    r"""Gradient steps on the data, each with a small convolutional correction: an image of ``A.in_shape``.

    ``g = A^T (A x - data) / |A|^2;  (d, s) = CNN_k(x, g, s);  x <- x - step_k g + d`` for k = 1 ... num_steps, where s,
    ``memory`` channels of the size of the image and zero at first, is what one step tells the next. The networks are
    three convolutions, the last of which starts at zero, and the steps start at 1: untrained, this is gradient descent.

    Images are best given in units in which their values are about 1.

    Args:
        num_steps: how many.
        ndim: 2 or 3, axes of the image.
        features: channels between the convolutions.
        memory: channels of s.
        shared: whether all steps have the same weights.
        remat: compute a step's intermediate values again for the gradient, so that memory hardly grows with their
            number; else they are kept.
        policy: what is kept nevertheless, of :mod:`jaxct.checkpoint_policies`: with ``save_projections`` nothing is
            projected again, at the price of a sinogram and an image a step.
        dtype: what the convolutions are computed in, such as ``jnp.bfloat16``; that of the data if None.
        param_dtype: of the parameters.
        rngs: where the parameters' first values come from.

    Raises:
        TypeError, ValueError: numbers that are no such counts; when called, shapes that do not fit the operator.

    References:
        J. Adler, O. Oktem, "Solving ill-posed inverse problems using iterative deep neural networks", Inverse Problems
        33 (2017) 124007.
    """

    def __init__(
        self,
        num_steps: int,
        *,
        ndim: int = 2,
        features: int = 32,
        memory: int = 5,
        shared: bool = False,
        remat: bool = True,
        policy: Policy | None = None,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.num_steps = _validate.count("num_steps", num_steps)
        self.ndim, self.memory = check_ndim(ndim), memory
        if memory < 0:
            raise ValueError(f"memory must be 0 or more, got {memory}")
        _validate.count("features", features)
        self.shared, self.remat, self.policy = bool(shared), bool(remat), policy

        def make() -> _Step:
            return _Step(ndim, features, memory, dtype, param_dtype, rngs)

        self.steps = make() if shared else stack(make, self.num_steps)

    def __call__(
        self,
        A: Any,  # noqa: N803
        data: ArrayLike,
        x: ArrayLike | None = None,
        *,
        squared_norm: ArrayLike,
    ) -> jax.Array:
        """The image.

        Args:
            A: a linear operator with its transpose ``A.T``, such as :class:`jaxct.Projector`.
            data: of ``A.out_shape``.
            x: the image to start from, of ``A.in_shape``, such as an FBP; zero if None.
            squared_norm: ``|A|^2``, as of :func:`jaxct.reconstruct.squared_norm`.
        """
        data, x = check_scan(A, data, x, self.ndim)
        scale = 1 / jnp.asarray(squared_norm, data.dtype)

        def step(module: _Step, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            x, memory = carry
            return module(x, scale * A.T(A(x) - data), memory)

        carry = x, jnp.zeros((*x.shape, self.memory), x.dtype)
        num_shared = self.num_steps if self.shared else None
        return unroll(self.steps, step, carry, num_shared=num_shared, remat=self.remat, policy=self.policy)[0]
