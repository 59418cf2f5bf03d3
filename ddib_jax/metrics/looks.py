"""What a drawing of one ink on one background looks like: its colours apart from its strokes."""

import colorsys
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ddib_jax.types import HostImages

_RING = 2  # pixels of the edge, where nothing is drawn
_STROKE = 0.5
_CORE = 0.75
"""Shares of a stroke's darkest ink, from which on a pixel is drawn, or its colour is the ink's."""


class Drawing(NamedTuple):
    """n images taken apart.

    background, ink [n 3]: RGB in [0, 1]. stroke [n h w]: how much of a pixel is ink, in [0, 1].
    """

    background: Float[np.ndarray, "n 3"]
    ink: Float[np.ndarray, "n 3"]
    stroke: Float[np.ndarray, "n h w"]

    @property
    def drawn(self) -> Bool[np.ndarray, "n h w"]:
        """Where there is a stroke."""
        return self.stroke > _STROKE

    @property
    def hue(self) -> Float[np.ndarray, " n"]:
        """The ink's hue in degrees (HSV)."""
        return np.asarray([360 * colorsys.rgb_to_hsv(*colour)[0] for colour in self.ink])


def taken_apart(images: HostImages) -> Drawing:
    """The background, ink and strokes of images [n h w 3] in [-1, 1].

    The background is the median of the edge; a pixel is ink as far as its colour is from there, in
    units of the 99th percentile of an image.
    """
    colours = np.clip((np.asarray(images, np.float32) + 1) / 2, 0, 1)
    edge = np.ones(colours.shape[1:3], bool)
    edge[_RING:-_RING, _RING:-_RING] = False
    background = np.median(colours[:, edge], axis=1)
    distance = np.linalg.norm(colours - background[:, None, None], axis=-1)
    furthest = np.maximum(np.percentile(distance, 99, axis=(1, 2)), 1e-3)
    stroke = np.clip(distance / furthest[:, None, None], 0, 1)
    core = (stroke >= _CORE)[..., None]
    ink = (colours * core).sum(axis=(1, 2)) / np.maximum(core.sum(axis=(1, 2)), 1)
    return Drawing(background, ink, stroke)


def overlap(
    one: Bool[np.ndarray, "n h w"], other: Bool[np.ndarray, "n h w"]
) -> Float[np.ndarray, " n"]:
    """Intersection over union of two sets of pixels, 1 where both are empty."""
    common, either = (one & other).sum(axis=(1, 2)), (one | other).sum(axis=(1, 2))
    return np.where(either, common / np.maximum(either, 1), 1.0)
