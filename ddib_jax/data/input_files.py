"""Files of a declared range that the words of a command line name."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ddib_jax.data.declared import Outputs, read_scaled, window
from ddib_jax.data.fitting import Fit, WholePictures, placed
from ddib_jax.data.formats import Header, PictureFile, find_files, is_file, slices_of, stem
from ddib_jax.data.input_images import InputImages, Item, Reading
from ddib_jax.data.pictures import Pictures, View
from ddib_jax.data.resizing import Window
from ddib_jax.data.results import unique_names
from ddib_jax.data.scale import Scale, declared_scale
from ddib_jax.data.walk import image_files, part_of


def open_files(
    inputs: Sequence[str],
    shape: tuple[int, ...],
    *,
    split: str,
    limit: int | None,
    reading: Reading,
    index: int,
    count: int,
    scale: Scale | None,
    declared: Sequence[str],
    fit: Fit,
) -> InputImages:
    """The images of files in their own units, as `inputs.open_inputs` says."""
    groups: list[tuple[list[PictureFile], str | None]] = []
    unreadable: list[str] = []
    for word in inputs:
        paths, half = _paths(word, split)
        room = None if limit is None else limit - sum(len(files) for files, _ in groups)
        if room is None or room > 0:
            files, lost = find_files(paths, skip_unreadable=reading.skip_unreadable)
            groups.append((files[:room], half))
            unreadable += lost
    every = [file for files, _ in groups for file in files]
    if len(every) < count or not every:
        raise ValueError(f"There are {len(every)} files for {count} processes; give more.")
    volumes = [file for file in every if file.header.slices > 1]
    if count > 1 and volumes:
        raise ValueError(
            f"{volumes[0]} is a volume, whose slices are written together: translate volumes in one"
            " process."
        )
    wanted = shape[2] if scale is None else scale.channels
    for file in every:
        channels = file.header.shape[2]
        if channels != wanted:
            raise ValueError(
                f"{file} has {channels} {'channel' if channels == 1 else 'channels'}, and the model"
                f" takes {wanted}."
            )
    if scale is None:
        scale = declared_scale(declared, every[0].header.dtype, shape[2], ())
    _warn_of_types(every, scale)
    names = iter(unique_names([stem(file.path) for file in every]))
    items, sources, outputs, offset = [], [], Outputs([], [], []), 0
    for files, half in groups:
        named = [next(names) for _ in files]
        own = range((index - offset) % count, len(files), count)
        offset += len(files)
        if not own:
            continue
        files, named = [files[i] for i in own], [named[i] for i in own]
        size, slices = (shape[0], shape[1]), slices_of(files)
        view = View(None, half, max_pixels=reading.max_pixels, scale=scale)
        skip = reading.skip_unreadable
        if fit == "crop":
            view = replace(view, image_size=size)
            pictures = Pictures(slices, view, read_scaled, skip_unreadable=skip)
        else:
            pictures = WholePictures(slices, shape, fit, view, read_scaled, skip_unreadable=skip)
        kept = [slices[place] for place in pictures.readable]
        broken = {id(one.file) for one in slices} - {id(one.file) for one in kept}
        for place, one in enumerate(slices):
            if one.file.header.slices > 1 and place not in pictures.readable:
                raise ValueError(f"{one} cannot be read, and a volume is whole or is none.")
        files, named = zip(
            *((f, n) for f, n in zip(files, named, strict=True) if id(f) not in broken), strict=True
        )
        new = Outputs.like(named, files, kept, partial(_of_result, view=view, size=size, fit=fit))
        sources.append(pictures)
        for one, (place, number) in zip(kept, new.places, strict=True):
            several = one.file.header.slices > 1
            ending = f"-{number:03d}" if several else ""
            own_name = stem(one.file.path) + ending
            items.append(Item(new.names[place] + ending, own_name, str(one)))
        outputs = outputs.joined(new)
    return InputImages(
        items, sources, shape, files=outputs, scale=scale, unreadable=unreadable, fit=fit
    )


def _of_result(header: Header, *, view: View, size: tuple[int, int], fit: Fit) -> Window:
    """The part of a file's pictures that results are of, and its height and width in these."""
    part = window(header, view)
    if fit != "pad":  # cropped by the view, or of the picture's own size
        return part
    return part._replace(shape=placed((part.height, part.width), size, fit).inner)


def _paths(word: str, split: str) -> tuple[list[Path], str | None]:
    """The files that a word of the command line names, and the half of pictures side by side."""
    where = part_of(word, split)
    if where is not None:
        return image_files(where[0], known=lambda name: is_file(name)), where[1]
    if not word or not Path(word).is_file():
        raise FileNotFoundError(
            f"There is no file or folder '{word}'; a model of a declared range takes these alone."
        )
    return [Path(word)], None


def _warn_of_types(files: Sequence[PictureFile], scale: Scale) -> None:
    """Warn where bytes meet a model of wider whole numbers, or the other way round."""
    for file in files:
        kinds = np.dtype(file.header.dtype), np.dtype(scale.dtype)
        if all(kind.kind == "u" for kind in kinds) and kinds[0] != kinds[1]:
            warnings.warn(
                f"{file} is {kinds[0]} and the model's training images were {kinds[1]}, with the"
                f" range {scale.words()}; values are taken for the same units.",
                stacklevel=4,
            )
            return
