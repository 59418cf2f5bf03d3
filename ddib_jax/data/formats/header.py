"""What a file says of its values besides the values, and what a reader-writer of a format is."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Float, Shaped

from ddib_jax.data.resizing import Window

Values: TypeAlias = Float[np.ndarray, "s h w c"]
"""The slices of a file, float32 in the file's own units; one slice of a single picture."""


@dataclass(frozen=True)
class Header:
    """A file without its values.

    format: name in `FORMATS`. suffix: of the file. dtype: of the stored values. shape: height,
    width and channels of a slice. slices: of a volume or stack; 1 of a picture. slope, intercept:
    the file's units are stored * slope + intercept. nodata: the value, in its units, that means
    none. fields: what the format alone knows, as JSON has it.
    """

    format: str
    suffix: str
    dtype: str
    shape: tuple[int, int, int]
    slices: int = 1
    slope: float = 1.0
    intercept: float = 0.0
    nodata: float | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Type and channels in words: "uint16 of 3 channels"."""
        count = self.shape[2]
        return f"{self.dtype} of {count} {'channel' if count == 1 else 'channels'}"

    def to_json(self) -> str:
        """The header as one line of JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Header":
        """The header that `to_json` wrote; raises ValueError for anything else."""
        try:
            values = json.loads(text)
            height, width, channels = values.pop("shape")
            return cls(shape=(int(height), int(width), int(channels)), **values)
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise ValueError(f"A file's header cannot be read ({error}).") from error


class Box(NamedTuple):
    """A part of a slice, in its pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def rows(self) -> slice:
        """Its rows."""
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        """Its columns."""
        return slice(self.left, self.left + self.width)


@runtime_checkable
class Parts(Protocol):
    """A file that gives parts of its slices without the rest being read."""

    def part(self, number: int, box: Box) -> Shaped[np.ndarray, "h w c"]:
        """A part of slice `number`, as its values are stored; ValueError where it is damaged."""
        ...


@runtime_checkable
class FileFormat(Protocol):
    """A reader and writer of one kind of file."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Of its files, in lower case."""
        ...

    def header(self, path: Path) -> Header:
        """What the file says besides its values.

        Raises ValueError or OSError where it is damaged or of a kind that is not read, ImportError,
        which names the extra, where a library is missing.
        """
        ...

    def joined(self, files: Sequence[tuple[Path, Header]]) -> list[tuple[Path, Header]]:
        """The files, with those that are one volume as one; raises ValueError as `header` does."""
        ...

    def read(self, path: Path, header: Header) -> Values:
        """The values [s h w c], float32 in the file's units; raises as `header` does."""
        ...

    def takes(self, dtype: str, channels: int) -> bool:
        """Whether a file of this format can hold values of that type and number of channels."""
        ...

    def moved(self, header: Header, window: Window) -> Header:
        """The header of the window of every slice: places and pixel sizes as they are there."""
        ...

    def write(self, path: Path, header: Header, values: Values) -> None:
        """Write values [s h w c] in the file's units, stored as the header says."""
        ...


def checked_dtype(dtype: Any, path: Path) -> str:
    """NumPy's name of a type of real numbers; ValueError for another one."""
    found = np.dtype(dtype)
    if found.kind not in "uif" or found.itemsize > 8:
        raise ValueError(f"its values are {found}: expected whole numbers or floats")
    return found.newbyteorder("=").name


def stored(header: Header, values: Values) -> Shaped[np.ndarray, "s h w c"]:
    """Values in the file's units as they are stored: rounded to nearest and within the type."""
    dtype = np.dtype(header.dtype)
    raw = np.asarray(values, np.float64)
    if header.slope != 1 or header.intercept != 0:
        raw = (raw - header.intercept) / header.slope
    if dtype.kind == "f":
        return raw.astype(dtype)
    limits = np.iinfo(dtype)
    # 2^63 - 1 is no float64: the largest below it stays within the type.
    high = math.nextafter(float(limits.max), 0) if dtype.itemsize == 8 else limits.max
    return np.clip(np.rint(raw), limits.min, high).astype(dtype)


def in_units(header: Header, raw: Shaped[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Stored values in the file's units, float32."""
    if header.slope != 1 or header.intercept != 0:
        return (raw * np.float64(header.slope) + header.intercept).astype(np.float32)
    return raw.astype(np.float32)


def rescaled(header: Header, dtype: str, low: float, high: float) -> Header:
    """The header for values of another domain: stored as `dtype`, from `low` to `high`.

    Without a slope where whole numbers hold the range in steps of 1, that is fine enough (256
    steps), and the header had none; otherwise the range is spread over the type.
    """
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return dataclasses.replace(header, dtype=dtype, slope=1.0, intercept=0.0)
    limits = np.iinfo(kind)
    fits = limits.min <= low and high <= limits.max
    if fits and high - low >= 255 and header.slope == 1:
        return dataclasses.replace(header, dtype=dtype, slope=1.0, intercept=0.0)
    slope = (high - low) / (float(limits.max) - float(limits.min))
    return dataclasses.replace(
        header, dtype=dtype, slope=slope, intercept=low - float(limits.min) * slope
    )


class Plain:
    """What formats without volumes of several files or a place in space have in common."""

    def joined(self, files: Sequence[tuple[Path, Header]]) -> list[tuple[Path, Header]]:
        """The files as they are."""
        return list(files)

    def moved(self, header: Header, window: Window) -> Header:
        """The header with the window's shape."""
        return dataclasses.replace(header, shape=(*window.shape, header.shape[2]))
