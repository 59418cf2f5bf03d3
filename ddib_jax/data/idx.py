"""The IDX files of MNIST (LeCun, Cortes, Burges): a big-endian header, then bytes."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ddib_jax.data.digits import SIDE, SPLIT_SIZES, Digits
from ddib_jax.data.sources import check_split

_PREFIXES = {"train": "train", "test": "t10k"}


def read_idx(path: str | Path) -> UInt8[np.ndarray, "..."]:
    """Read one IDX file of unsigned bytes, raw or gzipped, in the shape that its header states.

    The header is two zero bytes, the type (8: unsigned byte), the number of dimensions, and each
    dimension as a big-endian 32-bit integer. Raises ValueError if the file is damaged, of another
    kind or of another length.
    """
    path = Path(path)
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(
                f"{path} is a damaged gzip file ({error}): download it again."
            ) from error
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise ValueError(
            f"{path} begins with {raw[:4].hex() or 'nothing'}, not 000008: it is no IDX file of"
            " bytes."
        )
    start = 4 + 4 * raw[3]
    if len(raw) < start:
        raise ValueError(
            f"{path} ends inside its IDX header after {len(raw)} bytes: download it again."
        )
    shape = tuple(int(size) for size in np.frombuffer(raw[4:start], ">u4"))
    count = math.prod(shape)
    if len(raw) - start != count:
        raise ValueError(
            f"{path} holds {len(raw) - start} bytes, its header states {count}: download it again."
        )
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def mnist_idx(directory: str | Path, split: str) -> Digits:
    """Read a split of MNIST, "train" (60,000) or "test" (10,000), from its two IDX files.

    In `directory` lie `train-` or `t10k-` `images-idx3-ubyte` and `labels-idx1-ubyte`, raw or with
    `.gz`. Raises FileNotFoundError if one is missing, ValueError if one is damaged or the two do
    not have MNIST's shapes.
    """
    check_split(split)
    pixels = read_idx(_find(Path(directory), f"{_PREFIXES[split]}-images-idx3-ubyte"))
    labels = read_idx(_find(Path(directory), f"{_PREFIXES[split]}-labels-idx1-ubyte"))
    size = SPLIT_SIZES[split]
    if pixels.shape != (size, SIDE, SIDE) or labels.shape != (size,):
        raise ValueError(
            f"The {split} files of {directory} hold images {pixels.shape} and labels"
            f" {labels.shape}, not MNIST's {(size, SIDE, SIDE)} and {(size,)}."
        )
    if labels.max() > 9:
        raise ValueError(
            f"The {split} labels of {directory} reach {labels.max()}: MNIST's are 0 to 9."
        )
    return Digits(pixels, labels.astype(np.int32), np.arange(size), split)


def _find(directory: Path, name: str) -> Path:
    for path in (directory / name, directory / f"{name}.gz"):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"There is no {name} or {name}.gz in {directory}: put MNIST's four IDX files there."
    )
