"""Every operator lowers for CUDA on a machine without a GPU: one custom call, with the memory it asks for."""

import math
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from jaxct import _linear, _native, linear
from jaxct._linear import DIFFERENTIABLE_MODELS
from tests.geometries import CASES
from tests.lors import KINDS, make_lors
from tests.lors import MODELS as LOR_MODELS
from tests.operators import BACK_PROJECTORS, operators

DTYPES = ("float32", "float16", "bfloat16")
VIEWS, ROWS, COLS, SHAPE = 40, 12, 18, (9, 10, 11)
CONE = jaxct.ConeBeam(
    np.linspace(0, 6, VIEWS),
    source_origin_distance=60,
    source_detector_distance=90,
    detector_shape=(ROWS, COLS),
    pixel_size=1.5,
)
GRID = jaxct.VolumeGrid(shape=SHAPE)
SCAN = {"geometry": CONE, "grid": GRID}


def _lowered(f, *args) -> str:
    return jax.jit(f).trace(*args).lower(lowering_platforms=("cuda",)).as_text()


def _calls(text: str) -> list[str]:
    return re.findall(r"custom_call @(jaxct_\w+)\(", text)


def _rounded(size: int) -> int:
    """Every part begins at a multiple of 256 bytes."""
    return math.ceil(size / 256) * 256


def _workspace(text: str) -> int:
    """Bytes of the last result of the only call."""
    (size,) = re.findall(r"custom_call @jaxct_.* -> \(.*, tensor<(\d+)xui8>\)", text)
    return int(size)


@pytest.mark.parametrize(("case", "model"), BACK_PROJECTORS, ids=str)
def test_every_operator_is_one_call(case, model):
    forward, back, volume_shape, projection_shape = operators(case, model)
    for dtype in DTYPES if case is CASES[0] else DTYPES[:1]:
        text = _lowered(forward, jax.ShapeDtypeStruct(volume_shape, dtype))
        assert _calls(text) == [f"jaxct_{model}_forward"]
        assert _calls(_lowered(back, jax.ShapeDtypeStruct(projection_shape, dtype))) == [f"jaxct_{model}_back"]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float64_too(case):
    with jax.enable_x64(True):
        forward, _, shape, _ = operators(case, "joseph")
        text = _lowered(forward, jax.ShapeDtypeStruct(shape, "float64"))
    (line,) = [line for line in text.splitlines() if "custom_call @jaxct_joseph_forward" in line]
    assert "xf64>" in line
    assert "xf32>" not in line


def test_gradients_and_batches_are_one_call_each():
    def loss(x, geometry):
        return jnp.sum(jaxct.forward_project(x, jax.lax.stop_gradient(geometry), GRID) ** 2)

    vectors = CONE.to_vectors()
    many = jax.tree.map(lambda leaf: jnp.stack([leaf] * 5), vectors)
    text = _lowered(jax.vmap(jax.grad(loss), in_axes=(None, 0)), jnp.ones(SHAPE), many)
    assert sorted(_calls(text)) == ["jaxct_separable_footprint_back", "jaxct_separable_footprint_forward"]


SETUP = (CONE.to_vectors(), GRID)


def _tangent(project, model, **options):
    dots = jax.tree.map(jnp.ones_like, SETUP)
    return lambda a: jax.jvp(lambda s: project(a, *s, model=model, **options), (SETUP,), (dots,))[1]


def _gradient(model, **options):
    """By the geometry, of <y, A x>."""
    return lambda x, y: jax.vjp(lambda s: jaxct.forward_project(x, *s, model=model, **options), SETUP)[1](y)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize("model", DIFFERENTIABLE_MODELS)
def test_derivatives_in_the_geometry_are_one_call_each(model, precision, dtype):
    options = {"model": model, "precision": precision}
    x, y = (jax.ShapeDtypeStruct(shape, dtype) for shape in (SHAPE, CONE.projection_shape))
    forward, back = _tangent(jaxct.forward_project, **options), _tangent(jaxct.back_project, **options)
    assert _calls(_lowered(forward, x)) == [f"jaxct_{model}_forward_tangent"]
    assert _calls(_lowered(back, y)) == [f"jaxct_{model}_back_tangent"]
    assert _calls(_lowered(_gradient(**options), x, y)) == [f"jaxct_{model}_geometry_gradient"]


def test_results_of_16_bits_leave_the_geometry_in_32():
    text = _lowered(lambda x: jaxct.forward_project(x, CONE, GRID), jnp.ones(SHAPE, "bfloat16"))
    (line,) = [line for line in text.splitlines() if "custom_call @jaxct" in line]
    assert "tensor<9x10x11xbf16>, tensor<40x4x3xf32>, tensor<2x3xf32>" in line


FORWARD, BACK = "jaxct_separable_footprint_forward", "jaxct_separable_footprint_back"
DRIVEN_FORWARD, DRIVEN_BACK = "jaxct_voxel_driven_forward", "jaxct_voxel_driven_back"

# Maps by precision, what they call, and what their derivatives call to go back.
LINEAR_MAPS = {
    "Projector": (lambda p: jaxct.Projector(CONE, GRID, precision=p), FORWARD, BACK),
    "Projector.T": (lambda p: jaxct.Projector(CONE, GRID, precision=p).T, BACK, FORWARD),
    "linear.forward_project": (lambda p: partial(linear.forward_project, **SCAN, precision=p), FORWARD, BACK),
    "linear.back_project": (lambda p: partial(linear.back_project, **SCAN, precision=p), BACK, FORWARD),
    "linear.back_project, voxel-driven": (
        lambda p: partial(linear.back_project, **SCAN, model="voxel_driven", precision=p),
        DRIVEN_BACK,
        DRIVEN_FORWARD,
    ),
}
MAPS = LINEAR_MAPS | {
    "forward_project": (lambda p: partial(jaxct.forward_project, **SCAN, precision=p), FORWARD, BACK),
    "forward_project, voxel-driven adjoint": (
        lambda p: partial(jaxct.forward_project, **SCAN, adjoint="voxel_driven", precision=p),
        FORWARD,
        DRIVEN_BACK,
    ),
    "back_project": (lambda p: partial(jaxct.back_project, **SCAN, precision=p), BACK, FORWARD),
    "back_project, voxel-driven": (
        lambda p: partial(jaxct.back_project, **SCAN, model="voxel_driven", precision=p),
        DRIVEN_BACK,
        DRIVEN_FORWARD,
    ),
}


def _argument(target: str) -> jax.ShapeDtypeStruct:
    """What a call projects."""
    return jax.ShapeDtypeStruct(SHAPE if target.endswith("_forward") else CONE.projection_shape, "float32")


def _precisions(text: str) -> list[tuple[str, str]]:
    """Target and precision of every call."""
    names = {"0": "exact", "1": "fast"}
    found = [(target, names[fast]) for target, fast in re.findall(r"@(jaxct_\w+)\(.* fast = (\d+) : i64", text)]
    assert len(found) == len(_calls(text))
    return sorted(found)


@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize(("make", "target", "way_back"), MAPS.values(), ids=MAPS)
def test_precision_reaches_every_call(make, target, way_back, precision):
    f, argument = make(precision), _argument(target)
    assert _precisions(_lowered(f, argument)) == [(target, precision)]
    gradient = jax.grad(lambda a: jnp.sum(f(a) ** 2))
    assert _precisions(_lowered(gradient, argument)) == sorted([(target, precision), (way_back, precision)])


@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize(("make", "target", "way_back"), LINEAR_MAPS.values(), ids=LINEAR_MAPS)
def test_precision_reaches_transposes_and_tangents(make, target, way_back, precision):
    f, argument = make(precision), _argument(target)
    transpose = lambda a: jax.linear_transpose(f, argument)(a)  # noqa: E731
    assert _precisions(_lowered(transpose, _argument(way_back))) == [(way_back, precision)]
    tangent = lambda a, a_dot: jax.jvp(f, (a,), (a_dot,))  # noqa: E731
    assert _precisions(_lowered(tangent, argument, argument)) == 2 * [(target, precision)]


def test_exact_is_the_default():
    for f in (jaxct.forward_project, linear.forward_project, lambda x, **scan: jaxct.Projector(**scan)(x)):
        assert _precisions(_lowered(partial(f, **SCAN), _argument(FORWARD))) == [(FORWARD, "exact")]
    for f in (jaxct.back_project, linear.back_project, lambda y, **scan: jaxct.Projector(**scan).T(y)):
        assert _precisions(_lowered(partial(f, **SCAN), _argument(BACK))) == [(BACK, "exact")]


def test_the_cpu_is_always_exact():
    x = jax.random.normal(jax.random.key(0), SHAPE)
    fast, exact = (jaxct.forward_project(x, CONE, GRID, precision=p) for p in ("fast", "exact"))
    assert (fast == exact).all()


def test_working_memory_is_what_the_documentation_says():
    volume, projections = 4 * math.prod(SHAPE), 4 * VIEWS * ROWS * COLS
    small = 4096 + VIEWS * 512  # prepared views, and rounding up to 256 bytes

    def size(operator, shape, **options):
        return _workspace(_lowered(lambda a: operator(a, CONE, GRID, **options), jnp.ones(shape)))

    forward, back = jaxct.forward_project, jaxct.back_project
    out = CONE.projection_shape
    assert volume <= size(forward, SHAPE, model="joseph") <= volume + small
    assert volume <= size(forward, SHAPE, precision="fast") <= volume + small  # two copies of half the size
    assert size(back, out, model="joseph") <= small
    assert size(back, out, model="voxel_driven") <= small
    assert projections <= size(back, out) <= projections + small
    assert projections / 2 <= size(back, out, precision="fast") <= projections / 2 + small


def test_working_memory_of_many_geometries_is_their_views():
    """224 bytes for each, but one copy of a volume that they share."""
    vectors = CONE.to_vectors()
    many = jax.tree.map(lambda leaf: jnp.stack([leaf] * 5), vectors)
    views, volume = _rounded(5 * VIEWS * 224), _rounded(4 * math.prod(SHAPE))

    def size(operator, shape):
        over_geometries = jax.vmap(lambda a, v: operator(a, v, GRID, model="joseph"), in_axes=(None, 0))
        return _workspace(_lowered(over_geometries, jax.ShapeDtypeStruct(shape, "float32"), many))

    assert size(jaxct.back_project, CONE.projection_shape) == views
    assert size(jaxct.forward_project, SHAPE) == views + volume


def test_working_memory_of_derivatives_in_the_geometry():
    """Of tangents 400 bytes a view and few copies; of gradients sums of parts, as in docs/cuda.md."""
    volume, pixels, columns = math.prod(SHAPE), ROWS * COLS, math.prod(SHAPE[1:])
    x, y = jnp.ones(SHAPE), jnp.ones(CONE.projection_shape)
    tangents = _rounded(VIEWS * 400)
    for model, forward, back in (("joseph", 4 * volume, 0), ("separable_footprint", 0, 8 * VIEWS * pixels)):
        text = _lowered(_tangent(jaxct.forward_project, model), x)
        assert _workspace(text) == tangents + _rounded(forward)
        text = _lowered(_tangent(jaxct.back_project, model), y)
        assert _workspace(text) == tangents + _rounded(back)
    small = VIEWS * 224 + VIEWS * 42 * 8 * 3 + 4096  # prepared views, and sums in double precision
    for model, parts, copies in (("joseph", pixels / 8, 0), ("separable_footprint", (pixels + columns) / 8, 2)):
        needed = 4 * volume + 4 * VIEWS * (42 * parts + copies * pixels)
        assert needed <= _workspace(_lowered(_gradient(model), x, y)) <= needed + 4 * VIEWS * 42 + small


def test_working_memory_of_a_large_gradient_is_bounded():
    geometry = jaxct.ConeBeam(
        np.linspace(0, 6, 500),
        source_origin_distance=4000,
        source_detector_distance=8000,
        detector_shape=(768, 1024),
        pixel_size=1.0,
    ).to_vectors()
    grid = jaxct.VolumeGrid((256, 256, 256))
    loss = lambda s, x, y: jnp.vdot(y, jaxct.forward_project(x, *s))  # noqa: E731
    shapes = (jax.ShapeDtypeStruct(shape, "float32") for shape in (grid.shape, geometry.projection_shape))
    size = _workspace(_lowered(lambda *a: jax.vjp(lambda s: loss(s, *a), (geometry, grid))[1](1.0), *shapes))
    assert size <= 4 * 256**3 + 2**28 + 2**23


LOR_GRID = jaxct.VolumeGrid((5, 16, 18), 2.0)


def _lor_operators(kind: str, model: str):
    """Forward, back, and what they take in the dtype that x64 allows."""
    lors = make_lors(kind)
    forward, back = (
        partial(f, geometry=lors, grid=LOR_GRID, model=model) for f in (jaxct.forward_project, jaxct.back_project)
    )
    return forward, back, jnp.ones(LOR_GRID.shape), jnp.ones(lors.projection_shape)


@pytest.mark.parametrize("model", LOR_MODELS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_operator_on_lines_of_response_is_one_call(kind, model):
    forward, back, x, y = _lor_operators(kind, model)
    name = "jaxct_lors_joseph" if model == "multi_ray" else f"jaxct_lors_{model}"
    assert _calls(_lowered(forward, x)) == [f"{name}_forward"]
    assert _calls(_lowered(back, y)) == [f"{name}_back"]
    over_images = jax.vmap(jax.vmap(back))
    assert _calls(_lowered(over_images, jax.ShapeDtypeStruct((2, 3, *y.shape), y.dtype))) == [f"{name}_back"]
    text = _lowered(forward, x.astype("bfloat16"))
    assert _calls(text) == [f"{name}_forward"]
    (line,) = [line for line in text.splitlines() if "custom_call @jaxct" in line]
    assert "bf16" not in line
    with jax.enable_x64(True):
        forward, _, x, _ = _lor_operators(kind, model)
        text = _lowered(forward, x)
    (line,) = [line for line in text.splitlines() if "custom_call @jaxct" in line]
    assert "xf64>" in line
    assert "xf32>" not in line


@pytest.mark.parametrize("model", [m for m in LOR_MODELS if m != "siddon"])
@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_by_lines_of_response_are_one_call_each(kind, model):
    lors = make_lors(kind)
    name = "jaxct_lors_joseph" if model == "multi_ray" else f"jaxct_lors_{model}"
    dots = jax.tree.map(jnp.ones_like, LOR_GRID)

    def along_grid(project, data):
        return jax.jvp(lambda grid: project(data, lors, grid, model=model), (LOR_GRID,), (dots,))[1]

    x, y = jnp.ones(LOR_GRID.shape), jnp.ones(lors.projection_shape)
    assert _calls(_lowered(partial(along_grid, jaxct.forward_project), x)) == [f"{name}_forward_tangent"]
    assert _calls(_lowered(partial(along_grid, jaxct.back_project), y)) == [f"{name}_back_tangent"]
    by_grid = lambda x, y: jax.vjp(lambda grid: jaxct.forward_project(x, lors, grid, model=model), LOR_GRID)[1](y)  # noqa: E731
    assert _calls(_lowered(by_grid, x, y)) == [f"{name}_geometry_gradient"]


def test_working_memory_on_lines_of_response():
    """Forward hardly any; back 8 bytes and a bit for each voxel, however many images; gradients a block of views."""
    voxels, small = math.prod(LOR_GRID.shape), 4096
    for kind in KINDS:
        forward, back, x, y = _lor_operators(kind, "joseph")
        assert _workspace(_lowered(forward, x)) <= 512
        for batch in ((), (7,)):
            over_images = jax.vmap(back) if batch else back
            size = _workspace(_lowered(over_images, jax.ShapeDtypeStruct((*batch, *y.shape), "float32")))
            assert 8 * voxels + voxels // 8 <= size <= 8 * voxels + voxels // 8 + 8 * y.size + small
    start, end = np.random.default_rng(0).normal(size=(2, 10_000_000, 3)).astype(np.float32)
    lors = jaxct.pet.LORs(start, end)
    loss = lambda grid, x, y: jnp.vdot(y, jaxct.forward_project(x, lors, grid, model="joseph"))  # noqa: E731
    size = _workspace(_lowered(jax.grad(loss), LOR_GRID, jnp.ones(LOR_GRID.shape), jnp.ones(len(start))))
    assert 2**27 <= size <= 2**28 + 2**25


@pytest.mark.parametrize(("images", "padded"), [(2, 16), (16, 16), (17, 32)])
def test_working_memory_of_a_batch_of_images_is_whole_runs_of_them(images, padded):
    fan = jaxct.FanBeam(
        np.arange(VIEWS), source_origin_distance=60, source_detector_distance=90, detector_shape=(COLS,), pixel_size=1.5
    )
    grid = jaxct.VolumeGrid(SHAPE[1:])
    views = _rounded(VIEWS * 224)

    def size(operator, shape, **options):
        over_images = jax.vmap(lambda a: operator(a, fan, grid, model="joseph", **options))
        return _workspace(_lowered(over_images, jax.ShapeDtypeStruct((images, *shape), "float32")))

    pixels, projections = math.prod(grid.shape), VIEWS * COLS
    assert size(jaxct.forward_project, grid.shape) == views + _rounded(4 * padded * pixels)
    assert size(jaxct.back_project, fan.projection_shape) == views + _rounded(4 * padded * projections)
    magnitudes = _rounded(4 * images)
    half = size(jaxct.forward_project, grid.shape, precision="fast")
    assert half == views + magnitudes + _rounded(2 * padded * pixels)


def test_working_memory_of_many_views_is_bounded():
    geometry = jaxct.ParallelBeam(np.linspace(0, 3, 1000), detector_shape=(1024, 1024), pixel_size=1.0)
    grid = jaxct.VolumeGrid(shape=(8, 8, 8))
    text = _lowered(
        lambda p: jaxct.back_project(p, geometry, grid), jax.ShapeDtypeStruct((1000, 1024, 1024), "float32")
    )
    assert _workspace(text) <= 2**28 + 1000 * 512 + 4096


def test_more_nested_vmaps_than_there_is_room_for_are_refused():
    project = lambda x: jaxct.forward_project(x, CONE, GRID)  # noqa: E731
    for _ in range(9):
        project = jax.vmap(project)
    with pytest.raises(ValueError, match="at most 8 nested vmaps"):
        _lowered(project, jnp.ones((1,) * 9 + SHAPE))


def test_more_nested_vmaps_of_lines_of_response_than_there_is_room_for_are_refused():
    project, *_ = _lor_operators("list", "joseph")
    for _ in range(9):
        project = jax.vmap(project)
    with pytest.raises(ValueError, match="at most 8 nested vmaps"):
        _lowered(project, jnp.ones((1,) * 9 + LOR_GRID.shape))


def test_a_missing_module_is_named_where_the_program_would_run(monkeypatch):
    missing = _native.NativeModule(built=False, reason="there is no jaxct._cuda")
    monkeypatch.setattr(_native, "load", lambda: {"cpu": _native.NativeModule(True), "cuda": missing})
    monkeypatch.setattr(jax, "local_devices", lambda *, backend: ["a GPU"] if backend == "cuda" else [])
    with pytest.raises(ImportError, match=r"there is no jaxct\._cuda.*JAX_PLATFORMS=cpu"):
        _linear._lower_cuda("forward", None)


def test_export_for_both_platforms():
    checks = [jax.export.DisabledSafetyCheck.custom_call("jaxct_joseph_forward")]
    project = jax.jit(lambda x: jaxct.forward_project(x, CONE, GRID, model="joseph"))
    x = jax.random.normal(jax.random.key(1), SHAPE)
    exported = jax.export.export(project, platforms=("cpu", "cuda"), disabled_checks=checks)(x)
    assert exported.platforms == ("cpu", "cuda")
    assert (exported.call(x) == project(x)).all()
