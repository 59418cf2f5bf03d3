"""The ADM U-Net of Dhariwal and Nichol (2021) in linen, parameter for parameter.

Submodules bear the reference's own names (`input_blocks.1.0`, `in_layers.2` ...), so that a parameter's path, joined
with dots, is its key in an openai/guided-diffusion state dict; only layouts differ. NHWC throughout.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int


def timestep_embedding(time: Float[Array, "b"], width: int, max_period: float = 10000.0) -> Float[Array, "b w"]:
    """Sinusoidal embedding of (fractional) time steps [b] -> [b width], cosines first (Vaswani et al. 2017)."""
    half = width // 2
    frequencies = jnp.exp(-jnp.log(max_period) * jnp.arange(half, dtype=jnp.float32) / half)
    angles = time.astype(jnp.float32)[:, None] * frequencies[None]
    embedding = jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)
    return jnp.pad(embedding, ((0, 0), (0, width % 2)))


def _norm(name: str) -> nn.GroupNorm:
    return nn.GroupNorm(num_groups=32, epsilon=1e-5, dtype=jnp.float32, name=name)


def _conv(features: int, size: int, dtype, name: str, *, stride: int = 1, zero: bool = False) -> nn.Conv:
    init = nn.initializers.zeros if zero else nn.initializers.lecun_normal()
    return nn.Conv(features, (size, size), stride, padding=size // 2, dtype=dtype, kernel_init=init, name=name)


def _halve(x: Array) -> Array:
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))


def _double(x: Array) -> Array:
    return x.repeat(2, axis=1).repeat(2, axis=2)


class ResBlock(nn.Module):
    """Residual block with time (and class) embedding; `resample` halves or doubles the resolution on the way."""

    features: int
    scale_shift: bool = True
    dropout: float = 0.0
    resample: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], embedding: Float[Array, "b e"], train: bool):
        h = nn.silu(_norm("in_layers.0")(x)).astype(self.dtype)
        if self.resample:
            change = {"down": _halve, "up": _double}[self.resample]
            h, x = change(h), change(x)
        h = _conv(self.features, 3, self.dtype, "in_layers.2")(h)
        width = self.features * (2 if self.scale_shift else 1)
        shift = nn.Dense(width, dtype=self.dtype, name="emb_layers.1")(nn.silu(embedding))[:, None, None]
        norm = _norm("out_layers.0")
        if self.scale_shift:
            scale, shift = jnp.split(shift, 2, axis=-1)
            h = norm(h) * (1 + scale) + shift
        else:
            h = norm(h + shift)
        h = nn.Dropout(self.dropout, deterministic=not train)(nn.silu(h).astype(self.dtype))
        h = _conv(self.features, 3, self.dtype, "out_layers.3", zero=True)(h)
        if x.shape[-1] != self.features:
            x = _conv(self.features, 1, self.dtype, "skip_connection")(x)
        return x + h


class AttentionBlock(nn.Module):
    """Self-attention over all positions; `split_qkv_first` is the reference's `use_new_attention_order`."""

    heads: int
    split_qkv_first: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]):
        b, height, width, c = x.shape
        qkv = nn.Dense(3 * c, dtype=self.dtype, name="qkv")(_norm("norm")(x).reshape(b, height * width, c))
        if self.split_qkv_first:
            q, k, v = (part.reshape(b, -1, self.heads, c // self.heads) for part in jnp.split(qkv, 3, axis=-1))
        else:
            q, k, v = jnp.split(qkv.reshape(b, -1, self.heads, 3 * c // self.heads), 3, axis=-1)
        h = jax.nn.dot_product_attention(q, k, v).reshape(b, height, width, c)
        zeros = nn.initializers.zeros
        return x + nn.Dense(c, dtype=self.dtype, kernel_init=zeros, name="proj_out")(h)


class Resample(nn.Module):
    """Strided convolution downward (`op`), or nearest neighbour and a convolution upward (`conv`)."""

    direction: str
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]):
        if self.direction == "down":
            return _conv(x.shape[-1], 3, self.dtype, "op", stride=2)(x)
        return _conv(x.shape[-1], 3, self.dtype, "conv")(_double(x))


class UNet(nn.Module):
    """The U-Net of openai/guided-diffusion (`UNetModel`), with its options under its names.

    attention_resolutions: heights of the feature maps that attend, in pixels of the network (after the stem).
    num_head_channels, where given, sets the width of a head; else num_heads counts them. learn_sigma
    doubles the output channels. patch_size > 1 is a space-to-depth stem, an addition: the network runs on [h/p, w/p]
    with p^2 times the channels. time_scale multiplies the time before its embedding (1 for time steps of
    a thousand, 16 for log(sigma) / 4). dtype is that of the computation; parameters stay float32.

    Every block's output is sown in the collection `intermediates` under the block's name, free when not asked for.
    """

    out_channels: int = 3
    model_channels: int = 64
    channel_mult: Sequence[int | float] = (1, 2, 2)
    num_res_blocks: int = 1
    attention_resolutions: Sequence[int] = (8, 4)
    num_heads: int = 1
    num_head_channels: int | None = None
    use_scale_shift_norm: bool = True
    resblock_updown: bool = False
    use_new_attention_order: bool = False
    num_classes: int | None = None
    learn_sigma: bool = False
    dropout: float = 0.0
    patch_size: int = 1
    time_scale: float = 1.0
    dtype: str = "float32"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], time: Float[Array, "b"], cond: Int[Array, "b"] | None = None, train: bool = False
    ) -> Float[Array, "b h w o"]:
        """x [b h w c] -> [b h w out_channels]; time [b]; cond: class labels [b] where num_classes is set.

        Raises ValueError where h or w does not divide by the stem and the stages, and where labels and num_classes
        do not go together.
        """
        self._check(x, cond)
        dtype = jnp.dtype(self.dtype)
        embedding = timestep_embedding(time * self.time_scale, self.model_channels).astype(dtype)
        embedding = nn.Dense(4 * self.model_channels, dtype=dtype, name="time_embed.0")(embedding)
        embedding = nn.Dense(4 * self.model_channels, dtype=dtype, name="time_embed.2")(nn.silu(embedding))
        if self.num_classes is not None:
            embedding += nn.Embed(self.num_classes, 4 * self.model_channels, dtype=dtype, name="label_emb")(cond)

        def seen(name: str, value: Array) -> Array:
            self.sow("intermediates", name, value)
            return value

        def residual(name: str, h: Array, features: int, resample: str | None = None) -> Array:
            block = ResBlock(features, self.use_scale_shift_norm, self.dropout, resample, dtype, name=name)
            return block(h, embedding, train)

        def attend(name: str, h: Array) -> Array:
            heads = self.num_heads if self.num_head_channels is None else h.shape[-1] // self.num_head_channels
            return AttentionBlock(heads, self.use_new_attention_order, dtype, name=name)(h)

        def resampled(name: str, h: Array, direction: str) -> Array:
            if self.resblock_updown:
                return residual(name, h, h.shape[-1], direction)
            return Resample(direction, dtype, name=f"{name}")(h)

        widths = [int(mult * self.model_channels) for mult in self.channel_mult]
        h = _space_to_depth(x, self.patch_size).astype(dtype)
        h = seen("input_blocks.0", _conv(widths[0], 3, dtype, "input_blocks.0.0")(h))
        skips = [h]
        for level, width in enumerate(widths):
            for _ in range(self.num_res_blocks):
                name = f"input_blocks.{len(skips)}"
                h = residual(f"{name}.0", h, width)
                if h.shape[1] in self.attention_resolutions:
                    h = attend(f"{name}.1", h)
                skips.append(seen(name, h))
            if level < len(widths) - 1:
                name = f"input_blocks.{len(skips)}"
                h = resampled(f"{name}.0", h, "down")
                skips.append(seen(name, h))

        h = residual("middle_block.0", h, h.shape[-1])
        h = attend("middle_block.1", h)
        h = seen("middle_block", residual("middle_block.2", h, h.shape[-1]))

        blocks = 0
        for level, width in reversed(list(enumerate(widths))):
            for repeat in range(self.num_res_blocks + 1):
                name, layers = f"output_blocks.{blocks}", 1
                h = residual(f"{name}.0", jnp.concatenate([h, skips.pop()], axis=-1), width)
                if h.shape[1] in self.attention_resolutions:
                    h, layers = attend(f"{name}.1", h), 2
                if level and repeat == self.num_res_blocks:
                    h = resampled(f"{name}.{layers}", h, "up")
                h = seen(name, h)
                blocks += 1

        channels = self.out_channels * (2 if self.learn_sigma else 1) * self.patch_size**2
        h = nn.silu(_norm("out.0")(h)).astype(dtype)
        return _depth_to_space(_conv(channels, 3, dtype, "out.2", zero=True)(h), self.patch_size)

    def _check(self, x: Array, cond: Array | None) -> None:
        unit = self.patch_size * 2 ** (len(self.channel_mult) - 1)
        if x.shape[1] % unit or x.shape[2] % unit:
            raise ValueError(f"This U-Net needs heights and widths divisible by {unit}; the images are {x.shape[1]} x {x.shape[2]}.")
        if (cond is None) != (self.num_classes is None):
            found = "no labels were given" if cond is None else "labels were given"
            kind = f"has {self.num_classes} classes" if self.num_classes else "has no classes"
            raise ValueError(f"The network {kind} and {found}; give labels to class-conditional models, and to those alone.")


def _space_to_depth(x: Float[Array, "b h w c"], size: int) -> Array:
    b, h, w, c = x.shape
    x = x.reshape(b, h // size, size, w // size, size, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h // size, w // size, size * size * c)


def _depth_to_space(x: Float[Array, "b h w c"], size: int) -> Array:
    b, h, w, c = x.shape
    x = x.reshape(b, h, w, size, size, c // size**2).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h * size, w * size, c // size**2)
