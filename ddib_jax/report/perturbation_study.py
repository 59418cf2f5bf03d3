"""The layout of the perturbation study: the trade-off, then an experiment after the other."""

from pathlib import Path

import numpy as np

from ddib_jax.report.page import Section
from ddib_jax.report.sheets import contact_sheet
from ddib_jax.report.style import Picture, in_both_themes
from ddib_jax.report.trade_off import equivariance_figure, trade_off_figure
from ddib_jax.runs import Run, Table

COLUMNS = 12
WAYS = {
    "ddib": "DDIB: fives encode, sevens decode",
    "single": "Single model: sevens encode and decode",
}


def perturbations(run: Run, figures: Path) -> list[Section]:
    """The sections of the perturbation study: what was found, the trade-off, every experiment in
    both ways, equivariance.

    The run holds `source` [n h w 3]; for every row (slug, title, words) of its table `experiments`
    and both ways the images `WAY/slug` [k n h w 3] and the table `WAY/slug`, whose first column is
    the coefficient; its table `points` has rows (way, slug, coefficient, share called the target,
    median hue error). `equivariance` [3 k] holds angles and two distances, and the images `turned`
    and `expected` [n h w 3]. Its text `found` opens the page, a text named as a slug opens its
    section.

    Raises:
        ValueError: a table or an array of these is missing.
    """
    rows = _table(run, "experiments").rows
    return [
        Section(
            "What was found",
            run.texts.get("found", ""),
            tables=tuple(t for n, t in run.tables.items() if n == "best"),
        ),
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


def _table(run: Run, name: str) -> Table:
    if name not in run.tables:
        raise ValueError(
            f"The run '{run.name}' has no table '{name}', which its report needs; run the study"
            " again."
        )
    return run.tables[name]


def _images(run: Run, name: str) -> np.ndarray:
    if name not in run.arrays:
        raise ValueError(
            f"The run '{run.name}' has no array '{name}', which its report draws; run the study"
            " again."
        )
    return run.arrays[name]


def _trade_off(run: Run, figures: Path) -> Picture:
    points, panels = _table(run, "points").rows, {}
    for way, title in WAYS.items():
        chosen = [row for row in points if row[0] == way]
        hue, share = (
            np.asarray([np.nan if row[i] is None else row[i] for row in chosen], float)
            for i in (4, 3)
        )
        panels[title] = (hue, share, [f"{row[1]} {row[2]:g}" for row in chosen])
    words = (
        "Share called seven against the median hue error, over all experiments and coefficients."
    )
    return in_both_themes(
        lambda path, theme: trade_off_figure(panels, path, theme), figures / "trade-off.png", words
    )


def _experiment(run: Run, figures: Path, slug: str, title: str, words: str) -> Section:
    pictures, tables = [], []
    for way, name in WAYS.items():
        table = _table(run, f"{way}/{slug}")
        images = _images(run, f"{way}/{slug}")[:, :COLUMNS]
        rows = {"source": _images(run, "source")[:COLUMNS]}
        rows |= {str(row[0]): part for row, part in zip(table.rows, images, strict=True)}
        pictures.append(
            Picture(contact_sheet(rows, figures / f"{slug}-{way}.png", scale=2), name, wide=True)
        )
        tables.append(table)
    return Section(
        title,
        "\n\n".join(part for part in (words, run.texts.get(slug, "")) if part),
        tuple(pictures),
        tuple(tables),
    )


def _equivariance(run: Run, figures: Path) -> list[Picture]:
    angles, turned, unturned = _images(run, "equivariance")
    rows = {name: _images(run, name)[:COLUMNS] for name in ("expected", "turned")}
    labels = {"expected": "rotate(decode(z))", "turned": "decode(rotate(z))"}
    sheet = contact_sheet(
        {labels[name]: part for name, part in rows.items()},
        figures / "equivariance-sheet.png",
        scale=2,
    )
    curve = in_both_themes(
        lambda path, theme: equivariance_figure(angles, turned, unturned, path, theme),
        figures / "equivariance.png",
        "Relative RMSE, background counted as 0: 0 is full equivariance; the grey line is what"
        " decoding the unturned latent gives.",
    )
    return [Picture(sheet, "Both orders, at the second angle.", wide=True), curve]
