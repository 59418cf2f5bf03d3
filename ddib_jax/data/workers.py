"""Batches made ahead by worker processes, through grain."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Generator
from typing import Any

_AHEAD = 2
_QUIET = "ignore:resource_tracker:UserWarning"


def in_workers(
    batch_at: Callable[[int], Any], start: int, stop: int, count: int
) -> Generator[Any, None, None]:
    """batch_at(step) for the steps in [start, stop), in order, computed by `count` processes.

    A batch depends on its step alone, so a resumed training goes on by starting at its step.
    `batch_at` is pickled: it must be data, not a closure. Closing the iterator ends the processes.
    Raises ImportError where grain is missing and ValueError for less than one process.
    """
    if count < 1:
        raise ValueError(f"Found {count} worker processes: expected at least 1.")
    try:
        import grain
        from absl import flags
    except ImportError as error:
        raise ImportError("Worker processes need grain; install ddib_jax[workers].") from error
    # The process that cleans shared memory up warns of what it has to, after workers were ended.
    given = [os.environ["PYTHONWARNINGS"]] if os.environ.get("PYTHONWARNINGS") else []
    if _QUIET not in ",".join(given):
        os.environ["PYTHONWARNINGS"] = ",".join([*given, _QUIET])
    # grain reads flags of its own, which absl refuses before they are parsed; the defaults will do.
    flags.FLAGS.mark_as_parsed()
    steps = grain.MapDataset.range(start, stop).map(batch_at)
    reading = grain.ReadOptions(num_threads=1, prefetch_buffer_size=_AHEAD)
    processes = grain.MultiprocessingOptions(num_workers=count, per_worker_buffer_size=_AHEAD)
    ahead = steps.to_iter_dataset(reading).mp_prefetch(processes, worker_init_fn=_with_its_parent)
    batches = iter(ahead)

    def closing() -> Generator[Any, None, None]:
        try:
            yield from batches
        finally:
            batches.close()

    return closing()


def _with_its_parent(index: int, count: int) -> None:
    """Make a worker process end when the training ends, however that ended, and not before.

    SIGTERM, SIGHUP and Ctrl-C reach the whole process group, but only the training answers them: it
    saves a checkpoint first.
    """
    for name in ("SIGTERM", "SIGHUP", "SIGINT"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def end_with_parent() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
