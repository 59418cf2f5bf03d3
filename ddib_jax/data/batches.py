"""Batches as a pure function of (seed, step), so that a resumed run sees the same bits."""

import queue
import threading
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int

from ddib_jax.data.sources import ImageSource

Item = TypeVar("Item")


def batch_at(
    source: ImageSource, step: int, *, batch_size: int, seed: int, shard: tuple[int, int] = (0, 1)
) -> tuple[Float[np.ndarray, "n ..."], Int[np.ndarray, "n"] | None]:
    """Draw the training batch of global step `step`, counted from 0: images in [-1, 1] and their labels.

    The stream is an endless row of epochs, each a permutation drawn from (seed, epoch), with nothing dropped where
    one ends inside a batch; `batch_size` may exceed the data set. The augmentation is drawn from
    (seed, step, shard). `shard` = (index, count) gives a host's own slice of the global batch, batch_size / count
    images. Raises ValueError on an empty source, a negative step or a batch that the shards do not divide.
    """
    index, count = shard
    if len(source) == 0:
        raise ValueError("the data set is empty: a batch needs at least one image")
    if step < 0 or batch_size < 1:
        raise ValueError(f"step {step} of batches of {batch_size}: expected a step >= 0 and a batch size >= 1")
    if not 0 <= index < count or batch_size % count:
        raise ValueError(
            f"shard {index} of {count} of a batch of {batch_size}: the index must lie in [0, {count}) and {count}"
            f" must divide the batch size"
        )
    size = batch_size // count
    indices = _stream(len(source), step * batch_size + index * size, size, seed)
    # SeedSequence pads with zeros, so (seed, step, 0) would be the generator of the epoch's permutation.
    images = source.take(indices, np.random.default_rng([seed, step, index + 1]))
    return images, None if source.labels is None else source.labels[indices]


def prefetch(items: Iterable[Item], size: int = 2) -> Iterator[Item]:
    """Yield `items` in order while a thread prepares up to `size` of them ahead.

    An exception of the iterable is raised here in its place. Closing the iterator early ends the thread.
    """
    if size < 1:
        raise ValueError(f"prefetch of size {size}: expected at least 1")
    return _prefetched(items, size)


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

    threading.Thread(target=produce, name="prefetch", daemon=True).start()
    try:
        while (message := ready.get()) is not None:
            item, error = message
            if error is not None:
                raise error
            yield item
    finally:
        closed.set()


def _stream(length: int, start: int, size: int, seed: int) -> Int[np.ndarray, "size"]:
    epochs, offsets = np.divmod(np.arange(start, start + size), length)
    indices = np.empty(size, np.int64)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        indices[here] = _permutation(length, seed, int(epoch))[offsets[here]]
    return indices


@lru_cache(maxsize=4)
def _permutation(length: int, seed: int, epoch: int) -> Int[np.ndarray, "length"]:
    return np.random.default_rng([seed, epoch]).permutation(length)
