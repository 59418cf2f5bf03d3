"""Adversarial losses, and the pool of past images that discriminators are trained on."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float

from ddib_jax.types import PRNGKey


def least_squares(logits: Float[Array, "..."], real: float) -> Float[Array, ""]:
    """Mean of (logits - real)^2, real being 1 or 0 (Mao et al. 2017)."""
    return jnp.mean(jnp.square(logits - real))


def vanilla(logits: Float[Array, "..."], real: float) -> Float[Array, ""]:
    """Mean cross entropy of sigmoid(logits) to real, which is 1 or 0.

    The loss of Goodfellow et al. (2014), for generators in its non-saturating form.
    """
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, jnp.full_like(logits, real)))


GAN_LOSSES: dict[str, Callable] = {"lsgan": least_squares, "vanilla": vanilla}
"""Name -> loss, called with (logits, real)."""


@struct.dataclass
class ImagePool:
    """Past images of a generator, of which a discriminator gets some in place of new ones.

    Shrivastava et al. (2017). images [n h w c]; filled []: the number of them so far, a float, so
    that a pool can be one of the trained parameters.
    """

    images: Any
    filled: Any

    @classmethod
    def empty(cls, size: int, shape: tuple[int, ...]) -> "ImagePool":
        """A pool for `size` images of `shape`, [h w c]."""
        return cls(jnp.zeros((size, *shape)), jnp.zeros(()))

    def exchanged(
        self, key: PRNGKey, generated: Float[Array, "b ..."]
    ) -> tuple[Float[Array, "b ..."], "ImagePool"]:
        """The images [b ...] for the discriminator, and the pool after them.

        A pool that is not full stores each generated image and returns it. A full one returns every
        other image, on average, from its store, and stores the generated one in its stead.
        """
        size = len(self.images)
        if size == 0:
            return generated, self

        def exchange_one(pool, item):
            key, image = item
            index_key, swap_key = jax.random.split(key)
            is_full = pool.filled >= size
            random_index = jax.random.randint(index_key, (), 0, size)
            index = jnp.where(is_full, random_index, pool.filled.astype(jnp.int32))
            swaps = is_full & jax.random.bernoulli(swap_key)
            stored = pool.images[index]
            returned = jnp.where(swaps, stored, image)
            images = pool.images.at[index].set(jnp.where(is_full & ~swaps, stored, image))
            return ImagePool(images, jnp.minimum(pool.filled + 1, size)), returned

        keys = jax.random.split(key, len(generated))
        pool, returned = jax.lax.scan(exchange_one, self, (keys, generated))
        return returned, pool
