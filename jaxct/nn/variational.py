"""The variational network."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.nn._layers import check_ndim, convolve
from jaxct.nn._unroll import Policy, check_scan, stack, unroll

# Of the activations' slope at the start: filters of unit norm then weigh little beside a gradient step.
_SLOPE = 0.1


class _Step(nnx.Module):
    """The gradient of a field of experts: filters, their activations, the filters' transposes; and a step size."""

    def __init__(
        self,
        ndim: int,
        num_filters: int,
        filter_size: int,
        num_knots: int,
        value_range: float,
        dtype: Any,
        param_dtype: Any,
        rngs: nnx.Rngs,
    ):
        self.size = nnx.Param(jnp.ones((), param_dtype))
        shape = (num_filters, 1, *[filter_size] * ndim)
        self.filters = nnx.Param(jax.random.normal(rngs.params(), shape, param_dtype))
        self.knots = tuple(np.linspace(-value_range, value_range, num_knots).tolist())
        self.spacing = 2 * value_range / (num_knots - 1)
        # Gaussians one spacing wide, one spacing apart, sum up to sqrt(2 pi) nearly everywhere.
        weights = _SLOPE / math.sqrt(2 * math.pi) * jnp.asarray(self.knots, param_dtype)
        self.weights = nnx.Param(jnp.broadcast_to(weights[:, None], (num_knots, num_filters)))
        self.dtype = dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        filters = self.filters[...].astype(jnp.promote_types(self.filters[...].dtype, x.dtype))
        filters = filters - jnp.mean(filters, range(2, filters.ndim), keepdims=True)
        norms = jnp.sum(filters**2, range(1, filters.ndim), keepdims=True)
        filters = (filters * jax.lax.rsqrt(norms + jnp.finfo(norms.dtype).tiny)).astype(self.dtype or x.dtype)

        kernel = jnp.moveaxis(filters, (0, 1), (-1, -2))
        padding = [(n // 2, n // 2) for n in kernel.shape[:-2]]
        response, transpose = jax.vjp(
            lambda image: convolve(image, kernel, (1,) * len(padding), padding), x[None, ..., None].astype(kernel.dtype)
        )
        (back,) = transpose(self._activate(response))
        return back[0, ..., 0].astype(x.dtype) / len(filters)

    def _activate(self, response: jax.Array) -> jax.Array:
        """``sum_j w_ij exp(-(z - knot_j)^2 / (2 spacing^2))`` of the responses z."""
        z = response.astype(jnp.promote_types(response.dtype, jnp.float32))

        # Knot by knot, and again for the gradient: all Gaussians at once are num_knots times the responses.
        @jax.checkpoint
        def add(total: jax.Array, knot: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            weight, place = knot
            return total + weight * jnp.exp(-0.5 * ((z - place) / self.spacing) ** 2), None

        knots = self.weights[...].astype(z.dtype), jnp.asarray(self.knots, z.dtype)
        return jax.lax.scan(add, jnp.zeros_like(z), knots)[0].astype(response.dtype)


class VariationalNetwork(nnx.Module):
    r"""Gradient steps on the data and on learned fields of experts: an image of ``A.in_shape``.

    ``x <- x - step_k A^T (A x - data) / |A|^2 - (1/n) sum_i K_ki^T phi_ki(K_ki x)`` for k = 1 ... num_steps, with n
    convolutions K of zero mean and unit norm (whatever the parameters are: they are centred and divided by their norm)
    and as many activations phi, sums of Gaussians at equally spaced knots. Steps start at 1, filters at random, and
    activations at ``0.1 z``: untrained, this smooths a little.

    Args:
        num_steps: how many.
        ndim: 2 or 3, axes of the image.
        num_filters: n.
        filter_size: voxels along an edge of a filter, odd.
        num_knots: Gaussians of an activation.
        value_range: they lie from minus this to this; where a response is larger, the activation fades to 0. About the
            largest value of the images.
        remat: compute a step's intermediate values again for the gradient, so that memory hardly grows with their
            number; else they are kept.
        policy: what is kept nevertheless, see :class:`UnrolledGradient`.
        dtype: what the convolutions are computed in, such as ``jnp.bfloat16``; that of the data if None.
        param_dtype: of the parameters.
        rngs: where the filters come from.

    Raises:
        TypeError, ValueError: numbers that are no such counts, a filter of even size; when called, shapes that do not
            fit the operator.

    References:
        K. Hammernik et al., "Learning a variational network for reconstruction of accelerated MRI data", Magn. Reson.
        Med. 79 (2018) 3055-3071; for CT, K. Hammernik, T. Wuerfl, T. Pock, A. Maier, "A deep learning architecture for
        limited-angle computed tomography reconstruction", Bildverarbeitung fuer die Medizin 2017, 92-97.
    """

    def __init__(
        self,
        num_steps: int = 10,
        *,
        ndim: int = 2,
        num_filters: int = 24,
        filter_size: int = 7,
        num_knots: int = 31,
        value_range: float = 1.0,
        remat: bool = True,
        policy: Policy | None = None,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.ndim = check_ndim(ndim)
        count = _validate.count
        if count("filter_size", filter_size) % 2 == 0 or filter_size == 1:
            raise ValueError(f"filter_size must be odd and above 1, got {filter_size}")
        if count("num_knots", num_knots) < 2:
            raise ValueError(f"num_knots must be 2 or more, got {num_knots}")
        with jax.ensure_compile_time_eval():  # a number, also where a module is made inside jit
            value_range = float(_validate.scalar("value_range", value_range, positive=True))
        self.remat, self.policy = bool(remat), policy
        sizes = (count("num_filters", num_filters), filter_size, num_knots, value_range)
        self.steps = stack(
            lambda: _Step(ndim, *sizes, dtype=dtype, param_dtype=param_dtype, rngs=rngs), count("num_steps", num_steps)
        )

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

        def step(module: _Step, x: jax.Array) -> jax.Array:
            gradient = scale * A.T(A(x) - data)
            return x - module.size[...].astype(x.dtype) * gradient - module(x)

        return unroll(self.steps, step, x, num_shared=None, remat=self.remat, policy=self.policy)
