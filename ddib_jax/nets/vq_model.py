"""diffusers' `VQModel` in linen, parameter for parameter: images and codes out of a codebook."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ddib_jax.nets.autoencoder_blocks import Autoencoder, Decoder, Encoder


class Codebook(nn.Module):
    """diffusers' `VectorQuantizer`: every vector becomes the nearest of `entries`.

    The gradient passes as if it had not.
    """

    entries: int

    @nn.compact
    def __call__(self, h: Float[Array, "b k l d"]) -> Float[Array, "b k l d"]:
        table = nn.Embed(self.entries, h.shape[-1], name="embedding").embedding
        products = jnp.matmul(h.astype(jnp.float32), table.T, precision="highest")
        distances = jnp.sum(table**2, axis=-1) - 2 * products
        nearest = table[jnp.argmin(distances, axis=-1)].astype(h.dtype)
        return h + jax.lax.stop_gradient(nearest - h)


class VQModel(Autoencoder):
    """The autoencoder of unconditional latent diffusion; its fields are diffusers' options.

    vq_embed_dim: channels of a code, by default `latent_channels`. A code need not be of the
    codebook: it becomes so as it is decoded.
    """

    latent_channels: int = 3
    num_vq_embeddings: int = 256
    vq_embed_dim: int | None = None

    def setup(self) -> None:
        """Encoder, decoder, codebook and a convolution of width 1 on either side of that."""
        dtype, latent = jnp.dtype(self.dtype), self.latent_channels
        self.encoder = self.half(Encoder, latent)
        self.decoder = self.half(Decoder, self.out_channels)
        self.quant_conv = nn.Conv(self.vq_embed_dim or latent, (1, 1), dtype=dtype)
        self.quantize = Codebook(self.num_vq_embeddings)
        self.post_quant_conv = nn.Conv(latent, (1, 1), dtype=dtype)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w o"]:
        """Images through their codes and back."""
        return self.decode(self.encode(x))

    def encode(self, x: Float[Array, "b h w c"]) -> Float[Array, "b k l z"]:
        """Codes of images [b h w c] in [-1, 1], before they are taken from the codebook.

        Raises ValueError for sides that the levels do not divide.
        """
        self.check_size(x)
        return self.quant_conv(self.encoder(x))

    def decode(self, z: Float[Array, "b k l z"]) -> Float[Array, "b h w o"]:
        """Images of codes, each the nearest one of the codebook; not clipped to [-1, 1]."""
        return self.decoder(self.post_quant_conv(self.quantize(z)))
