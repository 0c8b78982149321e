"""A projector is a linear operator to other libraries too: their solvers take it as it is, with the real libraries."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct

lineax = pytest.importorskip("lineax")
optimistix = pytest.importorskip("optimistix")

GRID = jaxct.VolumeGrid((12, 12))


def fan(offset=0.0, distance=40.0):
    return jaxct.FanBeam(
        np.linspace(0, 6, 20),
        source_origin_distance=distance,
        source_detector_distance=1.5 * distance,
        detector_shape=(24,),
        pixel_size=1.13,
        detector_offset=offset,
    )


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=["joseph", "separable_footprint"])
def problem(request):
    projector = jaxct.Projector(fan(), GRID, model=request.param)
    volume = jnp.asarray(np.random.default_rng(0).normal(size=GRID.shape))
    return projector, volume, projector(volume)


def _relative(got, wanted) -> float:
    return float(jnp.linalg.norm(got - wanted) / jnp.linalg.norm(wanted))


def test_lineax(problem):
    projector, volume, data = problem
    structure = jax.ShapeDtypeStruct(projector.in_shape, data.dtype)
    operator = lineax.FunctionLinearOperator(projector, structure)
    np.testing.assert_allclose(operator.T.mv(data), projector.T(data), rtol=1e-12, atol=1e-12)
    normal = lineax.TaggedLinearOperator(operator.T @ operator, lineax.positive_semidefinite_tag)
    tolerance = {"rtol": 1e-10, "atol": 1e-10, "max_steps": 2000}
    for system, right, solver in (
        (normal, projector.T(data), lineax.CG(**tolerance)),
        (operator.T @ operator, projector.T(data), lineax.GMRES(restart=150, **tolerance)),
        (operator, data, lineax.LSMR(**tolerance)),
    ):
        assert _relative(lineax.linear_solve(system, right, solver).value, volume) < 1e-6, type(solver).__name__


def test_lineax_differentiates_through_a_solve(problem):
    """With respect to the geometry, by the implicit function theorem."""
    projector, volume, data = problem

    def solve(offset):
        inner = jaxct.Projector(fan(offset), GRID, model=projector.model)
        normal = lineax.FunctionLinearOperator(
            lambda v: inner.T(inner(v)) + v,
            jax.ShapeDtypeStruct(GRID.shape, data.dtype),
            lineax.positive_semidefinite_tag,
        )
        solver = lineax.CG(rtol=1e-12, atol=1e-12, max_steps=1000)
        return jnp.vdot(lineax.linear_solve(normal, inner.T(data), solver).value, volume)

    at, step = 0.031, 1e-7  # so small that no ray passes a kink
    wanted = (solve(at + step) - solve(at - step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(solve)(at), wanted, rtol=1e-5)


@pytest.mark.parametrize("solver", ["LevenbergMarquardt", "GaussNewton"])
def test_optimistix_calibrates(problem, solver):
    projector, volume, data = problem

    def residual(parameters, _):
        geometry = fan(parameters["offset"], parameters["distance"])
        return jaxct.forward_project(volume, geometry, GRID, model=projector.model) - data

    start = {"offset": jnp.asarray(0.4), "distance": jnp.asarray(43.0)}
    search = getattr(optimistix, solver)(rtol=1e-8, atol=1e-8)
    found = optimistix.least_squares(residual, search, start, max_steps=50).value
    np.testing.assert_allclose(found["offset"], 0.0, atol=1e-6)
    np.testing.assert_allclose(found["distance"], 40.0, rtol=1e-6)


def test_jaxopt(problem):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is no longer maintained, as it says
        jaxopt = pytest.importorskip("jaxopt")
        projector, volume, data = problem
        found = jaxopt.linear_solve.solve_normal_cg(
            projector, data, init=jnp.zeros(GRID.shape), tol=1e-10, maxiter=2000
        )
    assert _relative(found, volume) < 1e-6
