"""Pictures of which crops are taken: of large files nothing else is read and unpacked."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from ddib_jax.data.declared import read_scaled, window
from ddib_jax.data.folder import opened_picture, read_image
from ddib_jax.data.formats import FORMATS, Box, PictureFile, Slice, can_be_parted, read_part
from ddib_jax.data.pictures import Noted, Pixels, View

_SAMPLED = 256
"""Crops, of all pictures, that percentiles are of."""
_ORIENTATION, _ON_ITS_SIDE = 274, 5  # of EXIF, and from which number on
_PLAIN = (1, 2)
"""TIFF's kinds of colours that need nothing but to be read: grey, black as 0, and RGB."""


class Large(NamedTuple):
    """A picture of which crops are taken: bytes or floats in [-1, 1] [h w c].

    read: gives one, and None where values are missing in it.
    """

    height: int
    width: int
    read: Callable[[Box, Noted | None], Shaped[np.ndarray, "h w c"] | None]


class Kept:
    """Pixels of pictures that are decoded whole, as many as there is room for.

    They stay where they are: another process begins anew.
    """

    def __init__(self) -> None:
        self._room, self._pixels, self._loading = 2**31, {}, threading.Lock()

    def __reduce__(self) -> tuple[type, tuple]:
        return Kept, ()

    def __call__(self, item: Any, load: Callable[[], Pixels]) -> Pixels:
        """The pixels of an item, loaded where they are not kept."""
        with self._loading:  # or every thread would decode the whole picture
            if item in self._pixels:
                return self._pixels[item]
            pixels = load()
            if pixels.nbytes <= self._room:
                self._room -= pixels.nbytes
                self._pixels[item] = pixels
            return pixels


def cell(number: int, room: tuple[int, int], side: int) -> tuple[int, int]:
    """The corner of a crop of the even grid over a picture with so much room for corners.

    number: of the crop, row by row.
    """
    rows, columns = (1 + length // side for length in room)
    down, across = divmod(number, columns)
    return round(down * room[0] / max(1, rows - 1)), round(across * room[1] / max(1, columns - 1))


def of_path(path: Path, *, view: View, kept: Kept) -> Large:
    """A picture of 8-bit RGB."""
    if (found := _plain_tiff(path, view)) is not None:
        return found
    with opened_picture(path, view) as picture:
        height, width = picture.height, picture.width
        if picture.getexif().get(_ORIENTATION, 1) >= _ON_ITS_SIDE:
            height, width = width, height
    width = width if view.half is None else width // 2
    return Large(height, width, partial(_whole, path, read_image, view, kept))


def _plain_tiff(path: Path, view: View) -> Large | None:
    """A TIFF file of 8-bit grey or RGB of which parts can be read; None for what Pillow decodes."""
    if path.suffix.lower() not in FORMATS["tiff"].suffixes:
        return None
    try:
        header = FORMATS["tiff"].header(path)
        channels, fields = header.shape[2], header.fields
        single = header.dtype == "uint8" and header.slices == 1 and channels in (1, 3)
        if not single or fields["photometric"] not in _PLAIN or fields["extrasamples"]:
            return None
        # pictures of 8 bits have no missing values, whatever a tag says
        one = Slice(PictureFile(path, replace(header, nodata=None)), 0)
        read_part(one, Box(0, 0, 1, 1))
    except (ValueError, ImportError):
        return None
    part = window(header, view)
    return Large(part.height, part.width, partial(_bytes_of, one, part.left))


def of_slice(one: Slice, *, view: View, kept: Kept) -> Large:
    """A picture in its file's own units."""
    part = window(one.file.header, view)
    if can_be_parted(one.file.header):
        return Large(part.height, part.width, partial(_scaled_of, one, part.left, view))
    return Large(part.height, part.width, partial(_whole, one, read_scaled, view, kept))


def _bytes_of(one: Slice, left: int, box: Box, noted: Noted | None) -> Pixels | None:
    values = read_part(one, box._replace(left=box.left + left))
    return None if values is None else np.repeat(values, 3 // values.shape[2], 2).astype(np.uint8)


def _scaled_of(one: Slice, left: int, view: View, box: Box, noted: Noted | None) -> Pixels | None:
    values = read_part(one, box._replace(left=box.left + left))
    if values is None or view.scale is None:
        return None
    return view.scale.to_unit(values)


def _whole(
    item: Any,
    read: Callable[[Any, View], Pixels],
    view: View,
    kept: Kept,
    box: Box,
    noted: Noted | None,
) -> Shaped[np.ndarray, "h w c"]:
    pixels = kept(str(item), lambda: read(item, replace(view, noted=noted)))
    return pixels[box.rows, box.columns]


def spread(slices: Sequence[Slice], side: int, view: View) -> Iterator[np.ndarray]:
    """Crops of pictures in their units, spread evenly; of those that cannot be read none."""
    each = max(1, _SAMPLED // len(slices))
    for one in slices:
        part = window(one.file.header, view)
        room = max(0, part.height - side), max(0, part.width - side)
        cells = (1 + room[0] // side) * (1 + room[1] // side)
        for number in np.unique(np.linspace(0, cells - 1, each).astype(int)):
            top, left = cell(int(number), room, side)
            try:
                values = read_part(one, Box(top, part.left + left, side, side))
            except (ValueError, OSError, ImportError):  # `Crops` names all of them
                continue
            if values is not None:
                yield values
