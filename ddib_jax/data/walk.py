"""Which files of a folder are images, and which of its folders a split or a domain is."""

import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Int
from PIL import Image

from ddib_jax.data.captions import METADATA, TEXT, CaptionFiles
from ddib_jax.data.sources import SPLITS
from ddib_jax.runs import FOLDER, OVERVIEWS, RECORD, TRUST

_NO_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"}
"""Formats that Pillow recognises, but decodes only with programs or handlers besides."""
_SYSTEM = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
_SYSTEM_FILES = {"thumbs.db", "desktop.ini"}
_WORDS = {"train": ("train",), "test": ("test", "val", "valid", "validation")}
"""Split -> names of its folder, the first that is there counts."""
_SPLIT_OF = {word: name for name, words in _WORDS.items() for word in words}
_DOMAIN = re.compile("(?i:train|test|val|valid|validation)[AB]")
_NAMED = 5

HALVES = ("left", "right")
"""Prefixes of pix2pix's layout: two pictures side by side in one file."""

DOMAINS = ("A", "B")
"""Prefixes of CycleGAN's layout: folders trainA, trainB, testA and testB."""


@cache
def suffixes() -> frozenset[str]:
    """The suffixes of files that are read as images: all that Pillow decodes by itself."""
    Image.init()
    formats = Image.registered_extensions().items()
    opened = {*Image.OPEN, "MPO"} - _NO_PICTURES  # a JPEG with others behind it, which JPEG's opens
    return frozenset(suffix for suffix, name in formats if name in opened)


def is_image(name: str) -> bool:
    """Whether a file is read as an image, by its name."""
    return Path(name).suffix.lower() in suffixes()


def image_files(directory: str | Path, *, known: Callable[[str], bool] = is_image) -> list[Path]:
    """Every image below `directory`, sorted by path; links to folders and files are followed.

    Images are known by their names, as `known` says, by default by suffix. Hidden files and
    folders, those of operating systems (`__MACOSX`, `@eaDir` ...) and runs with their pages are
    left out; a warning counts and names what else is: files of other suffixes, links that lead
    nowhere or back to a folder above them, and folders that cannot be opened. Files of captions
    (`CaptionFiles`) are left out without a warning. Raises FileNotFoundError where there is no such
    folder, or no image in it.
    """
    return captioned_files(directory, known=known)[0]


def captioned_files(
    directory: str | Path, *, known: Callable[[str], bool] = is_image
) -> tuple[list[Path], CaptionFiles]:
    """The images of `image_files`, and the files of their captions; raises as it does.

    Of a split's folder without any, a file of metadata in the folder above is taken.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory} is not a folder: give a folder of images.")
    found = _Found(known=known)
    _walk(directory, (), found)
    said = found.left_out()
    if not found.images:
        more = " (.npy, .nii, .dcm ... where a range is declared, --range)"
        raise FileNotFoundError(
            f"There is no image in {directory} ({found.others.total()} other files): expected at"
            f" least one .png, .jpg, .webp, .tif ...{more if known is is_image else ''}"
            f"{said and f'; left out: {said}'}."
        )
    if said:
        warnings.warn(f"Left out in {directory}: {said}.", stacklevel=3)
    captions = CaptionFiles(tuple(found.metadata), tuple(found.texts))
    above = directory.parent / METADATA
    if not captions and directory.name.casefold() in _SPLIT_OF and above.is_file():
        captions = CaptionFiles((above,), within=directory)
    return sorted(found.images, key=lambda path: path.parts), captions


def labels_of(
    directory: Path, paths: Sequence[Path]
) -> tuple[Int[np.ndarray, " n"] | None, tuple[str, ...]]:
    """The labels of files and the names of their classes, where every one lies in a folder."""
    within = [path.relative_to(directory).parts for path in paths]
    if not all(len(parts) > 1 for parts in within):
        return None, ()
    classes = tuple(sorted({parts[0] for parts in within}))
    return np.asarray([classes.index(parts[0]) for parts in within], np.int32), classes


def part_of(word: str, split: str) -> tuple[Path, str | None] | None:
    """The folder of a split that a word means, and the half of its pictures or None for all.

    word: FOLDER, left:FOLDER, right:FOLDER, A:FOLDER or B:FOLDER. None where it is none of these.
    Raises as `split_folder` does, and FileNotFoundError for a prefix before what is no folder.
    """
    prefix, colon, argument = word.partition(":")
    if word and Path(word).is_dir():
        return split_folder(Path(word), split), None
    if not colon or prefix not in (*HALVES, *DOMAINS):
        return None
    folder = Path(argument)
    if not argument or not folder.is_dir():
        raise FileNotFoundError(f"'{word}' names no folder: there is no folder {argument!r}.")
    if prefix in HALVES:
        return split_folder(folder, split), prefix
    present = _folders(folder)
    wanted = [f"{name}{prefix}" for name in _WORDS[split]]
    for name in wanted:
        for candidate in present:
            if candidate.casefold() == name.casefold():
                return folder / candidate, None
    raise FileNotFoundError(
        f"{folder} has no folder {' or '.join(wanted)}; its folders are"
        f" {', '.join(present) or 'none'}."
    )


def split_folder(folder: Path, split: str) -> Path:
    """The folder of a split, "train" or "test", within `folder`, or `folder` where there is none.

    Folders are of splits where they are called train and test (or val, valid, validation), in any
    capitals. One of these alone beside other folders is a class among classes; two or more of them
    are the splits, and others are left out. Either is said in a warning. Raises FileNotFoundError
    where `folder` has the other split alone, ValueError where it holds CycleGAN's domains.
    """
    present = _folders(folder)
    if crossed := [name for name in present if _DOMAIN.fullmatch(name)]:
        raise ValueError(
            f"{folder} holds the folders {', '.join(crossed)}, two domains as CycleGAN has them:"
            f" write A:{folder} or B:{folder} for one of them."
        )
    splits = {name.casefold(): name for name in present if name.casefold() in _SPLIT_OF}
    if not splits:
        return folder
    others = [name for name in present if name not in splits.values()]
    others = [name for name in others if _holds_images(folder / name)]
    if others and len(splits) == 1:
        [name] = splits.values()
        warnings.warn(
            f"{folder}/{name} is taken for a class, like {', '.join(others[:_NAMED])} beside it;"
            f" write {folder}/{name} if the split of that name is meant.",
            stacklevel=3,
        )
        return folder
    loose = any(is_image(path.name) for path in folder.iterdir())
    if others or loose:
        outside = [*others[:_NAMED], *["the images beside them"] * loose]
        warnings.warn(
            f"The folders {', '.join(splits.values())} of {folder} are its splits; left out:"
            f" {', '.join(outside)}.",
            stacklevel=3,
        )
    for word in _WORDS[split]:
        if word in splits:
            if word != split:
                warnings.warn(
                    f"{folder} has no folder {split}: its {splits[word]} is taken for it.",
                    stacklevel=3,
                )
            return folder / splits[word]
    raise FileNotFoundError(
        f"{folder} has a folder {next(iter(splits.values()))} but none named"
        f" {' or '.join(_WORDS[split])}: add it, name another, or take the split"
        f" {next(other for other in SPLITS if other != split)}."
    )


@dataclass
class _Found:
    """What a walk has found, and what it leaves out."""

    images: list[Path] = field(default_factory=list)
    metadata: list[Path] = field(default_factory=list)
    texts: list[Path] = field(default_factory=list)
    others: Counter = field(default_factory=Counter)
    dangling: list[Path] = field(default_factory=list)
    loops: list[Path] = field(default_factory=list)
    closed: list[Path] = field(default_factory=list)
    known: Callable[[str], bool] = is_image

    def left_out(self) -> str:
        """What is left out, counted and named; "" for nothing."""
        parts = []
        if count := self.others.total():
            kinds = ", ".join(
                f"{number} {suffix or 'without a suffix'}"
                for suffix, number in self.others.most_common()
            )
            parts.append(f"{count} other files ({kinds})")
        for paths, what in (
            (self.dangling, "link that leads nowhere"),
            (self.loops, "link back to a folder above it"),
            (self.closed, "folder that cannot be opened"),
        ):
            if paths:
                names = ", ".join(map(str, paths[:_NAMED]))
                more = ", ..." if len(paths) > _NAMED else ""
                parts.append(f"{len(paths)} x {what} ({names}{more})")
        return "; ".join(parts)


def _walk(folder: Path, above: tuple[tuple[int, int], ...], found: _Found) -> None:
    """Sort what lies below a folder; `above`: device and inode of the folders that it lies in."""
    try:
        status = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        found.closed.append(folder)
        return
    identity = status.st_dev, status.st_ino
    if identity in above:
        found.loops.append(folder)
        return
    names = {Path(entry.name).stem for entry in entries if found.known(entry.name)}
    made = OVERVIEWS if (folder / FOLDER / RECORD).is_file() else ()
    for entry in _visible(entries):
        path = folder / entry.name
        # Of a run of ours the figures, and of its results the overviews, are no images of the
        # folder.
        of_run = (path.stem in made and path.is_file()) or (made and entry.name == TRUST)
        if (path / RECORD).is_file() or of_run:
            continue
        if path.is_dir():
            _walk(path, (*above, identity), found)
        elif not path.exists():
            found.dangling.append(path)
        elif path.is_file() and found.known(entry.name):
            found.images.append(path)
        elif entry.name == METADATA:
            found.metadata.append(path)
        elif path.suffix == TEXT and path.stem in names:
            found.texts.append(path)
        elif path.name.lower() not in _SYSTEM_FILES:
            found.others[path.suffix.lower()] += 1


def _visible(entries: list[os.DirEntry]) -> Iterator[os.DirEntry]:
    for entry in entries:
        if not entry.name.startswith(".") and entry.name not in _SYSTEM:
            yield entry


def _folders(folder: Path) -> list[str]:
    """The names of the visible folders in a folder, sorted."""
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    return [entry.name for entry in _visible(entries) if entry.is_dir()]


def _holds_images(folder: Path) -> bool:
    found = _Found()
    _walk(folder, (), found)
    return bool(found.images)
