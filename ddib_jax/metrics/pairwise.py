"""Distances between images and their counterparts, one figure an image."""

import numpy as np
from jaxtyping import Float

from ddib_jax.metrics.arrays import AnyArray, host_pair


def _norms(values: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, " n"]:
    return np.sqrt(np.sum(values.reshape(len(values), -1) ** 2, axis=1))


def rmse(
    images: Float[AnyArray, "n ..."], reference: Float[AnyArray, "n ..."]
) -> Float[np.ndarray, " n"]:
    """Root mean square error of every image, sqrt(mean((a - b)^2)).

    Shapes: two sets [n, ...] -> [n]; in the images' own unit, 0 or more.

    Raises:
        ValueError: the shapes differ, or the sets are empty.
    """
    first, second = host_pair(images, reference)
    return _norms(first - second) / np.sqrt(first[0].size)


def relative_rmse(
    images: Float[AnyArray, "n ..."], reference: Float[AnyArray, "n ..."]
) -> Float[np.ndarray, " n"]:
    """Relative root mean square error of every image, ||a - b|| / ||b||.

    Shapes: two sets [n, ...] -> [n]; no unit, 0 or more; NaN where the reference image is zero
    everywhere.

    Raises:
        ValueError: the shapes differ, or the sets are empty.
    """
    first, second = host_pair(images, reference)
    sizes = _norms(second)
    return np.divide(
        _norms(first - second), sizes, out=np.full(len(sizes), np.nan), where=sizes > 0
    )


def pooled_relative_rmse(
    images: Float[AnyArray, "n ..."], reference: Float[AnyArray, "n ..."]
) -> float:
    """Relative root mean square error of all images together, ||A - B|| / ||B||.

    Shapes: two sets [n, ...] -> one number; no unit, 0 or more; NaN where the whole reference is
    zero.

    Raises:
        ValueError: the shapes differ, or the sets are empty.
    """
    first, second = host_pair(images, reference)
    size = float(np.linalg.norm(second))
    return float(np.linalg.norm(first - second)) / size if size > 0 else float("nan")
