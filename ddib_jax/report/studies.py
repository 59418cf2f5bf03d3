"""The layouts of the studies: the sections of a run's page, and the figures that they draw."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from jaxtyping import Float

from ddib_jax.report.contents import arrays_of
from ddib_jax.report.diagnosis import diagnosis, inversion
from ddib_jax.report.figures import hue_figure, latent_figure, thickness_figure
from ddib_jax.report.methods import compare_methods
from ddib_jax.report.page import Section
from ddib_jax.report.perturbation_study import perturbations
from ddib_jax.report.plane import synthetic_2d
from ddib_jax.report.sheets import contact_sheet, gallery, latent_images
from ddib_jax.report.style import Picture, in_both_themes
from ddib_jax.runs import Run

IMAGES = ("source", "latent", "translation", "reconstruction", "cycle")
WAYS = "translation, "
"""The prefix of arrays that hold translations of the same latents by other ways."""
VECTORS = (
    "hue_source",
    "hue_translation",
    "hue_error",
    "thickness_source",
    "thickness_translation",
    "called",
    "called_target",
)
COLUMNS = 16
WORST = 12
PAIRS = 240

Layout = Callable[[Run, Path], list[Section]]
"""(run, folder of figures) -> sections; figures are written as PNGs."""


def _check_lengths(run: Run, names: Sequence[str]) -> None:
    arrays = arrays_of(run, names)
    lengths = {name: len(array) for name, array in zip(names, arrays, strict=True)}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(
            f"The run '{run.name}' has arrays of unlike or no length ({lengths}); run the study"
            " again."
        )


def _closing(run: Run, used: Sequence[str]) -> list[Section]:
    words = [
        Section(heading, text)
        for heading, text in run.texts.items()
        if heading not in ("summary", *used)
    ]
    tables = [Section(heading, tables=(table,)) for heading, table in run.tables.items()]
    return [*tables, *words]


def _worst(run: Run) -> tuple[np.ndarray, list[str]]:
    """Indices of the images that failed worst, and their captions.

    Up to half are not called the target; the rest have the largest hue errors. Having no hue counts
    as worse than any error.
    """
    error, called = run.arrays["hue_error"], run.arrays["called"]
    good = run.arrays["called_target"].astype(bool)
    severity = np.where(np.isfinite(error), error, 181.0)
    order = np.lexsort((-severity, good))
    wrong = order[~good[order]][: WORST // 2]
    off = np.setdiff1d(np.argsort(-severity, kind="stable")[:WORST], wrong, assume_unique=True)
    off = off[np.argsort(-severity[off], kind="stable")][: WORST - len(wrong)]
    chosen = np.concatenate([wrong, off])
    hues = ["no hue" if np.isnan(error[i]) else f"hue {error[i]:.0f}° off" for i in chosen]
    captions = [f"called {called[i]}\n{hue}" for i, hue in zip(chosen, hues, strict=True)]
    return chosen, captions


def _by_hue(hues: Float[np.ndarray, " n"], count: int) -> np.ndarray:
    """Indices of the first images of a run, at most `count`, in the order of their hues."""
    return np.argsort(hues[:count], kind="stable")


def coloured_mnist(run: Run, figures: Path) -> list[Section]:
    """The sections of the study of coloured digits.

    The run holds, of one length n: `source`, `translation`, `reconstruction`, `cycle` [n h w 3]
    (uint8, or float in [-1, 1]), `latent` [n h w c], `hue_source`, `hue_translation`, `hue_error`
    [n] in degrees with NaN for none, `thickness_source`, `thickness_translation` [n] in pixels,
    `called` [n] (the predicted class) and `called_target` [n] (whether it is the target).
    Translations by other ways, "translation, NAME", are rows of the sheet above the plain ones, and
    the pairs below it are those of the first. A text named as a heading below replaces its words;
    every other text and table gets a section of its own.

    Raises:
        ValueError: an array is missing, empty or of another length.
    """
    _check_lengths(run, IMAGES + VECTORS)
    data = run.arrays
    hues = (data["hue_source"], data["hue_translation"], data["hue_error"])
    first, many = _by_hue(data["hue_source"], COLUMNS), _by_hue(data["hue_source"], PAIRS)
    ways = [name for name in data if name.startswith(WAYS)]
    shown = ("source", "latent", *ways, "translation", "reconstruction", "cycle")
    rows = {name: data[name][first] for name in shown}
    rows["latent"] = latent_images(rows["latent"])
    best = ways[0] if ways else "translation"
    worst, captions = _worst(run)
    missed, greys = int(np.sum(data["called_target"] == 0)), int(np.isnan(data["hue_error"]).sum())
    failed = {"source": data["source"][worst], "translation": data["translation"][worst]}
    thickness = (data["thickness_source"], data["thickness_translation"])
    pages = [
        Section(
            "Translations",
            "Each source is encoded to a latent by its own model and decoded by the other one."
            " Below are the reconstruction by the first model and the way around the cycle.",
            (
                Picture(
                    contact_sheet(rows, figures / "translations.png"),
                    f"The first {len(first)} images of the set, not chosen, in the order of their"
                    " hues. Latents are shown from -3 to 3.",
                    wide=True,
                ),
                Picture(
                    gallery(data["source"][many], data[best][many], figures / "gallery.png"),
                    f"The first {len(many)} pairs in the order of their hues: above the source,"
                    f" below its {best}.",
                    wide=True,
                ),
            ),
        ),
        Section("Measured", "", metrics=True),
        Section(
            "Colour",
            "A translation should keep the colour of its source. Each dot is a pair, drawn in the"
            " source's colour.",
            (
                in_both_themes(
                    lambda path, theme: hue_figure(*hues, path, theme=theme),
                    figures / "hue.png",
                    "Left: hue of the source against hue of the translation; the grey band, which"
                    " goes around the circle, holds the pairs within 30°. Right: the hue error.",
                ),
            ),
        ),
        Section(
            "Failures",
            "The translations furthest from what was wanted: first some not called the target, then"
            " the largest hue errors.",
            (
                Picture(
                    contact_sheet(failed, figures / "failures.png", captions=captions),
                    f"{missed} of {len(data['source'])} are not called the target, {greys} have no"
                    " hue to compare.",
                    wide=True,
                ),
            ),
        ),
        Section(
            "Stroke",
            "What else is kept: a thick stroke should stay thick.",
            (
                in_both_themes(
                    lambda path, theme: thickness_figure(
                        *thickness, path, hues=data["hue_source"], theme=theme
                    ),
                    figures / "thickness.png",
                    "Stroke thickness of source and translation, each dot in its source's colour,"
                    " and its change.",
                ),
            ),
        ),
        Section(
            "Latents",
            "Where the two models meet: if the source model is good, the values of its latents are"
            " close to N(0, 1).",
            (
                in_both_themes(
                    lambda path, theme: latent_figure(data["latent"], path, theme=theme),
                    figures / "latents.png",
                    "All latent values beside the density of N(0, 1), and their quantiles against"
                    " its quantiles.",
                ),
            ),
        ),
    ]
    own = [replace(page, text=run.texts.get(page.heading, page.text)) for page in pages]
    return own + _closing(run, [page.heading for page in pages])


def plain(run: Run, figures: Path) -> list[Section]:
    """The sections of any other run: a sheet of its images, its metrics, its tables and words.

    Every array [n h w 1 or 3] of uint8 that is as large as the first such array is a row of the
    sheet.
    """
    images = {
        name: a for name, a in run.arrays.items() if a.ndim == 4 and a.dtype == np.uint8 and len(a)
    }
    shapes = [array.shape[1:] for array in images.values()]
    rows = {name: array[:COLUMNS] for name, array in images.items() if array.shape[1:] == shapes[0]}
    count = min((len(array) for array in rows.values()), default=0)
    rows = {name: array[:count] for name, array in rows.items()}
    sections = []
    if rows:
        sheet = Picture(contact_sheet(rows, figures / "images.png"), wide=True)
        sections.append(Section("Images", "", (sheet,)))
    if run.metrics:
        sections.append(Section("Measured", "", metrics=True))
    return sections + _closing(run, [])


STUDIES: Mapping[str, Layout] = MappingProxyType(
    {
        "coloured_mnist": coloured_mnist,
        "perturbations": perturbations,
        "diagnosis": diagnosis,
        "inversion": inversion,
        "synthetic_2d": synthetic_2d,
        "compare_methods": compare_methods,
    }
)
"""The layout of a run by its name; a run of another name is laid out plainly."""
