"""A long run: stopping rules, checkpoints that survive a kill and know which run they belong to."""

import itertools
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxct
from jaxct.reconstruct import cgls, sirt, stopping
from jaxct.reconstruct.run import iterate
from tests.matrix import Matrix
from tests.solvers import positive_problem

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def problem():
    matrix, _, data = positive_problem()
    return Matrix(jnp.asarray(matrix, jnp.float32)), jnp.asarray(data, jnp.float32)


def run_script(checkpoint, result, kill_after=None) -> int:
    """The iterations that were seen to be done."""
    command = [sys.executable, "-m", "tests.run_script", str(checkpoint), str(result)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if kill_after is not None and int(line) >= kill_after:  # a run that resumes may begin beyond
                os.kill(process.pid, signal.SIGKILL)
        return_code = process.wait()
    assert return_code == (0 if kill_after is None else -signal.SIGKILL)


def test_a_killed_run_resumes_and_ends_in_the_same_bits(tmp_path):
    pytest.importorskip("orbax.checkpoint")
    run_script(tmp_path / "whole", tmp_path / "whole.npz")
    # Where it is killed differs from run to run, and no case may fail.
    for _ in range(2):
        run_script(tmp_path / "killed", tmp_path / "killed.npz", kill_after=random.randint(2, 25))
        assert not (tmp_path / "killed.npz").exists()
    run_script(tmp_path / "killed", tmp_path / "killed.npz", kill_after=random.randint(30, 55))
    run_script(tmp_path / "killed", tmp_path / "killed.npz")
    whole, killed = np.load(tmp_path / "whole.npz"), np.load(tmp_path / "killed.npz")
    assert whole["residual_norm"].shape == (60,)
    for name in whole:
        np.testing.assert_array_equal(whole[name], killed[name])


def test_a_checkpoint_is_refused_to_another_run(problem, tmp_path):
    pytest.importorskip("orbax.checkpoint")
    A, data = problem  # noqa: N806
    cgls(A, data, num_iters=4, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"checkpoint: .* holds another run, which differs in its algorithm"):
        sirt(A, data, num_iters=4, checkpoint=tmp_path)
    for other in ((A, 2 * data), (A, -data), (Matrix(2 * A.values), data)):
        with pytest.raises(ValueError, match=r"checkpoint: .* holds another run, which differs in its (data|start)"):
            cgls(*other, num_iters=4, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"checkpoint: .* 4 iterations far, num_iters is 3"):
        cgls(A, data, num_iters=3, checkpoint=tmp_path)


def test_a_checkpoint_is_refused_to_another_model_of_the_operator(tmp_path):
    """Which is not among the arrays."""
    pytest.importorskip("orbax.checkpoint")
    beam = jaxct.ParallelBeam(np.linspace(0, 3, 6), detector_shape=(12,))
    operators = [jaxct.Projector(beam, jaxct.VolumeGrid((8, 8)), model=model) for model in ("joseph", "siddon")]
    data = operators[0](jnp.ones((8, 8)))
    cgls(operators[0], data, num_iters=2, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="differs in its structure"):
        cgls(operators[1], data, num_iters=4, checkpoint=tmp_path)


def test_rounding_makes_no_other_run(problem, tmp_path):
    """A start that was computed on another machine may differ in the last digit."""
    pytest.importorskip("orbax.checkpoint")
    A, data = problem  # noqa: N806
    sirt(A, data, num_iters=2, checkpoint=tmp_path)
    seen = []
    sirt(A, data * (1 + 1e-7), num_iters=4, checkpoint=tmp_path, callback=lambda iteration, *_: seen.append(iteration))
    assert seen == [3, 4]


def test_a_finished_run_goes_on_with_more_iterations(problem, tmp_path):
    pytest.importorskip("orbax.checkpoint")
    A, data = problem  # noqa: N806
    sirt(A, data, num_iters=4, checkpoint=tmp_path)
    longer = sirt(A, data, num_iters=9, checkpoint=tmp_path)
    wanted = sirt(A, data, num_iters=9, callback=lambda *_: None)
    jax.tree.map(np.testing.assert_array_equal, longer, wanted)
    jax.tree.map(np.testing.assert_array_equal, sirt(A, data, num_iters=9, checkpoint=tmp_path), wanted)


def test_an_interrupted_run_is_kept_up_to_its_last_iteration(problem, tmp_path):
    pytest.importorskip("orbax.checkpoint")
    A, data = problem  # noqa: N806

    def interrupt(iteration, state, record):
        if iteration == 7:
            raise KeyboardInterrupt

    cgls(A, data, num_iters=20, checkpoint=tmp_path, callback=interrupt)
    seen = []
    cgls(A, data, num_iters=9, checkpoint=tmp_path, callback=lambda iteration, *_: seen.append(iteration))
    assert seen == [8, 9]


def test_an_interrupt_while_a_checkpoint_is_written_waits(problem, tmp_path, monkeypatch):
    """Then it ends the run, with that checkpoint whole."""
    ocp = pytest.importorskip("orbax.checkpoint")
    A, data = problem  # noqa: N806
    save = ocp.CheckpointManager.save

    def interrupted_save(self, step, *args, **kwargs):
        if step == 4:
            signal.raise_signal(signal.SIGINT)
        return save(self, step, *args, **kwargs)

    monkeypatch.setattr(ocp.CheckpointManager, "save", interrupted_save)
    result = cgls(A, data, num_iters=20, checkpoint=tmp_path, checkpoint_every=2)
    assert len(result.history["residual_norm"]) == 4
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    seen = []
    cgls(A, data, num_iters=6, checkpoint=tmp_path, callback=lambda iteration, *_: seen.append(iteration))
    assert seen == [5, 6]


def test_random_keys_are_part_of_a_state_that_is_kept(tmp_path):
    pytest.importorskip("orbax.checkpoint")

    def walk(state, operands):
        key, place = state
        key, draw = jax.random.split(key)
        place = place + jax.random.normal(draw)
        return (key, place), {"place": place}

    start = (jax.random.key(3), jnp.zeros(()))
    iterate(walk, start, num_iters=3, checkpoint=tmp_path)
    resumed = iterate(walk, start, num_iters=8, checkpoint=tmp_path)
    whole = iterate(walk, start, num_iters=8, callback=lambda *_: None)
    np.testing.assert_array_equal(resumed[1]["place"], whole[1]["place"])


def test_the_discrepancy_rule_stops_at_the_noise(problem):
    A, data = problem  # noqa: N806
    residuals = np.asarray(sirt(A, data, num_iters=50).history["residual_norm"])
    level = float(residuals[20]) * 1.0001
    stopped = sirt(A, data, num_iters=50, stop=stopping.discrepancy(level / 2, factor=2.0))
    assert len(stopped.history["residual_norm"]) == 21
    with pytest.raises(ValueError, match=r"quantity .*residual_norm, got 'loss'"):
        sirt(A, data, num_iters=5, stop=stopping.discrepancy(1.0, quantity="loss"))
    with pytest.raises(ValueError, match="noise_norm must be positive, got 0"):
        stopping.discrepancy(0.0)


def test_the_relative_change_rule_stops_when_little_happens(problem):
    A, data = problem  # noqa: N806
    volumes = [np.zeros(A.in_shape)]
    sirt(A, data, num_iters=40, callback=lambda i, state, record: volumes.append(np.asarray(state.volume)))
    changes = [np.linalg.norm(b - a) / np.linalg.norm(b) for a, b in itertools.pairwise(volumes)]
    first = int(np.argmax(np.array(changes) <= 0.01)) + 1
    assert 1 < first < 40
    stopped = sirt(A, data, num_iters=40, stop=stopping.relative_change(0.01))
    assert len(stopped.history["residual_norm"]) == first
    either = stopping.any_of(stopping.relative_change(0.01), stopping.not_finite)
    assert len(sirt(A, data, num_iters=40, stop=either).history["residual_norm"]) == first


def test_a_run_that_is_no_longer_finite_can_be_stopped(problem):
    A, data = problem  # noqa: N806
    result = sirt(A, data.at[2].set(jnp.nan), num_iters=40, stop=stopping.not_finite)
    assert len(result.history["residual_norm"]) == 1


def test_a_run_that_a_rule_stopped_stops_there_again(problem, tmp_path):
    pytest.importorskip("orbax.checkpoint")
    A, data = problem  # noqa: N806
    options = {"num_iters": 40, "stop": stopping.relative_change(0.01), "checkpoint": tmp_path, "checkpoint_every": 1}
    first, again = sirt(A, data, **options), sirt(A, data, **options)
    jax.tree.map(np.testing.assert_array_equal, first, again)
