"""From a run on disk to figures and one HTML page; no jax, so that any machine can do it."""

import os
from pathlib import Path

from ddib_jax.report.layouts import LAYOUTS, Layout, plain, remaining
from ddib_jax.report.page import Section, write_page
from ddib_jax.report.sheets import contact_sheet, gallery
from ddib_jax.report.style import Picture
from ddib_jax.report.tables import markdown_table, text_table
from ddib_jax.runs import read_run


def write_report(directory: str | os.PathLike[str], *, layout: Layout | None = None) -> Path:
    """Draw the figures of the run in `directory`, and write its page, `index.html`.

    `layout` makes the page's sections, by default that of the run's name in `LAYOUTS`, or `plain`.
    The figures lie in the folder `figures`. Returns the page's path; the page holds every picture
    inside itself and opens offline.

    Raises:
        FileNotFoundError: there is no run in the directory.
        ValueError: the run is truncated, or lacks an array that its layout draws.
    """
    run, home = read_run(directory), Path(directory)
    layout = layout or LAYOUTS.get(run.name, plain)
    return write_page(run, layout(run, home / "figures"), home / "index.html")


__all__ = [
    "LAYOUTS",
    "Layout",
    "Picture",
    "Section",
    "contact_sheet",
    "gallery",
    "markdown_table",
    "plain",
    "remaining",
    "text_table",
    "write_page",
    "write_report",
]
