"""The formats by name, and files found, read by the slice and written by them."""

import threading
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ddib_jax.data.formats.dicom import DICOM
from ddib_jax.data.formats.header import (
    Box,
    FileFormat,
    Header,
    Parts,
    Values,
    in_units,
    rescaled,
)
from ddib_jax.data.formats.nifti import NIfTI
from ddib_jax.data.formats.numpy_files import NPY, NPZ, NPYParts
from ddib_jax.data.formats.pictures import Picture
from ddib_jax.data.formats.png import PNG
from ddib_jax.data.formats.tiff import TIFF
from ddib_jax.data.formats.tiff_parts import tiff_parts
from ddib_jax.data.scale import Scale

FORMATS: dict[str, FileFormat] = {
    "png": PNG(),
    "picture": Picture(),
    "tiff": TIFF(),
    "npy": NPY(),
    "npz": NPZ(),
    "nifti": NIfTI(),
    "dicom": DICOM(),
}
"""Name -> reader and writer of a kind of file."""

PARTS: dict[str, Callable[[Path, Header], Parts]] = {
    "tiff": lambda path, _header: tiff_parts(path),
    "npy": NPYParts,
}
"""Formats of which parts are read without the rest -> what reads them."""

_NAMED = 10
_SLOPED = ("nifti", "dicom")
"""Formats that store a slope and an intercept beside their values."""
_READING = threading.Lock()


class PictureFile(NamedTuple):
    """A file, or a series of files that are one volume, and its header."""

    path: Path
    header: Header

    def __str__(self) -> str:
        return str(self.path)


class Slice(NamedTuple):
    """One picture of a file, by its number."""

    file: PictureFile
    number: int

    def __str__(self) -> str:
        several = self.file.header.slices > 1
        return f"{self.file}, slice {self.number}" if several else str(self.file)


def is_file(name: str | Path) -> bool:
    """Whether a file is of one of `FORMATS`, by its name."""
    return _kind(name) is not None


def stem(path: str | Path) -> str:
    """The name of a file without its suffix, which may be of two parts (.nii.gz)."""
    name = Path(path).name
    endings = [
        suffix
        for known in FORMATS.values()
        for suffix in known.suffixes
        if name.lower().endswith(suffix)
    ]
    return name[: len(name) - max(map(len, endings))] if endings else Path(path).stem


def format_named(header: Header) -> FileFormat:
    """The format of a header; ValueError for one that is not known here."""
    if header.format not in FORMATS:
        raise ValueError(
            f"Unknown format of files '{header.format}'; known are {', '.join(FORMATS)}."
        )
    return FORMATS[header.format]


def find_files(
    paths: Sequence[str | Path], *, skip_unreadable: bool = False
) -> tuple[list[PictureFile], list[str]]:
    """The files of `paths` with their headers, and those that cannot be read, with the reason.

    Files of one volume (a DICOM series) are one, at the place of the first. Raises ValueError that
    names all that cannot be read, unless they are skipped or no other is there, and for a volume of
    unequal slices.
    """
    found: dict[str, list[tuple[Path, Header]]] = defaultdict(list)
    unreadable = []
    for path in map(Path, paths):
        kind = _kind(path)
        try:
            if kind is None:
                raise ValueError("no known format")
            found[kind].append((path, FORMATS[kind].header(path)))
        # Readers raise anything on a damaged file: all such files are named in one error.
        except Exception as error:
            unreadable.append(f"{path} ({reason(error)})")
    if unreadable and (not found or not skip_unreadable):
        more = f" and {len(unreadable) - _NAMED} more" if len(unreadable) > _NAMED else ""
        advice = "; repair or remove them, or leave them out (--skip-unreadable)" if found else ""
        raise ValueError(
            f"{len(unreadable)} of {len(paths)} files cannot be read:"
            f" {', '.join(unreadable[:_NAMED])}{more}{advice}."
        )
    joined = [file for kind, files in found.items() for file in FORMATS[kind].joined(files)]
    places = {path: place for place, path in enumerate(map(Path, paths))}
    joined.sort(key=lambda file: places[file[0]])
    return [PictureFile(*file) for file in joined], unreadable


def slices_of(files: Sequence[PictureFile]) -> list[Slice]:
    """All pictures of files, one after the other."""
    return [Slice(file, index) for file in files for index in range(file.header.slices)]


def read_file(file: PictureFile) -> Values:
    """The values [s h w c] of a file, float32 in its own units.

    Raises ValueError or OSError for one that is damaged, and for values that are not finite or that
    the file itself says are none.
    """
    values = format_named(file.header).read(file.path, file.header)
    lost = int(values.size - np.isfinite(values).sum())
    if lost:
        raise ValueError(
            f"{lost} of its {values.size} values are NaN or infinite: fill them, or crop them off"
        )
    nodata = file.header.nodata
    none = 0 if nodata is None else int((values == np.float32(nodata)).sum())
    if none:
        raise ValueError(
            f"{none} of its {values.size} values are {nodata:g}, which it says is no data: fill"
            " them, or crop them off"
        )
    return values


def read_slice(one: Slice) -> Float[np.ndarray, "h w c"]:
    """The values of one picture of a file, as of `read_file`."""
    if one.file.header.slices == 1:
        return read_file(one.file)[0]
    with _READING:  # or every thread would read the whole volume
        return _volume(_Hashed(one.file))[one.number]


def can_be_parted(header: Header) -> bool:
    """Whether parts of a file are read without the rest of it."""
    return header.format in PARTS


def read_part(one: Slice, box: Box) -> Float[np.ndarray, "h w c"] | None:
    """A part of a picture in its file's units, of which nothing else is read where that can be.

    None where the part holds NaN, infinity or what the file calls no data. Files are kept open.
    Raises as `read_file` does.
    """
    header = one.file.header
    if not can_be_parted(header):
        return read_slice(one)[box.rows, box.columns]
    values = in_units(header, _parts(_Hashed(one.file)).part(one.number, box))
    none = header.nodata is not None and (values == np.float32(header.nodata)).any()
    return None if none or not np.isfinite(values).all() else values


def write_file(folder: Path, name: str, header: Header, values: Values, scale: Scale) -> Path:
    """Write values [s h w c] as `folder`/`name` with the header's suffix; the path.

    scale: of the values' domain. Where that is another one than the header's the values are stored
    as its type; and as TIFF, which is said, where the header's format cannot hold them.
    """
    channels, own = values.shape[-1], format_named(header)
    low, high = min(scale.low), max(scale.high)
    header = replace(header, shape=values.shape[1:])
    if header.format not in _SLOPED:
        header = replace(header, dtype=scale.dtype)
    elif scale.dtype != header.dtype or not _holds(header, low, high):
        header = rescaled(header, scale.dtype, low, high)
    if not own.takes(header.dtype, channels):
        warnings.warn(
            f"Files of the format {header.format} hold no {scale.dtype} of {channels} channels: the"
            " results are TIFF, without the sources' headers.",
            stacklevel=3,
        )
        header = Header("tiff", ".tif", scale.dtype, values.shape[1:], len(values))
    path = folder / f"{name}{header.suffix}"
    format_named(header).write(path, header, values)
    return path


def reason(error: Exception) -> str:
    """What an error says, as a part of a sentence."""
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return said.splitlines()[0].rstrip(".")


def _kind(name: str | Path) -> str | None:
    lowered = Path(name).name.lower()
    for kind, known in FORMATS.items():
        if lowered.endswith(known.suffixes):
            return kind
    return None


def _holds(header: Header, low: float, high: float) -> bool:
    """Whether the header's type, slope and intercept hold the range."""
    dtype = np.dtype(header.dtype)
    if dtype.kind == "f":
        return True
    limits = np.iinfo(dtype)
    ends = sorted(float(end) * header.slope + header.intercept for end in (limits.min, limits.max))
    return ends[0] <= low and high <= ends[1]


class _Hashed:
    """A file as the key of a cache, by its path, size and time."""

    def __init__(self, file: PictureFile):
        status = file.path.stat()
        self.file, self._key = file, (file.path, status.st_size, status.st_mtime_ns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hashed) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@lru_cache(maxsize=64)
def _parts(key: _Hashed) -> Parts:
    """The parts of a file, which stays open."""
    return PARTS[key.file.header.format](key.file.path, key.file.header)


@lru_cache(maxsize=2)
def _volume(key: _Hashed) -> Values:
    """The values of a volume, kept while its slices are read one after the other."""
    return read_file(key.file)
