"""The images that a command line names, as they are taken batch by batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from ddib_jax.data.declared import Outputs
from ddib_jax.data.fitting import Fit, Fits, Fitted, WholePictures, restored
from ddib_jax.data.pictures import MAX_PIXELS, Pictures
from ddib_jax.data.scale import Scale
from ddib_jax.data.sources import ImageSource
from ddib_jax.options import Count

_LUMINANCE = np.asarray([[0.299], [0.587], [0.114]], np.float32)
"""Weights of red, green and blue in a grey pixel (ITU-R BT.601)."""


@dataclass(frozen=True)
class Reading:
    """How files of pictures are read."""

    skip_unreadable: bool = False
    """Leave out files that cannot be read, and list them in unreadable.txt beside the results."""
    max_pixels: Count = MAX_PIXELS
    """Pixels of the largest picture that is read; larger ones are refused before they are decoded.
    """


class Item(NamedTuple):
    """An image: its name, safe for a result; its own; where it is from, a path or a data set."""

    name: str
    stem: str
    origin: str


class InputImages:
    """The images that the words of a command line name, of one model's shape.

    items: one for each, of unique names. They are read and checked at once, kept as bytes where
    these are not too many, and become floats when they are taken. unreadable: what was left out,
    and why.
    """

    def __init__(
        self,
        items: list[Item],
        sources: Sequence["Pictures | WholePictures | Some"],
        shape: tuple[int, ...],
        *,
        files: Outputs | None = None,
        scale: Scale | None = None,
        unreadable: Sequence[str] = (),
        fit: Fit = "crop",
    ):
        self.items, self._sources, self._shape = items, sources, shape
        self._fit: Fit = fit
        self._places: list[Fitted | None] = []
        for source in sources:
            self._places += getattr(source, "places", [None] * len(source))
        whole = (shape[0], shape[1])
        self._shapes = [whole if place is None else place.shape for place in self._places]
        self._files, self.scale = files, scale
        left_out = (getattr(source, "unreadable", ()) for source in sources)
        self.unreadable = [*unreadable, *(line for lines in left_out for line in lines)]

    def __len__(self) -> int:
        return len(self.items)

    @property
    def names(self) -> list[str]:
        """The names of results of the images: safe, and unique among those of all hosts."""
        return [item.name for item in self.items]

    @property
    def changed(self) -> dict[str, str]:
        """Name -> where the image is from, of those whose own name could not stay."""
        return {item.name: item.origin for item in self.items if item.name != item.stem}

    def outputs(self, scale: Scale) -> Outputs:
        """The files of results of a scale: like the sources' files.

        For images that are of none, or were read as 8-bit RGB, PNG or TIFF.
        """
        if self._files is not None:
            return self._files
        return Outputs.plain(self.names, (*self._shape[:2], scale.channels), scale)

    def to_arrays(self, *, overlap: float) -> dict[str, np.ndarray]:
        """What whoever decodes the images' latents needs besides these, as arrays.

        The files of results in their own units, and how pictures were fitted; {} for 8-bit RGB that
        is cropped. overlap: of the windows, where they are taken in some.
        """
        found: dict[str, np.ndarray] = {}
        if self.scale is not None:
            found |= self.outputs(self.scale).to_arrays(self.scale)
        if self._fit != "crop":
            whole = (self._shape[0], self._shape[1])
            places = tuple(place or Fitted(whole, whole, whole) for place in self._places)
            found |= Fits(self._fit, overlap if self._fit == "tile" else None, places).to_arrays()
        return found

    @property
    def alike(self) -> int:
        """How many images, from the first one on, are of its shape."""
        others = (i for i, shape in enumerate(self._shapes) if shape != self._shapes[0])
        return next(others, len(self))

    def check_alike(self, *, start: int = 0, stop: int | None = None) -> None:
        """Raise ValueError where the images from `start` up to `stop` are not of one shape."""
        if len(shapes := set(self._shapes[start:stop])) > 1:
            found = ", ".join(f"{width}x{height}" for height, width in sorted(shapes)[:5])
            raise ValueError(
                f"The pictures are of {len(shapes)} sizes ({found} ...), and are taken together"
                " here: give those of each size apart, or crop, pad or resize them (--fit)."
            )

    def runs(self, size: int) -> list[range]:
        """All images in parts of at most `size` that follow each other and are of one shape."""
        parts, start = [], 0
        for index in range(1, len(self) + 1):
            new = index == len(self) or self._shapes[index] != self._shapes[start]
            if new or index - start == size:
                parts.append(range(start, index))
                start = index
        return parts

    def restored(
        self, start: int, results: Float[np.ndarray, "n h w c"]
    ) -> list[Shaped[np.ndarray, "_ _ _"]]:
        """The results of the images from `start` on, without what was added to fit the model."""
        places = self._places[start : start + len(results)]
        return [restored(image, place) for image, place in zip(results, places, strict=True)]

    def take(self, start: int, stop: int) -> Float[np.ndarray, "n h w c"]:
        """The images from `start` up to `stop`, float32 in [-1, 1]; ValueError for unlike shapes.

        Those are the images' own where they are taken in windows, else the model's.
        """
        self.check_alike(start=start, stop=stop)
        parts, offset = [], 0
        for source in self._sources:
            first, last = max(start - offset, 0), min(stop - offset, len(source))
            if first < last:
                parts.append(_coloured(source.take(range(first, last)), self._shape[2]))
            offset += len(source)
        return np.concatenate(parts)


@dataclass(frozen=True)
class Some:
    """Some images of a data set, by their indices."""

    source: ImageSource
    indices: range

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, indices: Sequence[int]) -> np.ndarray:
        """Those of them at some indices, as the data set gives them."""
        return self.source.take([self.indices[index] for index in indices])


def _coloured(images: np.ndarray, channels: int) -> np.ndarray:
    """Images [n h w c] with as many channels as a model has: grey is repeated, RGB weighted."""
    if images.shape[-1] == channels:
        return images
    grey = images.shape[-1] == 1
    return np.repeat(images, channels, axis=-1) if grey else images @ _LUMINANCE
