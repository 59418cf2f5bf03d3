"""Pictures measured in their files' own units: a range that is declared, or that of the type."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image

from ddib_jax.data.declared import read_scaled
from ddib_jax.data.formats import FORMATS, PictureFile, Slice, find_files, is_file, slices_of
from ddib_jax.data.pictures import Noted, View
from ddib_jax.data.scale import Scale, declared_scale

_UNSIGNED = ("uint8", "uint16")
"""Types whose whole range files are taken to fill; of others it says nothing of the values."""
_SMALL = 1 / 4
"""Share of a type's range: values that fill no more of it were not meant by it."""


class Unit(NamedTuple):
    """What -1 is in a file's own units, and how far it is from there to 1."""

    low: float
    width: float


def is_plain(path: Path) -> bool:
    """Whether a file is a picture of 8 bits and up to four channels, as Pillow reads it.

    Also for a file that is damaged, which its reader will say.
    """
    suffix = path.suffix.lower()
    try:
        if suffix in FORMATS["picture"].suffixes:
            with Image.open(path) as picture:
                return picture.mode[0] not in "IF"
        for kind in ("png", "tiff"):
            if suffix in FORMATS[kind].suffixes:
                header = FORMATS[kind].header(path)
                few = header.slices == 1 and header.shape[2] <= 4
                return few and header.dtype == "uint8"
    except Exception:  # decoders raise anything
        return True
    return not is_file(path)


class InUnits:
    """Files of two sets as they are, and what is to be said of them.

    view: without a size. declared: words as of `declared_scale`, or none for the ranges of the
    types.
    """

    def __init__(self, view: View, declared: Sequence[str]):
        if any(word.startswith("p") for word in declared):
            raise ValueError(
                "A percentile is of training images; give the range in numbers (--range)."
            )
        self._noted, self._declared = Noted(), declared
        self._view = replace(view, noted=self._noted)
        self._first: Scale | None = None
        self._largest, self._read = -1.0, 0

    def slices(self, paths: Sequence[Path]) -> list[Slice]:
        """All pictures of files; ValueError where one cannot be read or its type says no range."""
        files, _ = find_files(paths)
        scales = [self._scale(file) for file in files]
        self._first = scales[0]  # the last set's that has files: that of the references
        return slices_of(files)

    def read(self, one: Slice, half: str | None) -> Float[np.ndarray, "h w c"]:
        """A picture, float32 in [-1, 1]; half: of two side by side."""
        scale = self._scale(one.file)
        picture = read_scaled(one, replace(self._view, half=half, scale=scale))
        self._largest, self._read = max(self._largest, float(picture.max())), self._read + 1
        return picture

    def unit(self) -> Unit:
        """The unit of the references' values; shares of the range where channels have several."""
        scale = self._first
        if scale is None:
            raise ValueError("There is no file whose values would have a unit.")
        ends = set(zip(scale.low, scale.high, strict=True))
        if len(ends) > 1:
            return Unit(0.0, 1.0)
        [(low, high)] = ends
        return Unit(low, high - low)

    def check_dataset(self, word: str) -> None:
        """Raise ValueError where a range is declared and a data set is read, which has its own."""
        if self._declared:
            raise ValueError(
                f"The data set '{word}' has a range of its own; a range is declared for files."
                " Leave --range out."
            )

    def warn(self) -> None:
        """Say which share of the values was clipped, or that they fill a small part of the type."""
        if self._declared:
            self._noted.warn(self._read, self._first)
        elif self._read and self._largest < 2 * _SMALL - 1:
            share = (self._largest + 1) / 2
            warnings.warn(
                f"The values fill {share:.2g} of the range of their type, by which PSNR and SSIM"
                " are measured: declare what they may be (--range LOW HIGH).",
                stacklevel=2,
            )

    def _scale(self, file: PictureFile) -> Scale:
        header = file.header
        dtype, channels = header.dtype, header.shape[2]
        if self._declared:
            return declared_scale(self._declared, dtype, channels, ())
        if dtype not in _UNSIGNED or (header.slope, header.intercept) != (1, 0):
            raise ValueError(
                f"{file} is {header.kind}, whose type does not say what its values may be: say"
                " which are black and white, in the files' own units (--range LOW HIGH)."
            )
        high = float(np.iinfo(dtype).max)
        return Scale(dtype, (0.0,) * channels, (high,) * channels)
