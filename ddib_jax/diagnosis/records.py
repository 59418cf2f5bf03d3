"""What `ddib translate`, `sweep` and `sample` say of their work: contents of a `runs.Run`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from ddib_jax.diagnosis.memorised import Nearest
from ddib_jax.diagnosis.passages import Passage
from ddib_jax.diagnosis.recorder import Recorder
from ddib_jax.evaluation import evaluate
from ddib_jax.metrics import INVERSION, latents, pooled_relative_rmse
from ddib_jax.runs import MetricRow, Table
from ddib_jax.types import HostImages

_WANTED = {
    "latent_mean": "near 0",
    "latent_variance": "near 1",
    "latent_kurtosis": "near 0",
    "latent_ks": "near 0",
    "latent_neighbours": "near 0",
    "latent_channel_std": "near 1",
}
"""Metric of latents -> what white noise has, in words."""

_NONE: Mapping[str, Table] = {}

Cost = Sequence[tuple[str, float | int | None]]
"""What a run took: labels and values."""


def translation_record(
    recorder: Recorder,
    names: Sequence[str],
    *,
    summary: str,
    cost: Cost,
    passage: Passage | None = None,
    images: HostImages | None = None,
    codec_error: float | None = None,
    nearest: Nearest | None = None,
    tables: Mapping[str, Table] = _NONE,
) -> dict[str, Any]:
    """Metrics, tables, texts and arrays of a run of the name "translation".

    recorder: holds `source` and `translation` [n h w c], and latents or none. names: of all images.
    images: those that the passage is of. codec_error: that of `codec_error`, None without a codec.
    nearest: to the first translations. tables: further ones, by name.
    """
    kept = recorder.images()
    texts, arrays = {"summary": summary}, dict(kept)
    rows = _latent_rows(recorder.latents(), arrays, len(kept["source"]))
    rows += _inversion_rows(passage, images, codec_error)
    _keep_film(passage, arrays)
    texts["nearest"] = _nearest_words(nearest, arrays)
    return _contents(
        rows, {**tables, "cost": _cost(cost)}, texts, arrays, names, len(kept["source"])
    )


def sample_record(
    recorder: Recorder,
    names: Sequence[str],
    *,
    summary: str,
    cost: Cost,
    passage: Passage | None = None,
    nearest: Nearest | None = None,
) -> dict[str, Any]:
    """Metrics, tables, texts and arrays of a run of the name "samples".

    recorder: holds `sample` [n h w c]. The rest as in `translation_record`.
    """
    arrays = dict(recorder.images())
    shown = len(arrays["sample"])
    _keep_film(passage, arrays)
    texts = {"summary": summary, "nearest": _nearest_words(nearest, arrays)}
    return _contents((), {"cost": _cost(cost)}, texts, arrays, names, shown)


def sweep_record(
    recorder: Recorder,
    names: Sequence[str],
    coefficients: Sequence[float | int],
    *,
    perturbation: str,
    summary: str,
    cost: Cost,
    passage: Passage | None = None,
    images: HostImages | None = None,
    codec_error: float | None = None,
) -> dict[str, Any]:
    """Metrics, tables, texts and arrays of a run of the name "sweep".

    recorder: holds `translation` [n k h w c] under each of k coefficients, `source` [n h w c]
    unless latents were swept, and the perturbed latents [n k h w c]. perturbation: in words. The
    rest as in `translation_record`.
    """
    arrays = dict(recorder.images())
    shown = len(arrays["translation"])
    perturbed = recorder.latents()
    tables = {}
    if perturbed is not None:
        arrays["latent"] = perturbed[:shown].astype(np.float16)
        tables["latents"] = _latent_table(perturbed, coefficients)
    arrays["coefficients"] = np.asarray(coefficients, float)
    rows = _inversion_rows(passage, images, codec_error)
    _keep_film(passage, arrays)
    texts = {"summary": summary, "perturbation": perturbation}
    return _contents(rows, tables | {"cost": _cost(cost)}, texts, arrays, names, shown)


def _contents(
    rows: tuple[MetricRow, ...],
    tables: dict[str, Table],
    texts: dict[str, str],
    arrays: dict[str, np.ndarray],
    names: Sequence[str],
    shown: int,
) -> dict[str, Any]:
    arrays["names"] = np.asarray(list(names[:shown]), str)
    return {"metrics": rows, "tables": tables, "texts": texts, "arrays": arrays}


def _latent_rows(
    found: Float[np.ndarray, "n ..."] | None, arrays: dict[str, np.ndarray], shown: int
) -> tuple[MetricRow, ...]:
    """The rows of latents, the first of which become an array of the run."""
    if found is None:
        return ()
    arrays["latent"] = found[:shown].astype(np.float16)
    return evaluate({"latent": found}, targets=_WANTED)


def _latent_table(
    perturbed: Float[np.ndarray, "n k ..."], coefficients: Sequence[float | int]
) -> Table:
    rows = []
    for index, coefficient in enumerate(coefficients):
        values = perturbed[:, index]
        raw = latents.moments(values).mean(axis=0)
        neighbours = latents.neighbour_moments(values).mean(axis=0)
        figures = (
            latents.mean_of(raw),
            float(np.sqrt(latents.variance_of(raw))),
            latents.excess_kurtosis_of(raw),
            latents.neighbour_correlation_of(neighbours),
        )
        rows.append((f"{coefficient:g}", *(f"{figure:.3f}" for figure in figures)))
    columns = (
        "Coefficient",
        "Mean",
        "Standard deviation",
        "Excess kurtosis",
        "Correlation of neighbours",
    )
    caption = (
        f"Of {len(perturbed)} perturbed latents. White noise, which the target model was trained"
        " to decode, has 0, 1, 0 and 0."
    )
    return Table(columns, tuple(rows), caption)


def _inversion_rows(
    passage: Passage | None, images: HostImages | None, codec_error: float | None
) -> tuple[MetricRow, ...]:
    rows = ()
    if passage is not None and passage.back is not None and images is not None:
        few = images[: len(passage.back)]
        error = pooled_relative_rmse(passage.back, few)
        label = "Encode → decode by the source, relative RMSE"
        note = f"{len(few)} images, from their latents alone; the solver's own error"
        rows += (_inversion_row("round_trip", label, error, note, len(few)),)
    if codec_error is not None:
        label = "The codec alone, relative RMSE"
        note = "without the ODE; no round trip comes nearer than that"
        rows += (_inversion_row("codec", label, codec_error, note, None),)
    return rows


def _inversion_row(name: str, label: str, error: float, note: str, n: int | None) -> MetricRow:
    return MetricRow(
        name,
        label,
        error,
        better="lower",
        target="as small as wanted",
        note=note,
        n=n,
        group=INVERSION,
    )


def _keep_film(passage: Passage | None, arrays: dict[str, np.ndarray]) -> None:
    if passage is not None:
        arrays["film"], arrays["film_levels"] = passage.film, passage.levels


def _nearest_words(found: Nearest | None, arrays: dict[str, np.ndarray]) -> str:
    """What a page says of the nearest training images, which become arrays of the run."""
    if found is None:
        return (
            "Which training images are nearest is not known: they were not at hand. `ddib"
            " diagnose` compares a model's samples with images that you name."
        )
    arrays["nearest"], arrays["nearest_distance"] = found.images, found.distance
    many = f"all {found.total:,}"
    if found.searched < found.total:
        many = f"the first {found.searched:,} of {found.total:,}"
    return (
        f"Of {many} training images of the model, the nearest to each result by the root"
        " mean square of the difference of values from -1 to 1, which stands below it. Where it is"
        " close to 0, the model has repeated an image that it was trained on."
    )


def _cost(cost: Cost) -> Table:
    return Table(("", "Value"), tuple(cost))
