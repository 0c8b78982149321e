"""Golub and Kahan's bidiagonalisation, which LSQR and LSMR rest on.

Damping is a second block of rows, ``damping * x``, below those of A: the iterates are those of the damped recurrences,
and any first iterate will do. Arrays of the data's space are therefore tuples, of one or of two arrays.

References:
    G. Golub and W. Kahan, "Calculating the singular values and pseudo-inverse of a matrix", J. SIAM Numer. Anal. B 2
    (1965) 205-224.
"""

import dataclasses
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxct._arithmetic import ratio, root
from jaxct.geometry import _validate
from jaxct.reconstruct.run import LinearOperator, check_data

State = TypeVar("State", bound=NamedTuple)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Damped:
    """A with ``damping * identity`` below it; A alone where damping is None."""

    A: Any
    damping: Array | None

    def __call__(self, x: Array) -> tuple[Array, ...]:
        return (self.A(x),) if self.damping is None else (self.A(x), self.damping * x)

    def transposed(self, u: tuple[Array, ...]) -> Array:
        return self.A.T(u[0]) if self.damping is None else self.A.T(u[0]) + self.damping * u[1]

    def residual_norm(self, whole: Array, volume: Array) -> Array:
        """The part of the data in the norm of the whole residual."""
        if self.damping is None:
            return whole
        return root(jnp.maximum(whole**2 - self.damping**2 * jnp.vdot(volume, volume), 0))


class Bidiagonal(NamedTuple):
    """The last vectors of the two orthonormal bases, and what they were divided by."""

    u: tuple[Array, ...]
    v: Array
    beta: Array
    alpha: Array


class Problem(NamedTuple):
    """A least-squares problem: the operator with its damping, the first iterate, the bidiagonalisation of the residual
    there, and ``eps |data|``, below which a gradient by the norm of A is rounding."""

    operator: Damped
    volume: Array
    first: Bidiagonal
    rounding: Array


def least_squares(
    A: LinearOperator,  # noqa: N803
    data: ArrayLike,
    init: ArrayLike | None,
    damping: ArrayLike,
) -> Problem:
    """Minimise ``|A x - data|^2 + damping^2 |x|^2``, from ``init`` on; the arguments checked."""
    data, init = check_data(A, data, init)
    with jax.ensure_compile_time_eval():
        weight = _validate.scalar("damping", damping).astype(data.dtype)
        none = _validate.concrete(weight) and weight == 0
    operator = Damped(A, None if none else weight)
    volume = jnp.zeros(A.in_shape, data.dtype) if init is None else init
    residual = data if init is None else data - A(init)
    u, beta = _normalised((residual,) if none else (residual, -weight * volume))
    v, alpha = _normalised(operator.transposed(u))
    rounding = jnp.finfo(data.dtype).eps * _length(data)
    return Problem(operator, volume, Bidiagonal(u, v, beta, alpha), rounding)


def advance(operator: Damped, last: Bidiagonal) -> Bidiagonal:
    """One more vector of each basis."""
    image = operator(last.v)
    u, beta = _normalised(tuple(a - last.alpha * b for a, b in zip(image, last.u, strict=True)))
    v, alpha = _normalised(operator.transposed(u) - beta * last.v)
    return Bidiagonal(u, v, beta, alpha)


def rotation(a: Array, b: Array) -> tuple[Array, Array, Array]:
    """c, s and r with ``c a + s b = r`` and ``s a = c b``."""
    r = root(a**2 + b**2)
    return ratio(a, r), ratio(b, r), r


def unless(arrived: Array, state: State, following: State) -> State:
    """The state that follows, or the state itself where it has arrived."""
    return jax.tree.map(lambda here, there: jnp.where(arrived, here, there), state, following)


def _normalised(x: Any) -> tuple[Any, Array]:
    length = _length(x)
    return jax.tree.map(lambda part: ratio(part, length), x), length


def _length(x: Any) -> Array:
    first, *others = (jnp.vdot(part, part) for part in jax.tree.leaves(x))
    return root(sum(others, start=first))
