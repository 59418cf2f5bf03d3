"""What `ddib evaluate` says of two sets of pictures: contents of a `runs.Run`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from ddib_jax.data.png import displayed, to_bytes
from ddib_jax.evaluation.comparison import Comparison, NamedSet
from ddib_jax.metrics.fidelity_rows import FIDELITY, PAIRS
from ddib_jax.runs import MetricRow, Table

CASES = 6
"""Worst pairs of a page, and as many best ones."""
_SIDE = 256
"""Pixels of a side of a case's pictures at most."""
RANKINGS = tuple(name for name in FIDELITY if FIDELITY[name].group == PAIRS)
"""Metrics of pairs by which cases may be ranked."""


def evaluation_record(
    comparison: Comparison,
    results: NamedSet,
    references: NamedSet,
    *,
    rank_by: str,
    data_range: float,
    summary: str,
) -> dict[str, Any]:
    """Metrics, tables, texts and arrays of a run of the name "evaluation".

    The table `scores` has every figure, `images` every pair's values, worst first by the metric
    `rank_by`. Of the `CASES` worst pairs and as many best ones the arrays hold pictures and the
    mean absolute error of every pixel, over channels, in the unit of `data_range`. Without pairs
    the first pictures of both sets are shown.

    Raises:
        ValueError: no pair has a value of `rank_by`.
    """
    tables = {"scores": _scores(comparison.rows)}
    arrays: dict[str, np.ndarray] = {}
    texts = {"summary": summary}
    if comparison.values:
        order = _ranked(comparison.values, rank_by)
        tables["images"] = _per_image(comparison.values, results.names, order)
        count = min(CASES, (len(order) + 1) // 2)
        for kind, chosen in (("worst", order[:count]), ("best", order[::-1][:count])):
            arrays |= _cases(kind, [(results[i], references[i]) for i in chosen], data_range)
            captions = [f"{comparison.values[rank_by][i]:.4g}" for i in chosen]
            names = [results.names[i] for i in chosen]
            arrays[f"{kind}_names"] = np.asarray(names, str)
            arrays[f"{kind}_values"] = np.asarray(captions, str)
        texts["ranking"] = FIDELITY[rank_by].label
        texts["data_range"] = f"{data_range:g}"
    else:
        for name, pictures in (("results", results), ("references", references)):
            count = min(2 * CASES, len(pictures))
            arrays[name] = _framed([_shown(pictures[i]) for i in range(count)])
    return {"metrics": comparison.rows, "tables": tables, "texts": texts, "arrays": arrays}


def _scores(rows: Sequence[MetricRow]) -> Table:
    columns = ("metric", "label", "value", "low", "high", "n", "unit", "better")
    cells = [
        (row.name, row.label, row.value, row.low, row.high, row.n, row.unit, row.better)
        for row in rows
    ]
    return Table(columns, tuple(cells), "low and high are the ends of 95 % intervals")


def _per_image(
    values: dict[str, Float[np.ndarray, " n"]], names: Sequence[str], order: Sequence[int]
) -> Table:
    rows = [(names[i], *(float(found[i]) for found in values.values())) for i in order]
    return Table(("image", *values), tuple(rows), "Every pair, the worst first")


def _ranked(found: Mapping[str, Float[np.ndarray, " n"]], name: str) -> list[int]:
    """The indices of pairs that have a value, the worst first."""
    values = found.get(name, np.full(1, np.nan))
    measured = np.flatnonzero(~np.isnan(values))
    if not len(measured):
        raise ValueError(
            f"No pair has a value of {name}, by which they would be ranked; rank by another"
            " (--rank-by mae)."
        )
    worst_first = values[measured] if FIDELITY[name].better == "higher" else -values[measured]
    return [int(index) for index in measured[np.argsort(worst_first, kind="stable")]]


def _cases(
    kind: str, pairs: Sequence[tuple[np.ndarray, np.ndarray]], data_range: float
) -> dict[str, np.ndarray]:
    errors = [
        _small(np.abs(np.asarray(a, np.float64) - b).mean(axis=-1, keepdims=True)) / 2 * data_range
        for a, b in pairs
    ]
    return {
        f"{kind}_result": _framed([_shown(a) for a, _ in pairs]),
        f"{kind}_reference": _framed([_shown(b) for _, b in pairs]),
        f"{kind}_error": _framed([error.astype(np.float32) for error in errors]),
    }


def _shown(picture: np.ndarray) -> np.ndarray:
    """A picture as bytes that people can see, small enough for a page."""
    return to_bytes(displayed(_small(picture)))


def _small(picture: np.ndarray) -> np.ndarray:
    """A picture of no more than `_SIDE` pixels a side, by means of blocks."""
    factor = -(-max(picture.shape[:2]) // _SIDE)
    rows, columns = (size // factor for size in picture.shape[:2])
    cut = picture[: rows * factor, : columns * factor]
    return cut.reshape(rows, factor, columns, factor, -1).mean(axis=(1, 3))


def _framed(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of several sizes as one array, each in the upper left corner, zeros around."""
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    channels = max(picture.shape[2] for picture in pictures)
    framed = np.zeros((len(pictures), height, width, channels), pictures[0].dtype)
    for frame, picture in zip(framed, pictures, strict=True):
        frame[: picture.shape[0], : picture.shape[1]] = picture
    return framed
