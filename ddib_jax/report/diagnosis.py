"""The layouts of a diagnosis and of the inversion study."""

from pathlib import Path

from ddib_jax.report.contents import arrays_of, table_of
from ddib_jax.report.curves import Curve, error_figure
from ddib_jax.report.page import Section
from ddib_jax.report.sheets import contact_sheet, latent_images
from ddib_jax.report.style import Picture, in_both_themes
from ddib_jax.runs import Run, Table

COLUMNS = 12


def diagnosis(run: Run, figures: Path) -> list[Section]:
    """The sections of a diagnosis: conclusion, checks of the model, round trips, cost, directory.

    The run holds the tables `checks`, `round_trips` (solver, with_aux, steps, evaluations, error,
    ...), `model` and `cost`, the arrays `images`, `samples` and `latents`, all [n h w c], and the
    texts `conclusion` and `recommended`.

    Raises:
        ValueError: a table or an array of these is missing.
    """
    images, samples, latents = arrays_of(run, ("images", "samples", "latents"))
    rows = {
        "image": images[:COLUMNS],
        "its latent": latent_images(latents[:COLUMNS]),
        "sample": samples[:COLUMNS],
    }
    sheet = Picture(
        contact_sheet(rows, figures / "images.png"),
        "Images of the domain, their latents (from -3 to 3), and samples of the model.",
        wide=True,
    )
    return [
        Section("Conclusion", run.texts.get("conclusion", "")),
        Section(
            "Is the model good enough to bridge?",
            "A latent of a good model is white Gaussian noise, and what it makes of such noise"
            " looks like its images. A round trip says nothing about that.",
            (sheet,),
            (table_of(run, "checks"),),
        ),
        Section(
            "Does the image come back?",
            run.texts.get("recommended", ""),
            (_round_trip_figure(run, figures),),
            (table_of(run, "round_trips"),),
        ),
        Section("What it costs", "", tables=(table_of(run, "cost"),)),
        Section("What the directory holds", "", tables=(table_of(run, "model"),)),
    ]


def _round_trip_figure(run: Run, figures: Path) -> Picture:
    without, kept = "No auxiliary state", "With the auxiliary state of a reversible solver"
    panels: dict[str, dict[str, tuple[list, list]]] = {without: {}, kept: {}}
    for solver, with_aux, _, evaluations, error, *_ in table_of(run, "round_trips").rows:
        curves = panels[kept if with_aux == "yes" else without]
        curve = curves.setdefault(solver, ([], []))
        curve[0].append(evaluations)
        curve[1].append(error)
    panels = {title: curves for title, curves in panels.items() if curves}
    return in_both_themes(
        lambda path, theme: error_figure(
            panels,
            path,
            ylabel="relative RMSE of encode → decode",
            level=run.config.get("error"),
            theme=theme,
        ),
        figures / "round-trips.png",
        "Error of encode → decode against network evaluations each way; dotted, the wanted error.",
    )


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


def inversion(run: Run, figures: Path) -> list[Section]:
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
