"""Tags of TIFF files, those of GeoTIFF too, as JSON has them and in a window of the picture."""

import base64
import math
from typing import Any

import numpy as np

from ddib_jax.data.resizing import Window

_PIXEL_SCALE, _TIE_POINTS, _TRANSFORM = 33550, 33922, 34264
_NODATA = 42113
KEPT = (
    *(269, 270, 271, 272, 285, 315, 316, 700, 33432, 34675),  # names, authors, XMP, colour profile
    *(_PIXEL_SCALE, _TIE_POINTS, _TRANSFORM, 34735, 34736, 34737),  # GeoTIFF
    *(42112, _NODATA),  # GDAL
)
"""Tags that go from a source to its result as they are."""
DESCRIPTION = 270


def packed(tag: Any) -> list[Any]:
    """A tag as JSON has it: code, type, count, value."""
    value = tag.value
    if isinstance(value, bytes):
        value = {"base64": base64.b64encode(value).decode()}
    elif isinstance(value, tuple | np.ndarray):
        value = np.asarray(value).tolist()
    # Of a text the count holds its padding too, which is no part of it.
    count = 0 if isinstance(value, str) else int(tag.count)
    return [int(tag.code), int(tag.dtype), count, value]


def unpacked(tag: list[Any]) -> tuple[int, int, int, Any, bool]:
    """What `packed` made, as tifffile writes it: code, type, count, value, and once in a file."""
    code, kind, count, value = tag
    if isinstance(value, dict):
        value = base64.b64decode(value["base64"])
    elif isinstance(value, list):
        value = tuple(value)
    if kind == 2 and isinstance(value, str):  # ASCII, of which tifffile counts the bytes
        value = value.encode("utf-8")
        count = len(value) + 1
    return code, kind, count, value, True


def value_of(page: Any, code: int, default: Any) -> Any:
    """The value of a page's tag, a whole number where the default is one."""
    tag = page.tags.get(code)
    value = default if tag is None else tag.value
    return int(value) if isinstance(default, int) else value


def rational(page: Any, code: int) -> list[int]:
    """Numerator and denominator of a page's tag; 1 and 1 where it has none."""
    return [int(part) for part in (value_of(page, code, (1, 1)))]


def nodata_of(page: Any) -> float | None:
    """GDAL's value for no data, unless it is NaN, which is none anyway."""
    try:
        value = float(str(value_of(page, _NODATA, "")).strip("\x00 "))
    except ValueError:
        return None
    return None if math.isnan(value) else value


def moved_value(code: int, value: Any, window: Window, rows: float, columns: float) -> Any:
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
