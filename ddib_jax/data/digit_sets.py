"""Which digits a name means, and where they are found."""

import os
from collections.abc import Collection
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

from ddib_jax.data.digits import Digits
from ddib_jax.data.idx import mnist_idx
from ddib_jax.data.sources import check_split
from ddib_jax.data.tfds_sets import tfds_digits

BUNDLED = (5, 7)
ASSET = resources.files("ddib_jax.data") / "assets" / "mnist_fives_sevens.npz"

_LAYOUTS = (".", "mnist", "MNIST/raw")


@cache
def bundled_digits(split: str) -> Digits:
    """Read the fives and sevens of MNIST that come with the package, grey, in MNIST's order.

    "train" holds 5,421 fives and 6,265 sevens, "test" 892 and 1,028. Raises ValueError for another
    split.
    """
    check_split(split)
    with ASSET.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        pixels, labels, positions = (
            arrays[f"{split}_{name}"] for name in ("pixels", "labels", "positions")
        )
    return Digits(pixels, labels.astype(np.int32), positions.astype(np.int64), split)


def find_digits(
    digits: Collection[int], split: str, *, directory: str | Path | None = None
) -> Digits:
    """Read the given digits of an MNIST split, grey, from the first source that can hold them.

    In this order: the IDX files in `directory`, if given; the bundle, if it has all the digits; the
    IDX files in the folder that the environment variable DDIB_DATA names; what tensorflow-datasets
    has prepared. IDX files are looked for in the folder itself, in its `mnist` and in its
    `MNIST/raw`. Raises FileNotFoundError if no source has them.
    """
    if directory is not None:
        return mnist_idx(_idx_folder(directory), split).only(digits)
    if set(digits) <= set(BUNDLED):
        return bundled_digits(split).only(digits)
    if root := os.environ.get("DDIB_DATA"):
        return mnist_idx(_idx_folder(root), split).only(digits)
    try:
        return tfds_digits(split).only(digits)
    except (FileNotFoundError, ModuleNotFoundError) as error:
        raise FileNotFoundError(
            f"Digits {', '.join(map(str, sorted(digits)))} need all of MNIST, but only fives and"
            " sevens are bundled: put its four IDX files (train-, t10k-; images-idx3-ubyte and"
            " labels-idx1-ubyte, .gz or not) in a folder and name it by `directory` or the"
            " environment variable DDIB_DATA, or prepare MNIST in tensorflow-datasets."
        ) from error


def parse_digits(text: str) -> tuple[int, ...]:
    """Read digits parted by commas, such as "1,2,3", sorted; the empty text means all ten.

    Raises ValueError for any other text.
    """
    if not text:
        return tuple(range(10))
    parts = [part.strip() for part in text.split(",")]
    if not all(part in tuple("0123456789") for part in parts):
        raise ValueError(
            f"'{text}' is no list of digits: expected digits 0 to 9 parted by commas, such as"
            " 1,2,3."
        )
    return tuple(sorted({int(part) for part in parts}))


def _idx_folder(root: str | Path) -> Path:
    folders = [Path(root) / layout for layout in _LAYOUTS]
    return next((folder for folder in folders if any(folder.glob("*-idx3-ubyte*"))), folders[0])
