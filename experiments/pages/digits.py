"""Figures of coloured digits: hue and stroke thickness of translations against their sources'."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.patches import Rectangle

from ddib_jax.report.style import LIGHT, Theme, canvas

NEAR = 30
"""Half the width of the band around the diagonal, in degrees."""
_SEXTANTS = range(0, 361, 60)


def _hue_axes(axes: Axes, theme: Theme) -> None:
    """Axes of hue against hue, with strips of colours along them, the diagonal and its band."""
    wheel = hue_colours(np.arange(360.0))
    axes.imshow(wheel[None], extent=(0, 360, -14, -4), aspect="auto", zorder=1)
    axes.imshow(wheel[::-1, None], extent=(-14, -4, 0, 360), aspect="auto", zorder=1)
    axes.set(xlim=(-14, 364), ylim=(-14, 364), xticks=_SEXTANTS, yticks=_SEXTANTS, aspect="equal")
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    square = Rectangle((0, 0), 360, 360, transform=axes.transData)
    ends = np.array([0.0, 360.0])
    # Hues go around a circle, so the band enters again at two corners.
    for shift in (-360.0, 0.0, 360.0):
        low, high = ends + shift - NEAR, ends + shift + NEAR
        band = axes.fill_between(
            ends, low, high, color=theme.ink, alpha=0.06, linewidth=0, zorder=1.5
        )
        band.set_clip_path(square)
    axes.plot(ends, ends, color=theme.muted, linewidth=1, zorder=2)
    axes.xaxis.set_major_formatter("{x:.0f}°")
    axes.yaxis.set_major_formatter("{x:.0f}°")


def hue_figure(
    source: Float[np.ndarray, " n"],
    translation: Float[np.ndarray, " n"],
    error: Float[np.ndarray, " n"],
    path: Path,
    *,
    theme: Theme = LIGHT,
) -> None:
    """Hues of translations against those of their sources, and the histogram of the error.

    Each dot has its source's colour; the grey band holds the pairs within 30 degrees.

    Shapes: [n] each, degrees; NaN for a pair without a hue, which is counted in the title and left
    out of the picture.
    """
    finite = np.isfinite(error)
    with canvas(path, theme, 2, (11.6, 5.4)) as (plane, histogram):
        _hue_axes(plane, theme)
        plane.scatter(
            source[finite],
            translation[finite],
            s=20,
            c=hue_colours(source[finite]),
            edgecolors=theme.paper,
            linewidths=0.4,
            zorder=3,
        )
        plane.set(
            title="Hue kept: the diagonal",
            xlabel="hue of the source",
            ylabel="hue of the translation",
        )
        bins = list(range(0, 181, 5))
        histogram.hist(error[finite], bins, color=theme.accent, alpha=0.9, rwidth=0.86)
        histogram.set(title="Hue error", xlabel="degrees around the circle", ylabel="images")
        histogram.set(xlim=(0, 180), xticks=range(0, 181, 30))
        histogram.grid(axis="x", visible=False)
        if finite.any():
            marks = {
                "median": np.median(error[finite]),
                "90th percentile": np.quantile(error[finite], 0.9),
            }
            for height, (word, value) in zip((0.97, 0.86), marks.items(), strict=True):
                histogram.axvline(value, ymax=height, color=theme.warm, linewidth=1.8)
                _beside(histogram, value, height, f"{word} {value:.1f}°", theme)
        if not finite.all():
            words = f"{np.sum(~finite)} without a hue"
            histogram.set_title(
                words, loc="right", color=theme.muted, fontweight="normal", fontsize=10.5
            )


def _beside(axes: Axes, value: float, height: float, words: str, theme: Theme) -> None:
    left = value < 110
    axes.annotate(
        words,
        (value, height),
        (7 if left else -7, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="left" if left else "right",
        va="center",
        color=theme.warm,
        fontweight="bold",
        bbox={"facecolor": theme.paper, "edgecolor": "none", "alpha": 0.85, "pad": 2},
    )


def thickness_figure(
    source: Float[np.ndarray, " n"],
    translation: Float[np.ndarray, " n"],
    path: Path,
    *,
    hues: Float[np.ndarray, " n"],
    theme: Theme = LIGHT,
) -> None:
    """Stroke thickness of translations against that of their sources, and its change.

    Each dot has its source's hue. Shapes: [n] each, pixels and degrees; pairs with a NaN thickness
    are left out.
    """
    finite = np.isfinite(source) & np.isfinite(translation)
    first, second = source[finite], translation[finite]
    with canvas(path, theme, 2, (11.6, 5.2)) as (plane, histogram):
        plane.set(title="Stroke thickness", xlabel="source, pixels", ylabel="translation, pixels")
        histogram.set(title="Change", xlabel="translation less source, pixels", ylabel="images")
        histogram.grid(axis="x", visible=False)
        if not finite.any():
            return
        low, high = np.min([first, second]) - 0.25, np.max([first, second]) + 0.25
        plane.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        plane.axline((low, low), slope=1, color=theme.muted, linewidth=1)
        plane.scatter(
            first,
            second,
            s=20,
            c=hue_colours(hues[finite]),
            edgecolors=theme.paper,
            linewidths=0.4,
            zorder=3,
        )
        change = second - first
        reach = max(float(np.abs(change).max()), 0.1) * 1.05
        bins = np.linspace(-reach, reach, 42).tolist()
        histogram.hist(change, bins, color=theme.accent, alpha=0.9, rwidth=0.86)
        histogram.axvline(0, color=theme.muted, linewidth=1)
        histogram.axvline(change.mean(), color=theme.warm, linewidth=1.8)
        histogram.set_title(f"mean {change.mean():+.2f} px", loc="right", color=theme.warm)
        if finite.sum() > 2 and first.std() > 0 and second.std() > 0:
            words = f"correlation {np.corrcoef(first, second)[0, 1]:.2f}"
            plane.set_title(words, loc="right", color=theme.warm)


def hue_colours(degrees: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 3"]:
    """Hues in degrees [n] -> RGB [n, 3] in [0, 1], legible on light and on dark; grey for NaN."""
    finite = np.isfinite(degrees)
    hues = np.where(finite, degrees, 0.0) % 360.0 / 360.0
    saturation, value = np.where(finite, 0.82, 0.0), np.where(finite, 0.9, 0.6)
    return hsv_to_rgb(np.stack([hues, saturation, value], axis=-1))
