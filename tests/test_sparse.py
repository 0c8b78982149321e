"""The stored system matrix is the projector: in both directions, of every model and geometry, for other solvers too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from jaxct import _sparse
from jaxct.reconstruct.lsqr import lsqr
from tests.geometries import CASES, MODELS, models_for
from tests.operators import random, relative_error

NAMES = {
    "parallel_2d",
    "fan_flat",
    "fan_curved_per_view",
    "parallel_3d",
    "cone_flat",
    "helix_curved",
    "cone_all_missing",
}
PAIRS = [(case, model) for case in CASES if case.name in NAMES for model in models_for(case)]


def projector(case, model):
    geometry, grid = case()
    return jaxct.Projector(geometry, grid, model=model)


@pytest.mark.parametrize(("case", "model"), PAIRS)
def test_it_projects_and_back_projects_like_the_projector(case, model):
    pytest.importorskip("scipy")
    with jax.enable_x64(True):
        A = projector(case, model)  # noqa: N806
        matrix = A.to_sparse()
        x, y = random(0, A.in_shape), random(1, A.out_shape)
        assert matrix.dtype == np.float64
        assert matrix.shape == (np.size(y), np.size(x))
        assert relative_error(matrix @ np.ravel(x), np.ravel(A(x))) < 1e-13
        assert relative_error(matrix.T @ np.ravel(y), np.ravel(A.T(y))) < 1e-13


@pytest.mark.parametrize("model", MODELS)
def test_both_formats_hold_the_same_weights_and_no_zeros(model):
    pytest.importorskip("scipy")
    A = projector(CASES[2], model)  # noqa: N806
    rows, bcoo = A.to_sparse("scipy"), A.to_sparse(format="bcoo")
    assert rows.dtype == bcoo.dtype == np.float32
    assert rows.has_canonical_format
    assert (rows.data != 0).all()
    assert 0 < rows.nnz < 0.5 * np.prod(rows.shape)
    np.testing.assert_array_equal(bcoo.todense(), rows.toarray())
    assert bcoo.nse == rows.nnz
    assert bcoo.indices_sorted
    assert bcoo.unique_indices
    x = random(0, A.in_shape)
    assert relative_error(jax.jit(lambda m, x: m @ x.ravel())(bcoo, x), np.ravel(A(x))) < 1e-6


def test_small_blocks_make_the_same_matrix(monkeypatch):
    """A view in parts that do not come out even."""
    A = projector(CASES[8], "joseph")  # noqa: N806
    assert A.out_shape[1:] == (9, 11)
    wanted = A.to_sparse("bcoo")
    monkeypatch.setattr(_sparse, "BLOCK", 7 * (99 + 504))
    got = A.to_sparse("bcoo")
    np.testing.assert_array_equal(got.indices, wanted.indices)
    np.testing.assert_array_equal(got.data, wanted.data)


def test_scipy_solves_with_it_what_lsqr_solves_with_the_projector():
    linalg = pytest.importorskip("scipy.sparse.linalg")
    with jax.enable_x64(True):
        geometry = jaxct.ParallelBeam(np.linspace(0.1, 3, 15), detector_shape=(14,))
        A = jaxct.Projector(geometry, jaxct.VolumeGrid((9, 10)))  # noqa: N806
        data = random(2, A.out_shape)
        matrix = A.to_sparse()
        for steps in (8, 300):  # before rounding takes the orthogonality of the bases, and when it no longer matters
            wanted = linalg.lsqr(matrix, np.ravel(data), damp=0.3, atol=0, btol=0, conlim=0, iter_lim=steps)[0]
            assert relative_error(np.ravel(lsqr(A, data, num_iters=steps, damping=0.3).volume), wanted) < 1e-11


def test_what_cannot_be_stored_is_refused():
    A = projector(CASES[2], "joseph")  # noqa: N806
    entries = np.prod(A.in_shape) * np.prod(A.out_shape)
    with pytest.raises(ValueError, match=f"max_entries: .* limit is {entries - 1}"):
        A.to_sparse(max_entries=int(entries) - 1)
    assert A.to_sparse("bcoo", max_entries=int(entries)).shape == (44, 72)
    large = jaxct.ParallelBeam(np.zeros(2000), detector_shape=(2000,))
    with pytest.raises(ValueError, match=r"max_entries: .* 4000000 x 4000000 = 1.6e\+13 entries"):
        jaxct.Projector(large, jaxct.VolumeGrid((2000, 2000))).to_sparse()
    with pytest.raises(ValueError, match=r"format .* 'csr'"):
        A.to_sparse("csr")
    with pytest.raises(ValueError, match=r"max_entries .* 0"):
        A.to_sparse(max_entries=0)
    with pytest.raises(ValueError, match="concrete geometry"):
        jax.jit(lambda A: jnp.sum(A.to_sparse("bcoo").data))(A)  # noqa: N803
