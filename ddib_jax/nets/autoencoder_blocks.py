"""Encoder and decoder of diffusers' autoencoders in linen, parameter for parameter.

Submodules bear the names of diffusers (`down_blocks.0.resnets.1` ...). NHWC throughout.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ddib_jax.nets.layers import ACTIVATIONS, group_norm
from ddib_jax.nets.unet2d_blocks import Attention, Down, Residual, Up

_EPS = 1e-6  # of every norm


class Half(nn.Module):
    """What encoder and decoder have in common.

    features: channels of the output. widths: channels of each level, from the image's resolution
    on. layers: residual blocks a level of the encoder; the decoder has one more. attends: the
    middle has attention of one head. act: of the residual blocks, by diffusers' name.
    """

    features: int
    widths: Sequence[int]
    layers: int
    groups: int
    act: str
    attends: bool
    dtype: Any

    def convolution(self, name: str, h: Array, features: int) -> Array:
        """A 3 x 3 convolution of the same resolution."""
        return nn.Conv(features, (3, 3), padding=1, dtype=self.dtype, name=name)(h)

    def residual(self, name: str, h: Array, features: int) -> Array:
        """A residual block that knows no time."""
        act = ACTIVATIONS[self.act]
        return Residual(features, act, self.groups, _EPS, self.dtype, name=name)(h, None)

    def middle(self, h: Array) -> Array:
        """Two residual blocks, around attention where there is some."""
        h = self.residual("mid_block.resnets.0", h, self.widths[-1])
        if self.attends:
            name = "mid_block.attentions.0"
            h = Attention(None, self.groups, _EPS, 1.0, self.dtype, name=name)(h)
        return self.residual("mid_block.resnets.1", h, self.widths[-1])

    def end(self, h: Array) -> Array:
        """The last norm, SiLU whatever `act` is, and the last convolution."""
        h = nn.silu(group_norm("conv_norm_out", groups=self.groups, eps=_EPS)(h))
        return self.convolution("conv_out", h.astype(self.dtype), self.features)


class Encoder(Half):
    """diffusers' `Encoder`: images [b h w c] -> [b h/f w/f features], f = 2^(levels - 1)."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b k l f"]:
        h = self.convolution("conv_in", x.astype(self.dtype), self.widths[0])
        for level, width in enumerate(self.widths):
            for layer in range(self.layers):
                h = self.residual(f"down_blocks.{level}.resnets.{layer}", h, width)
            if level < len(self.widths) - 1:
                h = Down(0, self.dtype, name=f"down_blocks.{level}.downsamplers.0")(h)
        return self.end(self.middle(h))


class Decoder(Half):
    """diffusers' `Decoder`: [b k l c] -> images [b f*k f*l features], f = 2^(levels - 1)."""

    @nn.compact
    def __call__(self, z: Float[Array, "b k l c"]) -> Float[Array, "b h w f"]:
        h = self.middle(self.convolution("conv_in", z.astype(self.dtype), self.widths[-1]))
        for step, width in enumerate(reversed(self.widths)):
            for layer in range(self.layers + 1):
                h = self.residual(f"up_blocks.{step}.resnets.{layer}", h, width)
            if step < len(self.widths) - 1:
                h = Up(self.dtype, name=f"up_blocks.{step}.upsamplers.0")(h)
        return self.end(h)


class Autoencoder(nn.Module):
    """The options that diffusers' autoencoders share, under their names; see its subclasses."""

    in_channels: int = 3
    out_channels: int = 3
    down_block_types: Sequence[str] = ("DownEncoderBlock2D",)
    up_block_types: Sequence[str] = ("UpDecoderBlock2D",)
    block_out_channels: Sequence[int] = (64,)
    layers_per_block: int = 1
    act_fn: str = "silu"
    latent_channels: int = 4
    norm_num_groups: int = 32
    mid_block_add_attention: bool = True
    dtype: str = "float32"

    @property
    def factor(self) -> int:
        """Pixels of an image's side for one of its code's."""
        return 2 ** (len(self.block_out_channels) - 1)

    def half(self, kind: type[Half], features: int) -> Half:
        """The encoder or the decoder, `kind`, to so many channels.

        Raises ValueError for an option that is not supported.
        """
        levels = len(self.block_out_channels)
        for option, known in (
            ("down_block_types", "DownEncoderBlock2D"),
            ("up_block_types", "UpDecoderBlock2D"),
        ):
            types = tuple(getattr(self, option))
            if types != (known,) * levels:
                raise ValueError(
                    f"{option} = {types!r} of diffusers is not supported; an autoencoder of"
                    f" {levels} levels has as many {known}."
                )
        if self.act_fn not in ACTIVATIONS:
            raise ValueError(
                f"act_fn = {self.act_fn!r} of diffusers is not supported; known are"
                f" {', '.join(ACTIVATIONS)}."
            )
        return kind(
            features,
            tuple(self.block_out_channels),
            self.layers_per_block,
            self.norm_num_groups,
            self.act_fn,
            self.mid_block_add_attention,
            jnp.dtype(self.dtype),
        )

    def check_size(self, x: Array) -> None:
        """Raise ValueError for images whose sides the levels do not divide."""
        if x.shape[1] % self.factor or x.shape[2] % self.factor:
            raise ValueError(
                f"This autoencoder needs heights and widths divisible by {self.factor}; the images"
                f" are {x.shape[1]} x {x.shape[2]}."
            )
