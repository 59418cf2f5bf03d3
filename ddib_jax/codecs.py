"""Codecs of latent diffusion: what stands between images and the codes that a model knows."""

from typing import Any

import jax
from flax import linen as nn
from flax import struct
from jaxtyping import Array, Float

from ddib_jax.types import Params


@struct.dataclass
class AutoencoderCodec:
    """An autoencoder as a codec (`types.Codec`): code = (z - shift) scaling_factor / latents_std.

    z is what `network.encode` gives, of an `AutoencoderKL` the mean; shift is `shift_factor` plus
    `latents_mean`. decode is the exact inverse of that, then `network.decode`, whose images are not
    clipped.

    params: of the network. scaling_factor: so that codes are of about unit variance. shift_factor:
    a number for all channels; latents_mean and latents_std [c]: one for each. Each may be None.
    network: an `AutoencoderKL` or a `VQModel`. image_shape: of one image, [h w c].
    """

    params: Params
    scaling_factor: float | Float[Array, ""] = 1.0
    shift_factor: float | Float[Array, ""] | None = None
    latents_mean: Float[Array, " c"] | None = None
    latents_std: Float[Array, " c"] | None = None
    network: nn.Module = struct.field(pytree_node=False, kw_only=True)
    image_shape: tuple[int, int, int] = struct.field(pytree_node=False, kw_only=True)

    def encode(self, image: Float[Array, "b h w c"]) -> Float[Array, "b k l z"]:
        """Images in [-1, 1] -> codes; of a Gaussian autoencoder their mean, which is their mode."""
        z = self._apply(image, "encode")
        for shift in (self.shift_factor, self.latents_mean):
            z = z if shift is None else z - shift
        return z * (self.scaling_factor / (1.0 if self.latents_std is None else self.latents_std))

    def decode(self, code: Float[Array, "b k l z"]) -> Float[Array, "b h w c"]:
        """Codes -> images, about in [-1, 1]."""
        z = code * ((1.0 if self.latents_std is None else self.latents_std) / self.scaling_factor)
        for shift in (self.shift_factor, self.latents_mean):
            z = z if shift is None else z + shift
        return self._apply(z, "decode")

    def _apply(self, x: Array, method: str) -> jax.Array:
        output: Any = self.network.apply({"params": self.params}, x, method=method)
        # The dtype of the network is its own matter: data have that of the images.
        return output.astype(x.dtype)
