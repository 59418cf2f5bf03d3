"""The layouts of the doctor's page and of the inversion study."""

from pathlib import Path

from ddib_jax.report.curves import Curve, error_figure
from ddib_jax.report.page import Section
from ddib_jax.report.sheets import contact_sheet, latent_images
from ddib_jax.report.style import Picture, in_both_themes
from ddib_jax.runs import Run, Table

COLUMNS = 12


def diagnosis(run: Run, figures: Path) -> list[Section]:
    """The sections of a diagnosis: conclusion, checks with what the model sees and makes, round trips,
    cost, what the directory holds.

    The run holds the tables `checks`, `round_trips` (solver, carried, steps, evaluations, error,
    ...), `model` and `cost`, the images `images`, `samples` [n h w c] and `latents` [n h w c], and
    the texts `conclusion` and `recommended`.

    Raises:
        ValueError: a table or an array of these is missing.
    """
    images, samples, latents = (_array(run, name) for name in ("images", "samples", "latents"))
    rows = {
        "image": images[:COLUMNS],
        "its latent": latent_images(latents[:COLUMNS]),
        "sample": samples[:COLUMNS],
    }
    sheet = contact_sheet(rows, figures / "images.png")
    return [
        Section("Conclusion", run.texts.get("conclusion", "")),
        Section(
            "Is the model good enough to bridge?",
            "A latent of a good model is white Gaussian noise, and what it makes of such noise"
            " looks like its images. A round trip says nothing about that.",
            (
                Picture(
                    sheet,
                    "Images of the domain, their latents (from -3 to 3), and samples of the model.",
                    wide=True,
                ),
            ),
            (_table(run, "checks"),),
        ),
        Section(
            "Does the image come back?",
            run.texts.get("recommended", ""),
            (_round_trip_figure(run, figures),),
            (_table(run, "round_trips"),),
        ),
        Section("What it costs", "", tables=(_table(run, "cost"),)),
        Section("What the directory holds", "", tables=(_table(run, "model"),)),
    ]


def _round_trip_figure(run: Run, figures: Path) -> Picture:
    panels: dict[str, dict[str, Curve]] = {
        "Nothing carried": {},
        "With the carry of a reversible solver": {},
    }
    for solver, carried, _, evaluations, error, *_ in _table(run, "round_trips").rows:
        curve = panels[list(panels)[carried == "yes"]].setdefault(solver, ([], []))
        curve[0].append(evaluations)
        curve[1].append(error)
    panels = {title: curves for title, curves in panels.items() if curves}
    return in_both_themes(
        lambda path, theme: error_figure(
            panels,
            path,
            theme,
            ylabel="relative RMSE of encode → decode",
            wanted=run.config.get("error"),
        ),
        figures / "round-trips.png",
        "Error of encode → decode against network evaluations each way; dotted, the wanted error.",
    )


QUANTITIES = {
    "round_trip": ("Encode → decode, nothing carried", "relative RMSE"),
    "carried": ("Encode → decode with the carry", "relative RMSE"),
    "latent": ("Latent against the adaptive reference", "relative RMSE"),
    "translation": ("Translation against the adaptive reference", "RMSE"),
    "handed": (
        "Translation with the source's second state handed on, against the adaptive reference",
        "RMSE",
    ),
    "cycle": ("Source → target → source, nothing carried", "relative RMSE"),
    "cycle_carried": ("Source → target → source, both carries kept", "relative RMSE"),
    "seconds": ("Wall time of one leg", "seconds an image"),
}
"""Column of the study's table -> what it is, and its unit."""


def inversion(run: Run, figures: Path) -> list[Section]:
    """The sections of the inversion study: what was found, then for every setting the curves of
    every quantity and its table.

    The run's tables are named by setting; of their columns `family`, `solver`, `evaluations` and
    those of `QUANTITIES` are drawn, None where a quantity does not apply and a word where it
    overflowed. Texts named as a setting open its section.
    """
    sections = []
    for setting, table in run.tables.items():
        pictures = [
            _study_figure(table, name, figures / f"{setting}-{name}.png")
            for name in QUANTITIES
            if _known(table, name)
        ]
        sections.append(
            Section(table.caption, run.texts.get(setting, ""), tuple(pictures), (table,))
        )
    return sections


def _known(table: Table, quantity: str) -> bool:
    if quantity not in table.columns or "family" not in table.columns:
        return False
    place = table.columns.index(quantity)
    return any(row[place] is not None for row in table.rows)


def _study_figure(table: Table, quantity: str, path: Path) -> Picture:
    title, unit = QUANTITIES[quantity]
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    rows = [row for row in rows if row[quantity] is not None]

    def curve(solver: str) -> Curve:
        points = [(row["evaluations"], row[quantity]) for row in rows if row["solver"] == solver]
        return [at for at, _ in points], [
            error if isinstance(error, int | float) else float("inf") for _, error in points
        ]

    panels: dict[str, dict[str, Curve]] = {}
    for row in rows:
        if row["solver"] != "ddim":
            panels.setdefault(row["family"], {})[row["solver"]] = curve(row["solver"])
    reference = ("ddim", curve("ddim")) if any(row["solver"] == "ddim" for row in rows) else None
    draw = lambda path, theme: error_figure(
        panels, path, theme, ylabel=unit, reference=reference, rising=quantity == "seconds"
    )
    return in_both_themes(draw, path, f"{title}, {unit}, against network evaluations a leg.")


def _table(run: Run, name: str) -> Table:
    if name not in run.tables:
        raise ValueError(
            f"The run '{run.name}' has no table '{name}', which its report needs; run it again."
        )
    return run.tables[name]


def _array(run: Run, name: str):
    if name not in run.arrays:
        raise ValueError(
            f"The run '{run.name}' has no array '{name}', which its report draws; run it again."
        )
    return run.arrays[name]
