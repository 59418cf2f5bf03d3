"""How far pictures are apart to the eye, by a network."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Float

from ddib_jax.nets.alexnet import SMALLEST
from ddib_jax.types import Params


@struct.dataclass
class Perceptual:
    """A network of two images that returns their distance (`nets.alexnet.LPIPS`), and its weights.

    Every size of picture is compiled once.
    """

    params: Params
    network: Any = struct.field(pytree_node=False)

    def __call__(
        self, images: Float[np.ndarray, "n h w c"], references: Float[np.ndarray, "n h w c"]
    ) -> Float[np.ndarray, " n"]:
        """The distances of images in [-1, 1], grey as three equal channels.

        NaN for pictures that are too small. Raises ValueError for other channels than 1 or 3.
        """
        if images.shape[-1] not in (1, 3):
            raise ValueError(
                f"LPIPS is of grey and RGB pictures, and these have {images.shape[-1]} channels;"
                " leave --lpips out."
            )
        if min(images.shape[1:3]) < SMALLEST:
            return np.full(len(images), np.nan)
        shape = (*images.shape[:3], 3)
        pair = (np.broadcast_to(each, shape).astype(np.float32) for each in (images, references))
        return np.asarray(_distance(self, *map(jnp.asarray, pair)), np.float64)


@jax.jit
def _distance(perceptual, images, references):
    return perceptual.network.apply({"params": perceptual.params}, images, references)
