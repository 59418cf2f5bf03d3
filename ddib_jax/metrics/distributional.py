"""Distances between sets of feature vectors, and between real sets of the same size."""

import numpy as np
from jaxtyping import Bool, Float

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
    # S1 = A^T A and S2 = B^T B of the centred rows over the root of their number less one
    centred_a, centred_b = ((part - part.mean(axis=0)) / np.sqrt(len(part) - 1) for part in (a, b))
    variances = np.sum(centred_a**2) + np.sum(centred_b**2)
    if min(len(a), len(b)) < a.shape[1]:
        # as many values as rows: the singular values of A B^T are the roots of S1 S2's
        root_trace = np.linalg.svdvals(centred_a @ centred_b.T).sum()
    else:
        root = _root(centred_a.T @ centred_a)
        eigenvalues = np.linalg.eigvalsh(root @ (centred_b.T @ centred_b) @ root)
        root_trace = np.sqrt(np.clip(eigenvalues, 0.0, None)).sum()
    distance = shift @ shift + variances - 2 * root_trace
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


def within_manifold(
    features: Float[AnyArray, "n d"], others: Float[AnyArray, "m d"], *, neighbours: int = 3
) -> Bool[np.ndarray, " n"]:
    """Which rows lie within the manifold of other rows, as their neighbours span it.

    A row does where it is no farther from one of the others than that one's `neighbours`-th nearest
    among the others (Kynkaanniemi et al. 2019, equation 1). The mean over generated rows, of real
    others, is precision, and that over real rows, of generated others, is recall (equation 2).
    Shapes: [n, d] and [m, d] -> [n].

    Raises:
        ValueError: unlike widths, a value that is not finite, or no more than `neighbours` others.
    """
    a, b = _pair(features, others)
    if not 1 <= neighbours < len(b):
        raise ValueError(
            f"The manifold of {len(b)} rows was asked by {neighbours} neighbours; give from 1 to"
            " fewer than there are rows."
        )
    # the nearest is the row itself
    radius = np.partition(_squared_distances(b, b), neighbours, axis=1)[:, neighbours]
    return np.any(_squared_distances(a, b) <= radius, axis=1)


def _squared_distances(
    first: Float[np.ndarray, "n d"], second: Float[np.ndarray, "m d"]
) -> Float[np.ndarray, "n m"]:
    squares = np.sum(first**2, axis=1)[:, None] + np.sum(second**2, axis=1)
    return np.maximum(squares - 2 * first @ second.T, 0)


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
