"""Projections along lines of response: values, transposes, time of flight, derivatives, and what they compose with."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxct
from jaxct.pet import TOF, ListMode, LORs, SinogramLORs
from tests.lors import (
    KINDS,
    MODELS,
    box_lengths,
    chords,
    flatten,
    make_lors,
    random_array,
    random_ends,
    ring_lines,
    time_of_flight,
    tube_means,
)

GRID = jaxct.VolumeGrid((5, 16, 18), (2.0, 2.0, 1.8), center=(0.3, 0.2, -0.4))
DIFFERENTIABLE = [m for m in MODELS if m != "siddon"]


def both(lors, model, grid=GRID):
    return (
        partial(jaxct.forward_project, geometry=lors, grid=grid, model=model),
        partial(jaxct.back_project, geometry=lors, grid=grid, model=model),
    )


def adjoint_gap(lors, model, grid=GRID) -> float:
    forward, back = both(lors, model, grid)
    x, y = random_array(1, grid.shape), random_array(2, lors.projection_shape)
    ax, aty = forward(x), back(y)
    scale = jnp.linalg.norm(ax) * jnp.linalg.norm(y)
    return float(jnp.abs(jnp.vdot(ax, y) - jnp.vdot(x, aty)) / scale)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", KINDS)
def test_back_projection_is_the_transpose(kind, model):
    assert adjoint_gap(make_lors(kind), model) <= 1e-6
    with jax.enable_x64(True):
        assert adjoint_gap(make_lors(kind), model) <= 1e-13


@pytest.mark.parametrize("model", MODELS)
def test_lines_that_graze_a_box_get_no_more_than_its_blurred_edge_has(model):
    """Interpolation blurs a face by half a voxel, a tube by half its width; a slab is in or out as a whole."""
    shape, size, width = (40, 60, 50), np.array([2.0, 1.5, 1.8]), 1.0
    start, end = random_ends(100_000, 200.0, 60.0)
    lors = LORs(start, end, widths=(width, width))
    found = np.asarray(jaxct.forward_project(jnp.ones(shape), lors, jaxct.VolumeGrid(shape, size), model=model))
    half, blur, diagonal = np.array(shape) * size / 2, (size + width) / 2, np.linalg.norm(size)
    assert (found >= box_lengths(start, end, half - blur) - diagonal).all()
    assert (found <= box_lengths(start, end, half + blur) + diagonal).all()
    assert np.abs(found - box_lengths(start, end, half)).mean() <= 0.2


def test_siddon_is_exact_in_a_box():
    shape = (7, 9, 8)
    with jax.enable_x64(True):
        start, end = random_ends(5000, 40.0, 12.0)
        found = jaxct.forward_project(np.ones(shape), LORs(start, end), jaxct.VolumeGrid(shape, 2.0), model="siddon")
    exact = box_lengths(start, end, np.array(shape, float))
    np.testing.assert_allclose(found, exact, atol=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_chords_through_a_ball(model):
    """A line sees no more than one through a ball that is larger by a voxel's diagonal, and no less than if smaller."""
    start, end = random_ends(100_000, 300.0, 64.0)
    grid, diagonal = jaxct.VolumeGrid((64, 64, 64), 2.0), 2 * np.sqrt(3)
    ball = jaxct.phantoms.ball(40.0).rasterize(grid)
    found = np.asarray(jaxct.forward_project(ball, LORs(start, end, widths=(1.0, 1.0)), grid, model=model))
    assert (found >= chords(start, end, 40.0 - diagonal) - 1e-3).all()
    assert (found <= chords(start, end, 40.0 + diagonal) + 1e-3).all()
    assert abs(np.mean(found - chords(start, end, 40.0))) <= 0.01


@pytest.mark.parametrize("model", MODELS)
def test_a_sinogram_is_its_lines(model):
    with jax.enable_x64(True):
        sinogram = make_lors("sinogram_tof")
        x = random_array(3, GRID.shape)
        found = jaxct.forward_project(x, sinogram, GRID, model=model)
        assert found.shape == (8, 9, 7, 7)
        if model in ("siddon", "joseph"):
            alone = jaxct.forward_project(x, flatten(sinogram), GRID, model=model)
            np.testing.assert_allclose(found.reshape(alone.shape), alone, atol=1e-11)


# Ring positions in voxels: one voxel apart, two of them, not whole ones, beyond the volume, and so far apart that lines
# between them run mostly along z.
RINGS = {
    "next": np.arange(5) - 2.0,
    "second": 2.0 * np.arange(6) - 5.3,
    "uneven": np.array([-2.3, -1.1, 0.2, 1.7]),
    "beyond": 3.0 * np.arange(12) - 17.0,
    "steep": np.array([-40.0, -1.0, 0.0, 40.0]),
}


@pytest.mark.parametrize("rings", RINGS)
def test_planes_may_lie_anywhere_and_in_any_order(rings):
    z = 2.0 * RINGS[rings]
    planes = np.random.default_rng(0).permutation([(a, b) for a in z for b in z])
    lines, tangents = ring_lines(12, 35.0, 5)
    with jax.enable_x64(True):
        sinogram = SinogramLORs(lines, planes, tangents=tangents, plane_width=1.5)
        x = random_array(3, GRID.shape)
        found = jaxct.forward_project(x, sinogram, GRID)
        alone = jaxct.forward_project(x, flatten(sinogram), GRID)
        np.testing.assert_allclose(found.reshape(alone.shape), alone, atol=1e-11)
        assert adjoint_gap(sinogram, "joseph") <= 1e-13
        assert adjoint_gap(sinogram, "multi_ray") <= 1e-13
        assert adjoint_gap(sinogram, "distance_driven") <= 1e-13


@pytest.mark.parametrize("rings", RINGS)
def test_distance_driven_is_what_tubes_cover_slab_by_slab(rings):
    z, (lines, tangents) = 2.0 * RINGS[rings], ring_lines(12, 35.0, 5)
    with jax.enable_x64(True):
        sinogram = SinogramLORs(lines, [(a, b) for a in z for b in z], tangents=tangents, plane_width=1.5)
        x = random_array(3, GRID.shape)
        found = jaxct.forward_project(x, sinogram, GRID, model="distance_driven")
        corners = sinogram.pack((np.array([-0.5, 0.5]), np.array([-0.5, 0.5])))
        np.testing.assert_allclose(found, tube_means(np.asarray(x), GRID, sinogram, np.asarray(corners)), atol=1e-11)


def test_a_list_of_tubes_is_a_sinogram_of_them():
    with jax.enable_x64(True):
        x = random_array(3, GRID.shape)
        # Faces across the line, as a list's are.
        line = np.array([[[[-31.0, 3.0], [29.0, -5.0]]]])
        across = np.diff(line, axis=2)[..., ::-1] * [1, -1]
        tangents = np.repeat(1.3 * across / np.linalg.norm(across), 2, 2)
        sinogram = SinogramLORs(line, [(-2.0, 3.1)], tangents=tangents, plane_width=1.1, tof=time_of_flight())
        ends = sinogram.to_ends()[0, 0]
        lors = LORs(ends[:, 0], ends[:, 1], widths=(1.1, 1.3), tof=time_of_flight())
        for model in ("multi_ray", "distance_driven"):
            found = jaxct.forward_project(x, sinogram, GRID, model=model)[0, 0]
            np.testing.assert_allclose(found, jaxct.forward_project(x, lors, GRID, model=model), atol=1e-11)


def test_multi_ray_is_the_mean_of_its_lines():
    with jax.enable_x64(True):
        start, end = random_ends(50, 30.0, 4.0)
        x = random_array(3, GRID.shape)
        tube = LORs(start, end, widths=(2.0, 3.0), rays=(2, 3))
        found = jaxct.forward_project(x, tube, GRID, model="multi_ray")
        lines = tube.pack((np.array([-0.25, 0.25]), np.array([-1, 0, 1]) / 3)).reshape(50, 6, 2, 3)
        each = [jaxct.forward_project(x, LORs(lines[:, i, 0], lines[:, i, 1]), GRID, model="joseph") for i in range(6)]
        np.testing.assert_allclose(found, np.mean(each, 0), atol=1e-12)
        middle = (lines.mean(1) - np.stack([start, end], 1)) @ np.ones(3)
        assert np.abs(middle).max() <= 1e-12


@pytest.mark.parametrize("model", MODELS)
def test_bins_of_time_of_flight_sum_to_the_line(model):
    start, end = random_ends(300, 30.0, 4.0)
    x = jnp.abs(random_array(3, GRID.shape))
    whole = jaxct.forward_project(x, LORs(start, end, widths=(2.0, 2.0)), GRID, model=model)
    parts = jaxct.forward_project(x, LORs(start, end, widths=(2.0, 2.0), tof=TOF(4.0, 3.0, 31)), GRID, model=model)
    np.testing.assert_allclose(parts.sum(-1), whole, rtol=1e-5, atol=1e-5 * float(whole.max()))


@pytest.mark.parametrize("model", MODELS)
def test_events_are_bins_of_their_lines(model):
    start, end = random_ends(300, 30.0, 4.0)
    tof = time_of_flight(9)
    bins = np.random.default_rng(3).integers(0, 9, 300)
    x = jnp.abs(random_array(3, GRID.shape))
    all_bins = jaxct.forward_project(x, LORs(start, end, widths=(2.0, 2.0), tof=tof), GRID, model=model)
    events = jaxct.forward_project(x, ListMode(start, end, bins, tof, widths=(2.0, 2.0)), GRID, model=model)
    np.testing.assert_allclose(events, all_bins[np.arange(300), bins], atol=1e-5 * float(all_bins.max()))


@pytest.mark.parametrize("model", MODELS)
def test_swapping_the_ends_mirrors_the_bins(model):
    with jax.enable_x64(True):
        start, end = random_ends(100, 30.0, 4.0)
        x = random_array(3, GRID.shape)
        there, back = TOF(4.0, 3.0, 9, center_offset=1.3), TOF(4.0, 3.0, 9, center_offset=-1.3)
        one = jaxct.forward_project(x, LORs(start, end, widths=(2.0, 2.0), tof=there), GRID, model=model)
        other = jaxct.forward_project(x, LORs(end, start, widths=(2.0, 2.0), tof=back), GRID, model=model)
        np.testing.assert_allclose(one, other[:, ::-1], atol=1e-11)


def test_a_point_falls_into_bins_as_a_normal_distribution_says():
    """One voxel far smaller than sigma, on the x axis."""
    with jax.enable_x64(True):
        grid = jaxct.VolumeGrid((1, 1, 1), 0.1, center=(0, 0, 12.0))
        tof = TOF(6.0, 5.0, 9, num_sigmas=3.0, center_offset=2.0)
        lors = LORs([[0.0, 0.0, -50.0]], [[0.0, 0.0, 70.0]], tof=tof)
        found = jaxct.forward_project(np.ones((1, 1, 1)), lors, grid, model="siddon")[0]
        edges = np.asarray(tof.bin_centers())[:, None] + np.array([-2.5, 2.5]) - (12.0 - 10.0)
        normal = jax.scipy.stats.norm.cdf
        cut = [normal(np.clip(e / 6.0, -3, 3)) for e in edges.T]
        np.testing.assert_allclose(found, 0.1 * (cut[1] - cut[0]) / (normal(3.0) - normal(-3.0)), atol=1e-12)


def test_a_segment_that_ends_in_the_volume_counts_as_far_as_it_goes():
    with jax.enable_x64(True):
        grid = jaxct.VolumeGrid((9, 9, 9), 1.0)
        for model in ("siddon", "joseph"):
            lors = LORs([[0.0, 0.0, -1.3]], [[0.0, 0.0, 2.4]])
            np.testing.assert_allclose(jaxct.forward_project(np.ones((9, 9, 9)), lors, grid, model=model), [3.7])


def small(kind, model, start, end, size, center, sigma, width, offset):
    """Projections as a function of all that they can be differentiated by."""
    tof = TOF(sigma, width, 7, center_offset=offset)
    if kind == "events":
        return ListMode(start, end, np.array([1, 2, 3, 3, 4, 2]), tof, widths=(1.1, 1.3))
    return LORs(start, end, widths=(1.1, 1.3), tof=tof if kind == "list_tof" else None)


@pytest.mark.parametrize("model", DIFFERENTIABLE)
@pytest.mark.parametrize("kind", ["list", "list_tof", "events"])
def test_derivatives_by_ends_grid_and_time_of_flight(kind, model):
    with jax.enable_x64(True):
        start, end = random_ends(6, 30.0, 4.0)
        x = random_array(3, (5, 6, 7))

        def f(start, end, x, size, center, sigma, width, offset):
            lors = small(kind, model, start, end, size, center, sigma, width, offset)
            return jaxct.forward_project(x, lors, jaxct.VolumeGrid((5, 6, 7), size, center=center), model=model)

        numbers = ([2.0, 3.0, 2.5], [0.3, 0.2, -0.4], 5.0, 4.0, 0.7)
        arguments = (start, end, x, *(jnp.asarray(n) for n in numbers))
        check_grads(f, arguments, order=1, modes=("fwd", "rev"), eps=1e-6, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("model", DIFFERENTIABLE)
def test_derivatives_by_the_crystals_of_a_sinogram(model):
    with jax.enable_x64(True):
        lines, tangents = ring_lines(8, 30.0, 3)
        lines = lines + np.random.default_rng(5).normal(size=lines.shape)  # no line runs along a row of voxels
        planes = np.array([[-2.0, 1.0], [0.5, 0.7]])
        x = random_array(3, (5, 6, 7))

        def f(lines, planes, tangents, width):
            lors = SinogramLORs(lines, planes, tangents=tangents, plane_width=width, tof=time_of_flight())
            return jaxct.forward_project(x, lors, jaxct.VolumeGrid((5, 6, 7), (2.0, 3.0, 2.5)), model=model)

        arguments = tuple(map(jnp.asarray, (lines, planes, tangents, 1.5)))
        check_grads(f, arguments, order=1, modes=("fwd", "rev"), eps=1e-6, atol=1e-4, rtol=1e-4)


def test_siddon_refuses_to_be_differentiated_by_the_ends():
    start, end = random_ends(3, 30.0, 4.0)
    with pytest.raises(NotImplementedError, match="siddon"):
        jax.grad(lambda s: jaxct.forward_project(jnp.ones(GRID.shape), LORs(s, end), GRID, model="siddon").sum())(start)


@pytest.mark.parametrize("kind", KINDS)
def test_vmap_over_images_and_lines_is_a_loop(kind):
    lors = [make_lors(kind, seed=seed) for seed in (0, 1)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *lors)
    images = random_array(3, (2, *GRID.shape))
    found = jax.vmap(partial(jaxct.forward_project, grid=GRID, model="joseph"))(images, stacked)
    alone = [jaxct.forward_project(x, g, GRID, model="joseph") for x, g in zip(images, lors, strict=True)]
    np.testing.assert_array_equal(found, np.stack(alone))
    frames = jax.vmap(partial(jaxct.back_project, geometry=lors[0], grid=GRID, model="joseph"))(found)
    np.testing.assert_array_equal(frames[1], jaxct.back_project(found[1], lors[0], GRID, model="joseph"))


@pytest.mark.parametrize("kind", KINDS)
def test_subsets_of_views(kind):
    lors = make_lors(kind)
    A = jaxct.Projector(lors, GRID)  # noqa: N806
    x = random_array(3, GRID.shape)
    np.testing.assert_array_equal(A[1::3](x), A(x)[1::3])
    np.testing.assert_array_equal(jax.jit(lambda i: A[i](x))(jnp.array([2, 0])), A(x)[np.array([2, 0])])


def test_results_do_not_depend_on_the_run():
    start, end = random_ends(30_000, 60.0, 10.0)
    A = jaxct.Projector(LORs(start, end), GRID)  # noqa: N806
    y = random_array(3, (30_000,))
    first = A.T(y)
    for _ in range(3):
        np.testing.assert_array_equal(A.T(y), first)


def test_mlem_keeps_the_counts_and_finds_the_source():
    start, end = random_ends(4000, 60.0, 8.0)
    grid = jaxct.VolumeGrid((5, 12, 12), (4.0, 4.0, 4.0))
    A = jaxct.Projector(LORs(start, end), grid)  # noqa: N806
    truth = jnp.zeros(grid.shape).at[2, 4:7, 5:8].set(1.0)
    data = A(truth)
    volume, _ = jaxct.reconstruct.mlem(A, data, num_iters=60)
    assert np.abs(A(volume).sum() / data.sum() - 1) <= 1e-4
    assert jaxct.metrics.nrmse(volume, truth) <= 0.25


BAD = [
    (ValueError, "start must have shape", lambda: LORs(np.zeros((3, 2)), np.ones((3, 2)))),
    (ValueError, "end must have the shape of start", lambda: LORs(np.zeros((3, 3)), np.ones((2, 3)))),
    (ValueError, "start must have shape", lambda: LORs(np.zeros((0, 3)), np.zeros((0, 3)))),
    (ValueError, "without length at index \\(1,\\)", lambda: LORs(np.eye(2, 3), np.eye(2, 3) * [[2], [1]])),
    (ValueError, "start", lambda: LORs([[np.nan, 0, 0]], [[1.0, 0, 0]])),
    (TypeError, "start", lambda: LORs([["a", 0, 0]], [[1.0, 0, 0]])),
    (ValueError, "widths", lambda: LORs(np.zeros((3, 3)), np.ones((3, 3)), widths=(1.0, -1.0))),
    (ValueError, "widths", lambda: LORs(np.zeros((3, 3)), np.ones((3, 3)), widths=1.0)),
    (TypeError, "tof", lambda: LORs(np.zeros((3, 3)), np.ones((3, 3)), tof=5.0)),
    (ValueError, "rays", lambda: LORs(np.zeros((3, 3)), np.ones((3, 3)), rays=(0, 2))),
    (ValueError, "sigma", lambda: TOF(0.0, 1.0, 5)),
    (ValueError, "bin_width", lambda: TOF(1.0, np.inf, 5)),
    (ValueError, "num_bins", lambda: TOF(1.0, 1.0, 0)),
    (ValueError, "num_sigmas", lambda: TOF(1.0, 1.0, 5, num_sigmas=0)),
    (TypeError, "tof_bin", lambda: ListMode(np.zeros((2, 3)), np.ones((2, 3)), np.zeros(2), time_of_flight())),
    (ValueError, "tof_bin", lambda: ListMode(np.zeros((2, 3)), np.ones((2, 3)), np.zeros(3, int), time_of_flight())),
    (TypeError, "tof", lambda: ListMode(np.zeros((2, 3)), np.ones((2, 3)), np.zeros(2, int), None)),
    (ValueError, "lines must have shape", lambda: SinogramLORs(np.zeros((3, 2, 2)), np.zeros((1, 2)))),
    (ValueError, "planes must have shape", lambda: SinogramLORs(ring_lines(8, 9.0, 3)[0], np.zeros(2))),
    (ValueError, "both or neither", lambda: SinogramLORs(ring_lines(8, 9.0, 3)[0], np.zeros((1, 2)), plane_width=1.0)),
    (
        ValueError,
        "model must be one of",
        lambda: both(make_lors("list"), "separable_footprint")[0](np.ones(GRID.shape)),
    ),
    (
        ValueError,
        "geometry and grid must both",
        lambda: jaxct.Projector(make_lors("list"), jaxct.VolumeGrid((4, 4)))(np.ones((4, 4))),
    ),
    (
        ValueError,
        "how wide",
        lambda: jaxct.Projector(flatten(make_lors("sinogram")), GRID, model="multi_ray")(np.ones(GRID.shape)),
    ),
    (
        ValueError,
        "adjoint",
        lambda: jaxct.forward_project(np.ones(GRID.shape), make_lors("list"), GRID, adjoint="voxel_driven"),
    ),
]


@pytest.mark.parametrize(("error", "words", "call"), BAD)
def test_bad_input_is_named(error, words, call):
    with pytest.raises(error, match=words):
        call()


def test_ends_that_are_not_finite_are_found_when_they_are_traced():
    start, end = random_ends(4, 30.0, 4.0)
    project = jax.jit(lambda s: jaxct.forward_project(jnp.ones(GRID.shape), LORs(s, end), GRID))
    with pytest.raises(Exception, match="view 2 of the geometry is not finite"):
        project(jnp.asarray(start).at[2, 1].set(jnp.nan)).block_until_ready()
