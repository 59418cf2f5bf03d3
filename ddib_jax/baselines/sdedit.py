"""SDEdit (Meng et al. 2022): noise up to a middle level, then the target model's ODE down."""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from ddib_jax.bridge import Bridge, as_floats, fixed_noise
from ddib_jax.types import Image, Keys


@struct.dataclass
class SDEdit:
    """Images with fresh noise of deviation `sigma`, decoded by the target's probability-flow ODE.

    target: the bridge of the target domain, whose grid is compressed to end at sigma. The higher
    the level, the closer the result is to target images and the less is kept of the source.
    """

    target: Bridge
    sigma: Float[Array, ""]

    def check(self) -> None:
        """Raise ValueError for a noise level that the bridge does not reach."""
        self.target.up_to(self.sigma)

    def __call__(self, keys: Keys, image: Image) -> Image:
        """Images [b h w c] in [-1, 1] and their keys [b] -> translations [b h w c]."""
        data = self.target.model.to_data(as_floats(image, "images"))
        noisy = data + self.sigma * fixed_noise(keys, data)
        return self.target.up_to(self.sigma).sample(noisy / jnp.sqrt(1 + self.sigma**2))
