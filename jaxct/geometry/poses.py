"""Scans that are not quite as drawn: a detector that is turned, an object that has moved.

Both give vectors, differentiable in every leaf of the geometry and in the angles and lengths given here: what an
estimate of a scanner's alignment or of a patient's motion needs.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax.scipy.spatial.transform import Rotation
from jax.typing import ArrayLike

from jaxct.geometry import _validate
from jaxct.geometry._base import Geometry
from jaxct.geometry._fields import build, leaf_ranks
from jaxct.geometry.vectors import ConeVectors, ParallelVectors

# The vectors that are places; the others are directions, which no translation changes.
_POINTS = ("source", "detector_center")


def turn_detector(geometry: Geometry, angles: ArrayLike) -> ParallelVectors | ConeVectors:
    """The scan with a flat detector turned about its centre.

    Args:
        geometry: any geometry with a flat detector.
        angles: in radians, for all views or for each, right-handed. In 3-D (3,) or (views, 3), about the detector's
            normal (in its plane; counter-clockwise as the source sees it), its rows' direction and its columns', one
            after the other about axes that stay. In 2-D a scalar or (views,), counter-clockwise as seen from +z.

    Raises:
        ValueError: a curved detector (turned, it would not be centred on the source), a wrong shape.
    """
    vectors = _vectors(geometry)
    if isinstance(vectors, ConeVectors) and vectors.detector == "curved":
        raise ValueError("geometry must have a flat detector, got a curved one, which is centred on the source")
    turn = _rotation("angles", angles, vectors)
    if vectors.row_axis is None:
        return _replace(vectors, col_axis=_turned(vectors.col_axis, turn))
    frame = _detector_frame(vectors.row_axis, vectors.col_axis)
    row, col = (
        jnp.einsum("vk,vki->vi", _turned(jnp.einsum("vki,vi->vk", frame, axis), turn), frame)
        for axis in (vectors.row_axis, vectors.col_axis)
    )
    return _replace(vectors, row_axis=row, col_axis=col)


def move_object(
    geometry: Geometry, *, translation: ArrayLike = 0.0, rotation: ArrayLike = 0.0
) -> ParallelVectors | ConeVectors:
    """The scan of an object that has moved: ``A(move_object(g, ...)) x`` sees x turned and then shifted.

    The volume stays where it is and the scanner moves the other way, view by view: a point r of the object that has
    gone to ``R r + translation`` in some view keeps its place in the volume.

    Args:
        geometry: any geometry.
        translation: in mm, a scalar for all axes, (ndim,) or (views, ndim), in (z, y, x).
        rotation: about the origin in radians, right-handed; 0 for none. In 3-D (3,) or (views, 3): about z, then y,
            then x, axes that stay. In 2-D a scalar or (views,), counter-clockwise as seen from +z.

    Raises:
        ValueError: a wrong shape.
    """
    vectors = _vectors(geometry)
    shift = _per_view("translation", translation, vectors, (vectors.ndim,))
    if jnp.shape(rotation) == ():
        rotation = jnp.broadcast_to(_validate.floats("rotation", rotation), (3,) if vectors.ndim == 3 else ())
    turn = _rotation("rotation", rotation, vectors)
    moved = {
        name: _turned(getattr(vectors, name) - (shift if name in _POINTS else 0), turn, back=True)
        for name in leaf_ranks(vectors)
        if getattr(vectors, name) is not None
    }
    return _replace(vectors, **moved)


def _vectors(geometry: Geometry) -> ParallelVectors | ConeVectors:
    if not isinstance(geometry, Geometry):
        raise TypeError(f"geometry must be a jaxct geometry, got {type(geometry).__name__}")
    return geometry.to_vectors()


def _replace(vectors: ParallelVectors | ConeVectors, **leaves: jax.Array) -> ParallelVectors | ConeVectors:
    """Other leaves in the same vectors, without the constructor's checks: what is moved rigidly stays sound."""
    values = {field.name: getattr(vectors, field.name) for field in dataclasses.fields(vectors)}
    return build(type(vectors), **{**values, **leaves})


def _per_view(name: str, value: ArrayLike, vectors: Geometry, shape: tuple[int, ...]) -> jax.Array:
    """Shape (views, *shape), from that, ``shape`` or a scalar."""
    array = _validate.floats(name, value)
    full = (vectors.num_views, *shape)
    if array.shape not in ((), shape, full):
        wanted = " or ".join(["a scalar", *map(str, (shape, full) if shape else (full,))])
        raise ValueError(f"{name} must have shape {wanted}, got {array.shape}")
    return jnp.broadcast_to(array, full)


def _rotation(name: str, angles: ArrayLike, vectors: Geometry) -> jax.Array:
    """Rotation matrices (views, ndim, ndim) for vectors in (z, y, x), or (y, x)."""
    array = _per_view(name, angles, vectors, (3,) if vectors.ndim == 3 else ())
    if vectors.ndim == 2:
        cos, sin = jnp.cos(array), jnp.sin(array)
        return jnp.stack([jnp.stack([cos, sin], -1), jnp.stack([-sin, cos], -1)], -2)
    # Its matrices are for (x, y, z): turned round in both axes they are ours.
    return Rotation.from_euler("zyx", array).as_matrix()[:, ::-1, ::-1]


def _turned(vectors: jax.Array, turn: jax.Array, *, back: bool = False) -> jax.Array:
    return jnp.einsum("vji,vj->vi" if back else "vij,vj->vi", turn, vectors)


def _detector_frame(row: jax.Array, col: jax.Array) -> jax.Array:
    """Unit vectors (views, 3, 3): normal, row, column; the normal points to the source of a standard beam."""
    unit = lambda v: v / jnp.linalg.norm(v, axis=-1, keepdims=True)  # noqa: E731
    along_col = unit(col)
    along_row = unit(row - jnp.sum(row * along_col, -1, keepdims=True) * along_col)
    # In (z, y, x) the product of two axes has the other sign.
    return jnp.stack([jnp.cross(along_row, along_col), along_row, along_col], -2)
