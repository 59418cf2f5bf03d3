"""`ddib condition`: condition images of any pictures."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from ddib_jax.cli.arguments import FlatReading, Inputs
from ddib_jax.data.condition_images import check_kind, condition_image
from ddib_jax.data.inputs import Reading, check_apart, open_inputs
from ddib_jax.data.results import Results, open_folder
from ddib_jax.options import OptionalCount, Size


@dataclass(frozen=True)
class MakeConditions:
    """Make condition images (edges, a skeleton, depth ...) of pictures."""

    kind: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="KIND")]
    """What to make of each picture: edges, skeleton, depth, inverted, blurred or segments."""
    input: Inputs
    """Image files, folders of images, or a data set (five, digits:3 ...)."""
    out: Path
    """Where the condition images go, one PNG each."""
    size: Size = 512
    """Height and width; pictures are cropped to their central square and resized to it."""
    limit: OptionalCount = None
    """Take only this many images, the first ones."""
    reading: FlatReading = dataclasses.field(default_factory=Reading)

    def run(self) -> None:
        """Read, make, write."""
        check_kind(self.kind)
        check_apart(self.out, self.input)
        open_folder(self.out)
        shape = (self.size, self.size, 3)
        images = open_inputs(
            self.input, shape, split="test", limit=self.limit, reading=self.reading
        )
        results = Results(self.out, images.names, images.changed)
        for number in range(len(images)):
            (picture,) = images.take(number, number + 1)
            results.write(number, np.stack([condition_image(picture, self.kind)]))
        results.close(unreadable=images.unreadable)
        print(f"{len(images)} condition images lie in {self.out}.")
