"""The projection primitives: the only file that touches ``jax.interpreters``.

``forward`` (A) and ``back`` (A transposed) are linear in their first operand and each other's transpose. Both read

* data: ``(*batch, *data_shape)``, the volume or the projections,
* vectors: ``(*batch, views, 4, 3)``, source or ray direction, detector centre, row axis, column axis, in (z, y, x),
* grid: ``(*batch, 2, 3)``, voxel size and centre.

So it is for a :class:`Scan` of X-rays; what lines of response have instead is said in ``jaxct._lors``.

Each operand's batch axes have size 1 (shared) or N (mapped): what ``vmap`` adds is never copied, and the native loops
broadcast.

Three more complete the family under differentiation. ``forward_tangent`` and ``back_tangent`` are the derivatives of
the two along a tangent of vectors and grid; they are linear in the data and in that tangent, and each other's transpose
in the data. ``geometry_gradient`` is the transpose of either in the tangent: what <projections, A volume> gains from
changes of vectors and grid. So derivatives of any order exist in the data, and of first order in the geometry.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxct import _native, _partition
from jaxct._sharding import abstract_like, lie_like, result_like, vary_together

# Models whose weights are differentiated with respect to the geometry.
DIFFERENTIABLE_MODELS = ("joseph", "separable_footprint")
KEEP_FIXED = (
    "where the geometry or the grid is part of what is differentiated but meant to stay fixed, pass "
    "jax.lax.stop_gradient(geometry)"
)

Rule = Callable[..., Any]

BEAMS = {"parallel": 0, "cone": 1, "curved": 2}


class StaticScan(Protocol):
    """What the primitives have to know of a scan when they are lowered: :class:`Scan`, or ``jaxct._lors.LorScan``."""

    @property
    def model(self) -> str: ...
    @property
    def detector_shape(self) -> tuple[int, ...]: ...
    @property
    def volume_shape(self) -> tuple[int, ...]: ...
    @property
    def differentiable(self) -> bool:
        """Whether the model's weights have derivatives by the geometry."""

    @property
    def axes(self) -> dict[str, tuple[str, ...]]:
        """Names for the axes of one item of each operand; "view" and "slice" may be split over devices."""

    def target(self, direction: str) -> str:
        """The name of an FFI target, the same on every platform."""

    def attributes(self, batch_axes: int) -> dict[str, Any]:
        """The FFI attribute."""

    @property
    def cuda_stores_16_bits(self) -> bool:
        """Whether the CUDA handlers take data of 16 bits."""

    def cuda_workspace_bytes(
        self, name: str, data: Any, vectors: Any, grid: Any, others_batch: tuple[int, ...], batch_axes: int
    ) -> int:
        """Of the working memory of a CUDA call; ``others_batch``: batch axes of what else it reads."""


@dataclasses.dataclass(frozen=True)
class Scan:
    """What is static in an operator."""

    model: str
    beam: str
    detector_shape: tuple[int, ...]
    volume_shape: tuple[int, ...]
    magnification_power: int = 0  # of the voxel-driven model
    precision: str = "exact"

    @property
    def differentiable(self) -> bool:
        """Whether the model's weights have derivatives by the geometry."""
        return self.model in DIFFERENTIABLE_MODELS

    def target(self, direction: str) -> str:
        """The name of an FFI target, the same on every platform."""
        return f"jaxct_{self.model}_{direction}"

    @property
    def axes(self) -> dict[str, tuple[str, ...]]:
        """Names for the axes of one item of each operand; "view" and "slice" may be split over devices."""
        return {
            "volume": ("slice", "y", "x")[-len(self.volume_shape) :],
            "projections": ("view", "row", "col") if len(self.detector_shape) == 2 else ("view", "col"),
            "vectors": ("view", "vector", "component"),
            "grid": ("size_and_center", "axis"),
        }

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

    @property
    def cuda_stores_16_bits(self) -> bool:
        """Whether the CUDA handlers take data of 16 bits."""
        return True

    def cuda_workspace_bytes(
        self, name: str, data: Any, vectors: Any, grid: Any, others_batch: tuple[int, ...], batch_axes: int
    ) -> int:
        """Asked of the CPU module, which is there wherever something is lowered."""
        return _native.require("cpu").cuda_workspace_bytes(
            model=self.model,
            name=name,
            dtype=data.dtype.name,
            fast=self.precision == "fast",
            planar=len(self.volume_shape) == 2,
            views=vectors.shape[batch_axes],
            detector=(1, *self.detector_shape)[-2:],
            volume=(1, *self.volume_shape)[-3:],
            data_batch=data.shape[:batch_axes],
            vectors_batch=vectors.shape[:batch_axes],
            grid_batch=grid.shape[:batch_axes],
            others_batch=others_batch,
        )


def apply(direction: str, data: jax.Array, vectors: jax.Array, grid: jax.Array, scan: StaticScan) -> jax.Array:
    """Run ``forward`` or ``back`` in the dtype of ``data``. Where that has 16 bits, geometry and sums are float32."""
    _native.require()
    compute = _compute_type(data.dtype)
    operands = vary_together(data, vectors.astype(compute), grid.astype(compute))
    return _PRIMITIVES[direction].bind(*operands, scan=scan, batch_axes=0)


def _batch_shape(operands: Any, batch_axes: int) -> tuple[int, ...]:
    return np.broadcast_shapes(*(a.shape[:batch_axes] for a in operands))


def _result_shape(direction: str, operands: Any, scan: StaticScan, batch_axes: int) -> tuple[int, ...]:
    """Of operands data, vectors and what else carries batch axes."""
    item = (operands[1].shape[batch_axes], *scan.detector_shape) if direction == "forward" else scan.volume_shape
    return (*_batch_shape(operands, batch_axes), *item)


def _compute_type(dtype: Any) -> np.dtype:
    return np.promote_types(dtype, np.float32)


def _call_cpu(direction, name, data, *geometry, scan, batch_axes):
    """The CPU's handlers know float32 and float64: 16-bit data are widened, and their results rounded."""
    shape = _result_shape(direction, (data, *geometry), scan, batch_axes)
    wide = data.astype(_compute_type(data.dtype))
    call = jax.ffi.ffi_call(scan.target(name), result_like(wide, shape))
    return call(wide, *geometry, scan=scan.attributes(batch_axes)).astype(data.dtype)


def _call_cuda(direction, name, data, vectors, grid, *, scan, batch_axes):
    """CUDA's take every type where they can, and want working memory: a result that nobody reads."""
    stored = data if scan.cuda_stores_16_bits else data.astype(_compute_type(data.dtype))
    shape = _result_shape(direction, (data, vectors, grid), scan, batch_axes)
    size = scan.cuda_workspace_bytes(name, stored, vectors, grid, (1,) * batch_axes, batch_axes)
    results = (result_like(stored, shape), result_like(stored, (size,), np.uint8))
    call = jax.ffi.ffi_call(scan.target(name), results)
    return call(stored, vectors, grid, scan=scan.attributes(batch_axes))[0].astype(data.dtype)


def _call_cuda_tangent(direction, data, vectors, grid, *dots, **params):
    """A number of the geometry comes with its tangent next to it; data are widened as for the CPU."""
    pairs = (jnp.stack(jnp.broadcast_arrays(*pair), -1) for pair in zip((vectors, grid), dots, strict=True))
    wide = data.astype(_compute_type(data.dtype))
    return _call_cuda(direction, f"{direction}_tangent", wide, *pairs, **params).astype(data.dtype)


def _call_cuda_gradient(volume, projections, vectors, grid, *, scan, batch_axes):
    shapes = _gradient_shapes(volume, projections, vectors, grid, batch_axes)
    others = projections.shape[:batch_axes]
    volume, projections = (a.astype(vectors.dtype) for a in (volume, projections))
    size = scan.cuda_workspace_bytes("geometry_gradient", volume, vectors, grid, others, batch_axes)
    results = (*(result_like(vectors, shape) for shape in shapes), result_like(vectors, (size,), np.uint8))
    call = jax.ffi.ffi_call(scan.target("geometry_gradient"), results)
    return call(volume, projections, vectors, grid, scan=scan.attributes(batch_axes))[:2]


_CUDA_CALLS: dict[str, Rule] = {
    "forward": partial(_call_cuda, "forward", "forward"),
    "back": partial(_call_cuda, "back", "back"),
    "forward_tangent": partial(_call_cuda_tangent, "forward"),
    "back_tangent": partial(_call_cuda_tangent, "back"),
    "geometry_gradient": _call_cuda_gradient,
}


def _lower_cuda(name, ctx, *operands, **params):
    """A program may be lowered for CUDA anywhere; where it is going to run, the module must be there."""
    if _native.local_devices("cuda")[0]:
        _native.require("cuda")
    several = _PRIMITIVES[name].multiple_results
    return mlir.lower_fun(_CUDA_CALLS[name], multiple_results=several)(ctx, *operands, **params)


def _batch(primitive, operands, axes, *, scan, batch_axes):
    """Mapped operands carry their axis in front, shared ones an axis of size 1."""
    operands = [
        jnp.expand_dims(a, 0) if axis is None else jnp.moveaxis(a, axis, 0)
        for a, axis in zip(operands, axes, strict=True)
    ]
    out = primitive.bind(*operands, scan=scan, batch_axes=batch_axes + 1)
    return out, [0] * len(out) if primitive.multiple_results else 0


def _jvp(direction, primals, tangents, *, scan, batch_axes):
    params = {"scan": scan, "batch_axes": batch_axes}
    out = _PRIMITIVES[direction].bind(*primals, **params)
    data, *geometry = primals
    data_dot, *geometry_dot = tangents
    parts = []
    if not _is_zero(data_dot):
        parts.append(_PRIMITIVES[direction].bind(data_dot, *geometry, **params))
    if not all(map(_is_zero, geometry_dot)):
        if not scan.differentiable:
            raise NotImplementedError(
                f"model {scan.model!r} has no derivative with respect to the geometry or the grid: use "
                f"{' or '.join(map(repr, DIFFERENTIABLE_MODELS))}; {KEEP_FIXED}"
            )
        dots = map(ad.instantiate_zeros, geometry_dot)
        parts.append(_PRIMITIVES[f"{direction}_tangent"].bind(data, *geometry, *dots, **params))
    return out, _sum_tangents(parts, out)


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, ad.Zero)


def _sum_tangents(parts: list[jax.Array], out: jax.Array) -> jax.Array | ad.Zero:
    return sum(parts[1:], parts[0]) if parts else ad.Zero(jax.typeof(out).to_tangent_aval())


def _refuse_second_order(vectors_dot: Any, grid_dot: Any) -> None:
    if not (_is_zero(vectors_dot) and _is_zero(grid_dot)):
        raise NotImplementedError(
            "second derivatives with respect to the geometry or the grid are not available (first ones, and mixed ones "
            f"with the volume or the projections, are); {KEEP_FIXED}"
        )


def _tangent_jvp(direction, primals, tangents, *, scan, batch_axes):
    """Of a function that is linear in the data and in the geometry's tangent."""
    primitive = partial(_PRIMITIVES[f"{direction}_tangent"].bind, scan=scan, batch_axes=batch_axes)
    data, *geometry_and_dots = primals
    vectors, grid, *_ = geometry_and_dots
    data_dot, vectors_dot, grid_dot, *dots_dot = tangents
    _refuse_second_order(vectors_dot, grid_dot)
    out = primitive(*primals)
    parts = [] if _is_zero(data_dot) else [primitive(data_dot, *geometry_and_dots)]
    if not all(map(_is_zero, dots_dot)):
        parts.append(primitive(data, vectors, grid, *map(ad.instantiate_zeros, dots_dot)))
    return out, _sum_tangents(parts, out)


def _gradient_jvp(primals, tangents, *, scan, batch_axes):
    """Of a function that is linear in the volume and in the projections."""
    primitive = partial(_PRIMITIVES["geometry_gradient"].bind, scan=scan, batch_axes=batch_axes)
    volume, projections, *geometry = primals
    volume_dot, projections_dot, *geometry_dot = tangents
    _refuse_second_order(*geometry_dot)
    outs = primitive(*primals)
    parts = [] if _is_zero(volume_dot) else [primitive(volume_dot, projections, *geometry)]
    if not _is_zero(projections_dot):
        parts.append(primitive(volume, projections_dot, *geometry))
    return outs, [_sum_tangents([part[i] for part in parts], out) for i, out in enumerate(outs)]


def _sum_shared(cotangent: jax.Array, operand: Any) -> jax.Array:
    """The transpose of reading a shared operand (batch axes of size 1) once per item."""
    axes = tuple(i for i, (n, wanted) in enumerate(zip(cotangent.shape, operand.shape, strict=True)) if n != wanted)
    return lie_like(jnp.sum(cotangent, axes, keepdims=True) if axes else cotangent, operand)


def _transpose(adjoint, cotangent, data, vectors, grid, *, scan, batch_axes):
    if not ad.is_undefined_primal(data) or ad.is_undefined_primal(vectors) or ad.is_undefined_primal(grid):
        raise NotImplementedError("projections are linear in the data alone, not in the geometry")
    if _is_zero(cotangent):
        return ad.Zero(data.aval), None, None
    out = _PRIMITIVES[adjoint].bind(cotangent, vectors, grid, scan=scan, batch_axes=batch_axes)
    return _sum_shared(out, data.aval), None, None


def _tangent_transpose(direction, adjoint, cotangent, data, vectors, grid, *dots, scan, batch_axes):
    """In the data, or in the geometry's tangent."""
    params = {"scan": scan, "batch_axes": batch_axes}
    in_data = ad.is_undefined_primal(data)
    if in_data == any(map(ad.is_undefined_primal, dots)):
        raise NotImplementedError("this is linear in the data or in the tangent of the geometry, not in both at once")
    if in_data:
        if _is_zero(cotangent):
            return ad.Zero(data.aval), None, None, None, None
        out = _PRIMITIVES[f"{adjoint}_tangent"].bind(cotangent, vectors, grid, *dots, **params)
        return _sum_shared(out, data.aval), None, None, None, None
    if _is_zero(cotangent):
        return None, None, None, *(ad.Zero(d.aval) if ad.is_undefined_primal(d) else None for d in dots)
    volume, projections = (data, cotangent) if direction == "forward" else (cotangent, data)
    bars = _PRIMITIVES["geometry_gradient"].bind(volume, projections, vectors, grid, **params)
    wanted = zip(bars, dots, strict=True)
    return (
        None,
        None,
        None,
        *(_sum_shared(bar, dot.aval) if ad.is_undefined_primal(dot) else None for bar, dot in wanted),
    )


def _gradient_transpose(cotangents, volume, projections, vectors, grid, *, scan, batch_axes):
    """In the volume, or in the projections."""
    in_volume = ad.is_undefined_primal(volume)
    if in_volume == ad.is_undefined_primal(projections):
        raise NotImplementedError("this is linear in the volume or in the projections, not in both at once")
    operand, data, adjoint = (volume, projections, "back") if in_volume else (projections, volume, "forward")
    bar: Any = ad.Zero(operand.aval)
    if not all(map(_is_zero, cotangents)):
        dots = map(ad.instantiate_zeros, cotangents)
        primitive = _PRIMITIVES[f"{adjoint}_tangent"]
        bar = _sum_shared(primitive.bind(data, vectors, grid, *dots, scan=scan, batch_axes=batch_axes), operand.aval)
    return (bar, None, None, None) if in_volume else (None, bar, None, None)


def _gradient_shapes(volume, projections, vectors, grid, batch_axes):
    batch = _batch_shape((volume, projections, vectors, grid), batch_axes)
    return [(*batch, *like.shape[batch_axes:]) for like in (vectors, grid)]


def _call_cpu_gradient(volume, projections, vectors, grid, *, scan, batch_axes):
    shapes = _gradient_shapes(volume, projections, vectors, grid, batch_axes)
    results = tuple(result_like(vectors, shape) for shape in shapes)
    call = jax.ffi.ffi_call(scan.target("geometry_gradient"), results)
    wide = (a.astype(vectors.dtype) for a in (volume, projections))
    return call(*wide, vectors, grid, scan=scan.attributes(batch_axes))


class _Projection(Primitive):
    """A primitive that XLA can split over devices: see ``jaxct._partition``."""

    def bind(self, *operands: Any, scan: StaticScan, batch_axes: int, devices: Any = None) -> Any:
        return super().bind(*operands, scan=scan, batch_axes=batch_axes, devices=_partition.request_devices())

    def lowering(self, name: str, alone: Rule) -> Rule:
        """``alone``, the lowering for one device, or that of a call which XLA splits into such."""
        split = mlir.lower_fun(partial(_partition.call, name, self), multiple_results=self.multiple_results)

        def lower(ctx, *operands, **params):
            rule = split if _partition.is_wanted(ctx.module_context.axis_context) else alone
            return rule(ctx, *operands, **params)

        return _without_devices(lower)


def _without_devices(rule: Rule) -> Rule:
    return lambda *args, devices, **params: rule(*args, **params)


def _define(
    name: str,
    abstract_eval: Rule,
    jvp: Rule,
    transpose: Rule,
    lower_cpu: Rule,
    *,
    multiple_results: bool = False,
) -> Primitive:
    primitive = _Projection(f"jaxct_{name}")
    primitive.multiple_results = multiple_results
    primitive.def_impl(jax.jit(primitive.bind, static_argnames=("scan", "batch_axes", "devices")))
    primitive.def_abstract_eval(_without_devices(abstract_eval))
    lower_cpu = mlir.lower_fun(lower_cpu, multiple_results=multiple_results)
    mlir.register_lowering(primitive, primitive.lowering(name, lower_cpu), platform="cpu")
    mlir.register_lowering(primitive, primitive.lowering(name, partial(_lower_cuda, name)), platform="cuda")
    batching.primitive_batchers[primitive] = _without_devices(partial(_batch, primitive))
    ad.primitive_jvps[primitive] = _without_devices(jvp)
    ad.primitive_transposes[primitive] = _without_devices(transpose)
    return primitive


def _projection_type(direction, *operands, scan, batch_axes):
    return abstract_like(operands[0], _result_shape(direction, operands, scan, batch_axes))


def _gradient_types(volume, projections, vectors, grid, *, scan, batch_axes):
    shapes = _gradient_shapes(volume, projections, vectors, grid, batch_axes)
    return [abstract_like(vectors, shape) for shape in shapes]


def _define_pair(direction: str, adjoint: str) -> dict[str, Primitive]:
    """The projection in one direction, and its derivative along a tangent of the geometry."""
    return {
        direction: _define(
            direction,
            partial(_projection_type, direction),
            partial(_jvp, direction),
            partial(_transpose, adjoint),
            partial(_call_cpu, direction, direction),
        ),
        f"{direction}_tangent": _define(
            f"{direction}_tangent",
            partial(_projection_type, direction),
            partial(_tangent_jvp, direction),
            partial(_tangent_transpose, direction, adjoint),
            partial(_call_cpu, direction, f"{direction}_tangent"),
        ),
    }


_PRIMITIVES = {
    **_define_pair("forward", "back"),
    **_define_pair("back", "forward"),
    "geometry_gradient": _define(
        "geometry_gradient",
        _gradient_types,
        _gradient_jvp,
        _gradient_transpose,
        _call_cpu_gradient,
        multiple_results=True,
    ),
}

# The operators themselves: forward, then back.
PROJECTIONS = (_PRIMITIVES["forward"], _PRIMITIVES["back"])
