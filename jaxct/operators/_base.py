"""What an operator is here: a linear map with its shapes and its transpose; and the product of such."""

import abc
import dataclasses
import itertools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxct.geometry._fields import build, describe, register, set_fields


class Operator(abc.ABC):
    """Base of the operators here. ``by_view`` says that a view of what comes out depends on that view alone of what
    goes in, so that a product can hand ``A[views]`` on to its next factor."""

    by_view: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def in_shape(self) -> tuple[int, ...]:
        """Shape of x in ``A(x)``."""

    @property
    @abc.abstractmethod
    def out_shape(self) -> tuple[int, ...]:
        """Shape of ``A(x)``."""

    @abc.abstractmethod
    def __call__(self, x: ArrayLike, /) -> Array: ...

    @abc.abstractmethod
    def transposed(self, y: ArrayLike, /) -> Array:
        """``A^T y``."""

    @property
    def T(self) -> "Transposed":  # noqa: N802
        """The transpose."""
        return Transposed(self)

    def __matmul__(self, other: Any) -> "Compose":
        return Compose(self, other)

    def __rmatmul__(self, other: Any) -> "Compose":
        return Compose(other, self)

    def __repr__(self) -> str:
        return describe(self)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Transposed(Operator):
    """The transpose of an :class:`Operator`; its ``T`` is the operator again."""

    operator: Any

    @property
    def T(self) -> Any:  # noqa: N802
        """The operator itself."""
        return self.operator

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of what the operator gives."""
        return self.operator.out_shape

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of what the operator takes."""
        return self.operator.in_shape

    def __call__(self, y: ArrayLike, /) -> Array:
        return self.operator.transposed(y)

    def transposed(self, x: ArrayLike, /) -> Array:
        """``A x`` of the operator A itself."""
        return self.operator(x)


@register(factors=0)
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Compose(Operator):
    """The product of operators, the last applied first: ``Compose(C, B, A)(x) = C(B(A(x)))``; also ``C @ B @ A``.

    ``[views]`` restricts the first factor, and what follows it for as long as factors work view by view: factors of
    rays and the projector behind them, not the blur of the image.

    Args:
        factors: operators, at least one. Of those that are no :class:`Operator` the protocol alone is asked.

    Raises:
        ValueError: neighbours whose shapes do not fit; no factor.
        TypeError: what has no shapes or no transpose.
    """

    factors: tuple[Any, ...]

    def __init__(self, *factors: Any):
        if not factors:
            raise ValueError("Compose needs at least one operator")
        for factor in factors:
            missing = [name for name in ("in_shape", "out_shape", "T") if not hasattr(factor, name)]
            if missing or not callable(factor):
                raise TypeError(f"an operator has in_shape, out_shape and T and can be called, got {factor!r}")
        for outer, inner in itertools.pairwise(factors):
            if tuple(outer.in_shape) != tuple(inner.out_shape):
                raise ValueError(
                    f"{type(outer).__name__} takes the shape {tuple(outer.in_shape)}, but "
                    f"{type(inner).__name__} gives {tuple(inner.out_shape)}"
                )
        parts = (f.factors if isinstance(f, Compose) else (f,) for f in factors)
        set_fields(self, factors=tuple(factor for part in parts for factor in part))

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape that the last factor takes."""
        return tuple(self.factors[-1].in_shape)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape that the first factor gives."""
        return tuple(self.factors[0].out_shape)

    def __call__(self, x: ArrayLike, /) -> Array:
        for factor in reversed(self.factors):
            x = factor(x)
        return jnp.asarray(x)

    def transposed(self, y: ArrayLike, /) -> Array:
        """The transposes of the factors in the opposite order."""
        for factor in self.factors:
            y = factor.T(y)
        return jnp.asarray(y)

    def __getitem__(self, views: int | slice | ArrayLike) -> "Compose":
        """The operator of some views: a slice, an index array (may be traced) or a concrete mask.

        Raises:
            TypeError: a factor whose views cannot be taken.
        """
        parts: list[Any] = []
        for factor in self.factors:
            if not hasattr(type(factor), "__getitem__"):
                raise TypeError(f"views of a product with {type(factor).__name__} in this place cannot be taken")
            parts.append(factor[views])
            if not getattr(factor, "by_view", False):
                break
        return build(Compose, factors=(*parts, *self.factors[len(parts) :]))

    def __repr__(self) -> str:
        return " @ ".join(map(repr, self.factors))


def floating(name: str, value: ArrayLike, shape: tuple[int, ...]) -> Array:
    """In a working float type; of the shape wanted, so that nothing broadcasts by mistake."""
    array = jnp.asarray(value)
    if array.shape != shape:
        raise ValueError(f"{name}: expected the operator's shape {shape}, got {array.shape}")
    if jnp.issubdtype(array.dtype, np.integer) or array.dtype == bool:
        return array.astype(jnp.result_type(float))
    if not jnp.issubdtype(array.dtype, np.floating):
        raise TypeError(f"{name}: expected real values, got {array.dtype}")
    return array
