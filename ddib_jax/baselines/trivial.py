"""Methods that do nothing clever, which every other one is held beside."""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from ddib_jax.types import Image, PRNGKey


@struct.dataclass
class Identity:
    """The source as it is: all of it kept, nothing translated."""

    def __call__(self, key: PRNGKey, image: Image) -> Image:
        """Images [b h w c] -> the same."""
        return image


@struct.dataclass
class Nearest:
    """The real target image that is nearest in L2: as real as can be, and what it keeps is chance.
    targets [n h w c].
    """

    targets: Float[Array, "n ..."]

    def __call__(self, key: PRNGKey, image: Image) -> Image:
        """Images [b h w c] -> their neighbours among the targets."""
        mine, theirs = image.reshape(len(image), -1), self.targets.reshape(len(self.targets), -1)
        distances = jnp.sum(theirs**2, axis=1)[None] - 2 * mine @ theirs.T
        return self.targets[jnp.argmin(distances, axis=1)]
