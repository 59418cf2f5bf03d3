"""Metrics: pure functions on arrays, each named in `METRICS` with the samples that it takes.

The names of samples, all of one order and length where they are per image: `source`, `translation`,
`reconstruction`, `cycle` images [n h w 3] in [-1, 1]; `latent` [n h w c]; `translation_logits` [n
k] with `source_class` and `target_class` (a class or several), or with `labels` [n] that a
translation should keep; `partner` [n h w 3], the true translations where they are known;
`translation_features`, `target_features`, `target_pool_features` [m d]: of the translations, of
real images of the target domain, and of other real images of it, from which the floor is drawn.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import numpy as np

from ddib_jax.metrics import digits, distributional, latents
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


def _floor(reference: np.ndarray, pool: np.ndarray, translation: np.ndarray) -> np.ndarray:
    return distributional.frechet_real(reference, pool, size=len(translation))


def _latent(
    label: str, measure: Callable, function: Callable[[np.ndarray], float], ideal: str
) -> Metric:
    return Metric(label, ("latent",), measure, _of_means(function), note=f"{ideal} for N(0, I)")


_PAIR = ("source", "translation")
_FEATURES = ("translation_features", "target_features")

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "called_target": Metric(
            "Translations called the target",
            ("translation_logits", "target_class"),
            digits.called,
            proportion,
            "proportion",
            "higher",
        ),
        "called_source": Metric(
            "Translations still called the source",
            ("translation_logits", "source_class"),
            digits.called,
            proportion,
            "proportion",
        ),
        "label_kept": Metric(
            "Translations of the source's label",
            ("translation_logits", "labels"),
            digits.label_kept,
            proportion,
            "proportion",
            "higher",
        ),
        "hue_error": Metric(
            "Hue error, median",
            _PAIR,
            digits.hue_error,
            _median,
            "°",
            "lower",
            "of pairs that have a hue; about 90° by chance",
        ),
        "hue_error_p90": Metric(
            "Hue error, 90th percentile", _PAIR, digits.hue_error, _p90, "°", "lower"
        ),
        "hue_unmeasured": Metric(
            "Pairs without a hue",
            _PAIR,
            digits.hue_unmeasured,
            proportion,
            "proportion",
            "lower",
            "dark or grey",
        ),
        "saturation_change": Metric(
            "Change of saturation", _PAIR, _change(digits.saturation), _mean_of_images
        ),
        "thickness_change": Metric(
            "Change of stroke thickness",
            _PAIR,
            _change(digits.stroke_thickness),
            _mean_of_images,
            "px",
        ),
        "thickness_correlation": Metric(
            "Stroke thickness kept, correlation",
            _PAIR,
            _both(digits.stroke_thickness),
            _correlation,
            "",
            "higher",
        ),
        "area_correlation": Metric(
            "Stroke area kept, correlation",
            _PAIR,
            _both(digits.stroke_area),
            _correlation,
            "",
            "higher",
        ),
        "slant_correlation": Metric(
            "Slant kept, correlation", _PAIR, _both(digits.stroke_slant), _correlation, "", "higher"
        ),
        "source_distance": Metric(
            "Distance to the source, RMSE", ("translation", "source"), rmse, _mean_of_images
        ),
        "partner_error": Metric(
            "Error to the true partner, RMSE",
            ("translation", "partner"),
            rmse,
            _mean_of_images,
            "",
            "lower",
        ),
        "reconstruction_error": Metric(
            "Encode → decode, relative RMSE",
            ("reconstruction", "source"),
            relative_rmse,
            _mean_of_images,
            "",
            "lower",
        ),
        "cycle_error": Metric(
            "Cycle there and back, relative RMSE",
            ("cycle", "source"),
            relative_rmse,
            _mean_of_images,
            "",
            "lower",
        ),
        "frechet": Metric(
            "Fréchet distance to real targets",
            _FEATURES,
            distributional.frechet_distance,
            None,
            "",
            "lower",
        ),
        "frechet_real": Metric(
            "Fréchet distance, real against real",
            ("target_features", "target_pool_features", "translation_features"),
            _floor,
            spread,
            note="median and 95 % range over 20 real sets as large as the translations'",
        ),
        "kernel_distance": Metric(
            "Kernel distance to real targets",
            _FEATURES,
            distributional.kernel_distance,
            None,
            "",
            "lower",
        ),
        "latent_mean": _latent("Latent mean", latents.moments, latents.mean_of, "0"),
        "latent_variance": _latent("Latent variance", latents.moments, latents.variance_of, "1"),
        "latent_kurtosis": _latent(
            "Latent excess kurtosis", latents.moments, latents.excess_kurtosis_of, "0"
        ),
        "latent_ks": _latent(
            "Latent, Kolmogorov–Smirnov distance",
            latents.gaussian_distribution,
            latents.kolmogorov_smirnov_of,
            "0",
        ),
        "latent_neighbours": _latent(
            "Latent, correlation of neighbours",
            latents.neighbour_moments,
            latents.neighbour_correlation_of,
            "0",
        ),
        "latent_channel_std": _latent(
            "Latent, deviation of its channel sums",
            latents.channel_sums,
            latents.lowest_frequency_deviation_of,
            "1",
        ),
    }
)

__all__ = [
    "METRICS",
    "Estimate",
    "Metric",
    "bootstrap",
    "correlation",
    "pooled_relative_rmse",
    "relative_rmse",
    "rmse",
    "proportion",
]
