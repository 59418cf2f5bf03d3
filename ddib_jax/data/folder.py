"""Folders of image files as image sources."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from ddib_jax.data.pictures import Pictures, View

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def image_folder(
    directory: str | Path,
    *,
    image_size: int | None = None,
    half: str | None = None,
    background: str = "white",
    crop: str = "centre",
) -> Pictures:
    """Read every image below `directory`, sorted by path, as 8-bit RGB; `items` are the paths.

    Files are known by suffix (PNG, JPEG, WebP, TIFF, BMP, GIF, PPM); other and hidden files are
    left out. `View.fitted` says how pixels are converted, and `background` what lies below
    transparent ones. With `image_size` images are cropped to their central square and resized to
    it; without, they must share one size. `half`, "left" or "right", takes that half of pictures
    that hold two side by side (pix2pix's layout). `crop`, "centre" or "random", says which part of
    the square training sees. Where every image lies in a folder of `directory`, those folders are
    its classes, as in torchvision.

    Raises:
        FileNotFoundError: there is no such folder, or no image in it.
        ValueError: images cannot be read (all are named), or their sizes differ.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory} is not a folder: give a folder of images.")
    files = [
        path for path in directory.rglob("*") if path.is_file() and not path.name.startswith(".")
    ]
    paths = sorted(
        (path for path in files if path.suffix.lower() in SUFFIXES), key=lambda path: path.parts
    )
    if not paths:
        raise FileNotFoundError(
            f"There is no image in {directory} ({len(files)} other files): expected at least one"
            f" of {', '.join(SUFFIXES)}."
        )
    view = View(image_size, half, background, crop)
    within = [path.relative_to(directory).parts for path in paths]
    if any(len(parts) == 1 for parts in within):
        return Pictures(paths, view, read_image)
    classes = tuple(sorted({parts[0] for parts in within}))
    labels = np.asarray([classes.index(parts[0]) for parts in within], np.int32)
    return Pictures(paths, view, read_image, labels=labels, classes=classes)


def read_images(
    paths: Iterable[str | Path], *, image_size: int | None = None, background: str = "white"
) -> Float[np.ndarray, "n h w 3"]:
    """Read image files to float32 RGB in [-1, 1], converted and cropped as by `image_folder`.

    Raises ValueError as it does, and where there is no path at all.
    """
    paths = [Path(path) for path in paths]
    if not paths:
        raise ValueError("No image file was given: expected at least one.")
    view = View(image_size, background=background)
    return Pictures(paths, view, read_image, memory=None).take(range(len(paths)))


def read_image(path: str | Path, view: View) -> UInt8[np.ndarray, "h w 3"]:
    """Decode one image file, of an animation the first frame, and fit it to `view`.

    Raises OSError or ValueError if it is damaged or holds floats or integers wider than 16 bits.
    """
    with Image.open(path) as file:
        file.load()
        return view.fitted(file)
