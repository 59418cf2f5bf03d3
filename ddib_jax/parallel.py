"""Devices: the only file that says pmap.

A batch is split over the local devices on its leading axis; a pytree of weights is replicated. The two maps
of the house live here: `data_parallel` for training steps and `map_batches` for long inputs.
"""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

BATCH_AXIS = "batch"


def keep_compiled() -> None:
    """Keep compiled programs on disk from one process to the next, in the user's cache folder.

    Leaves JAX alone where JAX_COMPILATION_CACHE_DIR or the caller has chosen a folder.
    """
    if jax.config.jax_compilation_cache_dir is None:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(home / "ddib_jax" / "xla"))


def replicate(tree: Any, devices=None) -> Any:
    """A copy of every leaf on every local device, under a new leading axis."""
    count = len(devices or jax.local_devices())
    stacked = jax.pmap(lambda _, leaf: leaf, in_axes=(0, None), devices=devices)
    return stacked(np.arange(count), tree)


def unreplicate(tree: Any) -> Any:
    """The first device's copy of a replicated tree, on the host (numpy)."""
    return jax.tree.map(lambda leaf: np.asarray(leaf[0]), tree)


def shard(tree: Any, devices=None) -> Any:
    """Leaves [b, ...] -> [devices, b / devices, ...]; raises ValueError where b does not divide."""
    count = len(devices or jax.local_devices())

    def split(leaf):
        if len(leaf) % count:
            raise ValueError(f"A batch of {len(leaf)} does not divide over {count} devices; choose a multiple of {count}.")
        return np.reshape(leaf, (count, len(leaf) // count, *np.shape(leaf)[1:]))

    return jax.tree.map(split, tree)


def data_parallel(step: Callable, devices=None) -> Callable:
    """`step(state, key, batch, shared)` on every device: state replicated and donated, batch sharded, the rest the same.

    The step averages over the axis `BATCH_AXIS` itself.
    """
    return jax.pmap(step, axis_name=BATCH_AXIS, in_axes=(0, None, 0, None), donate_argnums=0, devices=devices)


@functools.cache
def _pmapped(fn: Callable) -> Callable:
    return jax.pmap(fn, in_axes=(None, 0))


def map_batches(fn: Callable, tree: Any, *arrays: Any, batch_size: int, progress: Callable = iter) -> Any:
    """fn(tree, *batch) over arrays [n, ...] in batches on all local devices; returns host arrays [n, ...].

    Every batch has one shape, the last is padded by its own first entries and cut again: one compilation, kept for
    as long as `fn` is the same function. `batch_size` is rounded up to a multiple of the device count; `progress`
    wraps the iterator over batches (a progress bar). Raises ValueError for arrays that are empty or of several lengths.
    """
    count, total = jax.local_device_count(), len(arrays[0])
    if total == 0 or any(len(array) != total for array in arrays):
        raise ValueError(f"Expected arrays of one length, at least 1; found {', '.join(str(len(array)) for array in arrays)}.")
    size = -(-min(batch_size, total) // count) * count
    mapped = _pmapped(_on_batch(fn))
    results = []
    for start in progress(range(0, total, size)):
        batch = [np.resize(np.asarray(a[start : start + size]), (size, *a.shape[1:])) for a in arrays]
        results.append(mapped(tree, tuple(shard(batch))))
    whole = lambda *parts: np.concatenate([np.asarray(p).reshape(size, *p.shape[2:]) for p in parts])[:total]  # noqa: E731
    return jax.tree.map(whole, *results)


@functools.cache
def _on_batch(fn: Callable) -> Callable:
    return lambda tree, batch: fn(tree, *batch)

