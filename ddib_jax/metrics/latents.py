"""How close latents are to N(0, I), by moments of every latent.

Each figure is a function of the mean over images of one row an image, so that
`intervals.bootstrap_of_means` gives its interval: `moments`, say, are the rows, and `variance_of`
is the function.
"""

from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from ddib_jax.metrics.arrays import AnyArray, host

LEVELS = 512
"""The quantiles of N(0, 1) at which distribution functions are compared are its multiples."""


def _flat(latent: Float[AnyArray, "n ..."]) -> Float[np.ndarray, "n k"]:
    if latent.ndim < 2 or latent.shape[0] == 0:
        raise ValueError(
            f"The latents have shape {latent.shape}; give [n, ...] with at least one latent."
        )
    values = host(latent).reshape(latent.shape[0], -1)
    if not np.isfinite(values).all():
        raise ValueError(
            "The latents hold a NaN or an infinity; find the step that made it before measuring."
        )
    return values


def moments(latent: Float[AnyArray, "n ..."]) -> Float[np.ndarray, "n 4"]:
    """The first four raw moments of every latent's values, mean(z^k).

    Shapes: [n, ...] -> [n, 4]; those of N(0, 1) are 0, 1, 0, 3.

    Raises:
        ValueError: no latent, or a value that is not finite.
    """
    values = _flat(latent)
    return np.stack([np.mean(values**k, axis=1) for k in (1, 2, 3, 4)], axis=1)


def mean_of(raw: Float[np.ndarray, " 4"]) -> float:
    """The mean of the pooled values from their raw moments; 0 for N(0, 1)."""
    return float(raw[0])


def variance_of(raw: Float[np.ndarray, " 4"]) -> float:
    """The variance of the pooled values from their raw moments, E z^2 - (E z)^2; 1 for N(0, 1)."""
    return float(raw[1] - raw[0] ** 2)


def excess_kurtosis_of(raw: Float[np.ndarray, " 4"]) -> float:
    """Pearson's excess kurtosis of the pooled values, E (z - m)^4 / v^2 - 3.

    0 for any Gaussian, NaN for a constant.
    """
    m1, m2, m3, m4 = (float(value) for value in raw)
    variance = m2 - m1**2
    central = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
    return central / variance**2 - 3.0 if variance > 0 else float("nan")


def gaussian_distribution(latent: Float[AnyArray, "n ..."]) -> Float[np.ndarray, "n levels"]:
    """Every latent's empirical distribution function at the 1/512 ... 511/512 quantiles of N(0, 1).

    Shapes: [n, ...] -> [n, 511], each row rising within [0, 1].

    Raises:
        ValueError: no latent, or a value that is not finite.
    """
    values = np.sort(_flat(latent), axis=1)
    quantiles = [NormalDist().inv_cdf(k / LEVELS) for k in range(1, LEVELS)]
    counts = np.stack([np.searchsorted(row, quantiles, side="right") for row in values])
    return counts / values.shape[1]


def kolmogorov_smirnov_of(distribution: Float[np.ndarray, " levels"]) -> float:
    """Kolmogorov-Smirnov distance max |F(z) - Phi(z)| of the pooled values to N(0, 1).

    In [0, 1], within 1/512 of the exact maximum; 0 for N(0, 1). A wrong scale and a wrong shape
    both raise it: read it beside variance and kurtosis.
    """
    return float(np.max(np.abs(distribution - np.arange(1, LEVELS) / LEVELS)))


def neighbour_moments(latent: Float[AnyArray, "n h w c"]) -> Float[np.ndarray, "n 3"]:
    """Every latent's mean product of adjacent values, its mean, and its mean square.

    Adjacent are horizontal and vertical neighbours. Shapes: [n, h, w, c] -> [n, 3], for
    `neighbour_correlation_of`.

    Raises:
        ValueError: the latents are not [n, h, w, c] with h and w at least 2, or hold a value that
            is not finite.
    """
    if latent.ndim != 4 or min(latent.shape[1:3]) < 2:
        raise ValueError(
            f"The latents have shape {latent.shape}; give [n, h, w, c] with h and w at least 2."
        )
    values = _flat(latent)
    grid = values.reshape(latent.shape)
    across, down = grid[:, :, 1:] * grid[:, :, :-1], grid[:, 1:] * grid[:, :-1]
    products = np.concatenate([part.reshape(len(grid), -1) for part in (across, down)], axis=1)
    columns = [products.mean(axis=1), values.mean(axis=1), np.mean(values**2, axis=1)]
    return np.stack(columns, axis=1)


def neighbour_correlation_of(neighbours: Float[np.ndarray, " 3"]) -> float:
    """Correlation of neighbouring values, (E zz' - m^2) / (E z^2 - m^2) with the pooled mean m.

    About [-1, 1]; 0 for white noise; NaN for a constant.
    """
    product, mean, square = (float(value) for value in neighbours)
    variance = square - mean**2
    return (product - mean**2) / variance if variance > 0 else float("nan")


def channel_sums(latent: Float[AnyArray, "n h w c"]) -> Float[np.ndarray, "n 2"]:
    """Every latent's mean and mean square over channels of sum(z) / sqrt(h w), its channel sums.

    Shapes: [n, h, w, c] -> [n, 2]. A channel sum is the lowest spatial frequency of a latent, where
    its overall colour lies; for N(0, I) it is N(0, 1).

    Raises:
        ValueError: the latents are not [n, h, w, c], or hold a value that is not finite.
    """
    if latent.ndim != 4:
        raise ValueError(f"The latents have shape {latent.shape}; give [n, h, w, c].")
    grid = _flat(latent).reshape(latent.shape)
    sums = grid.sum(axis=(1, 2)) / np.sqrt(latent.shape[1] * latent.shape[2])
    return np.stack([sums.mean(axis=1), np.mean(sums**2, axis=1)], axis=1)


def lowest_frequency_deviation_of(sums: Float[np.ndarray, " 2"]) -> float:
    """Standard deviation of the channel sums over latents and channels; 1 for N(0, I)."""
    return float(np.sqrt(max(sums[1] - sums[0] ** 2, 0.0)))
