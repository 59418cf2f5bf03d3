"""Make the bundled asset, all fives and sevens of MNIST, from MNIST's four IDX files.

    python -m ddib_jax.data.bundle IDX_DIRECTORY OUTPUT.npz

The arrays come out the same to the bit, and so does the file where Python's zlib is the same.
"""

import io
import sys
import zipfile
from pathlib import Path

import numpy as np

from ddib_jax.data.digit_sets import BUNDLED
from ddib_jax.data.idx import mnist_idx
from ddib_jax.data.sources import SPLITS

_TYPES = {"pixels": np.uint8, "labels": np.uint8, "positions": np.uint16}


def write_bundle(directory: str | Path, output: str | Path) -> None:
    """Write the fives and sevens of the IDX files in `directory` to the npz file `output`.

    For each split it holds `SPLIT_pixels` (n, 28, 28) and `SPLIT_labels` (n,), both uint8, and
    `SPLIT_positions` (n,) uint16, the indices in MNIST's file. Raises as `mnist_idx` does, before
    anything is written.
    """
    splits = [mnist_idx(directory, split).only(BUNDLED) for split in SPLITS]
    with zipfile.ZipFile(output, "w") as archive:
        for digits in splits:
            for name, dtype in _TYPES.items():
                buffer = io.BytesIO()
                np.lib.format.write_array(
                    buffer, getattr(digits, name).astype(dtype), allow_pickle=False
                )
                # A ZipInfo of its own is dated 1980, so that no clock gets into the file.
                entry = zipfile.ZipInfo(f"{digits.split}_{name}.npy")
                archive.writestr(entry, buffer.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m ddib_jax.data.bundle IDX_DIRECTORY OUTPUT.npz")
    write_bundle(sys.argv[1], sys.argv[2])
