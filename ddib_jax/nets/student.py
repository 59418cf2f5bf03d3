"""A network that translates in one evaluation: a U-Net that corrects a linear map of images."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ddib_jax.nets.unet import UNet


class LinearFlow(nn.Module):
    """x -> to + rest c + sum of gains over directions of c, c = x - mean: a Gaussian's flow.

    Its arrays are set and not learnt (`distillation.gaussian_map`); they begin as the identity.
    """

    rank: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        zeros, shape = nn.initializers.zeros, x.shape[1:]
        mean = self.param("mean", zeros, shape)
        to = self.param("to", zeros, shape)
        rest = self.param("rest", nn.initializers.ones, ())
        gains = self.param("gains", zeros, (self.rank,))
        directions = self.param("directions", zeros, (self.rank, *shape))
        centred = (x - mean[None]).reshape(len(x), -1)
        basis = directions.reshape(self.rank, -1)
        along = jnp.matmul(centred, basis.T, precision="highest")
        flowed = rest * centred + jnp.matmul(gains * along, basis, precision="highest")
        return to[None] + flowed.reshape(x.shape)


class Student(nn.Module):
    """Images to translations: two linear flows, and a U-Net's correction of where they lead.

    The flows are those of the Gaussians of both domains, up and down: what a DDIB of two Gaussians
    would make of the image. The U-Net sees the image beside that, at time 0, and begins as nothing.
    Options as of `UNet`; rank: of both flows.
    """

    out_channels: int = 3
    rank: int = 128
    model_channels: int = 32
    channel_mult: Sequence[int] = (1, 2, 4)
    num_res_blocks: int = 1
    attention_resolutions: Sequence[int] = (8, 4)
    patch_size: int = 2
    norm_num_groups: int = 4

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Images [b h w c] in [-1, 1] -> translations [b h w c]."""
        up, down = LinearFlow(self.rank, name="up"), LinearFlow(self.rank, name="down")
        mapped = down(up(x))
        unet = UNet(
            out_channels=self.out_channels,
            model_channels=self.model_channels,
            channel_mult=self.channel_mult,
            num_res_blocks=self.num_res_blocks,
            attention_resolutions=self.attention_resolutions,
            patch_size=self.patch_size,
            norm_num_groups=self.norm_num_groups,
            name="unet",
        )
        return mapped + unet(jnp.concatenate([x, mapped], axis=-1), jnp.zeros(len(x), x.dtype))
