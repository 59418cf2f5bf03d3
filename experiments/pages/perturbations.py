"""The layout of the perturbation study: the trade-off, then one experiment after the other."""

from pathlib import Path

import numpy as np

from ddib_jax.report import Picture, Section, contact_sheet
from ddib_jax.report.contents import array_of, arrays_of, table_of
from ddib_jax.report.style import in_both_themes
from ddib_jax.runs import Run
from pages.trade_off import equivariance_figure, trade_off_figure

COLUMNS = 12
WAYS = {
    "ddib": "DDIB: fives encode, sevens decode",
    "single": "Single model: sevens encode and decode",
}
"""The two ways from a five to a seven; their keys name tables and arrays."""


def layout(run: Run, figures: Path) -> list[Section]:
    """The sections of the perturbation study: findings, trade-off, experiments, equivariance.

    The run holds `source` [n h w 3]; for every row (slug, title, words) of its table `experiments`
    and both ways the images `WAY/slug` [k n h w 3] and the table `WAY/slug`, whose first column is
    the coefficient. Its table `points` has rows (way, slug, coefficient, proportion called the
    target, median hue error). `equivariance` [3 k] holds angles and two distances, `turned` and
    `expected` [n h w 3] the images. Its text `found` opens the page, a text named as a slug opens
    its section.

    Raises:
        ValueError: a table or an array of these is missing.
    """
    rows = table_of(run, "experiments").rows
    best = (run.tables["best"],) if "best" in run.tables else ()
    return [
        Section("What was found", run.texts.get("found", ""), tables=best),
        Section("Digit against colour", TRADE_OFF, (_trade_off(run, figures),)),
        *(_experiment(run, figures, *row) for row in rows),
        Section(
            "Equivariance to rotation",
            run.texts.get("equivariance", ""),
            tuple(_equivariance(run, figures)),
        ),
    ]


TRADE_OFF = (
    "Each dot is one coefficient of one experiment. To the left the colour is kept, above the digit"
    " has become a seven; the shaded corner is 90 % sevens within 20°. Named are dots that no other"
    " beats in both."
)


def _trade_off(run: Run, figures: Path) -> Picture:
    points, panels = table_of(run, "points").rows, {}
    # Without the numbers of the experiments, which lead their titles.
    names = {slug: title.partition(" ")[2] for slug, title, *_ in table_of(run, "experiments").rows}
    for way, title in WAYS.items():
        rows = [row for row in points if row[0] == way]
        # Conversion to float makes a None, not measured, a NaN.
        proportion, hue = (np.asarray([row[column] for row in rows], float) for column in (3, 4))
        panels[title] = (hue, proportion, [f"{names[row[1]]}, {row[2]:g}" for row in rows])
    return in_both_themes(
        lambda path, theme: trade_off_figure(panels, path, theme=theme),
        figures / "trade-off.png",
        "Share called seven against the median hue error, over all experiments and coefficients.",
    )


def _experiment(run: Run, figures: Path, slug: str, title: str, words: str) -> Section:
    pictures, tables = [], []
    for way, name in WAYS.items():
        table = table_of(run, f"{way}/{slug}")
        images = array_of(run, f"{way}/{slug}")[:, :COLUMNS]
        rows = {"source": array_of(run, "source")[:COLUMNS]}
        rows |= {str(row[0]): part for row, part in zip(table.rows, images, strict=True)}
        sheet = contact_sheet(rows, figures / f"{slug}-{way}.png", scale=2)
        pictures.append(Picture(sheet, name, wide=True))
        tables.append(table)
    paragraphs = [part for part in (words, run.texts.get(slug, "")) if part]
    return Section(title, "\n\n".join(paragraphs), tuple(pictures), tuple(tables))


def _equivariance(run: Run, figures: Path) -> list[Picture]:
    angles, turned, unturned = array_of(run, "equivariance")
    after, before = arrays_of(run, ("expected", "turned"))
    rows = {"rotate(decode(z))": after[:COLUMNS], "decode(rotate(z))": before[:COLUMNS]}
    sheet = contact_sheet(rows, figures / "equivariance-sheet.png", scale=2)
    curve = in_both_themes(
        lambda path, theme: equivariance_figure(angles, turned, unturned, path, theme=theme),
        figures / "equivariance.png",
        "Relative RMSE, background counted as 0: 0 is full equivariance; the grey line is what"
        " decoding the unturned latent gives.",
    )
    return [Picture(sheet, "Both orders, at the second angle.", wide=True), curve]
