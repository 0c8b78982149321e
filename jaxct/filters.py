"""Ramp filters for analytic reconstruction.

A filter is a real (or complex) frequency response on the grid of ``rfftfreq(filter_length(num_cols))``, in units of one
detector pixel: ``ramp_response`` rises from about 0 to 1/2 at the Nyquist frequency. Divided by the pixel size it is
the ramp ``|f|`` per mm, so one learned response serves every pixel size.
"""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

Window = str | ArrayLike | Callable[[jax.Array], ArrayLike]

WINDOWS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "ram-lak": jnp.ones_like,
    "shepp-logan": lambda f: jnp.sinc(f / 2),
    "cosine": lambda f: jnp.cos(jnp.pi / 2 * f),
    "hamming": lambda f: 0.54 + 0.46 * jnp.cos(jnp.pi * f),
    "hann": lambda f: 0.5 + 0.5 * jnp.cos(jnp.pi * f),
}
"""Windows by name: functions of the frequency divided by the cut-off frequency, for values in [0, 1]."""

# Padded samples that go through the FFT at once; larger stacks are filtered block by block, so that the complex
# spectrum of a whole scan never exists.
_BLOCK_SAMPLES = 2**24


def filter_length(num_cols: int) -> int:
    """Length of the padded FFT: the least even 2^a 3^b 5^c that holds a linear convolution, >= 2 num_cols - 1.

    The response of a filter has ``filter_length(num_cols) // 2 + 1`` values.
    """
    if num_cols < 1:
        raise ValueError(f"num_cols must be at least 1, got {num_cols}")
    length = 2 * num_cols
    while not _is_smooth(length):
        length += 2
    return length


def _is_smooth(n: int) -> bool:
    for prime in (2, 3, 5):
        while n % prime == 0:
            n //= prime
    return n == 1


@partial(jax.jit, static_argnames="num_cols")
def ramp_response(num_cols: int, *, fan_step: ArrayLike | None = None) -> jax.Array:
    r"""Frequency response of the band-limited ramp, from its samples in space.

    The kernel is Kak and Slaney's eq. 3.61 for unit pixels, ``h[0] = 1/4``, ``h[n] = -1/(pi n)^2`` for odd n, else 0.
    Sampling ``|f|`` in frequency instead would set the zero frequency to 0, which lowers the whole image (a DC bias).
    On a curved detector, whose pixels are ``fan_step`` radians apart, the kernel is multiplied by
    ``(n fan_step / sin(n fan_step))^2`` (eq. 3.103; their factor 1/2 belongs to the full-turn weight).

    Args:
        num_cols: columns of the detector.
        fan_step: angle between two pixels of a curved detector in radians, of shape ``(...)``; None for a flat one.

    Returns:
        Real response of shape ``(..., filter_length(num_cols) // 2 + 1)``: also the starting point of a learned filter.

    References:
        A. C. Kak and M. Slaney, Principles of Computerized Tomographic Imaging, IEEE Press 1988, chapter 3.
    """
    length = filter_length(num_cols)
    n = np.minimum(np.arange(length), length - np.arange(length))
    odd = n % 2 == 1
    kernel = np.where(odd, -1.0 / (np.pi * np.where(odd, n, 1)) ** 2, 0.0)
    kernel[0] = 0.25
    if fan_step is None:
        return jnp.asarray(np.fft.rfft(kernel).real)
    # Only lags below num_cols meet in the detector; beyond, the factor is held so that it never reaches its pole at pi.
    angle = jnp.asarray(fan_step)[..., None] * np.minimum(n, num_cols - 1.0)
    return jnp.fft.rfft(jnp.asarray(kernel, angle.dtype) / jnp.sinc(angle / jnp.pi) ** 2).real


def window_response(
    window: str | Callable[[jax.Array], ArrayLike], num_cols: int, *, cutoff: ArrayLike = 1.0
) -> jax.Array:
    """Apodisation of the ramp on the rfft grid: the window stretched to the cut-off frequency, zero above it.

    Args:
        window: a name in ``WINDOWS``, or a function of an array of frequencies in [0, 1] (1 = the cut-off).
        num_cols: columns of the detector.
        cutoff: fraction of the Nyquist frequency, in (0, 1].

    Raises:
        ValueError: unknown name, cut-off outside (0, 1], or a function that does not keep the shape.
    """
    _check_cutoff(cutoff)
    if not isinstance(window, str):
        return _apodisation(window, num_cols, cutoff)
    if window not in WINDOWS:
        raise ValueError(f"window must be one of {', '.join(WINDOWS)}, an array or a function, got {window!r}")
    return _named_apodisation(window, num_cols, cutoff)


@partial(jax.jit, static_argnames=("name", "num_cols"))
def _named_apodisation(name: str, num_cols: int, cutoff: ArrayLike) -> jax.Array:
    return _apodisation(WINDOWS[name], num_cols, cutoff)


def _apodisation(function: Callable[[jax.Array], ArrayLike], num_cols: int, cutoff: ArrayLike) -> jax.Array:
    frequency = jnp.linspace(0.0, 1.0, filter_length(num_cols) // 2 + 1) / cutoff
    gain = jnp.asarray(function(jnp.minimum(frequency, 1.0)))
    if gain.shape != frequency.shape:
        raise ValueError(f"window must return an array of shape {frequency.shape}, got {gain.shape}")
    # A hair above 1 still counts as the cut-off itself: x / c can round up.
    return jnp.where(frequency <= 1.0 + 1e-6, gain, 0.0)


def filter_response(
    window: Window, num_cols: int, *, cutoff: ArrayLike = 1.0, fan_step: ArrayLike | None = None
) -> jax.Array:
    """The whole filter: ramp times window, or the user's own array as it is.

    Args:
        window: a name in ``WINDOWS``; a function of normalised frequency; or the complete response, ramp included, of
            shape ``(..., filter_length(num_cols) // 2 + 1)`` (start from ``ramp_response``), real or complex.
        num_cols: columns of the detector.
        cutoff: fraction of the Nyquist frequency in (0, 1], for named windows and functions.
        fan_step: angle between two pixels of a curved detector, see ``ramp_response``.

    Raises:
        TypeError: the window is none of the three.
        ValueError: unknown name, wrong length, or a cut-off together with an array.
    """
    if isinstance(window, str) or callable(window):
        return ramp_response(num_cols, fan_step=fan_step) * window_response(window, num_cols, cutoff=cutoff)
    try:
        response = jnp.asarray(window)
    except (TypeError, ValueError) as error:
        raise TypeError(f"window must be a name, an array or a function, got {type(window).__name__}") from error
    size = filter_length(num_cols) // 2 + 1
    if response.ndim == 0 or response.shape[-1] != size:
        raise ValueError(
            f"window as an array must have {size} values on its last axis (filter_length({num_cols}) // 2 + 1), "
            f"got shape {response.shape}"
        )
    if not isinstance(cutoff, jax.core.Tracer) and cutoff != 1.0:
        raise ValueError(f"cutoff applies to named windows and functions, not to an array: got cutoff={cutoff}")
    return response


def filter_projections(
    projections: ArrayLike,
    pixel_size: ArrayLike = 1.0,
    *,
    window: Window = "ram-lak",
    cutoff: ArrayLike = 1.0,
    fan_step: ArrayLike | None = None,
) -> jax.Array:
    """Filter every detector row: linear convolution with the ramp (times a window) along the last axis.

    ``q[c] = (1 / pixel_size) sum_c' h[c - c'] p[c']``, computed by zero-padded FFT. Differentiable in the projections,
    the pixel size and the filter.

    Args:
        projections: line integrals of shape ``(..., cols)``, for example ``(views, rows, cols)``.
        pixel_size: column pitch in mm (of a curved detector: along the arc).
        window, cutoff, fan_step: see ``filter_response``. A response with leading axes, or an array ``fan_step``,
            broadcasts against the leading axes of ``projections``: ``(views, 1, ...)`` gives every view its own filter.

    Returns:
        Filtered projections in 1 (line integral / mm), of the projections' shape; float32, or float64 if they are.

    Raises:
        TypeError: complex projections, or a window of no known kind.
        ValueError: projections without columns, a window or cut-off as in ``filter_response``.
    """
    projections = as_float(projections, "projections")
    if projections.ndim == 0 or 0 in projections.shape:
        raise ValueError(f"projections must have at least one column and one row, got shape {projections.shape}")
    response = filter_response(window, projections.shape[-1], cutoff=cutoff, fan_step=fan_step)
    check_broadcast(response, projections.shape)
    return _filter(projections, response / jnp.asarray(pixel_size))


@jax.jit
def _filter(projections: jax.Array, response: jax.Array) -> jax.Array:
    return map_views(convolve_rows, projections, response)


def check_broadcast(response: jax.Array, shape: tuple[int, ...]) -> None:
    """Refuse a filter whose leading axes do not broadcast to those of projections of this shape."""
    leading = zip(response.shape[-2::-1], shape[-2::-1], strict=False)
    if response.ndim > len(shape) or any(n not in (1, m) for n, m in leading):
        raise ValueError(f"window of shape {response.shape} does not broadcast to projections of shape {shape}")


def as_float(array: ArrayLike, name: str) -> jax.Array:
    """The array in the working type: float64 stays, every other real type becomes float32."""
    array = jnp.asarray(array)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"{name} must be real, got {array.dtype}")
    return array if array.dtype == jnp.float64 else array.astype(jnp.float32)


def convolve_rows(rows: jax.Array, response: jax.Array) -> jax.Array:
    """Linear convolution of the last axis with the filter of this frequency response."""
    num_cols = rows.shape[-1]
    length = filter_length(num_cols)
    response = response.astype(jnp.result_type(rows, jnp.complex64) if jnp.iscomplexobj(response) else rows.dtype)
    return jnp.fft.irfft(jnp.fft.rfft(rows, n=length) * response, n=length)[..., :num_cols]


def map_views(function: Callable[..., jax.Array], views: jax.Array, *operands: jax.Array) -> jax.Array:
    """``function(views, *operands)``, a block of views at a time where all at once would need much memory.

    ``function`` must act on every view alike. Operands of the rank of ``views`` have one entry per view or a single one
    in front; of lower rank, they are shared. A block is recomputed for a derivative, rather than its spectrum kept.
    """
    function = jax.checkpoint(function)
    block = max(1, _BLOCK_SAMPLES // (2 * math.prod(views.shape[1:])))
    if views.ndim == 1 or views.shape[0] <= block:
        return function(views, *operands)
    own = [operand.ndim == views.ndim and operand.shape[0] > 1 for operand in operands]
    shared = [operand[0] if operand.ndim == views.ndim else operand for operand in operands]

    def one_view(args):
        view, *mine = args
        mine = iter(mine)
        return function(view, *(next(mine) if is_own else s for is_own, s in zip(own, shared, strict=True)))

    per_view = [operand for operand, is_own in zip(operands, own, strict=True) if is_own]
    return jax.lax.map(one_view, (views, *per_view), batch_size=block)


def _check_cutoff(cutoff: ArrayLike) -> None:
    if isinstance(cutoff, jax.core.Tracer):
        return
    value = np.asarray(cutoff)
    if value.shape != () or not 0 < value <= 1:
        raise ValueError(f"cutoff must be a fraction of the Nyquist frequency in (0, 1], got {cutoff}")
