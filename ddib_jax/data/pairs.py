"""Pictures of any size by name, and which of two sets belong together."""

import json
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ddib_jax.data.datasets import is_named, load_dataset
from ddib_jax.data.folder import read_image
from ddib_jax.data.formats import is_file, stem
from ddib_jax.data.pictures import MAX_PIXELS, View, listing
from ddib_jax.data.results import NAMES
from ddib_jax.data.sources import ImageSource, to_float
from ddib_jax.data.units import InUnits, Unit, is_plain
from ddib_jax.data.walk import image_files, is_image, part_of

_SLICE = re.compile(r"(.*), slice (\d+)")
"""An origin that is one slice of a volume, as `names.json` says it."""


@dataclass(frozen=True)
class NamedPictures:
    """Pictures of their own sizes by name, read when they are asked for: float32 in [-1, 1].

    names: one for each, by which pairs are found. files: of each the number of its file, which
    slices of a volume share. word: what they were named by.
    """

    word: str
    names: tuple[str, ...]
    files: tuple[int, ...]
    _origins: Sequence[Any]
    _read: Callable[[Any], Float[np.ndarray, "h w c"]]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Float[np.ndarray, "h w c"]:
        """The picture at an index; ValueError that names it where it cannot be read."""
        origin = self._origins[index]
        try:
            return self._read(origin)
        except (OSError, ValueError, ImportError) as error:
            raise ValueError(f"{origin} cannot be read: {error}") from error

    def __iter__(self) -> Iterator[Float[np.ndarray, "h w c"]]:
        return (self[index] for index in range(len(self)))

    def chosen(self, indices: Sequence[int]) -> "NamedPictures":
        """Those at some indices."""
        names, files, origins = (
            tuple(each[index] for index in indices)
            for each in (self.names, self.files, self._origins)
        )
        return replace(self, names=names, files=files, _origins=origins)

    def first(self, count: int | None) -> "NamedPictures":
        """Those of the first so many files; None for all."""
        known = set(list(dict.fromkeys(self.files))[:count])
        return self.chosen([place for place, file in enumerate(self.files) if file in known])


class Sets(NamedTuple):
    """Two sets of pictures, and the unit of their values.

    unit: None for pictures of 8 bits, which have none of their own. warn: says what is odd about
    the values that were read; to be called at the end.
    """

    results: NamedPictures
    references: NamedPictures
    unit: Unit | None
    warn: Callable[[], None]


def open_sets(
    results: str,
    references: str,
    *,
    split: str = "test",
    background: str = "white",
    max_pixels: int = MAX_PIXELS,
    declared: Sequence[str] = (),
) -> Sets:
    """The pictures of two folders, files or data sets, in order.

    Where all files are pictures of 8 bits they are read as RGB. Otherwise, or where a range is
    `declared` (words as of `declared_scale`, numbers), all are read in their own units, with all
    their channels, and slices of volumes are pictures; the values that are -1 and 1 are then those
    declared, or the ends of the file's type.

    A picture's name is that of its file without its ending, or, where two files share one, its path
    in the folder joined by dashes; that of a slice has the slice's number behind it. In a folder of
    results with a names.json it is that of the image of which it is the result.

    Raises:
        FileNotFoundError: there is no such folder, file or data set, or no picture in it.
        ValueError: a file's header cannot be read, its type says no range and none is declared, or
            one is declared for a data set.
    """
    both = [_listed(word, split) for word in (results, references)]
    view = View(None, background=background, max_pixels=max_pixels)
    if not declared and all(is_plain(path) for each in both for path in each.paths):
        ours, theirs = (_of_bytes(each, view) for each in both)
        return Sets(ours, theirs, None, lambda: None)
    reader = InUnits(view, declared)
    ours, theirs = (_in_units(each, reader) for each in both)
    return Sets(ours, theirs, reader.unit(), reader.warn)


class _Listed(NamedTuple):
    """What a word names: files with their names, or a data set; half: of pictures side by side."""

    word: str
    paths: Sequence[Path] = ()
    stems: Sequence[str] = ()
    renamed: Mapping[str, str] = MappingProxyType({})
    half: str | None = None
    source: ImageSource | None = None


def _listed(word: str, split: str) -> _Listed:
    if is_named(word) or word.startswith("tfds:"):
        return _Listed(word, source=load_dataset(word, split=split))
    where = part_of(word, split)
    if where is None:
        if not word or not Path(word).is_file():
            raise FileNotFoundError(f"There is no '{word}': no such file, folder or data set.")
        return _Listed(word, [Path(word)], [stem(word)])
    folder, half = where
    paths = image_files(folder, known=lambda name: is_image(name) or is_file(name))
    stems = [stem(path) for path in paths]
    if len({each.casefold() for each in stems}) < len(stems):
        within = (path.relative_to(folder) for path in paths)
        stems = ["-".join((*path.parts[:-1], stem(path))) for path in within]
    return _Listed(word, paths, stems, _renamed(folder), half)


def _of_dataset(word: str, source: ImageSource) -> NamedPictures:
    name, count = word.replace(":", "-").replace("/", "-"), len(source)
    names = tuple(f"{name}-{index:05d}" for index in range(count))
    taken = lambda index: source.take([index])[0]
    return NamedPictures(word, names, tuple(range(count)), range(count), taken)


def _of_bytes(listed: _Listed, view: View) -> NamedPictures:
    if listed.source is not None:
        return _of_dataset(listed.word, listed.source)
    view = replace(view, half=listed.half)
    names = tuple(listed.renamed.get(name, name) for name in listed.stems)
    read = lambda path: to_float(read_image(path, view))
    return NamedPictures(listed.word, names, tuple(range(len(names))), listed.paths, read)


def _in_units(listed: _Listed, reader: InUnits) -> NamedPictures:
    if listed.source is not None:
        reader.check_dataset(listed.word)
        return _of_dataset(listed.word, listed.source)
    stems = dict(zip(listed.paths, listed.stems, strict=True))
    slices = reader.slices(listed.paths)
    paths = dict.fromkeys(one.file.path for one in slices)
    numbers = {path: number for number, path in enumerate(paths)}
    names = []
    for one in slices:
        ending = f"-{one.number:03d}" if one.file.header.slices > 1 else ""
        name = stems[one.file.path] + ending
        names.append(listed.renamed.get(name, name))
    files = tuple(numbers[one.file.path] for one in slices)
    read = lambda one: reader.read(one, listed.half)
    return NamedPictures(listed.word, tuple(names), files, slices, read)


def by_name(
    results: NamedPictures, references: NamedPictures
) -> tuple[NamedPictures, NamedPictures]:
    """The pictures of both sets that share a name, in the results' order.

    Warns of those that have no partner, with their number.

    Raises:
        ValueError: no name is shared, two pictures of a set have one name, or two volumes of one
            name have unlike numbers of slices.
    """
    places = {}
    for pictures in (results, references):
        names = [name.casefold() for name in pictures.names]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(
                f"Two pictures of {pictures.word} are called {listing(twice)}; pairs are found by"
                " name: rename one, or compare the sets alone (--unpaired)."
            )
        places[pictures.word, pictures is results] = {name: i for i, name in enumerate(names)}
    ours, theirs = places.values()
    shared = {name: None for name in ours if name in theirs}
    if not shared:
        raise ValueError(
            f"No picture of {results.word} (such as '{results.names[0]}') has the name of one of"
            f" {references.word} (such as '{references.names[0]}'); name them alike, or compare the"
            " sets alone (--unpaired)."
        )
    _check_volumes(results, references, list(shared))
    for pictures, own in ((results, ours), (references, theirs)):
        if alone := [pictures.names[i] for name, i in own.items() if name not in shared]:
            warnings.warn(
                f"{len(alone)} of {len(pictures)} pictures of {pictures.word} have no partner and"
                f" are left out: {listing(alone)}.",
                stacklevel=2,
            )
    return (
        results.chosen([ours[name] for name in shared]),
        references.chosen([theirs[name] for name in shared]),
    )


def _check_volumes(
    results: NamedPictures, references: NamedPictures, shared: Sequence[str]
) -> None:
    """Raise ValueError where a slice has a partner and another one of its volume has none."""
    paired = set(shared)
    for pictures, others in ((results, references), (references, results)):
        slices = Counter(pictures.files)
        found: dict[int, list[str]] = {}
        for name, file in zip(pictures.names, pictures.files, strict=True):
            if name.casefold() in paired:
                found.setdefault(file, []).append(name)
        for file, names in found.items():
            if len(names) < slices[file]:
                raise ValueError(
                    f"The volume of the slice '{names[0]}' has {slices[file]} slices in"
                    f" {pictures.word}, of which {len(names)} have one of the same number in"
                    f" {others.word}; give volumes of as many slices."
                )


def _renamed(folder: Path) -> dict[str, str]:
    """Name of a result -> name of its image, of those that `Results` had to change."""
    try:
        changed = json.loads((folder / NAMES).read_text("utf-8"))
        return {name: _name_of(origin) for name, origin in changed.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _name_of(origin: str) -> str:
    """The name of an image by where it is from, with the number of its slice in a volume."""
    if found := _SLICE.fullmatch(origin):
        return f"{stem(found[1])}-{int(found[2]):03d}"
    return stem(origin)
