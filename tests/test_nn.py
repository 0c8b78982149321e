"""Networks: what they compute, what reaches their parameters, what a training step keeps in memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxct
from jaxct import checkpoint_policies, nn
from jaxct.nn._layers import double
from jaxct.reconstruct import fbp, squared_norm
from tests.networks import filled
from tests.operators import random, relative_error

BEAM = jaxct.ParallelBeam(jaxct.geometry.trajectories.circle(6, arc=jnp.pi), detector_shape=(14,))
GRID = jaxct.VolumeGrid((9, 10))
PROJECTIONS = {"jaxct_forward", "jaxct_back"}  # as primitives are called


def small_unet(ndim=2, **options):
    return nn.UNet(ndim, **{"features": (2, 4), "convs_per_level": 1, "rngs": nnx.Rngs(0), **options})


def unrolled_gradient(num_steps=2, **options):
    return nn.UnrolledGradient(num_steps, **{"features": 3, "memory": 2, "rngs": nnx.Rngs(0), **options})


def primal_dual(num_steps=2, **options):
    sizes = {"features": 3, "num_primal": 2, "num_dual": 2}
    return nn.LearnedPrimalDual(num_steps, **{**sizes, "rngs": nnx.Rngs(0), **options})


def variational(num_steps=2, **options):
    sizes = {"num_filters": 3, "filter_size": 3, "num_knots": 5}
    return nn.VariationalNetwork(num_steps, **{**sizes, "rngs": nnx.Rngs(0), **options})


every_unrolled = pytest.mark.parametrize(
    "make", [unrolled_gradient, primal_dual, variational], ids=lambda f: f.__name__
)


def projector():
    return jaxct.Projector(BEAM, GRID, model="joseph")


@functools.cache
def norm_of_projector():
    return float(jax.jit(squared_norm)(projector()))


def run(module, operator, data, norm):
    graphdef, state = nnx.split(module)
    return jax.jit(lambda s, A, d: nnx.merge(graphdef, s)(A, d, squared_norm=norm))(state, operator, data)  # noqa: N803


# The U-Net


@pytest.mark.parametrize(
    ("ndim", "size", "options"),
    [
        (2, (8, 12), {"features": (2, 3, 4)}),
        (2, (7, 5), {"features": (2, 3, 4), "skip": "concatenate", "norm": "instance"}),
        (2, (1, 2), {"in_channels": 3, "out_channels": 2, "norm": "none"}),
        (3, (5, 4, 3), {"in_channels": 2, "skip": "concatenate", "convs_per_level": 2}),
    ],
)
def test_a_unet_keeps_any_size_alone_and_in_batches(ndim, size, options):
    net = filled(small_unet, ndim, **options)
    x = random(0, (2, 3, *size, options.get("in_channels", 1)))
    graphdef, state = nnx.split(net)
    apply = lambda state, x: nnx.merge(graphdef, state)(x)  # noqa: E731
    batch, mapped, alone = jax.jit(
        lambda s, x: (apply(s, x), jax.vmap(jax.vmap(apply, (None, 0)), (None, 0))(s, x), apply(s, x[1, 2]))
    )(state, x)
    assert batch.shape == (2, 3, *size, options.get("out_channels", 1))
    assert batch.dtype == x.dtype
    for other, wanted in ((mapped, batch), (alone, batch[1, 2])):
        np.testing.assert_allclose(other, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("skip", ["add", "concatenate"])
def test_the_gradient_reaches_every_parameter_of_a_unet(skip):
    net = filled(small_unet, features=(2, 3, 4), skip=skip, convs_per_level=2)
    x, wanted = random(0, (9, 8, 1)), random(1, (9, 8, 1))
    graphdef, state = nnx.split(net)
    gradient = jax.jit(jax.grad(lambda s: jnp.mean((nnx.merge(graphdef, s)(x) - wanted) ** 2)))(state)
    smallest = {jax.tree_util.keystr(path): float(jnp.abs(leaf).max()) for path, leaf in nnx.to_flat_state(gradient)}
    assert len(smallest) == 14 * 3 + 2, "of each layer a kernel, a gain and an offset"
    assert min(smallest.values()) > 1e-6, smallest


def test_the_parameters_are_counted():
    """Per layer a kernel, a gain and an offset; the last one a kernel and a bias."""
    levels = [(1, 2), (2, 4), (4, 4), (4, 2), (2, 2)]  # first; down, its level; up; merged
    count = lambda **options: nn.num_parameters(nnx.eval_shape(lambda: small_unet(**options)))  # noqa: E731
    assert count() == sum(9 * a * b + 2 * b for a, b in levels) + 2 + 1
    levels[-1] = (4, 2)
    assert count(norm="none", skip="concatenate") == sum(9 * a * b + b for a, b in levels) + 2 + 1


@pytest.mark.parametrize("shape", [(6, 8), (5, 7), (1, 2)])
def test_up_is_linear_interpolation(shape):
    with jax.enable_x64(True):
        x = random(0, (*(-(-n // 2) for n in shape), 3))
        even = jax.image.resize(x, (2 * x.shape[0], 2 * x.shape[1], 3), "linear")
        np.testing.assert_allclose(double(x, shape), even[: shape[0], : shape[1]], rtol=1e-12)


def test_nothing_negative_after_an_activation_that_forbids_it():
    x = random(0, (6, 6, 1))
    plain, positive = (filled(small_unet, final_activation=f) for f in (None, nnx.relu))
    assert (plain(x) < 0).any()
    np.testing.assert_allclose(positive(x), np.maximum(plain(x), 0), atol=1e-6)


def test_a_unet_in_bfloat16_has_float32_around_it():
    nets = [filled(small_unet, dtype=dtype) for dtype in (jnp.bfloat16, None)]
    x = random(0, (8, 8, 1))
    half, single = (net(x) for net in nets)
    assert half.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(nets[0], nnx.Param))} == {jnp.dtype(jnp.float32)}
    # Five layers in eight bits each.
    assert 1e-4 < relative_error(half, single) < 5 * 2**-7
    convolutions = [kind for name, kind in calls(nets[0], x) if name == "conv_general_dilated"]
    assert convolutions == ["bfloat16"] * 5 + ["float32"]


def calls(function, *args):
    """Every primitive that is bound, with the type of what it returns, in order."""
    jaxpr = jax.make_jaxpr(function)(*args).jaxpr
    return [found for equation in jaxpr.eqns for found in _calls(equation)]


def _calls(equation):
    yield from ((equation.primitive.name, str(out.aval.dtype)) for out in equation.outvars)
    for value in jax.tree.leaves(equation.params):
        jaxpr = getattr(value, "jaxpr", value)
        for inner in getattr(jaxpr, "eqns", ()):
            yield from _calls(inner)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: small_unet(4), ValueError, "ndim must be 2 or 3, got 4"),
        (lambda: small_unet(features=(2, 0)), ValueError, "features must be a positive integer, got 0"),
        (lambda: small_unet(features=()), ValueError, "features .* got none"),
        (lambda: small_unet(skip="sum"), ValueError, "skip must be one of 'add', 'concatenate', got 'sum'"),
        (lambda: small_unet(norm=None), TypeError, "norm must be one of .* got None"),
        (lambda: filled(small_unet)(jnp.ones((8, 8))), ValueError, r"x must have shape \(..., y, x, 1\), got \(8, 8\)"),
        (lambda: filled(small_unet, 3)(jnp.ones((4, 4, 4, 2))), ValueError, r"z, y, x, 1\), got \(4, 4, 4, 2\)"),
        (
            lambda: filled(small_unet, norm="instance")(jnp.ones((2, 1, 1))),
            ValueError,
            r"more than 2 voxels .* \(2, 1, 1\)",
        ),
    ],
)
def test_a_unet_names_what_is_wrong(make, error, message):
    with pytest.raises(error, match=message):
        make()


# The learned filter


def test_a_learned_filter_starts_at_a_ramp():
    sampled, discrete = (nn.LearnedFilter(14, init=init) for init in ("sampled_ramp", "discrete_ramp"))
    np.testing.assert_allclose(sampled(), np.arange(16) / 30, rtol=1e-6)
    np.testing.assert_array_equal(discrete(), jaxct.filters.ramp_response(14))
    curved = nn.LearnedFilter(14, init="discrete_ramp", fan_step=0.05)
    np.testing.assert_array_equal(curved(), jaxct.filters.ramp_response(14, fan_step=0.05))
    sinogram = random(0, BEAM.projection_shape)
    np.testing.assert_allclose(fbp(sinogram, BEAM, GRID, window=discrete()), fbp(sinogram, BEAM, GRID), atol=1e-6)
    assert nn.num_parameters(discrete) == 16


def test_a_filter_is_learned_through_fbp():
    """Images of the discrete ramp: from the sampled one it gets there. (FBP is linear in the filter's lags.)"""
    sinograms = random(0, (4, *BEAM.projection_shape))
    discrete, learned = nn.LearnedFilter(14, init="discrete_ramp"), nn.LearnedFilter(14)
    graphdef, state = nnx.split(learned)
    apply = jax.vmap(lambda window, s: fbp(s, BEAM, GRID, window=window), (None, 0))
    difference = lambda s: (apply(nnx.merge(graphdef, s)(), sinograms) - apply(discrete(), sinograms)).ravel()  # noqa: E731
    (jacobian,) = jax.tree.leaves(jax.jit(jax.jacfwd(difference))(state))
    step, *_ = np.linalg.lstsq(np.asarray(jacobian), -np.asarray(difference(state)), rcond=1e-4)
    lags = lambda f: np.fft.irfft(f())[:14]  # noqa: E731
    assert np.abs(lags(learned) - lags(discrete)).max() > 3e-4
    learned.response[...] += step
    np.testing.assert_allclose(lags(learned), lags(discrete), atol=1e-5)


def test_a_positive_filter_stays_so_and_leaves_zero():
    positive = nn.LearnedFilter(14, positive=True)
    np.testing.assert_array_equal(positive(), nn.LearnedFilter(14)())
    gradient = nnx.grad(lambda f: jnp.sum(f()))(positive)
    np.testing.assert_array_equal(gradient["response"][...], 1)
    positive.response[...] = positive.response[...] - 0.2
    assert (positive() >= 0).all()
    np.testing.assert_allclose(positive(), np.abs(np.arange(16) / 30 - 0.2), atol=1e-6)


def test_roughness_is_that_of_second_differences():
    assert float(nn.LearnedFilter(14).roughness()) < 1e-14
    bent = nn.LearnedFilter(14)
    bent.response[...] = jnp.arange(16.0) ** 2
    assert float(bent.roughness()) == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_cols": 0}, ValueError, "num_cols must be a positive integer, got 0"),
        (
            {"num_cols": 4, "init": "ramp"},
            ValueError,
            "init must be one of 'sampled_ramp', 'discrete_ramp', got 'ramp'",
        ),
        (
            {"num_cols": 4, "fan_step": 0.1},
            ValueError,
            "fan_step belongs to init='discrete_ramp', got .*'sampled_ramp'",
        ),
    ],
)
def test_a_learned_filter_names_what_is_wrong(options, error, message):
    with pytest.raises(error, match=message):
        nn.LearnedFilter(**options)


# Unrolled networks


@every_unrolled
def test_vmap_gives_what_one_scan_after_the_other_gives(make):
    net, A, data = filled(make), projector(), random(1, (3, *BEAM.projection_shape))  # noqa: N806
    graphdef, state = nnx.split(net)
    apply = jax.jit(lambda s, A, d: nnx.merge(graphdef, s)(A, d, squared_norm=40.0))  # noqa: N803
    mapped = jax.jit(jax.vmap(apply, (None, None, 0)))(state, A, data)
    assert mapped.shape == (3, *GRID.shape)
    assert mapped.dtype == jnp.float32
    for got, one in zip(mapped, data, strict=True):
        np.testing.assert_allclose(got, apply(state, A, one), rtol=1e-4, atol=1e-5)


@every_unrolled
def test_gradients_are_those_of_finite_differences_recomputed_or_not(make):
    """In all parameters, the data and the operator's angles, along one direction."""
    with jax.enable_x64(True):
        angles = jaxct.geometry.trajectories.circle(5, arc=jnp.pi) + 0.1
        plain, recomputed = (nnx.split(filled(make, param_dtype=jnp.float64, remat=r)) for r in (False, True))
        at = plain[1], random(2, (5, 11)), angles
        ways = jax.tree.map(lambda leaf: random(leaf.size, leaf.shape), at)

        def loss(at, graphdef):
            state, data, angles = at
            beam = jaxct.ParallelBeam(angles, detector_shape=(11,), pixel_size=1.17)
            A = jaxct.Projector(beam, jaxct.VolumeGrid((6, 7)), model="joseph")  # noqa: N806
            return jnp.mean(jnp.sin(nnx.merge(graphdef, state)(A, data, squared_norm=20.0)))

        @jax.jit
        def both(at, ways):
            steps = jnp.array([1e-6, -1e-6])
            values = jax.lax.map(lambda t: loss(jax.tree.map(lambda a, w: a + t * w, at, ways), plain[0]), steps)
            gradients = [jax.grad(loss)(at, graphdef) for graphdef in (plain[0], recomputed[0])]
            return (values[0] - values[1]) / 2e-6, *gradients

        slope, gradient, again = both(at, ways)
        assert min(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient)) > 1e-7
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-14), again, gradient)
        products = jax.tree.leaves(jax.tree.map(jnp.vdot, gradient, ways))
        assert float(sum(products)) == pytest.approx(float(slope), rel=1e-6)


@every_unrolled
def test_a_policy_spares_projecting_again(make):
    A, data = projector(), random(1, BEAM.projection_shape)  # noqa: N806

    def count(**options):
        graphdef, state = nnx.split(filled(make, **options))
        loss = jax.grad(lambda s: jnp.sum(nnx.merge(graphdef, s)(A, data, squared_norm=40.0) ** 2))
        return sum(name in PROJECTIONS for name, _ in calls(loss, state))

    kept = count(policy=checkpoint_policies.save_projections)
    assert kept == count(remat=False) == 4, "one pair forward, and its transposes"
    assert count() > kept


@every_unrolled
def test_a_few_steps_of_training_lower_the_loss(make):
    A = projector()  # noqa: N806
    images = jnp.asarray(np.random.default_rng(0).uniform(size=(4, *GRID.shape)), jnp.float32)
    data, norm = jax.vmap(A)(images), norm_of_projector()
    net = nnx.jit(make)()
    optimizer = nnx.Optimizer(net, optax.adam(1e-2), wrt=nnx.Param)

    @nnx.jit
    def step(net, optimizer, A):  # noqa: N803
        def loss(net):
            found = jax.vmap(lambda d: net(A, d, squared_norm=norm))(data)
            return jnp.mean((found - images) ** 2)

        value, gradients = nnx.value_and_grad(loss)(net)
        optimizer.update(net, gradients)
        return value

    losses = [float(step(net, optimizer, A)) for _ in range(100)]
    assert losses[-1] < 0.8 * losses[0]


@every_unrolled
def test_a_step_leaves_to_the_gradient_what_it_started_from(make):
    """Images and sinograms of every step: those alone that go from one to the next."""
    A, data = projector(), jnp.ones(BEAM.projection_shape)  # noqa: N806

    def channels(num_steps, **options):
        graphdef, state = nnx.split(filled(make, num_steps, **options))
        loss = lambda s: jnp.sum(nnx.merge(graphdef, s)(A, data, squared_norm=40.0) ** 2)  # noqa: E731
        kept = [leaf.shape for leaf in jax.tree.leaves(jax.eval_shape(lambda s: jax.vjp(loss, s)[1], state))]
        assert all(shape[0] == num_steps for shape in kept if GRID.shape == shape[1:3])
        totals.append(sum(int(np.prod(shape)) for shape in kept))
        return {space: sum(int(np.prod(s[3:])) for s in kept if space == s[1:3]) for space in spaces}

    spaces, totals = (GRID.shape, BEAM.projection_shape), []
    carried = {unrolled_gradient: (3, 0), primal_dual: (2, 2), variational: (1, 0)}[make]
    assert channels(2) == channels(8) == dict(zip(spaces, carried, strict=True))
    channels(8, remat=False)
    assert totals[2] > 2 * totals[1]


def test_memory_of_a_compiled_training_step_hardly_grows_with_the_steps():
    A = jaxct.Projector(BEAM, jaxct.VolumeGrid((32, 32)), model="joseph")  # noqa: N806

    def needed(num_steps, **options):
        graphdef, state = nnx.split(filled(unrolled_gradient, num_steps, features=12, **options))
        loss = lambda s, A, d: jnp.sum(nnx.merge(graphdef, s)(A, d, squared_norm=40.0) ** 2)  # noqa: E731, N803
        compiled = jax.jit(jax.grad(loss)).lower(state, A, jnp.ones(BEAM.projection_shape)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    image = 4 * 32 * 32
    few, many = needed(2), needed(8)
    assert many - few < 6 * 4 * image, "x and two channels of memory, with a little to spare"
    assert needed(8, remat=False) > 2 * many


@every_unrolled
def test_units_of_the_operator_do_not_matter(make):
    """The same rays in cm, say, with data to match."""
    net, A, data = filled(make), projector(), random(1, BEAM.projection_shape)  # noqa: N806
    in_cm = jaxct.Projector(
        jaxct.ParallelBeam(BEAM.angles, detector_shape=(14,), pixel_size=0.1),
        jaxct.VolumeGrid(GRID.shape, voxel_size=0.1),
        model="joseph",
    )
    wanted = run(net, A, data, 40.0)
    assert relative_error(run(net, in_cm, 0.1 * data, 0.4), wanted) < 1e-4


@every_unrolled
def test_projections_stay_in_float32_where_the_network_is_in_bfloat16(make):
    half, single = (filled(make, dtype=dtype) for dtype in (jnp.bfloat16, None))
    A, data = projector(), random(1, BEAM.projection_shape)  # noqa: N806
    got, wanted = run(half, A, data, 40.0), run(single, A, data, 40.0)
    assert got.dtype == jnp.float32
    assert 1e-5 < relative_error(got, wanted) < 0.05
    graphdef, state = nnx.split(half)
    found = calls(lambda s: nnx.merge(graphdef, s)(A, data, squared_norm=40.0), state)
    assert {kind for name, kind in found if name == "conv_general_dilated"} == {"bfloat16"}
    assert {kind for name, kind in found if name in PROJECTIONS} == {"float32"}


def test_an_untrained_unrolled_gradient_is_gradient_descent():
    A, data, x = projector(), random(1, BEAM.projection_shape), random(2, GRID.shape)  # noqa: N806
    wanted = x
    for _ in range(3):
        wanted = wanted - A.T(A(wanted) - data) / 40
    for options in ({}, {"shared": True, "memory": 0}):
        got = nnx.jit(lambda o=options: unrolled_gradient(3, **o)(A, data, x, squared_norm=40.0))()
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_steps_share_their_weights_where_asked_to():
    one, shared, separate = (
        filled(unrolled_gradient, count, shared=sharing) for count, sharing in ((1, False), (5, True), (5, False))
    )
    assert nn.num_parameters(shared) == nn.num_parameters(one)
    assert nn.num_parameters(separate) == 5 * nn.num_parameters(one)
    A, data = projector(), random(1, BEAM.projection_shape)  # noqa: N806
    nnx.update(separate, jax.tree.map(lambda leaf: jnp.stack([leaf] * 5), nnx.state(shared)))
    np.testing.assert_allclose(run(shared, A, data, 40.0), run(separate, A, data, 40.0), rtol=1e-5, atol=1e-6)


def test_every_step_has_a_start_of_its_own():
    kernel = nnx.jit(unrolled_gradient)().steps.correction.hidden[0].kernel[...]
    assert np.abs(kernel[0] - kernel[1]).max() > 0.01


def steps_of(module):
    graphdef, state = nnx.split(module.steps)
    count = jax.tree.leaves(state)[0].shape[0]
    return [nnx.merge(graphdef, jax.tree.map(lambda leaf, k=k: leaf[k], state)) for k in range(count)]


def test_unrolled_gradient_follows_its_formula():
    net, A, data = filled(unrolled_gradient), projector(), random(1, BEAM.projection_shape)  # noqa: N806
    x, memory = jnp.zeros(GRID.shape), jnp.zeros((*GRID.shape, 2))
    for step in steps_of(net):
        gradient = A.T(A(x) - data) / 40
        out = step.correction(jnp.concatenate([x[..., None], gradient[..., None], memory], -1))
        x, memory = x - step.size[...] * gradient + out[..., 0], out[..., 1:]
    np.testing.assert_allclose(run(net, A, data, 40.0), x, rtol=1e-4, atol=1e-5)


def test_learned_primal_dual_follows_its_formula():
    net, A, data = filled(primal_dual), projector(), random(1, BEAM.projection_shape)  # noqa: N806
    f, h, norm = jnp.zeros((*GRID.shape, 2)), jnp.zeros((*BEAM.projection_shape, 2)), np.sqrt(40.0)
    for step in steps_of(net):
        h = h + step.dual(jnp.concatenate([h, jnp.stack([A(f[..., 1]), data], -1) / norm], -1))
        f = f + step.primal(jnp.concatenate([f, A.T(h[..., 0])[..., None] / norm], -1))
    np.testing.assert_allclose(run(net, A, data, 40.0), f[..., 0], rtol=1e-4, atol=1e-5)


def test_the_regulariser_of_a_variational_network_is_a_gradient():
    """Its Jacobian is symmetric, as that of a filter with its exact transpose about an activation is."""
    with jax.enable_x64(True):
        (step, _) = steps_of(filled(variational, param_dtype=jnp.float64))
        x = random(0, (4, 5))
        jacobian = np.asarray(jax.jacrev(step)(x)).reshape(20, 20)
        assert np.abs(jacobian).max() > 0.01
        np.testing.assert_allclose(jacobian, jacobian.T, atol=1e-14)
        np.testing.assert_allclose(step(x)[1, 2], by_definition(step, np.asarray(x))[1, 2], rtol=1e-10)


def by_definition(step, x):
    """Correlation with every filter, the sum of Gaussians, and the transpose, voxel by voxel."""
    filters, weights = np.asarray(step.filters[...])[:, 0], np.asarray(step.weights[...])
    knots, total = np.linspace(-1, 1, 5), np.zeros_like(x)
    for i, kernel in enumerate(filters):
        kernel = (kernel - kernel.mean()) / np.linalg.norm(kernel - kernel.mean())
        for place in np.ndindex(*x.shape):
            near = [(tuple(np.add(place, np.subtract(offset, 1))), kernel[offset]) for offset in np.ndindex(3, 3)]
            near = [(p, k) for p, k in near if all(0 <= c < n for c, n in zip(p, x.shape, strict=True))]
            response = sum(k * x[p] for p, k in near)
            activated = weights[:, i] @ np.exp(-0.5 * ((response - knots) / 0.5) ** 2)
            for p, k in near:
                total[p] += k * activated / len(filters)
    return total


def test_unrolled_networks_of_volumes():
    grid = jaxct.VolumeGrid((4, 6, 5))
    beam = jaxct.ConeBeam(
        jaxct.geometry.trajectories.circle(3),
        source_origin_distance=30.0,
        source_detector_distance=40.0,
        detector_shape=(5, 7),
        pixel_size=1.4,
    )
    A = jaxct.Projector(beam, grid)  # noqa: N806
    for make in (unrolled_gradient, primal_dual, variational):
        found = run(filled(make, 1, ndim=3), A, random(0, beam.projection_shape), 20.0)
        assert found.shape == grid.shape
        assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: unrolled_gradient(0), ValueError, "num_steps must be a positive integer, got 0"),
        (lambda: unrolled_gradient(memory=-1), ValueError, "memory must be 0 or more, got -1"),
        (lambda: primal_dual(num_dual=0), ValueError, "num_dual must be a positive integer, got 0"),
        (lambda: variational(filter_size=4), ValueError, "filter_size must be odd and above 1, got 4"),
        (lambda: variational(num_knots=1), ValueError, "num_knots must be 2 or more, got 1"),
        (lambda: variational(value_range=0.0), ValueError, "value_range .*positive.* 0"),
        (
            lambda: filled(primal_dual)(projector(), jnp.ones((2, *BEAM.projection_shape)), squared_norm=1.0),
            ValueError,
            r"data must have the operator's shape \(6, 14\), got \(2, 6, 14\); batches are jax.vmap's",
        ),
        (
            lambda: filled(variational)(
                projector(), jnp.ones(BEAM.projection_shape), jnp.ones((3, 3)), squared_norm=1.0
            ),
            ValueError,
            r"x must have the operator's shape \(9, 10\), got \(3, 3\)",
        ),
        (
            lambda: filled(unrolled_gradient, ndim=3)(projector(), jnp.ones(BEAM.projection_shape), squared_norm=1.0),
            ValueError,
            r"A must act on images of 3 axes, got one for images of shape \(9, 10\)",
        ),
    ],
)
def test_an_unrolled_network_names_what_is_wrong(call, error, message):
    with pytest.raises(error, match=message):
        call()
