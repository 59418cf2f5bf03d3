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
    """A finite data set of images of one size, or of points, read by index on the host."""

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(h, w, c), or (d,) of points."""
        ...

    @property
    def labels(self) -> Int[np.ndarray, " n"] | None:
        """One integer an image, an index into `classes`; None where there are none."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the labels; () where there are none."""
        ...

    def __len__(self) -> int: ...

    def take(
        self, indices: Indices, *, rng: np.random.Generator | None = None, part: slice = ALL
    ) -> Float[np.ndarray, "m ..."]:
        """The images at `indices[part]`, float32 in [-1, 1].

        Without a generator this is the evaluation view, which depends on an image's index alone and
        not on how indices are batched; with one, a new random augmentation. What is drawn is drawn
        for all `indices`, so that a part of a batch is the same as in the whole.
        """
        ...


@runtime_checkable
class Captioned(ImageSource, Protocol):
    """Images with a text each that says what they show."""

    def captions(
        self, indices: Indices, *, rng: np.random.Generator | None = None, part: slice = ALL
    ) -> list[str]:
        """The captions of the images that `take` gives for the same arguments.

        rng: in the state in which `take` was given its own; both draw an image's look first.
        """
        ...


def to_float(pixels: UInt8[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Map bytes in [0, 255] linearly to float32 in [-1, 1]; any shape."""
    return pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)


def check_split(split: str) -> None:
    """Raise ValueError unless `split` is "train" or "test"."""
    if split not in SPLITS:
        raise ValueError(f"Unknown split '{split}': expected 'train' or 'test'.")
