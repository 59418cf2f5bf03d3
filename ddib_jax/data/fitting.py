"""Whole pictures for a model of one size: padded, resized, or as they are; and their results."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float, Shaped
from PIL import Image

from ddib_jax.data.pictures import Noted, Pixels, View, floats, listing
from ddib_jax.data.resizing import Window, resized

Fit = Literal["crop", "pad", "resize", "tile"]
"""How a picture is made to fit a model: its central part alone, wholly with a border, stretched, or
in windows of its own size.
"""
_KINDS: dict[str, Fit] = {kind: kind for kind in get_args(Fit)}
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


@dataclass(frozen=True)
class Fits:
    """How the images of a file of latents were fitted: what whoever decodes them has to know.

    overlap: of windows, as a share of their side; None without windows. places: one an image.
    """

    fit: Fit
    overlap: float | None
    places: tuple[Fitted, ...]

    def restored(self, start: int, results: Float[np.ndarray, "n h w c"]) -> list[Any]:
        """The results [h w c] of the images from `start` on, without what was added to them."""
        places = self.places[start : start + len(results)]
        return [restored(image, place) for image, place in zip(results, places, strict=True)]

    def chosen(self, part: slice) -> "Fits":
        """How those of a part were fitted."""
        return replace(self, places=self.places[part])

    def to_arrays(self) -> dict[str, np.ndarray]:
        """This as arrays, as a file of latents keeps it."""
        rows = [(*p.size, *p.shape, *p.inner, p.stretched) for p in self.places]
        overlap = np.nan if self.overlap is None else self.overlap
        return {
            "fit/kind": np.asarray(self.fit),
            "fit/overlap": np.asarray(overlap, np.float64),
            "fit/places": np.asarray(rows, np.int64).reshape(-1, 7),
        }

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], count: int, where: str | Path
    ) -> "Fits | None":
        """What `to_arrays` made, of so many images; None where there is nothing of it.

        Raises ValueError, which names the file `where`, for anything else.
        """
        if not any(name.startswith("fit/") for name in arrays):
            return None
        try:
            fit = _KINDS[str(arrays["fit/kind"])]
            overlap = float(arrays["fit/overlap"])
            rows = np.asarray(arrays["fit/places"]).astype(int).tolist()
            places = tuple(
                Fitted((a, b), (c, d), (e, f), bool(back)) for a, b, c, d, e, f, back in rows
            )
            if len(places) != count:
                raise ValueError("they are those of other latents")
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{where} says in a way that cannot be read how its images were fitted ({error});"
                " encode anew."
            ) from error
        return cls(fit, None if np.isnan(overlap) else overlap, places)


class WholePictures:
    """Whole pictures of files as a model of one size is given them, float32 in [-1, 1].

    shape: the model's [h w c]. `read(item, view)` gives a picture's pixels, bytes or floats in
    [-1, 1], by a view without a size. Every item is read once at the start, so that a bad one is
    named before any work is done; if all together need at most 2 GiB they stay in memory.
    `readable` and `unreadable` as of `Pictures`. Raises ValueError that names all that cannot be
    read or are smaller than a window.
    """

    def __init__(
        self,
        items: Sequence[Any],
        shape: tuple[int, ...],
        fit: Fit,
        view: View,
        read: Callable[[Any, View], Pixels],
        *,
        skip_unreadable: bool = False,
    ):
        self._fit: Fit = fit
        self._shape, self._view, self._reader = (shape[0], shape[1]), view, read
        noted = Noted()
        first = replace(view, noted=noted)
        self._kept: dict[int, Pixels] = {}
        places, self.readable, self.unreadable, room = [], [], [], _MEMORY
        with ThreadPoolExecutor(_WORKERS) as pool:
            for index, result in enumerate(pool.map(lambda i: self._attempt(i, first), items)):
                if isinstance(result, Exception):
                    self.unreadable.append(f"{items[index]} ({result})")
                    continue
                picture, place = result
                room -= picture.nbytes
                if room >= 0:
                    self._kept[len(places)] = picture
                places.append(place)
                self.readable.append(index)
        if self.unreadable and not (skip_unreadable and places):
            raise ValueError(
                f"{len(self.unreadable)} of {len(items)} images cannot be read:"
                f" {listing(self.unreadable)}."
            )
        self._items = [items[index] for index in self.readable]
        self.places: list[Fitted] = places
        noted.warn(len(items), view.scale)

    def __len__(self) -> int:
        return len(self.places)

    def take(self, indices: Sequence[int]) -> Float[np.ndarray, "n h w c"]:
        """What the model is given at some indices, of one shape."""
        pictures = []
        for index in indices:
            kept = self._kept.get(index)
            again = self._items[index]
            pictures.append(self._read(again, self._view)[0] if kept is None else kept)
        return floats(np.stack(pictures))

    def _attempt(self, item: Any, view: View) -> tuple[Pixels, Fitted] | Exception:
        try:
            return self._read(item, view)
        # Decoders raise anything on a damaged file; all such files are named in one error.
        except Exception as error:
            return error

    def _read(self, item: Any, view: View) -> tuple[Pixels, Fitted]:
        pixels = self._reader(item, view)
        place = placed((pixels.shape[0], pixels.shape[1]), self._shape, self._fit)
        pixels = _stretched(pixels, place.inner)
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
    return _stretched(image, place.size) if place.stretched else image


def _stretched(
    pixels: Shaped[np.ndarray, "h w c"], size: tuple[int, int]
) -> Shaped[np.ndarray, "k l c"]:
    """Bytes or floats in [-1, 1] at another height and width, by Lanczos' filter."""
    if pixels.shape[:2] == size:
        return pixels
    height, width, _ = pixels.shape
    if pixels.dtype == np.uint8:
        picture = Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.LANCZOS)
        return np.asarray(picture)
    window = Window(0, 0, height, width, size)
    return np.clip(resized(np.asarray(pixels, np.float32), window), -1, 1)


def _borders(place: Fitted) -> tuple[tuple[int, int], tuple[int, int]]:
    """What is added above and below, left and right."""
    rows, columns = (whole - part for whole, part in zip(place.shape, place.inner, strict=True))
    return (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)
