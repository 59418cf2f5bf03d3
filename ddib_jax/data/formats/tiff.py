"""TIFF files: pages, planes and samples of any type; tags are kept, those of GeoTIFF too."""

import base64
import dataclasses
import importlib.util
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

from ddib_jax.data.formats.header import Header, Plain, Values, checked_dtype, in_units, stored
from ddib_jax.data.resizing import Window

_PIXEL_SCALE, _TIE_POINTS, _TRANSFORM = 33550, 33922, 34264
_NODATA = 42113
_PALETTE = 3
_KEPT = (
    *(269, 270, 271, 272, 285, 315, 316, 700, 33432, 34675),  # names, authors, XMP, colour profile
    *(_PIXEL_SCALE, _TIE_POINTS, _TRANSFORM, 34735, 34736, 34737),  # GeoTIFF
    *(42112, _NODATA),  # GDAL
)
"""Tags that go from a source to its result as they are."""
_DESCRIPTION = 270
_PLAIN = {1, 8, 32946, 34925}
"""Compressions that tifffile packs by Python's own library: none, deflate, LZMA."""
_LOSSLESS = _PLAIN | {5, 32773, 50000}
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
        with _opened(path) as file:
            series = file.series[0]
            page: Any = series.keyframe
            _check(file)
            axes, sizes = series.axes, dict(zip(series.axes, series.shape, strict=True))
            if not {"Y", "X"} <= sizes.keys():
                raise ValueError(f"its axes are {axes}: expected rows and columns")
            if int(page.photometric) == _PALETTE:
                raise ValueError("its values are indices of a palette: save it without one")
            tags = [_packed(tag) for tag in page.tags if tag.code in _KEPT]
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
                "resolution": [_rational(page, 282), _rational(page, 283)],
                "unit": _value(page, 296, 1),
                "software": str(_value(page, 305, "")),
                "datetime": str(_value(page, 306, "")),
                "big": file.is_bigtiff,
                "tags": [tag for tag in tags if tag[0] != _DESCRIPTION or series.kind != "shaped"],
            }
            channels = math.prod(sizes.get(axis, 1) for axis in "SC")
            slices = math.prod(series.shape) // (channels * sizes["Y"] * sizes["X"])
            return Header(
                "tiff",
                path.suffix,
                checked_dtype(page.dtype, path),
                (sizes["Y"], sizes["X"], channels),
                slices,
                nodata=_nodata(page),
                fields=fields,
            )

    def read(self, path: Path, header: Header) -> Values:
        """All slices."""
        with _opened(path) as file:
            try:
                array = file.series[0].asarray()
            except (ValueError, KeyError) as error:
                if "imagecodecs" not in str(error):
                    raise
                raise ImportError(
                    "its compression needs imagecodecs: install ddib_jax[tiff], or save it with"
                    " deflate or without compression"
                ) from error
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
            [code, kind, count, _moved(code, value, window, rows, columns)]
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
        tags = [tag for tag in tags if tag[0] != _DESCRIPTION]
    described = {tag[0]: _unpacked(tag)[3] for tag in tags}.get(_DESCRIPTION)
    options: dict[str, Any] = {
        "photometric": fields["photometric"] if same else "minisblack",
        "resolution": tuple(map(tuple, fields["resolution"])),
        "resolutionunit": fields["unit"],
        "software": fields["software"],
        "datetime": fields["datetime"] or None,
        "bigtiff": fields["big"] or None,
        "extratags": [_unpacked(tag) for tag in tags if tag[0] != _DESCRIPTION],
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
    packed = fields["compression"]
    if packed not in (_LOSSLESS if has_codecs else _PLAIN):
        packed = 8
    if packed != 1:
        options["compression"] = packed
        whole = np.dtype(header.dtype).kind in "iu"
        if (fields["predictor"] == 2 and whole) or (fields["predictor"] == 3 and has_codecs):
            options["predictor"] = fields["predictor"]
    return options


def _tifffile() -> Any:
    """tifffile, which takes a quarter of a second to import, when the first file is read."""
    import tifffile

    return tifffile


def _opened(path: Path) -> Any:
    tifffile = _tifffile()
    try:
        return tifffile.TiffFile(path)
    except tifffile.TiffFileError as error:
        raise ValueError(f"it is no TIFF file, or it is cut short ({error})") from error


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


def _packed(tag: Any) -> list[Any]:
    """A tag as JSON has it: code, type, count, value."""
    value = tag.value
    if isinstance(value, bytes):
        value = {"base64": base64.b64encode(value).decode()}
    elif isinstance(value, tuple | np.ndarray):
        value = np.asarray(value).tolist()
    return [int(tag.code), int(tag.dtype), int(tag.count), value]


def _unpacked(tag: list[Any]) -> tuple[int, int, int, Any, bool]:
    code, kind, count, value = tag
    if isinstance(value, dict):
        value = base64.b64decode(value["base64"])
    elif isinstance(value, list):
        value = tuple(value)
    if kind == 2 and isinstance(value, str):  # ASCII, of which tifffile counts the bytes
        value, count = value.encode("utf-8"), 0
        count = len(value) + 1
    return code, kind, count, value, True


def _value(page: Any, code: int, default: Any) -> Any:
    tag = page.tags.get(code)
    value = default if tag is None else tag.value
    return int(value) if isinstance(default, int) else value


def _rational(page: Any, code: int) -> list[int]:
    return [int(part) for part in (_value(page, code, (1, 1)))]


def _nodata(page: Any) -> float | None:
    """GDAL's value for no data, unless it is NaN, which is none anyway."""
    try:
        value = float(str(_value(page, _NODATA, "")).strip("\x00 "))
    except ValueError:
        return None
    return None if math.isnan(value) else value


def _moved(code: int, value: Any, window: Window, rows: float, columns: float) -> Any:
    """The value of a tag of GeoTIFF for a window; that of another tag as it is."""
    if code == _PIXEL_SCALE:
        return [value[0] * columns, value[1] * rows, value[2]]
    if code == _TIE_POINTS:
        points = np.reshape(value, (-1, 6)).astype(float)
        points[:, 0] = (points[:, 0] - window.left) / columns
        points[:, 1] = (points[:, 1] - window.top) / rows
        return points.ravel().tolist()
    if code == _TRANSFORM:
        within = np.diag([columns, rows, 1.0, 1.0])
        within[:2, 3] = window.left, window.top
        return (np.reshape(value, (4, 4)) @ within).ravel().tolist()
    return value
