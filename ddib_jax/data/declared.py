"""Files read by a declared range: values in their own units, any type and number of channels."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ddib_jax.data.formats import Header, PictureFile, Slice, find_files, is_file, slices_of
from ddib_jax.data.formats.registry import format_named, read_slice
from ddib_jax.data.pictures import Pictures, View, listing
from ddib_jax.data.resizing import Window, central, resized
from ddib_jax.data.scale import Scale, check_range, declared_scale
from ddib_jax.data.walk import image_files, labels_of


def declared_folder(
    directory: str | Path,
    declared: Sequence[str],
    view: View,
    *,
    limit: int | None = None,
    skip_unreadable: bool = False,
) -> Pictures:
    """Every picture of the files below a folder, in the range that is declared for them.

    declared: words as of `declared_scale`. Slices of volumes are pictures, limit counts files. As
    `image_folder`, whose classes and errors these have; ValueError also for files of several types
    or numbers of channels, which are named.
    """
    check_range(declared)
    directory = Path(directory)
    paths = image_files(directory, known=lambda name: is_file(name))[:limit]
    files, unreadable = find_files(paths, skip_unreadable=skip_unreadable)
    header = of_one_kind(files, directory)
    slices = slices_of(files)
    scale = declared_scale(
        declared, header.dtype, header.shape[2], _values(slices, skip_unreadable=skip_unreadable)
    )
    labels, classes = labels_of(directory, [one.file.path for one in slices])
    pictures = Pictures(
        slices,
        replace(view, scale=scale),
        read_scaled,
        labels=labels,
        classes=classes,
        skip_unreadable=skip_unreadable,
    )
    pictures.unreadable = [*unreadable, *pictures.unreadable]
    return pictures


def of_one_kind(files: Sequence[PictureFile], where: str | Path) -> Header:
    """The header of the first; raises ValueError where types or numbers of channels differ."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for file in files:
        kinds[file.header.kind].append(file.path.name)
    if len(kinds) > 1:
        found = "; ".join(
            f"{len(names)} of {kind} ({listing(names)})" for kind, names in kinds.items()
        )
        raise ValueError(
            f"The files in {where} are not of one type and number of channels: {found}. Convert"
            " them, or part them into folders."
        )
    return files[0].header


def read_scaled(one: Slice, view: View) -> Float[np.ndarray, "h w c"]:
    """One picture of a file, fitted to `view` and float32 in [-1, 1] by its scale.

    Raises ValueError or OSError for a damaged file, one of more pixels than `view` takes, and as
    `formats.read_file` does.
    """
    height, width, _ = one.file.header.shape
    if height * width > view.max_pixels:
        raise ValueError(
            f"{width}x{height}: more than the {view.max_pixels} pixels that are read; raise the"
            " bound (--max-pixels)"
        )
    values = resized(read_slice(one), window(one.file.header, view))
    if view.scale is None:
        raise TypeError("Values in a file's own units are read by a scale, and there is none.")
    if view.noted is not None:
        view.noted.outside.append(view.scale.share_outside(values))
    return view.scale.to_unit(values)


def window(header: Header, view: View) -> Window:
    """The part of a file's slices that is read, and its height and width there."""
    height, width, _ = header.shape
    start = 0
    if view.half is not None:
        # The column in the middle of an odd width belongs to neither half.
        start = {"left": 0, "right": width - width // 2}[view.half]
        width //= 2
    part = central(height, width, view.loaded)
    return part._replace(left=part.left + start)


@dataclass(frozen=True)
class Outputs:
    """The files that results go to, like the sources' ones.

    names: of the files, without suffix. headers: what is written besides the values. places: of
    each image its file and its slice.
    """

    names: list[str]
    headers: list[Header]
    places: list[tuple[int, int]]

    @classmethod
    def plain(cls, names: Sequence[str], shape: tuple[int, ...], scale: Scale) -> "Outputs":
        """A file for each image [h w c] that is of no file: PNG, or TIFF where that fits better."""
        height, width, channels = shape
        header = Header("png", ".png", scale.dtype, (height, width, channels))
        if channels == 2 or not format_named(header).takes(scale.dtype, channels):
            header = replace(header, format="tiff", suffix=".tif")
        places = [(number, 0) for number in range(len(names))]
        return cls(list(names), [header] * len(names), places)

    @classmethod
    def like(
        cls,
        names: Sequence[str],
        files: Sequence[PictureFile],
        kept: Iterable[Slice],
        part_of: Callable[[Header], Window],
    ) -> "Outputs":
        """Files as `files`, of the names, for the pictures of them that are `kept`.

        part_of: the part of a file's pictures that results are of, and its size there.
        """
        headers = []
        for file in files:
            header, part = file.header, part_of(file.header)
            if part.shape != header.shape[:2] or not part.whole:
                header = format_named(header).moved(header, part)
            headers.append(header)
        number = {id(file): place for place, file in enumerate(files)}
        places = [(number[id(one.file)], one.number) for one in kept]
        return cls(list(names), headers, places)

    def to_arrays(self, scale: Scale) -> dict[str, np.ndarray]:
        """These files and the scale of their values as arrays, as a file of latents keeps them."""
        return {
            "pixels/headers": np.asarray([header.to_json() for header in self.headers]),
            "pixels/names": np.asarray(self.names),
            "pixels/places": np.asarray(self.places, np.int64).reshape(-1, 2),
            "pixels/scale": np.asarray(json.dumps(scale.to_json())),
        }

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], count: int, where: str | Path
    ) -> "tuple[Outputs, Scale] | tuple[None, None]":
        """What `to_arrays` made, of so many images; two times None for no such arrays.

        Raises ValueError, which names the file `where`, for arrays that do not go together.
        """
        if not any(name.startswith("pixels/") for name in arrays):
            return None, None
        try:
            headers = [Header.from_json(str(text)) for text in arrays["pixels/headers"]]
            names = [str(name) for name in arrays["pixels/names"]]
            places = [(int(file), int(number)) for file, number in arrays["pixels/places"]]
            scale = Scale.from_json(json.loads(str(arrays["pixels/scale"])), str(where))
            counts = dict.fromkeys(range(len(headers)), 0)
            for file, _ in places:
                counts[file] += 1
            slices = {place: header.slices for place, header in enumerate(headers)}
            if scale is None or len(names) != len(headers) or len(places) != count:
                raise ValueError("they are those of other latents")
            if counts != slices or len(set(places)) != count:
                raise ValueError("slices of a volume are missing")
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{where} describes the files of its images in a way that cannot be read"
                f" ({error}); encode anew."
            ) from error
        return cls(names, headers, places), scale

    def joined(self, other: "Outputs") -> "Outputs":
        """These files and then those of another."""
        places = [(file + len(self.names), index) for file, index in other.places]
        return Outputs(self.names + other.names, self.headers + other.headers, self.places + places)


def _values(slices: Sequence[Slice], *, skip_unreadable: bool) -> Iterable[np.ndarray]:
    """The values of pictures in their units; of those that cannot be read none."""
    for one in slices:
        try:
            yield read_slice(one)
        except (ValueError, OSError, ImportError):  # `Pictures` names all of them
            continue
