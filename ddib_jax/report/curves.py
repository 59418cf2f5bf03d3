"""Errors against network evaluations, on logarithmic axes: a panel a family of solvers, DDIM in
grey in each.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

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
    theme: Theme = LIGHT,
    *,
    ylabel: str,
    wanted: float | None = None,
    reference: tuple[str, Curve] | None = None,
    rising: bool = False,
) -> None:
    """Curves of (evaluations, errors) in log-log panels side by side, each curve named at its end.

    panels: title -> curve's name -> curve; a name that ends in "+ carry" is drawn dashed. `wanted`
    draws a level, `reference` a curve that every panel shows in grey. Errors above 10 are drawn at
    the upper edge, below 1e-8 at the lower; `rising` is for what has no such range (seconds).
    """
    with canvas(path, theme, len(panels), (4.6 * len(panels) + 0.6, 5.0)) as axes:
        for place, (plane, (title, curves)) in enumerate(zip(axes, panels.items(), strict=True)):
            if reference:
                _curve(plane, *reference, theme.muted, rising, width=1.2)
            ends = []
            for hue, (name, curve) in zip(HUES * 3, curves.items(), strict=False):
                ends.append(_curve(plane, name, curve, hue, rising))
            plane.set(title=title, xscale="log", yscale="log", xlabel="evaluations a leg")
            if not rising:
                plane.set_ylim(FLOOR / 2, CEILING * 2)
            if place == 0:
                plane.set_ylabel(ylabel)
            if wanted is not None:
                plane.axhline(wanted, color=theme.warm, linewidth=1, linestyle=":")
            plane.legend(fontsize=8, loc="lower left", handlelength=1.6, labelspacing=0.25)


def _curve(
    plane: Axes, name: str, curve: Curve, colour: str, rising: bool, width: float = 1.8
) -> None:
    evaluations, errors = (
        np.asarray([np.nan if v is None else v for v in part], float) for part in curve
    )
    errors = np.where(np.isfinite(errors), errors, np.nan if rising else CEILING)
    shown = errors if rising else np.clip(errors, FLOOR, CEILING)
    style = "--" if name.endswith("+ carry") else "-"
    plane.plot(
        evaluations,
        shown,
        style,
        marker="o",
        markersize=3.5,
        color=colour,
        linewidth=width,
        label=name,
    )
