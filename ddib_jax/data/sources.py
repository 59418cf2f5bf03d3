"""What an image data set is: a length, a shape, labels, and a way to take images by index."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, UInt8

SPLITS = ("train", "test")

ALL = slice(None)

Indices: TypeAlias = Int[np.ndarray, " n"] | Sequence[int]
"""Which images: an array, list or range of indices."""


@runtime_checkable
class ImageSource(Protocol):
    """A finite data set of equally large images, or of points, read by index on the host.

    `image_shape` is (h, w, c), or (d,) of points; `labels` is one integer an image, which counts in
    `classes`, the names of the labels; None and () where there are none. `take` returns float32
    images in [-1, 1]: without a generator the fixed evaluation view, which depends on the index
    alone and not on how indices are batched; with one, a freshly augmented view. `part` asks for
    some of these images alone, as they are among all.
    """

    image_shape: tuple[int, ...]
    labels: Int[np.ndarray, " n"] | None
    classes: tuple[str, ...]

    def __len__(self) -> int: ...

    def take(
        self, indices: Indices, rng: np.random.Generator | None = None, part: slice = ALL
    ) -> Float[np.ndarray, "m ..."]: ...


def to_float(pixels: UInt8[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Map bytes in [0, 255] linearly to float32 in [-1, 1]; any shape."""
    return pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)


def check_split(split: str) -> None:
    """Raise ValueError unless `split` is "train" or "test"."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: expected 'train' or 'test'")
