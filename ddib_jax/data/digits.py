"""MNIST digits as image sources: grey, or coloured afresh at every draw."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int, UInt8

from ddib_jax.data.colouring import enot_tint
from ddib_jax.data.sources import ALL, SPLITS, Indices, check_split

SIDE = 28
BORDER = 2
SPLIT_SIZES = {"train": 60_000, "test": 10_000}

_VALUES = np.arange(256, dtype=np.float32) / np.float32(255)


@dataclass(frozen=True, eq=False)
class Digits:
    """Grey MNIST digits, padded 28 -> 32 with black; an `ImageSource` of 32x32x1.

    `positions` are the indices of the images in the original MNIST file of their split, which name
    an image whatever subset it is read through. `take` returns float32 in [-1, 1] and has nothing
    to augment.
    """

    pixels: UInt8[np.ndarray, "n 28 28"]
    labels: Int[np.ndarray, " n"]
    positions: Int[np.ndarray, " n"]
    split: str

    image_shape = (SIDE + 2 * BORDER, SIDE + 2 * BORDER, 1)
    classes = tuple("0123456789")

    def __post_init__(self):
        check_split(self.split)

    def __len__(self) -> int:
        return len(self.pixels)

    def take(
        self, indices: Indices, *, rng: np.random.Generator | None = None, part: slice = ALL
    ) -> Float[np.ndarray, "m 32 32 1"]:
        """The images at `indices`, float32 in [-1, 1]; `rng` is not used."""
        indices = np.asarray(indices)[part]
        return _padded(self.pixels[indices], np.ones((len(indices), 1), np.float32))

    def only(self, digits: Iterable[int]) -> "Digits":
        """Keep the images of the given digits, in their order; ValueError if none is left."""
        values = sorted(set(digits))
        keep = np.isin(self.labels, values)
        if not keep.any():
            present = np.unique(self.labels).tolist()
            raise ValueError(
                f"There is no digit of {values} in this source, which holds {present}."
            )
        return Digits(self.pixels[keep], self.labels[keep], self.positions[keep], self.split)


@dataclass(frozen=True, eq=False)
class ColouredDigits:
    """Coloured MNIST of Gushchin et al. (ENOT, NeurIPS 2023); an `ImageSource` of 32x32x3.

    For evaluation each image has one hue, fixed by `seed`, the split and the image's position in
    MNIST, so it is the same through any subset; `hues` has them. For training each draw takes a
    fresh uniform hue.
    """

    digits: Digits
    seed: int = 0

    image_shape = (*Digits.image_shape[:2], 3)
    classes = Digits.classes

    @property
    def labels(self) -> Int[np.ndarray, " n"]:
        """The digit of every image."""
        return self.digits.labels

    def __len__(self) -> int:
        return len(self.digits)

    @cached_property
    def hues(self) -> Float[np.ndarray, " n"]:
        """The evaluation hue of every image, in degrees in [0, 360)."""
        split = self.digits.split
        rng = np.random.default_rng([self.seed, SPLITS.index(split)])
        return (360 * rng.random(SPLIT_SIZES[split]))[self.digits.positions]

    def take(
        self, indices: Indices, *, rng: np.random.Generator | None = None, part: slice = ALL
    ) -> Float[np.ndarray, "m 32 32 3"]:
        """The images at `indices`, float32 in [-1, 1], at fixed hues; with `rng` at new ones."""
        # Hues are drawn for the whole batch and then cut, so that a part of it, a host's own, gets
        # the colours that it has in the whole.
        indices = np.asarray(indices)
        hue = self.hues[indices] if rng is None else 360 * rng.random(len(indices))
        return _padded(self.digits.pixels[indices[part]], enot_tint(hue[part]).astype(np.float32))


def _padded(
    pixels: UInt8[np.ndarray, "n 28 28"], tint: Float[np.ndarray, "n c"]
) -> Float[np.ndarray, "n 32 32 c"]:
    images = np.full((len(pixels), *Digits.image_shape[:2], tint.shape[1]), -1, np.float32)
    inner = images[:, BORDER:-BORDER, BORDER:-BORDER]
    inner += 2 * _VALUES[pixels][..., None] * tint[:, None, None, :]
    return images
