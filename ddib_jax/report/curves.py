"""Errors against network evaluations, on logarithmic axes: a panel for each family of solvers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes

from ddib_jax.report.style import LIGHT, Theme, canvas

Curve = tuple[Sequence[float | int], Sequence[float | int | None]]
"""Evaluations and errors, one for each number of steps; None or an infinite error is a gap."""

HUES = ("#3b6fd8", "#d9622b", "#2a9d74", "#a64ac9", "#c0392b", "#8a6d1c", "#1798b8", "#d14f8f")
FLOOR, CEILING = 1e-8, 10.0


def error_figure(
    panels: Mapping[str, Mapping[str, Curve]],
    path: Path,
    *,
    ylabel: str,
    level: float | None = None,
    reference: tuple[str, Curve] | None = None,
    unbounded: bool = False,
    legends: Literal["lower left", "upper right"] = "lower left",
    theme: Theme = LIGHT,
) -> None:
    """Curves of (evaluations, errors) in log-log panels side by side, with legends.

    panels: title -> curve's name -> curve. `level` draws a dotted horizontal line, `reference` a
    curve that every panel shows in grey. Errors above 10 and infinite ones are drawn at the upper
    edge, those below 1e-8 at the lower; `unbounded` is for quantities without such a range
    (seconds). legends: their place.
    """
    with canvas(path, theme, len(panels), (4.6 * len(panels) + 0.6, 5.0)) as axes:
        for plane, (title, curves) in zip(axes, panels.items(), strict=True):
            if reference:
                _curve(plane, *reference, theme.muted, unbounded=unbounded, width=1.2)
            for hue, (name, curve) in zip(HUES * 3, curves.items(), strict=False):
                _curve(plane, name, curve, hue, unbounded=unbounded)
            plane.set(title=title, xscale="log", yscale="log", xlabel="evaluations each way")
            if not unbounded:
                plane.set_ylim(FLOOR / 2, CEILING * 2)
            if level is not None:
                plane.axhline(level, color=theme.warm, linewidth=1, linestyle=":")
            plane.legend(fontsize=8, loc=legends, handlelength=1.6, labelspacing=0.25)
        axes[0].set_ylabel(ylabel)


def _curve(
    plane: Axes, name: str, curve: Curve, colour: str, *, unbounded: bool, width: float = 1.8
) -> None:
    evaluations, errors = (
        np.asarray([np.nan if value is None else value for value in part], float) for part in curve
    )
    errors = np.where(np.isfinite(errors), errors, np.nan if unbounded else CEILING)
    heights = errors if unbounded else np.clip(errors, FLOOR, CEILING)
    plane.plot(
        evaluations,
        heights,
        "-",
        marker="o",
        markersize=3.5,
        color=colour,
        linewidth=width,
        label=name,
    )
