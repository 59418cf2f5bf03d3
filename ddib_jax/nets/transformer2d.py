"""diffusers' `Transformer2DModel`: self- and cross-attention of feature maps, in linen.

Submodules bear the names of diffusers, so that a parameter's path, joined with dots, is its key.
"""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ddib_jax.nets.layers import Attending, group_norm, layer_norm

_NORM_EPS = 1e-6  # of the norm in front, whatever that of the residual blocks


class CrossAttention(Attending):
    """diffusers' `Attention` over positions of a context, which may be those of x itself."""

    heads: int
    dtype: Any

    @nn.compact
    def __call__(
        self, x: Float[Array, "b n c"], context: Float[Array, "b m e"]
    ) -> Float[Array, "b n c"]:
        b, n, c = x.shape

        def projected(name: str, of: Array) -> Array:
            dense = nn.Dense(c, use_bias=False, dtype=self.dtype, name=name)
            return dense(of).reshape(b, -1, self.heads, c // self.heads)

        q, k, v = projected("to_q", x), projected("to_k", context), projected("to_v", context)
        h = self.attend(q, k, v).reshape(b, n, c)
        return nn.Dense(c, dtype=self.dtype, name="to_out.0")(h)


class TransformerBlock(nn.Module):
    """diffusers' `BasicTransformerBlock`: attention to itself, to the text, and a gated MLP.

    Each is of the normed sum before it and is added to that sum.
    """

    heads: int
    dtype: Any

    @nn.compact
    def __call__(
        self, x: Float[Array, "b n c"], text: Float[Array, "b m e"]
    ) -> Float[Array, "b n c"]:
        width = x.shape[-1]
        h = layer_norm("norm1")(x)
        x = x + CrossAttention(self.heads, self.dtype, name="attn1")(h, h)
        x = x + CrossAttention(self.heads, self.dtype, name="attn2")(layer_norm("norm2")(x), text)
        h = nn.Dense(8 * width, dtype=self.dtype, name="ff.net.0.proj")(layer_norm("norm3")(x))
        h, gate = jnp.split(h, 2, axis=-1)
        h = h * nn.gelu(gate, approximate=False)
        return x + nn.Dense(width, dtype=self.dtype, name="ff.net.2")(h)


class Transformer2D(nn.Module):
    """Transformer blocks over the positions of a feature map, with the map's residual.

    heads: their number; the blocks are heads * (c // heads) wide. linear: the projections in and
    out are stored as linear layers, else as convolutions of width 1. remat: the blocks are computed
    anew on the way back.
    """

    heads: int
    layers: int
    groups: int
    linear: bool
    remat: bool
    dtype: Any

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], text: Float[Array, "b m e"]
    ) -> Float[Array, "b h w c"]:
        b, height, width, c = x.shape
        inner = self.heads * (c // self.heads)
        h = group_norm("norm", groups=self.groups, eps=_NORM_EPS)(x)
        h = self._projection(inner, "proj_in")(h).reshape(b, height * width, inner)
        block = nn.remat(TransformerBlock) if self.remat else TransformerBlock
        for layer in range(self.layers):
            h = block(self.heads, self.dtype, name=f"transformer_blocks.{layer}")(h, text)
        return x + self._projection(c, "proj_out")(h.reshape(b, height, width, inner))

    def _projection(self, features: int, name: str) -> nn.Module:
        if self.linear:
            return nn.Dense(features, dtype=self.dtype, name=name)
        return nn.Conv(features, (1, 1), dtype=self.dtype, name=name)
