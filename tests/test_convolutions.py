"""The networks' convolutions, in the order of axes that is quick and in 3-D slice by slice, are those of XLA."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxct.nn._layers import conv

NUMBERS = {2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}
SIZES = {2: (7, 6), 3: (7, 6, 9)}


def by_layer(layer):
    """A layer as a function of what it sees and its kernel."""
    return lambda x, kernel: nnx.merge(nnx.graphdef(layer), nnx.state(layer) | {"kernel": nnx.Param(kernel)})(x)


@pytest.mark.parametrize(
    ("ndim", "size", "strides", "leading"),
    [(3, 3, 1, ()), (3, 3, 2, (2,)), (3, 1, 1, (2, 3)), (2, 3, 1, (2,)), (2, 3, 2, ()), (2, 5, 2, (2,)), (2, 1, 1, ())],
)
def test_the_convolution_and_its_gradients_in_both_arguments(ndim, size, strides, leading):
    with jax.enable_x64(True):
        layer = conv(ndim, 2, 5, size=size, strides=strides, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
        kernel = layer.kernel[...]

        def plain(x, kernel):
            padding = [(size // 2, size // 2)] * ndim
            flat = x.reshape(-1, *x.shape[-ndim - 1 :])
            out = jax.lax.conv_general_dilated(
                flat, kernel, (strides,) * ndim, padding, dimension_numbers=NUMBERS[ndim]
            )
            return out.reshape(*x.shape[: -ndim - 1], *out.shape[1:])

        x = jax.random.normal(jax.random.key(1), (*leading, *SIZES[ndim], 2), jnp.float64)
        np.testing.assert_allclose(layer(x), plain(x, kernel), atol=1e-12)
        y = jax.random.normal(jax.random.key(2), layer(x).shape, jnp.float64)
        gradients = [jax.grad(lambda x, k, f=f: jnp.vdot(y, f(x, k)), argnums=(0, 1)) for f in (by_layer(layer), plain)]
        got, wanted = (gradient(x, kernel) for gradient in gradients)
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-11)
        # And the gradients' own.
        got, wanted = (
            jax.grad(lambda x, k, g=g: sum(jnp.vdot(a, a**2) for a in g(x, k)), argnums=(0, 1))(x, kernel)
            for g in gradients
        )
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * np.abs(b).max())


@pytest.mark.parametrize("ndim", [2, 3])
def test_within_a_loop_the_axes_are_in_the_order_that_is_quick_on_cpus(ndim):
    """Those of jax.lax itself are in others there, and thirty times as slow."""
    layer = conv(ndim, 2, 5, strides=2, rngs=nnx.Rngs(0))
    kernel, x = jax.device_put((layer.kernel[...], jnp.ones((*SIZES[ndim], 2))), jax.devices("cpu")[0])
    gradient = jax.grad(lambda x, k: jnp.sum(by_layer(layer)(x, k) ** 2), argnums=(0, 1))
    loop = jax.jit(lambda x, k: jax.lax.fori_loop(0, 3, lambda _, xk: gradient(*xk), (x, k)))
    orders = re.findall(r"convolution\(.*dim_labels=(\S+?)[, ]", loop.lower(x, kernel).compile().as_text() + " ")
    assert len(orders) >= 3
    assert set(orders) == {"b01f_01io->b01f"}


def test_forward_mode_is_refused():
    """What the quick gradients cost: known, not met by surprise."""
    layer = conv(2, 2, 5, rngs=nnx.Rngs(0))
    x = jnp.ones((*SIZES[2], 2))
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(layer, (x,), (x,))
