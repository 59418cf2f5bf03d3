"""What the words of a command line that name images mean, and these images, read lazily."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ddib_jax.data import (
    DATASETS,
    Pictures,
    image_files,
    is_named,
    load_dataset,
    part_of,
)
from ddib_jax.data.fitting import Fit, WholePictures
from ddib_jax.data.folder import read_image
from ddib_jax.data.input_files import open_files
from ddib_jax.data.input_images import InputImages, Item, Reading, Some
from ddib_jax.data.pictures import View
from ddib_jax.data.results import unique_names
from ddib_jax.data.scale import Scale
from ddib_jax.data.sources import ImageSource
from ddib_jax.files import lies_in, same_place


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
    scale: Scale | None = None,
    declared: Sequence[str] = (),
) -> InputImages:
    """The images of files, folders (`part_of`) and data sets, fitted to a model's shape [h w c].

    Pictures of files are cropped to their central part of that shape and resized, or fitted as
    `fit` says, transparency is laid over `background`; for a model of one channel they are made
    grey. Of the first `limit` images, part `index` of `count` equal ones is read, that of this
    host, and no other.

    scale: the model's own, where it has one, or `declared`, numbers as of `declared_scale`: files
    are then read in their own units, with the channels that they have, and slices of volumes are
    images; limit counts files. Raises FileNotFoundError for a path that is not there, ValueError
    for what cannot be read or does not fit, and for volumes on several hosts.
    """
    if scale is not None and declared:
        raise ValueError(
            f"The model says itself what its values mean ({scale.dtype}, {scale.words()}); leave"
            " --range out."
        )
    if any(word.startswith("p") for word in declared):
        raise ValueError("A percentile is of training images; give the range in numbers (--range).")
    if scale is not None or declared:
        return open_files(
            inputs,
            shape,
            split=split,
            limit=limit,
            reading=reading or Reading(),
            index=index,
            count=count,
            scale=scale,
            declared=declared,
            fit=fit,
        )
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
            sources.append(Some(part.source, own))
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
            pictures = WholePictures(paths, shape, fit, view, read_image, skip_unreadable=skip)
        sources.append(pictures)
        items += [mine[place] for place in pictures.readable]
    return InputImages(items, sources, shape, fit=fit)


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
