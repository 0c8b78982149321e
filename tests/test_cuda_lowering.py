"""Every operator lowers for CUDA on a machine without a GPU: one custom call, with the memory it asks for."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from jaxct import _linear, _native
from tests.geometries import CASES
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


def _lowered(f, *args) -> str:
    return jax.jit(f).trace(*args).lower(lowering_platforms=("cuda",)).as_text()


def _calls(text: str) -> list[str]:
    return re.findall(r"custom_call @(jaxct_\w+)\(", text)


def _workspace(text: str) -> int:
    """Bytes of the second result of the only call."""
    (size,) = re.findall(r"custom_call @jaxct_.* -> \(tensor<[^>]*>, tensor<(\d+)xui8>\)", text)
    return int(size)


@pytest.mark.parametrize(("case", "model"), BACK_PROJECTORS, ids=str)
def test_every_operator_is_one_call(case, model):
    forward, back, volume_shape, projection_shape = operators(case, model)
    for dtype in DTYPES:
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


def test_results_of_16_bits_leave_the_geometry_in_32():
    text = _lowered(lambda x: jaxct.forward_project(x, CONE, GRID), jnp.ones(SHAPE, "bfloat16"))
    (line,) = [line for line in text.splitlines() if "custom_call @jaxct" in line]
    assert "tensor<9x10x11xbf16>, tensor<40x4x3xf32>, tensor<2x3xf32>" in line


def test_precision_is_an_attribute_and_only_that_on_the_cpu():
    for precision, flag in (("exact", 0), ("fast", 1)):
        text = _lowered(lambda x, p=precision: jaxct.forward_project(x, CONE, GRID, precision=p), jnp.ones(SHAPE))
        assert f"fast = {flag} : i64" in text
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


def test_a_missing_module_is_named_where_the_program_would_run(monkeypatch):
    missing = _native.NativeModule(built=False, reason="there is no jaxct._cuda")
    monkeypatch.setattr(_native, "load", lambda: {"cpu": _native.NativeModule(True), "cuda": missing})
    monkeypatch.setattr(_linear, "_has_cuda_device", lambda: True)
    with pytest.raises(ImportError, match=r"there is no jaxct\._cuda.*JAX_PLATFORMS=cpu"):
        _linear._lower_cuda("forward", None)


def test_export_for_both_platforms():
    checks = [jax.export.DisabledSafetyCheck.custom_call("jaxct_joseph_forward")]
    project = jax.jit(lambda x: jaxct.forward_project(x, CONE, GRID, model="joseph"))
    x = jax.random.normal(jax.random.key(1), SHAPE)
    exported = jax.export.export(project, platforms=("cpu", "cuda"), disabled_checks=checks)(x)
    assert exported.platforms == ("cpu", "cuda")
    assert (exported.call(x) == project(x)).all()
