"""Reconstruction with a denoiser in the place of a prior."""

from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxct._arithmetic import norm
from jaxct.geometry import _validate
from jaxct.reconstruct._checks import check_bounds, check_nonnegative
from jaxct.reconstruct._conjugate_gradients import conjugate_gradients
from jaxct.reconstruct._static import as_operands, restored
from jaxct.reconstruct.norms import weighted_squared_norm
from jaxct.reconstruct.run import LinearOperator, LoopOptions, Result, check_data, iterate


class PlugAndPlayState(NamedTuple):
    """State of :func:`plug_and_play`: the denoised image, the one that fits the data, the sum of their differences."""

    volume: Array
    fitted: Array
    dual: Array


class _Operands(NamedTuple):
    A: Any
    weights: Array
    back_projection: Array
    penalty: Array
    denoiser: Any
    num_inner: Any
    lower: Array | None
    upper: Array | None


def plug_and_play(
    A: LinearOperator,  # noqa: N803
    data: ArrayLike,
    denoiser: Callable[[Array], Array],
    *,
    num_iters: int,
    weights: ArrayLike | None = None,
    penalty: ArrayLike | None = None,
    num_inner: int = 5,
    init: ArrayLike | None = None,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    **loop: Unpack[LoopOptions],
) -> Result:
    r"""Plug-and-play ADMM: a fit to the data and a denoiser in turn, until they agree.

    With ``f(x) = 1/2 sum_i w_i (A x - data)_i^2``, from ``u = 0`` on:

        x <- argmin f(x) + penalty / 2 |x - (v - u)|^2    by conjugate gradients, from the x before
        v <- clip(denoiser(x + u), lower, upper)
        u <- u + x - v

    Where they agree ``x = v = denoiser(x - grad f(x) / penalty)``. If the denoiser is the proximal map of a function
    ``g / penalty`` this is ADMM, and x minimises ``f + g``: so a greater penalty makes the same denoiser a stronger
    prior. Other denoisers minimise nothing in particular. It converges if the denoiser is firmly non-expansive (a
    linear symmetric one is, with eigenvalues from 0 to 1) and has such a fixed point; and for a strongly convex f if
    what the denoiser takes away changes slowly enough with the image.

    ``num_inner`` applications of A and of its transpose an iteration, one more of each for the start of the conjugate
    gradients; one of A^T to start, and 12 of each for the penalty where it is not given.

    Args:
        A: a linear operator with a matched transpose.
        data: of shape ``A.out_shape``.
        denoiser: takes an image of shape ``A.in_shape`` to one of that shape: a function, or a callable pytree such as
            a module of flax.nnx (whose parameters are then arguments of the compiled step).
        num_iters: number of iterations (static under ``jit``).
        weights: of the rays, not negative, broadcasting to ``A.out_shape``; 1 if None. Rays of weight zero may have any
            data, NaN too.
        penalty: positive; an upper estimate of the norm of ``A^T W A`` if None, with which the denoiser sees the image
            after a gradient step of the usual length.
        num_inner: conjugate-gradient steps in an iteration (static under ``jit``). A penalty that is small beside that
            norm, by a factor c, takes about ``sqrt(c)`` times as many.
        init: first iterate, of shape ``A.in_shape``; zero if None.
        lower: least value of a voxel, a scalar or an array that broadcasts to ``A.in_shape``; None for no bound.
        upper: greatest value, likewise.
        loop: callback (with a :class:`PlugAndPlayState`), progress, stop, checkpoint: see
            :class:`~jaxct.reconstruct.LoopOptions`. A checkpoint knows the run it belongs to by arrays, not by
            functions.

    Returns:
        ``Result(volume, history)``, the volume being v; the history has ``primal_residual`` = ``|x - v|`` and
        ``dual_residual`` = ``penalty |v - v before|`` after each iteration. Both go to zero as it converges.

    Raises:
        ValueError: where a shape does not fit the operator, also that of what the denoiser returns; for a penalty that
            is not positive, weights that are negative, bounds that are NaN or cross, a negative number of iterations.
            Values that are traced are not looked at.
        TypeError: for values that are not real numbers; a denoiser that is no function.

    References:
        S. V. Venkatakrishnan, C. A. Bouman and B. Wohlberg, "Plug-and-play priors for model based reconstruction",
        IEEE GlobalSIP (2013) 945-948; E. K. Ryu, J. Liu, S. Wang, X. Chen, Z. Wang and W. Yin, "Plug-and-play methods
        provably converge with properly trained denoisers", ICML (2019) 5546-5557.
    """
    data, init = check_data(A, data, init)
    if not callable(denoiser):
        raise TypeError(f"denoiser must be a function, got {denoiser!r}")
    weights = check_nonnegative("weights", 1.0 if weights is None else weights, tuple(A.out_shape), data.dtype)
    lower, upper = check_bounds(lower, upper, tuple(A.in_shape), data.dtype)
    steps = _validate.count("num_inner", num_inner)
    volume = jnp.zeros(A.in_shape, data.dtype) if init is None else init
    if penalty is None:
        penalty = weighted_squared_norm(A, weights, data.dtype)
    with jax.ensure_compile_time_eval():  # inside jit, too, a number is looked at now
        penalty = _validate.scalar("penalty", penalty, positive=True).astype(data.dtype)
    back_projection = A.T(weights * jnp.where(weights == 0, 0, data))
    state = PlugAndPlayState(volume, volume, jnp.zeros_like(volume))
    denoise, inner = as_operands((denoiser, steps))
    operands = _Operands(A, weights, back_projection, penalty, denoise, inner, lower, upper)
    state, history = iterate(_step, state, operands, num_iters=num_iters, label="plug and play", **loop)
    return Result(state.volume, history)


def _step(state: PlugAndPlayState, operands: _Operands) -> tuple[PlugAndPlayState, dict[str, Array]]:
    A, weights, penalty = operands.A, operands.weights, operands.penalty  # noqa: N806
    wanted = operands.back_projection + penalty * (state.volume - state.dual)
    hessian = lambda x: A.T(weights * A(x)) + penalty * x  # noqa: E731
    fitted = conjugate_gradients(hessian, wanted, start=state.fitted, num_iters=restored(operands.num_inner))
    denoised = jnp.asarray(restored(operands.denoiser)(fitted + state.dual))
    if denoised.shape != fitted.shape:
        raise ValueError(f"denoiser must return an image of shape {fitted.shape}, got shape {denoised.shape}")
    volume = jnp.clip(denoised.astype(fitted.dtype), operands.lower, operands.upper)
    record = {
        "primal_residual": norm(fitted - volume),
        "dual_residual": penalty * norm(volume - state.volume),
    }
    return PlugAndPlayState(volume, fitted, state.dual + fitted - volume), record
