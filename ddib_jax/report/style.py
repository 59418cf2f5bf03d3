"""How figures look: a light and a dark theme, and axes in either."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine


@dataclass(frozen=True)
class Theme:
    """The colours of a figure as #rrggbb; `suffix` ends the name of its file."""

    suffix: str
    paper: str
    ink: str
    muted: str
    rule: str
    accent: str
    warm: str


LIGHT = Theme("", "#ffffff", "#1c1f24", "#69707b", "#e2e5ea", "#3b6fd8", "#d9622b")
DARK = Theme("-dark", "#171a20", "#e9ebef", "#98a0ac", "#2c313a", "#7ba4ff", "#ff9a62")


@dataclass(frozen=True)
class Picture:
    """A picture of a page."""

    path: Path
    """A PNG."""
    caption: str = ""
    dark: Path | None = None
    """The same for readers who prefer dark, where it differs."""
    wide: bool = False
    """Whether it is a sheet of images, shown on a dark ground and at least 900 pixels wide."""


@contextmanager
def canvas(
    path: Path, theme: Theme, columns: int, size: tuple[float, float], *, rows: int = 1
) -> Iterator[tuple[Axes, ...]]:
    """Axes in `rows` and `columns`, row by row, saved at `path` when the block ends without error.

    `size` is the figure's width and height in inches, at 150 pixels an inch.
    """
    with matplotlib.rc_context(
        {
            "font.family": "DejaVu Sans",
            "font.size": 11,
            "axes.titlesize": 12.5,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.titlepad": 12,
            "axes.titlecolor": theme.ink,
            "axes.labelcolor": theme.muted,
            "axes.labelpad": 8,
            "axes.edgecolor": theme.rule,
            "axes.facecolor": theme.paper,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": theme.rule,
            "grid.linewidth": 0.8,
            "xtick.color": theme.rule,
            "ytick.color": theme.rule,
            "xtick.labelcolor": theme.muted,
            "ytick.labelcolor": theme.muted,
            "text.color": theme.ink,
            "figure.facecolor": theme.paper,
            "legend.frameon": False,
            "legend.labelcolor": theme.ink,
        }
    ):
        layout = ConstrainedLayoutEngine(w_pad=0.14, h_pad=0.18, wspace=0.06)
        figure = Figure(figsize=size, layout=layout)
        FigureCanvasAgg(figure)
        yield tuple(np.ravel(figure.subplots(rows, columns)))
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)


def in_both_themes(draw: Callable[[Path, Theme], None], path: Path, caption: str) -> Picture:
    """A figure drawn twice by draw(path, theme): light at `path`, dark beside it."""
    dark = path.with_stem(path.stem + DARK.suffix)
    draw(path, LIGHT)
    draw(dark, DARK)
    return Picture(path, caption, dark)
