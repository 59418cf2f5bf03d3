"""`ddib colours`: one image in the palette of another."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from PIL import Image

from ddib_jax.data import PixelCloud
from ddib_jax.data.inputs import check_not_read
from ddib_jax.files import check_output, drafted_file
from ddib_jax.options import Count
from ddib_jax.palettes import palette_model, recolour


@dataclass(frozen=True)
class Colours:
    """Give an image the palette of another one.

    The colours of both images are learnt as distributions, and a bridge carries one into the other.
    """

    photo: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="IMAGE")]
    """The image that keeps its shapes."""
    like: Annotated[Path, tyro.conf.arg(metavar="IMAGE")]
    """The image whose palette it takes."""
    out: Path
    """The PNG to write, of the size of the first image."""
    space: Literal["lab", "rgb"] = "lab"
    """The space of the colours; CIELAB needs the extra ddib_jax[colours]."""
    training_steps: Count = 600
    """Steps in which each image's distribution of colours is learnt."""
    models: Path | None = None
    """Where the models of images are kept, each under a name made of its pixels and options; the
    user's cache unless given.
    """

    def run(self) -> None:
        """Train the models that are not kept yet, translate every pixel, write."""
        check_output(self.out, suffix=".png", what="Recoloured images")
        check_not_read(self.out, (str(self.photo), str(self.like)))
        # Both images are read first: a wrong one is refused before the other's model is trained.
        photo, _ = (PixelCloud(path, space=self.space) for path in (self.photo, self.like))
        source, target = (
            palette_model(path, self.space, self.training_steps, models=self.models)
            for path in (self.photo, self.like)
        )
        pixels = recolour(source, target, photo.pixels, self.space)
        with drafted_file(self.out) as draft:
            Image.fromarray(pixels.reshape(*photo.size, 3)).save(draft, format="PNG")
        print(f"{self.photo.name} in the colours of {self.like.name} lies in {self.out}.")
