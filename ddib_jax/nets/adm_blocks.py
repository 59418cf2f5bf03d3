"""The blocks of openai/guided-diffusion's networks, and the half that U-Net and encoder share.

Submodules bear the reference's own names (`input_blocks.1.0`, `in_layers.2` ...), so that a
parameter's path, joined with dots, is its key in a state dict; only layouts differ. NHWC
throughout.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ddib_jax.nets.layers import Attending, double, group_norm, halve, timestep_embedding


def conv(
    features: int, size: int, dtype: Any, name: str, *, stride: int = 1, zero: bool = False
) -> nn.Conv:
    """A convolution of torch's padding size // 2; `zero`: its kernel begins at 0.

    The padding is written out: flax's "SAME" pads a strided convolution by one pixel after and none
    before, torch on both sides.
    """
    init = nn.initializers.zeros if zero else nn.initializers.lecun_normal()
    return nn.Conv(
        features, (size, size), stride, padding=size // 2, dtype=dtype, kernel_init=init, name=name
    )


class ResBlock(nn.Module):
    """A residual block on feature maps, modulated by the embedding of time (and class).

    resample: "down" or "up" halves or doubles the resolution between the norm and the first
    convolution. scale_shift: the embedding scales and shifts the second norm, else it is added
    before it.
    """

    features: int
    scale_shift: bool = True
    dropout: float = 0.0
    resample: str | None = None
    dtype: Any = jnp.float32
    # A field and no argument of the call: `nn.remat` would trace it.
    train: bool = False
    groups: int = 32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], embedding: Float[Array, "b e"]
    ) -> Float[Array, "b k l f"]:
        h = nn.silu(group_norm("in_layers.0", groups=self.groups)(x)).astype(self.dtype)
        if self.resample:
            resample = {"down": halve, "up": double}[self.resample]
            h, x = resample(h), resample(x)
        h = conv(self.features, 3, self.dtype, "in_layers.2")(h)
        width = self.features * (2 if self.scale_shift else 1)
        shift = nn.Dense(width, dtype=self.dtype, name="emb_layers.1")(nn.silu(embedding))
        shift = shift[:, None, None]
        norm = group_norm("out_layers.0", groups=self.groups)
        if self.scale_shift:
            scale, shift = jnp.split(shift, 2, axis=-1)
            h = norm(h) * (1 + scale) + shift
        else:
            h = norm(h + shift)
        h = nn.Dropout(self.dropout, deterministic=not self.train)(nn.silu(h).astype(self.dtype))
        # Zero: a block begins as the identity.
        h = conv(self.features, 3, self.dtype, "out_layers.3", zero=True)(h)
        if x.shape[-1] != self.features:
            x = conv(self.features, 1, self.dtype, "skip_connection")(x)
        return x + h


class AttentionBlock(Attending):
    """Self-attention over all positions of a feature map, with its residual.

    split_qkv_first is the reference's `use_new_attention_order`.
    """

    heads: int
    split_qkv_first: bool = False
    dtype: Any = jnp.float32
    groups: int = 32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        b, height, width, c = x.shape
        normed = group_norm("norm", groups=self.groups)(x).reshape(b, height * width, c)
        qkv = nn.Dense(3 * c, dtype=self.dtype, name="qkv")(normed)
        # The 3c channels are [3 heads c/heads] in the new order, [heads 3 c/heads] in the old one.
        # Weights of one order would load into the other without complaint, and mean nothing.
        if self.split_qkv_first:
            parts = jnp.split(qkv, 3, axis=-1)
            q, k, v = (part.reshape(b, -1, self.heads, c // self.heads) for part in parts)
        else:
            q, k, v = jnp.split(qkv.reshape(b, -1, self.heads, 3 * c // self.heads), 3, axis=-1)
        h = self.attend(q, k, v).reshape(b, height, width, c)
        zeros = nn.initializers.zeros
        return x + nn.Dense(c, dtype=self.dtype, kernel_init=zeros, name="proj_out")(h)


class Resample(nn.Module):
    """Half the resolution by a strided convolution, or twice by nearest neighbour and another one.

    direction: "down" or "up".
    """

    direction: str
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b k l c"]:
        if self.direction == "down":
            return conv(x.shape[-1], 3, self.dtype, "op", stride=2)(x)
        return conv(x.shape[-1], 3, self.dtype, "conv")(double(x))


class ADM(nn.Module):
    """The options and the downward half of the networks of Dhariwal and Nichol (2021).

    Its methods are called within the compact `__call__` of a subclass. `embedding` is [b e], `h`
    and the results are feature maps [b h w c]; names are those of the submodules they make.
    """

    model_channels: int = 64
    channel_mult: Sequence[int | float] = (1, 2, 2)
    num_res_blocks: int = 1
    attention_resolutions: Sequence[int] = (8, 4)
    num_heads: int = 1
    num_head_channels: int | None = None
    use_scale_shift_norm: bool = True
    resblock_updown: bool = False
    use_new_attention_order: bool = False
    dropout: float = 0.0
    time_scale: float = 1.0
    dtype: str = "float32"
    remat: bool = False
    # told in model.json only where it is another than the reference's 32
    norm_num_groups: int = dataclasses.field(default=32, metadata={"unless_default": True})

    @property
    def bottleneck(self) -> str:
        """The layer whose output is the bottleneck, the last of the lowest resolution."""
        return "middle_block.2"

    def widths(self) -> list[int]:
        """The channels of every level."""
        return [int(mult * self.model_channels) for mult in self.channel_mult]

    def heads(self, channels: int) -> int:
        """The number of attention heads on so many channels."""
        if self.num_head_channels is None:
            return self.num_heads
        return channels // self.num_head_channels

    def time_embedding(self, time: Float[Array, " b"]) -> Float[Array, "b e"]:
        """The embedding of time that modulates every residual block: e = 4 model_channels."""
        dtype, width = jnp.dtype(self.dtype), 4 * self.model_channels
        embedding = timestep_embedding(time * self.time_scale, self.model_channels).astype(dtype)
        embedding = nn.silu(nn.Dense(width, dtype=dtype, name="time_embed.0")(embedding))
        return nn.Dense(width, dtype=dtype, name="time_embed.2")(embedding)

    def residual(
        self,
        name: str,
        h: Array,
        embedding: Array,
        features: int,
        *,
        train: bool,
        resample: str | None = None,
    ) -> Array:
        """A residual block to `features` channels."""
        block = (nn.remat(ResBlock) if self.remat else ResBlock)(
            features,
            self.use_scale_shift_norm,
            self.dropout,
            resample,
            jnp.dtype(self.dtype),
            train,
            self.norm_num_groups,
            name=name,
        )
        return block(h, embedding)

    def attention(self, name: str, h: Array) -> Array:
        """Self-attention over all positions."""
        block = nn.remat(AttentionBlock) if self.remat else AttentionBlock
        heads, dtype = self.heads(h.shape[-1]), jnp.dtype(self.dtype)
        groups = self.norm_num_groups
        return block(heads, self.use_new_attention_order, dtype, groups, name=name)(h)

    def resample(
        self, name: str, h: Array, embedding: Array, direction: str, *, train: bool
    ) -> Array:
        """Half ("down") or twice ("up") the resolution."""
        if self.resblock_updown:
            channels = h.shape[-1]
            return self.residual(name, h, embedding, channels, train=train, resample=direction)
        return Resample(direction, jnp.dtype(self.dtype), name=name)(h)

    def down(
        self, x: Float[Array, "b h w c"], embedding: Float[Array, "b e"], *, train: bool
    ) -> list[Array]:
        """The outputs of all the blocks of the downward half, the last one of lowest resolution."""
        widths, dtype = self.widths(), jnp.dtype(self.dtype)
        h = conv(widths[0], 3, dtype, "input_blocks.0.0")(x.astype(dtype))
        outputs = [h]
        for level, width in enumerate(widths):
            for _ in range(self.num_res_blocks):
                name = f"input_blocks.{len(outputs)}"
                h = self.residual(f"{name}.0", h, embedding, width, train=train)
                if h.shape[1] in self.attention_resolutions:
                    h = self.attention(f"{name}.1", h)
                outputs.append(h)
            if level < len(widths) - 1:
                name = f"input_blocks.{len(outputs)}"
                h = self.resample(f"{name}.0", h, embedding, "down", train=train)
                outputs.append(h)
        return outputs

    def middle(self, h: Array, embedding: Array, *, train: bool) -> Array:
        """Two residual blocks around attention, at the lowest resolution."""
        channels = h.shape[-1]
        h = self.residual("middle_block.0", h, embedding, channels, train=train)
        h = self.attention("middle_block.1", h)
        return self.residual(self.bottleneck, h, embedding, channels, train=train)
