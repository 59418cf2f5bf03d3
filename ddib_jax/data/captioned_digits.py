"""Digits of many looks with captions that say some of it: what text-conditional models learn from.

Ink, background and boldness are drawn for every image; ten pairs of ink and digit are never shown
in training, so that a model can be asked for what it has not seen.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from ddib_jax.data.digits import BORDER, SPLIT_SIZES, Digits
from ddib_jax.data.sources import ALL, SPLITS, Indices

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""The digits in words."""
INKS = {
    "red": 0.0,
    "orange": 28.0,
    "yellow": 55.0,
    "green": 125.0,
    "cyan": 180.0,
    "blue": 230.0,
    "purple": 275.0,
    "pink": 322.0,
}
"""Name of an ink -> its hue in degrees (HSV), from which each image is up to 7 degrees off."""
BACKGROUNDS = {
    "black": (0.0, 0.0, 0.0),
    "white": (1.0, 1.0, 1.0),
    "grey": (0.5, 0.5, 0.5),
    "light blue": (0.68, 0.80, 1.0),
    "light green": (0.72, 0.95, 0.72),
    "light brown": (0.82, 0.70, 0.55),
}
"""Name of a background -> its colour (RGB in [0, 1])."""
WEIGHTS = ("thin", "bold")
"""How broad the strokes are: eroded by half a pixel each way, or dilated by one."""

_HUE_SPREAD = 7.0
_CHANCES = {"weight": 0.5, "ink": 0.8, "digit": 0.9, "background": 0.6}
"""How often a caption says each."""


def unseen(
    ink: int | Int[np.ndarray, " n"], digit: int | Int[np.ndarray, " n"]
) -> bool | np.ndarray:
    """Whether no training image has this ink (of `INKS`) and this digit: one ink for each digit."""
    return ink == (3 * digit + 1) % len(INKS)


class Looks(NamedTuple):
    """What n images look like, besides the digit that they show.

    ink, background, weight [n]: which of `INKS`, `BACKGROUNDS` and `WEIGHTS`. colour [n 3]: the
    ink, RGB in [0, 1].
    """

    ink: Int[np.ndarray, " n"]
    background: Int[np.ndarray, " n"]
    weight: Int[np.ndarray, " n"]
    colour: Float[np.ndarray, "n 3"]

    def of(self, indices: Indices | slice) -> "Looks":
        """The looks of some of the images."""
        return Looks(*(part[indices] for part in self))


@dataclass(frozen=True, eq=False)
class CaptionedDigits:
    """MNIST in inks on backgrounds, each with a caption; a `Captioned` source of 32x32x3.

    For evaluation every image has one look, fixed by `seed`, the split and its position in MNIST,
    and its caption says all of it: "a bold red seven on white". For training each draw has a new
    look, never one that is `unseen`, and a caption that leaves some out.
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
    def looks(self) -> Looks:
        """The evaluation look of every image."""
        split = self.digits.split
        rng = np.random.default_rng([self.seed, SPLITS.index(split), 1])
        count, seen_only = SPLIT_SIZES[split], split == "train"
        labels = np.zeros(count, np.int64)
        labels[self.digits.positions] = self.digits.labels
        return _drawn(rng, labels, seen_only=seen_only).of(self.digits.positions)

    def take(
        self, indices: Indices, *, rng: np.random.Generator | None = None, part: slice = ALL
    ) -> Float[np.ndarray, "m 32 32 3"]:
        """The images at `indices`, float32 in [-1, 1], in their looks; with `rng` in new ones."""
        indices = np.asarray(indices)
        looks = self._looks(indices, rng).of(part)
        return dressed(self.digits.pixels[indices[part]], looks)

    def captions(
        self, indices: Indices, *, rng: np.random.Generator | None = None, part: slice = ALL
    ) -> list[str]:
        """The captions of the images that `take` gives, with an `rng` in the state of its own."""
        indices = np.asarray(indices)
        looks = self._looks(indices, rng)
        said = np.ones((len(indices), len(_CHANCES)), bool)
        if rng is not None:
            said = rng.random(said.shape) < list(_CHANCES.values())
        shown = (column.tolist() for column in (self.labels[indices], *looks[:3]))
        rows = list(zip(*shown, said, strict=True))
        return [_caption(*row) for row in rows[part]]

    def _looks(self, indices: np.ndarray, rng: np.random.Generator | None) -> Looks:
        if rng is None:
            return self.looks.of(indices)
        return _drawn(rng, self.labels[indices], seen_only=True)


def caption(
    *,
    digit: int | None = None,
    ink: str | None = None,
    background: str | None = None,
    weight: str | None = None,
) -> str:
    """A caption as those of the data, of what is given: "a bold red seven on white"."""
    words = [weight, ink, "digit" if digit is None else WORDS[digit]]
    said = " ".join(word for word in words if word is not None)
    article = "an" if said[0] in "aeiou" and not said.startswith("one") else "a"
    return f"{article} {said}" + ("" if background is None else f" on {background}")


def dressed(pixels: UInt8[np.ndarray, "n 28 28"], looks: Looks) -> Float[np.ndarray, "n 32 32 3"]:
    """Grey digits in the given looks, padded 28 -> 32, float32 in [-1, 1]."""
    grounds = np.asarray(list(BACKGROUNDS.values()), np.float32)[looks.background]
    stroke = np.zeros((len(pixels), *Digits.image_shape[:2], 1), np.float32)
    inner = stroke[:, BORDER:-BORDER, BORDER:-BORDER, 0]
    inner += _weighed(pixels, looks.weight).astype(np.float32) / 255
    ground, ink = (2 * part[:, None, None] - 1 for part in (grounds, looks.colour))
    return (ground + stroke * (ink - ground)).astype(np.float32)


def _drawn(rng: np.random.Generator, digits: np.ndarray, *, seen_only: bool) -> Looks:
    """Looks for images of these digits, uniformly; seen_only: none that is `unseen`."""
    count = len(digits)
    ink = rng.integers(0, len(INKS), count)
    others = rng.integers(1, len(INKS), count)
    if seen_only:
        ink = np.where(unseen(ink, digits), (ink + others) % len(INKS), ink)
    background = rng.integers(0, len(BACKGROUNDS), count)
    weight = rng.integers(0, len(WEIGHTS), count)
    hue = np.asarray(list(INKS.values()))[ink] + _HUE_SPREAD * (2 * rng.random(count) - 1)
    return Looks(ink, background, weight, _rgb(hue, 0.8 + 0.2 * rng.random(count)))


def _rgb(hue: Float[np.ndarray, " n"], value: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 3"]:
    """Colours of full saturation (HSV), RGB in [0, 1]; hue in degrees."""
    # Smith (1978): channel = value * (1 - clip(min(k, 4 - k), 0, 1)), k = (n + hue / 60) mod 6.
    k = (np.array([5.0, 3.0, 1.0]) + hue[:, None] / 60) % 6
    channels = value[:, None] * (1 - np.clip(np.minimum(k, 4 - k), 0, 1))
    return channels.astype(np.float32)


def _weighed(
    pixels: UInt8[np.ndarray, "n 28 28"], weight: Int[np.ndarray, " n"]
) -> UInt8[np.ndarray, "n 28 28"]:
    """The digits with broader or thinner strokes, by grey dilation and erosion."""
    padded = np.pad(pixels, ((0, 0), (1, 1), (1, 1)))
    shifted = lambda dy, dx: padded[:, 1 + dy : 29 + dy, 1 + dx : 29 + dx]
    cross = [shifted(*place) for place in ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))]
    bold, thin = np.maximum.reduce(cross), np.minimum(shifted(0, 0), shifted(0, 1))
    return np.where(weight[:, None, None] == WEIGHTS.index("bold"), bold, thin)


def _caption(digit: int, ink: int, background: int, weight: int, said: np.ndarray) -> str:
    words = {
        "weight": WEIGHTS[weight],
        "ink": list(INKS)[ink],
        "digit": digit,
        "background": list(BACKGROUNDS)[background],
    }
    kept = {name: word for (name, word), keep in zip(words.items(), said, strict=True) if keep}
    return caption(**kept)
