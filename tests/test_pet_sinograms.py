"""Sinograms: every pair of crystals has its bin, every bin its line, and operators between them have true adjoints."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from jaxct.pet.scanners import Scanner, Timing, equal_rings, ge_discovery_690, ge_discovery_mi, siemens_mct, siemens_mmr
from jaxct.pet.sinograms import (
    SinogramLayout,
    arc_correction,
    axial_compression,
    single_slice_rebinning,
    tof_mashing,
    view_mashing,
)
from jaxct.projection import forward_project
from tests.data import data_path
from tests.operators import adjoint_gap, random, relative_error

RADIUS = 100.0


def ring(n=24, rings=5, **properties):
    return Scanner.cylindrical(
        num_crystals=n, radius=RADIUS, rings=equal_rings(rings, 5.0), crystal_size=(4.0, 8.0), **properties
    )


def blocks(**properties):
    return Scanner.blocks(
        num_sides=8,
        crystals_per_block=2,
        virtual_crystals=1,
        radius=RADIUS,
        pitch=25.0,
        rings=equal_rings(5, 5.0),
        live_rings=np.array([True, True, False, True, True]),
        crystal_size=(4.0, 20.0),
        **properties,
    )


def all_pairs(scanner):
    """Every unordered pair of crystals of a scanner, as crystal_a, ring_a, crystal_b, ring_b."""
    first, second = np.triu_indices(scanner.num_rings * scanner.num_crystals, 1)
    n = scanner.num_crystals
    return first % n, first // n, second % n, second // n


@pytest.mark.parametrize(
    ("preset", "options", "shape"),
    [
        (ge_discovery_690, {}, (288, 553, 381)),
        (ge_discovery_690, {"span": 1}, (288, 576, 381)),
        (ge_discovery_mi, {}, (272, 1261, 415)),
        (siemens_mmr, {}, (252, 837, 344)),
        (siemens_mmr, {"span": 1}, (252, 4084, 344)),
        (siemens_mct, {}, (168, 621, 400)),
        (siemens_mct, {"mashing": 1, "num_bins": 100}, (336, 621, 100)),
    ],
)
def test_vendors_sinograms_have_their_published_shapes(preset, options, shape):
    scanner = preset()
    assert scanner.layout(**options).shape == shape
    if "span" not in options:
        lors = scanner.sinogram(**options, tof=False)
        assert lors.projection_shape == shape


@pytest.mark.parametrize(
    ("preset", "options", "sizes", "bounds"),
    [
        # The segment table of the mMR's list mode header.
        (siemens_mmr, {}, [127, 115, 115, 93, 93, 71, 71, 49, 49, 27, 27], [(-5, 5), (-16, -6), (6, 16), (-27, -17)]),
        # STIR's template of its first segments without compression.
        (
            siemens_mmr,
            {"span": 1, "max_ring_difference": 2},
            [64, 63, 63, 62, 62],
            [(0, 0), (-1, -1), (1, 1), (-2, -2)],
        ),
        (siemens_mct, {}, [109, 97, 97, 75, 75, 53, 53, 31, 31], [(-5, 5), (-16, -6), (6, 16)]),
        (ge_discovery_690, {}, [47, 43, 43, 39, 39, 35, 35], [(-1, 1), (-3, -2), (2, 3), (-5, -4), (4, 5)]),
    ],
)
def test_segments_are_as_published(preset, options, sizes, bounds):
    segments = preset().layout(**options).segments
    assert [s.num_planes for s in segments][: len(sizes)] == sizes
    assert [(s.min_difference, s.max_difference) for s in segments][: len(bounds)] == bounds
    assert [s.number for s in segments[:5]] == [0, -1, 1, -2, 2]
    assert [s.first_plane for s in segments] == np.cumsum([0, *[s.num_planes for s in segments]])[:-1].tolist()


@pytest.mark.parametrize("span", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("difference", [0, 3, 6])
def test_planes_hold_each_pair_of_rings_once_and_are_sorted(span, difference):
    layout = ring(rings=7).layout(span=span, max_ring_difference=difference)
    start, end = np.indices((7, 7))
    np.testing.assert_array_equal(layout.plane_of_rings >= 0, np.abs(start - end) <= difference)
    pairs = layout.ring_pairs
    taken = pairs[..., 0] >= 0
    assert taken.sum() == (layout.plane_of_rings >= 0).sum()
    plane = np.broadcast_to(np.arange(layout.num_planes)[:, None], taken.shape)
    np.testing.assert_array_equal(layout.plane_of_rings[pairs[taken][:, 0], pairs[taken][:, 1]], plane[taken])
    for s in layout.segments:
        part = slice(s.first_plane, s.first_plane + s.num_planes)
        differences = (pairs[part, :, 1] - pairs[part, :, 0])[taken[part]]
        assert differences.min() == s.min_difference
        assert differences.max() == s.max_difference
        sums = np.where(taken[part], pairs[part].sum(-1), -1)
        assert (np.where(taken[part], sums, sums[:, :1]) == sums[:, :1]).all(), "one middle in z"
        assert (np.diff(sums[:, 0]) > 0).all()
        middle = layout.planes[part].mean(1)
        np.testing.assert_allclose(middle, (sums[:, 0] / 2 - 3) * 5.0, atol=1e-12)


@pytest.mark.parametrize("mashing", [1, 2, 3])
@pytest.mark.parametrize("scanner", [ring(), ring(22), blocks()], ids=["24", "22", "blocks"])
def test_every_pair_of_crystals_has_exactly_one_bin(scanner, mashing):
    n = scanner.num_crystals
    if (n // 2) % mashing:
        mashing = 11
    pairs = scanner.layout(num_bins=n - 1, mashing=mashing).crystal_pairs.reshape(-1, 2)
    assert len(pairs) == n * (n - 1) // 2
    assert len(np.unique(np.sort(pairs, 1), axis=0)) == len(pairs)


@pytest.mark.parametrize("num_bins", [23, 14, 9])
@pytest.mark.parametrize("span", [1, 2, 3])
def test_pairs_are_put_where_the_bins_say(num_bins, span):
    layout = ring().layout(span=span, max_ring_difference=3, num_bins=num_bins, mashing=2)
    view, plane, column, swapped = layout.bins_of(*all_pairs(layout.scanner))
    crystal_a, ring_a, crystal_b, ring_b = all_pairs(layout.scanner)
    inside = (plane >= 0) & (column >= 0)
    start = np.stack([np.where(swapped, crystal_b, crystal_a), np.where(swapped, ring_b, ring_a)], -1)
    end = np.stack([np.where(swapped, crystal_a, crystal_b), np.where(swapped, ring_a, ring_b)], -1)
    crystals = layout.crystal_pairs[view, column]
    rings = layout.ring_pairs[plane]
    held = (crystals == np.stack([start, end], -1)[:, None, 0]).all(-1).any(-1)
    held &= (rings == np.stack([start, end], -1)[:, None, 1]).all(-1).any(-1)
    np.testing.assert_array_equal(held[inside], True)
    counts = layout.histogram(crystal_a, ring_a, crystal_b, ring_b)
    # A bin holds its number of pairs, and no pair is lost that belongs to one.
    transaxial, axial = layout.live_pairs()
    np.testing.assert_array_equal(counts, transaxial[:, None, :] * axial[:, None])
    k = np.arange(num_bins) - num_bins // 2
    assert counts.sum() == inside.sum() == len(k) * 12 * (layout.plane_of_rings >= 0).sum()


def test_the_order_of_the_two_crystals_does_not_matter():
    layout = ring().layout(span=3, max_ring_difference=4, num_bins=15)
    a, ring_a, b, ring_b = all_pairs(layout.scanner)
    one, other = layout.bins_of(a, ring_a, b, ring_b), layout.bins_of(b, ring_b, a, ring_a)
    inside = one[2] >= 0
    for first, second in zip(one[:3], other[:3], strict=True):
        np.testing.assert_array_equal(first[inside], second[inside])
    np.testing.assert_array_equal(one[3][inside], ~other[3][inside])
    np.testing.assert_array_equal(other[2] >= 0, inside)


@pytest.mark.parametrize("first_angle", [0.0, 0.4])
@pytest.mark.parametrize("num_bins", [16, 15])
def test_lines_have_the_distance_and_the_angle_of_the_formula(first_angle, num_bins):
    layout = ring(first_angle=first_angle).layout(num_bins=num_bins)
    n = 24
    k = np.arange(num_bins) - num_bins // 2
    view = np.arange(n // 2)[:, None]
    angle = first_angle + 2 * np.pi * (view - (k % 2) / 2) / n
    along = layout.lines[:, :, 1] - layout.lines[:, :, 0]
    direction = along / np.linalg.norm(along, axis=-1, keepdims=True)
    np.testing.assert_allclose(direction, np.stack([np.cos(angle), -np.sin(angle)], -1), atol=1e-12)
    distance = layout.lines[..., 1] * np.cos(angle)[..., None] + layout.lines[..., 0] * np.sin(angle)[..., None]
    wanted = np.broadcast_to(RADIUS * np.sin(np.pi * k / n), (12, num_bins))
    np.testing.assert_allclose(distance, np.stack([wanted, wanted], -1), atol=1e-9)
    np.testing.assert_allclose(layout.distances, distance[..., 0], atol=1e-9)
    assert (np.diff(layout.distances, axis=1) > 0).all()
    np.testing.assert_allclose(layout.angles, angle[:, num_bins // 2], atol=1e-12)


def test_neighbouring_bins_are_of_two_families_of_parallel_lines():
    layout = ring().layout(num_bins=10)
    along = layout.lines[:, :, 1] - layout.lines[:, :, 0]
    angle = np.arctan2(-along[..., 1], along[..., 0])
    for family in (angle[:, 0::2], angle[:, 1::2]):
        np.testing.assert_allclose(family, family[:, :1] + np.zeros(5), atol=1e-9)
    # k = -5 and -4: the odd ones half a step before.
    np.testing.assert_allclose(angle[:, 0] - angle[:, 1], -np.pi / 24, atol=1e-9)


def test_views_are_those_of_a_parallel_beam():
    layout = ring(first_angle=0.3).layout(num_bins=9)
    vectors = jaxct.ParallelBeam(layout.angles, detector_shape=(1, 9), pixel_size=1.0).to_vectors()
    middle = layout.lines[:, 4]
    along = (middle[:, 1] - middle[:, 0]) / (2 * RADIUS)
    np.testing.assert_allclose(along, vectors.direction[:, 1:], atol=1e-6)
    wide = layout.lines[:, -1].mean(1)
    assert (np.einsum("vk,vk->v", wide, np.asarray(vectors.col_axis)[:, 1:]) > 0).all()


@pytest.mark.parametrize("scanner", [ring(), blocks()], ids=["ring", "blocks"])
@pytest.mark.parametrize("mashing", [1, 2])
def test_lines_of_a_sinogram_are_the_mean_of_their_pairs(scanner, mashing):
    layout = scanner.layout(span=3, max_ring_difference=4, num_bins=11, mashing=mashing)
    ends = np.asarray(layout.lors().to_ends())
    view, plane, column = 3, layout.num_planes - 2, 2
    points = [
        [[scanner.rings[r[e]], *scanner.crystals[c[e]]] for e in range(2)]
        for r in layout.ring_pairs[plane]
        for c in layout.crystal_pairs[view, column]
        if r[0] >= 0
    ]
    np.testing.assert_allclose(ends[view, plane, column], np.mean(points, 0), rtol=1e-5, atol=1e-4)


def test_faces_of_a_line_point_to_growing_distance():
    for scanner in (ring(), blocks()):
        layout = scanner.layout(num_bins=17)
        lors = layout.lors()
        np.testing.assert_allclose(
            np.linalg.norm(lors.tangents, axis=-1), np.linalg.norm(scanner.tangents, axis=-1)[0], rtol=1e-6
        )
        along = layout.lines[:, :, 1] - layout.lines[:, :, 0]
        across = np.stack([-along[..., 1], along[..., 0]], -1)
        assert (np.einsum("vbk,vbek->vbe", across, np.asarray(lors.tangents)) > 0).all()
        assert lors.plane_width == 4


def test_swapping_the_crystals_mirrors_the_time_bins():
    layout = ring(timing=Timing(500.0, 300.0, 4)).layout(span=1, num_bins=13)
    rng = np.random.default_rng(0)
    a, b = rng.integers(24, size=(2, 500))
    ring_a, ring_b = rng.integers(5, size=(2, 500))
    time = rng.integers(4, size=500)
    counts = layout.histogram(a, ring_a, b, ring_b, tof_bin=time)
    assert counts.shape == (*layout.shape, 4) == layout.lors().projection_shape
    np.testing.assert_array_equal(counts, layout.histogram(b, ring_b, a, ring_a, tof_bin=3 - time))
    np.testing.assert_array_equal(counts.sum(-1), layout.histogram(a, ring_a, b, ring_b))
    assert (counts != layout.histogram(a, ring_a, b, ring_b, tof_bin=3 - time)).any()
    # Bin 0 is nearest to the start: an event of a line's own pair, in order, keeps its bin.
    (start, end), rings = layout.crystal_pairs[2, 5, 0], layout.ring_pairs[7, 0]
    one = layout.histogram([start], rings[:1], [end], rings[1:], tof_bin=[1])
    assert one[2, 7, 5].tolist() == [0, 1, 0, 0]


def test_histogram_counts_weights_and_leaves_out_what_has_no_bin():
    layout = ring().layout(span=1, max_ring_difference=1, num_bins=5)
    (start, end), rings = layout.crystal_pairs[0, 2, 0], layout.ring_pairs[3, 0]
    a, b = np.array([start, start, end, 0], np.uint8), np.array([end, end, start, 1], np.uint8)
    ring_a, ring_b = np.array([rings[0], rings[0], rings[1], 0]), np.array([rings[1], rings[1], rings[0], 4])
    counts = layout.histogram(a, ring_a, b, ring_b, weights=[1.0, -0.25, 2.0, 5.0])
    assert counts[0, 3, 2] == 2.75
    assert counts.sum() == 2.75
    assert counts.dtype == np.float32
    timed = dataclasses.replace(layout, scanner=ring(timing=Timing(500.0, 300.0, 4)))
    assert timed.histogram(a, ring_a, b, ring_b, tof_bin=[-1, 4, 0, 0]).sum() == 1


def test_bins_of_one_pair_know_it():
    layout = ring().layout(span=1, max_ring_difference=3, num_bins=9)
    index = np.indices(layout.shape)
    pairs = layout.pairs_of(*index)
    lors = layout.scanner.lors_of(pairs.reshape(-1, 2))
    ends = layout.lors().to_ends().reshape(-1, 2, 3)
    np.testing.assert_allclose(np.stack([lors.start, lors.end], 1), ends, rtol=1e-6, atol=1e-4)
    with pytest.raises(ValueError, match="one pair"):
        dataclasses.replace(layout, span=3).pairs_of(0, 0, 0)


def test_gaps_have_no_live_pairs():
    layout = blocks().layout(span=3, max_ring_difference=4, num_bins=15, mashing=2)
    scanner = layout.scanner
    a, ring_a, b, ring_b = all_pairs(scanner)
    live = scanner.live[a] & scanner.live[b] & scanner.live_rings[ring_a] & scanner.live_rings[ring_b]
    counts = layout.histogram(a[live], ring_a[live], b[live], ring_b[live])
    transaxial, axial = layout.live_pairs()
    np.testing.assert_array_equal(counts, transaxial[:, None, :] * axial[:, None])
    assert (counts == 0).any()


def test_planes_are_put_in_the_order_of_a_file():
    layout = siemens_mmr().layout(span=1, max_ring_difference=2)
    # The order of STIR's template: segments -2 to 2.
    planes = layout.planes_of_segments([-2, -1, 0, 1, 2], [-2, -1, 0, 1, 2])
    pairs = layout.ring_pairs[planes, 0]
    differences = pairs[:, 1] - pairs[:, 0]
    np.testing.assert_array_equal(differences, np.repeat([-2, -1, 0, 1, 2], [62, 63, 64, 63, 62]))
    np.testing.assert_array_equal(np.sort(planes), np.arange(layout.num_planes))
    with pytest.raises(ValueError, match="no segment of span 1"):
        layout.planes_of_segments([-1], [1])


def test_layouts_are_equal_if_scanner_and_numbers_are():
    scanner = ring()
    layout = scanner.layout(span=3)
    assert layout == scanner.layout(span=np.int64(3))
    assert hash(layout) == hash(scanner.layout(span=3))
    assert layout != scanner.layout(span=1)
    assert layout != ring().layout(span=3)
    shape = jax.jit(lambda x, layout: x.reshape(layout.shape), static_argnums=1)
    assert shape(jnp.zeros(np.prod(layout.shape)), layout).shape == layout.shape


def test_subsets_of_a_sinograms_views_are_those_of_its_lines():
    lors = ring().sinogram(span=3)
    part = lors[np.array([1, 7])]
    np.testing.assert_array_equal(part.to_ends(), lors.to_ends()[np.array([1, 7])])


def layouts():
    return ring().layout(span=1, max_ring_difference=4, num_bins=11), blocks().layout(
        span=1, max_ring_difference=4, num_bins=15
    )


def operators():
    """Every kind of operator between sinograms, by name."""
    flat, gaps = layouts()
    timed = dataclasses.replace(flat, scanner=ring(timing=Timing(500.0, 300.0, 3)))
    coarse = dataclasses.replace
    return {
        "axial sum": axial_compression(flat, coarse(flat, span=3)),
        "axial mean": axial_compression(flat, coarse(flat, span=3, max_ring_difference=3), mean=True),
        "axial with TOF": axial_compression(timed, coarse(timed, span=2), tof=True),
        "mashing": view_mashing(flat, coarse(flat, mashing=3)),
        "mean mashing with TOF": view_mashing(timed, coarse(timed, mashing=2), mean=True, tof=True),
        "TOF mashing": tof_mashing(timed, 3),
        "single slice": single_slice_rebinning(gaps),
        "arc": arc_correction(gaps, num_bins=13),
        "arc with TOF": arc_correction(timed, bin_size=9.0, tof=True),
        "inverse arc": arc_correction(gaps, bin_size=11.0, num_bins=20, inverse=True),
    }


OPERATORS = operators()


@pytest.mark.parametrize("name", OPERATORS)
def test_adjoints_are_exact(name):
    a = OPERATORS[name]
    x, y = random(0, a.in_shape), random(1, a.out_shape)
    assert a(x).shape == a.out_shape
    assert a.T(y).shape == a.in_shape
    assert adjoint_gap(a, a.T, x, y) < 1e-6
    transposed = jax.linear_transpose(a, x)(y)[0]
    assert relative_error(transposed, a.T(y)) < 1e-6
    np.testing.assert_array_equal(a.T.T(x), a(x))


@pytest.mark.parametrize("name", ["mean mashing with TOF", "TOF mashing", "single slice", "arc with TOF"])
def test_operators_compose_with_jit_vmap_and_grad(name):
    a = OPERATORS[name]
    x, y = random(2, (2, *a.in_shape)), random(3, a.out_shape)
    each = jnp.stack([a(x[0]), a(x[1])])
    np.testing.assert_allclose(jax.jit(jax.vmap(a))(x), each, rtol=1e-5, atol=1e-5)
    # As an argument of a compiled function, a pytree.
    np.testing.assert_allclose(jax.jit(lambda op, v: op(v))(a, x[0]), each[0], rtol=1e-5, atol=1e-5)
    gradient = jax.grad(lambda v: jnp.vdot(a(v), y))(x[0])
    assert relative_error(gradient, a.T(y)) < 1e-6


@pytest.mark.parametrize("name", ["axial with TOF", "TOF mashing", "single slice", "arc"])
def test_subsets_of_views_may_be_traced(name):
    a = OPERATORS[name]
    x = random(4, a.in_shape)
    views = jnp.array([5, 0, 3])
    wanted = a(x)
    np.testing.assert_allclose(jax.jit(lambda v: a[v](x[v]))(views), wanted[views], rtol=1e-6, atol=1e-6)
    part = a[1:9:2]
    np.testing.assert_allclose(part(x[1:9:2]), wanted[1:9:2], rtol=1e-6, atol=1e-6)
    assert part.T.out_shape == part.in_shape == (4, *a.in_shape[1:])


def test_merged_views_have_no_subsets():
    with pytest.raises(TypeError, match="merges views"):
        OPERATORS["mashing"][:2]


@pytest.mark.parametrize(("span", "difference"), [(3, 4), (2, 3), (9, 4), (5, 2)])
def test_compressed_counts_are_the_histogram_of_the_larger_span(span, difference):
    scanner = ring()
    fine = scanner.layout(span=1, max_ring_difference=4, num_bins=11)
    coarse = scanner.layout(span=span, max_ring_difference=difference, num_bins=11)
    rng = np.random.default_rng(5)
    events = (
        rng.integers(24, size=3000),
        rng.integers(5, size=3000),
        rng.integers(24, size=3000),
        rng.integers(5, size=3000),
    )
    counts = fine.histogram(*events)
    np.testing.assert_array_equal(axial_compression(fine, coarse)(counts), coarse.histogram(*events))
    # A mean over as many planes as a coarse one holds.
    mean = axial_compression(fine, coarse, mean=True)(counts)
    held = (coarse.ring_pairs[..., 0] >= 0).sum(1)
    np.testing.assert_allclose(mean * held[:, None], coarse.histogram(*events), rtol=1e-6)
    mashed = dataclasses.replace(fine, mashing=4)
    np.testing.assert_array_equal(view_mashing(fine, mashed)(counts), mashed.histogram(*events))


def test_mashed_time_bins_are_those_of_a_coarser_timing():
    """Of counts bit for bit, of projections in all three directions of what is merged."""
    fine = ring(timing=Timing(500.0, 150.0, 12)).layout(span=3, num_bins=9)
    coarse, merge = fine.tof_mashed(3), tof_mashing(fine, 3)
    assert coarse.scanner.timing == Timing(500.0, 450.0, 4)
    assert merge.out_shape == coarse.lors().projection_shape
    rng = np.random.default_rng(6)
    a, b = rng.integers(24, size=(2, 2000))
    ring_a, ring_b = rng.integers(5, size=(2, 2000))
    time = rng.integers(12, size=2000)
    counts = merge(fine.histogram(a, ring_a, b, ring_b, tof_bin=time))
    np.testing.assert_array_equal(counts, coarse.histogram(a, ring_a, b, ring_b, tof_bin=time // 3))
    grid = jaxct.VolumeGrid((3, 8, 8), (8.0, 12.0, 12.0), center=(0.0, 7.0, -9.0))
    image = random(7, grid.shape)
    wide = forward_project(image, coarse.lors(), grid)
    assert relative_error(merge(forward_project(image, fine.lors(), grid)), wide) < 1e-5
    assert ge_discovery_690().layout().tof_mashed(11).scanner.timing == ge_discovery_690(tof_mashing=11).timing


def test_compression_of_spans_that_nest():
    scanner = ring(rings=9)
    one, three, nine = (scanner.layout(span=s, max_ring_difference=4, num_bins=3) for s in (1, 3, 9))
    x = random(6, one.shape)
    at_once = axial_compression(one, nine)(x)
    in_steps = axial_compression(three, nine)(axial_compression(one, three)(x))
    assert relative_error(in_steps, at_once) < 1e-6
    five = dataclasses.replace(three, span=5)
    with pytest.raises(ValueError, match="whole planes"):
        axial_compression(three, five)


def test_single_slice_planes_are_flat():
    layout = ring().layout(span=1, max_ring_difference=4, num_bins=3)
    rebin = single_slice_rebinning(layout)
    assert rebin.out_shape[1] == 9
    # The middle of every plane stays where it is: so does what is linear in z.
    z = np.broadcast_to(layout.planes.mean(1)[:, None], layout.shape)
    wanted = np.broadcast_to(equal_rings(9, 2.5)[:, None], rebin.out_shape)
    np.testing.assert_allclose(rebin(z), wanted, atol=1e-5)


@pytest.mark.parametrize("scanner", [ring(96), blocks()], ids=["ring", "blocks"])
def test_arc_correction_keeps_what_is_linear_and_fills_in_zero(scanner):
    layout = scanner.layout(span=1, max_ring_difference=0, num_bins=scanner.num_crystals // 2)
    correct = arc_correction(layout, bin_size=4.0, num_bins=61)
    profile = np.broadcast_to((3 + 2 * layout.distances)[:, None], layout.shape)
    got = np.asarray(correct(profile))
    t = (np.arange(61) - 30) * 4.0
    inside = (layout.distances.min(1)[:, None] <= t) & (t <= layout.distances.max(1)[:, None])
    np.testing.assert_allclose(
        got, np.where(inside, 3 + 2 * t, 0)[:, None] + np.zeros((*layout.shape[:2], 1)), atol=1e-3
    )
    assert not inside.all()
    back = arc_correction(layout, bin_size=4.0, num_bins=61, inverse=True)
    central = np.abs(layout.distances) < 50
    twice = np.asarray(back(got))[:, 0][central]
    np.testing.assert_allclose(twice, (3 + 2 * layout.distances)[central], atol=1e-3)


def test_arc_corrected_direct_planes_are_a_parallel_beam_scan():
    """A disc off centre, its chords computed line by line, comes out of FBP where and as dense as it is."""
    layout = ring(144, 1, first_angle=0.2).layout(span=1, num_bins=71)
    center, radius = np.array([12.0, -20.0]), 25.0
    along = layout.lines[:, :, 1] - layout.lines[:, :, 0]
    to_center = center - layout.lines[:, :, 0]
    distance = np.abs(along[..., 0] * to_center[..., 1] - along[..., 1] * to_center[..., 0]) / np.linalg.norm(
        along, axis=-1
    )
    chords = 2 * np.sqrt(np.maximum(radius**2 - distance**2, 0))
    correct = arc_correction(layout)
    sinogram = correct(chords[:, None])[:, 0]
    size = float(np.diff(np.sort(layout.distances[0]))[34:36].mean())
    beam = jaxct.ParallelBeam(layout.angles, detector_shape=sinogram.shape[1:], pixel_size=size)
    grid = jaxct.VolumeGrid((60, 60), 2.5)
    image = np.asarray(jaxct.reconstruct.fbp(sinogram, beam, grid))
    y, x = np.meshgrid(*(np.asarray(c) for c in grid.coordinates()), indexing="ij")
    from_center = np.hypot(y - center[0], x - center[1])
    assert np.median(image[from_center < 0.8 * radius]) == pytest.approx(1, abs=0.03)
    assert np.abs(np.median(image[(from_center > 1.3 * radius) & (from_center < 60)])) < 0.02
    mass = np.clip(image, 0.3, 1) - 0.3
    found = [(mass * c).sum() / mass.sum() for c in (y, x)]
    np.testing.assert_allclose(found, center, atol=0.5)


def test_arc_corrected_lines_are_those_of_a_parallel_beam():
    layout = ring(first_angle=0.3).layout(span=3)
    lors = layout.arc_corrected_lors(7.0, 10)
    assert lors.projection_shape == (12, layout.num_planes, 10)
    beam = jaxct.ParallelBeam(layout.angles, detector_shape=(1, 10), pixel_size=7.0).to_vectors()
    along = (lors.lines[:, :, 1] - lors.lines[:, :, 0]) / jnp.linalg.norm(
        lors.lines[:, :, 1] - lors.lines[:, :, 0], axis=-1, keepdims=True
    )
    np.testing.assert_allclose(along, np.broadcast_to(beam.direction[:, None, 1:], along.shape), atol=1e-6)
    t = (np.arange(10) - 4.5) * 7.0
    np.testing.assert_allclose(lors.lines.mean(2), t[:, None] / 7.0 * beam.col_axis[:, None, 1:], atol=1e-4)
    np.testing.assert_allclose(lors.tangents[:, 0, 0], beam.col_axis[:, 1:], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(lors.lines, axis=-1), RADIUS, rtol=1e-6)
    with pytest.raises(ValueError, match="within"):
        layout.arc_corrected_lors(7.0, 40)


def test_time_bins_of_a_sinogram_are_counted_from_its_starts():
    """A hot voxel, projected with time of flight: the mean position on each line is the voxel's foot on it."""
    layout = ring(96, 1, timing=Timing(200.0, 100.0, 21)).layout(num_bins=41)
    grid = jaxct.VolumeGrid((1, 21, 21), (5.0, 4.0, 4.0))
    image = np.zeros(grid.shape, np.float32)
    image[0, 16, 5] = 1.0
    y, x = (c[i] for c, i in zip(grid.coordinates()[1:], (16, 5), strict=True))
    lors = layout.lors()
    counts = np.asarray(forward_project(image, lors, grid, model="siddon"))[:, 0]
    seen = counts.sum(-1) > 0.5
    position = (counts * lors.tof.bin_centers()).sum(-1)[seen] / counts.sum(-1)[seen]
    a = layout.angles[:, None] - np.pi / 96 * (np.arange(41) % 2)
    foot = np.broadcast_to(y * np.cos(a) - x * np.sin(a), seen.shape)[seen]
    assert seen.any(1).all()
    # The middle of a line's part in the voxel is within half its diagonal of the foot.
    np.testing.assert_allclose(position, foot, atol=4.0 / np.sqrt(2))
    assert np.ptp(foot) > 50


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"num_bins": 24}, ValueError, "num_bins must be at most 23"),
        ({"num_bins": 0}, ValueError, "num_bins"),
        ({"mashing": 5}, ValueError, "mashing must divide"),
        ({"span": 1.5}, TypeError, "span"),
        ({"max_ring_difference": 5}, ValueError, r"max_ring_difference must lie in \[0, 5\)"),
        ({"max_ring_difference": 1.0}, TypeError, "max_ring_difference"),
        ({"scanner": ring(23)}, ValueError, "even number"),
    ],
)
def test_what_is_no_layout_is_refused(change, error, text):
    with pytest.raises(error, match=text):
        SinogramLayout(**({"scanner": ring(), "num_bins": 9} | change))


def test_what_does_not_fit_an_operator_is_refused():
    flat, gaps = layouts()
    with pytest.raises(ValueError, match="in_shape"):
        axial_compression(flat, dataclasses.replace(flat, span=3))(jnp.zeros(3))
    with pytest.raises(ValueError, match="coarse: scanner must be"):
        axial_compression(flat, gaps)
    with pytest.raises(ValueError, match="coarse: its mashing"):
        view_mashing(dataclasses.replace(flat, mashing=2), dataclasses.replace(flat, mashing=3))
    with pytest.raises(ValueError, match="bin_size"):
        arc_correction(flat, bin_size=-1.0)
    with pytest.raises(ValueError, match=r"layout: .* has no timing"):
        tof_mashing(flat, 3)
    with pytest.raises(ValueError, match="tof_mashing must divide the number of TOF bins, 3, got 2"):
        tof_mashing(dataclasses.replace(flat, scanner=ring(timing=Timing(500.0, 300.0, 3))), 2)
    with pytest.raises(ValueError, match="no timing"):
        flat.histogram([0], [0], [12], [0], tof_bin=[0])
    with pytest.raises(ValueError, match="crystal_a must lie in"):
        flat.histogram([24], [0], [12], [0])
    with pytest.raises(TypeError, match="ring_b must be integers"):
        flat.histogram([2], [0], [12], [0.0])


@pytest.fixture(scope="module")
def coincidences():
    """Measured list mode of an mMR: view, plane, bin of each event, and +1 for prompts, -1 for delayed ones."""
    words = np.fromfile(data_path("pet_mmr_listmode/small_listmode_file.l"), "<u4")
    events = words[words >> 31 == 0]
    address = (events & 0x3FFFFFFF).astype(np.int64)
    return address // 344 % 252, address // 344 // 252, address % 344, np.where(events >> 30 & 1, 1, -1)


def test_no_measured_event_is_in_the_gap_of_a_block(coincidences):
    """All 254,201 events of an mMR, prompt and delayed, are between crystals: the addresses are read rightly."""
    view, plane, column, _ = coincidences
    layout = siemens_mmr().layout(span=1)
    pairs = layout.pairs_of(view, plane, column)
    assert len(pairs) == 254_201
    assert layout.scanner.live[pairs % 504].all()
    assert len(np.unique(pairs % 504)) == 448


def test_measured_events_return_to_their_addresses(coincidences):
    view, plane, column, sign = coincidences
    layout = siemens_mmr().layout(span=1)
    ring_numbers, crystals = np.divmod(layout.pairs_of(view, plane, column), 504)
    found = layout.bins_of(crystals[:, 1], ring_numbers[:, 1], crystals[:, 0], ring_numbers[:, 0])
    for got, wanted in zip(found[:3], (view, plane, column), strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert found[3].all()
    (a, b), (ring_a, ring_b) = crystals.T, ring_numbers.T
    compressed = siemens_mmr().layout(span=11, mashing=4).histogram(a, ring_a, b, ring_b, weights=sign)
    assert compressed.shape == (63, 837, 344)
    assert compressed.sum() == sign.sum()


def test_measured_oblique_planes_tilt_as_segments_say(coincidences):
    """The head is off the axis: lines that rise from start to end and pass it near the end have a low middle.

    With s the head's place along a line from its middle, and w the line's rise per mm, the middle is at z - s w on
    average. The field of view cuts tilted lines off, which weakens the slope but cannot turn its sign.
    """
    view, plane, column, sign = coincidences
    layout = siemens_mmr().layout(span=1)
    angle, t = layout.angles[view], layout.distances[view, column]
    normal = np.stack([np.cos(angle), np.sin(angle)], -1)
    x, y = np.linalg.solve((normal * sign[:, None]).T @ normal, (normal * sign[:, None]).T @ t)
    assert np.hypot(x, y) > 10
    s = y * np.cos(angle) - x * np.sin(angle)
    z = layout.planes[plane]
    w = (z[:, 1] - z[:, 0]) / (2 * layout.scanner.effective_radius)
    some = (np.abs(t) < 100) & (np.abs(w) < 0.2) & (sign > 0)
    terms = np.stack([np.ones(some.sum()), (s * w)[some], w[some]], -1)
    middle = z.mean(1)[some]
    (_, slope, _), residual, *_ = np.linalg.lstsq(terms, middle, rcond=None)
    error = np.sqrt(np.linalg.inv(terms.T @ terms)[1, 1] * residual[0] / some.sum())
    assert -1.2 < slope < -5 * error
