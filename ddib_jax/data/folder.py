"""Folders of image files as image sources."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from ddib_jax.data.captions import CaptionedPictures
from ddib_jax.data.declared import declared_folder
from ddib_jax.data.pictures import MAX_PIXELS, Pictures, View
from ddib_jax.data.walk import captioned_files, labels_of
from ddib_jax.files import drafted_file


def image_folder(
    directory: str | Path,
    *,
    image_size: int | None = None,
    half: str | None = None,
    background: str = "white",
    crop: str = "centre",
    limit: int | None = None,
    skip_unreadable: bool = False,
    max_pixels: int = MAX_PIXELS,
    declared: Sequence[str] = (),
) -> Pictures:
    """Read every image below `directory`, sorted by path, as 8-bit RGB; `items` are the paths.

    With a `declared` range (words as of `declared_scale`) files are read as they are instead, in
    their own units and with their own channels, and `scale` is what their values mean; NumPy's
    files, NIfTI and DICOM are images then, and slices of volumes are.

    Links are followed; `image_files` says which files are images, and warns of those that are left
    out. `View.fitted` says how pixels are converted, and `background` what lies below transparent
    ones. With `image_size` images are cropped to their central square and resized to it; without,
    they must share one size. `half`, "left" or "right", takes that half of pictures that hold two
    side by side (pix2pix's layout). `crop`, "centre" or "random", says which part of the square
    training sees. limit: of images to be read, the first ones. With `skip_unreadable` files that
    cannot be read are left out, and listed in `unreadable`. Where every image lies in a folder of
    `directory`, those folders are its classes, as in torchvision. Where a metadata.jsonl (Hugging
    Face's ImageFolder) or a .txt file beside each picture says what the pictures show, they are
    `CaptionedPictures`.

    Raises:
        FileNotFoundError: there is no such folder, or no image in it.
        ValueError: images cannot be read (all are named) or have more than `max_pixels` pixels, or
            their sizes differ; with a declared range also where their types or channels do.
    """
    view = View(image_size, half, background, crop, max_pixels)
    if declared:
        return declared_folder(
            directory, declared, view, limit=limit, skip_unreadable=skip_unreadable
        )
    directory = Path(directory)
    paths, files = captioned_files(directory)
    paths = paths[:limit]
    labels, classes = labels_of(directory, paths)
    kind = partial(CaptionedPictures, files=files) if files else Pictures
    return kind(
        paths, view, read_image, labels=labels, classes=classes, skip_unreadable=skip_unreadable
    )


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

    Raises OSError or ValueError if it is damaged, has more pixels than `view` takes, or holds
    floats or integers wider than 16 bits.
    """
    with opened_picture(path, view) as file:
        # A phone's MPO holds a photograph and its previews.
        if view.noted and getattr(file, "is_animated", False) and file.format != "MPO":
            view.noted.several.append(str(path))
        file.load()
        return view.fitted(file)


def opened_picture(path: str | Path, view: View) -> Image.Image:
    """An image file, to be closed, of which nothing is decoded yet.

    Raises OSError or ValueError if it is none, or has more pixels than `view` takes.
    """
    # Pillow has one bound for a process, below which it only warns: the view's own is kept here.
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, view.max_pixels)
    try:
        file = Image.open(path)
    except Image.DecompressionBombError as error:
        raise ValueError(_too_large(view)) from error
    if file.width * file.height > view.max_pixels:
        size = f"{file.width}x{file.height}"
        file.close()
        raise ValueError(f"{size}: {_too_large(view)}")
    return file


def _too_large(view: View) -> str:
    return f"more than the {view.max_pixels} pixels that are read; raise the bound (--max-pixels)"


def write_unreadable(path: Path, unreadable: Sequence[str]) -> None:
    """Write the list of the files that were left out, and say so; nothing where there are none."""
    if not unreadable:
        return
    with drafted_file(path) as draft:
        text = "".join(f"{line}\n" for line in unreadable)
        draft.write_text(text, "utf-8", errors="backslashreplace")
    print(f"{len(unreadable)} files could not be read and are left out; {path} lists them.")
