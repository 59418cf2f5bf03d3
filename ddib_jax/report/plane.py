"""The page of the bridges in the plane."""

from pathlib import Path

from ddib_jax.report.clouds import cloud_figure, density_figure
from ddib_jax.report.page import Section
from ddib_jax.report.style import in_both_themes
from ddib_jax.runs import Run

PARTS = ("source", "latent", "target", "cycle")


def synthetic_2d(run: Run, figures: Path) -> list[Section]:
    """The sections of the study of the plane: clouds, cycles, transport, likelihood.

    Arrays: `PAIR/source`, `PAIR/latent`, `PAIR/target`, `PAIR/cycle` [n 2] and `PAIR/positions` [n] in
    [0, 1), PAIR being "one > other"; `density/NAME` [h w]. Raises ValueError where there is no
    pair.
    """
    pairs = [name.removesuffix("/source") for name in run.arrays if name.endswith("/source")]
    if not pairs:
        raise ValueError(
            f"The run '{run.name}' has no array 'PAIR/source', which its report draws; run the"
            " study again."
        )
    rows = []
    for pair in pairs:
        titles = dict(
            zip(
                PARTS,
                (pair.split(" > ")[0], "latent", pair.split(" > ")[1], "and back"),
                strict=True,
            )
        )
        rows.append(
            {
                titles[part]: (run.arrays[f"{pair}/{part}"], run.arrays[f"{pair}/positions"])
                for part in PARTS
            }
        )
    clouds = in_both_themes(
        lambda path, theme: cloud_figure(rows, path, theme),
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
        drawn = in_both_themes(
            lambda path, theme: density_figure(densities, path, theme, reach=4.0),
            figures / "densities.png",
            "The density of every model, by the change of variables along its ODE.",
        )
        sections.append(Section("Likelihood", "", (drawn,)))
    return sections
