"""The projection primitives: the only file that touches ``jax.interpreters``.

``forward`` (A) and ``back`` (A transposed) are linear in their first operand and each other's transpose. Both read

* data: ``(*batch, *data_shape)``, the volume or the projections,
* vectors: ``(*batch, views, 4, 3)``, source or ray direction, detector centre, row axis, column axis, in (z, y, x),
* grid: ``(*batch, 2, 3)``, voxel size and centre.

Each operand's batch axes have size 1 (shared) or N (mapped): what ``vmap`` adds is never copied, and the native loops
broadcast. The derivatives with respect to vectors and grid will be two primitives of the same kind, which complete the
family under differentiation; ``_linear_jvp`` is their place.
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxct import _native
from jaxct._sharding import abstract_like, result_like, vary_together

NO_GEOMETRY_DERIVATIVE = (
    "derivatives with respect to the geometry or the grid are not available yet; where they are part of what is "
    "differentiated but meant to stay fixed, pass jax.lax.stop_gradient(geometry)"
)

# The name of an FFI target, the same on every platform.
_TARGET = "jaxct_{model}_{direction}"

BEAMS = {"parallel": 0, "cone": 1, "curved": 2}


@dataclasses.dataclass(frozen=True)
class Scan:
    """What is static in an operator."""

    model: str
    beam: str
    detector_shape: tuple[int, ...]
    volume_shape: tuple[int, ...]
    magnification_power: int = 0  # of the voxel-driven model
    precision: str = "exact"

    def attributes(self, batch_axes: int) -> dict[str, np.int64]:
        """The FFI attribute; a 2-D scan is a planar one with a single row and slice."""
        planar = len(self.volume_shape) == 2
        rows, cols = (1, *self.detector_shape)[-2:]
        nz, ny, nx = (1, *self.volume_shape)[-3:]
        values = {
            "rows": rows,
            "cols": cols,
            "nz": nz,
            "ny": ny,
            "nx": nx,
            "beam": BEAMS[self.beam],
            "planar": planar,
            "magnification_power": self.magnification_power,
            "fast": self.precision == "fast",
            "batch_axes": batch_axes,
        }
        return {name: np.int64(value) for name, value in values.items()}


def apply(direction: str, data: jax.Array, vectors: jax.Array, grid: jax.Array, scan: Scan) -> jax.Array:
    """Run ``forward`` or ``back`` in the dtype of ``data``. Where that has 16 bits, geometry and sums are float32."""
    _native.require()
    compute = _compute_type(data.dtype)
    operands = vary_together(data, vectors.astype(compute), grid.astype(compute))
    return _PRIMITIVES[direction].bind(*operands, scan=scan, batch_axes=0)


def _result_shape(direction: str, data: Any, vectors: Any, grid: Any, scan: Scan, batch_axes: int) -> tuple[int, ...]:
    batch = np.broadcast_shapes(*(a.shape[:batch_axes] for a in (data, vectors, grid)))
    if direction == "forward":
        return (*batch, vectors.shape[batch_axes], *scan.detector_shape)
    return (*batch, *scan.volume_shape)


def _compute_type(dtype: Any) -> np.dtype:
    return np.promote_types(dtype, np.float32)


def _call_cpu(direction, data, vectors, grid, *, scan, batch_axes):
    """The CPU's handlers know float32 and float64: 16-bit data are widened, and their results rounded."""
    shape = _result_shape(direction, data, vectors, grid, scan, batch_axes)
    wide = data.astype(_compute_type(data.dtype))
    call = jax.ffi.ffi_call(_TARGET.format(model=scan.model, direction=direction), result_like(wide, shape))
    return call(wide, vectors, grid, scan=scan.attributes(batch_axes)).astype(data.dtype)


def _call_cuda(direction, data, vectors, grid, *, scan, batch_axes):
    """CUDA's take every type, and want working memory: a result that nobody reads."""
    shape = _result_shape(direction, data, vectors, grid, scan, batch_axes)
    size = _cuda_workspace_bytes(direction, data, vectors, grid, scan, batch_axes)
    results = (result_like(data, shape), result_like(data, (size,), np.uint8))
    call = jax.ffi.ffi_call(_TARGET.format(model=scan.model, direction=direction), results)
    return call(data, vectors, grid, scan=scan.attributes(batch_axes))[0]


def _cuda_workspace_bytes(direction, data, vectors, grid, scan, batch_axes):
    """Asked of the CPU module, which is there wherever something is lowered."""
    return _native.require("cpu").cuda_workspace_bytes(
        model=scan.model,
        forward=direction == "forward",
        dtype=data.dtype.name,
        fast=scan.precision == "fast",
        planar=len(scan.volume_shape) == 2,
        views=vectors.shape[batch_axes],
        detector=(1, *scan.detector_shape)[-2:],
        volume=(1, *scan.volume_shape)[-3:],
        **{f"{name}_batch": a.shape[:batch_axes] for name, a in (("data", data), ("vectors", vectors), ("grid", grid))},
    )


def _lower_cuda(direction, ctx, *operands, **params):
    """A program may be lowered for CUDA anywhere; where it is going to run, the module must be there."""
    if _native.local_devices("cuda")[0]:
        _native.require("cuda")
    return mlir.lower_fun(partial(_call_cuda, direction), multiple_results=False)(ctx, *operands, **params)


def _batch(primitive, operands, axes, *, scan, batch_axes):
    """Mapped operands carry their axis in front, shared ones an axis of size 1."""
    operands = [
        jnp.expand_dims(a, 0) if axis is None else jnp.moveaxis(a, axis, 0)
        for a, axis in zip(operands, axes, strict=True)
    ]
    return primitive.bind(*operands, scan=scan, batch_axes=batch_axes + 1), 0


def _linear_jvp(primitive, primals, tangents, *, scan, batch_axes):
    _, vectors, grid = primals
    data_dot, *geometry_dot = tangents
    if not all(isinstance(t, ad.Zero) for t in geometry_dot):
        raise NotImplementedError(NO_GEOMETRY_DERIVATIVE)
    out = primitive.bind(*primals, scan=scan, batch_axes=batch_axes)
    if isinstance(data_dot, ad.Zero):
        return out, ad.Zero(jax.typeof(out).to_tangent_aval())
    return out, primitive.bind(data_dot, vectors, grid, scan=scan, batch_axes=batch_axes)


def _sum_shared(cotangent: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The transpose of reading a shared operand (batch axes of size 1) once per item."""
    axes = tuple(i for i, (n, wanted) in enumerate(zip(cotangent.shape, shape, strict=True)) if n != wanted)
    return jnp.sum(cotangent, axes, keepdims=True) if axes else cotangent


def _transpose(adjoint, cotangent, data, vectors, grid, *, scan, batch_axes):
    if not ad.is_undefined_primal(data) or ad.is_undefined_primal(vectors) or ad.is_undefined_primal(grid):
        raise NotImplementedError("projections are linear in the data alone, not in the geometry")
    if isinstance(cotangent, ad.Zero):
        return ad.Zero(data.aval), None, None
    out = adjoint.bind(cotangent, vectors, grid, scan=scan, batch_axes=batch_axes)
    return _sum_shared(out, data.aval.shape), None, None


def _define(direction: str) -> Primitive:
    primitive = Primitive(f"jaxct_{direction}")
    primitive.def_impl(jax.jit(primitive.bind, static_argnames=("scan", "batch_axes")))
    primitive.def_abstract_eval(
        lambda data, vectors, grid, *, scan, batch_axes: abstract_like(
            data, _result_shape(direction, data, vectors, grid, scan, batch_axes)
        )
    )
    lower_cpu = mlir.lower_fun(partial(_call_cpu, direction), multiple_results=False)
    mlir.register_lowering(primitive, lower_cpu, platform="cpu")
    mlir.register_lowering(primitive, partial(_lower_cuda, direction), platform="cuda")
    batching.primitive_batchers[primitive] = partial(_batch, primitive)
    ad.primitive_jvps[primitive] = partial(_linear_jvp, primitive)
    return primitive


_PRIMITIVES = {direction: _define(direction) for direction in ("forward", "back")}
ad.primitive_transposes[_PRIMITIVES["forward"]] = partial(_transpose, _PRIMITIVES["back"])
ad.primitive_transposes[_PRIMITIVES["back"]] = partial(_transpose, _PRIMITIVES["forward"])
