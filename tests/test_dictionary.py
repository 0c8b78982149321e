"""Sparse codes against their definition; patches and their sum; learning that never gets worse; and a reconstruction
that climbs its objective, and is better than one without a prior."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from jaxct.reconstruct import _patches, dictionary_em, learn_dictionary, map_em, mlem
from jaxct.reconstruct._sparse_codes import matching_pursuit, projected
from jaxct.reconstruct.dictionary import _first_atoms, _learn, _training_patches
from tests.emission import counted_problem
from tests.matrix import COLS, ROWS, Matrix
from tests.operators import random, relative_error


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


# ---- patches

SHAPES = [((7, 6), (3, 2), 1), ((7, 6), (3, 3), 2), ((5, 4, 6), (2, 3, 2), 1), ((5, 4, 6), (1, 4, 2), 1)]


def numpy_patches(image, edges, stride):
    axes = [_patches.corners(n, e, stride) for n, e in zip(image.shape, edges, strict=True)]
    windows = (tuple(slice(c, c + e) for c, e in zip(at, edges, strict=True)) for at in itertools.product(*axes))
    return [image[window] for window in windows]


@pytest.mark.parametrize(("shape", "edges", "stride"), SHAPES)
def test_patches_are_all_windows_of_the_image(shape, edges, stride):
    image = random(0, shape)
    total, found = _patches.summed(lambda p, _: (p, p), image, None, edges, stride)
    wanted = numpy_patches(image, edges, stride)
    seen = np.asarray(found).reshape(-1, *edges)
    np.testing.assert_array_equal(seen, wanted)
    held = _patches.coverage(shape, edges, stride)
    assert held.min() >= 1
    np.testing.assert_allclose(total, held * image, rtol=1e-13)


@pytest.mark.parametrize(("shape", "edges", "stride"), SHAPES)
def test_the_sum_of_patches_is_the_exact_transpose(shape, edges, stride):
    slab = random(1, (edges[0], *shape[1:]))
    patches = _patches.slab_patches(slab, edges, stride)
    others = random(2, patches.shape)
    gathered, wanted = np.vdot(patches, others), np.vdot(slab, _patches.slab_sum(others, shape, edges, stride))
    assert gathered == pytest.approx(wanted, rel=1e-13)


# ---- codes


def numpy_pursuit(signal, atoms, sparsity):
    support, residual = [], signal
    for _ in range(sparsity):
        support.append(int(np.argmax(np.abs(atoms @ residual))))
        coefficients = np.linalg.lstsq(atoms[support].T, signal, rcond=None)[0]
        residual = signal - coefficients @ atoms[support]
    return support, coefficients, residual


def unit_atoms(seed, shape):
    atoms = random(seed, shape)
    return atoms / np.linalg.norm(atoms, axis=1, keepdims=True)


def test_codes_are_those_of_orthogonal_matching_pursuit():
    atoms, signals = unit_atoms(3, (20, 9)), random(4, (15, 9))
    codes = jax.jit(matching_pursuit, static_argnums=2)(signals, atoms, 4)
    for k, signal in enumerate(np.asarray(signals)):
        support, coefficients, residual = numpy_pursuit(signal, np.asarray(atoms), 4)
        assert codes.support[k].tolist() == support
        np.testing.assert_allclose(codes.coefficients[k], coefficients, rtol=1e-10)
        np.testing.assert_allclose(codes.residual[k], residual, atol=1e-13)
    again = projected(signals, atoms, codes.support)
    assert relative_error(again.coefficients, codes.coefficients) < 1e-12


def test_an_atom_twice_and_a_signal_of_nothing_do_no_harm():
    atoms = unit_atoms(3, (6, 5))
    support = jnp.array([[1, 1, 4], [2, 2, 2]])
    signals = jnp.stack([random(5, 5), jnp.zeros(5)])
    codes = projected(signals, atoms, support)
    wanted = np.linalg.lstsq(np.asarray(atoms[jnp.array([1, 4])]).T, np.asarray(signals[0]), rcond=None)[0]
    np.testing.assert_allclose(codes.coefficients[0], [wanted[0], 0, wanted[1]], rtol=1e-12)
    assert np.abs(codes.coefficients[1]).max() == 0
    assert np.abs(matching_pursuit(signals, atoms, 3).residual[1]).max() == 0


# ---- learning


def sparse_signals(atoms, count, sparsity, seed):
    rng = np.random.default_rng(seed)
    weights = np.zeros((count, len(atoms)))
    for row in weights:
        row[rng.choice(len(atoms), sparsity, replace=False)] = rng.uniform(0.5, 1.5, sparsity) * rng.choice([-1, 1])
    return weights @ atoms


def test_learning_finds_the_atoms_that_signals_are_made_of():
    """The experiment of the paper, without noise: most atoms come back, up to sign and order."""
    truth = np.asarray(unit_atoms(6, (30, 20)))
    signals = jnp.asarray(sparse_signals(truth, 800, 2, 7))
    atoms, left = _learn(signals, _first_atoms(signals, jax.random.key(0), 30), sparsity=2, num_iters=40)
    likeness = np.abs(truth @ np.asarray(atoms).T).max(1)
    assert (likeness > 0.99).mean() > 0.75
    assert left[-1, 1] < 0.2 * left[0, 0]


def test_neither_step_of_learning_makes_codes_worse():
    image = random(8, (12, 14))
    signals = _training_patches(image, jax.random.key(0), (3, 3), 100)
    _, left = _learn(signals, _first_atoms(signals, jax.random.key(1), 16), sparsity=2, num_iters=12)
    assert (np.diff(np.ravel(left)) <= 1e-13).all()
    assert left[-1, -1] < 0.9 * left[0, 0]


def test_a_dictionary_has_atoms_of_norm_one_and_mean_zero():
    """Also where there are fewer patches than atoms, and most are flat."""
    image = np.zeros((8, 9))
    image[2:5, 3:] = 1.0
    atoms = learn_dictionary(image, num_atoms=50, patch=(2, 4), sparsity=2, num_iters=2)
    assert atoms.shape == (50, 2, 4)
    assert relative_error(jnp.sum(atoms**2, (1, 2)), np.ones(50)) < 1e-12
    assert np.abs(np.mean(atoms, (1, 2))).max() < 1e-12


def test_a_dictionary_does_not_depend_on_the_unit_of_the_image():
    image = random(0, (6, 5, 7))
    learned = [learn_dictionary(c * image, num_atoms=9, num_iters=2) for c in (1.0, 1e3)]
    assert learned[0].shape == (9, 4, 4, 4)
    assert relative_error(*learned) < 1e-9


# ---- reconstruction

ATOMS = np.random.default_rng(3).normal(size=(5, 2, 2))


def dense_penalty(x, atoms, sparsity, edges):
    """With the best codes that there are, not those of a greedy search."""
    flat = atoms.reshape(len(atoms), -1)
    total = 0.0
    for patch in numpy_patches(np.asarray(x), edges, 1):
        best = np.inf
        for support in itertools.combinations(range(len(flat)), sparsity):
            columns = np.stack([np.ones(patch.size), *(flat[k] - flat[k].mean() for k in support)], 1)
            left = patch.ravel() - columns @ np.linalg.lstsq(columns, patch.ravel(), rcond=None)[0]
            best = min(best, left @ left)
        total += best
    return total


def test_the_objective_never_falls_and_counts_the_penalty():
    matrix, data = counted_problem()
    A = Matrix(jnp.asarray(matrix))  # noqa: N806
    for weight in (0.1, 10.0):
        options = {"dictionary": ATOMS, "weight": weight, "sparsity": 1, "background": 1.5}
        result = dictionary_em(A, data, num_iters=200, **options)
        objective = np.asarray(result.history["objective"])
        assert (np.diff(objective) >= -1e-12 * np.abs(objective[:-1])).all()
        penalty = float(result.history["log_likelihood"][-1] - objective[-1])
        best = weight * dense_penalty(result.volume, ATOMS, 1, (2, 2))
        # With one atom the greedy choice is the best.
        assert penalty == pytest.approx(best, rel=1e-9)


def test_at_the_end_the_image_is_a_fixed_point_of_map_em_with_its_own_codes():
    matrix, data = counted_problem()
    A = Matrix(jnp.asarray(matrix))  # noqa: N806
    state = None

    def last(_, seen, __):
        nonlocal state
        state = seen

    volume, _ = dictionary_em(A, data, dictionary=ATOMS, weight=2.0, sparsity=2, num_iters=2000, callback=last)
    held = _patches.coverage(COLS, (2, 2), 1)
    stays = map_em(A, data, num_iters=1, pull=4.0 * held, target=state.approximated / held, init=volume)
    assert relative_error(stays.volume, volume) < 1e-9


def test_without_weight_it_is_mlem_and_with_all_of_it_the_patches_are_codes():
    matrix, data = counted_problem()
    A = Matrix(jnp.asarray(matrix))  # noqa: N806
    options = {"dictionary": ATOMS, "sparsity": 1, "background": 1.5}
    free = dictionary_em(A, data, weight=0.0, num_iters=5, **options)
    assert relative_error(free.volume, mlem(A, data, num_iters=5, background=1.5).volume) < 1e-13
    bound = dictionary_em(A, data, weight=1e7, num_iters=200, **options)
    assert dense_penalty(bound.volume, ATOMS, 1, (2, 2)) < 1e-6 * float(jnp.sum(bound.volume**2))
    by_sensitivity = dictionary_em(A, data, weight=0.0, num_iters=5, sensitivity=A.T(np.ones(ROWS)), **options)
    assert relative_error(by_sensitivity.volume, free.volume) < 1e-13


def test_the_scale_of_the_dictionary_is_nothing():
    matrix, data = counted_problem()
    A = Matrix(jnp.asarray(matrix))  # noqa: N806
    options = {"weight": 1.0, "sparsity": 2, "num_iters": 5}
    wanted = dictionary_em(A, data, dictionary=ATOMS, **options).volume
    assert relative_error(dictionary_em(A, data, dictionary=30 * ATOMS + 7, **options).volume, wanted) < 1e-12


def test_a_prior_image_of_the_same_edges_takes_noise_away():
    """Of a disk with hot spots in it, of which the prior image, of another contrast, has all but one."""
    beam = jaxct.ParallelBeam(np.linspace(0, np.pi, 30, endpoint=False), detector_shape=(34,))
    A = jaxct.Projector(beam, jaxct.VolumeGrid((28, 28)))  # noqa: N806
    y, x = np.mgrid[-13.5:14, -13.5:14]
    disk, spot = x**2 + y**2 < 150, (x - 4) ** 2 + (y + 3) ** 2 < 16
    lesion = (x + 5) ** 2 + (y - 3) ** 2 < 6
    image = 2.0 * disk + 4.0 * spot + 4.0 * lesion
    data = np.random.default_rng(0).poisson(A(image)).astype(float)
    atoms = learn_dictionary(5.0 * disk - 3.0 * spot, num_atoms=48, patch=5, sparsity=2, num_iters=5)
    found = dictionary_em(A, data, dictionary=atoms, weight=0.05, sparsity=2, num_iters=40).volume
    # MLEM is best when it is stopped early, where the lesion has not come up yet.
    stopped = [mlem(A, data, num_iters=n).volume for n in (5, 10, 20, 40)]
    assert relative_error(found, image) < 0.85 * min(relative_error(volume, image) for volume in stopped)
    assert np.asarray(found)[lesion].mean() - 2 > 0.7 * 4


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"dictionary": np.ones((5, 4))}, ValueError, r"dictionary must have shape .* \(2, 3\), got \(5, 4\)"),
        ({"dictionary": np.ones((5, 3, 3))}, ValueError, r"dictionary: patches must be a part .* got \(3, 3\)"),
        ({"dictionary": np.concatenate([ATOMS, np.ones((1, 2, 2))])}, ValueError, "dictionary: atom 5 is constant"),
        ({"dictionary": ATOMS + 1j}, TypeError, "dictionary must be real"),
        ({"sparsity": 4}, ValueError, "sparsity must be at most 3 with 5 atoms and patches of 4 voxels, got 4"),
        ({"sparsity": 0}, ValueError, "sparsity"),
        ({"stride": 3}, ValueError, "stride must be at most .* 2, got 3"),
        ({"weight": -1.0}, ValueError, "weight must not be negative, got -1"),
        ({"background": -1.0}, ValueError, "background must not be negative"),
    ],
)
def test_bad_input_names_the_argument(change, error, message):
    matrix, data = counted_problem()
    options = {"dictionary": ATOMS, "weight": 1.0, "sparsity": 1, "num_iters": 1, **change}
    with pytest.raises(error, match=message):
        dictionary_em(Matrix(jnp.asarray(matrix)), data, **options)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"prior": np.ones(4)}, ValueError, r"prior must be a 2-D or 3-D image, got shape \(4,\)"),
        ({"prior": np.ones((4, 4))}, ValueError, "prior is constant"),
        ({"prior": np.full((4, 4), np.inf)}, ValueError, "prior must be finite"),
        ({"patch": 5}, ValueError, r"patch: .* got \(5, 5\)"),
        ({"patch": (2, 2, 2)}, ValueError, r"patch: .* got \(2, 2, 2\)"),
        ({"patch": 2.5}, TypeError, "patch"),
        ({"num_atoms": 0}, ValueError, "num_atoms"),
        ({"num_patches": 0}, ValueError, "num_patches"),
        ({"sparsity": 9}, ValueError, "sparsity must be at most 4"),
        ({"num_iters": -1}, ValueError, "num_iters"),
        ({"key": 3}, TypeError, "key must be"),
    ],
)
def test_bad_input_to_learning_names_the_argument(change, error, message):
    options = {"prior": np.eye(4), "num_atoms": 4, "patch": 3, "sparsity": 1, **change}
    with pytest.raises(error, match=message):
        learn_dictionary(**options)
