"""SDEdit (Meng et al. 2022): noise to a middling level, then denoise as the target model does."""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from ddib_jax.bridge import Bridge
from ddib_jax.types import Image, PRNGKey


@struct.dataclass
class SDEdit:
    """Images with fresh noise of deviation `sigma`, decoded from there by the target's
    probability-flow ODE.

    target: the bridge of the target domain, whose grid is squeezed to end at sigma. A higher level
    makes more of a target image and keeps less of the source.
    """

    target: Bridge
    sigma: Float[Array, ""]

    def __call__(self, key: PRNGKey, image: Image) -> Image:
        """Images [b h w c] in [-1, 1] -> translations [b h w c]."""
        noisy = image + self.sigma * jax.random.normal(key, image.shape, image.dtype)
        return self.target.up_to(self.sigma).sample(noisy / jnp.sqrt(1 + self.sigma**2))
