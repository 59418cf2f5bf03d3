"""`ddib colours`: one image in the palette of another."""

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from PIL import Image

from ddib_jax import pretrained, translation
from ddib_jax.bridge import Bridge
from ddib_jax.commands.arguments import Count
from ddib_jax.commands.inputs import check_not_read
from ddib_jax.commands.train import Train
from ddib_jax.data import PixelCloud, to_pixels, to_points
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.files import check_output, drafted_file
from ddib_jax.progress import progress

_CHUNK = 16384
"""Colours that are translated at once."""


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


def palette_model(
    path: Path, space: str, steps: int, *, models: Path | None = None
) -> DiffusionModel:
    """The diffusion model of an image's colours, trained now unless it is kept from before.

    space: "lab" or "rgb". steps: of training. models: where models are kept; the user's cache
    unless given.
    """
    cloud = PixelCloud(path, space=space)
    options = f"{Path(path).absolute()} {space} {steps}".encode()
    digest = hashlib.sha256(cloud.pixels.tobytes() + options).hexdigest()[:16]
    if models is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        models = cache / "ddib_jax" / "colours"
    directory = models / digest
    with contextlib.suppress(FileNotFoundError):
        return pretrained.load_model(directory)
    print(f"Learning the colours of {Path(path).name}, once.", flush=True)
    Train(
        data=f"{space}:{Path(path).absolute()}",
        out=directory,
        steps=steps,
        batch_size=min(2048, len(cloud)),
        learning_rate=2e-3,
        warmup=50,
        ema_decay=0.995,
        reference=0,
        noise_mean=-2.5,
        noise_std=1.6,
        sigma_min=0.03,
        preview_every=steps,
    ).run()
    return pretrained.load_model(directory)


def recolour(
    source: DiffusionModel, target: DiffusionModel, pixels: np.ndarray, space: str
) -> np.ndarray:
    """RGB bytes [n 3] translated from the palette of one model to that of another.

    Each colour is translated once, so that equal pixels stay equal.
    """
    colours, inverse = np.unique(pixels, axis=0, return_inverse=True)
    points = translate_points(source, target, to_points(colours, space))
    return to_pixels(points, space)[inverse.reshape(-1)]


def translate_points(
    source: DiffusionModel, target: DiffusionModel, points: np.ndarray
) -> np.ndarray:
    """Points of a colour space [n 3] over the bridge between two palettes."""
    source_bridge, target_bridge = (Bridge.over(model) for model in (source, target))
    size = min(_CHUNK, len(points))
    latents = translation.encode(
        source_bridge, points, batch_size=size, progress=progress("encoding")
    ).y
    return translation.decode(
        target_bridge, latents, batch_size=size, progress=progress("decoding")
    )
