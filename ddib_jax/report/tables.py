"""The figures of a run as a table: for a page, for a README, for a terminal."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ddib_jax.runs import MetricRow, Run, Table

HEADS = ("Metric", "Value [95 % interval]", "Target", "")
_MISSING = "–"


def _decimals(row: MetricRow, factor: float) -> int:
    values = [abs(value) * factor for value in (row.value, row.low, row.high) if value is not None]
    if row.low is not None and row.high is not None and row.high > row.low:
        return max(0, 1 - math.floor(math.log10((row.high - row.low) * factor)))
    return max(0, 2 - math.floor(math.log10(max(values)))) if max(values) > 0 else 0


def number(value: Any) -> str:
    """A cell in words: three significant digits for a fraction, whole numbers whole, – for None."""
    if value is None:
        return _MISSING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or value.is_integer():
        return f"{value:.0f}"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
    return _scientific(value)


def _scientific(value: float) -> str:
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}" if value else "0"


def _with_unit(words: str, unit: str) -> str:
    return {"": words, "proportion": f"{words} %", "°": f"{words}°"}.get(unit, f"{words} {unit}")


def value_text(row: MetricRow) -> tuple[str, str]:
    """The value with its unit, and its interval in brackets or "".

    Both have as many digits as the interval's width deserves, and at most five significant ones.
    """
    if row.value is None:
        return "not measured", ""
    factor = 100.0 if row.unit == "proportion" else 1.0
    ends = [end for end in (row.low, row.high) if end is not None]
    values = [value * factor for value in (row.value, *ends)]
    largest = max(abs(value) for value in values)
    if 0 < largest < 1e-3:
        texts = [_scientific(value) for value in values]
    else:
        digits = _decimals(row, factor)
        if largest:
            digits = min(digits, max(0, 4 - math.floor(math.log10(largest))))
        texts = [f"{value:.{digits}f}" for value in values]
    return _with_unit(texts[0], row.unit), f"[{', '.join(texts[1:])}]" if len(ends) == 2 else ""


def target_text(row: MetricRow) -> str:
    """The target in words: "≥ 97 %", "≤ 15°", the run's own word, or ""."""
    if row.target is None or isinstance(row.target, str):
        return row.target or ""
    sign = {"higher": "≥ ", "lower": "≤ ", None: ""}[row.better]
    target = row.target * 100.0 if row.unit == "proportion" else row.target
    return sign + _with_unit(f"{target:g}", row.unit)


def outcome(row: MetricRow) -> str:
    """Whether the target was met: "met", "not met" or "undecided at n = N"; "" without a target.

    Met or not is said only where the whole 95 % interval lies on one side of the target; undecided
    where the target lies within it. N is the number of images, left out where the row has none.
    Without an interval the value decides.
    """
    if row.met() is None:
        return ""
    met = row.surely_met()
    if met is None:
        return "undecided" if row.n is None else f"undecided at n = {row.n}"
    return "met" if met else "not met"


def _cells(row: MetricRow) -> tuple[str, str, str, str]:
    label = f"{row.label}, {row.variant}" if row.variant else row.label
    return label, " ".join(value_text(row)).strip(), target_text(row), outcome(row)


def _markdown(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = []
    for row in (heads, ("---",) * len(heads), *rows):
        cells = [cell.replace("|", "\\|") for cell in row]
        lines.append(f"| {' | '.join(cells)} |\n")
    return "".join(lines)


def markdown_table(what: Run | Table, *, digits: int = 2) -> str:
    """A table, or the metrics of a run, in Markdown.

    A table's fractions have `digits` significant digits. The columns of metrics are metric, value
    with interval, target, and whether it was met.
    """
    if isinstance(what, Table):
        cell_text = lambda cell: f"{cell:.{digits}g}" if isinstance(cell, float) else number(cell)
        return _markdown(what.columns, [tuple(map(cell_text, row)) for row in what.rows])
    return _markdown(HEADS, [_cells(row) for row in what.metrics])


def text_table(run: Run) -> str:
    """The metrics of a run as aligned plain text for a terminal."""
    rows = [HEADS, *(_cells(row) for row in run.metrics)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    lines = []
    for row in (HEADS, tuple("─" * width for width in widths), *rows[1:]):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip() + "\n")
    return "".join(lines)


def html_badge(row: MetricRow) -> str:
    """The outcome of a target as a coloured label, or "" without a target."""
    words = outcome(row)
    kind = words.partition(" at ")[0].replace(" ", "-")
    return f'<span class="badge {kind}">{words}</span>' if words else ""


def html_metrics(run: Run) -> str:
    """The metrics of a run as an HTML table: groups below each other, variants side by side.

    Rows that differ in their variant alone are one line. A figure without a variant, in a run that
    has some, is of all of them and spans their columns. Notes stand below the labels.
    """
    variants = list(dict.fromkeys(row.variant for row in run.metrics if row.variant)) or [""]
    lines: dict[str, dict[str, dict[str, MetricRow]]] = {}
    for row in run.metrics:
        lines.setdefault(row.group, {}).setdefault(row.label, {})[row.variant] = row
    body = []
    for group, labels in lines.items():
        if group:
            wide = f'<th scope="colgroup" colspan="{len(variants) + 2}">{escape(group)}</th>'
            body.append(f'<tr class="group">{wide}</tr>')
        body += [_metric_line(label, rows, variants) for label, rows in labels.items()]
    columns = [variant or HEADS[1] for variant in variants]
    heads = "".join(
        f'<th scope="col">{escape(head)}</th>' for head in (HEADS[0], *columns, HEADS[2])
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _metric_line(label: str, rows: Mapping[str, MetricRow], variants: Sequence[str]) -> str:
    first = next(iter(rows.values()))
    note = f"<small>{escape(first.note)}</small>" if first.note else ""
    if "" in rows:
        cells = _value_cell(rows[""], span=len(variants))
    else:
        cells = "".join(_value_cell(rows.get(variant)) for variant in variants)
    target = next((text for row in rows.values() if (text := target_text(row))), "")
    head = f'<th scope="row">{escape(label)}{note}</th>'
    return f"<tr>{head}{cells}<td>{escape(target)}</td></tr>"


def _value_cell(row: MetricRow | None, *, span: int = 1) -> str:
    if row is None:
        return "<td></td>"
    value, interval = value_text(row)
    wide = f' colspan="{span}"' if span > 1 else ""
    small = f"<small>{escape(interval)}</small>"
    return f'<td class="value"{wide}>{escape(value)}{small}{html_badge(row)}</td>'


def html_table(table: Table) -> str:
    """A table of a run as HTML, its caption below; heads that are names are shown as words."""
    heads = "".join(
        f'<th scope="col">{escape(head.replace("_", " "))}</th>' for head in table.columns
    )
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(number(cell))}</td>" for cell in row) + "</tr>"
        for row in table.rows
    )
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    return f"<table>{caption}<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
