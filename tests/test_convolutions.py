"""The networks' convolutions in 3-D, which go slice by slice, are those of XLA."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxct.nn._layers import conv


@pytest.mark.parametrize(("size", "strides", "leading"), [(3, 1, ()), (3, 2, (2,)), (1, 1, (2, 3))])
def test_a_volume_by_slices_is_the_convolution_of_the_volume(size, strides, leading):
    with jax.enable_x64(True):
        layer = conv(3, 2, 5, size=size, strides=strides, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
        kernel = layer.kernel[...]

        def plain(x, kernel):
            padding = [(size // 2, size // 2)] * 3
            flat = x.reshape(-1, *x.shape[-4:])
            numbers = ("NDHWC", "DHWIO", "NDHWC")
            out = jax.lax.conv_general_dilated(flat, kernel, (strides,) * 3, padding, dimension_numbers=numbers)
            return out.reshape(*x.shape[:-4], *out.shape[1:])

        def by_slices(x, kernel):
            return nnx.merge(nnx.graphdef(layer), nnx.state(layer) | {"kernel": nnx.Param(kernel)})(x)

        x = jax.random.normal(jax.random.key(1), (*leading, 7, 6, 9, 2), jnp.float64)
        np.testing.assert_allclose(layer(x), plain(x, kernel), atol=1e-12)
        y = jax.random.normal(jax.random.key(2), layer(x).shape, jnp.float64)
        got, wanted = (
            jax.grad(lambda x, k, f=f: jnp.vdot(y, f(x, k)), argnums=(0, 1))(x, kernel) for f in (by_slices, plain)
        )
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-11)
