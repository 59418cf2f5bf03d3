"""Metrics: pure functions on arrays, each named in `METRICS` with the samples that it takes.

Samples by name, in one order and of one length where they are per image:

    source, translation, reconstruction, cycle   images [n h w 3] in [-1, 1]
    partner                     the true translations [n h w 3], where there are any
    latent                      [n h w c]
    translation_logits          [n k]
    source_class, target_class  a class, or several
    labels                      [n], those that a translation should keep
    translation_features        [n d], of the translations
    target_features             [m d], of real images of the target domain
    target_pool_features        [p d], of other real images of it, for real-against-real distances

Those of results beside references that they should equal are named in `FIDELITY`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import numpy as np

from ddib_jax.metrics import digits, distributional, latents
from ddib_jax.metrics.fidelity import dice, histogram_drift, mae, ms_ssim, ncc, psnr, ssim
from ddib_jax.metrics.fidelity_rows import FIDELITY
from ddib_jax.metrics.intervals import (
    Estimate,
    bootstrap,
    bootstrap_of_means,
    correlation,
    percentile_90,
    proportion,
    spread,
)
from ddib_jax.metrics.metric import Metric
from ddib_jax.metrics.pairwise import pooled_relative_rmse, relative_rmse, rmse

TRANSLATION, APPEARANCE, REALISM = "Translation", "Colour and stroke", "Realism"
INVERSION, LATENTS = "Inversion", "Latents"

_mean = partial(bootstrap_of_means, function=lambda means: means[0])
_median = partial(bootstrap, statistic=np.median)
_p90 = partial(bootstrap, statistic=percentile_90)
_correlation = partial(bootstrap, statistic=correlation)


def _mean_of_images(values: np.ndarray) -> Estimate:
    return _mean(values[:, None])


def _of_means(function: Callable[[np.ndarray], float]) -> Callable[[np.ndarray], Estimate]:
    return partial(bootstrap_of_means, function=function)


def _both(measure: Callable) -> Callable:
    return lambda source, translation: np.stack([measure(source), measure(translation)], axis=1)


def _change(measure: Callable) -> Callable:
    return lambda source, translation: measure(translation) - measure(source)


def _frechet_real(reference: np.ndarray, pool: np.ndarray, translation: np.ndarray) -> np.ndarray:
    return distributional.frechet_real(reference, pool, size=len(translation))


def _latent(
    label: str, measure: Callable, function: Callable[[np.ndarray], float], ideal: str
) -> Metric:
    return Metric(
        label,
        takes=("latent",),
        measure=measure,
        summarise=_of_means(function),
        note=f"{ideal} for N(0, I)",
        group=LATENTS,
    )


_PAIR = ("source", "translation")
_FEATURES = ("translation_features", "target_features")

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "called_target": Metric(
            "Translations called the target",
            takes=("translation_logits", "target_class"),
            measure=digits.called,
            summarise=proportion,
            unit="proportion",
            better="higher",
            group=TRANSLATION,
        ),
        "called_source": Metric(
            "Translations still called the source",
            takes=("translation_logits", "source_class"),
            measure=digits.called,
            summarise=proportion,
            unit="proportion",
            group=TRANSLATION,
        ),
        "label_kept": Metric(
            "Translations of the source's label",
            takes=("translation_logits", "labels"),
            measure=digits.label_kept,
            summarise=proportion,
            unit="proportion",
            better="higher",
            group=TRANSLATION,
        ),
        "hue_error": Metric(
            "Hue error, median",
            takes=_PAIR,
            measure=digits.hue_error,
            summarise=_median,
            unit="°",
            better="lower",
            note="of pairs that have a hue; about 90° by chance",
            group=APPEARANCE,
        ),
        "hue_error_p90": Metric(
            "Hue error, 90th percentile",
            takes=_PAIR,
            measure=digits.hue_error,
            summarise=_p90,
            unit="°",
            better="lower",
            group=APPEARANCE,
        ),
        "hue_unmeasured": Metric(
            "Pairs without a hue",
            takes=_PAIR,
            measure=digits.hue_unmeasured,
            summarise=proportion,
            unit="proportion",
            better="lower",
            note="dark or grey",
            group=APPEARANCE,
        ),
        "saturation_change": Metric(
            "Change of saturation",
            takes=_PAIR,
            measure=_change(digits.saturation),
            summarise=_mean_of_images,
            group=APPEARANCE,
        ),
        "thickness_change": Metric(
            "Change of stroke thickness",
            takes=_PAIR,
            measure=_change(digits.stroke_thickness),
            summarise=_mean_of_images,
            unit="px",
            group=APPEARANCE,
        ),
        "thickness_correlation": Metric(
            "Stroke thickness kept, correlation",
            takes=_PAIR,
            measure=_both(digits.stroke_thickness),
            summarise=_correlation,
            better="higher",
            group=APPEARANCE,
        ),
        "area_correlation": Metric(
            "Stroke area kept, correlation",
            takes=_PAIR,
            measure=_both(digits.stroke_area),
            summarise=_correlation,
            better="higher",
            group=APPEARANCE,
        ),
        "slant_correlation": Metric(
            "Slant kept, correlation",
            takes=_PAIR,
            measure=_both(digits.stroke_slant),
            summarise=_correlation,
            better="higher",
            group=APPEARANCE,
        ),
        "source_distance": Metric(
            "Distance to the source, RMSE",
            takes=("translation", "source"),
            measure=rmse,
            summarise=_mean_of_images,
            group=TRANSLATION,
        ),
        "partner_error": Metric(
            "Error to the true partner, RMSE",
            takes=("translation", "partner"),
            measure=rmse,
            summarise=_mean_of_images,
            better="lower",
            group=TRANSLATION,
        ),
        "reconstruction_error": Metric(
            "Encode → decode, relative RMSE",
            takes=("reconstruction", "source"),
            measure=relative_rmse,
            summarise=_mean_of_images,
            better="lower",
            group=INVERSION,
        ),
        "cycle_error": Metric(
            "Cycle there and back, relative RMSE",
            takes=("cycle", "source"),
            measure=relative_rmse,
            summarise=_mean_of_images,
            better="lower",
            group=INVERSION,
        ),
        "frechet": Metric(
            "Fréchet distance to real targets",
            takes=_FEATURES,
            measure=distributional.frechet_distance,
            better="lower",
            group=REALISM,
        ),
        "frechet_real": Metric(
            "Fréchet distance, real against real",
            takes=("target_features", "target_pool_features", "translation_features"),
            measure=_frechet_real,
            summarise=spread,
            note="median and 95 % range over 20 real sets as large as the translations'",
            group=REALISM,
        ),
        "kernel_distance": Metric(
            "Kernel distance to real targets",
            takes=_FEATURES,
            measure=distributional.kernel_distance,
            better="lower",
            group=REALISM,
        ),
        "latent_mean": _latent(
            "Latent mean",
            measure=latents.moments,
            function=latents.mean_of,
            ideal="0",
        ),
        "latent_variance": _latent(
            "Latent variance",
            measure=latents.moments,
            function=latents.variance_of,
            ideal="1",
        ),
        "latent_kurtosis": _latent(
            "Latent excess kurtosis",
            measure=latents.moments,
            function=latents.excess_kurtosis_of,
            ideal="0",
        ),
        "latent_ks": _latent(
            "Latent, Kolmogorov–Smirnov distance",
            measure=latents.gaussian_distribution,
            function=latents.kolmogorov_smirnov_of,
            ideal="0",
        ),
        "latent_neighbours": _latent(
            "Latent, correlation of neighbours",
            measure=latents.neighbour_moments,
            function=latents.neighbour_correlation_of,
            ideal="0",
        ),
        "latent_channel_std": _latent(
            "Latent, deviation of its channel sums",
            measure=latents.channel_sums,
            function=latents.lowest_frequency_deviation_of,
            ideal="1",
        ),
        **FIDELITY,
    }
)
"""Name -> metric."""

__all__ = [
    "FIDELITY",
    "INVERSION",
    "LATENTS",
    "METRICS",
    "Estimate",
    "Metric",
    "bootstrap",
    "correlation",
    "dice",
    "histogram_drift",
    "mae",
    "ms_ssim",
    "ncc",
    "pooled_relative_rmse",
    "proportion",
    "psnr",
    "relative_rmse",
    "rmse",
    "ssim",
]
