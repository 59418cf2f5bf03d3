"""What the words of a command line that name images mean, and these images, read lazily."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from ddib_jax.data import (
    DATASETS,
    MAX_PIXELS,
    Pictures,
    image_files,
    is_named,
    load_dataset,
    part_of,
)
from ddib_jax.data.fitting import Fit, Fitted, WholePictures, restored
from ddib_jax.data.folder import read_image
from ddib_jax.data.pictures import View
from ddib_jax.data.results import unique_names
from ddib_jax.data.sources import ImageSource
from ddib_jax.files import lies_in, same_place
from ddib_jax.options import Count

_LUMINANCE = np.asarray([[0.299], [0.587], [0.114]], np.float32)
"""Weights of red, green and blue in a grey pixel (ITU-R BT.601)."""


@dataclass(frozen=True)
class Reading:
    """How files of pictures are read."""

    skip_unreadable: bool = False
    """Leave out files that cannot be read, and list them in unreadable.txt beside the results."""
    max_pixels: Count = MAX_PIXELS
    """Pixels of the largest picture that is read; larger ones are refused before they are decoded.
    """


class Item(NamedTuple):
    """An image: its name, safe for a result; its own; where it is from, a path or a data set."""

    name: str
    stem: str
    origin: str


class InputImages:
    """The images that the words of a command line name, of one model's shape.

    items: one for each, of unique names. They are read and checked at once, kept as bytes where
    these are not too many, and become floats when they are taken. unreadable: what was left out,
    and why.
    """

    def __init__(
        self,
        items: list[Item],
        sources: Sequence["Pictures | WholePictures | _Some"],
        shape: tuple[int, ...],
    ):
        self.items, self._sources, self._channels = items, sources, shape[2]
        self._places: list[Fitted | None] = []
        for source in sources:
            self._places += getattr(source, "places", [None] * len(source))
        whole = (shape[0], shape[1])
        self._shapes = [whole if place is None else place.shape for place in self._places]
        self.unreadable = [line for source in sources for line in getattr(source, "unreadable", ())]

    def __len__(self) -> int:
        return len(self.items)

    @property
    def names(self) -> list[str]:
        """The names of results of the images: safe, and unique among those of all hosts."""
        return [item.name for item in self.items]

    @property
    def changed(self) -> dict[str, str]:
        """Name -> where the image is from, of those whose own name could not stay."""
        return {item.name: item.origin for item in self.items if item.name != item.stem}

    @property
    def alike(self) -> int:
        """How many images, from the first one on, are of its shape."""
        others = (i for i, shape in enumerate(self._shapes) if shape != self._shapes[0])
        return next(others, len(self))

    def check_alike(self, start: int = 0, stop: int | None = None) -> None:
        """Raise ValueError where the images from `start` up to `stop` are not of one shape."""
        if len(shapes := set(self._shapes[start:stop])) > 1:
            found = ", ".join(f"{width}x{height}" for height, width in sorted(shapes)[:5])
            raise ValueError(
                f"The pictures are of {len(shapes)} sizes ({found} ...), and are taken together"
                " here: give those of each size apart, or crop, pad or resize them (--fit)."
            )

    def runs(self, size: int) -> list[range]:
        """All images in parts of at most `size` that follow each other and are of one shape."""
        parts, start = [], 0
        for index in range(1, len(self) + 1):
            new = index == len(self) or self._shapes[index] != self._shapes[start]
            if new or index - start == size:
                parts.append(range(start, index))
                start = index
        return parts

    def restored(
        self, start: int, results: Float[np.ndarray, "n h w c"]
    ) -> list[Shaped[np.ndarray, "_ _ _"]]:
        """The results of the images from `start` on, without what was added to fit the model."""
        places = self._places[start : start + len(results)]
        return [restored(image, place) for image, place in zip(results, places, strict=True)]

    def take(self, start: int, stop: int) -> Float[np.ndarray, "n h w c"]:
        """The images from `start` up to `stop`, float32 in [-1, 1]; ValueError for unlike shapes.

        Those are the images' own where they are taken in windows, else the model's.
        """
        self.check_alike(start, stop)
        parts, offset = [], 0
        for source in self._sources:
            first, last = max(start - offset, 0), min(stop - offset, len(source))
            if first < last:
                parts.append(_coloured(source.take(range(first, last)), self._channels))
            offset += len(source)
        return np.concatenate(parts)


def open_inputs(
    inputs: Sequence[str],
    shape: tuple[int, ...],
    *,
    split: str,
    limit: int | None,
    background: str = "white",
    reading: Reading | None = None,
    fit: Fit = "crop",
    index: int = 0,
    count: int = 1,
) -> InputImages:
    """The images of files, folders (`part_of`) and data sets, fitted to a model's shape [h w c].

    Pictures of files are cropped to their central part of that shape and resized, or fitted as
    `fit` says, transparency is laid over `background`; for a model of one channel they are made
    grey. Of the first `limit`
    images, part `index` of `count` equal ones is read, that of this host, and no other. Raises
    FileNotFoundError for a path that is not there, ValueError for what cannot be read or does not
    fit.
    """
    reading = Reading() if reading is None else reading
    if not inputs or (limit is not None and limit < 1):
        raise ValueError(
            "There is nothing to read: name image files, folders or a data set, and a limit of at"
            " least 1."
        )
    parts: list[_Part] = []
    found = 0
    for word in inputs:
        if limit is None or found < limit:
            part = _part(word, shape, split)
            part = part._replace(items=part.items[: None if limit is None else limit - found])
            parts.append(part)
            found += len(part.items)
    if found < count:
        raise ValueError(
            f"There are {found} images for {count} processes; start no more processes"
            " than there are images."
        )
    names = iter(unique_names([item.stem for part in parts for item in part.items]))
    items, sources, offset = [], [], 0
    for part in parts:
        part = part._replace(items=[item._replace(name=next(names)) for item in part.items])
        # Of all images one after the other, every so many are this host's.
        own = range((index - offset) % count, len(part.items), count)
        offset += len(part.items)
        if not own:
            continue
        if part.source is not None:
            sources.append(_Some(part.source, own))
            items += [part.items[place] for place in own]
            continue
        view = View((shape[0], shape[1]), part.half, background, max_pixels=reading.max_pixels)
        mine = [part.items[place] for place in own]
        paths = [Path(item.origin) for item in mine]
        skip = reading.skip_unreadable
        if fit == "crop":
            pictures = Pictures(paths, view, read_image, skip_unreadable=skip)
        else:
            view = replace(view, image_size=None)
            pictures = WholePictures(paths, shape, fit, view, skip_unreadable=skip)
        sources.append(pictures)
        items += [mine[place] for place in pictures.readable]
    return InputImages(items, sources, shape)


def check_apart(out: str | Path, inputs: Sequence[str]) -> None:
    """Raise ValueError where results in the folder `out` would mix with what they are made of.

    That is where a folder of pictures among the words `inputs` is `out`, lies in it, or it in the
    folder, and where `out` is the folder of a file among them.
    """
    for word in inputs:
        for path in _places(word):
            if path.is_dir() and (lies_in(out, path) or lies_in(path, out)):
                raise ValueError(
                    f"The results in {out} would lie among the images of {path}, and could replace"
                    " or be taken for them; name a folder apart from them."
                )
            if path.is_file() and same_place(path.resolve().parent, out):
                raise ValueError(
                    f"{out} is the folder of {path}, which a result could replace; name another."
                )


def check_not_read(out: str | Path, inputs: Sequence[str]) -> None:
    """Raise ValueError where the file `out` is one of those that the words `inputs` name."""
    if any(same_place(path, out) for word in inputs for path in _places(word)):
        raise ValueError(f"{out} is an input, which the result would replace; name another file.")


class _Part(NamedTuple):
    """The images of one word: of a data set, or of files (half: of pictures side by side)."""

    items: list[Item]
    source: ImageSource | None = None
    half: str | None = None


@dataclass(frozen=True)
class _Some:
    """Some images of a data set, by their indices."""

    source: ImageSource
    indices: range

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, indices: Sequence[int]) -> np.ndarray:
        return self.source.take([self.indices[index] for index in indices])


def _places(word: str) -> list[Path]:
    """The folders or files that a word may name, those of its prefix's argument included."""
    argument = word.partition(":")[2]
    paths = [Path(text) for text in (word, argument) if text and Path(text).exists()]
    if word.startswith("npz:") and Path(argument).is_dir():
        paths = [Path(argument) / f"{split}.npz" for split in ("train", "test")]
    named = word in DATASETS  # and not the folder of that name
    return [] if named else [path for path in paths if path.exists()]


def _part(word: str, shape: tuple[int, ...], split: str) -> _Part:
    """The images of one word of the command line."""
    if is_named(word) or word.startswith("tfds:"):
        return _of_dataset(word, shape, split)
    where = part_of(word, split)
    if where is not None:
        folder, half = where
        if folder != Path(word) and half is None and not word.startswith(("A:", "B:")):
            print(f"Of {word} the images in {folder} are taken (--split).", flush=True)
        paths = image_files(folder)
        stems = [path.stem for path in paths]
        if len({stem.casefold() for stem in stems}) < len(stems):
            within = (path.relative_to(folder).with_suffix("").parts for path in paths)
            stems = ["-".join(parts) for parts in within]
        return _Part([*map(Item, stems, stems, map(str, paths))], half=half)
    if not word or not Path(word).exists():
        raise FileNotFoundError(
            f"There is no '{word}': no such file, folder or data set ({', '.join(DATASETS)})."
        )
    if Path(word).suffix.lower() == ".npz":
        raise ValueError(
            f"{word} is a NumPy file and no picture: images in it are npz:{word}, and latents or"
            " pairs are the one input of a command that takes them (decode, sweep, translate"
            " --aux)."
        )
    stem = Path(word).stem
    return _Part([Item(stem, stem, word)])


def _of_dataset(word: str, shape: tuple[int, ...], split: str) -> _Part:
    kind, _, argument = word.partition(":")
    source = load_dataset(word, split=split, image_size=shape[0] if kind == "tfds" else None)
    # Like grey pictures of files, grey data sets are given three equal channels.
    grey_to_colour = source.image_shape == (*shape[:2], 1) and shape[2] == 3
    if source.image_shape != shape and not grey_to_colour:
        found, expected = (" x ".join(map(str, s)) for s in (source.image_shape, shape))
        raise ValueError(
            f"The data set '{word}' has images of {found}; the model takes {expected}."
        )
    if kind == "npz":
        stem = f"{kind}-{Path(argument).stem}"
    else:
        stem = word.replace(":", "-").replace("/", "-")  # as people write them; then made safe
    stems = [f"{stem}-{index:05d}" for index in range(len(source))]
    origins = [f"{word} {index}" for index in range(len(source))]
    return _Part([*map(Item, stems, stems, origins)], source)


def _coloured(images: np.ndarray, channels: int) -> np.ndarray:
    """Images [n h w 1|3] with as many channels as a model has."""
    if images.shape[-1] == channels:
        return images
    return np.repeat(images, channels, axis=-1) if channels == 3 else images @ _LUMINANCE
