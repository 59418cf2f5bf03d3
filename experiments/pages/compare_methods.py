"""The page of a comparison of methods: for each task its images, figures with intervals, table."""

from collections.abc import Sequence
from pathlib import Path

from ddib_jax.report import Picture, Section, contact_sheet
from ddib_jax.report.style import LIGHT, Theme, canvas, in_both_themes
from ddib_jax.runs import Run

FIGURES = ", figures"
"""What follows a task's title in the name of its table of figures."""
IMAGES = "{task}: {method}"
"""The name of an array of translations."""

_WIDE = 50
"""Values that lie further apart than by this factor, and exceed 1, have a logarithmic scale."""


def layout(run: Run, figures: Path) -> list[Section]:
    """A section for every task of the run.

    The run holds, for each task T, a table "T" for reading, a table "T, figures" of (method,
    metric, value, low, high), and arrays "T: METHOD" of translations, bytes [n h w 3], all of the
    same sources.

    Raises:
        ValueError: a task has no images.
    """
    tasks = [name for name in run.tables if f"{name}{FIGURES}" in run.tables]
    sections = [_task(run, title, number, figures) for number, title in enumerate(tasks)]
    return [*sections, Section("Floors", "", metrics=True)]


def _task(run: Run, title: str, number: int, figures: Path) -> Section:
    prefix = IMAGES.format(task=title, method="")
    images = {
        name.removeprefix(prefix): array
        for name, array in run.arrays.items()
        if name.startswith(prefix)
    }
    if not images:
        raise ValueError(
            f"The run '{run.name}' has no images of '{title}', which its report shows; run the"
            " study again."
        )
    sheet = contact_sheet(images, figures / f"images-{number}.png")
    values = run.tables[f"{title}{FIGURES}"].rows
    pictures = (
        Picture(sheet, "Every column is one source, every row a method.", wide=True),
        in_both_themes(
            lambda path, theme: dot_figure(values, path, theme=theme),
            figures / f"dots-{number}.png",
            "Every figure of every method with its 95 % interval.",
        ),
    )
    return Section(title, "", pictures, tables=(run.tables[title],))


def dot_figure(
    rows: Sequence[tuple[str, str, float, float | None, float | None]],
    path: Path,
    *,
    theme: Theme = LIGHT,
) -> None:
    """A panel for every metric, a line for every method, on it a dot and its interval.

    Rows are (method, metric, value, low, high).
    """
    methods = list(dict.fromkeys(row[0] for row in rows))
    metrics = list(dict.fromkeys(row[1] for row in rows))
    columns = min(4, len(metrics))
    lines = -(-len(metrics) // columns)
    inches = (4.4 * columns, lines * (1.3 + 0.34 * len(methods)))
    with canvas(path, theme, columns, inches, rows=lines) as axes:
        for panel, metric in zip(axes, metrics, strict=False):
            measured = {
                method: (value, low, high)
                for method, name, value, low, high in rows
                if name == metric
            }
            for line, method in enumerate(reversed(methods)):
                if method not in measured:
                    continue
                value, low, high = measured[method]
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
            values = [value for value, _, _ in measured.values()]
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
