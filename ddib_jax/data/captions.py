"""Captions of the pictures of a folder, from a file of metadata or a text beside each picture."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ddib_jax.data.pictures import Pictures, listing
from ddib_jax.data.sources import ALL, Indices

METADATA = "metadata.jsonl"
"""The file of captions of Hugging Face's ImageFolder: lines {"file_name": ..., "text": ...}."""
TEXT = ".txt"
"""The suffix of a text beside a picture, of the same name but for the suffix."""


@dataclass(frozen=True)
class CaptionFiles:
    """The files that say what the pictures of a folder show.

    metadata: files of the name `METADATA`, whose file names are relative to their folder. texts:
    files of the suffix `TEXT` beside a picture. within: the folder whose pictures alone are meant,
    of metadata that lie above it.
    """

    metadata: tuple[Path, ...] = ()
    texts: tuple[Path, ...] = ()
    within: Path | None = None

    def __bool__(self) -> bool:
        return bool(self.metadata or self.texts)

    def of(self, pictures: Sequence[Path]) -> list[str]:
        """The captions of these pictures, in their order.

        Raises ValueError for a picture without one or with two, a line of metadata that names no
        file or cannot be read, a text that is not in UTF-8, and files of both kinds.
        """
        if self.metadata and self.texts:
            raise ValueError(
                f"There are captions in {self.metadata[0]} and beside the pictures"
                f" ({self.texts[0]}); keep one of the two."
            )
        if self.metadata:
            found = self._described()
            remedy = f"add their lines to {METADATA}"
        else:
            found = {_plain(path.with_suffix("")): _text(path) for path in self.texts}
            remedy = f"add a {TEXT} file beside each"
        # A text has the name of its picture without the suffix.
        keys = [_plain(path if self.metadata else path.with_suffix("")) for path in pictures]
        bare = [str(path) for path, key in zip(pictures, keys, strict=True) if key not in found]
        if bare:
            raise ValueError(
                f"{len(bare)} of {len(pictures)} pictures have no caption ({listing(bare)});"
                f" {remedy}, or take the pictures out."
            )
        return [found[key] for key in keys]

    def _described(self) -> dict[str, str]:
        """The captions in the files of metadata, by the paths of their pictures."""
        found, missing = {}, []
        folder = None if self.within is None else _plain(self.within)
        for file in self.metadata:
            for number, line in enumerate(_text(file).split("\n"), start=1):
                if not line.strip():
                    continue
                name, caption = _entry(line, f"{file}, line {number},")
                key = _plain(file.parent / name)
                if folder is not None and not Path(key).is_relative_to(folder):
                    continue
                if key in found:
                    raise ValueError(
                        f"{file}, line {number}, has a second caption of {name}; keep one."
                    )
                found[key] = caption
                if not os.path.exists(key):
                    missing.append(f"{name} in line {number} of {file}")
        if missing:
            raise ValueError(
                f"{len(missing)} of {len(found)} captions are of files that are not there"
                f" ({listing(missing)}); take these lines out, or add the files."
            )
        return found


class CaptionedPictures(Pictures):
    """`Pictures` of a folder with captions, a `Captioned` source.

    files: of the captions, which are read when they are first asked for. The other arguments are
    those of `Pictures`.
    """

    def __init__(self, *args: Any, files: CaptionFiles, **options: Any):
        super().__init__(*args, **options)
        self._files = files

    @cached_property
    def texts(self) -> list[str]:
        """The captions of all pictures; raises ValueError as `CaptionFiles.of` does."""
        return self._files.of(self.items)

    def captions(
        self, indices: Indices, *, rng: np.random.Generator | None = None, part: slice = ALL
    ) -> list[str]:
        """The captions of the pictures at `indices[part]`; nothing of them is random.

        Raises ValueError as `CaptionFiles.of` does.
        """
        return [self.texts[index] for index in np.asarray(indices)[part]]


def _entry(line: str, where: str) -> tuple[str, str]:
    """The name of the file and the caption of a line of metadata."""
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{where} is not valid JSON ({error}).") from error
    for name in ("file_name", "text"):
        if not isinstance(entry, dict) or not isinstance(entry.get(name), str):
            raise ValueError(
                f'{where} has no "{name}" that is a text; expected'
                ' {"file_name": ..., "text": ...}.'
            )
    return entry["file_name"], entry["text"]


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8 ({error}); convert it.") from error


def _plain(path: Path) -> str:
    """A path as it is compared with others: two names of one file may differ in . and .. alone."""
    return os.path.normpath(path)
