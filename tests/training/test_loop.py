"""The loop: what it skips, when it stops, and what it says meanwhile."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ddib_jax.training import (
    Callback,
    Checkpoints,
    TrainingLog,
    TrainState,
    fit,
    gradients,
    read_log,
)
from tests.training.problem import KEY, batches, problem, same_bits


def poisoned(batch_at, *steps):
    """The batches, not numbers at some steps."""
    return lambda step: (
        batch_at(step) | ({"x": batch_at(step)["x"] * np.float32("nan")} if step in steps else {})
    )


def test_a_step_that_is_not_a_number_is_skipped_and_counted(tmp_path):
    state, batch_at, options = problem(6)
    log = TrainingLog(tmp_path, start=0, steps=6, quiet=True)
    poison = poisoned(batch_at, 2, 5)
    final = fit(KEY, state, batches(poison, state), **options, callbacks=[log.every(3)])
    log.close()
    first, second = read_log(tmp_path / "log.jsonl")
    assert first["skipped"] == 1
    assert second["skipped"] == 2 == int(final.skipped)
    assert all(
        np.isfinite(line["loss"]) and np.isfinite(line["grad_norm"]) for line in (first, second)
    )
    before = fit(KEY, state, batches(batch_at, state), **options | {"steps": 2})
    after = fit(KEY, state, batches(poisoned(batch_at, 2), state), **options | {"steps": 3})
    same_bits(
        (before.params, before.ema, before.opt_state), (after.params, after.ema, after.opt_state)
    )
    assert int(after.step) == 3


def test_too_many_skipped_steps_stop_the_training_and_the_last_good_state_stays(tmp_path):
    state, batch_at, options = problem(20)
    checkpoints = Checkpoints(tmp_path, {})
    log = TrainingLog(tmp_path, start=0, steps=20, quiet=True)
    more = {"callbacks": [log.every(4), checkpoints.every(2)], "max_skipped": 1}
    with pytest.raises(
        FloatingPointError, match="not a number in 2 steps, the last of them step 7;"
    ):
        fit(KEY, state, batches(poisoned(batch_at, 5, 6), state), **options, **more)
    log.close()
    checkpoints.close()
    assert [line["step"] for line in read_log(tmp_path / "log.jsonl")] == [4]
    assert sorted(path.name for path in (tmp_path / "steps").iterdir()) == ["4", "6"]
    good = Checkpoints(tmp_path, {}).restore(state)
    poison = batches(poisoned(batch_at, 5), state)
    same_bits(good, fit(KEY, state, poison, **options | {"steps": 6}))


@pytest.mark.slow
@pytest.mark.parametrize("steps_per_call", [2, 5, 50])
def test_several_steps_a_call_are_the_same_steps(tmp_path, steps_per_call):
    state, batch_at, options = problem(11)
    logs = {}
    for name, count in (("one", 1), ("several", steps_per_call)):
        log = TrainingLog(tmp_path / name, start=0, steps=11, quiet=True)
        more = {"callbacks": [log.every(4)], "steps_per_call": count}
        logs[name] = fit(KEY, state, batches(batch_at, state), **options, **more)
        log.close()
    for one, several in zip(
        jax.tree.leaves(logs["one"]), jax.tree.leaves(logs["several"]), strict=True
    ):
        np.testing.assert_allclose(several, one, rtol=1e-5, atol=1e-7)
    lines = [read_log(tmp_path / name / "log.jsonl") for name in logs]
    assert [line["step"] for line in lines[0]] == [line["step"] for line in lines[1]] == [4, 8, 11]
    np.testing.assert_allclose(*([line["loss"] for line in log] for log in lines), rtol=1e-5)


def test_a_profile_is_written(tmp_path):
    state, batch_at, options = problem(12)
    fit(KEY, state, batches(batch_at, state), **options, profile=tmp_path)
    assert list(tmp_path.rglob("*.xplane.pb"))


def test_parameters_that_overflow_are_not_saved(tmp_path):
    """The loss and the gradient are finite up to the very step that is to be saved."""
    tx = optax.scale(-3e38)
    state = TrainState.create({"w": jnp.zeros(2)}, tx)
    grad_fn = gradients(
        lambda params, key, batch, shared: (
            0 * jnp.sum(jnp.tanh(params["w"])) + 4 * jnp.tanh(jnp.sum(params["w"]))
        )
    )
    checkpoints = Checkpoints(tmp_path, {})
    with pytest.raises(
        FloatingPointError, match="A parameter became infinite or not a number by step 1;"
    ):
        fit(
            KEY,
            state,
            itertools.repeat(np.zeros(8)),
            grad_fn=grad_fn,
            tx=tx,
            steps=1,
            callbacks=[checkpoints.every(500)],
        )
    checkpoints.close()
    assert not list((tmp_path / "steps").iterdir())


def test_callbacks_see_the_host_and_the_last_step_is_always_due(tmp_path):
    state, batch_at, options = problem(7)
    seen = {}
    log = TrainingLog(tmp_path, start=0, steps=7, quiet=True)
    watch = Callback(3, lambda moment: seen.update({moment.step: moment.state}))
    callbacks = [watch, log.every(5)]
    final = fit(KEY, state, batches(batch_at, state), **options, callbacks=callbacks)
    log.close()
    assert list(seen) == [3, 6, 7]
    assert [int(state.step) for state in seen.values()] == [3, 6, 7]
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves((seen, final)))
    assert [line["step"] for line in read_log(tmp_path / "log.jsonl")] == [5, 7]
    same_bits(final, seen[7])
    # later steps did not write over it
    same_bits(seen[3], fit(KEY, state, batches(batch_at, state), **options | {"steps": 3}))


def test_from_the_host_or_the_device_the_bits_are_the_same():
    state, batch_at, options = problem(2)
    same_bits(
        fit(KEY, state, batches(batch_at, state), **options),
        fit(KEY, jax.tree.map(np.asarray, state), batches(batch_at, state), **options),
    )


@pytest.mark.parametrize("more", [{"callbacks": [Callback(0, None)]}, {"steps_per_call": 0}])
def test_intervals_are_at_least_one_step(more):
    state, batch_at, options = problem(2)
    with pytest.raises(ValueError, match="whole numbers of steps from 1 up"):
        fit(KEY, state, batches(batch_at, state), **options, **more)


def test_batches_that_end_too_early_are_said():
    state, batch_at, options = problem(4)
    with pytest.raises(ValueError, match="ended before the steps did: there is none for step 3"):
        fit(KEY, state, map(batch_at, range(3)), **options)


def test_each_callback_is_told_of_the_steps_since_its_own_last_call():
    state, batch_at, options = problem(6)
    told = {1: [], 3: [], 4: []}
    callbacks = [
        Callback(every, lambda moment, every=every: told[every].append(moment.scalars["loss"]))
        for every in told
    ]
    fit(KEY, state, batches(batch_at, state), **options, callbacks=callbacks)
    each = told[1]
    assert len(each) == 6
    np.testing.assert_allclose(told[3], [np.mean(each[:3]), np.mean(each[3:])], rtol=1e-6)
    np.testing.assert_allclose(told[4], [np.mean(each[:4]), np.mean(each[4:])], rtol=1e-6)
