"""The page of a comparison of methods: for each task the same sources in every row, every figure
with its interval, the table.
"""

from collections.abc import Sequence
from pathlib import Path

from ddib_jax.report.page import Section
from ddib_jax.report.sheets import contact_sheet
from ddib_jax.report.style import LIGHT, Picture, Theme, canvas, in_both_themes
from ddib_jax.runs import Run

_FIGURES = ", figures"
_WIDE = 50
"""Values that lie further apart than by this factor are shown on a logarithmic scale, shares
excepted.
"""


def compare_methods(run: Run, figures: Path) -> list[Section]:
    """A section for every task of the run.

    The run holds, for each task T, a table "T" for reading, a table "T, figures" of (method,
    metric, value, low, high), and arrays "T: METHOD" of translations, bytes [n h w 3], all of one
    order.

    Raises:
        ValueError: a task has no images.
    """
    sections = []
    for number, title in enumerate(
        name for name in run.tables if f"{name}{_FIGURES}" in run.tables
    ):
        rows = {
            name.removeprefix(f"{title}: "): images
            for name, images in run.arrays.items()
            if name.startswith(f"{title}: ")
        }
        if not rows:
            raise ValueError(
                f"The run '{run.name}' has no images of '{title}', which its report shows; run the"
                " study again."
            )
        values = run.tables[f"{title}{_FIGURES}"].rows
        pictures = (
            Picture(
                contact_sheet(rows, figures / f"images-{number}.png"),
                "Every column is one source, every row a method.",
                wide=True,
            ),
            in_both_themes(
                lambda path, theme, values=values: dot_figure(values, path, theme),
                figures / f"dots-{number}.png",
                "Every figure of every method with its 95 % interval.",
            ),
        )
        sections.append(Section(title, "", pictures, tables=(run.tables[title],)))
    return [*sections, Section("Floors", "", metrics=True)]


def dot_figure(
    rows: Sequence[tuple[str, str, float, float | None, float | None]],
    path: Path,
    theme: Theme = LIGHT,
) -> None:
    """A panel for every metric, a line for every method, a dot and its interval on it; rows of
    (method, metric, value, low, high).
    """
    methods, metrics = (list(dict.fromkeys(row[place] for row in rows)) for place in (0, 1))
    columns = min(4, len(metrics))
    lines = -(-len(metrics) // columns)
    with canvas(
        path, theme, columns, (4.4 * columns, lines * (1.3 + 0.34 * len(methods))), rows=lines
    ) as axes:
        for panel, metric in zip(axes, metrics, strict=False):
            found = {method: tuple(values) for method, name, *values in rows if name == metric}
            for line, method in enumerate(reversed(methods)):
                if method in found:
                    value, low, high = found[method]
                    colour = theme.warm if method.startswith("DDIB") else theme.accent
                    if low is not None and high is not None:
                        panel.plot(
                            (low, high),
                            (line, line),
                            color=colour,
                            linewidth=2.2,
                            alpha=0.55,
                            solid_capstyle="round",
                        )
                    panel.plot(value, line, "o", color=colour, markersize=6)
            values = [found[method][0] for method in found]
            if min(values) > 0 and max(values) > max(1, _WIDE * min(values)):
                panel.set_xscale("log")
            panel.set(
                yticks=range(len(methods)),
                yticklabels=reversed(methods) if panel in axes[::columns] else [],
                ylim=(-0.6, len(methods) - 0.4),
            )
            panel.set_title(metric, fontsize=10.5)
        for panel in axes[len(metrics) :]:
            panel.set_visible(False)
