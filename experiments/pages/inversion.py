"""The page of the inversion study: for every setting the curves of its quantities, a table."""

from pathlib import Path

from ddib_jax.report import Picture, Section
from ddib_jax.report.curves import Curve, error_figure
from ddib_jax.report.style import in_both_themes
from ddib_jax.runs import Run, Table

QUANTITIES = {
    "round_trip": ("Encode → decode, no auxiliary state", "relative RMSE"),
    "with_aux": ("Encode → decode with the auxiliary state", "relative RMSE"),
    "latent": ("Latent against the adaptive reference", "relative RMSE"),
    "translation": ("Translation against the adaptive reference", "RMSE"),
    "handed": (
        "Translation with the source's auxiliary state handed on, against the adaptive reference",
        "RMSE",
    ),
    "cycle": ("Source → target → source, no auxiliary state", "relative RMSE"),
    "cycle_with_aux": ("Source → target → source, both auxiliary states", "relative RMSE"),
    "seconds": ("Wall time, one way", "seconds an image"),
}
"""Column of the study's table -> what it is, and its unit."""


def layout(run: Run, figures: Path) -> list[Section]:
    """The sections of the inversion study: for every setting the curves of its quantities, a table.

    The run's tables are named by setting; of their columns `family`, `solver`, `evaluations` and
    those of `QUANTITIES` are drawn, None where a quantity does not apply and a word where it
    overflowed. Texts named as a setting open its section.
    """
    sections = []
    for setting, table in run.tables.items():
        pictures = [
            _study_figure(table, name, figures / f"{setting}-{name}.png")
            for name in QUANTITIES
            if _is_measured(table, name)
        ]
        sections.append(
            Section(table.caption, run.texts.get(setting, ""), tuple(pictures), (table,))
        )
    return sections


def _is_measured(table: Table, quantity: str) -> bool:
    if quantity not in table.columns or "family" not in table.columns:
        return False
    column = table.columns.index(quantity)
    return any(row[column] is not None for row in table.rows)


def _study_figure(table: Table, quantity: str, path: Path) -> Picture:
    title, unit = QUANTITIES[quantity]
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    rows = [row for row in rows if row[quantity] is not None]

    def curve(solver: str) -> Curve:
        own = [row for row in rows if row["solver"] == solver]
        errors = [row[quantity] for row in own]
        # Words stand for an overflow.
        errors = [error if isinstance(error, int | float) else float("inf") for error in errors]
        return [row["evaluations"] for row in own], errors

    panels: dict[str, dict[str, Curve]] = {}
    for row in rows:
        if row["solver"] != "ddim":
            panels.setdefault(row["family"], {})[row["solver"]] = curve(row["solver"])
    reference = ("ddim", curve("ddim")) if any(row["solver"] == "ddim" for row in rows) else None
    draw = lambda path, theme: error_figure(
        panels,
        path,
        ylabel=unit,
        reference=reference,
        unbounded=quantity == "seconds",
        theme=theme,
    )
    return in_both_themes(draw, path, f"{title}, {unit}, against network evaluations each way.")
