"""The layout of an evaluation: scores, and the worst and best pairs with maps of their errors."""

from pathlib import Path

import matplotlib
import numpy as np
from jaxtyping import Float, UInt8

from ddib_jax.report.contents import arrays_of, table_of
from ddib_jax.report.page import Section
from ddib_jax.report.sheets import contact_sheet
from ddib_jax.report.style import Picture
from ddib_jax.runs import Run, Table

_SHOWN = 50
"""Lines of the table of pairs on a page."""


def evaluation(run: Run, figures: Path) -> list[Section]:
    """The sections of an evaluation: the scores, the worst and the best pairs, values of pairs.

    The run holds the table `scores`; of pairs also the table `images`, the texts `ranking` and
    `data_range`, and by the prefixes "worst" and "best" the arrays `_result`, `_reference`
    [n h w c], `_error` [n h w 1], `_names` and `_values` [n]. Without pairs it holds `results` and
    `references` [n h w c].

    Raises:
        ValueError: one of these is missing.
    """
    words = (
        "Each figure has its 95 % interval: for means over pairs and for proportions that of other"
        " pairs of the same kind (bootstrap, Wilson), for distances between sets that of other sets"
        " of this size (delete-a-group jackknife)."
    )
    scores = Section("Scores", words, metrics=True)
    if "images" not in run.tables:
        sheets = []
        for name in ("results", "references"):
            path = contact_sheet({name: arrays_of(run, [name])[0]}, figures / f"{name}.png")
            sheets.append(Picture(path, wide=True))
        return [scores, Section("The first pictures of both sets", pictures=tuple(sheets))]
    ranking = run.texts.get("ranking", "")
    top = _highest(run)
    sections = [scores]
    for kind in ("worst", "best"):
        words = (
            f"The {kind} pairs by {ranking}, which is the figure below each. The map is the mean"
            f" absolute error of every pixel over its channels, from 0 (black) to {top:.3g}"
            f" (white) of a range of {run.texts.get('data_range', '')}."
        )
        sheet = _cases(run, kind, top, figures / f"{kind}.png")
        sections.append(Section(f"The {kind} pairs", words, (sheet,)))
    return [*sections, _images(run)]


def _highest(run: Run) -> float:
    """The error that is white: the 99.5th percentile of the worst pairs'."""
    (errors,) = arrays_of(run, ["worst_error"])
    return max(float(np.quantile(errors, 0.995)), 1e-6)


def _cases(run: Run, kind: str, top: float, path: Path) -> Picture:
    result, reference, error, names, values = arrays_of(
        run, [f"{kind}_{part}" for part in ("result", "reference", "error", "names", "values")]
    )
    rows = {"result": result, "reference": reference, "error": error_map(error, top)}
    captions = [f"{_short(str(name))}\n{value}" for name, value in zip(names, values, strict=True)]
    return Picture(contact_sheet(rows, path, captions=captions), wide=True)


def error_map(
    error: Float[np.ndarray, "n h w 1"], top: float, *, palette: str = "inferno"
) -> UInt8[np.ndarray, "n h w 3"]:
    """Maps of errors in the colours of one of matplotlib's palettes, from 0 up to `top`."""
    colours = matplotlib.colormaps[palette](np.clip(error[..., 0] / top, 0, 1))
    return (255 * colours[..., :3]).round().astype(np.uint8)


def _images(run: Run) -> Section:
    table = table_of(run, "images")
    more = len(table.rows) - _SHOWN
    words = f"The first {_SHOWN} of {len(table.rows)}." if more > 0 else ""
    words += " `tables/images.csv` in the run's directory has them all."
    shown = Table(table.columns, table.rows[:_SHOWN], table.caption)
    return Section("Every pair", words.strip(), tables=(shown,))


def _short(name: str) -> str:
    return name if len(name) <= 12 else f"{name[:5]}…{name[-6:]}"
