"""What tests/test_sharding.py runs where there are several devices: sharded projectors do what one device does.

``python -m tests.sharding_script`` needs four devices, host devices will do. ``python -m tests.sharding_script ADDRESS
PROCESS`` is one of two processes, a device each, that meet at ADDRESS.
"""

import inspect
import re
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.multihost_utils import process_allgather
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxct
from jaxct.reconstruct import cgls, sirt
from jaxct.sharding import ShardedProjector
from tests.geometries import CASES
from tests.operators import random, relative_error

TOLERANCE = 1e-5

# Devices along (views, slabs).
VIEWS, SLABS, BOTH = (2, 1), (1, 2), (2, 2)
SET_UPS = [
    ("parallel_3d", BOTH, "joseph"),
    ("cone_flat", SLABS, "joseph"),
    ("cone_flat_per_view", VIEWS, "separable_footprint"),
    ("cone_curved", BOTH, "separable_footprint"),
    ("helix_flat", BOTH, "separable_footprint"),
    ("laminography_steep", BOTH, "joseph"),
    ("fan_curved_per_view", (4, 1), "separable_footprint"),
]


def set_up(name):
    """Geometry and grid of a case, with an even number of slices, and a volume and projections of either sign."""
    geometry, grid = next(case for case in CASES if case.name == name)()
    if grid.ndim == 3:
        grid = jaxct.VolumeGrid((8, *grid.shape[1:]), grid.voxel_size, grid.center)
    return geometry, grid, random(1, grid.shape), random(2, geometry.projection_shape)


def mesh_of(shape, names=("views", "slabs")):
    return Mesh(np.array(jax.devices()[: np.prod(shape)]).reshape(shape), names)


def sharded(shape, **options):
    """The constructor of projectors on a mesh of that shape."""
    views, slabs = (name if size > 1 else None for name, size in zip(("views", "slabs"), shape, strict=True))
    return partial(ShardedProjector, mesh=mesh_of(shape), views=views, slabs=slabs, **options)


def place(A, x, y):  # noqa: N803
    """A volume and projections, each process giving its part."""
    wanted = ((x, A.volume_sharding), (y, A.projections_sharding))
    return [jax.make_array_from_callback(a.shape, sharding, np.asarray(a).__getitem__) for a, sharding in wanted]


def fetch(array):
    return np.asarray(array) if array.is_fully_addressable else process_allgather(array, tiled=True)


def check_close(got, wanted, *what):
    """All leaves of two trees agree in the Euclidean norm."""
    errors = [relative_error(fetch(a), b) for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True)]
    assert max(errors) < TOLERANCE, (what, errors)


def everything(construct):
    """A x, A^T y, the derivative of A x along ``dots`` and the gradient of <y, A x>, in geometry, grid and volume."""

    def run(geometry, grid, x, y, dots):
        forward = lambda geometry, grid, x: construct(geometry, grid)(x)  # noqa: E731
        projections, gradient = jax.vjp(forward, geometry, grid, x)
        return (
            projections,
            construct(geometry, grid).T(y),
            jax.jvp(forward, (geometry, grid, x), dots)[1],
            gradient(y),
        )

    return jax.jit(run)


def check_values_and_derivatives(name, shape, model):
    geometry, grid, x, y = set_up(name)
    arguments = (geometry, grid, x)
    dots = jax.tree.map(lambda leaf: random(leaf.size, leaf.shape), arguments)
    wanted = everything(partial(jaxct.Projector, model=model))(*arguments, y, dots)
    construct = sharded(shape, model=model)
    x, y = place(construct(geometry, grid), x, y)
    check_close(everything(construct)(geometry, grid, x, y, dots), wanted, name, shape, model)


def check_values(name, shape, model):
    geometry, grid, x, y = set_up(name)
    A, alone = sharded(shape, model=model)(geometry, grid), jaxct.Projector(geometry, grid, model=model)  # noqa: N806
    check_close((A(x), A.T(y)), (alone(x), alone.T(y)), name, shape, model)


def check_reconstructions(name, shape, algorithms):
    """Also of a projector that knows nothing of devices, from data that lie on several."""
    geometry, grid, x, y = set_up(name)
    alone, A = jaxct.Projector(geometry, grid), sharded(shape)(geometry, grid)  # noqa: N806
    _, data = place(A, x, y)
    for algorithm in algorithms:
        got, wanted = algorithm(A, data, num_iters=4), algorithm(alone, y, num_iters=4)
        assert got.volume.sharding.is_equivalent_to(A.volume_sharding, grid.ndim)
        check_close((got, algorithm(alone, data, num_iters=4)), (wanted, wanted), name, shape, algorithm)


def check_every_algorithm():
    """From views that lie on several devices: left to XLA, and with a projector that says who does what."""
    from tests.solvers import SOLVERS  # has arrays, which two processes may not have before they have met

    geometry, grid, x, _ = set_up("fan_curved_per_view")
    alone, A = jaxct.Projector(geometry, grid), sharded((4, 1))(geometry, grid)  # noqa: N806
    y = alone(jnp.abs(x)) + 0.1
    data = jax.device_put(y, A.projections_sharding)
    for solve in SOLVERS:
        wanted = solve(alone, y, num_iters=2)
        check_close(solve(alone, data, num_iters=2), wanted, solve)
        if not {"num_subsets", "order"} & inspect.signature(solve.run).parameters.keys():
            check_close(solve(A, data, num_iters=2), wanted, solve)


def exchanges(compiled):
    """What the devices exchange in a compiled program, by kind."""
    return re.findall(r" (all-gather|all-reduce|all-to-all|collective-permute)(?:-start)?\(", compiled.as_text())


def collectives(function, *arguments):
    return exchanges(jax.jit(function).lower(*arguments).compile())


def check_communication():
    """Sums over the devices that share a result, and nothing else."""
    geometry, grid, x, y = set_up("cone_flat")
    forward, back = (lambda operator, volume: operator(volume)), (lambda operator, data: operator.T(data))
    gradient = jax.grad(lambda volume, operator, data: 0.5 * jnp.sum((operator(volume) - data) ** 2))
    for shape, sums_forward, sums_back in ((VIEWS, 0, 1), (SLABS, 1, 0), (BOTH, 1, 1)):
        A = sharded(shape)(geometry, grid)  # noqa: N806
        volume, data = place(A, x, y)
        assert collectives(forward, A, volume) == ["all-reduce"] * sums_forward
        assert collectives(back, A, data) == ["all-reduce"] * sums_back
        assert collectives(gradient, volume, A, data) == ["all-reduce"] * (sums_forward + sums_back)
        assert A(volume).sharding.is_equivalent_to(A.projections_sharding, 3)
        assert A.T(data).sharding.is_equivalent_to(A.volume_sharding, 3)
    assert set(collectives(partial(cgls, num_iters=3), A, data)) == {"all-reduce"}


def check_batches():
    """A batch over a mesh axis of its own, and without one."""
    geometry, grid, x, y = set_up("cone_flat")
    mesh = mesh_of((2, 2), ("batch", "views"))
    alone, A = jaxct.Projector(geometry, grid), ShardedProjector(geometry, grid, mesh)  # noqa: N806
    xs, ys = (jnp.stack([a, 2 * a[::-1]]) for a in (x, y))
    volumes = jax.device_put(xs, NamedSharding(mesh, P("batch")))
    projections = jax.device_put(ys, NamedSharding(mesh, P("batch", "views")))
    for options in ({}, {"spmd_axis_name": "batch"}):
        check_close(jax.jit(jax.vmap(A, **options))(volumes), jax.vmap(alone)(xs), options)
        check_close(jax.jit(jax.vmap(A.T, **options))(projections), jax.vmap(alone.T)(ys), options)
    assert collectives(jax.vmap(A, spmd_axis_name="batch"), volumes) == []
    assert collectives(jax.vmap(A.T, spmd_axis_name="batch"), projections) == ["all-reduce"]
    # shard_map over the batch alone, each device with a projector of its own.
    each = jax.shard_map(jax.vmap(alone), mesh=mesh, in_specs=P("batch"), out_specs=P("batch"))
    check_close(jax.jit(each)(volumes), jax.vmap(alone)(xs), "shard_map")
    assert collectives(each, volumes) == []


def check_plain_jit(name, model):
    """The public functions, told nothing: XLA splits what is sharded, and adds up what is shared."""
    geometry, grid, x, y = set_up(name)
    arguments = (geometry, grid, x)
    dots = jax.tree.map(lambda leaf: random(leaf.size, leaf.shape), arguments)
    run = everything(partial(jaxct.Projector, model=model))
    wanted = run(*arguments, y, dots)
    for shape in (VIEWS, SLABS, BOTH):
        volume, data = place(sharded(shape)(geometry, grid), x, y)
        compiled = run.lower(geometry, grid, volume, data, dots).compile()
        check_close(compiled(geometry, grid, volume, data, dots), wanted, name, model, shape)
        assert set(exchanges(compiled)) == {"all-reduce"}


def check_communication_of_plain_jit():
    geometry, grid, x, y = set_up("cone_flat")
    A = jaxct.Projector(geometry, grid)  # noqa: N806
    gradient = jax.grad(lambda x, y: 0.5 * jnp.sum((A(x) - y) ** 2))
    for shape, forward, back in ((VIEWS, 0, 1), (SLABS, 1, 0), (BOTH, 1, 1)):
        volume, data = place(sharded(shape)(geometry, grid), x, y)
        assert collectives(A, volume) == ["all-reduce"] * forward
        assert collectives(A.T, data) == ["all-reduce"] * back
        assert collectives(gradient, volume, data) == ["all-reduce"] * (forward + back)
    assert set(collectives(partial(cgls, A, num_iters=3), data)) == {"all-reduce"}
    batch = jax.device_put(jnp.stack([x, 2 * x]), NamedSharding(mesh_of(VIEWS), P("views")))
    assert collectives(jax.vmap(A), batch) == []
    check_close(jax.jit(jax.vmap(A))(batch), [jnp.stack([A(x), A(2 * x)])])


def check_where_plain_jit_splits_otherwise_or_not():
    """Right values, whatever the sharding: subsets of views, slices that do not divide evenly, rows, one axis twice."""
    geometry, grid, x, y = set_up("cone_flat")
    A, mesh = jaxct.Projector(geometry, grid), mesh_of((4,), ("four",))  # noqa: N806
    on = lambda *axes: NamedSharding(mesh, P(*axes))  # noqa: E731
    half = lambda y: jaxct.back_project(y.reshape(2, 2, *y.shape[1:])[1], geometry[2:], grid)  # noqa: E731
    check_close(jax.jit(half)(jax.device_put(y, on("four"))), half(y), "subset")
    odd = jaxct.VolumeGrid((7, 8, 9))
    constrained = lambda x: jax.lax.with_sharding_constraint(x, on("four"))  # noqa: E731
    uneven = lambda x: jaxct.forward_project(constrained(x), geometry, odd)  # noqa: E731
    check_close(jax.jit(uneven)(x[:7]), jaxct.forward_project(x[:7], geometry, odd), "uneven")
    check_close(A(jax.device_put(x, on(None, "four"))), A(x), "y")
    again = jax.jit(lambda y: constrained(A.T(y)))
    check_close(again(jax.device_put(y, on("four"))), A.T(y), "one axis for views and slices")
    image, wide = x.astype(jnp.bfloat16), jax.device_put(x.astype(jnp.bfloat16), on("four"))
    assert relative_error(A(wide), A(image)) < 1e-3


def check_plain_jit_on_explicit_axes():
    geometry, grid, x, y = set_up("cone_flat")
    mesh, gradient = jax.make_mesh((4,), ("four",)), jax.grad(lambda x, y: jnp.sum((A(x) - y) ** 2))
    A, on = jaxct.Projector(geometry, grid), NamedSharding(mesh, P("four"))  # noqa: N806
    got = jax.jit(gradient)(jax.device_put(x, on), jax.device_put(y, on))
    assert jax.typeof(got).sharding.spec == jax.typeof(jax.device_put(x, on)).sharding.spec
    check_close(got, gradient(x, y))


def check_programs_that_are_left_as_they_are():
    """One device of several, and what runs under ``shard_map``: nothing there for XLA to split."""
    geometry, grid, _, y = set_up("cone_flat")
    A = sharded(BOTH)(geometry, grid)  # noqa: N806
    for function in (jaxct.Projector(geometry, grid).T, A.T):
        text = jax.jit(function).lower(y).as_text()
        assert "jaxct_separable_footprint_back" in text
        assert "CustomSPMDPartitioning" not in text


def check_shard_map_by_hand():
    """The public functions inside ``shard_map``, the geometry's leaves split by the caller."""
    geometry, grid, x, y = set_up("helix_flat")
    split = lambda tree: jax.tree.map(lambda leaf: P("views") if leaf.shape[:1] == (4,) else P(), tree)  # noqa: E731
    forward = jax.shard_map(
        lambda x, geometry: jaxct.forward_project(x, geometry, grid),
        mesh=mesh_of((4,), ("views",)),
        in_specs=(P(), split(geometry)),
        out_specs=P("views"),
    )
    misfit = lambda project: lambda x, g: jnp.sum((project(x, g) - y) ** 2)  # noqa: E731
    alone = partial(jaxct.forward_project, grid=grid)
    check_close(jax.jit(forward)(x, geometry), alone(x, geometry))
    for transform in (jax.grad, jax.jacfwd):
        got = jax.jit(transform(misfit(forward), 1))(x, geometry)
        check_close(got, jax.jit(transform(misfit(alone), 1))(x, geometry), transform)


def check_half_precision():
    """Widened before the sum over devices and rounded once: as near to the truth as one device is."""
    geometry, grid, x, _ = set_up("cone_flat")
    x = x.astype(jnp.bfloat16)
    got, alone = sharded(SLABS)(geometry, grid)(x), jaxct.Projector(geometry, grid)(x)
    assert got.dtype == jnp.bfloat16
    assert relative_error(got, alone) < 1e-3


def check_mesh_of_explicit_axes():
    geometry, grid, x, _ = set_up("cone_flat")
    mesh = jax.make_mesh((2, 2), ("views", "slabs"))
    A = ShardedProjector(geometry, grid, mesh, slabs="slabs")  # noqa: N806
    check_close(A(jax.device_put(x, A.volume_sharding)), jaxct.Projector(geometry, grid)(x))


def check_uneven_parts():
    geometry, grid, *_ = set_up("cone_flat")
    for shape, wanted in (
        ((3, 1), "geometry.num_views must be a multiple .* along views='views', 3, got 4"),
        ((1, 3), r"grid.shape\[0\] must be a multiple .* along slabs='slabs', 3, got 8"),
    ):
        with pytest.raises(ValueError, match=wanted):
            sharded(shape)(geometry, grid)


def on_four_devices():
    assert jax.device_count() == 4
    for name, shape, model in SET_UPS:
        check_values_and_derivatives(name, shape, model)
    for model in ("siddon", "distance_driven"):
        check_values("cone_flat", BOTH, model)
    check_reconstructions("cone_flat", BOTH, (cgls, partial(sirt, lower=0.0)))
    check_every_algorithm()
    check_communication()
    check_batches()
    check_plain_jit("cone_flat_per_view", "joseph")
    check_communication_of_plain_jit()
    check_where_plain_jit_splits_otherwise_or_not()
    check_plain_jit_on_explicit_axes()
    check_programs_that_are_left_as_they_are()
    check_shard_map_by_hand()
    check_half_precision()
    check_mesh_of_explicit_axes()
    check_uneven_parts()


def on_two_processes(address, process):
    jax.distributed.initialize(address, 2, process, initialization_timeout=60)
    assert (jax.process_count(), jax.device_count(), jax.local_device_count()) == (2, 2, 1)
    for shape in (VIEWS, SLABS):
        check_values_and_derivatives("cone_flat", shape, "separable_footprint")
    check_reconstructions("cone_flat", VIEWS, (cgls,))
    check_reconstructions("cone_flat", SLABS, (cgls,))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        on_four_devices()
    else:
        on_two_processes(sys.argv[1], int(sys.argv[2]))
    print("same")
