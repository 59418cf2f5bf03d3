"""One self-contained HTML page: sections of words, pictures and tables, nothing fetched from
anywhere.
"""

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from ddib_jax.report.style import Picture
from ddib_jax.report.tables import html_metrics, html_table, outcome, target_text, value_text
from ddib_jax.runs import MetricRow, Run, Table

TILES = 4


@dataclass(frozen=True)
class Section:
    """A part of a page: a heading, paragraphs (parted by empty lines), then pictures,
    then tables.
    """

    heading: str
    text: str = ""
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    metrics: bool = False


def _inline(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _paragraphs(text: str) -> str:
    return "\n".join(
        f"<p>{escape(part.strip())}</p>" for part in text.split("\n\n") if part.strip()
    )


def _picture(picture: Picture) -> str:
    words = escape(picture.caption, quote=True)
    dark = (
        f'<source media="(prefers-color-scheme: dark)" srcset="{_inline(picture.dark)}">'
        if picture.dark
        else ""
    )
    image = f'<picture>{dark}<img alt="{words}" src="{_inline(picture.path)}"></picture>'
    caption = f"<figcaption>{words}</figcaption>" if words else ""
    return (
        "<figure><div"
        f' class="frame{" wide" if picture.wide else ""}">{image}</div>{caption}</figure>'
    )


def _tile(row: MetricRow) -> str:
    value, interval = value_text(row)
    words = outcome(row)
    badge = f'<span class="{words.replace(" ", "-")}">{words}</span>' if words else ""
    wanted = " · ".join(
        part for part in (interval, f"wanted {target_text(row)}".replace(" ", "\u00a0")) if part
    )
    figure = f"<p><b>{escape(value)}</b>{badge}</p>"
    return (
        "<div"
        f' class="tile">{figure}<span>{escape(row.label)}</span><small>{escape(wanted)}</small></div>'
    )


def _section(section: Section, run: Run) -> str:
    tables = [html_metrics(run)] if section.metrics else []
    tables += [html_table(table) for table in section.tables]
    parts = [
        f"<h2>{escape(section.heading)}</h2>",
        _paragraphs(section.text),
        *(_picture(picture) for picture in section.pictures),
        *(f'<div class="scroll">{table}</div>' for table in tables),
    ]
    return "<section>\n" + "\n".join(part for part in parts if part) + "\n</section>"


def _entries(entries: dict[str, str]) -> str:
    return (
        "<dl>"
        + "".join(
            f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in entries.items()
        )
        + "</dl>"
    )


def _colophon(run: Run) -> str:
    minutes, seconds = divmod(round(run.seconds), 60)
    made = {
        "Started": run.started,
        "Finished": run.finished,
        "Took": f"{minutes} min {seconds} s" if minutes else f"{seconds} s",
        **{str(key).capitalize(): str(value) for key, value in run.machine.items()},
        "Versions": ", ".join(f"{name} {version}" for name, version in run.versions.items()),
    }
    settings = _entries({str(key): str(value) for key, value in run.config.items()})
    return (
        f"<section>\n<h2>How it was made</h2>\n<pre>{escape(run.command)}</pre>\n{_entries(made)}\n"
        f"<details><summary>All settings</summary>{settings}</details>\n</section>"
    )


def write_page(run: Run, sections: Sequence[Section], path: Path) -> Path:
    """Write the page of a run: title, lead (its text "summary"), tiles of the aims, the sections,
    and how it was made.

    Pictures are inlined in base64, a dark twin shown where the reader prefers dark; the file refers
    to nothing outside itself.

    Raises:
        FileNotFoundError: a picture of a section is not on disk.
    """
    here = resources.files("ddib_jax.report")
    aims = [row for row in run.metrics if isinstance(row.target, int | float)][:TILES]
    page = Template(here.joinpath("page.html").read_text("utf-8")).substitute(
        title=escape(run.title),
        style=here.joinpath("page.css").read_text("utf-8"),
        eyebrow=escape(f"{run.name.replace('_', ' ')} · {run.finished[:10]}"),
        lead=_paragraphs(run.texts.get("summary", "")),
        tiles=f'<div class="tiles">{"".join(_tile(row) for row in aims)}</div>' if aims else "",
        sections="\n".join([*(_section(section, run) for section in sections), _colophon(run)]),
    )
    draft = path.with_name(f".{path.name}")
    draft.write_text(page, "utf-8")
    os.replace(draft, path)
    return path
