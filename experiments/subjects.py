"""Three pairs of domains whose true translations are known: what `examples.py` trains on and tests.

Each is made here, from one picture that scikit-image brings or from random numbers alone. A
training sees both domains unpaired: what it sees of one is of other tissue, other heads, another
land than what it sees of the other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import skimage.color
import skimage.data
from PIL import Image

from ddib_jax.files import drafted
from ddib_jax.types import HostImages
from drawn import SIDE, Pair, inverted, lands, phantoms


@dataclass(frozen=True)
class Domain:
    """Where a domain's pictures stand in what `make` returns, and the range of their values.

    low, high: in the unit of the files. png: whether these are 8-bit PNGs, whose range need not be
    declared; else they are NumPy's files.
    """

    side: Literal[0, 1]
    low: float
    high: float
    png: bool = False
    prepare: Callable[[np.ndarray], np.ndarray] = lambda values: values

    @property
    def words(self) -> tuple[str, ...]:
        """The range as `--range` takes it."""
        return () if self.png else (f"{self.low:g}", f"{self.high:g}")

    def values(self, images: HostImages) -> HostImages:
        """Images in [-1, 1] as values of the files, not rounded."""
        return self.low + (images + 1) / 2 * (self.high - self.low)


@dataclass(frozen=True)
class Subject:
    """Domains, and what is measured of translations from the first of the `ends` to the second.

    make: (count, seed) -> pairs. The training sees the first partners of seed 0 and the second ones
    of seed 1. unit: of the values of the second. threshold: in that unit, for Dice; below: of what
    lies below it, and not above. thresholded: what that is.
    """

    make: Callable[[int, int], Pair]
    domains: dict[str, Domain]
    ends: tuple[str, str]
    unit: str = ""
    threshold: float | None = None
    thresholded: str = ""
    below: bool = False
    unlike: Callable[[int, int], Pair] | None = None
    """As `make`, where the two domains are not of like content."""


def write_files(subject: Subject, folder: Path, *, images: int, pairs: int) -> None:
    """Write FOLDER/DOMAIN/train and FOLDER/DOMAIN/test, unless they are there.

    Files of the test that have one name are partners; in the training there are none.
    """
    tested = subject.make(pairs, 2)
    for name, domain in subject.domains.items():
        shown = subject.make(images, domain.side)
        for split, made in (("train", shown), ("test", tested)):
            if (folder / name / split).is_dir():
                continue
            values = domain.prepare(made[domain.side])
            with drafted(folder / name / split) as draft:
                draft.mkdir(parents=True, exist_ok=True)
                for number, picture in enumerate(values):
                    path = draft / f"{number:04d}"
                    if domain.png:
                        Image.fromarray(picture).save(path.with_suffix(".png"))
                    else:
                        np.save(path, picture)


_IHC_HED = np.asarray([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
"""Optical densities (red, green, blue) of haematoxylin, of eosin and of DAB (Ruifrok and Johnston
2001): those of the picture."""
_HE = np.asarray([[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]])
"""Of haematoxylin and of eosin in another laboratory: the reference of Macenko et al. (2009)."""
_STRIP = 128
"""Rows at the picture's foot that are held out."""


def restained(picture: np.ndarray) -> np.ndarray:
    """A tissue in haematoxylin and DAB [h w 3], bytes, as if its DAB were eosin.

    The densities are taken apart (Beer and Lambert's law), and put together again with the vectors
    of haematoxylin and eosin.
    """
    matrix = _IHC_HED / np.linalg.norm(_IHC_HED, axis=1, keepdims=True)
    density = -np.log(np.maximum(picture / 255, 1 / 255))
    amounts = np.maximum(density @ np.linalg.inv(matrix), 0)
    he = _HE / np.linalg.norm(_HE, axis=1, keepdims=True)
    return np.rint(255 * np.exp(-amounts[..., [0, 2]] @ he)).astype(np.uint8)


def stains(count: int, seed: int, *, block: int = 64) -> Pair:
    """Crops of every other block of the picture (seed 0), of the blocks between (1), or of the
    strip at its foot (all else), whose crops do not overlap; there are 64 of them at most.

    block: the side of a block in pixels. Whole halves of the picture are of different tissue.
    """
    picture = skimage.data.immunohistochemistry()
    other = restained(picture)
    side, foot = len(picture), len(picture) - _STRIP
    rng = np.random.default_rng(seed)
    if seed > 1:
        corners = [(y, x) for y in range(foot, side, SIDE) for x in range(0, side, SIDE)][:count]
    else:
        blocks = [(y, x) for y in range(0, foot, block) for x in range(0, side, block)]
        own = [(y, x) for y, x in blocks if (y + x) // block % 2 == seed]
        corners = np.asarray(own)[rng.integers(len(own), size=count)]
        corners = corners + rng.integers(0, block - SIDE + 1, (count, 2))
    turns = rng.integers(8, size=len(corners)) if seed < 2 else np.zeros(len(corners), int)
    return tuple(
        np.stack(
            [
                _symmetric(whole[y : y + SIDE, x : x + SIDE], turn)
                for (y, x), turn in zip(corners, turns, strict=True)
            ]
        )
        for whole in (picture, other)
    )


def _symmetric(crop: np.ndarray, turn: int) -> np.ndarray:
    """One of the eight symmetries of a square: tissue has no upside."""
    crop = np.rot90(crop, turn % 4)
    return crop[:, ::-1] if turn > 3 else crop


SUBJECTS = {
    "stains": Subject(
        stains,
        {"ihc": Domain(0, 0, 255, png=True), "he": Domain(1, 0, 255, png=True)},
        ("ihc", "he"),
        unlike=partial(stains, block=256),
    ),
    "phantoms": Subject(
        phantoms,
        {
            "inverted": Domain(0, 0, 3000, prepare=inverted),
            "ct": Domain(1, -1000, 2000),
            "mr": Domain(0, 0, 3000),
        },
        ("inverted", "ct"),
        unit="HU",
        threshold=300,
        thresholded="bone",
    ),
    "lands": Subject(
        lands,
        {"sar": Domain(0, -30, 0), "optical": Domain(1, 0, 255, png=True)},
        ("sar", "optical"),
        threshold=60,
        thresholded="water",
        below=True,
    ),
}
"""Name -> subject."""
