"""Where words of a prompt are in a picture, by a network's attention to them."""

import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ddib_jax.nets.hooks import attention_weights


def places_of_words(
    values: Mapping[str, Array], layers: Sequence[str], words: Float[Array | np.ndarray, " n"]
) -> Float[Array, "b p"]:
    """How much each position attends to words, from 0 at the least to 1 at the most attentive.

    The mean over heads and layers, all of as many positions. values: the queries and keys of
    `layers`, by site. words: 1 at the tokens in question (`tokens_of`).
    """
    said = []
    for layer in layers:
        weights = attention_weights(values[f"{layer}.query"], values[f"{layer}.key"])
        said.append(jnp.matmul(weights.mean(axis=1), words, precision="highest"))
    return stretched(jnp.stack(said).mean(axis=0)[..., None])[..., 0]


def at_positions(
    mask: Float[Array, "b p"], positions: int, shape: tuple[int, ...]
) -> Float[Array, "b n"]:
    """A mask of p positions as one of as many as another layer has: of the nearest position.

    shape: that of the data, [h w c], which both layers divide evenly.
    """
    picture = mask.reshape(len(mask), *sides(mask.shape[1], shape))
    resized = jax.image.resize(picture, (len(mask), *sides(positions, shape)), "nearest")
    return resized.reshape(len(mask), positions)


def sides(positions: int, shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of a layer of so many positions of data of `shape` [h w c]."""
    height, width, _ = shape
    scale = math.sqrt(height * width / positions)
    return round(height / scale), round(width / scale)


def stretched(x: Float[Array, "b n k"]) -> Float[Array, "b n k"]:
    """Each image's components scaled to [0, 1] over its positions, by ends held fixed."""
    low, high = (jax.lax.stop_gradient(f(x, axis=1, keepdims=True)) for f in (jnp.min, jnp.max))
    return (x - low) / (high - low + _SMALL)


_SMALL = 1e-6
