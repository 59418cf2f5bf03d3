"""Parts of TIFF files of any size: of what lies beside them, nothing is unpacked."""

import itertools
import math
import threading
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Shaped

from ddib_jax.data.formats.header import Box, Parts
from ddib_jax.data.formats.tiff import NO_CODEC, opened_tiff

MOST_UNPACKED = 2**28
"""Bytes of a tile or a strip that may have to be unpacked for a part."""


def tiff_parts(path: Path) -> Parts:
    """The parts of a file: mapped into memory where it is not packed, else by tiles and strips.

    Raises ValueError where a tile or strip is larger than `MOST_UNPACKED` or cannot be unpacked,
    ImportError where imagecodecs is not installed and the packing needs it.
    """
    with opened_tiff(path) as file:
        series = file.series[0]
        axes, shape, pages = series.axes, tuple(map(int, series.shape)), list(series.pages)
        page, place = series.keyframe, series.dataoffset
        if place is not None:
            dtype = np.dtype(page.dtype).newbyteorder(file.byteorder)
            return _Mapped(path, axes, np.memmap(path, dtype, "r", place, shape))
        segments = [(each.dataoffsets, each.databytecounts) for each in pages]
    size = math.prod(page.chunks) * np.dtype(page.dtype).itemsize
    if size > MOST_UNPACKED:
        raise ValueError(
            f"it is packed in strips of {size / 1e6:.0f} MB, each of which would be unpacked for a"
            " crop: save it in tiles"
        )
    found = _Segments(path, axes, shape, page, segments)
    try:
        found.check()
    except (ValueError, KeyError) as error:
        if "imagecodecs" not in str(error):
            raise
        raise ImportError(NO_CODEC) from error
    return found


class _Mapped:
    """A file whose values lie one after the other, as they are in memory."""

    def __init__(self, path: Path, axes: str, values: np.ndarray):
        self._axes, self._values = axes, values

    def part(self, number: int, box: Box) -> Shaped[np.ndarray, "h w c"]:
        """A part of a slice, as its values are stored."""
        place = list(_leading(self._axes, self._values.shape, number))
        index: list[Any] = []
        for axis in self._axes:
            if axis in "YX":
                index.append(box.rows if axis == "Y" else box.columns)
            else:
                index.append(slice(None) if axis in "SC" else place.pop(0))
        left = [axis for axis in self._axes if axis in "YXSC"]
        return _channels_last(np.asarray(self._values[tuple(index)]), left)


class _Segments:
    """A file of tiles or strips, each of which is unpacked by itself.

    segments: of each page the places and lengths of its tiles or strips in the file.
    """

    def __init__(
        self,
        path: Path,
        axes: str,
        shape: tuple[int, ...],
        page: Any,
        segments: list[tuple[tuple[int, ...], tuple[int, ...]]],
    ):
        self._file: BinaryIO = path.open("rb")
        self._reading = threading.Lock()
        self._page, self._segments = page, segments
        self._axes, self._shape = axes, shape
        self._of_pages = [axis for axis in axes if axis not in page.axes]

    def __del__(self) -> None:
        self._file.close()

    def check(self) -> None:
        """Unpack the first tile that holds something; raises as the decoder does."""
        for offsets, counts in self._segments:
            for number, count in enumerate(counts):
                if count:
                    self._unpacked(offsets, counts, number)
                    return

    def part(self, number: int, box: Box) -> Shaped[np.ndarray, "h w c"]:
        """A part of a slice, as its values are stored."""
        place = list(_leading(self._axes, self._shape, number))
        sizes = dict(zip(self._axes, self._shape, strict=True))
        choices = [
            range(sizes[axis]) if axis in "SC" else (place.pop(0),) for axis in self._of_pages
        ]
        counts = tuple(sizes[axis] for axis in self._of_pages)
        planes = np.stack(
            [
                self._of_page(int(np.ravel_multi_index(page, counts)) if page else 0, box)
                for page in itertools.product(*choices)
            ]
        )
        channels = [axis for axis in self._of_pages if axis in "SC"]
        inner = [axis for axis in self._axes if axis == "S" and axis in self._page.axes]
        ordered = planes.reshape(*(sizes[axis] for axis in channels), *planes.shape[1:])
        if not inner:
            ordered = ordered[..., 0]
        letters = [*channels, "Y", "X", *inner]
        # as the series has them: channels of one page may come before those of several
        tail = [axis for axis in self._axes if axis in "SC"]
        return _channels_last(ordered, letters, tail)

    def _of_page(self, number: int, box: Box) -> Shaped[np.ndarray, "h w s"]:
        """The part of one page with all its samples."""
        page = self._page
        offsets, counts = self._segments[number]
        length, width = page.tilelength, page.tilewidth
        if not page.is_tiled:
            length, width = min(page.rowsperstrip, page.imagelength), page.imagewidth
        down, across = -(-page.imagelength // length), -(-page.imagewidth // width)
        samples = page.samplesperpixel
        planes = samples if page.planarconfig == 2 and samples > 1 else 1
        found = np.full((box.height, box.width, samples), page.nodata, page.dtype)
        for plane in range(planes):
            for row in range(box.top // length, -(-(box.top + box.height) // length)):
                for column in range(box.left // width, -(-(box.left + box.width) // width)):
                    segment = (plane * down + row) * across + column
                    values = self._unpacked(offsets, counts, segment)
                    if values is None:
                        continue
                    into, out_of = _overlap(box, row * length, column * width, values.shape)
                    channels = slice(plane, plane + 1) if planes > 1 else slice(None)
                    found[(*into, channels)] = values[out_of]
        return found

    def _unpacked(
        self, offsets: tuple[int, ...], counts: tuple[int, ...], number: int
    ) -> Shaped[np.ndarray, "h w s"] | None:
        """The values of a tile or strip; None of one that the file leaves out."""
        if not counts[number]:
            return None
        values, _, shape = self._page.decode(self._read(offsets[number], counts[number]), number)
        if values is None:
            return None
        return values[0, : shape[1], : shape[2]]

    def _read(self, offset: int, count: int) -> bytes:
        """Bytes of the file; ValueError where it has fewer."""
        with self._reading:  # threads share one place in the file
            self._file.seek(offset)
            data = self._file.read(count)
        if len(data) < count:
            raise ValueError("it is cut short")
        return data


def _leading(axes: str, shape: tuple[int, ...], number: int) -> tuple[int, ...]:
    """The places of a slice along the axes that are neither rows, columns nor channels."""
    lead = [size for axis, size in zip(axes, shape, strict=True) if axis not in "YXSC"]
    return tuple(map(int, np.unravel_index(number, lead))) if lead else ()


def _channels_last(
    values: np.ndarray, axes: list[str], tail: list[str] | None = None
) -> Shaped[np.ndarray, "h w c"]:
    """Values of these axes as [h w c], channels in the order of `tail`, or of the axes."""
    tail = [axis for axis in axes if axis in "SC"] if tail is None else tail
    ordered = values.transpose([axes.index(axis) for axis in ("Y", "X", *tail)])
    return ordered.reshape(*ordered.shape[:2], -1)


def _overlap(
    box: Box, top: int, left: int, shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a tile at a corner lies in the box, and the box in the tile."""
    into, out_of = [], []
    for start, size, corner, length in (
        (box.top, box.height, top, shape[0]),
        (box.left, box.width, left, shape[1]),
    ):
        first, last = max(start, corner), min(start + size, corner + length)
        into.append(slice(first - start, last - start))
        out_of.append(slice(first - corner, last - corner))
    return (into[0], into[1]), (out_of[0], out_of[1])
