"""One self-contained HTML page of words, pictures and tables; it fetches nothing."""

import base64
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from ddib_jax.report.style import Picture
from ddib_jax.report.tables import html_badge, html_metrics, html_table, target_text, value_text
from ddib_jax.runs import MetricRow, Run, Table

TILES = 4
_NOTHING = "–"
_CODE = r"<code>\1</code>"


@dataclass(frozen=True)
class Section:
    """A part of a page: heading, paragraphs (parted by empty lines), pictures, tables.

    With `metrics` the run's metrics are the first table. `html`, which stands before the pictures,
    is that of a widget (`report.widgets`), and is not escaped.
    """

    heading: str
    text: str = ""
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    metrics: bool = False
    html: str = ""


def _inline(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _paragraphs(text: str) -> str:
    """Paragraphs of a text, in which what stands in `backquotes` is code."""
    parts = [escape(part.strip()) for part in text.split("\n\n") if part.strip()]
    return "\n".join(f"<p>{re.sub('`([^`]+)`', _CODE, part)}</p>" for part in parts)


def _picture(picture: Picture) -> str:
    words = escape(picture.caption, quote=True)
    dark = ""
    if picture.dark:
        source = _inline(picture.dark)
        dark = f'<source media="(prefers-color-scheme: dark)" srcset="{source}">'
    image = f'<picture>{dark}<img alt="{words}" src="{_inline(picture.path)}"></picture>'
    frame = "frame wide" if picture.wide else "frame"
    caption = f"<figcaption>{words}</figcaption>" if words else ""
    return f'<figure><div class="{frame}">{image}</div>{caption}</figure>'


def _tile(row: MetricRow) -> str:
    """A target's box at the head of the page: the value, whether it was reached, the interval."""
    value, interval = value_text(row)
    target = f"wanted {target_text(row)}".replace(" ", "\u00a0")
    small = " · ".join(part for part in (interval, target) if part)
    label = f"{row.label}, {row.variant}" if row.variant else row.label
    return (
        f'<div class="tile"><p><b>{escape(value)}</b>{html_badge(row)}</p>'
        f"<span>{escape(label)}</span><small>{escape(small)}</small></div>"
    )


def _section(section: Section, run: Run) -> str:
    tables = [html_metrics(run)] if section.metrics else []
    tables += [html_table(table) for table in section.tables]
    parts = [
        f"<h2>{escape(section.heading)}</h2>",
        _paragraphs(section.text),
        section.html,
        *(_picture(picture) for picture in section.pictures),
        *(f'<div class="scroll">{table}</div>' for table in tables),
    ]
    return "<section>\n" + "\n".join(part for part in parts if part) + "\n</section>"


def _entries(entries: dict[str, str]) -> str:
    items = [f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in entries.items()]
    return f"<dl>{''.join(items)}</dl>"


def in_words(name: str) -> str:
    """The name of an option, an array or a table as a reader wants it: "Batch size"."""
    if name == "cpus":
        return "CPUs"
    text = name.replace("_", " ").strip()
    return text[:1].upper() + text[1:]


def setting(value: Any) -> str:
    """The value of an option in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{in_words(key)}: {setting(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(setting, value)) or _NOTHING
    return _NOTHING if value is None or value == "" else str(value)


def _colophon(run: Run) -> str:
    minutes, seconds = divmod(round(run.seconds), 60)
    origin = {
        "Started": run.started,
        "Finished": run.finished,
        "Took": f"{minutes} min {seconds} s" if minutes else f"{seconds} s",
        **{in_words(key): setting(value) for key, value in run.machine.items()},
        "Versions": ", ".join(f"{name} {version}" for name, version in run.versions.items()),
    }
    settings = _entries({in_words(key): setting(value) for key, value in run.config.items()})
    return (
        f"<section>\n<h2>How it was made</h2>\n<pre>{escape(run.command)}</pre>\n"
        f"{_entries(origin)}\n"
        f"<details><summary>All settings</summary>{settings}</details>\n</section>"
    )


def write_page(run: Run, sections: Sequence[Section], path: Path) -> Path:
    """Write the page of a run; returns its path.

    It has a title, a lead (the run's text "summary"), the first targets as tiles, the sections, and
    how the run was made. Pictures are inlined in base64, dark ones for readers who prefer dark; the
    file refers to nothing outside itself, and has a script only where a section has a widget.

    Raises:
        FileNotFoundError: a picture of a section is not on disk.
    """
    assets = resources.files("ddib_jax.report")
    targets = [row for row in run.metrics if isinstance(row.target, int | float)][:TILES]
    tiles = "".join(_tile(row) for row in targets)
    read = lambda *names: "".join(assets.joinpath(name).read_text("utf-8") for name in names)
    widgets = any(section.html for section in sections)
    page = Template(read("page.html")).substitute(
        title=escape(run.title),
        style=read("page.css", *["widgets.css"] * widgets),
        eyebrow=escape(f"{run.name.replace('_', ' ')} · {run.finished[:10]}"),
        lead=_paragraphs(run.texts.get("summary", "")),
        tiles=f'<div class="tiles">{tiles}</div>' if tiles else "",
        sections="\n".join([*(_section(section, run) for section in sections), _colophon(run)]),
        script=f"<script>\n{read('widgets.js')}</script>\n" if widgets else "",
    )
    draft = path.with_name(f".{path.name}")
    draft.write_text(page, "utf-8")
    os.replace(draft, path)
    return path
