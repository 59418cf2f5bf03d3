"""Pictures that the page was given: dropped or drawn, read from bytes, kept in memory."""

import hashlib
import tempfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ddib_jax.data import suffixes
from ddib_jax.data.inputs import Reading, open_inputs

MOST_BYTES = 20_000_000
"""Bytes of a picture's file at most."""
MOST_PIXELS = 50_000_000
"""Pixels of a picture at most."""
MOST_PICTURES = 32
"""Pictures that are kept; the one that was used longest ago goes first."""
PREFIX = "picture-"


class Shelf:
    """The last pictures that were given, by fingerprint, fitted to a model's shape [h w c]."""

    def __init__(self, shape: tuple[int, ...], *, most: int = MOST_PICTURES):
        self._shape, self._most = shape, most
        self._kept: OrderedDict[str, Float[np.ndarray, "1 h w c"]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, content: bytes, *, name: str = "") -> str:
        """Read the bytes of a picture's file; its word in a state.

        They are read as the command line reads a file, from a temporary folder that is gone
        afterwards: `name`, the file's own, is told in errors and gives the suffix, where that is
        one of a picture's, and no file is ever named by it. Raises ValueError, in one sentence, for
        what is none, too large, or cannot be read.
        """
        called = "".join(c for c in Path(name).name[-60:] if c.isprintable()) or "The picture"
        if not content:
            raise ValueError(f"{called} is empty.")
        if len(content) > MOST_BYTES:
            raise ValueError(
                f"{called} has {len(content) / 1e6:.3g} MB; pictures of up to"
                f" {MOST_BYTES / 1e6:.3g} MB are read."
            )
        ending = next((known for known in suffixes() if called.lower().endswith(known)), "")
        reading = Reading(max_pixels=MOST_PIXELS)
        with tempfile.TemporaryDirectory(prefix="ddib-lab-") as folder:
            path = Path(folder, f"picture{ending}")
            path.write_bytes(content)
            try:
                images = open_inputs(
                    [str(path)], self._shape, split="test", limit=1, reading=reading
                ).take(0, 1)
            except (ValueError, OSError) as error:
                raise ValueError(_told(error, path, called)) from error
        word = PREFIX + hashlib.sha256(images.tobytes()).hexdigest()[:16]
        self._kept[word] = images
        self._kept.move_to_end(word)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return word

    def take(self, word: str) -> Float[np.ndarray, "1 h w c"]:
        """The picture of that word; raises ValueError where it is not there any more."""
        if word not in self._kept:
            raise ValueError(
                "The picture of this address was dropped or drawn elsewhere, or long ago, and is"
                " not kept; drop it again."
            )
        self._kept.move_to_end(word)
        return self._kept[word]


def _told(error: Exception, path: Path, called: str) -> str:
    """The reader's sentence with the picture's own name and without the command line's advice."""
    said = str(error).replace(f"1 of 1 images cannot be read: {path}", f"{called} cannot be read:")
    said = said.replace(str(path), called).replace("; raise the bound (--max-pixels)", "")
    return said.replace("read: (", "read: ").removesuffix(").") + ("." if said[-2:] == ")." else "")
