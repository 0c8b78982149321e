"""MLEM and OSEM of single events: with the sensitivity of the whole scan they do what they do with histograms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxct.reconstruct.mlem import mlem
from jaxct.reconstruct.osem import osem
from jaxct.reconstruct.subsets import ordered_subsets
from tests.matrix import COLS, ROWS, Matrix
from tests.operators import relative_error


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def problem():
    """A positive matrix, counts of which some are zero, and the rows of their events in random order."""
    rng = np.random.default_rng(0)
    matrix = rng.uniform(size=(ROWS, 6)) * (rng.uniform(size=(ROWS, 6)) < 0.5)
    matrix[np.arange(ROWS), np.arange(ROWS) % 6] += 1
    counts = rng.poisson(2.5 * matrix.sum(1)) * np.where(np.arange(ROWS) % 5 > 0, 1.0, 0.0)
    return matrix, counts, rng.permutation(np.repeat(np.arange(ROWS), counts.astype(int)))


@pytest.mark.parametrize("background", [None, np.linspace(0.1, 2, ROWS)])
def test_events_give_the_images_of_their_histogram(problem, background):
    matrix, counts, rays = problem
    events = Matrix(jnp.asarray(matrix[rays]))
    listed = mlem(
        events,
        np.ones(len(rays)),
        num_iters=8,
        sensitivity=matrix.sum(0).reshape(COLS),
        background=None if background is None else background[rays],
    )
    binned = mlem(Matrix(jnp.asarray(matrix)), counts, num_iters=8, background=background)
    assert relative_error(listed.volume, binned.volume) < 1e-13
    of_background = 0.0 if background is None else background.sum()
    np.testing.assert_allclose(listed.history["total"] + of_background, binned.history["total"], rtol=1e-13)
    apart = listed.history["log_likelihood"] - binned.history["log_likelihood"]
    known = counts[counts > 0]
    np.testing.assert_allclose(apart, np.sum(known * np.log(known)) + of_background, rtol=1e-11)


def test_the_sensitivity_may_be_given_for_histograms_too(problem):
    matrix, counts, _ = problem
    A = Matrix(jnp.asarray(matrix))  # noqa: N806
    given = mlem(A, counts, num_iters=4, sensitivity=A.T(np.ones(ROWS)))
    assert relative_error(given.volume, mlem(A, counts, num_iters=4).volume) < 1e-14
    np.testing.assert_allclose(given.history["total"], counts.sum(), rtol=1e-13)


def test_subsets_of_events_have_their_share_of_the_sensitivity(problem):
    matrix, _, rays = problem
    sensitivity, number, background = matrix.sum(0), len(rays), 0.3
    subsets = ordered_subsets(number, 7)
    assert number % 7, "subsets of different sizes"
    image, totals = np.ones(6), 0.0
    for views, counted in zip(np.asarray(subsets.views), np.asarray(subsets.counted), strict=True):
        rows = matrix[rays[views[counted]]]
        share = counted.sum() / number
        totals += share * sensitivity @ image
        image = image / (share * sensitivity) * (rows.T @ (1 / (rows @ image + background)))
    result = osem(
        Matrix(jnp.asarray(matrix[rays])),
        np.ones(number),
        num_iters=1,
        num_subsets=7,
        init=np.ones(COLS),
        background=background,
        sensitivity=sensitivity.reshape(COLS),
    )
    assert relative_error(np.ravel(result.volume), image) < 1e-13
    np.testing.assert_allclose(result.history["total"], totals, rtol=1e-13)


def test_one_subset_of_events_is_mlem(problem):
    matrix, _, rays = problem
    events, ones = Matrix(jnp.asarray(matrix[rays])), np.ones(len(rays))
    options = {"num_iters": 5, "init": np.ones(COLS), "sensitivity": matrix.sum(0).reshape(COLS), "background": 0.2}
    by_parts, whole = osem(events, ones, num_subsets=1, **options), mlem(events, ones, **options)
    assert relative_error(by_parts.volume, whole.volume) < 1e-14
    for name, values in whole.history.items():
        np.testing.assert_allclose(by_parts.history[name][1:], values[:-1], rtol=1e-12)


def test_voxels_that_the_scanner_does_not_see_are_zero_and_impossible_events_do_not_count(problem):
    matrix, _, rays = problem
    matrix[:, 4] = 0
    listed = matrix[rays]
    listed[3] = 0
    options = {"num_iters": 5, "sensitivity": matrix.sum(0).reshape(COLS)}
    for result in (
        mlem(Matrix(jnp.asarray(listed)), np.ones(len(rays)), **options),
        osem(Matrix(jnp.asarray(listed)), np.ones(len(rays)), num_subsets=3, **options),
    ):
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result))
        assert np.ravel(result.volume)[4] == 0
        assert np.sum(np.asarray(result.volume) > 0) > 2


@pytest.mark.parametrize("solve", [mlem, lambda *args, **options: osem(*args, num_subsets=2, **options)])
def test_bad_sensitivities_are_named(problem, solve):
    matrix, _, rays = problem
    events, ones = Matrix(jnp.asarray(matrix[rays])), np.ones(len(rays))
    with pytest.raises(ValueError, match="sensitivity must not be negative, got -1"):
        solve(events, ones, num_iters=1, sensitivity=-1.0)
    with pytest.raises(ValueError, match=r"sensitivity .*\(2, 3\), got shape \(6,\)"):
        solve(events, ones, num_iters=1, sensitivity=np.ones(6))
