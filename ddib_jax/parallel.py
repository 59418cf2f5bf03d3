"""Devices: the only file that says pmap.

A batch is split over the local devices on its leading axis; a pytree of weights is replicated. The
two maps of the house live here: `data_parallel` for training steps, over the devices of all hosts,
and `map_batches` for long inputs, over those of this host (`hosts`).
"""

import functools
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

BATCH_AXIS = "batch"
_PATIENCE = 10

Item = TypeVar("Item")


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
    return jax.tree.map(
        lambda leaf: np.reshape(leaf, (count, _divided(len(leaf), count), *np.shape(leaf)[1:])),
        tree,
    )


def to_devices(tree: Any) -> Any:
    """Leaves [steps, b, ...] -> [devices, steps, b / devices, ...] on the local devices; raises
    ValueError where b does not divide.
    """
    devices = jax.local_devices()

    def split(leaf):
        steps, batch, *rest = leaf.shape
        parts = leaf.reshape(steps, len(devices), _divided(batch, len(devices)), *rest)
        return np.ascontiguousarray(parts.swapaxes(0, 1))

    mesh = jax.sharding.Mesh(devices, (BATCH_AXIS,))
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(BATCH_AXIS))
    return jax.tree.map(
        lambda leaf: jax.make_array_from_process_local_data(place, split(leaf)), tree
    )


def _divided(batch: int, count: int) -> int:
    if batch % count:
        raise ValueError(
            f"A batch of {batch} does not divide over {count} devices; choose a multiple of"
            f" {count}."
        )
    return batch // count


def prefetch(items: Iterable[Item], size: int = 2) -> Iterator[Item]:
    """Yield `items` in order while a thread prepares up to `size` of them ahead.

    An exception of the iterable is raised here in its place. Closing the iterator early ends the
    thread.
    """
    if size < 1:
        raise ValueError(f"prefetch of size {size}: expected at least 1")
    return _prefetched(items, size)


def data_parallel(step: Callable, devices=None) -> Callable:
    """`step(state, key, batch, shared)` on every device of every host: state replicated and
    donated, batch sharded, the rest the same.

    The step averages over the axis `BATCH_AXIS` itself.
    """
    return jax.pmap(
        step, axis_name=BATCH_AXIS, in_axes=(0, None, 0, None), donate_argnums=0, devices=devices
    )


def mapped(fn: Callable, devices=None) -> Callable:
    """`fn(tree, batch)` on every device, the local ones by default: the tree the same, the batch
    sharded.
    """
    return jax.pmap(fn, in_axes=(None, 0), devices=devices or jax.local_devices())


_mapped = functools.cache(mapped)


def map_batches(
    fn: Callable, tree: Any, *arrays: Any, batch_size: int, progress: Callable = iter
) -> Any:
    """fn(tree, *batch) over arrays [n, ...] in batches on all local devices, of whatever other
    hosts do; returns host arrays [n, ...].

    Every batch has one shape, the last is padded by its own first entries and cut again: one
    compilation, kept for as long as `fn` is the same function. `batch_size` is rounded up to a
    multiple of the device count; `progress` wraps the iterator over batches (a progress bar).
    Raises ValueError for arrays that are empty or of several lengths.
    """
    count, total = jax.local_device_count(), len(arrays[0])
    if total == 0 or any(len(array) != total for array in arrays):
        raise ValueError(
            "Expected arrays of one length, at least 1; found"
            f" {', '.join(str(len(array)) for array in arrays)}."
        )
    size = -(-min(batch_size, total) // count) * count
    on_devices = _mapped(_on_batch(fn))
    results = []
    for start in progress(range(0, total, size)):
        batch = [
            np.resize(np.asarray(a[start : start + size]), (size, *a.shape[1:])) for a in arrays
        ]
        results.append(on_devices(tree, tuple(shard(batch))))
    whole = lambda *parts: np.concatenate(
        [np.asarray(p).reshape(size, *p.shape[2:]) for p in parts]
    )[:total]
    return jax.tree.map(whole, *results)


@functools.cache
def _on_batch(fn: Callable) -> Callable:
    return lambda tree, batch: fn(tree, *batch)


def _prefetched(items: Iterable[Item], size: int) -> Iterator[Item]:
    ready: queue.Queue = queue.Queue(size)
    closed = threading.Event()

    def put(message) -> bool:
        while not closed.is_set():
            try:
                ready.put(message, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
        except BaseException as error:  # handed over, to be raised by the consumer
            put((None, error))
        else:
            put(None)

    thread = threading.Thread(target=produce, name="prefetch", daemon=True)
    thread.start()
    try:
        while (message := ready.get()) is not None:
            item, error = message
            if error is not None:
                raise error
            yield item
    finally:
        closed.set()
        thread.join(
            _PATIENCE
        )  # a thread that still talks to the devices when the process ends takes it down
