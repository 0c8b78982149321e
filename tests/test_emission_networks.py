"""EM-Net and MAPEM-Net: what they compute, their gradients, and that no sinogram waits for these."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxct
from jaxct import nn
from jaxct.reconstruct import map_em_step, mlem
from tests.emission import counted_problem
from tests.matrix import COLS, ROWS, Matrix
from tests.networks import filled
from tests.operators import random, relative_error

BEAM = jaxct.ParallelBeam(jaxct.geometry.trajectories.circle(6, arc=jnp.pi), detector_shape=(14,))
GRID = jaxct.VolumeGrid((9, 10))


def em_net(num_unrolls=2, **options):
    sizes = {"ndim": 2, "features": (2, 4), "convs_per_level": 1}
    return nn.EMNet(num_unrolls, **{**sizes, "rngs": nnx.Rngs(0), **options})


def mapem_net(num_unrolls=2, **options):
    sizes = {"ndim": 2, "features": (2, 4), "convs_per_level": 1}
    return nn.MAPEMNet(num_unrolls, **{**sizes, "rngs": nnx.Rngs(0), **options})


every_network = pytest.mark.parametrize("make", [em_net, mapem_net], ids=lambda f: f.__name__)


@pytest.fixture
def problem():
    """Counts of an image, a background, and the operator."""
    A = jaxct.Projector(BEAM, GRID, model="joseph")  # noqa: N806
    image = 20 * jnp.asarray(np.random.default_rng(0).uniform(size=GRID.shape), jnp.float32)
    data = jnp.asarray(np.random.default_rng(1).poisson(A(image) + 5.0), jnp.float32)
    return A, data, image


def run(module, A, data, x=None, **options):  # noqa: N803
    graphdef, state = nnx.split(module)
    call = lambda s, A, d, x, o: nnx.merge(graphdef, s)(A, d, x, **o)  # noqa: E731, N803
    return jax.jit(call)(state, A, data, x, options)


def steps_of(module):
    graphdef, state = nnx.split(module.steps)
    return [nnx.merge(graphdef, jax.tree.map(lambda leaf, k=k: leaf[k], state)) for k in range(module.num_unrolls)]


def root(em, s, rho, m):
    """The textbook's formula."""
    return (rho * m - s + jnp.sqrt((s - rho * m) ** 2 + 4 * rho * s * em)) / (2 * rho)


def by_definition(module, A, data, x, background):  # noqa: N803
    """Loops over the equations as they stand, for JAX to differentiate as it likes."""
    s = A.T(jnp.ones(A.out_shape))
    scale, stiffness = jnp.sum(x * x) / jnp.sum(x), jnp.sum(s * x) / jnp.sum(x)
    relu = lambda v: jnp.where(v > 0, v, 0)  # noqa: E731
    unet = lambda net, v: net.unet((v / scale)[..., None])[..., 0]  # noqa: E731
    z, u = x, jnp.zeros_like(x)
    for step in steps_of(module):
        if isinstance(module, nn.EMNet):
            slope = A.T(1 - data / (A(x) + background)) + stiffness * unet(step.penalty, x)
            z = x = relu(x - step.size[...] * x / s * slope)
            continue
        for _ in range(module.em_iters):
            em = x / s * A.T(data / (A(x) + background))
            x = root(em, s, jnp.exp(step.log_penalty[...]) * stiffness / scale, z - u)
        z = relu(x + u + scale * unet(step.denoise, x + u))
        u = u + x - z
    return z


@every_network
def test_it_follows_its_equations_and_so_do_its_gradients(make):
    """In all parameters, the counts, the first image, the background and the operator, in double precision: against
    JAX's own derivatives of plain loops, and against finite differences along one direction."""
    matrix, counts = counted_problem()
    with jax.enable_x64(True):
        plain = filled(make, param_dtype=jnp.float64)
        # So that not a voxel ends at zero, where derivatives are one-sided.
        plain.steps = jax.tree.map(lambda leaf: 0.3 * leaf, plain.steps)
        graphdef, state = nnx.split(plain)
        x = np.random.default_rng(2).uniform(1.0, 3.0, COLS)
        at = state, matrix + 0.1, counts, x, np.full(ROWS, 0.4)
        ways = jax.tree.map(lambda leaf: random(leaf.size, leaf.shape), at)
        weights = random(3, COLS)

        def image(at):
            state, values, data, x, background = at
            return nnx.merge(graphdef, state)(Matrix(values), data, x, background=background)

        def plainly(at):
            state, values, data, x, background = at
            return by_definition(nnx.merge(graphdef, state), Matrix(values), data, x, background)

        @jax.jit
        def both(at, ways):
            steps = jnp.array([1e-6, -1e-6])
            loss = lambda at: jnp.vdot(weights, jnp.sin(image(at)))  # noqa: E731
            values = jax.lax.map(lambda t: loss(jax.tree.map(lambda a, w: a + t * w, at, ways)), steps)
            wanted = jax.grad(lambda at: jnp.vdot(weights, jnp.sin(plainly(at))))(at)
            return image(at), plainly(at), (values[0] - values[1]) / 2e-6, jax.grad(loss)(at), wanted

        found, expected, slope, gradient, wanted = both(at, ways)
        np.testing.assert_allclose(found, expected, rtol=1e-10)
        assert (found > 0).all()
        assert min(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient)) > 1e-8
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-10), gradient, wanted)
        products = jax.tree.leaves(jax.tree.map(jnp.vdot, gradient, ways))
        assert float(sum(products)) == pytest.approx(float(slope), rel=1e-5)


@pytest.mark.parametrize("given", [False, True])
def test_an_untrained_em_net_is_mlem(problem, given):
    A, data, image = problem  # noqa: N806
    x = image + 3.0 if given else None
    wanted = mlem(A, data, num_iters=3, background=5.0, init=x).volume
    np.testing.assert_allclose(run(nnx.jit(lambda: em_net(3))(), A, data, x, background=5.0), wanted, rtol=1e-4)


def test_an_untrained_mapem_net_holds_on_to_the_image_before(problem):
    A, data, _ = problem  # noqa: N806
    s = A.T(jnp.ones(A.out_shape))
    x = first = jnp.full(GRID.shape, jnp.sum(data) / jnp.sum(s))
    pull = 0.4 * jnp.mean(s) / first
    for _ in range(3):
        step = lambda image, target: map_em_step(  # noqa: E731
            A, data, image, sensitivity=s, pull=pull, target=target, background=5.0
        )
        x = step(step(x, x), x)
    got = run(nnx.jit(lambda: mapem_net(3, penalty=0.4))(), A, data, background=5.0)
    np.testing.assert_allclose(got, x, rtol=1e-4)


@every_network
def test_of_a_training_step_no_sinogram_is_kept(make, problem):
    """Beside those that are given: the images that go from step to step, and what each MAP-EM step back projects."""
    A, data, image = problem  # noqa: N806
    background = jnp.full(data.shape, 5.0)

    def kept(count, **options):
        graphdef, state = nnx.split(filled(make, count, **options))

        def loss(state, x):
            found = nnx.merge(graphdef, state)(A, data, x, background=background, sensitivity=1.0)
            return jnp.sum((found - image) ** 2)

        return jax.tree.leaves(jax.vjp(loss, state, image)[1])

    def sinograms(leaves):
        """But for those that are given."""
        found = [leaf for leaf in leaves if jnp.shape(leaf)[-2:] == data.shape]
        return [leaf for leaf in found if not any(np.array_equal(leaf, given) for given in (data, background))]

    per_step = {em_net: 2, mapem_net: 5}[make]
    for count in (2, 5):
        leaves = kept(count)
        assert not sinograms(leaves)
        assert [jnp.shape(leaf) for leaf in leaves].count((count, *GRID.shape)) == per_step
    all_kept = kept(5, remat=False)
    assert not sinograms(all_kept)
    assert sum(map(jnp.size, all_kept)) > 2 * sum(map(jnp.size, leaves))
    projections = kept(5, policy=jaxct.checkpoint_policies.save_forward_projections)
    assert {jnp.shape(leaf) for leaf in sinograms(projections)} == {(5, *data.shape)}


@every_network
def test_a_gradient_projects_no_more_than_it_must(make, problem):
    """For each EM step A and its transpose once, and for the gradient once more and A twice."""
    A, data, _ = problem  # noqa: N806

    def count(**options):
        graphdef, state = nnx.split(filled(make, 3, **options))
        loss = lambda s, x: jnp.sum(nnx.merge(graphdef, s)(A, data, x, sensitivity=1.0) ** 2)  # noqa: E731
        text = str(jax.make_jaxpr(jax.grad(loss, argnums=(0, 1)))(state, jnp.ones(GRID.shape)))
        return [text.count(f"= {name}[") for name in ("jaxct_forward", "jaxct_back")]

    em_iters = {em_net: 1, mapem_net: 2}[make]
    assert count() == count(remat=False) == [3 * em_iters, 2 * em_iters]
    assert count(policy=jaxct.checkpoint_policies.save_forward_projections) != count()


@every_network
def test_vmap_gives_what_one_scan_after_the_other_gives(make, problem):
    A, data, _ = problem  # noqa: N806
    graphdef, state = nnx.split(filled(make))
    apply = jax.jit(lambda s, A, d: nnx.merge(graphdef, s)(A, d, background=5.0))  # noqa: N803
    many = jnp.stack([data, data[::-1], 2 * data])
    mapped = jax.jit(jax.vmap(apply, (None, None, 0)))(state, A, many)
    assert mapped.shape == (3, *GRID.shape)
    for got, one in zip(mapped, many, strict=True):
        np.testing.assert_allclose(got, apply(state, A, one), rtol=1e-4, atol=1e-4)
    turned = jaxct.Projector(jaxct.ParallelBeam(BEAM.angles + 0.1, detector_shape=(14,)), GRID, model="joseph")
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), A, turned)
    by_operator = jax.jit(jax.vmap(apply, (None, 0, None)))(state, both, data)
    np.testing.assert_allclose(by_operator[1], apply(state, turned, data), rtol=1e-4, atol=1e-4)


@every_network
def test_neither_the_number_of_counts_nor_the_units_matter(make, problem):
    A, data, image = problem  # noqa: N806
    net = filled(make)
    in_cm = jaxct.Projector(
        jaxct.ParallelBeam(BEAM.angles, detector_shape=(14,), pixel_size=0.1),
        jaxct.VolumeGrid(GRID.shape, voxel_size=0.1),
        model="joseph",
    )
    for x in (None, image):
        scaled = lambda factor, x=x: None if x is None else factor * x  # noqa: E731
        wanted = run(net, A, data, x, background=5.0)
        assert relative_error(run(net, A, 1e4 * data, scaled(1e4), background=5e4), 1e4 * wanted) < 1e-4
        assert relative_error(run(net, in_cm, data, scaled(10.0), background=5.0), 10 * wanted) < 1e-4


@every_network
def test_training_lowers_the_loss_and_nothing_negative_comes_out(make, problem):
    A = problem[0]  # noqa: N806
    images = 20 * jnp.asarray(np.random.default_rng(0).uniform(size=(4, *GRID.shape)) > 0.7, jnp.float32)
    data = jax.random.poisson(jax.random.key(0), jax.vmap(A)(images) + 1).astype(jnp.float32)
    net = nnx.jit(lambda: make(3))()
    optimizer = nnx.Optimizer(net, optax.adam(1e-2), wrt=nnx.Param)

    @nnx.jit
    def step(net, optimizer):
        def loss(net):
            found = jax.vmap(lambda d: net(A, d, background=1.0))(data)
            return jnp.mean((found - images) ** 2), found

        (value, found), gradients = nnx.value_and_grad(loss, has_aux=True)(net)
        optimizer.update(net, gradients)
        return value, jnp.min(found)

    losses, least = zip(*(step(net, optimizer) for _ in range(60)), strict=True)
    assert losses[-1] < 0.8 * losses[0]
    assert min(least) >= 0


@every_network
def test_steps_share_their_weights_where_asked_to(make, problem):
    one, shared, separate = (filled(make, n, shared=share) for n, share in ((1, False), (4, True), (4, False)))
    assert nn.num_parameters(shared) == nn.num_parameters(one)
    assert nn.num_parameters(separate) == 4 * nn.num_parameters(one)
    nnx.update(separate, jax.tree.map(lambda leaf: jnp.stack([leaf] * 4), nnx.state(shared)))
    A, data, _ = problem  # noqa: N806
    np.testing.assert_allclose(run(shared, A, data), run(separate, A, data), rtol=1e-4, atol=1e-4)


@every_network
def test_lists_of_events_of_volumes(make):
    """Lines of response in 3-D; each event is a row, and gives what the histogram gives."""
    lines = np.random.default_rng(0).normal(size=(2, 30, 3)) * [2, 10, 10] + [[[0, 20, 0]], [[0, -20, 0]]]
    counts = np.random.default_rng(1).poisson(2.0, 30)
    grid = jaxct.VolumeGrid((3, 8, 9), 2.0)
    A = jaxct.Projector(jaxct.pet.LORs(*lines.astype(np.float32)), grid)  # noqa: N806
    listed = jaxct.Projector(jaxct.pet.LORs(*np.repeat(lines, counts, 1).astype(np.float32)), grid)
    net, s = filled(make, ndim=3), A.T(jnp.ones(30)) + 0.1
    wanted = run(net, A, counts.astype(np.float32), sensitivity=s, background=0.5)
    got = run(net, listed, jnp.ones(counts.sum()), sensitivity=s, background=0.5)
    assert wanted.shape == grid.shape
    assert relative_error(got, wanted) < 1e-4


@every_network
def test_projections_stay_in_float32_where_the_network_is_in_bfloat16(make, problem):
    A, data, _ = problem  # noqa: N806
    half, single = (filled(make, dtype=dtype) for dtype in (jnp.bfloat16, None))
    got, wanted = run(half, A, data), run(single, A, data)
    assert got.dtype == jnp.float32
    assert 1e-5 < relative_error(got, wanted) < 0.05


def test_memory_of_a_compiled_training_step_hardly_grows_with_the_unrolls():
    A = jaxct.Projector(BEAM, jaxct.VolumeGrid((32, 32)), model="joseph")  # noqa: N806

    def needed(count, **options):
        graphdef, state = nnx.split(filled(mapem_net, count, features=(8, 16), **options))
        loss = lambda s, A, d: jnp.sum(nnx.merge(graphdef, s)(A, d, sensitivity=4.0) ** 2)  # noqa: E731, N803
        compiled = jax.jit(jax.grad(loss)).lower(state, A, jnp.ones(BEAM.projection_shape)).compile()
        parameters = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        return compiled.memory_analysis().temp_size_in_bytes - parameters

    few, many = needed(2), needed(8)
    assert many - few < 6 * 8 * 4 * 32**2, "x, z, u and two back projections, with a little to spare"
    assert needed(8, remat=False) > 2 * many


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p: em_net(0), ValueError, "num_unrolls must be a positive integer, got 0"),
        (lambda p: mapem_net(ndim=1), ValueError, "ndim must be 2 or 3, got 1"),
        (lambda p: mapem_net(em_iters=0), ValueError, "em_iters must be a positive integer, got 0"),
        (lambda p: mapem_net(penalty=0.0), ValueError, "penalty must be positive and finite, got 0"),
        (lambda p: em_net(features=()), ValueError, "features .* got none"),
        (
            lambda p: filled(em_net)(p[0], p[1][None]),
            ValueError,
            r"data must have the operator's shape \(6, 14\), got \(1, 6, 14\); batches are jax.vmap's",
        ),
        (
            lambda p: filled(mapem_net)(p[0], p[1], jnp.ones((3, 3))),
            ValueError,
            r"x must have the operator's shape \(9, 10\), got \(3, 3\)",
        ),
        (
            lambda p: filled(mapem_net)(p[0], p[1], background=jnp.ones((2, 6, 14))),
            ValueError,
            r"background must broadcast to the operator's shape \(6, 14\), got \(2, 6, 14\)",
        ),
        (
            lambda p: filled(em_net)(p[0], p[1], sensitivity=jnp.ones(9)),
            ValueError,
            r"sensitivity must broadcast to the operator's shape \(9, 10\), got \(9,\)",
        ),
        (lambda p: filled(em_net, ndim=3)(p[0], p[1]), ValueError, "A must act on images of 3 axes"),
    ],
)
def test_it_names_what_is_wrong(problem, call, error, message):
    with pytest.raises(error, match=message):
        call(problem)
