"""The folder of pictures that a command writes: under safe names, and as they come."""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ddib_jax.data.declared import Outputs
from ddib_jax.data.folder import write_unreadable
from ddib_jax.data.formats import write_file
from ddib_jax.data.png import write_images
from ddib_jax.data.scale import Scale
from ddib_jax.files import check_output, drafted, drafted_file, safe_names
from ddib_jax.runs import OVERVIEWS

NAMES = "names.json"
"""The file that says which image a result is of, where its name had to change."""
UNREADABLE = "unreadable.txt"
"""The file that lists the files that were left out, as they could not be read, a line each."""


def open_folder(out: Path) -> None:
    """Try the folder of results, and warn of what is in it already.

    Raises OSError where nothing can be written there.
    """
    check_output(out)
    if not out.is_dir():
        return
    older = [path for path in out.iterdir() if not path.name.startswith(".")]
    if older:
        warnings.warn(
            f"{out} is not empty ({len(older)} older files or folders): results replace those of"
            " the same names, and the others stay among them.",
            stacklevel=2,
        )


def unique_names(names: Sequence[str]) -> list[str]:
    """Safe and unique names of results for the names of images, from wherever these are.

    There is room for an ending of 32 bytes behind each.
    """
    return safe_names(names, ending="x" * 32, reserved=OVERVIEWS)


class Results:
    """The results of images in the folder `out`, written in any number of parts.

    names: of the images' results, safe and unique. changed: name -> where the image is from, of
    those whose names had to change. part: of several hosts, the number of this one. files, scale:
    the files that results go to, and what [-1, 1] means there; without, they are PNGs of 8 bits.
    With a scale of one channel the mean of a result's channels is written. A volume is written when
    its last slice is there.
    """

    def __init__(
        self,
        out: Path,
        names: Sequence[str],
        changed: Mapping[str, str],
        *,
        part: int = 0,
        files: Outputs | None = None,
        scale: Scale | None = None,
    ):
        self.out, self.names, self._changed = out, names, changed
        self._part, self._mapped = f"-{part}" if part else "", not changed
        self._files, self._scale = files, scale
        self._waiting: dict[tuple[int, str], dict[int, np.ndarray]] = {}

    def write(self, start: int, images: Sequence[Any] | np.ndarray, *, ending: str = "") -> None:
        """Write the results of the images from `start` on; each file is there wholly or not.

        images: [h w c] in [-1, 1], of any sizes. ending: what follows each name.
        """
        names = self.names[start : start + len(images)]
        if not self._mapped:  # with the first results: what is stopped has its names, too
            self._mapped = True
            with drafted_file(self._mapping) as draft:
                draft.write_text(json.dumps(dict(self._changed), indent=1) + "\n")
        with drafted(self.out) as draft:
            if self._files is None or self._scale is None:
                write_images(draft, [f"{name}{ending}" for name in names], images)
                return
            places = self._files.places[start : start + len(images)]
            for image, (file, index) in zip(images, places, strict=True):
                slices = self._waiting.setdefault((file, ending), {})
                slices[index] = image
                header = self._files.headers[file]
                if len(slices) == header.slices:
                    whole = np.stack([slices[number] for number in range(header.slices)])
                    if self._scale.channels == 1:
                        whole = whole.mean(axis=-1, keepdims=True)
                    name = f"{self._files.names[file]}{ending}"
                    write_file(draft, name, header, self._scale.to_values(whole), self._scale)
                    del self._waiting[file, ending]

    def close(self, *, unreadable: Sequence[str] = ()) -> None:
        """Say which names had to change; write which files could not be read, and say so."""
        if self._changed:
            print(
                f"{len(self._changed)} names could not stay as they were; {self._mapping} says of"
                " each new one what it is of.",
                flush=True,
            )
        path = self.out / UNREADABLE
        write_unreadable(path.with_stem(f"{path.stem}{self._part}"), unreadable)

    @property
    def _mapping(self) -> Path:
        return (self.out / NAMES).with_stem(f"names{self._part}")
