"""One image in the palette of another: a bridge between the distributions of their colours."""

import contextlib
import hashlib
import os
from pathlib import Path

import numpy as np

from ddib_jax import pretrained, translation
from ddib_jax.bridge import Bridge
from ddib_jax.data import PixelCloud, to_pixels, to_points
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.progress import progress
from ddib_jax.trainer import Training, train

_CHUNK = 16384
"""Colours that are translated at once."""


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
    training = Training(
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
    )
    train(cloud, training, directory, name=Path(path).name, data={"image": digest})
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
