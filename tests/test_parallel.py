"""Eight devices do what one does."""

import itertools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax import parallel

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Device count -> (the arrays of tests/on_devices.py, what it printed)."""
    place, running = tmp_path_factory.mktemp("devices"), {}
    for count in (1, 8):
        settings = {
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={count}",
        }
        running[count] = subprocess.Popen(
            [sys.executable, "-m", "tests.on_devices", place / f"{count}.npz"],
            env=os.environ | settings,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    results = {}
    for count, process in running.items():
        said, errors = process.communicate()
        assert process.returncode == 0, errors
        results[count] = dict(np.load(place / f"{count}.npz")), said
    return results


def test_training_is_that_of_one_device(runs):
    (one, _), (eight, _) = runs[1], runs[8]
    assert one["['devices']"] == 1
    assert eight["['devices']"] == 8
    trained = [name for name in one if name.startswith("['trained']")]
    assert len(trained) > 20
    assert one["['trained'].step"] == eight["['trained'].step"] == 5
    for name in trained:
        np.testing.assert_allclose(eight[name], one[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_long_inputs_are_those_of_one_device(runs):
    (one, _), (eight, _) = runs[1], runs[8]
    for name, shape in {"['mapped']['image']": (13, 8, 8, 3), "['mapped']['sum']": (13,)}.items():
        assert one[name].shape == eight[name].shape == shape
        np.testing.assert_allclose(eight[name], one[name], rtol=1e-5, atol=1e-5)


def test_windows_of_one_picture_are_spread_over_devices(runs):
    """Of nine pictures each device has some whole; either way the results are those of one."""
    (one, _), (eight, _) = runs[1], runs[8]
    assert eight["['together']"].tolist() == [True, True, False, False]
    assert not one["['together']"].any()
    names = [name for name in one if name.startswith("['large']")]
    assert len(names) == 4
    for name in names:
        np.testing.assert_allclose(eight[name], one[name], atol=1e-4, err_msg=name)


def test_a_batch_that_does_not_divide_is_one_sentence(runs):
    assert runs[1][1] == ""
    assert runs[8][1] == "A batch of 12 does not divide over 8 devices; choose a multiple of 8.\n"


def test_shard_and_replicate():
    tree = {"a": np.arange(12).reshape(6, 2), "b": np.arange(6)}
    split = parallel.shard(tree, devices=range(3))
    assert split["a"].shape == (3, 2, 2)
    assert split["b"].tolist() == [[0, 1], [2, 3], [4, 5]]
    whole = parallel.unreplicate(parallel.replicate(tree))
    assert jax.tree.all(
        jax.tree.map(lambda x, y: isinstance(x, np.ndarray) and np.array_equal(x, y), whole, tree)
    )


def test_a_step_is_compiled_once_for_a_replicated_state():
    """For what `replicate` gives and for what it gives back itself."""
    traced = []

    def step(key, state, batch, shared):
        traced.append(None)
        return jax.tree.map(lambda leaf: leaf + batch.mean(), state)

    update, state = parallel.data_parallel(step), parallel.replicate({"a": np.ones(3, np.float32)})
    batch = parallel.to_devices(np.ones((1, jax.local_device_count()), np.float32))
    for _ in range(3):
        state = update(jax.random.key(0), state, batch, None)
    assert len(traced) == 1
    np.testing.assert_array_equal(parallel.unreplicate(state)["a"], 4)


def test_map_batches_compiles_once_and_keeps_the_order():
    traced, seen = [], []

    def double(tree, x):
        traced.append(x.shape)
        return tree["factor"] * x

    def progress(batches):
        seen.extend(batches)
        return seen

    count = jax.local_device_count()
    x = np.arange(7 * count, dtype=np.float32)
    for factor in (2.0, 3.0):  # new leaves, the same program
        result = parallel.map_batches(
            double, {"factor": jnp.asarray(factor)}, x, batch_size=3 * count, progress=progress
        )
        np.testing.assert_array_equal(result, factor * x)
    assert traced == [(3,)]
    assert seen[:3] == [0, 3 * count, 6 * count]


@pytest.mark.parametrize("lengths", [(0,), (3, 2), (2, 3)])
def test_map_batches_refuses_what_it_cannot_pair(lengths):
    with pytest.raises(
        ValueError, match=f"one length, at least 1; found {', '.join(map(str, sorted(lengths)))}"
    ):
        parallel.map_batches(
            lambda tree, x: x, None, [np.zeros(length) for length in lengths], batch_size=2
        )


@pytest.mark.parametrize("size", [1, 2, 50])
def test_prefetch_keeps_order(size):
    assert list(parallel.prefetch(range(20), size=size)) == list(range(20))
    assert list(parallel.prefetch([], size=size)) == []


def test_prefetch_passes_exceptions_on_in_their_place():
    def items():
        yield 1
        yield 2
        raise OSError("the disk is gone")

    stream = parallel.prefetch(items())
    assert [next(stream), next(stream)] == [1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(stream)


def test_prefetch_runs_ahead_by_its_size_and_ends_when_closed():
    made = []
    stream = parallel.prefetch((made.append(n) or n for n in itertools.count()), size=3)
    assert next(stream) == 0
    deadline = time.monotonic() + 10
    while len(made) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert made == [0, 1, 2, 3, 4]
    stream.close()
    while (
        any(thread.name == "prefetch" for thread in threading.enumerate())
        and time.monotonic() < deadline
    ):
        time.sleep(0.01)
    assert not any(thread.name == "prefetch" for thread in threading.enumerate())


def test_prefetch_needs_room():
    with pytest.raises(ValueError, match="expected at least 1"):
        parallel.prefetch([1], size=0)


def noisy_sum(tree, x):
    """A program whose temporaries grow with the batch."""
    squares = jnp.sin(x[:, :, None] * x[:, None]) + tree
    return jnp.linalg.matrix_power(squares, 3).sum((1, 2))


def test_a_batch_that_does_not_fit_is_made_smaller_before_it_runs(monkeypatch):
    """By the compiler's own figure; the results are those of the batch that was asked for."""
    devices = jax.local_device_count()
    x = np.random.default_rng(0).normal(size=(16 * devices, 32)).astype(np.float32)
    one = jnp.asarray(1.0)
    whole = parallel.map_batches(noisy_sum, one, x, batch_size=16 * devices)
    monkeypatch.setattr(parallel, "free_memory", lambda: 40_000)
    with pytest.warns(UserWarning, match=r"16 at once would need .* are free; (1|2|4) are taken"):
        parts = parallel.map_batches(noisy_sum, one, x, batch_size=16 * devices)
    np.testing.assert_allclose(parts, whole, rtol=1e-4)
    with pytest.raises(MemoryError, match="take a smaller batch"):
        parallel.map_batches(noisy_sum, one, x, batch_size=16 * devices, at_least=True)
    monkeypatch.setattr(parallel, "free_memory", lambda: 1_000)
    with pytest.raises(MemoryError, match=r"One would need .*; take a smaller image or model"):
        parallel.map_batches(noisy_sum, one, x, batch_size=16 * devices)
