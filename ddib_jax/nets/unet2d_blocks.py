"""The blocks of diffusers' `UNet2DModel`, parameter for parameter."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ddib_jax.nets.layers import Attending, double, group_norm, halve


class Embedding(nn.Module):
    """Two linear layers with an activation between: diffusers' `TimestepEmbedding`."""

    size: int
    dtype: Any
    act: Callable = nn.silu

    @nn.compact
    def __call__(self, x: Float[Array, "b w"]) -> Float[Array, "b e"]:
        x = self.act(nn.Dense(self.size, dtype=self.dtype, name="linear_1")(x))
        return nn.Dense(self.size, dtype=self.dtype, name="linear_2")(x)


class Residual(nn.Module):
    """diffusers' `ResnetBlock2D`: a residual block modulated by the embedding of time, if any.

    resample: "down" or "up" halves or doubles the resolution between the norm and the first
    convolution. divisor: of the sum of residual and input (`output_scale_factor`). scale_shift:
    the embedding scales and shifts the second norm, else it is added before it.
    """

    features: int
    act: Callable
    groups: int
    eps: float
    dtype: Any
    resample: str | None = None
    dropout: float = 0.0
    divisor: float = 1.0
    scale_shift: bool = False
    # A field and no argument of the call: `nn.remat` would trace it.
    train: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], embedding: Float[Array, "b e"] | None
    ) -> Float[Array, "b k l f"]:
        h = self.act(self._norm("norm1")(x)).astype(self.dtype)
        if self.resample:
            resample = {"down": halve, "up": double}[self.resample]
            h, x = resample(h), resample(x)
        h = self._conv("conv1")(h)
        h = self.act(self._modulated(h, embedding)).astype(self.dtype)
        h = nn.Dropout(self.dropout, deterministic=not self.train)(h)
        h = self._conv("conv2")(h)
        if x.shape[-1] != self.features:
            x = nn.Conv(self.features, (1, 1), dtype=self.dtype, name="conv_shortcut")(x)
        return (x + h) / self.divisor

    def _modulated(self, h: Array, embedding: Array | None) -> Array:
        """The second norm, under the embedding."""
        norm = self._norm("norm2")
        if embedding is None:
            return norm(h)
        width = self.features * (2 if self.scale_shift else 1)
        shift = nn.Dense(width, dtype=self.dtype, name="time_emb_proj")(self.act(embedding))
        shift = shift[:, None, None]
        if not self.scale_shift:
            return norm(h + shift)
        scale, shift = jnp.split(shift, 2, axis=-1)
        return norm(h) * (1 + scale) + shift

    def _norm(self, name: str) -> nn.GroupNorm:
        return group_norm(name, groups=self.groups, eps=self.eps)

    def _conv(self, name: str) -> nn.Conv:
        return nn.Conv(self.features, (3, 3), padding=1, dtype=self.dtype, name=name)


class Attention(Attending):
    """diffusers' self-attention over all positions, with its residual.

    head_dim: channels of a head; None is one head. groups: of the norm; None leaves it out.
    divisor: of the sum of attention and input (`rescale_output_factor`).
    """

    head_dim: int | None
    groups: int | None
    eps: float
    divisor: float
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        b, height, width, c = x.shape
        size = c if self.head_dim is None else self.head_dim
        heads = c // size
        inner = heads * size  # fewer than c where size does not divide it, as in diffusers
        h = x
        if self.groups is not None:
            h = group_norm("group_norm", groups=self.groups, eps=self.eps)(x)
        h = h.reshape(b, height * width, c)
        q, k, v = (
            nn.Dense(inner, dtype=self.dtype, name=f"to_{part}")(h).reshape(b, -1, heads, size)
            for part in "qkv"
        )
        h = self.attend(q, k, v).reshape(b, height, width, inner)
        return (x + nn.Dense(c, dtype=self.dtype, name="to_out.0")(h)) / self.divisor


class Down(nn.Module):
    """diffusers' `Downsample2D`: half the resolution by a strided convolution.

    padding: zeros on every side, in pixels. 0 is diffusers' way to say one pixel below and to the
    right and none above and to the left: the padding of the TensorFlow code of Ho et al. (2020).
    """

    padding: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b k l c"]:
        padding = ((0, 1), (0, 1)) if self.padding == 0 else self.padding
        return nn.Conv(x.shape[-1], (3, 3), 2, padding=padding, dtype=self.dtype, name="conv")(x)


class Up(nn.Module):
    """diffusers' `Upsample2D`: nearest-neighbour upsampling by 2, then a convolution."""

    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b 2*h 2*w c"]:
        return nn.Conv(x.shape[-1], (3, 3), padding=1, dtype=self.dtype, name="conv")(double(x))
