"""Batches made ahead by worker processes, through grain."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

_AHEAD = 2


def in_workers(batch_at: Callable[[int], Any], start: int, stop: int, count: int) -> Iterator[Any]:
    """batch_at(step) of the steps from `start` to before `stop`, in order, made by `count`
    processes.

    The place in the stream is the step alone, so a resumed training goes on by starting at its
    step. `batch_at` is pickled: it must be data, not a closure. Closing the iterator ends the
    processes. Raises ImportError where grain is missing and ValueError for less than one process.
    """
    if count < 1:
        raise ValueError(f"{count} worker processes: expected at least 1")
    try:
        import grain
        from absl import flags
    except ImportError as error:
        raise ImportError("Worker processes need grain; install ddib_jax[workers].") from error
    flags.FLAGS.mark_as_parsed()  # grain asks for its own, which have their defaults
    steps = grain.MapDataset.range(start, stop).map(batch_at)
    reading = grain.ReadOptions(num_threads=1, prefetch_buffer_size=_AHEAD)
    processes = grain.MultiprocessingOptions(num_workers=count, per_worker_buffer_size=_AHEAD)
    return _closed(
        iter(steps.to_iter_dataset(reading).mp_prefetch(processes, worker_init_fn=_with_its_parent))
    )


def _closed(made: Iterator[Any]) -> Iterator[Any]:
    """What grain makes; its processes end when this is closed."""
    try:
        yield from made
    finally:
        made.close()


def _with_its_parent(index: int, count: int) -> None:
    """SIGTERM and Ctrl-C are the training's own to answer; a worker ends when that process has
    ended, however it did.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process().sentinel
    threading.Thread(
        target=lambda: (multiprocessing.connection.wait([parent]), os._exit(1)), daemon=True
    ).start()
