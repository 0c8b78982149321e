"""Lines of response on the GPU: the values, transposes and derivatives of the CPU, and the same bits every time."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from jaxct import _native
from jaxct.pet import LORs
from tests.gpu.tools import DIRECTIONS, cpu, gpu, on
from tests.lors import KINDS, MODELS, make_lors, random_ends
from tests.operators import relative_error
from tests.test_lors import (  # noqa: F401
    test_a_point_falls_into_bins_as_a_normal_distribution_says,
    test_back_projection_is_the_transpose,
    test_bins_of_time_of_flight_sum_to_the_line,
    test_chords_through_a_ball,
    test_derivatives_by_ends_grid_and_time_of_flight,
    test_derivatives_by_the_crystals_of_a_sinogram,
    test_events_are_bins_of_their_lines,
    test_mlem_keeps_the_counts_and_finds_the_source,
    test_results_do_not_depend_on_the_run,
    test_siddon_is_exact_in_a_box,
    test_subsets_of_views,
    test_swapping_the_ends_mirrors_the_bins,
    test_vmap_over_images_and_lines_is_a_loop,
)

GRID = jaxct.VolumeGrid((5, 16, 18), (2.0, 2.0, 1.8), center=(0.3, 0.2, -0.4))
DIFFERENTIABLE = [m for m in MODELS if m != "siddon"]
PROJECT = {"forward": jaxct.forward_project, "back": jaxct.back_project}


def fixed(kind):
    """Lines and grid as NumPy arrays, the same bits on both devices."""
    with jax.default_device(cpu()):
        return jax.tree.map(np.asarray, (make_lors(kind), GRID))


def data_for(direction, lors, dtype=np.float32, batch=(), seed=0):
    shape = GRID.shape if direction == "forward" else lors.projection_shape
    return np.random.default_rng(seed).normal(size=(*batch, *shape)).astype(dtype)


def check(kind, model, dtype, tolerance):
    lors, grid = fixed(kind)
    for direction in DIRECTIONS:
        project = partial(PROJECT[direction], geometry=lors, grid=grid, model=model)
        data = data_for(direction, lors, dtype)
        got, wanted = on(gpu(), project, data), on(cpu(), project, data)
        assert got.dtype == dtype
        assert relative_error(got, wanted) <= tolerance, direction


@pytest.mark.usefixtures("real_gpu")
def test_every_operator_has_a_cuda_handler():
    wanted = {f"jaxct_lors_{m}_{d}" for m in ("joseph", "siddon", "distance_driven") for d in DIRECTIONS}
    names = ("forward_tangent", "back_tangent", "geometry_gradient")
    wanted |= {f"jaxct_lors_{m}_{name}" for m in ("joseph", "distance_driven") for name in names}
    assert wanted <= set(_native.load()["cuda"].module.registrations())


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", KINDS)
def test_values_are_those_of_the_cpu(kind, model):
    check(kind, model, np.float32, 1e-5)
    with jax.enable_x64(True):
        check(kind, model, np.float64, 1e-12)


@pytest.mark.parametrize("model", DIFFERENTIABLE)
@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_are_those_of_the_cpu(kind, model):
    with jax.enable_x64(True):
        lors, grid = fixed(kind)
        setup = lors, jax.tree.map(np.float64, grid)
        dots = jax.tree.map(lambda a: np.random.default_rng(7).normal(size=a.shape), setup[1])
        x, y = (data_for(d, setup[0], np.float64, seed=i) for i, d in enumerate(DIRECTIONS))
        runs = [lambda x, y: jax.vjp(lambda g: jaxct.forward_project(x, setup[0], g, model=model), setup[1])[1](y)]
        runs += [
            lambda x, y, p=p, d=d: jax.jvp(lambda g: p((x, y)[d], setup[0], g, model=model), setup[1:], (dots,))[1]
            for d, p in enumerate(PROJECT.values())
        ]
        for run in runs:
            got, wanted = (jax.tree.leaves(on(device, run, x, y)) for device in (gpu(), cpu()))
            for a, b in zip(got, wanted, strict=True):
                assert relative_error(a, b) <= 1e-9


@pytest.mark.parametrize("model", MODELS)
def test_many_lines_give_the_same_bits_every_time(model):
    """Most of them through the middle, where a voxel is added to by thousands of threads at once."""
    start, end = random_ends(500_000, 60.0, 10.0)
    lors = LORs(start.astype(np.float32), end.astype(np.float32), widths=(2.0, 2.0))
    back = jax.jit(partial(jaxct.back_project, geometry=lors, grid=GRID, model=model))
    y = np.random.default_rng(0).normal(size=len(start)).astype(np.float32)
    first = np.asarray(on(gpu(), back, y))
    for _ in range(10):
        np.testing.assert_array_equal(on(gpu(), back, y), first)
    assert relative_error(first, on(cpu(), back, y)) <= 1e-5


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", KINDS)
def test_position_in_a_batch(kind, model):
    lors, grid = fixed(kind)
    for direction in DIRECTIONS:
        project = partial(PROJECT[direction], geometry=lors, grid=grid, model=model)
        batch = data_for(direction, lors, batch=(5,))
        together = np.asarray(on(gpu(), jax.jit(jax.vmap(project)), batch))
        for i in range(5):
            np.testing.assert_array_equal(together[i], on(gpu(), project, batch[i]))


def test_sums_carry_large_and_small_data_alike():
    lors, grid = fixed("sinogram")
    back = jax.jit(partial(jaxct.back_project, geometry=lors, grid=grid, model="joseph"))
    y = data_for("back", lors)
    wanted = np.asarray(on(gpu(), back, y))
    for exponent in (-90, 90):
        got = np.asarray(on(gpu(), back, np.ldexp(y, exponent)))
        np.testing.assert_array_equal(np.ldexp(got, -exponent), wanted)


@pytest.mark.usefixtures("real_gpu")  # the CPU back end works on several voxels at once
def test_wild_data_stay_on_their_lines():
    lors, grid = fixed("list")
    back = jax.jit(partial(jaxct.back_project, geometry=lors, grid=grid, model="joseph"))
    y = data_for("back", lors)
    weights, others = (np.asarray(on(gpu(), back, np.where(np.arange(len(y)) == 3, *v))) for v in ((1, 0), (0, y)))
    for value in (np.nan, np.inf):
        got = np.asarray(on(gpu(), back, np.where(np.arange(len(y)) == 3, value, y).astype(np.float32)))
        finite = np.isfinite(got)
        assert np.isnan(got[~finite]).all()
        assert not finite[weights != 0].any()
        assert finite.mean() >= 0.8
        assert relative_error(got[finite], others[finite]) <= 1e-6


@pytest.mark.usefixtures("real_gpu")  # the CPU back end returns an error instead
@pytest.mark.parametrize("model", MODELS)
def test_a_line_that_is_not_finite_is_nan_where_it_matters(model):
    start, end = random_ends(6, 30.0, 4.0)

    def lors(start):
        return LORs(start, end, widths=(1.0, 1.0))

    forward = jax.jit(lambda s: jaxct.forward_project(jnp.ones(GRID.shape), lors(s), GRID, model=model))
    back = jax.jit(lambda s: jaxct.back_project(jnp.ones(6), lors(s), GRID, model=model))
    unsound = jnp.asarray(start, "float32").at[2, 1].set(jnp.nan)
    np.testing.assert_array_equal(np.isnan(forward(unsound)), np.arange(6) == 2)
    assert np.isnan(np.asarray(back(unsound))).all()
    assert np.isfinite(np.asarray(forward(start))).all(), "the next sound call suffers"
    assert np.isfinite(np.asarray(back(start))).all(), "the next sound call suffers"
