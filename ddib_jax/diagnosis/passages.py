"""A few images on their way: a film from image to latent to translation, and the way back."""

import math
import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from ddib_jax import translation
from ddib_jax.bridge import Bridge
from ddib_jax.data.png import to_bytes
from ddib_jax.solvers import OverGrid
from ddib_jax.types import HostImages

FILMED = 4
"""Images of a film at most: their ways are solved once more for it."""
_BETWEEN = 4
"""Noise levels of a film between an image and its latent."""
_SIDE = 96
"""Pixels of a side of a film's pictures at most."""


def filmed(count: int) -> int:
    """Of how many of `count` translated images there is a film: a quarter, one to `FILMED`."""
    return max(1, min(FILMED, count // 4))


class Passage(NamedTuple):
    """The ways of a few images.

    film: pictures [n m h w c] at the noise levels `levels` [m], 0 for images, of which the highest
    is that of the latents. back: the images [n h w c] decoded again from their latents by the model
    that encoded them, or None.
    """

    film: UInt8[np.ndarray, "n m h w c"]
    levels: Float[np.ndarray, " m"]
    back: HostImages | None


def passage(source: Bridge, target: Bridge | None, images: HostImages) -> Passage | None:
    """The passage of the first `FILMED` of images [n h w c] up `source`, down `target`, and back.

    Three crossings of a few images, in one program where both models are of one kind. target: None
    where the translation does not simply decode the latent; the film then ends there. Returns None
    for a solver that has no states between the ends of its grid.

    A lattice may lose a way that is begun anew from the latent, where the pairs of a translation
    (`hand_on`) do not: that way is left out, with a warning.
    """
    if isinstance(source.solver, OverGrid):
        return None
    data = translation.to_data(source.model, images[:FILMED])
    up = translation.path(source, data, rising=True)
    back = translation.path(source, up[-1], rising=False)[-1:]
    filmed_up = _filmed(source, up, rising=True)
    if filmed_up is None:
        return None
    frames, levels = filmed_up
    if target is not None and not isinstance(target.solver, OverGrid):
        down = translation.path(target, up[-1], rising=False)
        filmed_down = _filmed(target, down, rising=False)
        if filmed_down is not None:
            falling, lower = filmed_down
            frames = np.concatenate([frames, falling[:, 1:]], axis=1)
            levels = np.concatenate([levels, lower[1:]])
    return Passage(frames, levels, translation.to_images(source.model, back[0]))


def sampling(target: Bridge, latents: HostImages) -> Passage | None:
    """The passage of the first `FILMED` of Gaussian latents [n ...] down to samples; as `passage`.

    The model is under no condition of single images, or under one for each of those few.
    """
    if isinstance(target.solver, OverGrid):
        return None
    down = translation.path(target, latents[:FILMED], rising=False)
    film = _filmed(target, down, rising=False)
    return None if film is None else Passage(*film, back=None)


def evaluations(bridge: Bridge) -> int:
    """Network evaluations of one image over the bridge, those of its guidance included.

    Of a solver that iterates, as many as are expected.
    """
    guidance = bridge.model.guidance
    each = 1 if guidance is None else guidance.evaluations
    return each * bridge.solver.evaluations(len(bridge.sigmas) - 1)


def _filmed(
    bridge: Bridge, states: Float[np.ndarray, "n b ..."], *, rising: bool
) -> tuple[UInt8[np.ndarray, "b m h w c"], Float[np.ndarray, " m"]] | None:
    """Pictures of some of the states of a path, and their noise levels, 0 for that of an image.

    None, with a warning, where a state is not finite.
    """
    if not np.isfinite(states).all():
        way = "up to the latents" if rising else "down from the latents"
        warnings.warn(
            f"The film leaves out the way {way}: solved for it once more, it has states that are"
            " not finite; more steps would help.",
            stacklevel=3,
        )
        return None
    last = len(states) - 1
    chosen = np.unique(np.linspace(0, last, min(last, _BETWEEN + 1) + 1).round().astype(int))
    sigmas = np.asarray(bridge.levels if rising else bridge.levels[::-1])
    levels = sigmas[chosen].astype(np.float64)
    levels[0 if rising else -1] = 0.0
    pictures = [translation.to_images(bridge.model, states[index]) for index in chosen]
    return to_bytes(_smaller(np.stack(pictures, axis=1))), levels


def _smaller(pictures: Float[np.ndarray, "b m h w c"]) -> Float[np.ndarray, "b m ph pw c"]:
    """The pictures with means of blocks for pixels, so that no side is longer than `_SIDE`."""
    *_, height, width, _ = pictures.shape
    factor = math.ceil(max(height, width) / _SIDE)
    rows, columns = height // factor, width // factor
    cut = pictures[:, :, : rows * factor, : columns * factor]
    blocks = cut.reshape(*cut.shape[:2], rows, factor, columns, factor, -1)
    return blocks.mean(axis=(3, 5))
