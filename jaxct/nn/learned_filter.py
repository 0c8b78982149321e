"""The filter of filtered back projection, to be learned."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from jaxct import filters
from jaxct.geometry import _validate

INITS = ("sampled_ramp", "discrete_ramp")


class LearnedFilter(nnx.Module):
    """A filter's frequency response as parameters: ``fbp(projections, geometry, grid, window=learned())``.

    It is real, and starts at a ramp. To sample ``|f|`` in frequency is the obvious choice, and biased: it sets the
    zero frequency to 0, see :func:`jaxct.filters.ramp_response`, which has the discrete ramp. Only lags below
    ``num_cols`` of the filter's kernel meet in the detector; what the response has of others stays as it is.

    Args:
        num_cols: columns of the detector; those of the extended rows, where the detector is displaced (see
            :func:`jaxct.reconstruct.fbp`).
        init: "sampled_ramp": ``|f|`` at the frequencies of ``rfftfreq(filter_length(num_cols))``; "discrete_ramp": the
            response of the band-limited ramp.
        fan_step: of a curved detector, for the discrete ramp, see :func:`jaxct.filters.ramp_response`.
        positive: whether the response is the parameters' magnitude, so that it cannot become negative.
        param_dtype: of the parameters.

    Raises:
        TypeError, ValueError: ``num_cols`` that is no positive integer, an unknown start, ``fan_step`` with the sampled
            ramp.

    References:
        T. Wuerfl et al., "Deep learning computed tomography: learning projection-domain weights from image domain in
        limited angle problems", IEEE Trans. Med. Imaging 37 (2018) 1454-1463.
    """

    def __init__(
        self,
        num_cols: int,
        *,
        init: str = "sampled_ramp",
        fan_step: ArrayLike | None = None,
        positive: bool = False,
        param_dtype: Any = jnp.float32,
    ):
        self.num_cols = _validate.count("num_cols", num_cols)
        self.positive = bool(positive)
        if _validate.choice("init", init, INITS) == "discrete_ramp":
            start = filters.ramp_response(self.num_cols, fan_step=fan_step)
        elif fan_step is None:
            start = jnp.fft.rfftfreq(filters.filter_length(self.num_cols))
        else:
            raise ValueError("fan_step belongs to init='discrete_ramp', got init='sampled_ramp'")
        self.response = nnx.Param(start.astype(param_dtype))

    def __call__(self) -> jax.Array:
        """The response, of shape ``(filter_length(num_cols) // 2 + 1,)``."""
        response = self.response[...]
        # Not jnp.abs, whose derivative at 0, where the sampled ramp starts, is 0.
        return jnp.where(response < 0, -response, response) if self.positive else response

    def roughness(self) -> jax.Array:
        """Mean square of the response's second differences, to be added to a loss where a smooth filter is wanted."""
        return jnp.mean(jnp.diff(self(), n=2) ** 2)
