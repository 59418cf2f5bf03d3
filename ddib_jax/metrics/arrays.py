"""Conversion of the metrics' arrays to float64 on the host, with checks of shape and value."""

from typing import TypeAlias

import jax
import numpy as np
from jaxtyping import Float, Shaped

AnyArray: TypeAlias = np.ndarray | jax.Array
"""An array of the host or of a device."""


def host(array: Shaped[AnyArray, "..."]) -> Float[np.ndarray, "..."]:
    """The array in float64 on the host, of the same shape; no unit is changed."""
    return np.asarray(array).astype(np.float64)


def host_pair(
    first: Shaped[AnyArray, "..."], second: Shaped[AnyArray, "..."]
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Both arrays in float64 on the host.

    Raises:
        ValueError: the shapes differ, or there is no image in them.
    """
    if first.shape != second.shape or first.ndim == 0 or first.shape[0] == 0:
        raise ValueError(
            f"The two sets have shapes {first.shape} and {second.shape}; give two sets of one and"
            " the same shape, with at least one image."
        )
    return host(first), host(second)


def host_rgb(images: Shaped[AnyArray, "..."]) -> Float[np.ndarray, "n h w 3"]:
    """Images of [-1, 1] as RGB values in [0, 1], clipped to the range as in an 8-bit file.

    Raises:
        ValueError: the images are not of shape [n, h, w, 3], or hold a NaN or an infinity.
    """
    if images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(
            f"The images have shape {images.shape}; give RGB images of shape [n, h, w, 3] in"
            " [-1, 1]."
        )
    values = host(images)
    if not np.isfinite(values).all():
        raise ValueError(
            "The images hold a NaN or an infinity; find the step that made it before measuring."
        )
    return np.clip((values + 1.0) / 2.0, 0.0, 1.0)
