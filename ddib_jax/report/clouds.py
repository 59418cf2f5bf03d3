"""Clouds of points of the plane, coloured by position in the source."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ddib_jax.report.style import LIGHT, Theme, canvas

Cloud = tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, " n"] | None]
"""Points, and their positions in [0, 1] on a scale of colours, or None for one colour."""


def cloud_figure(rows: Sequence[Mapping[str, Cloud]], path: Path, *, theme: Theme = LIGHT) -> None:
    """Rows of equally many clouds, each under its name, in squares that share their scale."""
    columns = len(rows[0])
    reach = 1.05 * max(float(np.abs(points).max()) for row in rows for points, _ in row.values())
    size = 2.9 if len(rows) > 1 else 3.6
    inches = (size * columns, (size + 0.3) * len(rows))
    with canvas(path, theme, columns, inches, rows=len(rows)) as axes:
        clouds = [cloud for row in rows for cloud in row.items()]
        for plane, (title, (points, positions)) in zip(axes, clouds, strict=True):
            colours: dict[str, Any] = (
                {"color": theme.accent}
                if positions is None
                else {"c": positions, "cmap": "turbo", "vmin": 0, "vmax": 1}
            )
            plane.scatter(points[:, 0], points[:, 1], s=3.0, linewidths=0, **colours)
            plane.set(
                title=title,
                xlim=(-reach, reach),
                ylim=(-reach, reach),
                aspect="equal",
                xticks=[],
                yticks=[],
            )
            plane.grid(visible=False)
            plane.spines[:].set_visible(False)
