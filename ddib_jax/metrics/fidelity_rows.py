"""Metrics of results beside their references: of pairs, and of two sets that are not paired."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from jaxtyping import Float

from ddib_jax.metrics import distributional, fidelity
from ddib_jax.metrics.arrays import AnyArray
from ddib_jax.metrics.intervals import (
    Estimate,
    bootstrap_of_means,
    jackknife_of_two,
    proportion,
)
from ddib_jax.metrics.metric import Metric

PAIRS, SETS = "Pairs", "Sets"
BINS = 256
"""Bins of the histograms of sets: exact for bytes."""

_PAIR, _RANGED = ("result", "reference"), ("result", "reference", "data_range")
_FEATURES = ("result_features", "reference_features")


def _mean_of_images(values: np.ndarray) -> Estimate:
    finite = np.where(np.isfinite(values), values, np.nan)  # PSNR of equal pictures is infinite
    return bootstrap_of_means(finite[:, None], lambda means: means[0])


def _ranged(measure: Callable) -> Callable:
    return lambda result, reference, data_range: measure(result, reference, data_range=data_range)


def _estimated(distance: Callable[[np.ndarray, np.ndarray], float]) -> Callable:
    return lambda result, reference: jackknife_of_two(
        np.asarray(result), np.asarray(reference), distance
    )


def _recall(result: np.ndarray, reference: np.ndarray) -> np.ndarray:
    return distributional.within_manifold(reference, result)


def value_distributions(
    images: Float[AnyArray, "n h w c"], *, data_range: float
) -> Float[np.ndarray, "n bins c"]:
    """Every image's distribution of values in [0, data_range], by channel, at `BINS` steps.

    Values beyond the range count as its ends.
    """
    values = np.asarray(images, np.float64) / data_range * (BINS - 1)
    index = np.clip(np.rint(values), 0, BINS - 1).astype(int)
    flat = index.reshape(len(index), -1, index.shape[-1])
    counts = [
        [np.bincount(flat[i, :, c], minlength=BINS) for c in range(flat.shape[2])]
        for i in range(len(flat))
    ]
    return np.cumsum(counts, axis=2).swapaxes(1, 2) / flat.shape[1]


def distribution_drift(
    first: Float[np.ndarray, "n bins c"],
    second: Float[np.ndarray, "m bins c"],
    *,
    data_range: float,
) -> float:
    """Wasserstein's distance of order 1 between the values of two sets, the mean over channels.

    The area between their mean `value_distributions`, in the values' own unit (Vallender 1974).
    """
    gap = np.abs(first.mean(axis=0) - second.mean(axis=0))
    return float(gap[:-1].sum(axis=0).mean() * data_range / (BINS - 1))


def _drift_of_sets(first: np.ndarray, second: np.ndarray, data_range: float) -> Estimate:
    return jackknife_of_two(first, second, partial(distribution_drift, data_range=data_range))


def _of_pairs(label: str, measure: Callable, takes: tuple[str, ...], **more) -> Metric:
    return Metric(label, takes, measure, _mean_of_images, group=PAIRS, **more)


FIDELITY: Mapping[str, Metric] = {
    "mae": _of_pairs("Mean absolute error", fidelity.mae, _PAIR, better="lower"),
    "psnr": _of_pairs(
        "PSNR",
        _ranged(fidelity.psnr),
        _RANGED,
        unit="dB",
        better="higher",
        note="of pairs that are not equal",
    ),
    "ssim": _of_pairs("SSIM", _ranged(fidelity.ssim), _RANGED, better="higher"),
    "ms_ssim": _of_pairs(
        "MS-SSIM",
        _ranged(fidelity.ms_ssim),
        _RANGED,
        better="higher",
        note="of pictures of at least 176 pixels a side",
    ),
    "ncc": _of_pairs("Normalised cross-correlation", fidelity.ncc, _PAIR, better="higher"),
    "histogram_drift": _of_pairs(
        "Histogram drift of a picture", fidelity.histogram_drift, _PAIR, better="lower"
    ),
    "lpips": _of_pairs(
        "LPIPS",
        lambda result, reference, perceptual: perceptual(result, reference),
        ("result_unit", "reference_unit", "perceptual"),
        better="lower",
        note="of pictures of at least 31 pixels a side",
    ),
    "set_histogram_drift": Metric(
        "Histogram drift of the sets",
        ("result_distributions", "reference_distributions", "data_range"),
        _drift_of_sets,
        better="lower",
        group=SETS,
    ),
    "set_frechet": Metric(
        "Fréchet distance",
        _FEATURES,
        _estimated(distributional.frechet_distance),
        better="lower",
        note="biased upward by small sets: compare at equal numbers alone",
        group=SETS,
    ),
    "set_kernel": Metric(
        "Kernel distance",
        _FEATURES,
        _estimated(distributional.kernel_distance),
        better="lower",
        group=SETS,
    ),
    "precision": Metric(
        "Precision",
        _FEATURES,
        distributional.within_manifold,
        proportion,
        unit="proportion",
        better="higher",
        note="results among the references, by 3 neighbours",
        group=SETS,
    ),
    "recall": Metric(
        "Recall",
        _FEATURES,
        _recall,
        proportion,
        unit="proportion",
        better="higher",
        note="references among the results, by 3 neighbours",
        group=SETS,
    ),
}
"""Name -> metric, of the samples `result` and `reference` [n h w c], `data_range`, the features
`result_features` and `reference_features` [n d], `result_distributions` and
`reference_distributions` (`value_distributions`), and for LPIPS `result_unit` and `reference_unit`
[n h w c] in [-1, 1] with `perceptual`, which is called with both.
"""


def dice_above(threshold: float, *, low: float = 0.0) -> Metric:
    """Dice's coefficient of the pixels above a threshold, as a metric of pairs.

    low: what 0 of the samples is in the threshold's unit.
    """
    return _of_pairs(
        f"Dice above {threshold:g}",
        partial(fidelity.dice, threshold=threshold - low),
        _PAIR,
        better="higher",
        note="of pairs of which either exceeds it",
    )
