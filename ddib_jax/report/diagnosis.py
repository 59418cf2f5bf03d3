"""The layout of a diagnosis."""

from pathlib import Path

import numpy as np

from ddib_jax.report.contents import arrays_of, table_of
from ddib_jax.report.curves import error_figure
from ddib_jax.report.page import Section
from ddib_jax.report.sheets import contact_sheet, latent_images
from ddib_jax.report.style import Picture, in_both_themes
from ddib_jax.runs import Run

COLUMNS = 12


def diagnosis(run: Run, figures: Path) -> list[Section]:
    """The sections of a diagnosis: conclusion, checks of the model, round trips, cost, directory.

    The run holds the tables `checks`, `round_trips` (solver, with_aux, steps, evaluations, error,
    ...), `model` and `cost`, the arrays `images`, `samples` and `latents`, all [n h w c], and the
    texts `conclusion` and `recommended`.

    Raises:
        ValueError: a table or an array of these is missing.
    """
    images, samples, latents = arrays_of(run, ("images", "samples", "latents"))
    rows = {
        "image": images[:COLUMNS],
        "its latent": _at_size(latent_images(latents[:COLUMNS]), images.shape[1:3]),
        "sample": samples[:COLUMNS],
    }
    sheet = Picture(
        contact_sheet(rows, figures / "images.png"),
        "Images of the domain, their latents (from -3 to 3), and samples of the model.",
        wide=True,
    )
    return [
        Section("Conclusion", run.texts.get("conclusion", "")),
        Section(
            "Is the model good enough to bridge?",
            "A latent of a good model is white Gaussian noise, and what it makes of such noise"
            " looks like its images. A round trip says nothing about that.",
            (sheet,),
            (table_of(run, "checks"),),
        ),
        Section(
            "Does the image come back?",
            run.texts.get("recommended", ""),
            (_round_trip_figure(run, figures),),
            (table_of(run, "round_trips"),),
        ),
        Section("What it costs", "", tables=(table_of(run, "cost"),)),
        Section("What the directory holds", "", tables=(table_of(run, "model"),)),
    ]


def _round_trip_figure(run: Run, figures: Path) -> Picture:
    without, kept = "No auxiliary state", "With the auxiliary state of a reversible solver"
    panels: dict[str, dict[str, tuple[list, list]]] = {without: {}, kept: {}}
    for solver, with_aux, _, evaluations, error, *_ in table_of(run, "round_trips").rows:
        curves = panels[kept if with_aux == "yes" else without]
        curve = curves.setdefault(solver, ([], []))
        curve[0].append(evaluations)
        curve[1].append(error)
    panels = {title: curves for title, curves in panels.items() if curves}
    return in_both_themes(
        lambda path, theme: error_figure(
            panels,
            path,
            ylabel="relative RMSE of encode → decode",
            level=run.config.get("error"),
            theme=theme,
        ),
        figures / "round-trips.png",
        "Error of encode → decode against network evaluations each way; dotted, the wanted error.",
    )


def _at_size(pixels: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Images [n h w c] at another height and width, by the nearest pixel: codes are smaller."""
    rows, columns = (
        np.arange(new) * old // new for new, old in zip(size, pixels.shape[1:3], strict=True)
    )
    return pixels[:, rows][:, :, columns]
