"""Ordered subsets: the views of a scan in parts that are used one after the other."""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.reconstruct.run import LinearOperator

ORDERS = ("herman_meyer", "sequential", "random")


class ViewOperator(LinearOperator, Protocol):
    """An operator whose data come in views, the leading axis: ``A[views]`` is that of some of them."""

    def __getitem__(self, views: Any, /) -> LinearOperator: ...


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Subsets:
    """Views in parts of one size, in the order of their use.

    Attributes:
        views: ``(subsets, views per subset)`` indices; every view occurs once.
        counted: of the same shape, False where a view only fills up a subset that would be smaller than the others;
            None if none does.
        random: whether a step is to draw its order anew for every pass.
    """

    views: Array
    counted: Array | None
    random: bool = dataclasses.field(default=False, metadata={"static": True})

    @property
    def num_subsets(self) -> int:
        return self.views.shape[0]

    def operator(self, A: ViewOperator, index: ArrayLike) -> LinearOperator:  # noqa: N803
        """A restricted to the subset of this number, which may be traced."""
        part = A[self.views[index]]
        return part if self.counted is None else _Masked(part, self._mask(index, len(A.out_shape)))

    def data(self, data: Array, index: ArrayLike) -> Array:
        """The subset's part of the data (or of weights); zero where a view only fills up."""
        part = data[self.views[index]]
        return part if self.counted is None else jnp.where(self._mask(index, data.ndim), part, 0)

    def share(self, index: ArrayLike) -> Array:
        """The number of views of a subset over that of all."""
        if self.counted is None:
            return jnp.asarray(1 / self.num_subsets)
        return jnp.sum(self.counted[index]) / jnp.sum(self.counted)

    def order(self, key: Array) -> Array:
        """The numbers of the subsets in the order of one pass."""
        numbers = jnp.arange(self.num_subsets)
        return jax.random.permutation(key, numbers) if self.random else numbers

    def _mask(self, index: ArrayLike, ndim: int) -> Array:
        assert self.counted is not None
        return self.counted[index].reshape(-1, *[1] * (ndim - 1))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Masked:
    """An operator some of whose rays do not count."""

    A: Any
    mask: Array

    @property
    def in_shape(self) -> tuple[int, ...]:
        return self.A.in_shape

    @property
    def out_shape(self) -> tuple[int, ...]:
        return self.A.out_shape

    @property
    def T(self) -> Callable[[Any], Array]:  # noqa: N802
        return lambda y: self.A.T(jnp.where(self.mask, y, 0))

    def __call__(self, x: Any, /) -> Array:
        return jnp.where(self.mask, self.A(x), 0)


def ordered_subsets(num_views: int, num_subsets: int, *, order: str = "herman_meyer") -> Subsets:
    """The views s, s + S, s + 2 S, ... for each s < S, in an order that puts unlike subsets next to each other.

    Args:
        num_views: views of the scan.
        num_subsets: S; from 1 (all views at once) to ``num_views`` (one by one). If it does not divide the number of
            views, some subsets have one view less; they are filled up with a view that does not count.
        order: "herman_meyer": neighbours far from each other; "sequential"; "random": drawn anew for every pass.

    Raises:
        ValueError, TypeError: numbers that are no such counts, an unknown order.

    References:
        G. T. Herman and L. B. Meyer, "Algebraic reconstruction techniques can be made computationally efficient", IEEE
        Trans. Med. Imaging 12 (1993) 600-609.
    """
    num_views = _validate.count("num_views", num_views)
    num_subsets = _validate.count("num_subsets", num_subsets)
    if num_subsets > num_views:
        raise ValueError(f"num_subsets must be at most the number of views, {num_views}, got {num_subsets}")
    _validate.choice("order", order, ORDERS)
    size = -(-num_views // num_subsets)
    views = np.arange(num_subsets)[:, None] + num_subsets * np.arange(size)
    counted = views < num_views
    views = np.where(counted, views, views - num_subsets)
    if order == "herman_meyer":
        numbers = herman_meyer(num_subsets)
        views, counted = views[numbers], counted[numbers]
    return Subsets(jnp.asarray(views), None if counted.all() else jnp.asarray(counted), random=order == "random")


def herman_meyer(count: int) -> np.ndarray:
    """The numbers below ``count``, their digits in the mixed radix of the prime factors reversed."""
    factors = _prime_factors(count)
    numbers = np.zeros(count, int)
    index, stride = np.arange(count), count
    for factor in factors:
        stride //= factor
        numbers += index % factor * stride
        index //= factor
    return numbers


def _prime_factors(number: int) -> list[int]:
    """From small to large."""
    factors, factor = [], 2
    while number > 1:
        while number % factor == 0:
            factors.append(factor)
            number //= factor
        factor += 1
    return factors
