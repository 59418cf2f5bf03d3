"""The way of images across a bridge, as an animation."""

from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float
from PIL import Image

from ddib_jax.bridge import Bridge
from ddib_jax.data.png import to_bytes

FILMED = 8
"""Images side by side."""
_HELD, _STEP = 900, 60  # milliseconds that a picture at an end, and one between, is shown
_SIDE = 128


def write_path(
    path: Path, here: Bridge, there: Bridge, images: Float[np.ndarray, "n h w c"]
) -> Path:
    """Write an animation of images, side by side, on their way to their latents and on to their
    translations; GIF or WebP by its ending.

    A frame is x / sqrt(1 + sigma^2) at a noise level of the grid; latents are shown from -1 to 1 as
    images are.
    """
    up = np.asarray(_path(here, images, True))
    down = np.asarray(_path(there, up[-1], False))
    zoom = max(1, _SIDE // images.shape[1])
    strips = to_bytes(np.concatenate([up, down[1:]])).repeat(zoom, axis=2).repeat(zoom, axis=3)
    rows = [
        Image.fromarray(np.concatenate(list(strip.repeat(3 // strip.shape[-1], axis=-1)), axis=1))
        for strip in strips
    ]
    shown = [
        _HELD if place in (0, len(up) - 1, len(rows) - 1) else _STEP for place in range(len(rows))
    ]
    rows[0].save(
        path,
        save_all=True,
        append_images=rows[1:],
        duration=shown,
        loop=0,
        **({"lossless": True} if path.suffix == ".webp" else {}),
    )
    return path


def _path(bridge: Bridge, x, rising: bool):
    return jax.jit(Bridge.path, static_argnames="rising")(bridge, x, rising=rising)
