"""Implicit derivatives are those of the solution, in the operator's geometry, too, and keep no iterates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from jaxct.reconstruct.implicit import fixed_point, solve_normal_equations
from jaxct.reconstruct.pdhg import pdhg
from tests.matrix import COLS, ROWS, Matrix
from tests.test_pdhg import options, problem  # noqa: F401


def normals(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def difference_quotient(f, h=1e-5):
    return (f(h) - f(-h)) / (2 * h)


def stacks(f, *arguments):
    """First extents of all arrays with more than one axis that are computed or kept anywhere in a function."""
    seen, todo = set(), [jax.make_jaxpr(f)(*arguments).jaxpr]
    while todo:
        jaxpr = todo.pop()
        for equation in jaxpr.eqns:
            for variable in equation.outvars:
                seen.update(variable.aval.shape[:1] if len(variable.aval.shape) > 1 else ())
            for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
                inner = getattr(value, "jaxpr", value)
                if hasattr(inner, "eqns"):
                    todo.append(inner)
    return seen


def contraction(state, operands):
    matrix, shift = operands["matrix"], operands["shift"]
    return {"x": jnp.tanh(matrix @ state["x"] + shift), "y": 0.5 * state["y"] + jnp.sum(state["x"] ** 2)}


@pytest.fixture
def contracting():
    matrix = normals(0, 5, 5)
    return {"matrix": 0.6 * matrix / np.linalg.norm(matrix, 2), "shift": normals(1, 5), "count": 3}


START = {"x": np.zeros(5), "y": 0.0}


def test_a_fixed_points_derivative_is_that_of_the_unrolled_iteration_and_of_difference_quotients(contracting):
    direction = {"matrix": normals(2, 5, 5), "shift": normals(3, 5), "count": 0}

    def result(solve, t):
        operands = jax.tree.map(lambda a, b: a + t * b if isinstance(a, np.ndarray) else a, contracting, direction)
        state = solve(operands)
        return jnp.vdot(jnp.arange(5.0), state["x"]) + state["y"] ** 2

    def unrolled(operands):
        start = jax.tree.map(jnp.asarray, START)
        return jax.lax.scan(lambda s, _: (contraction(s, operands), None), start, length=100)[0]

    with jax.enable_x64(True):
        implicit = lambda operands: fixed_point(contraction, START, operands, num_iters=100)  # noqa: E731
        slope = jax.jit(jax.grad(lambda t: result(implicit, t)))(0.0)
        np.testing.assert_allclose(slope, jax.grad(lambda t: result(unrolled, t))(0.0), rtol=1e-11)
        np.testing.assert_allclose(slope, difference_quotient(lambda t: result(implicit, t), 1e-6), rtol=1e-8)


def test_a_linear_fixed_points_derivative_is_the_inverse(contracting):
    matrix = contracting["matrix"]
    with jax.enable_x64(True):
        solve = lambda b: fixed_point(lambda z, o: matrix @ z + o, np.zeros(5), b, num_iters=80)  # noqa: E731
        jacobian = jax.jacrev(solve)(jnp.asarray(normals(1, 5)))
        np.testing.assert_allclose(jacobian, np.linalg.inv(np.eye(5) - matrix), rtol=1e-10)


def test_a_fixed_point_that_was_found_otherwise_is_returned_as_it_is(contracting):
    matrix, shift = contracting["matrix"], contracting["shift"]
    with jax.enable_x64(True):
        found = np.linalg.solve(np.eye(5) - matrix, shift)
        solve = lambda b: fixed_point(lambda z, o: matrix @ z + o, found, b, num_iters=0, adjoint_iters=80)  # noqa: E731
        np.testing.assert_array_equal(solve(shift), found)
        np.testing.assert_allclose(jax.jacrev(solve)(shift), np.linalg.inv(np.eye(5) - matrix), rtol=1e-10)


def test_fewer_adjoint_steps_are_a_shorter_neumann_series(contracting):
    matrix = contracting["matrix"]
    with jax.enable_x64(True):
        for adjoint_iters in range(4):
            solve = lambda b, n=adjoint_iters: fixed_point(  # noqa: E731
                lambda z, o: matrix @ z + o, np.zeros(5), b, num_iters=80, adjoint_iters=n
            )
            series = sum(np.linalg.matrix_power(matrix, k) for k in range(adjoint_iters + 1))
            np.testing.assert_allclose(jax.jacrev(solve)(contracting["shift"]), series, rtol=1e-12, atol=1e-15)


def test_the_start_has_no_derivative(contracting):
    slope = jax.grad(lambda x: fixed_point(contraction, {"x": x, "y": 0.0}, contracting, num_iters=30)["y"])
    np.testing.assert_array_equal(slope(jnp.ones(5)), 0)


def test_batches_of_fixed_points(contracting):
    shifts = jnp.asarray(normals(4, 3, 5), jnp.float32)
    f = lambda shift: fixed_point(contraction, START, contracting | {"shift": shift}, num_iters=30)["y"]  # noqa: E731
    mapped = jax.vmap(jax.grad(f))(shifts)
    np.testing.assert_allclose(mapped[1], jax.grad(f)(shifts[1]), rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"num_iters": -1}, ValueError, "num_iters.* -1"),
        ({"num_iters": 2.0}, TypeError, "num_iters.* 2.0"),
        ({"adjoint_iters": -1}, ValueError, "-1"),
        ({"init": {"x": np.zeros(5), "y": 0}}, TypeError, "init must be of floating arrays, got one of int"),
    ],
)
def test_a_bad_fixed_point_is_refused(contracting, change, error, message):
    with pytest.raises(error, match=message):
        fixed_point(contraction, **{"init": START, "operands": contracting, "num_iters": 1, **change})


def tikhonov(matrix, data, damping, weights):
    return np.linalg.solve(matrix.T @ (weights[:, None] * matrix) + damping**2 * np.eye(6), matrix.T @ (weights * data))


def test_the_normal_equations_are_solved_from_any_start(problem):  # noqa: F811
    matrix, data, weights, _ = problem
    with jax.enable_x64(True):
        for init in (None, normals(5, *COLS)):
            x = solve_normal_equations(
                Matrix(jnp.asarray(matrix)), data, num_iters=8, damping=0.7, weights=weights, init=init
            )
            np.testing.assert_allclose(x.ravel(), tikhonov(matrix, data, 0.7, weights), rtol=1e-9)


def test_rays_without_weight_are_left_out_of_the_normal_equations(problem):  # noqa: F811
    """Whatever their data; where these are finite, the derivative in the weight is that of an added ray."""
    matrix, data, weights, _ = problem
    weights[3] = 0
    with jax.enable_x64(True):
        solve = lambda d, w: solve_normal_equations(Matrix(jnp.asarray(matrix)), d, num_iters=12, weights=w)  # noqa: E731
        wanted = solve(data, weights)
        for value in (np.nan, np.inf):
            unknown = np.where(np.arange(ROWS) == 3, value, data)
            np.testing.assert_allclose(solve(unknown, weights), wanted, rtol=1e-9)
        added = lambda h: weights + h * (np.arange(ROWS) == 3)  # noqa: E731
        slope = jax.jvp(lambda w: solve(data, w), (jnp.asarray(weights),), (jnp.asarray(added(1) - weights),))[1]
        quotient = (solve(data, added(1e-6)) - wanted) / 1e-6
        np.testing.assert_allclose(slope, quotient, rtol=1e-4, atol=1e-6)


def test_derivatives_of_the_normal_equations_in_all_that_they_are_made_of(problem):  # noqa: F811
    """Against the closed form, in forward and in reverse mode, and a second derivative."""
    matrix, data, weights, _ = problem
    directions = (normals(6, ROWS, 6), normals(7, ROWS), 0.3, 0.1 * normals(8, ROWS))
    v = normals(9, 6)

    def implicit(t):
        m, d, s, w = (a + t * b for a, b in zip((matrix, data, 0.7, weights), directions, strict=True))
        return jnp.vdot(v, solve_normal_equations(Matrix(m), d, num_iters=12, damping=s, weights=w).ravel())

    def closed(t):
        m, d, s, w = (a + t * b for a, b in zip((matrix, data, 0.7, weights), directions, strict=True))
        return v @ tikhonov(m, d, s, w)

    with jax.enable_x64(True):
        wanted = difference_quotient(closed)
        np.testing.assert_allclose(jax.jit(jax.grad(implicit))(0.0), wanted, rtol=1e-8)
        np.testing.assert_allclose(jax.jvp(implicit, (0.0,), (1.0,))[1], wanted, rtol=1e-8)
        second = (closed(1e-3) - 2 * closed(0.0) + closed(-1e-3)) / 1e-6
        np.testing.assert_allclose(jax.grad(jax.grad(implicit))(0.0), second, rtol=1e-4)


@pytest.mark.parametrize("model", ["joseph", "separable_footprint"])
def test_derivatives_of_the_normal_equations_in_the_geometry(model):
    """A fan beam's distance, offset and angles, all at once, by difference quotients of the converged solution."""
    angles = np.linspace(0, 2 * np.pi, 14, endpoint=False) + 0.1
    grid = jaxct.VolumeGrid((5, 6))
    v = normals(10, *grid.shape)
    direction = normals(12, 14)

    def projector(t):
        fan = jaxct.FanBeam(
            angles + 0.1 * t * direction,
            source_origin_distance=30.3 + t,
            source_detector_distance=50.0,
            detector_shape=(12,),
            pixel_size=1.3,
            detector_offset=0.17 + t,
        )
        return jaxct.Projector(fan, grid, model=model)

    with jax.enable_x64(True):
        data = jnp.asarray(normals(11, 14, 12))

        @jax.jit
        def f(t):
            return jnp.vdot(v, solve_normal_equations(projector(t), data, num_iters=60, damping=1.0))

        np.testing.assert_allclose(jax.grad(f)(0.0), difference_quotient(f), rtol=1e-6)


@pytest.mark.parametrize("case", ["least_squares, bounded", "least_squares, weighted", "kullback_leibler, background"])
def test_derivatives_of_total_variations_minimiser(problem, case):  # noqa: F811
    """In the matrix, the data and the weight of total variation: unrolled, implicit, and by difference quotients."""
    matrix, data = problem[:2]
    chosen = options(problem, case)
    weight = chosen.pop("tv_weight")
    directions, v = (0.1 * normals(6, ROWS, 6) * (matrix > 0), normals(7, ROWS)), normals(9, *COLS)

    def result(t, differentiate):
        A, d = Matrix(jnp.asarray(matrix) + t * directions[0]), data + 0.3 + t * directions[1]  # noqa: N806
        volume = pdhg(
            A, d, num_iters=3000, tv_weight=weight * (1 + t), differentiate=differentiate, **chosen
        ).volume  # fmt: skip
        return jnp.vdot(v, volume)

    with jax.enable_x64(True):
        implicit = jax.jit(lambda t: result(t, "implicit"))
        slope = jax.jit(jax.grad(implicit))(0.0)
        np.testing.assert_allclose(slope, jax.jit(jax.grad(lambda t: result(t, "unrolled")))(0.0), rtol=1e-7)
        np.testing.assert_allclose(slope, difference_quotient(implicit), rtol=1e-6)


def test_the_implicit_minimiser_is_the_same_and_may_be_watched(problem):  # noqa: F811
    A, data = Matrix(jnp.asarray(problem[0], jnp.float32)), problem[1]  # noqa: N806
    seen = []
    got = pdhg(
        A, data, num_iters=5, tv_weight=0.1, differentiate="implicit", callback=lambda k, *_: seen.append(k)
    )  # fmt: skip
    wanted = pdhg(A, data, num_iters=5, tv_weight=0.1)
    np.testing.assert_allclose(got.volume, wanted.volume, rtol=1e-6)
    np.testing.assert_allclose(got.history["objective"], wanted.history["objective"], rtol=1e-5)
    assert seen == [1, 2, 3, 4, 5]


def test_no_iterates_are_kept(problem):  # noqa: F811
    """137 of them would be. The history is kept, of scalars."""
    A, data = Matrix(jnp.asarray(problem[0], jnp.float32)), jnp.asarray(problem[1], jnp.float32)  # noqa: N806
    minimiser = lambda d, how: pdhg(A, d, num_iters=137, tv_weight=0.1, differentiate=how).volume.sum()  # noqa: E731
    solve = lambda d: solve_normal_equations(A, d, num_iters=137, damping=0.1).sum()  # noqa: E731
    step = lambda z, o: 0.5 * jnp.tanh(z) + o  # noqa: E731
    iterated = lambda d: fixed_point(step, jnp.zeros(ROWS), d, num_iters=137).sum()  # noqa: E731
    assert 137 in stacks(jax.grad(lambda d: minimiser(d, "unrolled")), data)
    for implicit in (lambda d: minimiser(d, "implicit"), solve, iterated):
        assert 137 not in stacks(jax.grad(implicit), data)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"data": np.zeros(ROWS + 1)}, ValueError, r"data: expected .*\(14,\), got \(15,\)"),
        ({"init": np.zeros(6)}, ValueError, "init: expected"),
        ({"num_iters": -1}, ValueError, "num_iters.* -1"),
        ({"damping": np.ones(2)}, ValueError, r"damping .*\(2,\)"),
        ({"weights": -np.ones(ROWS)}, ValueError, "weights must not be negative, got -1"),
        ({"weights": np.ones(3)}, ValueError, r"weights .*\(14,\), got shape \(3,\)"),
        ({"weights": "all"}, TypeError, "weights .*'all'"),
    ],
)
def test_bad_input_names_the_argument(problem, change, error, message):  # noqa: F811
    with pytest.raises(error, match=message):
        solve_normal_equations(Matrix(jnp.asarray(problem[0])), **{"data": problem[1], "num_iters": 1, **change})


def test_an_unknown_derivative_is_refused(problem):  # noqa: F811
    with pytest.raises(ValueError, match=r"differentiate must be one of .*'exact'"):
        pdhg(Matrix(jnp.asarray(problem[0])), problem[1], num_iters=1, tv_weight=0.1, differentiate="exact")
