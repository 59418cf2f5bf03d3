"""diffusers' `AutoencoderKL` in linen, parameter for parameter: images and their Gaussian codes."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ddib_jax.nets.autoencoder_blocks import Autoencoder, Decoder, Encoder

_LOG_VARIANCE = (-30.0, 20.0)  # what diffusers clips it to


class AutoencoderKL(Autoencoder):
    """The autoencoder of Stable Diffusion; its fields are diffusers' options.

    What scales a code (`scaling_factor`, `shift_factor`, `latents_mean`, `latents_std`) is not the
    network's but the codec's (`ddib_jax.codecs`). dtype is that of the computation; norms and
    softmax are in float32.
    """

    use_quant_conv: bool = True
    use_post_quant_conv: bool = True

    def setup(self) -> None:
        """Encoder and decoder, with a convolution of width 1 between where there is one."""
        dtype, latent = jnp.dtype(self.dtype), self.latent_channels
        self.encoder = self.half(Encoder, 2 * latent)
        self.decoder = self.half(Decoder, self.out_channels)
        if self.use_quant_conv:
            self.quant_conv = nn.Conv(2 * latent, (1, 1), dtype=dtype)
        if self.use_post_quant_conv:
            self.post_quant_conv = nn.Conv(latent, (1, 1), dtype=dtype)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w o"]:
        """Images through their codes' means and back."""
        return self.decode(self.encode(x))

    def moments(
        self, x: Float[Array, "b h w c"]
    ) -> tuple[Float[Array, "b k l z"], Float[Array, "b k l z"]]:
        """Mean and logarithm of the variance of the codes of images [b h w c] in [-1, 1].

        Raises ValueError for sides that the levels do not divide.
        """
        self.check_size(x)
        h = self.encoder(x)
        if self.use_quant_conv:
            h = self.quant_conv(h)
        mean, log_variance = jnp.split(h, 2, axis=-1)
        return mean, jnp.clip(log_variance, *_LOG_VARIANCE)

    def encode(self, x: Float[Array, "b h w c"]) -> Float[Array, "b k l z"]:
        """The mean, which is the mode too, of the codes of images [b h w c] in [-1, 1]."""
        return self.moments(x)[0]

    def decode(self, z: Float[Array, "b k l z"]) -> Float[Array, "b h w o"]:
        """Images of codes, not clipped to [-1, 1]."""
        return self.decoder(self.post_quant_conv(z) if self.use_post_quant_conv else z)
