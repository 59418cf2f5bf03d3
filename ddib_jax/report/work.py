"""The layouts of what the commands do: translations, samples, and sweeps of a perturbation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ddib_jax.report.contents import array_of, arrays_of, table_of
from ddib_jax.report.evaluation import error_map
from ddib_jax.report.latents import latent_figure
from ddib_jax.report.page import Section
from ddib_jax.report.sheets import contact_sheet, to_uint8
from ddib_jax.report.style import Picture, in_both_themes
from ddib_jax.report.widgets import before_after, strips, tiled
from ddib_jax.runs import Run, Table

_COLUMNS = 8
_LINES = 50
_SHOWN = "A state x is shown as x / sqrt(1 + sigma²), so that all are of one scale."
_FILM = (
    "A few images on their way up the source's ODE to a latent, and down the target's; above each"
    f" picture is its noise level sigma. {_SHOWN}"
)
_FALLING = (
    "Gaussian noise on its way down the model's ODE to samples; above each picture is its noise"
    f" level sigma. {_SHOWN}"
)


def translation(run: Run, figures: Path) -> list[Section]:
    """The sections of a translation: before and after, the film, latents, nearest images, cost.

    The run holds the arrays `source` and `translation` [n h w 1 or 3] and `names` [n], the table
    `cost`, and the text `nearest`. Where it holds them, also `latent` [m h w c], `film`
    [k f h w c] with its `film_levels` [f], and `nearest` [j h w c] with `nearest_distance` [j].

    Raises:
        ValueError: one of the former is missing.
    """
    source, found = arrays_of(run, ("source", "translation"))
    names = _names(run)
    sections = [
        Section(
            "Before and after",
            "Drag over an image, or focus it and press the arrow keys: on the left of the line is"
            " the source, on the right its translation.",
            html=before_after(source, found, names),
        ),
        *_film(run, _FILM, names, ends=("image", "translation")),
    ]
    if "trust" in run.tables:
        sections.append(_trust(run, figures))
    if run.metrics:
        sections.append(_measured(run, figures))
    return [*sections, _nearest(run, found, figures), _took(run)]


def samples(run: Run, figures: Path) -> list[Section]:
    """The sections of samples: the samples, the film, nearest images, cost.

    The run holds the arrays `sample` [n h w 1 or 3] and `names` [n]; the rest as in `translation`.

    Raises:
        ValueError: an array, the table `cost` or the text `nearest` is missing.
    """
    found, names = array_of(run, "sample"), _names(run)
    return [
        Section("Samples", html=tiled(found, names)),
        *_film(run, _FALLING, names, ends=("", "sample")),
        _nearest(run, found, figures),
        _took(run),
    ]


def sweep(run: Run, figures: Path) -> list[Section]:
    """The sections of a sweep: a row of images for each coefficient, the film, latents, cost.

    The run holds the arrays `translation` [n k h w 1 or 3], `coefficients` [k] and `names` [n], the
    table `cost` and the text `perturbation`. Where it holds them, also `source` [n h w 1 or 3],
    the film as in `translation`, and the table `latents`.

    Raises:
        ValueError: one of the former is missing.
    """
    found, coefficients = arrays_of(run, ("translation", "coefficients"))
    names = _names(run)
    columns = names[:_COLUMNS]
    rows = {"source": run.arrays["source"][:_COLUMNS]} if "source" in run.arrays else {}
    swept = found[:_COLUMNS].swapaxes(0, 1)
    rows |= {f"{value:g}": row for value, row in zip(coefficients, swept, strict=True)}
    words = (
        f"Each row is one coefficient of {run.texts.get('perturbation', 'the perturbation')}. In"
        " explorer.html, which lies beside this page, sliders lead through all coefficients and"
        " images; it is one file, and opens anywhere without a network."
    )
    caption = f"The first {len(columns)} of {len(names)} images that the explorer shows."
    sections = [
        Section("Coefficients", words, html=strips(rows, columns, caption=caption)),
        *_film(run, f"{_FILM} Nothing is perturbed here.", names, ends=("image", "translation")),
    ]
    if "latents" in run.tables:
        sections.append(Section("Perturbed latents", tables=(table_of(run, "latents"),)))
    if run.metrics:
        sections.append(Section("Measured", metrics=True))
    return [*sections, _took(run)]


def _names(run: Run) -> list[str]:
    return [str(name) for name in array_of(run, "names")]


def _film(run: Run, words: str, names: Sequence[str], *, ends: tuple[str, str]) -> list[Section]:
    """The section of the film; none where the run has none."""
    if "film" not in run.arrays:
        return []
    film, levels = arrays_of(run, ("film", "film_levels"))
    rows = dict(zip(names, film, strict=False))
    return [Section("On the way", words, html=strips(rows, _heads(levels, ends)))]


def _heads(levels: Float[np.ndarray, " m"], ends: tuple[str, str]) -> list[str]:
    """What stands above a film's pictures: noise levels, and words at the ends and the latent."""
    top = int(np.argmax(levels))
    heads = [f"sigma {level:.2g}" for level in levels]
    heads[top] = "latent"
    if levels[0] == 0:
        heads[0] = ends[0]
    if levels[-1] == 0:
        heads[-1] = ends[1]
    return heads


def _measured(run: Run, figures: Path) -> Section:
    pictures = ()
    if "latent" in run.arrays:
        values = array_of(run, "latent")
        pictures = (
            in_both_themes(
                lambda path, theme: latent_figure(values, path, theme=theme),
                figures / "latents.png",
                "The values of the latents beside the density of N(0, 1), and their quantiles.",
            ),
        )
    words = (
        "The target model makes images of white Gaussian noise, so that is what latents should look"
        " like. Those of clean images have a smaller variance and a larger kurtosis, most of all"
        " where much of an image is of one colour, for models learn images with a little noise;"
        " `ddib diagnose` adds it, and has ranges for a good model.\n\n"
        "The round trip says how well the solver solves the source's ODE, and nothing about the"
        " translations."
    )
    return Section("Measured", words, pictures, metrics=True)


def _trust(run: Run, figures: Path) -> Section:
    """How far each translation can be trusted: maps where there are some, and the table."""
    pictures, words = (), ""
    if "trust" in run.arrays:
        maps = run.arrays["trust"][:_COLUMNS].astype(np.float32) / 255
        top = max(float(np.quantile(maps, 0.99)), 1 / 255)
        rows = {
            "source": run.arrays["source"][:_COLUMNS],
            "translation": run.arrays["translation"][:_COLUMNS],
            "deviation": error_map(maps, top),
        }
        sheet = contact_sheet(rows, figures / "trust.png")
        caption = f"Deviations of the translations, from 0 (black) to {top:.2g} (white)."
        pictures = (Picture(sheet, caption, wide=True),)
        words = (
            "Each image was translated several times, with noise that the model cannot see, other"
            " levels at which the bridges meet and, in windows, other windows. Where the"
            " translations differ, a single one says little."
        )
    table = table_of(run, "trust")
    shown = Table(table.columns, table.rows[:_LINES], table.caption)
    return Section("How far to trust it", words, pictures, (shown,))


def _nearest(run: Run, found: np.ndarray, figures: Path) -> Section:
    words = run.texts.get("nearest", "")
    if "nearest" not in run.arrays:
        return Section("Nearest training images", words)
    images, distances = arrays_of(run, ("nearest", "nearest_distance"))
    rows = {"result": to_uint8(found[: len(images)]), "nearest": images}
    captions = [f"{distance:.2f}" for distance in distances]
    sheet = contact_sheet(rows, figures / "nearest.png", captions=captions)
    caption = (
        f"The first {len(images)} results, the training image nearest to each, and their distance:"
        f" at least {distances.min():.2f}, in the median {np.median(distances):.2f}."
    )
    return Section("Nearest training images", words, (Picture(sheet, caption, wide=True),))


def _took(run: Run) -> Section:
    return Section("What it took", tables=(table_of(run, "cost"),))
