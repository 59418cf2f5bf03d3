"""Figures of the perturbation study: digit against colour, and equivariance to rotation."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.patches import Rectangle

from ddib_jax.report.style import LIGHT, Theme, canvas

TARGET_PROPORTION, TARGET_HUE = 0.9, 20.0
NAMED = 5
"""How many of the best dots have their names beside them."""
NAMES_AT, GAP = 25.0, 6.0
"""Where names begin, in degrees, and what lies between two, in per cent."""


def trade_off_figure(
    panels: Mapping[str, tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"], Sequence[str]]],
    path: Path,
    *,
    theme: Theme = LIGHT,
) -> None:
    """Proportion called the target against median hue error, a dot for each coefficient.

    panels: title -> (median hue errors in degrees [m], proportions in [0, 1] [m], the dots' names).
    The shaded corner is the target, 90 % within 20 degrees; the dots that no other beats in both
    are joined, and the last of them named.
    """
    with canvas(path, theme, len(panels), (6.4 * len(panels), 5.8)) as axes:
        for plane, (title, (hue, proportion, names)) in zip(axes, panels.items(), strict=True):
            corner = Rectangle(
                (0, 100 * TARGET_PROPORTION),
                TARGET_HUE,
                100 * (1.02 - TARGET_PROPORTION),
                color=theme.accent,
                alpha=0.12,
                linewidth=0,
            )
            plane.add_patch(corner)
            plane.scatter(
                hue,
                100 * proportion,
                s=26,
                c=theme.accent,
                alpha=0.75,
                edgecolors=theme.paper,
                linewidths=0.4,
                zorder=3,
            )
            best = frontier(hue, proportion)
            plane.plot(hue[best], 100 * proportion[best], color=theme.warm, linewidth=1.2, zorder=2)
            plane.scatter(
                hue[best],
                100 * proportion[best],
                s=34,
                c=theme.warm,
                edgecolors=theme.paper,
                linewidths=0.5,
                zorder=4,
            )
            named, height = best[: -NAMED - 1 : -1], 100.0
            for rank, index in enumerate(named):
                # Names stand beside their dots, or below the name before where that is too near,
                # and leave room for those that follow.
                height = min(100 * proportion[index], height) - GAP
                height = max(height, GAP * (len(named) - rank - 0.5))
                plane.annotate(
                    names[index],
                    (hue[index], 100 * proportion[index]),
                    (NAMES_AT, height),
                    va="center",
                    fontsize=8.5,
                    color=theme.ink,
                    arrowprops={"arrowstyle": "-", "color": theme.muted, "linewidth": 0.7},
                )
            plane.set(
                title=title,
                xlabel="median hue error, degrees",
                ylabel="called the target, %",
                xlim=(0, 100),
                ylim=(0, 102),
            )


def frontier(hue: Float[np.ndarray, " m"], proportion: Float[np.ndarray, " m"]) -> list[int]:
    """Indices of the dots that no other beats in both, by rising hue error; never of a NaN."""
    best, reached = [], -1.0
    for index in np.lexsort((-proportion, np.where(np.isnan(hue), np.inf, hue))):
        if np.isfinite(hue[index]) and proportion[index] > reached:
            best.append(int(index))
            reached = proportion[index]
    return best


def equivariance_figure(
    angles: Float[np.ndarray, " k"],
    turned: Float[np.ndarray, " k"],
    unturned: Float[np.ndarray, " k"],
    path: Path,
    *,
    theme: Theme = LIGHT,
) -> None:
    """Distances (relative RMSE) from rotate(decode(z)) over angles in degrees, all [k].

    `turned` is that of decode(rotate(z)); `unturned` that of decode(z) itself, which is what no
    equivariance at all would give.
    """
    positions = np.arange(len(angles))
    with canvas(path, theme, 1, (7.2, 4.6)) as (plane,):
        plane.plot(
            positions,
            unturned,
            color=theme.muted,
            marker="o",
            label="decode(z): no equivariance at all",
        )
        plane.plot(
            positions,
            turned,
            color=theme.accent,
            marker="o",
            linewidth=2.2,
            label="decode(rotate(z))",
        )
        plane.set(
            title="Distance from rotate(decode(z))",
            xlabel="angle, degrees",
            ylabel="relative RMSE",
            ylim=(0, None),
        )
        plane.set_xticks(positions, [f"{angle:g}" for angle in angles])
        plane.legend(loc="lower right")
