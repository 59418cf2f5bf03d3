"""`ddib colours`: one image in the palette of another."""

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from PIL import Image

from ddib_jax import bridge, pretrained
from ddib_jax.bridge import Bridge
from ddib_jax.commands.crossing import progress
from ddib_jax.commands.train import Train
from ddib_jax.data import PixelCloud, to_pixels, to_points
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.files import drafted


@dataclass(frozen=True)
class Colours:
    """Give an image the palette of another one: both clouds of colours are learnt, and a bridge
    carries one into the other.
    """

    photo: tyro.conf.Positional[Path]
    """The image that keeps its shapes."""
    like: Path
    """The image whose palette it takes."""
    out: Path
    """The PNG to write, of the size of the first image."""
    space: Literal["lab", "rgb"] = "lab"
    """The space of the colours; CIELAB needs the extra `colours`."""
    training_steps: int = 600
    """Steps over which each image's cloud of colours is learnt."""
    models: Path | None = None
    """Where the models of images are kept, each under a name made of its pixels and options; the
    user's cache unless given.
    """

    def run(self) -> None:
        """Learn what is not yet known of the two images, translate every pixel, write."""
        cloud, _ = (
            PixelCloud(path, space=self.space) for path in (self.photo, self.like)
        )  # both are refused before either is learnt
        source, target = (
            palette_model(path, self.space, self.training_steps, self.models)
            for path in (self.photo, self.like)
        )
        pixels = recoloured(source, target, cloud.pixels, self.space)
        with drafted(self.out.parent) as draft:
            Image.fromarray(pixels.reshape(*cloud.size, 3)).save(
                draft / self.out.name, format="PNG"
            )
        print(f"{self.photo.name} in the colours of {self.like.name} lies in {self.out}.")


def palette_model(path: Path, space: str, steps: int, models: Path | None = None) -> DiffusionModel:
    """The diffusion model of an image's cloud of colours: read where it was learnt before, else
    trained now and kept.
    """
    cloud = PixelCloud(path, space=space)
    about = hashlib.sha256(
        cloud.pixels.tobytes() + f"{Path(path).absolute()} {space} {steps}".encode()
    ).hexdigest()[:16]
    home = (
        models
        or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ddib_jax" / "colours"
    )
    place = home / about
    with contextlib.suppress(FileNotFoundError):
        return pretrained.load_model(place)
    print(f"Learning the colours of {Path(path).name}, once.", flush=True)
    Train(
        data=f"{space}:{Path(path).absolute()}",
        out=place,
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
    return pretrained.load_model(place)


def recoloured(
    source: DiffusionModel, target: DiffusionModel, pixels: np.ndarray, space: str
) -> np.ndarray:
    """Bytes of RGB [n 3] translated from the palette of one model to that of the other; equal
    pixels stay equal.
    """
    colours, inverse = np.unique(pixels, axis=0, return_inverse=True)
    points = translated(source, target, to_points(colours, space))
    return to_pixels(points, space)[inverse.reshape(-1)]


def translated(source: DiffusionModel, target: DiffusionModel, points: np.ndarray) -> np.ndarray:
    """Points of a colour space [n 3] across the bridge between two palettes, in chunks
    of 16,384.
    """
    here, there = (Bridge.over(model) for model in (source, target))
    options = {"batch_size": min(16384, len(points))}
    latents = bridge.encode(here, points, progress=progress("encoding"), **options)
    return bridge.decode(there, latents, progress=progress("decoding"), **options)
