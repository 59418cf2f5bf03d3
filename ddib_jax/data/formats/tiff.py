"""TIFF files: pages, planes and samples of any type; tags are kept, those of GeoTIFF too."""

import dataclasses
import importlib.util
import logging
import math
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ddib_jax.data.formats.header import Header, Plain, Values, checked_dtype, in_units, stored
from ddib_jax.data.formats.tiff_tags import (
    DESCRIPTION,
    KEPT,
    moved_value,
    nodata_of,
    packed,
    rational,
    unpacked,
    value_of,
)
from ddib_jax.data.resizing import Window

_PALETTE = 3
_PLAIN = {1, 8, 32946, 34925}
"""Compressions that tifffile packs by Python's own library: none, deflate, LZMA."""
_LOSSLESS = _PLAIN | {5, 32773, 50000}
_LOG = threading.Lock()
NO_CODEC = (
    "its compression needs imagecodecs: install ddib_jax[tiff], or save it with deflate or without"
    " compression"
)
_DESCRIBED = ("ome", "imagej")
"""Kinds of files whose description says how their pages are ordered."""


class TIFF(Plain):
    """TIFF, BigTIFF, OME-TIFF, ImageJ's and GeoTIFF, through tifffile.

    Axes of samples and channels are channels, all others that are not rows or columns are slices.
    Results are packed as the source where that loses nothing.
    """

    suffixes = (".tif", ".tiff")

    def header(self, path: Path) -> Header:
        """Type, shape and tags."""
        with opened_tiff(path) as file:
            series = file.series[0]
            page: Any = series.keyframe
            _check(file)
            axes, sizes = series.axes, dict(zip(series.axes, series.shape, strict=True))
            if not {"Y", "X"} <= sizes.keys():
                raise ValueError(f"its axes are {axes}: expected rows and columns")
            if int(page.photometric) == _PALETTE:
                raise ValueError("its values are indices of a palette: save it without one")
            tags = [packed(tag) for tag in page.tags if tag.code in KEPT]
            fields = {
                "axes": axes,
                "shape": list(map(int, series.shape)),
                "kind": series.kind,
                "compression": int(page.compression),
                "predictor": int(page.predictor),
                "photometric": int(page.photometric),
                "planar": "S" in axes and axes.index("S") < axes.index("Y"),
                "extrasamples": [int(kind) for kind in page.extrasamples],
                "tile": list(page.tile) if page.is_tiled else None,
                "resolution": [rational(page, 282), rational(page, 283)],
                "unit": value_of(page, 296, 1),
                "software": str(value_of(page, 305, "")),
                "datetime": str(value_of(page, 306, "")),
                "big": file.is_bigtiff,
                "tags": [tag for tag in tags if tag[0] != DESCRIPTION or series.kind != "shaped"],
            }
            channels = math.prod(sizes.get(axis, 1) for axis in "SC")
            slices = math.prod(series.shape) // (channels * sizes["Y"] * sizes["X"])
            return Header(
                "tiff",
                path.suffix,
                checked_dtype(page.dtype, path),
                (sizes["Y"], sizes["X"], channels),
                slices,
                nodata=nodata_of(page),
                fields=fields,
            )

    def read(self, path: Path, header: Header) -> Values:
        """All slices."""
        with opened_tiff(path) as file:
            try:
                array = file.series[0].asarray()
            except (ValueError, KeyError) as error:
                if "imagecodecs" not in str(error):
                    raise
                raise ImportError(NO_CODEC) from error
        order = _order(header.fields["axes"])
        array = array.transpose(order).reshape(header.slices, *header.shape)
        return in_units(header, array)

    def takes(self, dtype: str, channels: int) -> bool:
        """Everything."""
        return True

    def moved(self, header: Header, window: Window) -> Header:
        """The header of the window; places on Earth and pixel sizes are as they are there."""
        rows, columns = window.height / window.shape[0], window.width / window.shape[1]
        fields = dict(header.fields)
        fields["tags"] = [
            [code, kind, count, moved_value(code, value, window, rows, columns)]
            for code, kind, count, value in fields["tags"]
        ]
        x, y = fields["resolution"]
        if (rows, columns) != (1, 1) and (x, y) != ([1, 1], [1, 1]):
            fields["resolution"] = [
                [round(1000 * x[0] / columns), 1000 * x[1]],
                [round(1000 * y[0] / rows), 1000 * y[1]],
            ]
        shape = (*window.shape, header.shape[2])
        return dataclasses.replace(header, shape=shape, fields=fields)

    def write(self, path: Path, header: Header, values: Values) -> None:
        """Write all slices, with the source's axes where they are of as many channels."""
        fields = header.fields or _plain_fields(header)
        array = stored(header, values)
        sizes = dict(zip(fields["axes"], fields["shape"], strict=True))
        sizes |= dict(zip("YX", array.shape[1:3], strict=True))
        axes: str = fields["axes"]
        lead = [axis for axis in axes if axis not in "YXSC"]
        same = math.prod(sizes.get(axis, 1) for axis in "SC") == array.shape[-1]
        if same:
            tail = [axis for axis in axes if axis in "SC"]
            spread = array.reshape(
                *(sizes[axis] for axis in (*lead, "Y", "X", *tail)),
            )
            spread = spread.transpose(np.argsort(_order(axes)))
        else:
            axes = "".join([*lead, "Y", "X", *"S" * (array.shape[-1] > 1)])
            spread = array.reshape(*(sizes[axis] for axis in (*lead, "Y", "X")), array.shape[-1])
            spread = spread if "S" in axes else spread[..., 0]
        unchanged = same and list(spread.shape) == fields["shape"]
        _tifffile().imwrite(
            path, spread, **_options(fields, axes, header, same=same, unchanged=unchanged)
        )


def _options(
    fields: Any, axes: str, header: Header, *, same: bool, unchanged: bool
) -> dict[str, Any]:
    """What tifffile writes besides the values."""
    tags = fields["tags"]
    if fields["kind"] in _DESCRIBED and not unchanged:
        tags = [tag for tag in tags if tag[0] != DESCRIPTION]
    described = {tag[0]: unpacked(tag)[3] for tag in tags}.get(DESCRIPTION)
    options: dict[str, Any] = {
        "photometric": fields["photometric"] if same else "minisblack",
        "resolution": tuple(map(tuple, fields["resolution"])),
        "resolutionunit": fields["unit"],
        "software": fields["software"],
        "datetime": fields["datetime"] or None,
        "bigtiff": fields["big"] or None,
        "extratags": [unpacked(tag) for tag in tags if tag[0] != DESCRIPTION],
        "description": described,
        "metadata": {"axes": axes} if fields["kind"] == "shaped" else None,
    }
    if not same and header.shape[2] == 3 and header.dtype in ("uint8", "uint16"):
        options["photometric"] = "rgb"
    if fields["kind"] in _DESCRIBED and not unchanged:
        options |= {fields["kind"]: True, "metadata": {"axes": axes}}
    if "S" in axes:
        options["planarconfig"] = "separate" if same and fields["planar"] else "contig"
        if same and fields["extrasamples"]:
            options["extrasamples"] = fields["extrasamples"]
    if fields["tile"]:
        options["tile"] = tuple(fields["tile"])
    has_codecs = importlib.util.find_spec("imagecodecs") is not None
    packing = fields["compression"]
    if packing not in (_LOSSLESS if has_codecs else _PLAIN):
        packing = 8
    if packing != 1:
        options["compression"] = packing
        whole = np.dtype(header.dtype).kind in "iu"
        if (fields["predictor"] == 2 and whole) or (fields["predictor"] == 3 and has_codecs):
            options["predictor"] = fields["predictor"]
    return options


def _tifffile() -> Any:
    """tifffile, which takes a quarter of a second to import, when the first file is read."""
    import tifffile

    return tifffile


class _Told(logging.Handler):
    """Keeps what a log is told."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.records.append(record)


@contextmanager
def opened_tiff(path: Path) -> Iterator[Any]:
    """The file, open; ValueError where tifffile finds that it ends within a tag.

    It says so in its log alone, which is kept off the terminal.
    """
    tifffile, log, handler = _tifffile(), logging.getLogger("tifffile"), _Told()
    with _LOG:
        log.addHandler(handler)
        propagate, log.propagate = log.propagate, False
        try:
            with tifffile.TiffFile(path) as file:
                yield file
        except tifffile.TiffFileError as error:
            raise ValueError(f"it is no TIFF file, or it is cut short ({error})") from error
        finally:
            log.removeHandler(handler)
            log.propagate = propagate
    if any("invalid value offset" in record.getMessage() for record in handler.records):
        raise ValueError("it is cut short")


def _check(file: Any) -> None:
    """Raise ValueError where a file ends before its values do, or its pages are of unequal sizes.

    tifffile itself reads the pages that are there, and zeros for values that are not.
    """
    handle = file.filehandle
    ends = [
        offset + count
        for page in file.pages
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
    ]
    wide, order = file.is_bigtiff, file.byteorder
    last = file.pages[-1]
    handle.seek(last.offset)
    count = handle.read(8 if wide else 2)
    broken = len(count) < (8 if wide else 2)
    if not broken:
        number = struct.unpack(order + ("Q" if wide else "H"), count)[0]
        handle.seek(number * (20 if wide else 12), 1)
        following = handle.read(8 if wide else 4)
        broken = any(following) or len(following) < (8 if wide else 4)
    if broken or max(ends) > handle.size:
        raise ValueError("it is cut short")
    if file.series[0].kind in ("uniform", "generic") and len(file.series) > 1:
        sizes = sorted({"x".join(map(str, series.shape)) for series in file.series})
        raise ValueError(f"its pages are not of one size and type ({', '.join(sizes)})")


def _order(axes: str) -> list[int]:
    """The axes' places in the order of slices, rows, columns, channels."""
    lead = [place for place, axis in enumerate(axes) if axis not in "YXSC"]
    tail = [place for place, axis in enumerate(axes) if axis in "SC"]
    return [*lead, axes.index("Y"), axes.index("X"), *tail]


def _plain_fields(header: Header) -> dict[str, Any]:
    """The fields of a file without a source."""
    height, width, channels = header.shape
    axes = "Q" * (header.slices > 1) + "YX" + "S" * (channels > 1)
    sizes = {"Q": header.slices, "Y": height, "X": width, "S": channels}
    colour = channels == 3 and header.dtype in ("uint8", "uint16")
    return {
        "axes": axes,
        "shape": [sizes[axis] for axis in axes],
        "kind": "shaped",
        "compression": 8,
        "predictor": 1,
        "photometric": 2 if colour else 1,
        "planar": False,
        "extrasamples": [],
        "tile": None,
        "resolution": [[1, 1], [1, 1]],
        "unit": 1,
        "software": "",
        "datetime": "",
        "big": False,
        "tags": [],
    }
