"""What the captioned digits of a study show, and how much of what a caption asked for."""

from typing import NamedTuple

import numpy as np

from ddib_jax.data.captioned_digits import BACKGROUNDS, INKS
from ddib_jax.evaluation import Classifier, classify
from ddib_jax.metrics.digits import hue_distance
from ddib_jax.metrics.looks import Drawing, taken_apart

_FAR = 0.25
"""A background further than this from all of them (RGB in [0, 1]) is none."""


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
