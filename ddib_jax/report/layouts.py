"""The layouts of runs: the sections of a run's page, and the figures that they draw."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from ddib_jax.report.diagnosis import diagnosis
from ddib_jax.report.evaluation import evaluation
from ddib_jax.report.page import Section, in_words
from ddib_jax.report.sheets import contact_sheet
from ddib_jax.report.style import Picture
from ddib_jax.report.work import samples, sweep, translation
from ddib_jax.runs import Run

COLUMNS = 16

Layout = Callable[[Run, Path], list[Section]]
"""(run, folder of figures) -> sections; figures are written as PNGs."""


def plain(run: Run, figures: Path) -> list[Section]:
    """The sections of any other run: a sheet of its images, its metrics, its tables and words.

    Every array [n h w 1 or 3] of uint8 that is as large as the first such array is a row of the
    sheet.
    """
    images = {
        name: a for name, a in run.arrays.items() if a.ndim == 4 and a.dtype == np.uint8 and len(a)
    }
    shapes = [array.shape[1:] for array in images.values()]
    rows = {
        name.replace("_", " "): array[:COLUMNS]
        for name, array in images.items()
        if array.shape[1:] == shapes[0]
    }
    count = min((len(array) for array in rows.values()), default=0)
    rows = {name: array[:count] for name, array in rows.items()}
    sections = []
    if rows:
        sheet = Picture(contact_sheet(rows, figures / "images.png"), wide=True)
        sections.append(Section("Images", "", (sheet,)))
    if run.metrics:
        sections.append(Section("Measured", "", metrics=True))
    return sections + remaining(run)


def remaining(run: Run, *, used: Collection[str] = ()) -> list[Section]:
    """A section for every table of a run, then one for every text but its summary and `used`."""
    words = [
        Section(in_words(heading), text)
        for heading, text in run.texts.items()
        if heading not in ("summary", *used)
    ]
    tables = [Section(in_words(name), tables=(table,)) for name, table in run.tables.items()]
    return [*tables, *words]


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "diagnosis": diagnosis,
        "evaluation": evaluation,
        "translation": translation,
        "samples": samples,
        "sweep": sweep,
    }
)
"""The layout of a run by its name; a run of another name is laid out plainly."""
