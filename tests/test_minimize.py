"""Any optimiser of optax reaches the minimum, within bounds too, with steps that are compiled once."""

import dataclasses
import itertools
import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxct
from jaxct import data_fit, priors
from jaxct.reconstruct import stopping
from jaxct.reconstruct.minimize import minimize
from tests.matrix import COLS, ROWS, Matrix

# Optimisers with learning rates for the problem below, and iterations that they need.
OPTIMIZERS = {
    "sgd": (lambda: optax.sgd(2e-2), 800),
    "momentum": (lambda: optax.sgd(1e-2, momentum=0.8, nesterov=True), 400),
    "adam": (lambda: optax.adam(optax.exponential_decay(0.1, 50, 0.7)), 1000),
    "lbfgs": (optax.lbfgs, 25),
}
each_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    return rng.normal(size=(ROWS, 6)), rng.normal(size=ROWS)


def fit_of(matrix, data):
    return data_fit.LeastSquares(Matrix(jnp.asarray(matrix)), data)


def bounded_least_squares(matrix, data, lower, upper):
    """The best feasible one of all solutions with some components on a bound."""
    best = (np.inf, None)
    for places in itertools.product((lower, upper, None), repeat=matrix.shape[1]):
        free = np.array([p is None for p in places])
        x = np.array([0.0 if p is None else p for p in places])
        if np.isfinite(x).all():
            x[free] = np.linalg.lstsq(matrix[:, free], data - matrix @ x, rcond=None)[0]
            if (x >= lower).all() and (x <= upper).all():
                best = min(best, (np.sum((matrix @ x - data) ** 2), tuple(x)))
    return np.reshape(best[1], COLS)


@each_optimizer
@pytest.mark.parametrize("bounds", [{}, {"lower": 0.0}, {"lower": 0.0, "upper": 0.2}], ids=str)
def test_reaches_the_minimum(name, bounds, problem):
    matrix, data = problem
    optimizer, num_iters = OPTIMIZERS[name]
    solution = bounded_least_squares(matrix, data, bounds.get("lower", -np.inf), bounds.get("upper", np.inf))
    with jax.enable_x64(True):
        fit = fit_of(matrix, data)
        result = minimize(fit, jnp.ones(COLS), optimizer=optimizer(), num_iters=num_iters, **bounds)
        np.testing.assert_allclose(result.history["objective"][-1], fit(result.volume), rtol=1e-12)
    result = jax.tree.map(np.asarray, result)
    np.testing.assert_allclose(result.volume, solution, atol=1e-7)
    assert result.history["gradient_norm"][-1] < 1e-6
    assert result.history["gradient_norm"][0] > 0.1
    for bound in bounds.values():
        assert (result.volume == bound).any(), "the bound is active, and exactly reached"


def test_the_history_belongs_to_the_iterate_after_each_iteration(problem):
    with jax.enable_x64(True):
        fit = fit_of(*problem)
        seen = []
        keep = lambda iteration, state, record: seen.append((record, state.volume))  # noqa: E731
        minimize(fit, jnp.zeros(COLS), optimizer=optax.lbfgs(), num_iters=4, callback=keep)
        for record, volume in seen:
            np.testing.assert_allclose(record["objective"], fit(volume), rtol=1e-12)
            np.testing.assert_allclose(record["gradient_norm"], jnp.linalg.norm(jax.grad(fit)(volume)), rtol=1e-9)


def test_plain_gradient_descent_by_its_formula(problem):
    matrix, data = problem
    x = np.full(6, 0.5)
    for _ in range(7):
        x = np.maximum(x - 0.01 * matrix.T @ (matrix @ x - data), 0.1)
    with jax.enable_x64(True):
        start = jnp.full(COLS, 0.5)
        result = minimize(fit_of(matrix, data), start, optimizer=optax.sgd(0.01), num_iters=7, lower=0.1)
        np.testing.assert_allclose(result.volume.ravel(), x, rtol=1e-12)
        assert (result.volume == 0.1).any()
        none = minimize(fit_of(matrix, data), -start, optimizer=optax.sgd(0.01), num_iters=0, lower=0.1)
        np.testing.assert_array_equal(none.volume, jnp.full(COLS, 0.1))


def test_a_likelihood_with_a_prior_and_positivity_is_minimised_by_lbfgs():
    """Karush, Kuhn and Tucker's conditions hold at what comes out, to a hundred millionth of the first gradient."""
    geometry = jaxct.ParallelBeam(np.linspace(0, 3, 9), detector_shape=(10,))
    A = jaxct.Projector(geometry, jaxct.VolumeGrid((7, 7)))  # noqa: N806
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        image = jnp.zeros((7, 7)).at[2:5, 3:6].set(3.0)
        counts = rng.poisson(A(image))
        objective = lambda x, fit, strength: fit(x) + strength * priors.huber(x, delta=0.1)  # noqa: E731
        args = (data_fit.Poisson(A, counts, 0.3), 0.5)
        solve = lambda n: minimize(  # noqa: E731
            objective, jnp.ones((7, 7)), optimizer=optax.lbfgs(), num_iters=n, lower=0.0, args=args
        )
        result = solve(80)
        gradient = np.asarray(jax.grad(objective)(result.volume, *args))
        start = float(jnp.linalg.norm(jax.grad(objective)(jnp.ones((7, 7)), *args)))
        active = np.asarray(result.volume) == 0
        assert 10 < active.sum() < 45
        assert (gradient[active] > 0).all()
        assert np.abs(gradient[~active]).max() < 1e-8 * start


def test_a_line_search_is_not_evaluated_again(problem):
    """The objective is evaluated once to start and once at every point of the searches."""
    matrix, data = problem

    class Counter:
        evaluations = 0

    def objective(x, fit):
        jax.debug.callback(lambda: setattr(Counter, "evaluations", Counter.evaluations + 1))
        return fit(x)

    steps = []
    with jax.enable_x64(True):
        minimize(
            objective,
            jnp.zeros(COLS),
            optimizer=optax.lbfgs(),
            num_iters=8,
            args=(fit_of(matrix, data),),
            callback=lambda i, state, record: steps.append(
                int(optax.tree_utils.tree_get(state.optimizer, "info").num_linesearch_steps)
            ),
        )
        jax.effects_barrier()
    assert min(steps) >= 1
    assert Counter.evaluations == 1 + sum(steps)


def test_a_random_objective_has_a_new_key_in_every_iteration():
    """Of ``<r, x>`` with random r the steps are -r; the value in the history is that of the coming step's key."""
    objective = lambda x, key, scale: scale * jnp.vdot(jax.random.normal(key, x.shape), x)  # noqa: E731
    volumes, values = [jnp.ones(5)], []

    def keep(iteration, state, record):
        volumes.append(state.volume)
        values.append(record["objective"])

    options = {"optimizer": optax.sgd(1.0), "num_iters": 6, "args": (2.0,)}
    looped = minimize(objective, jnp.ones(5), key=jax.random.key(1), callback=keep, **options)
    draws = -np.diff(np.asarray(volumes), axis=0)
    assert len({tuple(d) for d in draws}) == 6
    for k in range(5):
        np.testing.assert_allclose(values[k], np.vdot(draws[k + 1], volumes[k + 1]), rtol=1e-5)
    scanned = minimize(objective, jnp.ones(5), key=jax.random.key(1), **options)
    np.testing.assert_allclose(scanned.volume, looped.volume, rtol=1e-6)
    other = minimize(objective, jnp.ones(5), key=jax.random.key(2), **options)
    assert np.abs(other.volume - scanned.volume).min() > 0


def test_views_drawn_at_random_lead_to_the_minimum(problem):
    matrix, data = problem
    solution = np.linalg.lstsq(matrix, data, rcond=None)[0].reshape(COLS)
    with jax.enable_x64(True):
        objective = lambda x, key, fit: fit.sample(key, 4)(x)  # noqa: E731
        optimizer = optax.sgd(lambda count: 0.02 / (1 + count / 50))
        result = minimize(
            objective,
            jnp.zeros(COLS),
            optimizer=optimizer,
            num_iters=20000,
            key=jax.random.key(0),
            args=(fit_of(matrix, data),),
        )
    assert np.linalg.norm(np.asarray(result.volume) - solution) < 0.02 * np.linalg.norm(solution)


@pytest.mark.parametrize(
    ("optimizer", "bounds", "wanted"),
    [
        (optax.lbfgs(), {}, {"a": [-1.0, 2.0], "b": (3.0,)}),
        (optax.sgd(0.1), {"lower": 0.5}, {"a": [0.5, 2.0], "b": (3.0,)}),
        (optax.sgd(0.1), {"upper": {"a": np.array([-2.0, 5.0]), "b": (1.0,)}}, {"a": [-2.0, 2.0], "b": (1.0,)}),
    ],
)
def test_pytrees_with_bounds_for_all_or_for_each(optimizer, bounds, wanted):
    objective = lambda x: jnp.sum((x["a"] - np.array([-1, 2])) ** 2) + (x["b"][0] - 3) ** 2  # noqa: E731
    result = minimize(objective, {"a": jnp.zeros(2), "b": (0,)}, optimizer=optimizer, num_iters=80, **bounds)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), result.volume["a"], jnp.array(wanted["a"]))
    np.testing.assert_allclose(result.volume["b"][0], wanted["b"][0], atol=1e-5)


@pytest.mark.parametrize("name", ["momentum", "lbfgs"])
def test_jit_vmap_and_the_loop_in_python_agree(name, problem):
    matrix, data = problem
    with jax.enable_x64(True):

        def solve(data, **options):
            optimizer = OPTIMIZERS[name][0]()
            return minimize(
                fit_of(matrix, data), jnp.zeros(COLS), optimizer=optimizer, num_iters=8, lower=0.0, **options
            )

        data = jnp.asarray(data)
        mapped = jax.jit(jax.vmap(solve))(jnp.stack([data, -data]))
        for got, wanted in (
            (solve(data, callback=lambda *_: None), solve(data)),
            (jax.tree.map(lambda x: x[0], mapped), solve(data)),
            (jax.tree.map(lambda x: x[1], mapped), solve(-data)),
        ):
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10), got, wanted)
        with pytest.raises(ValueError, match="callback: need concrete arrays"):
            jax.jit(lambda d: solve(d, callback=lambda *_: None).volume)(data)


def test_it_can_be_differentiated(problem):
    """The minimiser of the least squares is linear in the data."""
    matrix, data = problem
    solve = lambda d: minimize(  # noqa: E731
        fit_of(matrix, d), jnp.zeros(COLS), optimizer=optax.sgd(0.02), num_iters=800
    ).volume.ravel()
    with jax.enable_x64(True):
        jacobian = jax.jacrev(solve)(jnp.asarray(data))
    np.testing.assert_allclose(jacobian, np.linalg.pinv(matrix), atol=1e-8)


def test_a_run_that_was_cut_off_ends_in_the_same_bits(problem, tmp_path):
    """With the memory of L-BFGS and the random key, which are part of what is kept."""
    pytest.importorskip("orbax.checkpoint")
    args = (fit_of(problem[0].astype(np.float32), problem[1].astype(np.float32)),)
    options = {
        "optimizer": optax.lbfgs(),
        "num_iters": 9,
        "checkpoint_every": 2,
        "key": jax.random.key(0),
        "args": args,
    }

    def solve(folder, **watch):
        sampled = lambda x, key, fit: fit.sample(key, 8)(x)  # noqa: E731
        return minimize(sampled, jnp.zeros(COLS), checkpoint=tmp_path / folder, **options, **watch)

    def cut_off(iteration, state, record):
        if iteration == 5:
            raise RuntimeError

    whole = solve("whole")
    with pytest.raises(RuntimeError):
        solve("cut", callback=cut_off)
    seen = []
    resumed = solve("cut", callback=lambda iteration, *_: seen.append(iteration))
    assert seen == [5, 6, 7, 8, 9]
    jax.tree.map(np.testing.assert_array_equal, resumed, whole)


def test_dtypes(problem):
    matrix, data = (a.astype(np.float32) for a in problem)
    result = minimize(fit_of(matrix, data), np.ones(COLS, int), optimizer=optax.adam(0.1), num_iters=2, lower=0)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(result))
    with jax.enable_x64(True):
        result = minimize(fit_of(*problem), np.ones(COLS), optimizer=optax.adam(0.1), num_iters=2, lower=0)
        assert all(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(result))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Traced:
    """A fit that counts how often it was traced: an argument, so that the functions that call it refer to nothing."""

    fit: Callable[..., Any]
    count = 0

    def __call__(self, x):
        type(self).count += 1
        return self.fit(x)


def compilations(call):
    """Traces of the objective in a call, after one of its like."""
    call()
    before = Traced.count
    call()
    return Traced.count - before


def counted(x, fit, factor):
    return factor * fit(x)


def test_steps_are_compiled_once(problem):
    """For objectives and optimisers that are written out anew, with other arrays and other numbers among args."""
    factors = iter((1.0, 2.0, 3.0, 4.0, 5.0, 6.0))
    for objective in (counted, None):

        def call(objective=objective):
            def local(x, fit, factor):
                return factor * fit(x)

            fit = Traced(fit_of(problem[0], next(factors) * problem[1]))
            return minimize(
                objective or local,
                jnp.zeros(COLS),
                optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(optax.linear_schedule(0.1, 0.01, 9))),
                num_iters=2,
                args=(fit, next(factors) if objective else 1.0),
            )

        assert compilations(call) == 0
    assert Traced.count > 0


SCALE = jnp.ones(COLS)


def scaled(x):
    return jnp.sum((x - SCALE) ** 2)


def test_what_a_function_refers_to_is_looked_at_again():
    """By closure, as a global, as a default: arrays, numbers, functions, hyperparameters of an optimiser."""
    global SCALE
    solve = lambda f, rate=0.5: float(  # noqa: E731
        minimize(f, jnp.zeros(COLS), optimizer=optax.sgd(rate), num_iters=1).volume[0, 0]
    )
    try:
        assert solve(scaled) == 1
        SCALE = 3 * jnp.ones(COLS)
        assert solve(scaled) == 3
        assert solve(lambda x: scaled(x)) == 3
        assert solve(scaled, 0.25) == 1.5
    finally:
        SCALE = jnp.ones(COLS)
    assert solve(lambda x: scaled(x)) == 1
    for value in (1.0, 2.0, jnp.asarray(4.0), np.full(COLS, 5.0)):
        wanted = float(np.max(value))
        inner = lambda x: jnp.sum((x - value) ** 2)  # noqa: B023, E731
        assert solve(lambda x, value=value: jnp.sum((x - value) ** 2)) == wanted
        assert solve(lambda x: inner(x)) == wanted  # noqa: B023
        assert solve(jax.jit(inner)) == wanted
    chosen = {"place": 1.0}
    by_place = lambda x: jnp.sum((x - chosen["place"]) ** 2)  # noqa: E731
    assert solve(by_place) == 1
    chosen["place"] = 2.0
    assert solve(by_place) == 2


class Chosen:
    place = 1.0


MODULE = types.ModuleType("chosen")


def test_attributes_of_modules_and_classes_are_looked_at_again():
    """Global and in a closure; those of libraries alone are known not to change."""
    solve = lambda f: float(minimize(f, jnp.zeros(COLS), optimizer=optax.sgd(0.5), num_iters=1).volume[0, 0])  # noqa: E731
    for owner in (Chosen, MODULE):
        by_closure = lambda x: jnp.sum((x - owner.place) ** 2)  # noqa: B023, E731
        for value in (1.0, 2.0):
            owner.place = value
            assert solve(by_closure) == value
            assert solve(by_class if owner is Chosen else by_module) == value


def by_class(x):
    return jnp.sum((x - Chosen.place) ** 2)


def by_module(x):
    return jnp.sum((x - MODULE.place) ** 2)


def test_a_small_change_of_a_pytree_stops():
    """All its leaves count: halving the way to the minimum, the change is 2^-n and the iterate 1 - 2^-n."""
    objective = lambda x: 0.5 * sum(jnp.sum((leaf - 1) ** 2) for leaf in x.values())  # noqa: E731
    init = {"a": jnp.zeros(3), "b": jnp.zeros((2, 2))}
    options = {"optimizer": optax.sgd(0.5), "num_iters": 20}
    result = minimize(objective, init, stop=stopping.relative_change(0.1), **options)
    # 1 / (2^n - 1) is 1/7 after the third step and 1/15 after the fourth.
    assert len(result.history["objective"]) == 4
    still = {"a": 1e3 * jnp.ones(3), "b": jnp.zeros((2, 2))}
    one_moves = lambda x: 0.5 * jnp.sum((x["b"] - 1) ** 2)  # noqa: E731
    result = minimize(one_moves, still, stop=stopping.relative_change(0.1), **options)
    assert len(result.history["objective"]) == 1


def test_rules_within_jit_are_refused_with_the_reason():
    for rule in (lambda: stopping.discrepancy(1.0), lambda: stopping.relative_change(0.1)):
        solve = lambda x: minimize(jnp.sum, x, optimizer=optax.sgd(0.1), num_iters=2, stop=rule())  # noqa: B023, E731
        with pytest.raises(ValueError, match="stop: need concrete arrays"):
            jax.jit(solve)(jnp.ones(3))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"objective": 3}, TypeError, "objective must be a function, got 3"),
        ({"optimizer": 0.1}, TypeError, r"optimizer must be an optax.GradientTransformation, got 0.1"),
        ({"init": 1j * np.ones(COLS)}, TypeError, "init: expected real values, got complex"),
        ({"lower": np.zeros(4)}, ValueError, r"lower must broadcast to the shape of init, \(2, 3\), got shape \(4,\)"),
        ({"lower": {"a": 0.0}}, ValueError, "lower must be a number, an array or a pytree of the structure of init"),
        ({"lower": 1.0, "upper": 0.0}, ValueError, "lower must nowhere be above upper, got 1 above 0"),
        ({"key": 3}, TypeError, r"key must be a single one of jax.random.key, got 3"),
        ({"num_iters": -1}, ValueError, "num_iters.* -1"),
        ({"num_iters": 2.0}, TypeError, "num_iters.* 2.0"),
        ({"tolerance": 1e-3}, TypeError, "unexpected keyword argument 'tolerance'"),
    ],
)
def test_bad_input_names_the_argument(change, error, message):
    options = {"objective": jnp.sum, "init": jnp.ones(COLS), "optimizer": optax.sgd(0.1), "num_iters": 1, **change}
    with pytest.raises(error, match=message):
        minimize(options.pop("objective"), options.pop("init"), **options)
