"""Ordered subsets: every view once, equal parts, exact transposes, the projector of some views."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from jaxct.reconstruct import admm_tv, fista, landweber, ordered_subsets, plug_and_play, squared_norm
from jaxct.reconstruct.subsets import ORDERS, herman_meyer
from tests.matrix import ROWS, Matrix
from tests.operators import adjoint_gap, random, relative_error


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("num_subsets", [1, 3, 5, 12])
def test_every_view_counts_once(num_subsets, order):
    subsets = ordered_subsets(12, num_subsets, order=order)
    counted = np.ones(subsets.views.shape, bool) if subsets.counted is None else np.asarray(subsets.counted)
    assert sorted(np.asarray(subsets.views)[counted]) == list(range(12))
    assert (subsets.counted is None) == (12 % num_subsets == 0)
    key = jax.random.key(0)
    assert sorted(np.asarray(subsets.order(key))) == list(range(num_subsets))
    assert order != "random" or num_subsets < 5 or (subsets.order(key) != subsets.order(jax.random.key(1))).any()


def test_the_order_of_herman_and_meyer():
    np.testing.assert_array_equal(herman_meyer(8), [0, 4, 2, 6, 1, 5, 3, 7])
    np.testing.assert_array_equal(herman_meyer(6), [0, 3, 1, 4, 2, 5])
    for count in (1, 7, 30, 64):
        assert sorted(herman_meyer(count)) == list(range(count))


def test_parts_add_up_to_the_whole_and_are_matched():
    geometry = jaxct.ParallelBeam(np.linspace(0.1, 3, 10), detector_shape=(16,))
    A = jaxct.Projector(geometry, jaxct.VolumeGrid((9, 11)))  # noqa: N806
    x, y = random(0, A.in_shape), random(1, A.out_shape)
    subsets = ordered_subsets(10, 4)

    @jax.jit
    def part(index):
        operator, data = subsets.operator(A, index), subsets.data(y, index)
        return operator(x), operator.T(data), data

    forward, back, data = jax.vmap(part)(jnp.arange(4))
    whole = A(x)
    for i, (views, counted) in enumerate(zip(subsets.views, subsets.counted, strict=True)):
        np.testing.assert_allclose(forward[i], np.where(counted[:, None], whole[views], 0), atol=1e-5)
        np.testing.assert_array_equal(data[i], np.where(counted[:, None], y[views], 0))
    assert relative_error(back.sum(0), A.T(y)) < 1e-5
    operator = subsets.operator(A, 1)
    assert (operator.in_shape, operator.out_shape) == (A.in_shape, (3, 16))
    assert adjoint_gap(operator, operator.T, x, random(2, (3, 16))) < 1e-6


def test_a_projector_of_some_views():
    geometry = jaxct.ParallelBeam(np.linspace(0.1, 3, 10), detector_shape=(16,))
    A = jaxct.Projector(geometry, jaxct.VolumeGrid((9, 11)), model="joseph")  # noqa: N806
    x = random(0, A.in_shape)
    np.testing.assert_array_equal(A[2:8:3](x), A(x)[2:8:3])
    np.testing.assert_allclose(
        jax.jit(lambda views: A[views](x))(jnp.array([7, 1])), A(x)[jnp.array([7, 1])], rtol=1e-5
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"num_subsets": 0}, ValueError, "num_subsets .* 0"),
        ({"num_subsets": 2.0}, TypeError, "num_subsets .* 2.0"),
        ({"num_subsets": 13}, ValueError, "num_subsets .* 12, got 13"),
        ({"num_views": -1}, ValueError, "num_views .* -1"),
        ({"order": "golden"}, ValueError, "order .* 'golden'"),
    ],
)
def test_bad_input_names_the_argument(change, error, message):
    with pytest.raises(error, match=message):
        ordered_subsets(**{"num_views": 12, "num_subsets": 3, **change})


def test_the_squared_norm_is_just_above_the_largest_eigenvalue():
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        for _ in range(5):
            matrix = rng.normal(size=(ROWS, 6))
            found = float(squared_norm(Matrix(jnp.asarray(matrix))))
            assert found == pytest.approx(np.linalg.norm(matrix, 2) ** 2, rel=1e-9)
        fan = jaxct.FanBeam(
            np.linspace(0, 6, 24), source_origin_distance=60.0, source_detector_distance=90.0, detector_shape=(40,),
            pixel_size=1.2,
        )  # fmt: skip
        A = jaxct.Projector(fan, jaxct.VolumeGrid((16, 16)))  # noqa: N806
        columns = jax.vmap(A)(jnp.eye(256).reshape(256, 16, 16)).reshape(256, -1)
        wanted = np.linalg.norm(columns, 2) ** 2
        assert wanted <= float(squared_norm(A)) < 1.01 * wanted
        assert wanted <= float(squared_norm(A, num_iters=4)) < 1.1 * wanted


def test_the_squared_norm_of_nothing_is_zero():
    assert float(squared_norm(Matrix(jnp.zeros((ROWS, 6))))) == 0


def test_step_sizes_are_constants_to_derivatives():
    """Lanczos' process, which ends early here and finds eigenvalues that are equal, has none."""
    eye, data = Matrix(jnp.eye(ROWS, 6)), jnp.arange(1.0, ROWS + 1)
    for solve in (
        lambda w: landweber(eye, data, num_iters=3, weights=w),
        lambda w: fista(eye, data, num_iters=3, weight=0.1, weights=w),
        lambda w: admm_tv(eye, data, num_iters=3, tv_weight=0.1, weights=w),
        lambda w: plug_and_play(eye, data, num_iters=3, denoiser=lambda x: 0.9 * x, weights=w),
    ):
        gradient = jax.grad(lambda w, solve=solve: jnp.sum(solve(w).volume ** 2))(jnp.full(ROWS, 0.7))
        assert np.isfinite(gradient).all()
        assert np.abs(gradient[:6]).max() > 0
