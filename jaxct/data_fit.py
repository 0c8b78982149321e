"""How badly an image fits measured data: objectives for any optimiser, as pytrees.

An objective holds the operator and the data as leaves, so that they are arguments of a compiled step and not constants
in it, and ``vmap`` goes over them. ``jax.grad(fit)(x)`` is one application of A and one of its transpose.
"""

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxct._divergence import kullback_leibler
from jaxct.geometry import _validate
from jaxct.geometry._fields import build, describe, register, set_fields


class DataFit(abc.ABC):
    """A function of an image that adds up over the rays of ``A(x)``; its leading axis are the views."""

    A: Any
    scale: float

    @abc.abstractmethod
    def _loss(self, projections: jax.Array) -> jax.Array:
        """The sum over rays, as a function of ``A(x)``."""

    @abc.abstractmethod
    def _data(self) -> dict[str, jax.Array | None]:
        """The fields that have to do with rays, each of a shape that broadcasts to that of the projections."""

    def __call__(self, x: ArrayLike) -> jax.Array:
        loss = self._loss(self.A(x))
        return loss if self.scale == 1 else self.scale * loss

    def subset(self, views: ArrayLike | Sequence[int]) -> Self:
        """The objective of some views, times the number of all views over that of these.

        With views drawn uniformly its expectation, and that of its gradient, is the whole objective.

        Args:
            views: (n,) indices, which may be traced. A view that occurs twice counts twice.

        Raises:
            TypeError: an operator without ``A[views]``; indices that are not integers.
            ValueError: indices that are not one axis, or none.
        """
        if not hasattr(type(self.A), "__getitem__"):
            raise TypeError(f"A must be an operator whose views can be taken, A[views], got a {type(self.A).__name__}")
        index = views if isinstance(views, jax.Array) else np.asarray(views)
        if index.ndim != 1 or index.size == 0:
            raise ValueError(f"views must have shape (n,) with at least one view, got shape {index.shape}")
        if not jnp.issubdtype(index.dtype, np.integer):
            raise TypeError(f"views must be integers, got an array of {index.dtype}")
        shape = tuple(self.A.out_shape)
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        fields |= {name: _take(array, index, shape) for name, array in self._data().items()}
        scale = self.scale * shape[0] / index.shape[0]
        return build(type(self), **{**fields, "A": self.A[index], "scale": scale})

    def sample(self, key: jax.Array, num_views: int) -> Self:
        """:meth:`subset` of views drawn at random, none twice.

        Args:
            key: of :func:`jax.random.key`.
            num_views: how many (static under ``jit``), from 1 to all of them.

        Raises:
            TypeError, ValueError: a number that is no such count; as for :meth:`subset`.
        """
        number = _validate.count("num_views", num_views)
        total = self.A.out_shape[0]
        if number > total:
            raise ValueError(f"num_views must be at most the number of views, {total}, got {number}")
        return self.subset(jax.random.choice(key, total, (number,), replace=False))

    def __repr__(self) -> str:
        return describe(self)


@register(A=0, data=0, weights=0)
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class LeastSquares(DataFit):
    """``1/2 sum_i w_i ((A x)_i - data_i)^2``.

    With the inverse variances of Gaussian noise as weights this is the negative log-likelihood up to a constant. Rays
    of weight zero are left out: their data may be anything, NaN too.

    Args:
        A: a linear operator, such as :class:`jaxct.Projector`.
        data: of shape ``A.out_shape``.
        weights: not negative, broadcasting to the shape of the data; 1 if None.

    Raises:
        ValueError: a shape that does not fit the operator, a weight that is negative or not finite.
        TypeError: values that are not real numbers.
    """

    A: Any
    data: jax.Array
    weights: jax.Array | None
    scale: float

    def __init__(self, A: Any, data: ArrayLike, weights: ArrayLike | None = None):  # noqa: N803
        values = _measured("data", data, A)
        set_fields(self, A=A, data=values, weights=_per_ray("weights", weights, values), scale=1.0)

    def _loss(self, projections: jax.Array) -> jax.Array:
        residual = projections - self.data
        if self.weights is None:
            return jnp.sum(residual**2) / 2
        return jnp.sum(self.weights * jnp.where(self.weights == 0, 0, residual) ** 2) / 2

    def _data(self) -> dict[str, jax.Array | None]:
        return {"data": self.data, "weights": self.weights}


@register(A=0, counts=0, background=0)
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Poisson(DataFit):
    """Negative log-likelihood of counts in emission tomography, up to a constant: ``sum_i m_i - y_i log m_i``.

    Counts y are Poisson distributed with the mean ``m = A x + background``. The constant is chosen such that the
    smallest conceivable value, at ``m = y``, is 0: ``sum_i m_i - y_i + y_i log(y_i / m_i)``, the Kullback-Leibler
    divergence, computed without the cancellation of its terms.

    Below ``floor`` a term goes on as its Taylor polynomial of second degree: convex, twice differentiable and finite
    where counts meet a mean of zero, or a negative one on an optimiser's way. So above the floor it is the likelihood
    as it stands, and an image that explains a count by nothing at all is merely very bad. Without counts a term is the
    mean itself, negative ones too: it is unbounded below, so that images should be bounded, ``lower=0``.

    Args:
        A: a linear operator; of the system's sensitivity and attenuation as well, for means in counts.
        counts: of shape ``A.out_shape``, not negative; need not be whole.
        background: mean of scatter and randoms, not negative, broadcasting to the shape of the counts; 0 if None.
        floor: least mean with an exact likelihood, positive (static).

    Raises:
        ValueError: a shape that does not fit the operator; negative counts or background; a floor that is not positive.
        TypeError: values that are not real numbers.

    References:
        L. A. Shepp and Y. Vardi, "Maximum likelihood reconstruction for emission tomography", IEEE Trans. Med. Imaging
        1 (1982) 113-122; I. Csiszar, "Why least squares and maximum entropy?", Ann. Statist. 19 (1991) 2032-2066.
    """

    A: Any
    counts: jax.Array
    background: jax.Array | None
    floor: float
    scale: float

    def __init__(
        self,
        A: Any,  # noqa: N803
        counts: ArrayLike,
        background: ArrayLike | None = None,
        *,
        floor: float = 1e-9,
    ):
        values = _measured("counts", counts, A)
        _require("counts", values, positive=False)
        least = float(_validate.scalar("floor", floor, positive=True))
        mean = _per_ray("background", background, values)
        set_fields(self, A=A, counts=values, background=mean, floor=least, scale=1.0)

    def _loss(self, projections: jax.Array) -> jax.Array:
        y, floor = self.counts, self.floor
        mean = projections if self.background is None else projections + self.background
        within, below = jnp.maximum(mean, floor), jnp.minimum(mean - floor, 0)
        exact = kullback_leibler(y, within)
        return jnp.sum(exact + below * (1 - y / floor) + y * (below / floor) ** 2 / 2)

    def _data(self) -> dict[str, jax.Array | None]:
        return {"counts": self.counts, "background": self.background}


@register(A=0, counts=0, blank=0, background=0)
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class TransmissionPoisson(DataFit):
    """Negative log-likelihood of counts in transmission tomography, up to a constant: ``sum_i m_i - y_i log m_i``.

    Counts y are Poisson distributed with the mean ``m = blank exp(-A x) + background``; no logarithm of the counts is
    taken, so that none is too small. The constant is that of :class:`Poisson`: 0 at ``m = y``. Without a background it
    is convex; it need not be with one.

    Args:
        A: a linear operator; x per mm for one that integrates over mm.
        counts: of shape ``A.out_shape``, not negative; need not be whole.
        blank: mean counts of the blank scan, positive, broadcasting to the shape of the counts.
        background: mean of scatter and other counts, not negative, broadcasting likewise; 0 if None.

    Raises:
        ValueError: a shape that does not fit the operator; negative counts or background; a blank that is not positive.
        TypeError: values that are not real numbers.

    References:
        K. Lange and R. Carson, "EM reconstruction algorithms for emission and transmission tomography", J. Comput.
        Assist. Tomogr. 8 (1984) 306-316; H. Erdogan and J. A. Fessler, "Monotonic algorithms for transmission
        tomography", IEEE Trans. Med. Imaging 18 (1999) 801-814.
    """

    A: Any
    counts: jax.Array
    blank: jax.Array
    background: jax.Array | None
    scale: float

    def __init__(
        self,
        A: Any,  # noqa: N803
        counts: ArrayLike,
        blank: ArrayLike,
        background: ArrayLike | None = None,
    ):
        values = _measured("counts", counts, A)
        _require("counts", values, positive=False)
        open_beam = _per_ray("blank", blank, values)
        _require("blank", open_beam, positive=True)
        mean = _per_ray("background", background, values)
        set_fields(self, A=A, counts=values, blank=open_beam, background=mean, scale=1.0)

    def _loss(self, projections: jax.Array) -> jax.Array:
        y = self.counts
        log_mean = jnp.log(self.blank) - projections
        if self.background is not None:
            log_mean = jnp.logaddexp(log_mean, jnp.log(self.background))
        counted = y > 0
        excess = jnp.log(jnp.where(counted, y, 1)) - log_mean
        # y (exp(-excess) - 1 + excess); without counts the mean itself, which is exp(-excess) then.
        return jnp.sum(jnp.where(counted, y * (jnp.expm1(-excess) + excess), jnp.exp(-excess)))

    def _data(self) -> dict[str, jax.Array | None]:
        return {"counts": self.counts, "blank": self.blank, "background": self.background}


def _take(array: jax.Array | None, views: Any, shape: tuple[int, ...]) -> jax.Array | None:
    """Some views of an array that broadcasts to ``shape``; as it is where all views share it."""
    if array is None or array.ndim < len(shape) or array.shape[0] < shape[0]:
        return array
    return array[views]


def _measured(name: str, value: ArrayLike, A: Any) -> jax.Array:  # noqa: N803
    array = jnp.asarray(value)
    if array.shape != tuple(A.out_shape):
        raise ValueError(f"{name}: expected the operator's shape {tuple(A.out_shape)}, got {array.shape}")
    if jnp.issubdtype(array.dtype, np.integer):
        return array.astype(jnp.result_type(float))
    if not jnp.issubdtype(array.dtype, np.floating):
        raise TypeError(f"{name}: expected real values, got {array.dtype}")
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def _per_ray(name: str, value: ArrayLike | None, data: jax.Array) -> Any:
    """Numbers that are not negative and broadcast to the data, in their dtype."""
    if value is None:
        return None
    with jax.ensure_compile_time_eval():  # inside jit, too, a number is looked at now
        array = _validate.floats(name, value).astype(data.dtype)
        try:
            fits = np.broadcast_shapes(array.shape, data.shape) == data.shape
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(f"{name} must broadcast to the operator's shape {data.shape}, got shape {array.shape}")
        _require(name, array, positive=False)
    return array


def _require(name: str, array: jax.Array, *, positive: bool) -> None:
    """NaN passes, so that it shows in the result."""
    with jax.ensure_compile_time_eval():
        if _validate.concrete(array) and array.size:
            least = float(jnp.min(array))
            if least < 0 or (positive and least == 0):
                raise ValueError(f"{name} must {'be positive' if positive else 'not be negative'}, got {least:g}")
