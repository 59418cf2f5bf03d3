"""Files of `torch.save` from before torch 1.6: pickles one after the other, then the values."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
START = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e"
"""What a file begins with: the pickle of `MAGIC`."""
_VERSION = 1001


def is_legacy(path: Path) -> bool:
    """Whether a file begins as those of old versions of torch do."""
    with path.open("rb") as file:
        return file.read(len(START)) == START


def read_legacy(
    path: Path, unpickler: Callable[[BinaryIO], Any]
) -> tuple[Any, dict[str, tuple[int, int]]]:
    """The object of a file with records in place of tensors, and where the values of each lie.

    unpickler: made of the file; it runs nothing, and `dtypes` are those of the storages that it has
    seen, by their names. The places are offset and length in bytes. Raises ValueError for a file
    that is cut short, and whatever the unpickler does.
    """
    with path.open("rb") as file:
        if unpickler(file).load() != MAGIC or unpickler(file).load() != _VERSION:
            raise ValueError("it is of no version of torch that is known")
        unpickler(file).load()  # byte order and widths of the machine that wrote it
        reader = unpickler(file)
        state = reader.load()
        places, size = {}, path.stat().st_size
        for name in unpickler(file).load():
            count = int.from_bytes(file.read(8), "little")
            length = count * np.dtype(reader.dtypes[name]).itemsize
            places[name] = file.tell(), length
            if file.tell() + length > size:
                raise ValueError("it is cut short")
            file.seek(length, 1)
    return state, places
