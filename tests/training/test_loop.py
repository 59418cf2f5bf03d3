"""The loop: it stops at the first number that is none, and saves nothing after it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ddib_jax.training import Checkpoints, TrainingLog, TrainState, fit, gradients, read_log
from tests.training.problem import KEY, problem, same_bits


def test_what_becomes_nan_stops_the_training_and_the_last_good_step_stays(tmp_path):
    state, batch_at, options = problem(20)

    def poisoned(step):
        batch = batch_at(step)
        return batch if step != 5 else batch | {"x": batch["x"] * np.float32("nan")}

    checkpoints = Checkpoints(tmp_path, {})
    log = TrainingLog(tmp_path, start=0, steps=20, quiet=True)
    more = {"checkpoints": checkpoints, "checkpoint_every": 2, "log": log, "log_every": 4}
    with pytest.raises(FloatingPointError, match="loss.* became infinite or not a number between steps 5 and 6;"):
        fit(state, KEY, poisoned, **options, **more)
    log.close()
    checkpoints.close()
    assert [line["step"] for line in read_log(tmp_path / "log.jsonl")] == [4]
    assert sorted(path.name for path in (tmp_path / "steps").iterdir()) == ["2", "4"]
    good = Checkpoints(tmp_path, {}).restore(state)
    same_bits(good, fit(state, KEY, batch_at, **options | {"steps": 4}))


def test_parameters_that_overflow_are_not_saved(tmp_path):
    """The loss and the gradient are finite up to the very step that is to be saved."""
    tx = optax.scale(-3e38)
    state = TrainState.create({"w": jnp.zeros(2)}, tx)
    grad_fn = gradients(lambda params, key, batch, shared: 0 * jnp.sum(jnp.tanh(params["w"])) + 4 * jnp.tanh(jnp.sum(params["w"])))
    checkpoints = Checkpoints(tmp_path, {})
    with pytest.raises(FloatingPointError, match="a parameter became infinite or not a number between steps 1 and 1;"):
        fit(state, KEY, lambda step: np.zeros(8), grad_fn=grad_fn, tx=tx, steps=1, checkpoints=checkpoints)
    checkpoints.close()
    assert not list((tmp_path / "steps").iterdir())


def test_the_watch_sees_the_host_and_the_last_step_is_always_due(tmp_path):
    state, batch_at, options = problem(7)
    seen = {}
    log = TrainingLog(tmp_path, start=0, steps=7, quiet=True)
    final = fit(state, KEY, batch_at, **options, watch=seen.__setitem__, watch_every=3, log=log, log_every=5)
    log.close()
    assert list(seen) == [3, 6, 7] and [int(state.step) for state in seen.values()] == [3, 6, 7]
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves((seen, final)))
    assert [line["step"] for line in read_log(tmp_path / "log.jsonl")] == [5, 7]
    same_bits(final, seen[7])
    same_bits(seen[3], fit(state, KEY, batch_at, **options | {"steps": 3}))  # later steps did not write over it


def test_from_the_host_or_the_device_the_bits_are_the_same():
    state, batch_at, options = problem(2)
    same_bits(fit(state, KEY, batch_at, **options), fit(jax.tree.map(np.asarray, state), KEY, batch_at, **options))


@pytest.mark.parametrize("interval", ["log_every", "checkpoint_every", "watch_every"])
def test_intervals_are_at_least_one_step(interval):
    state, batch_at, options = problem(2)
    with pytest.raises(ValueError, match="whole numbers of steps from 1 up"):
        fit(state, KEY, batch_at, **options, **{interval: 0})
