"""Clouds of points of the plane, each point in the colour of where it came from, and densities over
the plane.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ddib_jax.report.style import LIGHT, Theme, canvas

Cloud = tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, " n"] | None]
"""Points, and their positions in [0, 1] on a scale of colours, or None for one colour."""


def cloud_figure(rows: Sequence[Mapping[str, Cloud]], path: Path, theme: Theme = LIGHT) -> None:
    """Rows of equally many clouds, each under its name, in squares that share their scale."""
    columns = len(rows[0])
    reach = 1.05 * max(float(np.abs(points).max()) for row in rows for points, _ in row.values())
    size = 2.9 if len(rows) > 1 else 3.6
    with canvas(
        path, theme, columns, (size * columns, (size + 0.3) * len(rows)), len(rows)
    ) as axes:
        clouds = [cloud for row in rows for cloud in row.items()]
        for plane, (title, (points, positions)) in zip(axes, clouds, strict=True):
            colours = (
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


def density_figure(
    densities: Mapping[str, Float[np.ndarray, "h w"]],
    path: Path,
    theme: Theme = LIGHT,
    *,
    reach: float,
) -> None:
    """Densities over the square [-reach, reach]^2 side by side, rows from below, dark where there
    is nothing.
    """
    with canvas(path, theme, len(densities), (2.6 * len(densities), 3.0)) as axes:
        for plane, (title, density) in zip(axes, densities.items(), strict=True):
            plane.imshow(
                density,
                cmap="magma",
                origin="lower",
                extent=(-reach, reach, -reach, reach),
                vmin=0,
                vmax=np.quantile(density, 0.995),
            )
            plane.set(title=title, xticks=[], yticks=[])
            plane.grid(visible=False)
            plane.spines[:].set_visible(False)
