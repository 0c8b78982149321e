"""Products, factors and blurs: what they compute, transposes that are exact, views, and every transformation of JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxct
from jaxct.operators import Compose, Diagonal, GaussianBlur, RadialBlur, fwhm_to_sigma
from jaxct.reconstruct.osem import osem
from tests.operators import random, relative_error

BOX = (3, 7, 8)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def grid():
    return jaxct.VolumeGrid(BOX, voxel_size=(2.0, 1.0, 1.25))


def projector():
    beam = jaxct.ParallelBeam(np.linspace(0.1, 3.0, 6), detector_shape=(3, 9), pixel_size=(2.0, 1.3))
    return jaxct.Projector(beam, grid())


def radius_map():
    y, x = (np.asarray(c) for c in grid().coordinates()[1:])
    return np.hypot(*np.meshgrid(y - 0.3, x + 0.2, indexing="ij"))


def radial_blur():
    r = radius_map()
    return RadialBlur(grid(), 0.6 + 0.15 * r, 0.6 + 0.05 * r, 0.8 + 0.1 * r, center=(0.3, -0.2))


def factors():
    return Diagonal(np.random.default_rng(0).uniform(0.2, 1.5, projector().out_shape))


OPERATORS = {
    "diagonal": factors,
    "diagonal_that_broadcasts": lambda: Diagonal(np.array([0.3, 2.0, 1.0])[:, None], (6, 3, 9)),
    "gaussian": lambda: GaussianBlur(grid(), (1.5, 0.8, 0.0)),
    "radial": radial_blur,
    "radial_2d": lambda: RadialBlur(jaxct.VolumeGrid((7, 8)), 0.6 + 0.1 * radius_map(), 0.5),
    "product": lambda: factors() @ projector() @ radial_blur(),
    "product_of_products": lambda: (factors() @ projector()) @ (GaussianBlur(grid(), 0.7) @ Diagonal(np.ones(BOX))),
    "transpose": lambda: radial_blur().T,
}
each_operator = pytest.mark.parametrize("make", OPERATORS.values(), ids=OPERATORS)


def matrix_of(A):  # noqa: N803
    """Column by column."""
    units = jnp.eye(int(np.prod(A.in_shape))).reshape(-1, *A.in_shape)
    return np.asarray(jax.jit(jax.vmap(A))(units)).reshape(len(units), -1).T


@each_operator
def test_the_transpose_is_exact(make):
    A = make()  # noqa: N806
    matrix = matrix_of(A)
    assert relative_error(matrix_of(A.T), matrix.T) < 1e-15
    by_jax = jax.linear_transpose(A, jnp.zeros(A.in_shape))
    y = random(0, A.out_shape)
    assert relative_error(by_jax(y)[0], A.T(y)) < 1e-15
    assert A.T.in_shape == A.out_shape
    assert A.T.out_shape == A.in_shape
    x = random(1, A.in_shape)
    np.testing.assert_array_equal(A.T.T(x), A(x))


@each_operator
def test_it_works_under_jit_vmap_and_derivatives(make):
    A = make()  # noqa: N806
    x = random(2, (2, *A.in_shape))
    wanted = jnp.stack([A(x[0]), A(x[1])])
    assert relative_error(jax.vmap(A)(x), wanted) < 1e-15
    assert relative_error(jax.jit(lambda A, x: A(x))(A, x[0]), wanted[0]) < 1e-15  # noqa: N803
    twice = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), A)
    assert relative_error(jax.vmap(lambda A, x: A(x))(twice, x), wanted) < 1e-15  # noqa: N803
    check_grads(jax.jit(lambda x: A(x)), (x[0],), order=1, modes=("fwd", "rev"))
    assert make().in_shape == A.in_shape
    assert jax.tree.structure(make()) == jax.tree.structure(A)


@each_operator
def test_single_precision_stays_single(make):
    A = make()  # noqa: N806
    assert A(jnp.zeros(A.in_shape, jnp.float32)).dtype == jnp.float32
    assert A.T(jnp.zeros(A.out_shape, jnp.float32)).dtype == jnp.float32
    assert A(jnp.zeros(A.in_shape)).dtype == jnp.float64


def test_a_product_is_the_product_of_the_matrices():
    D, P, G = factors(), projector(), radial_blur()  # noqa: N806
    wanted = matrix_of(D) @ matrix_of(P) @ matrix_of(G)
    for product in (Compose(D, P, G), D @ P @ G, D @ (P @ G)):
        assert relative_error(matrix_of(product), wanted) < 1e-14
        assert len(product.factors) == 3


@pytest.mark.parametrize("views", [slice(1, 5, 2), 3, np.array([4, 0]), np.arange(6) % 2 == 0], ids=repr)
def test_views_of_a_product_are_rows_of_its_matrix(views):
    A = factors() @ Diagonal(np.array([0.3, 2.0, 1.0])[:, None], (6, 3, 9)) @ projector() @ radial_blur()  # noqa: N806
    x = random(0, A.in_shape)
    part, wanted = A[views], A(x)[np.atleast_1d(np.arange(6)[views])]
    assert part.out_shape == wanted.shape
    assert part.in_shape == A.in_shape
    assert relative_error(part(x), wanted) < 1e-15
    traced = jax.jit(lambda v: A[v](x))(jnp.array([5, 2]))
    assert relative_error(traced, A(x)[np.array([5, 2])]) < 1e-15


def test_a_symmetric_gaussian_is_the_convolution():
    scipy = pytest.importorskip("scipy.ndimage")
    image = np.asarray(random(0, (9, 10, 11)))
    blur = GaussianBlur(jaxct.VolumeGrid(image.shape, voxel_size=(2.0, 1.0, 0.8)), (1.9, 1.3, 0.9))
    sigmas = [1.9 / 2, 1.3, 0.9 / 0.8]
    wanted = image
    for axis, sigma in enumerate(sigmas):
        wanted = scipy.gaussian_filter1d(wanted, sigma, axis, mode="constant", radius=blur.radius[axis])
    assert relative_error(blur(image), wanted) < 1e-14
    np.testing.assert_array_equal(GaussianBlur(grid(), 0.0)(jnp.ones(BOX)), np.ones(BOX))


def test_a_gaussian_keeps_what_is_in_the_image_and_has_the_width_that_was_asked_for():
    """Its variance is that of sigma up to the cut-off, at 4 sigma 1.1e-3 of it."""
    blur = GaussianBlur(jaxct.VolumeGrid((65,) * 2, voxel_size=(0.5, 0.7)), (fwhm_to_sigma(4.5), 2.5))
    point = jnp.zeros((65, 65)).at[32, 32].set(1.0)
    spread = np.asarray(blur(point))
    np.testing.assert_allclose(spread.sum(), 1, rtol=1e-12)
    distance = np.arange(-32, 33)
    assert np.sum(spread.sum(1) * (0.5 * distance) ** 2) == pytest.approx((4.5 / 2.354820045) ** 2, rel=1.5e-3)
    assert np.sum(spread.sum(0) * (0.7 * distance) ** 2) == pytest.approx(2.5**2, rel=1.5e-3)


def test_equal_widths_everywhere_are_the_blur_that_is_alike_everywhere():
    wide = jaxct.VolumeGrid((3, 15, 16), voxel_size=(2.0, 1.0, 1.25))
    image = random(0, wide.shape)
    got = RadialBlur(wide, 1.2, 1.2, 1.5)(image)
    assert relative_error(got, GaussianBlur(wide, (1.5, 1.2, 1.2))(image)) < 1e-14


def test_points_spread_along_the_radius_as_far_as_they_should():
    """At 45 degrees, too; the covariance of a point's image is that of its Gaussian."""
    plane = jaxct.VolumeGrid((61, 61))
    y, x = np.meshgrid(*(np.asarray(c) for c in plane.coordinates()), indexing="ij")
    r = np.hypot(y, x)
    blur = RadialBlur(plane, 1.2 + 0.08 * r, 1.0 + 0.02 * r)
    for row, col in ((42, 30), (30, 16), (42, 42), (30, 30)):
        spread = np.asarray(blur(jnp.zeros(plane.shape).at[row, col].set(1.0)))
        np.testing.assert_allclose(spread.sum(), 1, rtol=1e-12)
        dy, dx = y - y[row, col], x - x[row, col]
        outwards = np.array([y[row, col], x[row, col]]) / (r[row, col] or 1.0)
        if r[row, col] == 0:
            outwards = np.array([1.0, 0.0])
        along, across = dy * outwards[0] + dx * outwards[1], dx * outwards[0] - dy * outwards[1]
        at = r[row, col]
        assert np.sum(spread * along**2) == pytest.approx((1.2 + 0.08 * at) ** 2, rel=2e-3)
        assert np.sum(spread * across**2) == pytest.approx((1.0 + 0.02 * at) ** 2, rel=2e-3)
        assert np.sum(spread * along * across) == pytest.approx(0, abs=2e-3)


def test_what_is_blurred_differently_here_and_there_is_not_symmetric():
    matrix = matrix_of(radial_blur())
    assert relative_error(matrix, matrix.T) > 0.02


def test_derivatives_in_the_widths_and_the_factors():
    x = random(0, BOX)
    gaussian = jax.jit(lambda s: GaussianBlur(grid(), s, radius=3)(x))
    check_grads(gaussian, (jnp.array([1.5, 0.8, 0.6]),), order=1, modes=("rev",))
    radial = jax.jit(lambda r, t: RadialBlur(grid(), r, t, radius=2)(x))
    check_grads(radial, (0.6 + 0.1 * radius_map(), jnp.array(0.7)), order=1, modes=("rev",))
    check_grads(jax.jit(lambda w: Diagonal(w)(x)), (random(1, BOX),), order=1, modes=("rev",))


def test_sizes_that_are_known_need_no_radius_under_jit():
    x, here = random(0, BOX), grid()
    within = jax.jit(lambda x: GaussianBlur(here, 0.8)(RadialBlur(here, 0.5, 0.7)(x)))
    assert relative_error(within(x), GaussianBlur(here, 0.8)(RadialBlur(here, 0.5, 0.7)(x))) < 1e-15
    for blur in (lambda s: GaussianBlur(grid(), s)(x), lambda s: RadialBlur(grid(), s, 1.0)(x)):
        with pytest.raises(ValueError, match="radius must be given"):
            jax.jit(blur)(0.8)


def test_solvers_take_a_whole_scanner_for_its_matrix():
    A = factors() @ projector() @ GaussianBlur(grid(), 0.6)  # noqa: N806
    matrix = matrix_of(A)
    counts = np.random.default_rng(1).poisson(5 * matrix.sum(1)).astype(float)
    image = start = np.random.default_rng(2).uniform(1, 2, BOX)
    for views in (slice(0, None, 2), slice(1, None, 2)):
        rows = matrix.reshape(*A.out_shape, -1)[views].reshape(-1, image.size)
        found = counts.reshape(A.out_shape)[views].ravel() / (rows @ image.ravel())
        image = image * (rows.T @ found / rows.sum(0)).reshape(BOX)
    result = osem(A, counts.reshape(A.out_shape), num_iters=1, num_subsets=2, init=start, order="sequential")
    assert relative_error(result.volume, image) < 1e-12


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Compose(), ValueError, "at least one"),
        (
            lambda: factors() @ GaussianBlur(grid(), 1.0),
            ValueError,
            r"Diagonal takes the shape \(6, 3, 9\).*\(3, 7, 8\)",
        ),
        (lambda: factors() @ np.eye(3), TypeError, "in_shape"),
        (lambda: (GaussianBlur(grid(), 1.0) @ Diagonal(np.ones(BOX)))[0], TypeError, "views .* GaussianBlur"),
        (lambda: factors()(np.ones((3, 9))), ValueError, r"x: expected .*\(6, 3, 9\), got \(3, 9\)"),
        (lambda: GaussianBlur(grid(), 1.0)(np.ones(BOX, complex)), TypeError, "complex"),
        (lambda: Diagonal(np.ones((2, 3)), (3, 3)), ValueError, r"weights .*\(3, 3\), got shape \(2, 3\)"),
        (lambda: GaussianBlur(grid(), -1.0), ValueError, "sigma must not be negative, got -1"),
        (lambda: GaussianBlur(grid(), np.inf), ValueError, "sigma .*inf"),
        (lambda: GaussianBlur(grid(), 1.0, radius=(1, 2)), ValueError, r"radius .* 3 of them.*\(1, 2\)"),
        (lambda: RadialBlur(grid(), 0.0, 1.0), ValueError, "radial must be positive"),
        (lambda: RadialBlur(grid(), 1.0, np.ones(5)), ValueError, r"tangential .*\(7, 8\), got shape \(5,\)"),
        (lambda: RadialBlur(grid(), 1.0, 1.0, -1.0), ValueError, "axial must not be negative"),
        (lambda: RadialBlur(jaxct.VolumeGrid((4, 4)), 1.0, 1.0, 1.0), ValueError, "axial: a 2-D image"),
    ],
)
def test_bad_input_names_the_argument(make, error, message):
    with pytest.raises(error, match=message):
        make()
