"""Which training images are nearest to what a model makes: whether it repeats what it has seen."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from ddib_jax.data import ImageSource
from ddib_jax.data.png import to_bytes

_MEMORY = 2**27
"""Bytes of training images that are looked through, as floats."""
_CHUNK = 1024


class Nearest(NamedTuple):
    """The training image nearest to each of n images, as bytes [n h w c].

    distance [n]: root mean square of the difference of values in [-1, 1]. searched: how many
    training images were looked through, the first ones; total: how many there are.
    """

    images: UInt8[np.ndarray, "n h w c"]
    distance: Float[np.ndarray, " n"]
    searched: int
    total: int


def nearest(images: Float[np.ndarray, "n h w c"], source: ImageSource) -> Nearest:
    """The training images of `source` nearest in L2 to few images [n h w c] of their shape.

    Looked through are as many as take 128 MiB, each as it is seen in evaluation.
    """
    flat = images.reshape(len(images), -1).astype(np.float32)
    searched = max(1, min(len(source), _MEMORY // flat[0].nbytes))
    best, index = np.full(len(flat), np.inf, np.float32), np.zeros(len(flat), int)
    for start in range(0, searched, _CHUNK):
        chunk = source.take(range(start, min(start + _CHUNK, searched)))
        others = chunk.reshape(len(chunk), -1)
        # squared distances, less |image|^2, which is common to all
        distances = np.sum(others**2, axis=1)[None] - 2 * flat @ others.T
        closest = distances.argmin(axis=1)
        found = distances[np.arange(len(flat)), closest]
        index = np.where(found < best, start + closest, index)
        best = np.minimum(best, found)
    pictures = source.take(index)
    distance = np.sqrt(np.mean((pictures - images) ** 2, axis=(1, 2, 3), dtype=np.float64))
    return Nearest(to_bytes(pictures), distance, searched, len(source))
