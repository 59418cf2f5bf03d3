"""The blocks of openai/guided-diffusion's networks, parameter for parameter, and the way down that
they share.

Submodules bear the reference's own names (`input_blocks.1.0`, `in_layers.2` ...), so that a
parameter's path, joined with dots, is its key in a state dict; only layouts differ. NHWC
throughout.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ddib_jax.nets.layers import double, group_norm, halve, timestep_embedding


def conv(
    features: int, size: int, dtype, name: str, *, stride: int = 1, zero: bool = False
) -> nn.Conv:
    init = nn.initializers.zeros if zero else nn.initializers.lecun_normal()
    return nn.Conv(
        features, (size, size), stride, padding=size // 2, dtype=dtype, kernel_init=init, name=name
    )


class ResBlock(nn.Module):
    """Residual block with time (and class) embedding; `resample` halves or doubles the resolution
    on the way.
    """

    features: int
    scale_shift: bool = True
    dropout: float = 0.0
    resample: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], embedding: Float[Array, "b e"], train: bool):
        h = nn.silu(group_norm("in_layers.0")(x)).astype(self.dtype)
        if self.resample:
            change = {"down": halve, "up": double}[self.resample]
            h, x = change(h), change(x)
        h = conv(self.features, 3, self.dtype, "in_layers.2")(h)
        width = self.features * (2 if self.scale_shift else 1)
        shift = nn.Dense(width, dtype=self.dtype, name="emb_layers.1")(nn.silu(embedding))[
            :, None, None
        ]
        norm = group_norm("out_layers.0")
        if self.scale_shift:
            scale, shift = jnp.split(shift, 2, axis=-1)
            h = norm(h) * (1 + scale) + shift
        else:
            h = norm(h + shift)
        h = nn.Dropout(self.dropout, deterministic=not train)(nn.silu(h).astype(self.dtype))
        h = conv(self.features, 3, self.dtype, "out_layers.3", zero=True)(h)
        if x.shape[-1] != self.features:
            x = conv(self.features, 1, self.dtype, "skip_connection")(x)
        return x + h


class AttentionBlock(nn.Module):
    """Self-attention over all positions; `split_qkv_first` is the reference's
    `use_new_attention_order`.
    """

    heads: int
    split_qkv_first: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]):
        b, height, width, c = x.shape
        qkv = nn.Dense(3 * c, dtype=self.dtype, name="qkv")(
            group_norm("norm")(x).reshape(b, height * width, c)
        )
        if self.split_qkv_first:
            q, k, v = (
                part.reshape(b, -1, self.heads, c // self.heads)
                for part in jnp.split(qkv, 3, axis=-1)
            )
        else:
            q, k, v = jnp.split(qkv.reshape(b, -1, self.heads, 3 * c // self.heads), 3, axis=-1)
        h = jax.nn.dot_product_attention(q, k, v).reshape(b, height, width, c)
        zeros = nn.initializers.zeros
        return x + nn.Dense(c, dtype=self.dtype, kernel_init=zeros, name="proj_out")(h)


class Resample(nn.Module):
    """Strided convolution downward (`op`), or nearest neighbour and a convolution
    upward (`conv`).
    """

    direction: str
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]):
        if self.direction == "down":
            return conv(x.shape[-1], 3, self.dtype, "op", stride=2)(x)
        return conv(x.shape[-1], 3, self.dtype, "conv")(double(x))


class ADM(nn.Module):
    """What the U-Net and the encoder of Dhariwal and Nichol (2021) share: their options and their
    way down.
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

    def widths(self) -> list[int]:
        """The channels of every level."""
        return [int(mult * self.model_channels) for mult in self.channel_mult]

    def embedded(self, time: Float[Array, " b"]) -> Float[Array, "b e"]:
        """The embedding of time that every residual block is told."""
        dtype = jnp.dtype(self.dtype)
        embedding = timestep_embedding(time * self.time_scale, self.model_channels).astype(dtype)
        embedding = nn.Dense(4 * self.model_channels, dtype=dtype, name="time_embed.0")(embedding)
        return nn.Dense(4 * self.model_channels, dtype=dtype, name="time_embed.2")(
            nn.silu(embedding)
        )

    def seen(self, name: str, value: Array) -> Array:
        """The value, sown in the collection `intermediates` for whoever asks."""
        self.sow("intermediates", name, value)
        return value

    def residual(
        self,
        name: str,
        h: Array,
        embedding: Array,
        train: bool,
        features: int,
        resample: str | None = None,
    ) -> Array:
        """A residual block."""
        made = nn.remat(ResBlock, static_argnums=(3,)) if self.remat else ResBlock
        block = made(
            features,
            self.use_scale_shift_norm,
            self.dropout,
            resample,
            jnp.dtype(self.dtype),
            name=name,
        )
        return block(h, embedding, train)

    def attend(self, name: str, h: Array) -> Array:
        """Self-attention."""
        heads = (
            self.num_heads
            if self.num_head_channels is None
            else h.shape[-1] // self.num_head_channels
        )
        made = nn.remat(AttentionBlock) if self.remat else AttentionBlock
        return made(heads, self.use_new_attention_order, jnp.dtype(self.dtype), name=name)(h)

    def resampled(
        self, name: str, h: Array, embedding: Array, train: bool, direction: str
    ) -> Array:
        """Half or twice the resolution."""
        if self.resblock_updown:
            return self.residual(name, h, embedding, train, h.shape[-1], direction)
        return Resample(direction, jnp.dtype(self.dtype), name=name)(h)

    def down(
        self, x: Float[Array, "b h w c"], embedding: Float[Array, "b e"], train: bool
    ) -> list[Array]:
        """The outputs of all the blocks of the way down, the last one the lowest."""
        widths, dtype = self.widths(), jnp.dtype(self.dtype)
        h = self.seen(
            "input_blocks.0", conv(widths[0], 3, dtype, "input_blocks.0.0")(x.astype(dtype))
        )
        skips = [h]
        for level, width in enumerate(widths):
            for _ in range(self.num_res_blocks):
                name = f"input_blocks.{len(skips)}"
                h = self.residual(f"{name}.0", h, embedding, train, width)
                if h.shape[1] in self.attention_resolutions:
                    h = self.attend(f"{name}.1", h)
                skips.append(self.seen(name, h))
            if level < len(widths) - 1:
                name = f"input_blocks.{len(skips)}"
                h = self.resampled(f"{name}.0", h, embedding, train, "down")
                skips.append(self.seen(name, h))
        return skips

    def middle(self, h: Array, embedding: Array, train: bool) -> Array:
        """Two residual blocks around attention, at the lowest resolution."""
        h = self.residual("middle_block.0", h, embedding, train, h.shape[-1])
        h = self.attend("middle_block.1", h)
        return self.seen(
            "middle_block", self.residual("middle_block.2", h, embedding, train, h.shape[-1])
        )
