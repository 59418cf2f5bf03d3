"""Whole pictures for a model of one size: padded, resized, or as they are; and their results."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import Image

from ddib_jax.data.folder import read_image
from ddib_jax.data.pictures import Noted, View, listing
from ddib_jax.data.png import to_bytes
from ddib_jax.data.sources import to_float

Fit = Literal["crop", "pad", "resize", "tile"]
"""How a picture is made to fit a model: its central part alone, wholly with a border, stretched, or
in windows of its own size.
"""
_WORKERS = 4
_MEMORY = 2**31


class Fitted(NamedTuple):
    """Where a picture lies in what a model is given of it, and how large it was.

    size: the picture's own height and width. shape: those that the model is given. inner: height
    and width of the picture within it, in the middle. stretched: whether its result is stretched
    back to its own size.
    """

    size: tuple[int, int]
    shape: tuple[int, int]
    inner: tuple[int, int]
    stretched: bool = False


def placed(size: tuple[int, int], shape: tuple[int, int], fit: Fit) -> Fitted:
    """Where a picture of `size` lies for a model of `shape`, both height and width.

    Padded, it is shrunk where it is larger, in its own proportions; resized, it is stretched to the
    shape; in windows, it stays as it is.

    Raises:
        ValueError: it is smaller than a window, or cropped, which leaves no whole picture.
    """
    if fit == "resize":
        return Fitted(size, shape, shape, stretched=True)
    if fit == "pad":
        unit = min(1.0, shape[0] / size[0], shape[1] / size[1])
        return Fitted(size, shape, (max(1, round(size[0] * unit)), max(1, round(size[1] * unit))))
    if fit == "crop":
        raise ValueError("A cropped picture is not whole; pad, resize or tile it.")
    if size[0] < shape[0] or size[1] < shape[1]:
        raise ValueError(
            f"{size[1]}x{size[0]} pixels, smaller than the model's window of {shape[1]}x{shape[0]}:"
            " pad or resize it (--fit pad, --fit resize)"
        )
    return Fitted(size, size, size)


class WholePictures:
    """Whole pictures of files as a model of one size is given them, float32 in [-1, 1].

    shape: the model's [h w c]. Every file is read once at the start, so that a bad one is named
    before any work is done; if all together need at most 2 GiB they stay in memory. `readable` and
    `unreadable` as of `Pictures`. Raises ValueError that names all that cannot be read or are
    smaller than a window.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        shape: tuple[int, ...],
        fit: Fit,
        view: View,
        *,
        skip_unreadable: bool = False,
    ):
        self._fit: Fit = fit
        self._shape, self._view = (shape[0], shape[1]), view
        self._noted = Noted()
        self._kept: dict[int, UInt8[np.ndarray, "h w 3"]] = {}
        places, self.readable, self.unreadable, room = [], [], [], _MEMORY
        with ThreadPoolExecutor(_WORKERS) as pool:
            for index, result in enumerate(pool.map(self._attempt, paths)):
                if isinstance(result, Exception):
                    self.unreadable.append(f"{paths[index]} ({result})")
                    continue
                picture, place = result
                room -= picture.nbytes
                if room >= 0:
                    self._kept[len(places)] = picture
                places.append(place)
                self.readable.append(index)
        if self.unreadable and not (skip_unreadable and places):
            raise ValueError(
                f"{len(self.unreadable)} of {len(paths)} images cannot be read:"
                f" {listing(self.unreadable)}."
            )
        self._paths = [paths[index] for index in self.readable]
        self.places: list[Fitted] = places
        self._noted.warn(len(paths), None)

    def __len__(self) -> int:
        return len(self.places)

    def take(self, indices: Sequence[int]) -> Float[np.ndarray, "n h w 3"]:
        """What the model is given at some indices, of one shape."""
        pictures = []
        for index in indices:
            kept = self._kept.get(index)
            pictures.append(self._read(self._paths[index])[0] if kept is None else kept)
        return to_float(np.stack(pictures))

    def _attempt(self, path: Path) -> tuple[UInt8[np.ndarray, "h w 3"], Fitted] | Exception:
        try:
            return self._read(path)
        # Decoders raise anything on a damaged file; all such files are named in one error.
        except Exception as error:
            return error

    def _read(self, path: Path) -> tuple[UInt8[np.ndarray, "h w 3"], Fitted]:
        pixels = read_image(path, self._view)
        place = placed((pixels.shape[0], pixels.shape[1]), self._shape, self._fit)
        if place.inner != place.size:
            size = place.inner[1], place.inner[0]
            pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
        return np.pad(pixels, (*_borders(place), (0, 0)), mode="symmetric"), place


def restored(
    image: Float[np.ndarray, "h w c"], place: Fitted | None
) -> Shaped[np.ndarray, "k l c"]:
    """The result [h w c] in [-1, 1] of a picture that was fitted, without what was added to it.

    Of a resized picture it is stretched back to the picture's own size. None: it was not fitted.
    """
    if place is None:
        return image
    (top, _), (left, _) = _borders(place)
    image = image[top : top + place.inner[0], left : left + place.inner[1]]
    if not place.stretched or place.size == place.shape:
        return image
    height, width = place.size
    planes = [
        Image.fromarray(plane).resize((width, height), Image.Resampling.LANCZOS)
        for plane in np.moveaxis(to_bytes(image), -1, 0)
    ]
    return to_float(np.stack([np.asarray(plane) for plane in planes], axis=-1))


def _borders(place: Fitted) -> tuple[tuple[int, int], tuple[int, int]]:
    """What is added above and below, left and right."""
    rows, columns = (whole - part for whole, part in zip(place.shape, place.inner, strict=True))
    return (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)
