"""A U-Net and the text encoder that it is told texts by, as one network: to train them jointly."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from ddib_jax.nets.clip_text import CLIPText
from ddib_jax.nets.unet2d_condition import UNet2DCondition


class Captioned(nn.Module):
    """`unet` told the tokens of a text, through `text_encoder`.

    Its parameters are those of both, under these names: once trained they part, and the U-Net is
    told what the encoder says, as Stable Diffusion's is.
    """

    unet: UNet2DCondition
    text_encoder: CLIPText

    def condition_spec(self) -> jax.ShapeDtypeStruct:
        """The tokens of a text, int32 [text_length]."""
        return jax.ShapeDtypeStruct((self.unet.text_length,), jnp.int32)

    def rematerialised(self) -> "Captioned":
        """This network with the U-Net's blocks computed anew on the way back."""
        return self.clone(unet=self.unet.clone(remat=True))

    def __call__(
        self,
        x: Float[Array, "b h w c"],
        time: Float[Array, " b"],
        cond: Int[Array, "b n"],
        *,
        train: bool = False,
    ) -> Float[Array, "b h w o"]:
        """Inputs [b h w c] at times [b], texts of n tokens -> [b h w o]; raises as the U-Net."""
        return self.unet(x, time, {"text": self.text_encoder(cond).hidden}, train=train)
