"""Batches as a pure function of (seed, step), so that a resumed run sees the same bits."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from ddib_jax.data.sources import Captioned, ImageSource


def batch_at(
    source: ImageSource, step: int, *, batch_size: int, seed: int, shard: tuple[int, int] = (0, 1)
) -> tuple[Float[np.ndarray, "n ..."], Int[np.ndarray, " n"] | None]:
    """Draw the training batch of global step `step`: images in [-1, 1] and their labels.

    Steps count from 0. The stream is an endless row of epochs, each a permutation drawn from
    (seed, epoch), with nothing dropped where one ends inside a batch; `batch_size` may exceed the
    data set. The augmentation is drawn from (seed, step). `shard` = (index, count) gives a host's
    own slice of the global batch, batch_size / count images, the same as without hosts.

    Raises:
        ValueError: the source is empty, the step is negative, or the shards do not divide the
            batch.
    """
    indices, part = _drawn(source, step, batch_size=batch_size, seed=seed, shard=shard)
    images = source.take(indices, rng=_generator(seed, step), part=part)
    return images, None if source.labels is None else source.labels[indices[part]]


def captions_at(
    source: Captioned, step: int, *, batch_size: int, seed: int, shard: tuple[int, int] = (0, 1)
) -> list[str]:
    """The captions of the images of `batch_at`, with the same arguments; raises as it does."""
    indices, part = _drawn(source, step, batch_size=batch_size, seed=seed, shard=shard)
    return source.captions(indices, rng=_generator(seed, step), part=part)


def _drawn(
    source: ImageSource, step: int, *, batch_size: int, seed: int, shard: tuple[int, int]
) -> tuple[Int[np.ndarray, " batch_size"], slice]:
    """The indices of a batch, and the shard's part of them."""
    index, count = shard
    if len(source) == 0:
        raise ValueError("The data set is empty: a batch needs at least one image.")
    if step < 0 or batch_size < 1:
        raise ValueError(
            f"Step {step} of batches of {batch_size}: expected a step >= 0 and a batch size >= 1."
        )
    if not 0 <= index < count or batch_size % count:
        raise ValueError(
            f"Shard {index} of {count} of a batch of {batch_size}: the index must lie in"
            f" [0, {count}) and {count} must divide the batch size."
        )
    indices = _stream(len(source), step * batch_size, batch_size, seed)
    part = slice(index * batch_size // count, (index + 1) * batch_size // count)
    return indices, part


def _generator(seed: int, step: int) -> np.random.Generator:
    """What draws the augmentation of a step."""
    # SeedSequence pads with zeros, so (seed, step, 0) would be the generator of the epoch's
    # permutation.
    return np.random.default_rng([seed, step, 1])


def _stream(length: int, start: int, size: int, seed: int) -> Int[np.ndarray, " size"]:
    epochs, offsets = np.divmod(np.arange(start, start + size), length)
    indices = np.empty(size, np.int64)
    for epoch in np.unique(epochs):
        inside = epochs == epoch
        indices[inside] = _permutation(length, seed, int(epoch))[offsets[inside]]
    return indices


@lru_cache(maxsize=4)
def _permutation(length: int, seed: int, epoch: int) -> Int[np.ndarray, " length"]:
    return np.random.default_rng([seed, epoch]).permutation(length)
