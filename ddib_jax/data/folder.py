"""Folders of image files as image sources."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from ddib_jax.data.sources import ALL, Indices, to_float

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

LOADED = 286 / 256
"""What is cropped at random is read this much larger, as CycleGAN's and pix2pix's 286 for 256."""

_NAMED = 10
_WORKERS = 4


@dataclass(frozen=True)
class View:
    """How a picture is looked at: cropped to its central square and resized, one half of it, transparency laid over a colour.

    With a random crop it is resized to `LOADED` times the size, from which a part is taken at each draw.
    """

    image_size: int | None = None
    half: str | None = None
    background: str = "white"
    crop: str = "centre"

    def __post_init__(self):
        if self.image_size is not None and self.image_size < 1:
            raise ValueError(f"image size {self.image_size}: expected at least 1")
        if self.crop not in ("centre", "random") or (self.crop == "random" and self.image_size is None):
            raise ValueError(f"crop {self.crop!r} at image size {self.image_size}: expected 'centre', or 'random' with an image size")
        try:
            ImageColor.getrgb(self.background)
        except ValueError as error:
            raise ValueError(f"background {self.background!r}: expected a colour by name or as #rrggbb") from error


    @property
    def loaded(self) -> int | None:
        """The size that files are read at."""
        return round(self.image_size * LOADED) if self.crop == "random" else self.image_size


class ImageFolder:
    """Image files of one size; an `ImageSource` of (h, w, 3) in [-1, 1], augmented by nothing but a random crop.

    Every file is decoded once at the start, so that a bad one is named before any work is done, and kept in memory
    as bytes while the folder needs at most `memory` of them; a larger folder is read again at each draw.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        image_size: int | None = None,
        *,
        half: str | None = None,
        background: str = "white",
        crop: str = "centre",
        labels: Int[np.ndarray, "n"] | None = None,
        classes: tuple[str, ...] = (),
        memory: int = 2**31,
    ):
        self.labels, self.classes = labels, classes
        self.paths = [Path(path) for path in paths]
        self._view = View(image_size, half, background, crop)
        self._pixels, shape = _load(self.paths, self._view, memory)
        self.image_shape = (image_size, image_size, 3) if image_size else shape

    def __len__(self) -> int:
        return len(self.paths)

    def take(
        self, indices: Indices, rng: np.random.Generator | None = None, part: slice = ALL
    ) -> Float[np.ndarray, "m h w 3"]:
        """Give the images at `indices`, float32 in [-1, 1]: in the middle, or with `rng` and a random crop anywhere."""
        indices = np.asarray(indices)
        room = (self._view.loaded or 0) - self.image_shape[0] if self._view.crop == "random" else 0
        corners = np.full((len(indices), 2), room // 2) if rng is None or room == 0 else rng.integers(room + 1, size=(len(indices), 2))
        indices, corners = indices[part], corners[part]
        kept = self._pixels is not None
        pixels = self._pixels[indices] if kept else _load([self.paths[index] for index in indices], self._view, memory=None)[0]
        if room:
            height, width = self.image_shape[:2]
            pixels = np.stack([image[y : y + height, x : x + width] for image, (y, x) in zip(pixels, corners, strict=True)])
        return to_float(pixels)


def image_folder(
    directory: str | Path, image_size: int | None = None, half: str | None = None, background: str = "white", crop: str = "centre"
) -> ImageFolder:
    """Read every image below `directory`, sorted by path, as 8-bit RGB (see `read_image` for the conversions).

    Files are known by suffix (PNG, JPEG, WebP, TIFF, BMP, GIF, PPM); other and hidden files are left out. With
    `image_size` images are cropped to their central square and resized to it; without, they must share one size.
    `half`, "left" or "right", takes that half of pictures that hold two side by side (pix2pix's layout). `crop`, "centre" or
    "random", says what part of the square is given in training.
    Where every image lies in a folder of `directory`, those folders are its classes, as torchvision has it.
    Raises FileNotFoundError if there is no image, ValueError naming all the unreadable ones, or if sizes differ.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory} is not a folder: give a folder of images")
    files = [path for path in directory.rglob("*") if path.is_file() and not path.name.startswith(".")]
    paths = sorted((path for path in files if path.suffix.lower() in SUFFIXES), key=lambda path: path.parts)
    if not paths:
        raise FileNotFoundError(
            f"no image in {directory} ({len(files)} other files): expected at least one of {', '.join(SUFFIXES)}"
        )
    within = [path.relative_to(directory).parts for path in paths]
    if any(len(parts) == 1 for parts in within):
        return ImageFolder(paths, image_size, half=half, background=background, crop=crop)
    classes = tuple(sorted({parts[0] for parts in within}))
    labels = np.asarray([classes.index(parts[0]) for parts in within], np.int32)
    return ImageFolder(paths, image_size, half=half, background=background, crop=crop, labels=labels, classes=classes)


def read_images(paths: Iterable[str | Path], image_size: int | None = None, background: str = "white") -> Float[np.ndarray, "n h w 3"]:
    """Read image files to float32 RGB in [-1, 1], converted, cropped and refused as in `image_folder`."""
    paths = [Path(path) for path in paths]
    if not paths:
        raise ValueError("no image file was given: expected at least one")
    pixels, _ = _load(paths, View(image_size, background=background), memory=None)
    return to_float(pixels)


def read_image(path: str | Path, image_size: int | None = None, half: str | None = None, background: str = "white") -> UInt8[np.ndarray, "h w 3"]:
    """Decode one image file, upright by its EXIF orientation, to 8-bit RGB.

    Grey is repeated, a palette looked up, 16 bits scaled to 8, transparency laid over `background`, and of an animation
    the first frame is taken. Of `half`, "left" or "right", only that half is. With `image_size` the central square is resized to it with Lanczos' antialiasing
    filter. Raises OSError or ValueError if the file is damaged or holds floats or wider integers.
    """
    with Image.open(path) as file:
        file.load()
        image = _rgb(ImageOps.exif_transpose(file), background)
    if half is not None:
        middle = image.width // 2
        image = image.crop({"left": (0, 0, middle, image.height), "right": (image.width - middle, 0, image.width, image.height)}[half])
    if image_size is not None:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        image = image.resize((image_size, image_size), Image.Resampling.LANCZOS)
    return np.array(image)


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
        return Image.alpha_composite(Image.new("RGBA", image.size, background), image).convert("RGB")
    return image.convert("RGB")


def _load(
    paths: Sequence[Path], view: View, memory: int | None
) -> tuple[UInt8[np.ndarray, "n h w 3"] | None, tuple[int, int, int]]:
    """Decode all the files; keep them unless they take more than `memory` bytes. One error names all the bad ones."""
    pixels, shape, first, unreadable, unequal = None, None, None, [], []
    with ThreadPoolExecutor(_WORKERS) as pool:
        for index, result in enumerate(pool.map(lambda path: _attempt(path, view), paths)):
            if isinstance(result, Exception):
                unreadable.append(f"{paths[index]} ({_reason(result)})")
                continue
            if shape is None:
                shape, first = result.shape, paths[index]
                if memory is None or len(paths) * result.nbytes <= memory:
                    pixels = np.empty((len(paths), *shape), np.uint8)
            if result.shape != shape:
                unequal.append(f"{paths[index]} ({result.shape[1]}x{result.shape[0]})")
            elif pixels is not None:
                pixels[index] = result
    if unreadable:
        raise ValueError(f"{len(unreadable)} of {len(paths)} images cannot be read: {_listing(unreadable)}")
    if unequal:
        raise ValueError(
            f"{len(unequal)} of {len(paths)} images are not {shape[1]}x{shape[0]} like {first}: {_listing(unequal)};"
            " give an image size to crop and resize them all"
        )
    return pixels, shape


def _attempt(path: Path, view: View) -> UInt8[np.ndarray, "h w 3"] | Exception:
    try:
        return read_image(path, view.loaded, view.half, view.background)
    except Exception as error:  # decoders raise anything on a damaged file; all are gathered into one error
        return error


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "no known image format"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _listing(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
