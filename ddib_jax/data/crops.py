"""Parts of pictures at their own resolution, as an image source."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

from ddib_jax.data.declared import of_one_kind
from ddib_jax.data.formats import Box, find_files, is_file, slices_of
from ddib_jax.data.formats.registry import reason
from ddib_jax.data.large import Kept, Large, cell, of_path, of_slice, spread
from ddib_jax.data.pictures import MAX_PIXELS, Noted, View, floats, listing
from ddib_jax.data.scale import Scale, check_range, declared_scale
from ddib_jax.data.sources import ALL, Indices
from ddib_jax.data.walk import image_files, labels_of

_TRIES = 100
"""Places that are tried for a crop without missing values."""
_WORKERS = 4


class Crops:
    """Crops of pictures of any sizes, not resized: an `ImageSource` of (side, side, c) in [-1, 1].

    Image i is the i-th crop of an even grid over all pictures, one after the other, so that there
    are as many as tile them; a draw with a generator is anywhere in its picture. A crop that holds
    missing values is drawn anew. Of files of which parts can be read (`formats.can_be_parted`)
    nothing but what a crop touches is read and unpacked; of others the pixels are kept in memory,
    up to 2 GiB in all, and decoded at every draw beyond.

    items: pictures, with names in words; `open_one(item)` makes one of which crops are taken.
    scale: what values mean; None for 8-bit RGB. A crop of each is read at the start: raises
    ValueError that names all that cannot be read, unless they are skipped (`unreadable`), and all
    that are smaller than a crop.
    """

    def __init__(
        self,
        items: Sequence[Any],
        shape: tuple[int, int, int],
        open_one: Callable[[Any], Large],
        *,
        labels: Int[np.ndarray, " n"] | None = None,
        classes: tuple[str, ...] = (),
        scale: Scale | None = None,
        skip_unreadable: bool = False,
    ):
        self.classes, self.image_shape = classes, shape
        side, noted = shape[0], Noted()
        with ThreadPoolExecutor(_WORKERS) as pool:
            found = list(pool.map(partial(_looked_at, open_one, side, noted), items))
        named = list(zip(items, found, strict=True))
        self.unreadable = [f"{item} ({reason(e)})" for item, e in named if isinstance(e, Exception)]
        good = [place for place, each in enumerate(found) if isinstance(each, Large)]
        if self.unreadable and not (skip_unreadable and good):
            advice = (
                "; repair or remove them, or leave them out (--skip-unreadable)" if good else ""
            )
            raise ValueError(
                f"{len(self.unreadable)} of {len(items)} images cannot be read:"
                f" {listing(self.unreadable)}{advice}."
            )
        self.items = [items[place] for place in good]
        self._pictures = [each for each in found if isinstance(each, Large)]
        pairs = list(zip(self.items, self._pictures, strict=True))
        if small := [f"{i} ({p.width}x{p.height})" for i, p in pairs if min(p[:2]) < side]:
            raise ValueError(
                f"{len(small)} of {len(items)} images are smaller than crops of {side}x{side}:"
                f" {listing(small)}; give a smaller --image-size, or remove them."
            )
        noted.warn(len(items), None)
        self.scale = scale
        counts = [(each.height // side) * (each.width // side) for each in self._pictures]
        self._ends = np.cumsum(counts)
        self.labels = None if labels is None else np.repeat(labels[good], counts)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def take(
        self, indices: Indices, *, rng: np.random.Generator | None = None, part: slice = ALL
    ) -> Float[np.ndarray, "m h w c"]:
        """The crops at `indices`, float32 in [-1, 1]; with a generator anywhere in their pictures.

        Raises ValueError where a picture has hardly a crop without missing values.
        """
        indices = np.asarray(indices)
        seeds: list[int | None] = [None] * len(indices)
        if rng is not None:  # drawn for the whole batch and then cut, as `part` demands
            seeds = rng.integers(2**62, size=len(indices)).tolist()
        with ThreadPoolExecutor(_WORKERS) as pool:
            found = list(pool.map(self._crop, indices[part].tolist(), seeds[part]))
        return floats(np.stack(found))

    def _crop(self, index: int, seed: int | None) -> Shaped[np.ndarray, "h w c"]:
        """A crop: that of the grid without a seed, and a random one where values are missing."""
        place = int(np.searchsorted(self._ends, index, side="right"))
        picture, side = self._pictures[place], self.image_shape[0]
        room = picture.height - side, picture.width - side
        number = index - (int(self._ends[place - 1]) if place else 0)
        rng = np.random.default_rng([index] if seed is None else seed)
        for attempt in range(_TRIES):
            if attempt or seed is not None:
                top, left = (int(rng.integers(length + 1)) for length in room)
            else:
                top, left = cell(number, room, side)
            found = picture.read(Box(top, left, side, side), None)
            if found is not None:
                return found
        raise ValueError(
            f"In {self.items[place]} none of {_TRIES} crops of {side}x{side} was without missing"
            " values; leave the file out, or give a smaller --image-size."
        )


def crop_folder(
    directory: str | Path,
    *,
    image_size: int | None,
    half: str | None = None,
    background: str = "white",
    limit: int | None = None,
    skip_unreadable: bool = False,
    max_pixels: int = MAX_PIXELS,
    declared: Sequence[str] = (),
) -> Crops:
    """Crops of `image_size` pixels a side of every picture below a folder, which are not resized.

    Files are read as 8-bit RGB, or in a `declared` range, as by `image_folder`, whose other
    arguments, classes and errors these are. max_pixels: of what is decoded whole; of TIFF (of 8
    bits, grey or RGB, or with a declared range any) and .npy only the crops are. Percentiles, and
    the share of values outside of the range, are of crops spread evenly over the pictures.

    Raises:
        ValueError: also without a size, and for pictures that are smaller.
    """
    if image_size is None:
        raise ValueError("Crops of pictures as they are need a size: give --image-size.")
    directory, kept = Path(directory), Kept()
    view = View(None, half, background, max_pixels=max_pixels)
    if not declared:
        paths = image_files(directory)[:limit]
        labels, classes = labels_of(directory, paths)
        return Crops(
            paths,
            (image_size, image_size, 3),
            partial(of_path, view=view, kept=kept),
            labels=labels,
            classes=classes,
            skip_unreadable=skip_unreadable,
        )
    check_range(declared)
    paths = image_files(directory, known=lambda name: is_file(name))[:limit]
    files, unreadable = find_files(paths, skip_unreadable=skip_unreadable)
    header, slices = of_one_kind(files, directory), slices_of(files)
    channels = header.shape[2]
    seen = partial(spread, slices, image_size, view)
    scale = declared_scale(declared, header.dtype, channels, seen())
    noted = Noted(outside=[scale.share_outside(values) for values in seen()])
    noted.warn(len(slices), scale)
    scale = replace(scale, outside=float(np.mean(noted.outside or [0.0])))
    labels, classes = labels_of(directory, [one.file.path for one in slices])
    crops = Crops(
        slices,
        (image_size, image_size, channels),
        partial(of_slice, view=replace(view, scale=scale), kept=kept),
        labels=labels,
        classes=classes,
        scale=scale,
        skip_unreadable=skip_unreadable,
    )
    crops.unreadable = [*unreadable, *crops.unreadable]
    return crops


def _looked_at(
    open_one: Callable[[Any], Large], side: int, noted: Noted, item: Any
) -> Large | Exception:
    """A picture, of which the crop in the middle can be read, or why it cannot."""
    try:
        picture = open_one(item)
        if min(picture.height, picture.width) >= side:
            middle = (picture.height - side) // 2, (picture.width - side) // 2
            picture.read(Box(*middle, side, side), noted)
        return picture
    # Decoders raise anything on a damaged file; all such files are named in one error.
    except Exception as error:
        return error
