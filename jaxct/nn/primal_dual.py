"""The learned primal-dual algorithm."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.nn._layers import ConvStack, check_ndim
from jaxct.nn._unroll import Policy, check_scan, stack, unroll


class _Step(nnx.Module):
    def __init__(self, ndim: int, features: int, primal: int, dual: int, **types: Any):
        self.dual = ConvStack(ndim, (dual + 2, features, features, dual), zero=False, **types)
        self.primal = ConvStack(ndim, (primal + 1, features, features, primal), zero=False, **types)


class LearnedPrimalDual(nnx.Module):
    r"""Primal-dual steps whose proximal operators are learned, one for images and one for data: an image of A.in_shape.

    ``h <- h + DUAL_k(h, A f[1], data);  f <- f + PRIMAL_k(f, A^T h[0])`` for k = 1 ... num_steps, from zero, with A and
    the data divided by ``|A|``. f are ``num_primal`` images, of which f[0] is returned; h are ``num_dual`` data sets.
    The networks are three convolutions each, with weights of their own in every step. (With one image, f[1] is f[0].)

    Images are best given in units in which their values are about 1.

    Args:
        num_steps: how many.
        ndim: 2 or 3, axes of the image and of the data.
        features: channels between the convolutions.
        num_primal, num_dual: channels of f and of h.
        remat: compute a step's intermediate values again for the gradient, so that memory hardly grows with their
            number; else they are kept.
        policy: what is kept nevertheless, see :class:`UnrolledGradient`.
        dtype: what the convolutions are computed in, such as ``jnp.bfloat16``; that of the data if None.
        param_dtype: of the parameters.
        rngs: where the parameters' first values come from.

    Raises:
        TypeError, ValueError: numbers that are no such counts; when called, shapes that do not fit the operator.

    References:
        J. Adler, O. Oktem, "Learned primal-dual reconstruction", IEEE Trans. Med. Imaging 37 (2018) 1322-1332.
    """

    def __init__(
        self,
        num_steps: int = 10,
        *,
        ndim: int = 2,
        features: int = 32,
        num_primal: int = 5,
        num_dual: int = 5,
        remat: bool = True,
        policy: Policy | None = None,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.ndim = check_ndim(ndim)
        _validate.count("features", features)
        self.num_primal = _validate.count("num_primal", num_primal)
        self.num_dual = _validate.count("num_dual", num_dual)
        self.remat, self.policy = bool(remat), policy
        types = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        self.steps = stack(
            lambda: _Step(ndim, features, num_primal, num_dual, **types), _validate.count("num_steps", num_steps)
        )

    def __call__(self, A: Any, data: ArrayLike, *, squared_norm: ArrayLike) -> jax.Array:  # noqa: N803
        """The image.

        Args:
            A: a linear operator with its transpose ``A.T``, such as :class:`jaxct.Projector`.
            data: of ``A.out_shape``.
            squared_norm: ``|A|^2``, as of :func:`jaxct.reconstruct.squared_norm`.
        """
        data, zero = check_scan(A, data, None, self.ndim)
        if data.ndim != self.ndim:
            raise ValueError(f"A must have data of {self.ndim} axes, as its images, got shape {data.shape}")
        scale = jax.lax.rsqrt(jnp.asarray(squared_norm, data.dtype))
        read = min(1, self.num_primal - 1)

        def step(module: _Step, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            f, h = carry
            seen = jnp.stack([scale * A(f[..., read]), scale * data], -1)
            h = h + module.dual(jnp.concatenate([h, seen], -1))
            back = scale * A.T(h[..., 0])
            return f + module.primal(jnp.concatenate([f, back[..., None]], -1)), h

        carry = (
            jnp.zeros((*zero.shape, self.num_primal), data.dtype),
            jnp.zeros((*data.shape, self.num_dual), data.dtype),
        )
        return unroll(self.steps, step, carry, num_shared=None, remat=self.remat, policy=self.policy)[0][..., 0]
