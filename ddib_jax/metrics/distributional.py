"""Distances between sets of feature vectors, and between real sets of the same size."""

import numpy as np
from jaxtyping import Float

from ddib_jax.metrics.arrays import AnyArray, host


def _features(features: Float[AnyArray, "n d"], min_rows: int) -> Float[np.ndarray, "n d"]:
    if features.ndim != 2 or features.shape[0] < min_rows:
        raise ValueError(
            f"The features have shape {features.shape}; give [n, d] with at least {min_rows} rows."
        )
    values = host(features)
    if not np.isfinite(values).all():
        raise ValueError(
            "The features hold a NaN or an infinity; find the image that made it before measuring."
        )
    return values


def _pair(
    first: Float[AnyArray, "n d"], second: Float[AnyArray, "m d"]
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "m d"]]:
    a, b = _features(first, 2), _features(second, 2)
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"The features have {a.shape[1]} and {b.shape[1]} columns; compute both sets with one"
            " and the same network."
        )
    return a, b


def _root(matrix: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T


def frechet_distance(first: Float[AnyArray, "n d"], second: Float[AnyArray, "m d"]) -> float:
    """Frechet distance between Gaussian fits of two sets (Heusel et al., 2017).

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)); the trace of the root is that of (S1^(1/2) S2
    S1^(1/2))^(1/2), symmetric, by eigendecomposition in float64. Shapes: [n, d] and [m, d] -> one
    number; in squared feature units, 0 or more. It is biased upward by small sets: compare only at
    equal sizes, and beside `frechet_real`.

    Raises:
        ValueError: fewer than two rows, unlike widths, or a value that is not finite.
    """
    a, b = _pair(first, second)
    shift = a.mean(axis=0) - b.mean(axis=0)
    cov_a, cov_b = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    root = _root(cov_a)
    eigenvalues = np.linalg.eigvalsh(root @ cov_b @ root)
    root_trace = np.sqrt(np.clip(eigenvalues, 0.0, None)).sum()
    distance = shift @ shift + np.trace(cov_a) + np.trace(cov_b) - 2 * root_trace
    return float(max(distance, 0.0))


def kernel_distance(first: Float[AnyArray, "n d"], second: Float[AnyArray, "m d"]) -> float:
    """Kernel distance, the unbiased squared MMD of Binkowski et al. (2018).

    The kernel is (x.y / d + 1)^3. Shapes: [n, d] and [m, d] -> one number; no bias from small sets,
    so it may fall below 0 for equal distributions.

    Raises:
        ValueError: fewer than two rows, unlike widths, or a value that is not finite.
    """
    a, b = _pair(first, second)

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1.0) ** 3

    def within(x: np.ndarray) -> float:
        gram = kernel(x, x)
        return float((gram.sum() - np.trace(gram)) / (len(x) * (len(x) - 1)))

    return within(a) + within(b) - 2 * float(kernel(a, b).mean())


def frechet_real(
    reference: Float[AnyArray, "n d"],
    pool: Float[AnyArray, "m d"],
    *,
    size: int,
    repeats: int = 20,
    seed: int = 0,
) -> Float[np.ndarray, " repeats"]:
    """Frechet distances [repeats] of real images to real images, in squared feature units.

    They are those to `reference` [n, d] of sets of `size` rows drawn from `pool` [m, d] without
    replacement. `size` is the number of translations that are scored against the same reference, so
    that both have the same bias; the pool is of other real images of the target domain (its
    training split).

    Raises:
        ValueError: the pool has fewer than `size` rows, or the sets do not fit `frechet_distance`.
    """
    target, others = _pair(reference, pool)
    if not 2 <= size <= len(others):
        raise ValueError(
            f"Real sets of {size} were asked of a pool of {len(others)}; give from 2 to the pool's"
            " size."
        )
    rng = np.random.default_rng(seed)
    draws = (rng.choice(len(others), size=size, replace=False) for _ in range(repeats))
    return np.asarray([frechet_distance(others[rows], target) for rows in draws])


def split_halves(
    features: Float[AnyArray, "n d"], *, seed: int = 0
) -> tuple[Float[np.ndarray, "k d"], Float[np.ndarray, "k d"]]:
    """Two disjoint random halves of one set, equally large.

    For `frechet_real` where there is no second real set. Shapes: [n, d] -> two of [n // 2, d]; an
    odd row is left out.

    Raises:
        ValueError: fewer than four rows.
    """
    values = _features(features, 4)
    order = np.random.default_rng(seed).permutation(len(values))
    half = len(values) // 2
    return values[order[:half]], values[order[half : 2 * half]]
