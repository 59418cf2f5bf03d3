"""Estimates with intervals: percentile bootstrap (Efron, 1979), score intervals (Wilson, 1927)."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float

Statistic = Callable[[np.ndarray], float]
RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A figure, the ends of its interval, None where it has none, and the number of its images."""

    value: float
    low: float | None
    high: float | None
    n: int


def _tails(draws: np.ndarray, confidence: float) -> tuple[float | None, float | None]:
    _check_confidence(confidence)
    finite = draws[np.isfinite(draws)]
    if finite.size == 0:
        return None, None
    low, high = np.quantile(finite, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _check_confidence(confidence: float) -> None:
    if not 0.0 < confidence < 1.0:
        raise ValueError(
            f"The confidence is {confidence}; give a proportion between 0 and 1, such as 0.95."
        )


def without_nan(values: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "m ..."]:
    """The rows that hold no NaN, in their order.

    An image that cannot be measured is a row of NaN, and takes no part in a statistic.
    """
    return values[~np.isnan(values.reshape(len(values), -1)).any(axis=1)]


def bootstrap(
    values: Float[np.ndarray, "n ..."],
    statistic: Statistic,
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Estimate:
    """A statistic of the images with its percentile bootstrap interval (Efron, 1979).

    Images are drawn with replacement. Shapes: values [n, ...], one row an image; rows with a NaN
    are left out and `n` of the result counts the rest. The value and both ends are in the
    statistic's unit; without a measured row the value is NaN and there are no ends.

    Raises:
        ValueError: the confidence is not between 0 and 1.
    """
    rows = without_nan(np.asarray(values, np.float64))
    if len(rows) == 0:
        return Estimate(float("nan"), None, None, 0)
    rng = np.random.default_rng(seed)
    draws = [
        float(statistic(rows[rng.integers(len(rows), size=len(rows))])) for _ in range(resamples)
    ]
    return Estimate(float(statistic(rows)), *_tails(np.asarray(draws), confidence), len(rows))


def bootstrap_of_means(
    values: Float[np.ndarray, "n k"],
    function: Statistic,
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Estimate:
    """The bootstrap of a function of column means (smooth-function model of Hall, 1992).

    It takes one matrix product for all resamples. Shapes: values [n, k], one row an image, rows
    with a NaN left out; `function` takes the k means and gives one number.

    Raises:
        ValueError: the confidence is not between 0 and 1.
    """
    rows = without_nan(np.asarray(values, np.float64))
    if len(rows) == 0:
        return Estimate(float("nan"), None, None, 0)
    counts = np.random.default_rng(seed).multinomial(
        len(rows), np.full(len(rows), 1 / len(rows)), size=resamples
    )
    draws = np.asarray([float(function(mean)) for mean in (counts @ rows) / len(rows)])
    return Estimate(float(function(rows.mean(axis=0))), *_tails(draws, confidence), len(rows))


def jackknife_of_two(
    first: Float[np.ndarray, "n ..."],
    second: Float[np.ndarray, "m ..."],
    statistic: Callable[[np.ndarray, np.ndarray], float],
    *,
    groups: int = 20,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Estimate:
    """A statistic of two sets with its interval by the delete-a-group jackknife (Kott, 2001).

    Each set is parted at random into `groups`, and the statistic taken without each in turn; the
    variances of both sets add up, and the interval is normal about the value. Distances between
    sets of features are biased by small sets, and a bootstrap, whose sets repeat rows, biases them
    more; leaving out rows does not. Shapes: [n, ...] and [m, ...], one row an image. `n` of the
    result counts the first set.

    Raises:
        ValueError: the confidence is not between 0 and 1, or a set has fewer than four rows.
    """
    _check_confidence(confidence)
    if min(len(first), len(second)) < 4:
        raise ValueError(
            f"The sets have {len(first)} and {len(second)} rows; an interval needs at least four of"
            " each."
        )
    rng = np.random.default_rng(seed)
    variance = 0.0
    for rows, other in ((first, 1), (second, 0)):
        parts = np.array_split(rng.permutation(len(rows)), min(groups, len(rows) // 2))
        left = [np.delete(rows, part, axis=0) for part in parts]
        each = (statistic(kept, second) if other else statistic(first, kept) for kept in left)
        found = np.asarray(list(each), np.float64)
        variance += (len(parts) - 1) / len(parts) * float(np.sum((found - np.mean(found)) ** 2))
    value = float(statistic(first, second))
    half = NormalDist().inv_cdf((1 + confidence) / 2) * float(np.sqrt(variance))
    return Estimate(value, value - half, value + half, len(first))


def proportion(
    successes: Float[np.ndarray, " n"] | Bool[np.ndarray, " n"], *, confidence: float = CONFIDENCE
) -> Estimate:
    """The proportion of ones in [0, 1] with the score interval of Wilson (1927).

    The interval has a width at 0 and at 1 too, where a bootstrap's has none. Shapes: [n] of zeros
    and ones, NaN left out.

    Raises:
        ValueError: a value is neither 0 nor 1, or the confidence is not between 0 and 1.
    """
    rows = without_nan(np.asarray(successes, np.float64))
    if not np.isin(rows, (0.0, 1.0)).all():
        raise ValueError(
            "A proportion is of zeros and ones, and another value was found; give a truth value per"
            " image."
        )
    _check_confidence(confidence)
    n = len(rows)
    if n == 0:
        return Estimate(float("nan"), None, None, 0)
    p, z = float(rows.mean()), NormalDist().inv_cdf((1 + confidence) / 2)
    centre, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)
    return Estimate(p, max(0.0, min(p, float(low))), min(1.0, max(p, float(high))), n)


def spread(values: Float[np.ndarray, " n"], *, confidence: float = CONFIDENCE) -> Estimate:
    """The median of repeated draws, and the range of the given proportion of them.

    The range is not an interval of the median. Shapes: [n] -> one estimate in the values' unit; NaN
    left out.

    Raises:
        ValueError: the confidence is not between 0 and 1.
    """
    rows = without_nan(np.asarray(values, np.float64))
    if len(rows) == 0:
        return Estimate(float("nan"), None, None, 0)
    return Estimate(float(np.median(rows)), *_tails(rows, confidence), len(rows))


def percentile_90(values: Float[np.ndarray, " n"]) -> float:
    """The 90th percentile by linear interpolation (Hyndman and Fan, 1996, type 7)."""
    return float(np.quantile(values, 0.9))


def correlation(pairs: Float[np.ndarray, "n 2"]) -> float:
    """Pearson's correlation of the two columns, in [-1, 1]; NaN where a column is constant."""
    centred = pairs - pairs.mean(axis=0)
    scale = np.sqrt(np.prod(np.sum(centred**2, axis=0)))
    return float(np.sum(centred[:, 0] * centred[:, 1]) / scale) if scale > 0 else float("nan")
