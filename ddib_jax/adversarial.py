"""What a game between generators and discriminators needs: its losses, and a pool of what
generators made before.
"""

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
    """Mean cross entropy of sigmoid(logits) to real, 1 or 0 (Goodfellow et al. 2014, its
    non-saturating form).
    """
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, jnp.full_like(logits, real)))


GAN_LOSSES: dict[str, Callable] = {"lsgan": least_squares, "vanilla": vanilla}


@struct.dataclass
class ImagePool:
    """The last images that a generator made, of which a discriminator is shown some in place of new
    ones (Shrivastava et al. 2017).

    images [n h w c]; filled []: how many of them are there yet, a float so that a pool can lie
    among trained arrays.
    """

    images: Any
    filled: Any

    @classmethod
    def empty(cls, size: int, shape: tuple[int, ...]) -> "ImagePool":
        """A pool for `size` images of a shape."""
        return cls(jnp.zeros((size, *shape)), jnp.zeros(()))

    def exchanged(
        self, key: PRNGKey, made: Float[Array, "b ..."]
    ) -> tuple[Float[Array, "b ..."], "ImagePool"]:
        """What to show for the images made, and the pool after: a pool that is not full takes each,
        a full one swaps every other one for one of its own.
        """
        size = len(self.images)
        if size == 0:
            return made, self

        def one(pool, item):
            key, image = item
            place_key, swap_key = jax.random.split(key)
            full = pool.filled >= size
            place = jnp.where(
                full, jax.random.randint(place_key, (), 0, size), pool.filled.astype(jnp.int32)
            )
            swaps = full & jax.random.bernoulli(swap_key)
            shown = jnp.where(swaps, pool.images[place], image)
            taken = jnp.where(full & ~swaps, pool.images[place], image)
            return (
                ImagePool(pool.images.at[place].set(taken), jnp.minimum(pool.filled + 1, size)),
                shown,
            )

        pool, shown = jax.lax.scan(one, self, (jax.random.split(key, len(made)), made))
        return shown, pool
