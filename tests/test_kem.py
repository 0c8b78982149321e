"""The kernel of a prior image against its definition in loops; its transpose, which is another; KEM is MLEM of A K."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxct
from jaxct.operators import Compose
from jaxct.reconstruct.kem import Kernel, _scatter, _spread, kem
from jaxct.reconstruct.mlem import mlem
from tests.matrix import COLS, ROWS, Matrix
from tests.operators import random, relative_error


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def prior(shape):
    return np.random.default_rng(0).normal(size=shape)


def numpy_kernel(images, num_neighbours, patch, window, sigma):
    """Row by row, with patches that go on beyond the edge as it is there."""
    shape, ndim = images.shape[1:], images.ndim - 1
    scaled = images / images.std(axis=tuple(range(1, ndim + 1)), keepdims=True)
    edge = np.pad(scaled, [(0, 0)] + [(window + patch,) * 2] * ndim, mode="edge")

    def features(j):
        first = [i + window + patch - patch // 2 for i in j]
        return edge[(slice(None), *(slice(i, i + patch) for i in first))].ravel()

    matrix = np.zeros((np.prod(shape),) * 2)
    for row, j in enumerate(np.ndindex(shape)):
        found = []
        for column, k in enumerate(np.ndindex(shape)):
            if np.abs(np.subtract(j, k)).max() <= window // 2:
                found.append((np.sum((features(j) - features(k)) ** 2), column))
        found = sorted(found)[:num_neighbours]
        for square, column in found:
            matrix[row, column] = np.exp(-square / (2 * sigma**2 * len(features(j))))
    return matrix / matrix.sum(1, keepdims=True)


def matrix_of(K):  # noqa: N803
    units = jnp.eye(int(np.prod(K.shape))).reshape(-1, *K.shape)
    return np.asarray(jax.jit(jax.vmap(K))(units)).reshape(len(units), -1).T


@pytest.mark.parametrize(
    ("shape", "num_neighbours", "patch", "window", "sigma"),
    [((6, 7), 5, 3, 5, 0.8), ((3, 4, 5), 9, 3, 3, 1.0), ((5, 4), 4, 1, 7, 2.0)],
)
def test_the_kernel_is_its_definition(shape, num_neighbours, patch, window, sigma):
    K = Kernel(prior(shape), num_neighbours=num_neighbours, patch=patch, window=window, sigma=sigma)  # noqa: N806
    wanted = numpy_kernel(prior(shape)[None], num_neighbours, patch, window, sigma)
    np.testing.assert_allclose(matrix_of(K), wanted, atol=1e-14)
    np.testing.assert_allclose(K(np.ones(shape)), 1, rtol=1e-14)


def test_several_priors_are_compared_together():
    images = prior((2, 5, 6)) * np.array([1.0, 50.0])[:, None, None]
    K = Kernel(images, num_neighbours=4, window=5, channels=True)  # noqa: N806
    np.testing.assert_allclose(matrix_of(K), numpy_kernel(images, 4, 3, 5, 1.0), atol=1e-14)


@pytest.mark.parametrize("shape", [(6, 7), (3, 4, 5)])
def test_the_transpose_is_exact_and_another(shape):
    """Both ways to compute it, whichever this device takes."""
    K = Kernel(prior(shape), num_neighbours=6, window=3)  # noqa: N806
    matrix, y = matrix_of(K), random(1, shape)
    assert relative_error(matrix, matrix.T) > 0.1
    assert relative_error(np.ravel(K.T(y)), matrix.T @ np.ravel(y)) < 1e-14
    inner = tuple(slice(1, 1 + n) for n in shape)
    for transposed in (_scatter, _spread):
        assert relative_error(np.ravel(transposed(K, y)[inner]), matrix.T @ np.ravel(y)) < 1e-14
    assert relative_error(jax.vmap(K.T)(jnp.stack([y, 2 * y]))[1], 2 * K.T(y)) < 1e-14
    assert relative_error(jax.linear_transpose(K, y)(y)[0], K.T(y)) < 1e-14
    check_grads(jax.jit(lambda x: K.T(K(x))), (y,), order=1)


def test_where_the_window_reaches_out_there_are_fewer_neighbours():
    K = Kernel(np.ones((3, 3)), num_neighbours=9, window=3)  # noqa: N806
    matrix = matrix_of(K)
    assert (matrix > 0).sum(1).tolist() == [4, 6, 4, 6, 9, 6, 4, 6, 4]
    np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-15)


def test_edges_of_the_prior_image_are_not_smoothed_over():
    step = np.where(np.arange(12) < 6, 0.0, 1.0)[:, None] * np.ones(8)
    K = Kernel(step, num_neighbours=10, window=5, sigma=0.1)  # noqa: N806
    noisy = step + 0.1 * prior((12, 8))
    smooth = np.asarray(K(noisy))
    assert np.abs(smooth - step).max() < 0.15
    assert np.std(smooth - step) < 0.5 * np.std(noisy - step)


def test_kem_is_mlem_of_the_product():
    rng = np.random.default_rng(0)
    matrix = rng.uniform(size=(ROWS, 6))
    data, background = rng.poisson(20 * matrix.sum(1)).astype(float), 1.5
    A = Matrix(jnp.asarray(matrix))  # noqa: N806
    K = Kernel(prior(COLS), num_neighbours=3, patch=1, window=3)  # noqa: N806
    product = matrix @ matrix_of(K)
    coefficients = init = rng.uniform(1, 2, 6)
    for _ in range(5):
        coefficients = coefficients / product.sum(0) * (product.T @ (data / (product @ coefficients + background)))
    options = {"kernel": K, "num_iters": 5, "init": init.reshape(COLS), "background": background}
    result = kem(A, data, **options)
    assert relative_error(np.ravel(result.volume), matrix_of(K) @ coefficients) < 1e-13
    assert (np.diff(result.history["log_likelihood"]) > 0).all()
    with_sensitivity = kem(A, data, sensitivity=A.T(np.ones(ROWS)), **options)
    assert relative_error(with_sensitivity.volume, result.volume) < 1e-14
    by_parts = kem(A, data, num_subsets=3, **options)
    assert relative_error(A(by_parts.volume), data - background) < 0.3
    assert relative_error(by_parts.volume, result.volume) > 1e-3
    compiled = jax.jit(lambda K, data: kem(A, data, **{**options, "kernel": K}).volume)(K, data)  # noqa: N803
    assert relative_error(compiled, result.volume) < 1e-13


def test_a_prior_that_knows_the_image_takes_a_third_of_the_noise_away():
    beam = jaxct.ParallelBeam(np.linspace(0, np.pi, 24, endpoint=False), detector_shape=(20,))
    A = jaxct.Projector(beam, jaxct.VolumeGrid((16, 16)))  # noqa: N806
    y, x = np.mgrid[-7.5:8, -7.5:8]
    image = 2.0 * (x**2 + y**2 < 49) + 6.0 * ((x - 2) ** 2 + (y + 1) ** 2 < 9)
    data = np.random.default_rng(0).poisson(A(image)).astype(float)
    K = Kernel(image, num_neighbours=24, sigma=0.3)  # noqa: N806
    noise = lambda result: float(np.std(np.asarray(result.volume)[image == 2]))  # noqa: E731
    error = lambda result: relative_error(result.volume, image)  # noqa: E731
    by_kernel, without = (kem(A, data, kernel=K, num_iters=40), mlem(A, data, num_iters=40))
    assert noise(by_kernel) < noise(without) * 2 / 3
    assert error(by_kernel) < error(without)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"prior": np.ones(4)}, ValueError, r"prior must be a 2-D or 3-D image, got shape \(4,\)"),
        ({"prior": np.full((4, 4), np.nan)}, ValueError, "prior must be finite"),
        ({"patch": 2}, ValueError, "patch must be odd, got 2"),
        ({"window": 4}, ValueError, "window must be odd, got 4"),
        ({"num_neighbours": 50}, ValueError, "num_neighbours must be at most .* 49, got 50"),
        ({"sigma": 0.0}, ValueError, "sigma must be positive"),
    ],
)
def test_bad_input_names_the_argument(change, error, message):
    with pytest.raises(error, match=message):
        Kernel(**{"prior": np.ones((4, 4)), "num_neighbours": 5, **change})


def test_a_kernel_of_another_shape_is_refused():
    K = Kernel(np.ones((4, 4)), num_neighbours=5)  # noqa: N806
    with pytest.raises(ValueError, match=r"Matrix takes the shape \(2, 3\)"):
        kem(Matrix(jnp.ones((ROWS, 6))), np.ones(ROWS), kernel=K, num_iters=1)
    assert isinstance(Compose(Matrix(jnp.ones((ROWS, 6))), Kernel(np.ones(COLS), num_neighbours=2)), Compose)
