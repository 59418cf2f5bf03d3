"""What the values of a domain's pictures mean: their dtype and range, and [-1, 1] of a model."""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

CLIPPED = 0.01
"""Share of values outside of a range, beyond that of the training images, that is warned of."""
_SAMPLED = 2**16
"""Values of one channel of an image that a percentile looks at."""


@dataclass(frozen=True)
class Scale:
    """The range of each channel, in the units of the files, that a model knows as [-1, 1].

    low, high: one number a channel. dtype: NumPy's name of the files' own type, in which results
    are written. outside: the share of the training images' values that lie outside of the range.
    Raises ValueError for a range that is empty or not finite, and for another number of highs than
    lows.
    """

    dtype: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    outside: float = 0.0

    def __post_init__(self):
        if len(self.low) != len(self.high) or not self.low:
            raise ValueError(
                f"A range has a low and a high for each channel; found {len(self.low)} and"
                f" {len(self.high)}."
            )
        for low, high in zip(self.low, self.high, strict=True):
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ValueError(
                    f"The range {low:g} to {high:g} holds nothing: expected finite numbers, the low"
                    " one first."
                )

    @property
    def channels(self) -> int:
        """How many channels the pictures have."""
        return len(self.low)

    def to_unit(self, values: Float[np.ndarray, "... c"]) -> Float[np.ndarray, "... c"]:
        """Values in the files' units to float32 in [-1, 1]; those outside of the range clipped."""
        low, high = self._bounds()
        unit = (np.asarray(values, np.float64) - low) * (2 / (high - low)) - 1
        return np.clip(unit, -1, 1).astype(np.float32)

    def to_values(self, images: Float[np.ndarray, "... c"]) -> Float[np.ndarray, "... c"]:
        """Images in [-1, 1], clipped, to float64 values in the files' units; not rounded."""
        low, high = self._bounds()
        return low + (np.clip(np.asarray(images, np.float64), -1, 1) + 1) * ((high - low) / 2)

    def share_outside(self, values: Float[np.ndarray, "... c"]) -> float:
        """The share of values, in the files' units, that `to_unit` clips."""
        low, high = self._bounds()
        return float(np.mean((values < low) | (values > high)))

    def words(self) -> str:
        """The range in words: "0 to 65535", or one for each channel."""
        pairs = [f"{low:g} to {high:g}" for low, high in zip(self.low, self.high, strict=True)]
        return pairs[0] if len(set(pairs)) == 1 else ", ".join(pairs)

    def to_json(self) -> dict[str, Any]:
        """The scale as `model.json` and files of latents have it."""
        return dataclasses.asdict(self) | {"low": list(self.low), "high": list(self.high)}

    @classmethod
    def from_json(cls, value: Any, where: str) -> "Scale | None":
        """The scale that `to_json` wrote in the file `where`; None for None.

        Raises ValueError for anything else.
        """
        if value is None:
            return None
        try:
            low, high = (tuple(float(number) for number in value[key]) for key in ("low", "high"))
            dtype = np.dtype(str(value["dtype"])).name
            return cls(dtype, low, high, float(value.get("outside", 0)))
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise ValueError(
                f"{where} describes its pixels in a way that cannot be read ({error}); expected"
                " dtype, low and high."
            ) from error

    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(self.low, np.float64), np.asarray(self.high, np.float64)


def pixel_facts(given: Scale | None, made: Scale | None) -> dict[str, Any]:
    """What a `model.json` says of values that a network of images is given, and of those it makes.

    Nothing where both are of 8-bit pictures.
    """
    to_json = lambda scale: None if scale is None else scale.to_json()
    return {} if given is made is None else {"pixels": to_json(given), "made_pixels": to_json(made)}


def check_range(words: Sequence[str]) -> None:
    """Raise ValueError unless words declare a range: pairs of LOW and HIGH, each a number or p1."""
    if len(words) < 2 or len(words) % 2:
        raise ValueError(
            f"A range is a low and a high, or such a pair for each channel; found"
            f" {len(words)} numbers."
        )
    for word in words:
        _bound(word)


def declared_scale(
    words: Sequence[str],
    dtype: str,
    channels: int,
    images: Iterable[Float[np.ndarray, "h w c"]],
) -> Scale:
    """The scale that `words` declare for pictures of this type and number of channels.

    words: LOW HIGH, for all channels or a pair for each; a number in the files' units, or pN for
    the N-th percentile of each channel over `images`, which are read where there is one (of a large
    image, evenly spaced values); what these leave out is the scale's `outside`. Raises ValueError
    for words that are no such pairs, for another number of pairs, and where a percentile leaves an
    empty range.
    """
    check_range(words)
    pairs = [*zip(words[::2], words[1::2], strict=True)]
    if len(pairs) not in (1, channels):
        raise ValueError(
            f"The range has {len(pairs)} pairs and the images {channels} channels; give one pair,"
            " or one for each channel."
        )
    pairs *= channels // len(pairs)
    drawn: list[np.ndarray] = []
    if any(word.startswith("p") for word in words):
        drawn = [_spaced(image) for image in images]
    values = np.concatenate(drawn) if drawn else None
    low, high = (
        tuple(_value(pair[end], values, channel) for channel, pair in enumerate(pairs))
        for end in (0, 1)
    )
    ends = [tuple(map(_bound, pair)) for pair in pairs]
    below = [number / 100 for (percentile, number), _ in ends if percentile]
    above = [1 - number / 100 for _, (percentile, number) in ends if percentile]
    return Scale(dtype, low, high, outside=(sum(below) + sum(above)) / channels)


def _bound(word: str) -> tuple[bool, float]:
    """Whether a word is a percentile, and its number."""
    percentile = word.startswith("p")
    try:
        number = float(word.removeprefix("p"))
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or (percentile and not 0 <= number <= 100):
        raise ValueError(
            f"'{word}' is no end of a range: expected a finite number, or a percentile as p1."
        )
    return percentile, number


def _value(word: str, values: np.ndarray | None, channel: int) -> float:
    percentile, number = _bound(word)
    if not percentile or values is None:
        return number
    return float(np.percentile(values[:, channel], number))


def _spaced(image: np.ndarray) -> np.ndarray:
    """Evenly spaced pixels [n c] of an image, all of them where they are few."""
    pixels = image.reshape(-1, image.shape[-1])
    return pixels[:: max(1, -(-len(pixels) // _SAMPLED))]
