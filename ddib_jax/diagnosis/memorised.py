"""Which training images are nearest to what a model makes: whether it repeats what it has seen."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from ddib_jax.data import ImageSource, image_files, load_dataset, part_of
from ddib_jax.data.png import to_bytes

_MEMORY = 2**27
"""Bytes of training images that are looked through, as floats."""
_CHUNK = 1024
_AT_HAND = ("five", "seven", "npz")
"""Kinds of data sets that are read in a second."""
_FILES = 2048
"""Files of a folder that are few enough to be read for this."""
_LOOKED_AT = 16
"""Images to which the nearest ones are looked for."""


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


def nearest_known(data: str, images: Float[np.ndarray, "n h w c"]) -> Nearest | None:
    """To the first 16 images, those nearest in the training data of that name (see `nearest`).

    None where these are not at hand: another kind of data than a shipped digit, a NumPy file or a
    folder of at most 2,048 pictures; moved away since; of another shape.
    """
    few = images[:_LOOKED_AT]
    try:
        source = _at_hand(data, few.shape[1:])
    except (OSError, ValueError):
        return None
    if source is None or tuple(source.image_shape) != few.shape[1:]:
        return None
    return nearest(few, source)


def _at_hand(data: str, shape: tuple[int, ...]) -> ImageSource | None:
    """The training images of that name, if they can be read in seconds; raises as their reader."""
    if data.partition(":")[0] in _AT_HAND:
        return load_dataset(data, split="train")
    part = part_of(data, "train") if data and shape[0] == shape[1] else None
    if part is None or len(image_files(part[0])) > _FILES:
        return None
    return load_dataset(data, split="train", image_size=shape[0], skip_unreadable=True)
