"""What the captioned digits of a study show, and how much of what a caption asked for."""

import colorsys
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ddib_jax.data.captioned_digits import BACKGROUNDS, INKS
from ddib_jax.evaluation import Classifier, classify
from ddib_jax.metrics.digits import hue_distance
from ddib_jax.types import HostImages

_FAR = 0.25
"""A background further than this from all of them (RGB in [0, 1]) is none."""
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


class Seen(NamedTuple):
    """What n images show: digit [n], ink [n] and background [n] by their numbers, and more.

    hue [n] in degrees. A background of none is -1.
    """

    digit: np.ndarray
    ink: np.ndarray
    background: np.ndarray
    hue: np.ndarray
    drawing: Drawing


class Followed(NamedTuple):
    """Of n images whether digit, ink and background are those asked for, all of them, and the error
    of the hue in degrees.
    """

    digit: np.ndarray
    ink: np.ndarray
    background: np.ndarray
    all: np.ndarray
    hue_error: np.ndarray


def seen(images: np.ndarray, classifier: Classifier) -> Seen:
    """What images [n h w 3] in [-1, 1] show; digits by a classifier of their strokes alone."""
    drawing = taken_apart(images)
    # White strokes on black are what every ink on every background is to the classifier.
    grey = np.repeat(2 * drawing.stroke[..., None] - 1, 3, axis=-1).astype(np.float32)
    logits, _ = classify(classifier, grey)
    hues, grounds = np.asarray(list(INKS.values())), np.asarray(list(BACKGROUNDS.values()))
    apart = np.linalg.norm(drawing.background[:, None] - grounds, axis=-1)
    background = np.where(apart.min(axis=1) < _FAR, apart.argmin(axis=1), -1)
    ink = hue_distance(drawing.hue[:, None], hues[None]).argmin(axis=1)
    return Seen(logits.argmax(axis=1), ink, background, drawing.hue, drawing)


def followed(found: Seen, digit: np.ndarray, ink: np.ndarray, background: np.ndarray) -> Followed:
    """How far what is seen is what was asked for, numbers [n] each; -1 asks for none."""
    same = [
        (asked < 0) | (got == asked)
        for asked, got in zip(
            (digit, ink, background), (found.digit, found.ink, found.background), strict=True
        )
    ]
    wanted = np.asarray(list(INKS.values()))[np.maximum(ink, 0)]
    error = np.where(np.asarray(ink) < 0, np.nan, hue_distance(found.hue, wanted))
    return Followed(*same, np.logical_and.reduce(same), error)
