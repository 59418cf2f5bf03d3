"""Pictures of any size and kind of pixel as image sources."""

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from ddib_jax.data.scale import CLIPPED, Scale
from ddib_jax.data.sources import ALL, Indices, to_float

Pixels: TypeAlias = UInt8[np.ndarray, "*n h w c"] | Float[np.ndarray, "*n h w c"]
"""Bytes, or float32 in [-1, 1]."""

LOADED = 286 / 256
"""Pictures to be cropped at random are read this much larger, as in CycleGAN: 286 for 256."""

MAX_PIXELS = 178_956_970
"""Pixels of a picture that is read, unless another bound is given: that of Pillow's errors."""

_OTHERS = {
    "a video: export its frames": (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"),
    "an archive: unpack it": (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"),
    "a format to be converted first": (
        *(".heic", ".heif", ".cr2", ".cr3", ".nef", ".arw", ".svg", ".pdf", ".exr", ".h5"),
    ),
    "a format that is read where a range is declared: --range LOW HIGH": (
        *(".dcm", ".ima", ".nii", ".npy", ".npz"),
    ),
}
"""What files may be that are given as pictures and are none that Pillow decodes."""
_NAMED = 10
_WORKERS = 4
_SMALL = 65535 // 4
"""Of pictures with 16 bits: where no value is larger, they look black."""


@dataclass
class Noted:
    """What is to be said of files that are read: their names, and what is odd about them.

    dark: the largest values of pictures with 16 bits, where these fill a small part of the range.
    several: those that hold more frames or pages than the first. outside: of each picture that is
    read by a scale, the share of its values that are clipped.
    """

    dark: dict[str, int] = field(default_factory=dict)
    several: list[str] = field(default_factory=list)
    outside: list[float] = field(default_factory=list)

    def warn(self, count: int, scale: Scale | None) -> None:
        """Say it, of so many files."""
        share = float(np.mean(self.outside)) if self.outside else 0.0
        if scale is not None and share > scale.outside + CLIPPED:
            known = f", as {scale.outside:.1%} of those it was made for do" if scale.outside else ""
            warnings.warn(
                f"{share:.1%} of the values lie outside of the range {scale.words()} and are"
                f" clipped{known}; declare a wider one if they matter.",
                stacklevel=4,
            )
        if self.dark:
            name, largest = next(iter(self.dark.items()))
            warnings.warn(
                f"{len(self.dark)} of {count} images have 16 or more bits, of which their values"
                f" fill a small part (at most {max(self.dark.values())} of 65535; in {name}"
                f" {largest}): they are read as nearly black. Stretch their values first if that is"
                " not meant.",
                stacklevel=4,
            )
        if self.several:
            warnings.warn(
                f"{len(self.several)} of {count} images hold several frames or pages, of which the"
                f" first is read: {listing(sorted(self.several))}.",
                stacklevel=4,
            )


@dataclass(frozen=True)
class View:
    """How a picture is fitted: which half of it, its central part resized, its background.

    image_size: the side of the central square, or height and width of the central part of that
    shape. With a random crop the square is resized to `LOADED` times `image_size`, and each draw
    takes a part of `image_size`. max_pixels: of a file that is read. scale: what the values of
    files mean that are read in their own units; None for 8-bit RGB. noted: where it goes what is to
    be said of files. Raises ValueError for a size below 1, an unknown crop or colour, and a
    random crop without a size.
    """

    image_size: int | tuple[int, int] | None = None
    half: str | None = None
    background: str = "white"
    crop: str = "centre"
    max_pixels: int = MAX_PIXELS
    noted: "Noted | None" = field(default=None, compare=False)
    scale: Scale | None = None

    def __post_init__(self):
        if self.shape is not None and min(self.shape) < 1:
            raise ValueError(f"Found image size {self.image_size}: expected at least 1.")
        sizeless = self.crop == "random" and not isinstance(self.image_size, int)
        if self.crop not in ("centre", "random") or sizeless:
            raise ValueError(
                f"Found crop '{self.crop}' at image size {self.image_size}: expected 'centre', or"
                " 'random' with an image size."
            )
        try:
            ImageColor.getrgb(self.background)
        except ValueError as error:
            raise ValueError(
                f"Found background '{self.background}': expected a colour by name or as #rrggbb."
            ) from error

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width of what is drawn; None for those of the picture."""
        if isinstance(self.image_size, int):
            return self.image_size, self.image_size
        return self.image_size

    @property
    def loaded(self) -> tuple[int, int] | None:
        """Height and width that pictures are read at."""
        if self.shape is None or self.crop != "random":
            return self.shape
        height, width = self.shape
        return round(height * LOADED), round(width * LOADED)

    def fitted(self, picture: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
        """The picture upright by its EXIF orientation, as 8-bit RGB of the shape `loaded`.

        Grey is repeated, a palette looked up, 16 bits scaled to 8, transparency laid over the
        background; with a size the central part of its shape is resized to it with Lanczos'
        antialiasing filter. Raises ValueError for floats and wider integers.
        """
        if self.noted is not None and picture.mode.startswith("I"):
            largest = int(np.asarray(picture).max())
            if largest <= _SMALL:
                self.noted.dark[str(getattr(picture, "filename", ""))] = largest
        image = _rgb(ImageOps.exif_transpose(picture), self.background)
        if self.half is not None:
            # The column in the middle of an odd width belongs to neither half.
            width = image.width // 2
            start = {"left": 0, "right": image.width - width}[self.half]
            image = image.crop((start, 0, start + width, image.height))
        if self.loaded is not None:
            height, width = self.loaded
            unit = min(image.width / width, image.height / height)
            part = max(1, round(width * unit)), max(1, round(height * unit))
            left, top = (image.width - part[0]) // 2, (image.height - part[1]) // 2
            image = image.crop((left, top, left + part[0], top + part[1])).resize(
                (width, height), Image.Resampling.LANCZOS
            )
        return np.array(image)


class Pictures:
    """Pictures of one size, an `ImageSource` of (h, w, c) in [-1, 1].

    `read(item, view)` gives the fitted pixels of an item, bytes or floats in [-1, 1]; a random crop
    is the only augmentation. scale: what values in the files' units mean, with the share of these
    that lies outside of it; None for 8-bit RGB.
    Every item is read once at the start, so that a bad one is named before any work is done. If all
    together need at most `memory` bytes they stay in memory, otherwise each draw reads them again.
    With `skip_unreadable` items that cannot be read are left out: `readable` are the indices of the
    others, and `unreadable` says of each why. Raises ValueError that names all the items that
    cannot be read, or whose sizes differ, and warns of pictures with 16 bits whose values fill so
    small a part of their range that they are read as nearly black, and of those of several frames.
    """

    def __init__(
        self,
        items: Sequence[Any],
        view: View,
        read: Callable[[Any, View], Pixels],
        *,
        labels: Int[np.ndarray, " n"] | None = None,
        classes: tuple[str, ...] = (),
        memory: int | None = 2**31,
        skip_unreadable: bool = False,
    ):
        self.classes, self._view, self._read = classes, view, read
        noted = Noted()
        loaded = self._load(items, replace(view, noted=noted), memory, skip=skip_unreadable)
        self._pixels, shape, self.readable, self.unreadable = loaded
        self.items = [items[i] for i in self.readable] if self.unreadable else items
        self.labels = None if labels is None else labels[self.readable]
        self.image_shape = (*(view.shape or shape[:2]), shape[2])
        noted.warn(len(items), view.scale)
        self.scale = view.scale
        if view.scale is not None and noted.outside:
            self.scale = replace(view.scale, outside=float(np.mean(noted.outside)))

    def __len__(self) -> int:
        return len(self.items)

    def take(
        self, indices: Indices, *, rng: np.random.Generator | None = None, part: slice = ALL
    ) -> Float[np.ndarray, "m h w c"]:
        """The images at `indices`, float32 in [-1, 1].

        With a random crop they are cropped anywhere by `rng`, or in the middle without it.
        """
        indices = np.asarray(indices)
        loaded = self._view.loaded
        if loaded is None or self._view.crop != "random":
            return floats(self._read_again(indices[part]))
        height, width = self.image_shape[:2]
        room = loaded[0] - height
        # Drawn for the whole batch and then cut, as `part` demands.
        if rng is None or room == 0:
            corners = np.full((len(indices), 2), room // 2)
        else:
            corners = rng.integers(room + 1, size=(len(indices), 2))
        pixels = self._read_again(indices[part])
        crops = [
            image[y : y + height, x : x + width]
            for image, (y, x) in zip(pixels, corners[part], strict=True)
        ]
        return floats(np.stack(crops))

    def _read_again(self, indices: Int[np.ndarray, " m"]) -> Pixels:
        """The fitted pixels of some items, from memory where they are kept."""
        if self._pixels is not None:
            return self._pixels[indices]
        pixels, *_ = self._load([self.items[index] for index in indices], self._view, None)
        return cast(np.ndarray, pixels)

    def _load(
        self, items: Sequence[Any], view: View, memory: int | None, *, skip: bool = False
    ) -> tuple[Pixels | None, tuple[int, ...], list[int], list[str]]:
        """Read all items: their pixels, None if these exceed `memory` bytes, and their shape.

        Then the indices of those that can be read, and the others with their reasons, which are
        left out with `skip`; else one error names all the bad ones.
        """
        pixels, shape, first, readable, unreadable, unequal = None, None, None, [], [], []
        with ThreadPoolExecutor(_WORKERS) as pool:
            for index, result in enumerate(pool.map(partial(self._attempt, view), items)):
                if isinstance(result, Exception):
                    unreadable.append(f"{items[index]} ({_reason(items[index], result)})")
                    continue
                if shape is None:
                    shape, first = result.shape, items[index]
                    if memory is None or len(items) * result.nbytes <= memory:
                        pixels = np.empty((len(items), *shape), result.dtype)
                if result.shape != shape:
                    unequal.append(f"{items[index]} ({result.shape[1]}x{result.shape[0]})")
                elif pixels is not None:
                    pixels[index] = result
                readable.append(index)
        if unreadable and (shape is None or not skip):
            advice = (
                ""
                if shape is None
                else "; repair or remove them, or leave them out (--skip-unreadable)"
            )
            raise ValueError(
                f"{len(unreadable)} of {len(items)} images cannot be read:"
                f" {listing(unreadable)}{advice}."
            )
        if shape is None:
            raise ValueError("There are no images to read.")
        if unequal:
            raise ValueError(
                f"{len(unequal)} of {len(items)} images are not {shape[1]}x{shape[0]} like {first}:"
                f" {listing(unequal)}; give an image size to crop and resize them all."
            )
        if pixels is not None and unreadable:
            pixels = pixels[readable]
        return pixels, shape, readable, unreadable

    def _attempt(self, view: View, item: Any) -> Pixels | Exception:
        try:
            return self._read(item, view)
        # Decoders raise anything on a damaged file; `_load` names all such files in one error.
        except Exception as error:
            return error


def floats(pixels: Pixels) -> Float[np.ndarray, "n h w c"]:
    """Bytes or floats as float32 in [-1, 1]."""
    return to_float(pixels) if pixels.dtype == np.uint8 else pixels


def _rgb(image: Image.Image, background: str) -> Image.Image:
    if image.mode == "F":
        raise ValueError("Floating-point pixels have no fixed range: save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("Integer pixels beyond 16 bits: save it with 8 or 16 bits")
        return Image.fromarray(np.round(values / 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, background)
        return Image.alpha_composite(paper, image).convert("RGB")
    return image.convert("RGB")


def _reason(item: Any, error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        suffix = Path(item).suffix.lower() if isinstance(item, str | Path) else ""
        kinds = (kind for kind, suffixes in _OTHERS.items() if suffix in suffixes)
        return next(kinds, "no known image format")
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def listing(names: Sequence[str]) -> str:
    """The first ten names, and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
