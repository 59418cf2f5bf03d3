"""The path of images over a bridge, as an animation."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from ddib_jax import translation
from ddib_jax.bridge import Bridge
from ddib_jax.data.png import to_bytes
from ddib_jax.translation import to_data, to_images

MOST_IMAGES = 8
"""Images that `ddib translate` shows side by side."""
_PAUSE, _STEP = 900, 60  # milliseconds that a frame at an end, and one between, is shown
_SIDE = 128


def write_path(
    path: Path, source: Bridge, target: Bridge, images: Float[np.ndarray, "n h w c"]
) -> Path:
    """Write an animation of images, side by side, that become latents and then translations.

    GIF or WebP by the ending of `path`. A frame shows x / sqrt(1 + sigma^2) at a noise level of the
    grid, and values from -1 to 1 as for images, so that a latent's are clipped.
    """
    encoding = translation.path(source, to_data(source.model, images), rising=True)
    decoding = translation.path(target, encoding[-1], rising=False)
    encoding, decoding = (
        np.stack([to_images(bridge.model, state) for state in states])
        for bridge, states in ((source, encoding), (target, decoding))
    )
    zoom = max(1, _SIDE // images.shape[1])
    steps = to_bytes(np.concatenate([encoding, decoding[1:]]))
    steps = steps.repeat(zoom, axis=2).repeat(zoom, axis=3)
    steps = steps.repeat(3 // steps.shape[-1], axis=-1)
    frames = [Image.fromarray(np.concatenate(list(step), axis=1)) for step in steps]
    durations = [_STEP] * len(frames)
    for end in (0, len(encoding) - 1, len(frames) - 1):
        durations[end] = _PAUSE
    options: dict[str, Any] = {"lossless": True} if path.suffix == ".webp" else {}
    frames[0].save(
        path,
        save_all=True,
        append_images=frames[1:],
        duration=durations,
        loop=0,
        **options,
    )
    return path
