"""The blocks of diffusers' `UNet2DModel`, parameter for parameter."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ddib_jax.nets.layers import double, group_norm, halve


class Embedding(nn.Module):
    """Two linear layers with SiLU between: diffusers' `TimestepEmbedding`."""

    size: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b w"]):
        x = nn.silu(nn.Dense(self.size, dtype=self.dtype, name="linear_1")(x))
        return nn.Dense(self.size, dtype=self.dtype, name="linear_2")(x)


class Residual(nn.Module):
    """diffusers' `ResnetBlock2D`: a residual block with time embedding; `resample` halves or
    doubles the resolution on the way.
    """

    features: int
    resample: str | None
    dropout: float
    divisor: float
    act: Callable
    groups: int
    eps: float
    scale_shift: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], embedding: Float[Array, "b e"], train: bool):
        h = self.act(group_norm("norm1", self.groups, self.eps)(x)).astype(self.dtype)
        if self.resample:
            change = {"down": halve, "up": double}[self.resample]
            h, x = change(h), change(x)
        h = nn.Conv(self.features, (3, 3), padding=1, dtype=self.dtype, name="conv1")(h)
        width = self.features * (2 if self.scale_shift else 1)
        shift = nn.Dense(width, dtype=self.dtype, name="time_emb_proj")(self.act(embedding))[
            :, None, None
        ]
        norm = group_norm("norm2", self.groups, self.eps)
        if self.scale_shift:
            scale, shift = jnp.split(shift, 2, axis=-1)
            h = norm(h) * (1 + scale) + shift
        else:
            h = norm(h + shift)
        h = nn.Dropout(self.dropout, deterministic=not train)(self.act(h).astype(self.dtype))
        h = nn.Conv(self.features, (3, 3), padding=1, dtype=self.dtype, name="conv2")(h)
        if x.shape[-1] != self.features:
            x = nn.Conv(self.features, (1, 1), dtype=self.dtype, name="conv_shortcut")(x)
        return (x + h) / self.divisor


class Attention(nn.Module):
    """diffusers' self-attention over all positions, with its residual; `groups` None leaves the
    norm out.
    """

    head_dim: int | None
    groups: int | None
    eps: float
    divisor: float
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]):
        b, height, width, c = x.shape
        size = c if self.head_dim is None else self.head_dim
        inner = c // size * size
        h = x if self.groups is None else group_norm("group_norm", self.groups, self.eps)(x)
        h = h.reshape(b, height * width, c)
        q, k, v = (
            nn.Dense(inner, dtype=self.dtype, name=f"to_{part}")(h).reshape(b, -1, c // size, size)
            for part in "qkv"
        )
        h = jax.nn.dot_product_attention(q, k, v).reshape(b, height, width, inner)
        return (x + nn.Dense(c, dtype=self.dtype, name="to_out.0")(h)) / self.divisor


class Down(nn.Module):
    """A strided convolution; padding 0 stands for one pixel after, none before."""

    padding: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]):
        around = ((0, 1), (0, 1)) if self.padding == 0 else self.padding
        return nn.Conv(x.shape[-1], (3, 3), 2, padding=around, dtype=self.dtype, name="conv")(x)


class Up(nn.Module):
    """Nearest neighbour and a convolution."""

    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]):
        return nn.Conv(x.shape[-1], (3, 3), padding=1, dtype=self.dtype, name="conv")(double(x))
