"""Pictures of any size by name, and which of two sets belong together."""

import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ddib_jax.data.datasets import is_named, load_dataset
from ddib_jax.data.folder import read_image
from ddib_jax.data.pictures import MAX_PIXELS, View, listing
from ddib_jax.data.results import NAMES
from ddib_jax.data.sources import ImageSource, to_float
from ddib_jax.data.walk import image_files, part_of


@dataclass(frozen=True)
class NamedPictures:
    """Pictures of their own sizes by name, read when they are asked for: float32 in [-1, 1].

    names: one for each, by which pairs are found. word: what they were named by.
    """

    word: str
    names: tuple[str, ...]
    _origins: Sequence[Any]
    _view: View
    _source: ImageSource | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Float[np.ndarray, "h w c"]:
        """The picture at an index; ValueError that names it where it cannot be read."""
        origin = self._origins[index]
        if self._source is not None:
            return self._source.take([origin])[0]
        try:
            return to_float(read_image(str(origin), self._view))
        except (OSError, ValueError) as error:
            raise ValueError(f"{origin} cannot be read: {error}") from error

    def __iter__(self) -> Iterator[Float[np.ndarray, "h w c"]]:
        return (self[index] for index in range(len(self)))

    def chosen(self, indices: Sequence[int]) -> "NamedPictures":
        """Those at some indices."""
        names, origins = (
            tuple(each[index] for index in indices) for each in (self.names, self._origins)
        )
        return replace(self, names=names, _origins=origins)


def open_pictures(
    word: str,
    *,
    split: str = "test",
    background: str = "white",
    limit: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> NamedPictures:
    """The pictures of a folder, a file or a data set, in order; at most `limit`, the first ones.

    A picture's name is that of its file without its ending, or, where two files share one, its path
    in the folder joined by dashes. In a folder of results with a names.json it is that of the image
    of which it is the result.

    Raises:
        FileNotFoundError: there is no such folder, file or data set, or no picture in it.
    """
    view = View(None, background=background, max_pixels=max_pixels)
    if is_named(word) or word.startswith("tfds:"):
        source = load_dataset(word, split=split)
        count = min(len(source), len(source) if limit is None else limit)
        stem = word.replace(":", "-").replace("/", "-")
        names = tuple(f"{stem}-{index:05d}" for index in range(count))
        return NamedPictures(word, names, range(count), view, source)
    where = part_of(word, split)
    if where is None:
        if not word or not Path(word).is_file():
            raise FileNotFoundError(f"There is no '{word}': no such file, folder or data set.")
        return NamedPictures(word, (Path(word).stem,), (Path(word),), view)
    folder, half = where
    paths = image_files(folder)
    stems = [path.stem for path in paths]
    if len({stem.casefold() for stem in stems}) < len(stems):
        within = (path.relative_to(folder).with_suffix("").parts for path in paths)
        stems = ["-".join(parts) for parts in within]
    renamed = _renamed(folder)
    names = tuple(renamed.get(stem, stem) for stem in stems)
    return NamedPictures(word, names[:limit], paths[:limit], replace(view, half=half))


def by_name(
    results: NamedPictures, references: NamedPictures
) -> tuple[NamedPictures, NamedPictures]:
    """The pictures of both sets that share a name, in the results' order.

    Warns of those that have no partner, with their number.

    Raises:
        ValueError: no name is shared, or two pictures of a set have one name.
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


def _renamed(folder: Path) -> dict[str, str]:
    """Name of a result -> name of its image, of those that `Results` had to change."""
    try:
        changed = json.loads((folder / NAMES).read_text("utf-8"))
        return {name: Path(origin).stem for name, origin in changed.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
