"""The page of the bridges in the plane."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ddib_jax.report import Section
from ddib_jax.report.clouds import cloud_figure
from ddib_jax.report.style import LIGHT, Theme, canvas, in_both_themes
from ddib_jax.runs import Run


def layout(run: Run, figures: Path) -> list[Section]:
    """The sections of the study of the plane: clouds, cycles, transport, likelihood.

    The run holds, for each PAIR "one > other", the points `PAIR/source`, `PAIR/latent`,
    `PAIR/target` and `PAIR/cycle` [n 2] and the sources' positions `PAIR/positions` [n] in [0, 1);
    and `density/NAME` [h w]. Raises ValueError where there is no pair.
    """
    pairs = [name.removesuffix("/source") for name in run.arrays if name.endswith("/source")]
    if not pairs:
        raise ValueError(
            f"The run '{run.name}' has no array 'PAIR/source', which its report draws; run the"
            " study again."
        )
    rows = []
    for pair in pairs:
        one, other = pair.split(" > ")
        titles = {"source": one, "latent": "latent", "target": other, "cycle": "and back"}
        positions = run.arrays[f"{pair}/positions"]
        rows.append(
            {title: (run.arrays[f"{pair}/{part}"], positions) for part, title in titles.items()}
        )
    clouds = in_both_themes(
        lambda path, theme: cloud_figure(rows, path, theme=theme),
        figures / "clouds.png",
        "Source, latent, translation and the way back. A point keeps the colour of its place in the"
        " source.",
    )
    densities = {
        name.removeprefix("density/"): array
        for name, array in run.arrays.items()
        if name.startswith("density/")
    }
    sections = [Section("Translations", "", (clouds,)), Section("Measured", "", metrics=True)]
    sections += [
        Section(name, run.texts.get(name, ""), tables=(table,))
        for name, table in run.tables.items()
    ]
    if densities:
        panels = in_both_themes(
            lambda path, theme: density_figure(densities, path, reach=4.0, theme=theme),
            figures / "densities.png",
            "The density of every model, by the change of variables along its ODE.",
        )
        sections.append(Section("Likelihood", "", (panels,)))
    return sections


def density_figure(
    densities: Mapping[str, Float[np.ndarray, "h w"]],
    path: Path,
    *,
    reach: float,
    theme: Theme = LIGHT,
) -> None:
    """Densities over the square [-reach, reach]^2 side by side; the first row is the lowest.

    The scale ends at the 99.5 % quantile, so that a peak does not darken the rest.
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
