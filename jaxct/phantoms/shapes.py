"""Convex shapes of constant value, in 2-D and 3-D, each knowing where a line runs inside it.

All vectors are in array order, (z, y, x) or (y, x), in mm. A shape may be a *family*: fields with one leading axis
describe many shapes of one kind at once (317 spheres are one ``Ellipsoid``), which compile and run as a loop.
"""

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxct.geometry._fields import build, describe, register, set_fields
from jaxct.phantoms import _checks, _lines
from jaxct.phantoms._lines import Interval


class Shape(abc.ABC):
    """A convex body times a value (1/mm): what a :class:`~jaxct.phantoms.Phantom` is a sum of.

    ``a & b`` is the part of ``a`` inside ``b``, with the value of ``a``; :meth:`clip` cuts a half-space off.
    """

    value: jax.Array

    @property
    @abc.abstractmethod
    def ndim(self) -> int:
        """2 or 3."""

    @property
    def num_shapes(self) -> int | None:
        """Number of members of a family; None for a single shape."""
        return self.value.shape[0] if self.value.ndim else None

    @abc.abstractmethod
    def interval(self, point: jax.Array, direction: jax.Array) -> Interval:
        """Where the lines ``point + t * direction`` lie inside (a single shape, not a family).

        Args:
            point: (ndim, n), a point of each line, best near the shape.
            direction: (ndim, n), unit vectors.

        Returns:
            ``(enter, leave)``, each (n,): t in mm, ``enter >= leave`` for a line that misses.
        """

    @abc.abstractmethod
    def bounds(self) -> tuple[jax.Array, jax.Array]:
        """Lower and upper corner of an axis-parallel box around the shape, (ndim,) or (members, ndim) each."""

    def clip(self, normal: ArrayLike, offset: ArrayLike) -> "Intersection":
        """The part of the shape where ``normal . x <= offset``."""
        return self & HalfSpace(normal, offset)

    def scaled(self, factor: ArrayLike) -> "Shape":
        """The same body with ``factor`` times the value."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        return build(type(self), **values | {"value": self.value * factor})

    def __and__(self, other: "Shape | HalfSpace") -> "Intersection":
        return Intersection((self, other), self.value)

    def __repr__(self) -> str:
        return describe(self)


class _Placed(Shape):
    """A shape with a centre and axes of its own, the columns of ``rotation``."""

    center: jax.Array
    rotation: jax.Array

    @property
    def ndim(self) -> int:
        return self.center.shape[-1]

    def _local(self, point: jax.Array, direction: jax.Array) -> tuple[jax.Array, jax.Array]:
        offset = point - self.center[:, None]
        return _lines.to_body(self.rotation, offset), _lines.to_body(self.rotation, direction)

    def bounds(self) -> tuple[jax.Array, jax.Array]:
        reach = self._reach()
        return self.center - reach, self.center + reach

    @abc.abstractmethod
    def _reach(self) -> jax.Array:
        """Half the extent along each world axis."""


@register(center=1, semi_axes=1, rotation=2, value=0)
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Ellipsoid(_Placed):
    """An ellipsoid, in 2-D an ellipse: ``sum_i ((R^T (x - center))_i / semi_axes_i)^2 <= 1``.

    Args:
        center: (ndim,).
        semi_axes: a scalar for a ball or disk, or (ndim,) along the shape's own axes.
        value: 1/mm.
        rotation: the shape's axes as the columns of a rotation matrix (ndim, ndim); or an angle in radians,
            counter-clockwise (in 3-D about +z, seen from +z); None for the world's axes.

    One more axis in front of any argument makes a family.

    Raises:
        ValueError: wrong shapes, non-finite values, semi-axes that are not positive, a matrix that is no rotation.
        TypeError: values that are not real numbers.
    """

    center: jax.Array
    semi_axes: jax.Array
    rotation: jax.Array
    value: jax.Array

    def __init__(
        self,
        center: ArrayLike | Sequence[ArrayLike],
        semi_axes: ArrayLike | Sequence[ArrayLike],
        value: ArrayLike = 1.0,
        rotation: ArrayLike | None = None,
    ):
        center = _checks.center(center)
        ndim = center.shape[-1]
        fields = {
            "center": center,
            "semi_axes": _checks.lengths("semi_axes", semi_axes, ndim),
            "rotation": _checks.rotation(rotation, ndim),
            "value": _checks.number("value", value),
        }
        set_fields(self, **_checks.as_family(fields, type(self)))

    def interval(self, point: jax.Array, direction: jax.Array) -> Interval:
        q, v = self._local(point, direction)
        return _lines.unit_ball(q / self.semi_axes[:, None], v / self.semi_axes[:, None])

    def _reach(self) -> jax.Array:
        return jnp.linalg.norm(self.rotation * self.semi_axes[..., None, :], axis=-1)


@register(center=1, half_lengths=1, rotation=2, value=0)
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Box(_Placed):
    """A cuboid, in 2-D a rectangle: ``|R^T (x - center)|_i <= half_lengths_i``.

    Args:
        center: (ndim,).
        half_lengths: half the edge lengths along the shape's own axes, a scalar or (ndim,).
        value: 1/mm.
        rotation: as for :class:`Ellipsoid`.

    Raises:
        ValueError, TypeError: as for :class:`Ellipsoid`.
    """

    center: jax.Array
    half_lengths: jax.Array
    rotation: jax.Array
    value: jax.Array

    def __init__(
        self,
        center: ArrayLike | Sequence[ArrayLike],
        half_lengths: ArrayLike | Sequence[ArrayLike],
        value: ArrayLike = 1.0,
        rotation: ArrayLike | None = None,
    ):
        center = _checks.center(center)
        ndim = center.shape[-1]
        fields = {
            "center": center,
            "half_lengths": _checks.lengths("half_lengths", half_lengths, ndim),
            "rotation": _checks.rotation(rotation, ndim),
            "value": _checks.number("value", value),
        }
        set_fields(self, **_checks.as_family(fields, type(self)))

    def interval(self, point: jax.Array, direction: jax.Array) -> Interval:
        q, v = self._local(point, direction)
        return _lines.intersect(*(_lines.slab(q[k], v[k], self.half_lengths[k]) for k in range(self.ndim)))

    def _reach(self) -> jax.Array:
        return jnp.sum(jnp.abs(self.rotation * self.half_lengths[..., None, :]), axis=-1)


@register(center=1, semi_axes=1, half_length=0, rotation=2, value=0)
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Cylinder(_Placed):
    """A finite elliptic cylinder in 3-D, along its own first axis (without rotation: z).

    Args:
        center: (3,), its middle.
        semi_axes: a scalar radius, or (2,) along the shape's second and third axis.
        half_length: half its length.
        value: 1/mm.
        rotation: as for :class:`Ellipsoid`; :func:`frame` makes one from the direction of the axis.

    Raises:
        ValueError, TypeError: as for :class:`Ellipsoid`.
    """

    center: jax.Array
    semi_axes: jax.Array
    half_length: jax.Array
    rotation: jax.Array
    value: jax.Array

    def __init__(
        self,
        center: ArrayLike | Sequence[ArrayLike],
        semi_axes: ArrayLike | Sequence[ArrayLike],
        half_length: ArrayLike,
        value: ArrayLike = 1.0,
        rotation: ArrayLike | None = None,
    ):
        center = _checks.center(center, ndim=3)
        fields = {
            "center": center,
            "semi_axes": _checks.lengths("semi_axes", semi_axes, 2),
            "half_length": _checks.number("half_length", half_length, positive=True),
            "rotation": _checks.rotation(rotation, 3),
            "value": _checks.number("value", value),
        }
        set_fields(self, **_checks.as_family(fields, type(self)))

    def interval(self, point: jax.Array, direction: jax.Array) -> Interval:
        q, v = self._local(point, direction)
        radial = self.semi_axes[:, None]
        return _lines.intersect(
            _lines.slab(q[0], v[0], self.half_length), _lines.unit_ball(q[1:] / radial, v[1:] / radial)
        )

    def _reach(self) -> jax.Array:
        round_part = jnp.linalg.norm(self.rotation[..., 1:] * self.semi_axes[..., None, :], axis=-1)
        return jnp.abs(self.rotation[..., 0]) * self.half_length[..., None] + round_part


@register(center=1, radii=1, half_length=0, rotation=2, value=0)
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Cone(_Placed):
    """A truncated circular cone in 3-D, along its own first axis (without rotation: z).

    Args:
        center: (3,), the middle of its axis.
        radii: (2,), the radius at the lower and at the upper end of the axis; one of them may be zero.
        half_length: half its length.
        value: 1/mm.
        rotation: as for :class:`Ellipsoid`.

    Raises:
        ValueError, TypeError: as for :class:`Ellipsoid`.
    """

    center: jax.Array
    radii: jax.Array
    half_length: jax.Array
    rotation: jax.Array
    value: jax.Array

    def __init__(
        self,
        center: ArrayLike | Sequence[ArrayLike],
        radii: ArrayLike | Sequence[ArrayLike],
        half_length: ArrayLike,
        value: ArrayLike = 1.0,
        rotation: ArrayLike | None = None,
    ):
        center = _checks.center(center, ndim=3)
        fields = {
            "center": center,
            "radii": _checks.radii(radii),
            "half_length": _checks.number("half_length", half_length, positive=True),
            "rotation": _checks.rotation(rotation, 3),
            "value": _checks.number("value", value),
        }
        set_fields(self, **_checks.as_family(fields, type(self)))

    def interval(self, point: jax.Array, direction: jax.Array) -> Interval:
        q, v = self._local(point, direction)
        middle = (self.radii[0] + self.radii[1]) / 2
        growth = (self.radii[1] - self.radii[0]) / (2 * self.half_length)
        return _lines.intersect(_lines.slab(q[0], v[0], self.half_length), _lines.cone_side(q, v, middle, growth))

    def _reach(self) -> jax.Array:
        widest = jnp.max(self.radii, -1)[..., None]
        round_part = jnp.linalg.norm(self.rotation[..., 1:], axis=-1) * widest
        return jnp.abs(self.rotation[..., 0]) * self.half_length[..., None] + round_part


@register(normal=1, offset=0)
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class HalfSpace:
    """All points with ``normal . x <= offset``: a clipping plane, to be intersected with a shape.

    Args:
        normal: (ndim,), of any length but zero; stored with unit length, ``offset`` divided alike.
        offset: in mm, for a unit ``normal`` the signed distance of the plane from the world's origin.

    Raises:
        ValueError: wrong shapes, non-finite values, a zero normal.
        TypeError: values that are not real numbers.
    """

    normal: jax.Array
    offset: jax.Array

    def __init__(self, normal: ArrayLike | Sequence[ArrayLike], offset: ArrayLike):
        normal, length = _checks.unit("normal", normal)
        fields = {"normal": normal, "offset": _checks.number("offset", offset) / length}
        set_fields(self, **_checks.as_family(fields, type(self)))

    @property
    def ndim(self) -> int:
        """2 or 3."""
        return self.normal.shape[-1]

    @property
    def num_shapes(self) -> int | None:
        """Number of members of a family; None for a single half-space."""
        return self.offset.shape[0] if self.offset.ndim else None

    def interval(self, point: jax.Array, direction: jax.Array) -> Interval:
        """As for shapes; a line may stay inside for ever."""
        normal = self.normal[:, None]
        return _lines.half_space(jnp.sum(normal * point, 0) - self.offset, jnp.sum(normal * direction, 0))

    def bounds(self) -> tuple[jax.Array, jax.Array]:
        """Everything."""
        return jnp.full_like(self.normal, -jnp.inf), jnp.full_like(self.normal, jnp.inf)

    def __repr__(self) -> str:
        return describe(self)


@register(parts=0, value=0)
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Intersection(Shape):
    """The points that lie in every part. Usually written ``a & b`` or ``a.clip(normal, offset)``.

    Args:
        parts: shapes and half-spaces, at least one of them a shape; their own values do not matter.
        value: 1/mm.

    Raises:
        ValueError: parts of different dimension, half-spaces only, families of different size.
        TypeError: parts that are neither shapes nor half-spaces.
    """

    parts: tuple[Any, ...]
    value: jax.Array

    def __init__(self, parts: Sequence[Shape | HalfSpace], value: ArrayLike = 1.0):
        parts = _checks.parts(parts, Shape, HalfSpace)
        # a & b & c is one intersection of three, not a tree.
        flat = tuple(p for part in parts for p in (part.parts if isinstance(part, Intersection) else (part,)))
        members = [p.num_shapes for p in flat]
        value = _checks.number("value", value)
        size = _checks.family_size([*members, value.shape[0] if value.ndim else None], "Intersection")
        if size is not None:
            flat = tuple(
                p if n is not None else jax.tree.map(lambda x: _checks.repeat(x, size), p)
                for p, n in zip(flat, members, strict=True)
            )
            value = value if value.ndim else _checks.repeat(value, size)
        set_fields(self, parts=flat, value=jnp.asarray(value))

    @property
    def ndim(self) -> int:
        return self.parts[0].ndim

    def interval(self, point: jax.Array, direction: jax.Array) -> Interval:
        return _lines.intersect(*(part.interval(point, direction) for part in self.parts))

    def bounds(self) -> tuple[jax.Array, jax.Array]:
        lower, upper = zip(*(part.bounds() for part in self.parts), strict=True)
        return _fold(jnp.maximum, lower), _fold(jnp.minimum, upper)

    def __repr__(self) -> str:
        return f"Intersection({' & '.join(map(repr, self.parts))}, value={self.value})"


def _fold(function, arrays):
    result = arrays[0]
    for array in arrays[1:]:
        result = function(result, array)
    return result


Ellipse = Ellipsoid
Rectangle = Box
