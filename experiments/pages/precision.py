"""The page of the study of precisions: the round trips as curves, then its tables."""

from pathlib import Path

from ddib_jax.report import Section, remaining
from ddib_jax.report.curves import error_figure
from ddib_jax.report.style import Theme, in_both_themes
from ddib_jax.runs import Run, Table

PRECISIONS = ("float32", "tf32", "bfloat16")
SOLVERS = "solvers"
"""The table whose rows begin with solver, precision, steps, evaluations and round trip."""


def layout(run: Run, figures: Path) -> list[Section]:
    """The figure of the solvers, where they were measured, and every table of the run."""
    if SOLVERS not in run.tables:
        return remaining(run)
    picture = in_both_themes(
        lambda path, theme: _draw(run.tables[SOLVERS], path, theme=theme),
        figures / "precision.png",
        "Error of encode → decode against network evaluations each way.",
    )
    return [Section("Round trips", "", (picture,)), *remaining(run)]


def _draw(table: Table, path: Path, *, theme: Theme) -> None:
    """The round trips, a panel for each precision; what lost no bit lies on the lower edge."""
    panels: dict[str, dict[str, tuple[list, list]]] = {name: {} for name in PRECISIONS}
    for row in table.rows:
        name, precision, _, evaluations, error = row[:5]
        if name != "dpmpp-2m":
            curve = panels[precision].setdefault(name, ([], []))
            curve[0].append(evaluations)
            curve[1].append(error)
    label = "relative RMSE of encode → decode (1e-8: not a bit lost)"
    error_figure(panels, path, ylabel=label, legends="upper right", theme=theme)
