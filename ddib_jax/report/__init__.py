"""From a run on disk to figures and one HTML page; no jax, so that any machine can do it."""

import os
from pathlib import Path

from ddib_jax.report.explorer import EXPLORER, write_explorer
from ddib_jax.report.layouts import LAYOUTS, Layout, plain, remaining
from ddib_jax.report.page import Section, write_page
from ddib_jax.report.sheets import contact_sheet, gallery
from ddib_jax.report.style import Picture
from ddib_jax.report.tables import markdown_table, text_table
from ddib_jax.runs import find_run, read_run


def write_report(directory: str | os.PathLike[str], *, layout: Layout | None = None) -> Path:
    """Draw the figures of the run that `directory` is or holds, and write its page, `index.html`.

    `layout` makes the page's sections, by default that of the run's name in `LAYOUTS`, or `plain`.
    Page and figures, in the folder `figures`, lie in the run's own directory; beside the page of a
    sweep lies its explorer. Returns the page's path; the page holds every picture inside itself and
    opens offline.

    Raises:
        FileNotFoundError: there is no run in the directory.
        ValueError: the run is truncated, or lacks an array that its layout draws.
    """
    home = find_run(directory)
    run = read_run(home)
    if run.name == "sweep":
        write_explorer(run, home / EXPLORER)
    layout = layout or LAYOUTS.get(run.name, plain)
    return write_page(run, layout(run, home / "figures"), home / "index.html")


__all__ = [
    "EXPLORER",
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
    "write_explorer",
    "write_page",
    "write_report",
]
