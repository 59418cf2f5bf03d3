"""Trivial baselines: the source itself, and the nearest real target image."""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from ddib_jax.bridge import as_floats
from ddib_jax.types import Image, Keys


@struct.dataclass
class Identity:
    """The source as it is: everything of it is kept, and nothing translated."""

    def __call__(self, keys: Keys, image: Image) -> Image:
        """Images [b h w c] -> the same."""
        return image


@struct.dataclass
class Nearest:
    """The real target image that is nearest in L2, of `targets` [n h w c].

    Its images are real by construction, and keep of the source what they happen to share with it.
    """

    targets: Float[Array, "n ..."]

    def __call__(self, keys: Keys, image: Image) -> Image:
        """Images [b h w c] -> their nearest targets [b h w c]."""
        sources, targets = (
            as_floats(a, "images").reshape(len(a), -1) for a in (image, self.targets)
        )
        # squared distances, less |source|^2, which is common to all targets
        products = jnp.matmul(sources, targets.T, precision="highest")
        distances = jnp.sum(targets**2, axis=1)[None] - 2 * products
        return self.targets[jnp.argmin(distances, axis=1)]
