"""Pictures of any size and kind of pixel as image sources: how each is fitted, which are kept in
memory, and which cannot be read.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from ddib_jax.data.sources import ALL, Indices, to_float

LOADED = 286 / 256
"""What is cropped at random is read this much larger, as CycleGAN's and pix2pix's 286 for 256."""

_NAMED = 10
_WORKERS = 4


@dataclass(frozen=True)
class View:
    """How a picture is looked at: cropped to its central square and resized, one half of it,
    transparency laid over a colour.

    With a random crop it is resized to `LOADED` times the size, from which a part is taken at each
    draw.
    """

    image_size: int | None = None
    half: str | None = None
    background: str = "white"
    crop: str = "centre"

    def __post_init__(self):
        if self.image_size is not None and self.image_size < 1:
            raise ValueError(f"image size {self.image_size}: expected at least 1")
        if self.crop not in ("centre", "random") or (
            self.crop == "random" and self.image_size is None
        ):
            raise ValueError(
                f"crop {self.crop!r} at image size {self.image_size}: expected 'centre', or"
                " 'random' with an image size"
            )
        try:
            ImageColor.getrgb(self.background)
        except ValueError as error:
            raise ValueError(
                f"background {self.background!r}: expected a colour by name or as #rrggbb"
            ) from error

    @property
    def loaded(self) -> int | None:
        """The size that pictures are read at."""
        return round(self.image_size * LOADED) if self.crop == "random" else self.image_size

    def fitted(self, picture: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
        """A picture upright by its EXIF orientation, as 8-bit RGB of the size that it is read at.

        Grey is repeated, a palette looked up, 16 bits scaled to 8, transparency laid over the
        background; with a size the central square is resized to it with Lanczos' antialiasing
        filter. Raises ValueError for floats and wider integers.
        """
        image = _rgb(ImageOps.exif_transpose(picture), self.background)
        if self.half is not None:
            middle = image.width // 2
            image = image.crop(
                {
                    "left": (0, 0, middle, image.height),
                    "right": (image.width - middle, 0, image.width, image.height),
                }[self.half]
            )
        if self.loaded is not None:
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            image = image.crop((left, top, left + side, top + side)).resize(
                (self.loaded, self.loaded), Image.Resampling.LANCZOS
            )
        return np.array(image)


class Pictures:
    """Pictures of one size; an `ImageSource` of (h, w, 3) in [-1, 1], augmented by nothing but a
    random crop.

    `read` gives the fitted pixels of an item. Every one is read once at the start, so that a bad
    one is named before any work is done, and kept in memory as bytes while all need at most
    `memory` of them; more are read again at each draw. Raises ValueError that names all that cannot
    be read, or whose sizes differ.
    """

    def __init__(
        self,
        items: Sequence[Any],
        view: View,
        read: Callable[[Any, View], UInt8[np.ndarray, "h w 3"]],
        *,
        labels: Int[np.ndarray, " n"] | None = None,
        classes: tuple[str, ...] = (),
        memory: int | None = 2**31,
    ):
        self.items, self.labels, self.classes = items, labels, classes
        self._view, self._read = view, read
        self._pixels, shape = self._load(items, memory)
        self.image_shape = (view.image_size, view.image_size, 3) if view.image_size else shape

    def __len__(self) -> int:
        return len(self.items)

    def take(
        self, indices: Indices, rng: np.random.Generator | None = None, part: slice = ALL
    ) -> Float[np.ndarray, "m h w 3"]:
        """Give the images at `indices`, float32 in [-1, 1]: in the middle, or with `rng` and a
        random crop anywhere.
        """
        indices = np.asarray(indices)
        room = (self._view.loaded or 0) - self.image_shape[0] if self._view.crop == "random" else 0
        corners = (
            np.full((len(indices), 2), room // 2)
            if rng is None or room == 0
            else rng.integers(room + 1, size=(len(indices), 2))
        )
        indices, corners = indices[part], corners[part]
        kept = self._pixels is not None
        pixels = (
            self._pixels[indices]
            if kept
            else self._load([self.items[index] for index in indices], None)[0]
        )
        if room:
            height, width = self.image_shape[:2]
            pixels = np.stack(
                [
                    image[y : y + height, x : x + width]
                    for image, (y, x) in zip(pixels, corners, strict=True)
                ]
            )
        return to_float(pixels)

    def _load(
        self, items: Sequence[Any], memory: int | None
    ) -> tuple[UInt8[np.ndarray, "n h w 3"] | None, tuple[int, int, int]]:
        """Read all of them; keep them unless they take more than `memory` bytes. One error names
        all the bad ones.
        """
        pixels, shape, first, unreadable, unequal = None, None, None, [], []
        with ThreadPoolExecutor(_WORKERS) as pool:
            for index, result in enumerate(pool.map(self._attempt, items)):
                if isinstance(result, Exception):
                    unreadable.append(f"{items[index]} ({_reason(result)})")
                    continue
                if shape is None:
                    shape, first = result.shape, items[index]
                    if memory is None or len(items) * result.nbytes <= memory:
                        pixels = np.empty((len(items), *shape), np.uint8)
                if result.shape != shape:
                    unequal.append(f"{items[index]} ({result.shape[1]}x{result.shape[0]})")
                elif pixels is not None:
                    pixels[index] = result
        if unreadable:
            raise ValueError(
                f"{len(unreadable)} of {len(items)} images cannot be read: {_listing(unreadable)}"
            )
        if unequal:
            raise ValueError(
                f"{len(unequal)} of {len(items)} images are not {shape[1]}x{shape[0]} like {first}:"
                f" {_listing(unequal)}; give an image size to crop and resize them all"
            )
        return pixels, shape

    def _attempt(self, item: Any) -> UInt8[np.ndarray, "h w 3"] | Exception:
        try:
            return self._read(item, self._view)
        except (
            Exception
        ) as error:  # decoders raise anything on a damaged file; all are gathered into one error
            return error


def _rgb(image: Image.Image, background: str) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels have no fixed range: save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("integer pixels beyond 16 bits: save it with 8 or 16 bits")
        return Image.fromarray(np.round(values / 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, background), image).convert(
            "RGB"
        )
    return image.convert("RGB")


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "no known image format"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _listing(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
