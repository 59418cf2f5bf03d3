"""The page of the study of coloured digits."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ddib_jax.report import Picture, Section, contact_sheet, gallery, remaining
from ddib_jax.report.contents import arrays_of
from ddib_jax.report.latents import latent_figure
from ddib_jax.report.sheets import latent_images
from ddib_jax.report.style import in_both_themes
from ddib_jax.runs import Run
from pages.digits import hue_figure, thickness_figure

IMAGES = ("source", "latent", "translation", "reconstruction", "cycle")
WAYS = "translation, "
"""The prefix of arrays that hold translations of the same images by other ways."""
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


def _check_lengths(run: Run, names: Sequence[str]) -> None:
    arrays = arrays_of(run, names)
    lengths = {name: len(array) for name, array in zip(names, arrays, strict=True)}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(
            f"The run '{run.name}' has arrays of unlike or no length ({lengths}); run the study"
            " again."
        )


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


def layout(run: Run, figures: Path) -> list[Section]:
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
    return own + remaining(run, used=[page.heading for page in pages])
