"""Derivatives of solutions by the implicit function theorem: their memory does not grow with the iterations."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxct._arithmetic import where_weighed
from jaxct.geometry import _validate
from jaxct.reconstruct._checks import check_nonnegative
from jaxct.reconstruct._conjugate_gradients import conjugate_gradients
from jaxct.reconstruct.run import LinearOperator, check_data, check_num_iters

State = TypeVar("State")


def fixed_point(
    step: Callable[[Any, Any], Any],
    init: State,
    operands: Any,
    *,
    num_iters: int,
    adjoint_iters: int | None = None,
) -> State:
    r"""The state after ``num_iters`` steps, with the derivative of a fixed point ``z = step(z, operands)``.

    At a fixed point ``dz = J dz + B d(operands)`` with the step's derivatives J and B there, so that a cotangent v of z
    becomes ``B^T u`` with ``u = v + J^T u``. That equation is solved by ``adjoint_iters`` of its own steps, each one
    vector-Jacobian product of ``step``: like the iteration itself they converge where J is a contraction (in some
    metric), and as fast. Nothing is kept of the iterates but the last.

    The derivative with respect to ``init`` is zero, as a fixed point that attracts does not depend on it. Where the
    steps have not converged, the derivative is not that of the state that is returned, but of one nearby.

    Args:
        step: ``step(state, operands) -> state``, of the same structure, shapes and dtypes. What it is to be
            differentiated by must be in ``operands``: traced values that it closes over are refused by JAX.
        init: first state, a pytree of floating arrays.
        operands: a pytree of arrays; integers and keys in it have no derivative.
        num_iters: steps (static under ``jit``); 0 where ``init`` is a fixed point that was found otherwise.
        adjoint_iters: steps of the adjoint equation; as many as ``num_iters`` if None.

    Returns:
        The last state.

    Raises:
        TypeError: numbers of iterations that are no integers, a state that is not of floating arrays.
        ValueError: numbers of iterations below 0.

    References:
        A. Griewank and A. Walther, "Evaluating Derivatives", 2nd ed., SIAM 2008, chapter 15; S. Bai, J. Z. Kolter and
        V. Koltun, "Deep equilibrium models", NeurIPS 2019.
    """
    check_num_iters(num_iters)
    adjoint_iters = num_iters if adjoint_iters is None else adjoint_iters
    check_num_iters(adjoint_iters)
    init = jax.tree.map(jnp.asarray, init)
    for leaf in jax.tree.leaves(init):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(f"init must be of floating arrays, got one of {leaf.dtype}; others belong to operands")
    return _fixed_point(step, num_iters, adjoint_iters, init, operands)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _fixed_point(step: Callable, num_iters: int, adjoint_iters: int, init: Any, operands: Any) -> Any:
    return jax.lax.scan(lambda state, _: (step(state, operands), None), init, length=num_iters)[0]


def _fixed_point_fwd(step: Callable, num_iters: int, adjoint_iters: int, init: Any, operands: Any) -> tuple:
    state = _fixed_point(step, num_iters, adjoint_iters, init, operands)
    return state, (state, operands)


def _fixed_point_bwd(step: Callable, num_iters: int, adjoint_iters: int, residuals: tuple, cotangent: Any) -> tuple:
    state, operands = residuals
    _, by_state = jax.vjp(lambda z: step(z, operands), state)
    _, by_operands = jax.vjp(lambda o: step(state, o), operands)

    def advance(u: Any, _: None) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, cotangent, by_state(u)[0]), None

    u, _ = jax.lax.scan(advance, cotangent, length=adjoint_iters)
    return jax.tree.map(jnp.zeros_like, state), by_operands(u)[0]


_fixed_point.defvjp(_fixed_point_fwd, _fixed_point_bwd)


def solve_normal_equations(
    A: LinearOperator,  # noqa: N803
    data: ArrayLike,
    *,
    num_iters: int,
    damping: ArrayLike = 0.0,
    weights: ArrayLike | None = None,
    init: ArrayLike | None = None,
) -> Array:
    r"""The minimiser of ``sum_i w_i ((A x)_i - b_i)^2 + damping^2 |x|^2``, with the derivative of the exact one.

    ``(A^T w A + damping^2) x = A^T w b``, by ``num_iters`` steps of conjugate gradients. By the implicit function
    theorem the derivative in data, weights, damping and what A is made of (the leaves of its pytree: a projector's
    geometry and grid) takes one more solution of the same equations, in forward and in reverse mode and of any order.
    Nothing is kept of the iterates; through the iterations of :func:`~jaxct.reconstruct.cgls` all of them would be.

    The derivative is right as far as both solutions have converged. Where damping is zero A must have full column rank.

    One application of A and of its transpose an iteration, and one of A^T to start (one pair more with ``init``); a
    derivative costs as much again, and some applications of A's own derivative.

    Args:
        A: a linear operator with a matched transpose, such as :class:`jaxct.Projector`.
        data: of shape ``A.out_shape``.
        num_iters: iterations (static under ``jit``), of the solution and of each derivative.
        damping: Tikhonov weight.
        weights: w of the rays, not negative, broadcasting to ``A.out_shape``; one if None. Rays
            of weight 0 are left out, whatever their data.
        init: where to start, of shape ``A.in_shape``; zero if None. The derivative with respect to it is zero.

    Returns:
        Of shape ``A.in_shape``.

    Raises:
        ValueError: where a shape does not fit the operator, for a number of iterations below 0, for
            weights that are negative or not finite.
        TypeError: for complex values.

    References:
        B. Christianson, "Reverse accumulation and attractive fixed points", Optim. Methods Softw. 3 (1994) 311-326; M.
        Blondel et al., "Efficient and modular implicit differentiation", NeurIPS 2022.
    """
    check_num_iters(num_iters)
    data, init = check_data(A, data, init)
    w = check_nonnegative("weights", 1.0 if weights is None else weights, tuple(A.out_shape), data.dtype)
    data = where_weighed(data, w)
    damping = _validate.scalar("damping", damping).astype(data.dtype)

    def normal(x: Array) -> Array:
        return A.T(w * A(x)) + damping**2 * x

    start = jnp.zeros(A.in_shape, data.dtype) if init is None else jax.lax.stop_gradient(init)
    solve = partial(conjugate_gradients, num_iters=num_iters)
    # The correction of the start, so that the solution is linear in the right-hand side.
    target = A.T(w * data)
    target = target if init is None else target - normal(start)
    return start + jax.lax.custom_linear_solve(normal, target, solve, symmetric=True)
