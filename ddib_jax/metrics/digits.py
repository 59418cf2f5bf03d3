"""Coloured digits: hue, saturation, the stroke's thickness, area and slant, and the class.

All are computed on RGB values in [0, 1]; V = max(R, G, B) is the value of the HSV model (Smith,
1978) and C = max - min its chroma. A bright pixel has V > 0.5.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from ddib_jax.metrics.arrays import AnyArray, host, host_rgb

BRIGHT = 0.5
"""Pixels of a larger value belong to the digit."""

LEAST_CHROMA = 0.05
"""A digit whose bright pixels have a smaller mean chroma is grey: it has no hue."""


def _value(rgb: Float[np.ndarray, "n h w 3"]) -> Float[np.ndarray, "n h w"]:
    return rgb.max(axis=-1)


def _bright_mean(
    quantity: Float[np.ndarray, "n h w"], bright: Bool[np.ndarray, "n h w"]
) -> Float[np.ndarray, " n"]:
    count = bright.sum(axis=(1, 2))
    total = np.where(bright, quantity, 0.0).sum(axis=(1, 2))
    return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)


def hue(images: Float[AnyArray, "n h w 3"]) -> Float[np.ndarray, " n"]:
    """Hue of every image, the circular mean of its bright pixels' HSV hues (Mardia, 1972).

    The mean is weighted by chroma. Shapes: RGB [n, h, w, 3] in [-1, 1] -> [n] in degrees, [0, 360),
    red at 0, green at 120. NaN for an image with no bright pixel, or whose bright pixels are grey
    (mean chroma below 0.05) or of hues that cancel to less than that.

    Raises:
        ValueError: the images are not RGB, or hold a value that is not finite.
    """
    rgb = host_rgb(images)
    value = _value(rgb)
    chroma = value - rgb.min(axis=-1)
    red, green, blue = np.moveaxis(rgb, -1, 0)
    safe = np.where(chroma > 0, chroma, 1.0)
    sextant = np.select(
        [value == red, value == green],
        [(green - blue) / safe, 2.0 + (blue - red) / safe],
        default=4.0 + (red - green) / safe,
    )
    angle = sextant * (np.pi / 3)
    bright = value > BRIGHT
    east = _bright_mean(chroma * np.cos(angle), bright)
    north = _bright_mean(chroma * np.sin(angle), bright)
    # twice: a tiny negative angle % 360 is rounded to 360 itself
    degrees = np.degrees(np.arctan2(north, east)) % 360.0 % 360.0
    return np.where(np.hypot(east, north) >= LEAST_CHROMA, degrees, np.nan)


def hue_distance(
    first: Float[AnyArray, " n"], second: Float[AnyArray, " n"]
) -> Float[np.ndarray, " n"]:
    """Length of the shorter arc between two hues, |(a - b + 180) mod 360 - 180|.

    Shapes: [n] and [n] in degrees -> [n] in degrees, [0, 180]; NaN where either is NaN.
    """
    return np.abs((host(first) - host(second) + 180.0) % 360.0 - 180.0)


def hue_error(
    source: Float[AnyArray, "n h w 3"], translation: Float[AnyArray, "n h w 3"]
) -> Float[np.ndarray, " n"]:
    """Circular hue error between every source and its translation, `hue_distance` of their `hue`.

    Shapes: two sets [n, h, w, 3] in [-1, 1] -> [n] in degrees, [0, 180], 90 on average by chance.
    NaN where either image has no hue: such images take no part in a median, and their proportion,
    `hue_unmeasured`, is to be reported beside it.

    Raises:
        ValueError: the images are not RGB, hold a value that is not finite, or differ in number.
    """
    first, second = hue(source), hue(translation)
    if len(first) != len(second):
        raise ValueError(
            f"There are {len(first)} sources and {len(second)} translations; give one translation a"
            " source."
        )
    return hue_distance(first, second)


def hue_unmeasured(
    source: Float[AnyArray, "n h w 3"], translation: Float[AnyArray, "n h w 3"]
) -> Float[np.ndarray, " n"]:
    """1 for every pair without a `hue_error`, for an image is dark or grey, else 0.

    Shapes: two sets [n, h, w, 3] in [-1, 1] -> [n]; the mean is the proportion of such pairs.

    Raises:
        ValueError: as `hue_error`.
    """
    return np.isnan(hue_error(source, translation)).astype(np.float64)


def saturation(images: Float[AnyArray, "n h w 3"]) -> Float[np.ndarray, " n"]:
    """HSV saturation C / V of every image, its mean over the bright pixels.

    Shapes: RGB [n, h, w, 3] in [-1, 1] -> [n] in [0, 1]; NaN for an image with no bright pixel.

    Raises:
        ValueError: the images are not RGB, or hold a value that is not finite.
    """
    rgb = host_rgb(images)
    value = _value(rgb)
    ratio = (value - rgb.min(axis=-1)) / np.where(value > 0, value, 1.0)
    return _bright_mean(ratio, value > BRIGHT)


def stroke_area(images: Float[AnyArray, "n h w 3"]) -> Float[np.ndarray, " n"]:
    """Area of the stroke of every image, sum of V over its pixels.

    Shapes: RGB [n, h, w, 3] in [-1, 1] -> [n] in pixels, 0 to h w.

    Raises:
        ValueError: the images are not RGB, or hold a value that is not finite.
    """
    return _value(host_rgb(images)).sum(axis=(1, 2))


def stroke_thickness(images: Float[AnyArray, "n h w 3"]) -> Float[np.ndarray, " n"]:
    """Stroke thickness of every image, the short side t of a rectangle of its area and perimeter.

    t solves t^2 - t P/2 + A = 0 of area A and perimeter P. A = sum(V) and, by the coarea formula
    (Fleming and Rishel, 1960), P = total variation of V, with V divided by its largest value, so
    that neither brightness nor colour counts. Where no rectangle fits (P^2 < 16 A, a round blot),
    t = P/4, the side of the square. On MNIST it correlates .98 with the mean ridge of the distance
    transform. Shapes: RGB [n, h, w, 3] in [-1, 1] -> [n] in pixels; NaN for an image with no bright
    pixel.

    Raises:
        ValueError: the images are not RGB, or hold a value that is not finite.
    """
    value = _value(host_rgb(images))
    peak = value.max(axis=(1, 2))
    ink = np.pad(value / np.where(peak > 0, peak, 1.0)[:, None, None], ((0, 0), (1, 1), (1, 1)))
    across, down = np.diff(ink, axis=2), np.diff(ink, axis=1)
    slope = np.hypot((across[:, 1:] + across[:, :-1]) / 2, (down[:, :, 1:] + down[:, :, :-1]) / 2)
    half_perimeter = slope.sum(axis=(1, 2)) / 2
    area = ink.sum(axis=(1, 2))
    thickness = (half_perimeter - np.sqrt(np.clip(half_perimeter**2 - 4 * area, 0.0, None))) / 2
    return np.where(peak > BRIGHT, thickness, np.nan)


def stroke_slant(images: Float[AnyArray, "n h w 3"]) -> Float[np.ndarray, " n"]:
    """Slant of the stroke of every image, arctan of the shear cov(x, y) / var(y) of its value V.

    It is the angle that the usual deskewing of digits removes (LeCun et al. 1998). Shapes: RGB [n,
    h, w, 3] in [-1, 1] -> [n] in degrees, (-90, 90), positive where the top lies to the right; NaN
    for an image with no bright pixel.

    Raises:
        ValueError: as `hue`.
    """
    value = _value(host_rgb(images))
    y, x = (np.arange(size, dtype=np.float64) for size in value.shape[1:])
    mass = np.maximum(value.sum(axis=(1, 2)), 1e-12)
    rows, columns = value.sum(axis=2), value.sum(axis=1)
    row = y - (rows @ y / mass)[:, None]
    column = x - (columns @ x / mass)[:, None]
    spread = np.maximum(np.sum(rows * row**2, axis=1), 1e-12)
    shear = np.einsum("nyx,ny,nx->n", value, row, column) / spread
    return np.where(value.max(axis=(1, 2)) > BRIGHT, np.degrees(np.arctan(-shear)), np.nan)


def label_kept(
    logits: Float[AnyArray, "n k"], labels: Int[AnyArray, " n"]
) -> Float[np.ndarray, " n"]:
    """1 for every image whose largest logit is that of its own label, else 0.

    Shapes: [n, k] logits or probabilities and labels [n] below k -> [n].

    Raises:
        ValueError: the logits are not [n, k] of as many images as labels, or hold a NaN.
    """
    scores, expected = host(logits), host(labels)
    if scores.ndim != 2 or len(scores) != len(expected) or np.isnan(scores).any():
        raise ValueError(
            f"Labels of {len(expected)} images were asked of logits of shape {scores.shape}; give"
            " finite ones [n, k]."
        )
    return (scores.argmax(axis=1) == expected).astype(np.float64)


def called(logits: Float[AnyArray, "n k"], target: int | Sequence[int]) -> Float[np.ndarray, " n"]:
    """1 for every image whose largest logit is that of the target class, else 0.

    Shapes: [n, k] logits or probabilities and one class or several -> [n]; the mean is the
    proportion of images that are classified so.

    Raises:
        ValueError: the logits are not [n, k], hold a NaN, or a class is not below k.
    """
    classes = np.atleast_1d(target)
    if logits.ndim != 2 or classes.min() < 0 or classes.max() >= logits.shape[1]:
        raise ValueError(
            f"Class {target} was asked of logits of shape {logits.shape}; give [n, k] and classes"
            " below k."
        )
    scores = host(logits)
    if np.isnan(scores).any():
        raise ValueError(
            "The classifier's logits hold a NaN; find the image that made it before counting."
        )
    return np.isin(scores.argmax(axis=1), classes).astype(np.float64)
