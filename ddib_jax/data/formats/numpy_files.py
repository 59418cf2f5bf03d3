"""Arrays in NumPy's files, .npy and .npz."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Shaped

from ddib_jax.data.formats.header import (
    Box,
    Header,
    Plain,
    Values,
    checked_dtype,
    in_units,
    stored,
)

_MOST = 16
"""Channels: the last axis of three is taken for them up to here, for columns beyond."""


class NPY(Plain):
    """One array: [h w], [h w c] with at most 16 channels, a volume [s h w], or [s h w c]."""

    suffixes: tuple[str, ...] = (".npy",)

    def header(self, path: Path) -> Header:
        """Type and shape; the values are not read."""
        return self._header(path, ".npy", _loaded(path, mapped=True), {})

    def read(self, path: Path, header: Header) -> Values:
        """The slices."""
        return in_units(header, _loaded(path).reshape(header.slices, *header.shape))

    def takes(self, dtype: str, channels: int) -> bool:
        """Everything."""
        return True

    def write(self, path: Path, header: Header, values: Values) -> None:
        """Write the array with as many axes as it had."""
        with path.open("wb") as file:
            np.save(file, _shaped(header, values))

    def _header(self, path: Path, suffix: str, array: Any, fields: dict[str, Any]) -> Header:
        dtype, shape = checked_dtype(array.dtype, path), tuple(map(int, array.shape))
        if not 2 <= len(shape) <= 4 or min(shape) < 1:
            raise ValueError(f"its array is {shape}: expected [h w], [h w c], [s h w] or [s h w c]")
        stack = len(shape) == 3 and shape[-1] > _MOST
        layout = {2: "hw", 3: "shw" if stack else "hwc", 4: "shwc"}[len(shape)]
        sizes = {"s": 1, "c": 1} | dict(zip(layout, shape, strict=True))
        height, width, channels, slices = (sizes[axis] for axis in "hwcs")
        fields |= {"layout": layout}
        return Header("npy", suffix, dtype, (height, width, channels), slices, fields=fields)


class NPYParts:
    """Parts of an array that is mapped into memory."""

    def __init__(self, path: Path, header: Header):
        array = _loaded(path, mapped=True)
        self._values = array.reshape(header.slices, *header.shape)

    def part(self, number: int, box: Box) -> Shaped[np.ndarray, "h w c"]:
        """A part of a slice, as its values are stored."""
        return np.asarray(self._values[number, box.rows, box.columns])


class NPZ(NPY):
    """A file of one array, which keeps its name."""

    suffixes = (".npz",)

    def header(self, path: Path) -> Header:
        """Type, shape and the array's name."""
        name, array = _only(path)
        header = self._header(path, ".npz", array, {"name": name})
        return Header(**{**vars(header), "format": "npz"})

    def read(self, path: Path, header: Header) -> Values:
        """The slices."""
        return in_units(header, _only(path)[1].reshape(header.slices, *header.shape))

    def write(self, path: Path, header: Header, values: Values) -> None:
        """Write the array under its name."""
        arrays: dict[str, Any] = {header.fields.get("name", "image"): _shaped(header, values)}
        with path.open("wb") as file:
            np.savez(file, **arrays)


def _loaded(path: Path, *, mapped: bool = False) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"it is no .npy file of numbers, or it is cut short ({error})") from error


def _only(path: Path) -> tuple[str, np.ndarray]:
    """The name and the values of the one array of a file."""
    try:
        with np.load(path, allow_pickle=False) as stored_arrays:
            names: Sequence[str] = stored_arrays.files
            if len(names) == 1:
                return names[0], stored_arrays[names[0]]
    except (ValueError, EOFError, OSError, BadZipFile) as error:
        raise ValueError(f"it is no .npz file of numbers, or it is cut short ({error})") from error
    raise ValueError(f"it holds {len(names)} arrays ({', '.join(names[:5])}): expected one")


def _shaped(header: Header, values: Values) -> np.ndarray:
    """The stored values with the axes of the source's array, and those that they need besides."""
    array, layout = stored(header, values), header.fields.get("layout", "shwc")
    if "c" not in layout and array.shape[-1] == 1:
        array = array[..., 0]
    return array[0] if "s" not in layout and len(array) == 1 else array
