"""The classifier of noisy images of Dhariwal and Nichol (2021) in linen: the way down of their
U-Net, pooled (see `adm_blocks`).
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ddib_jax.nets.adm_blocks import ADM
from ddib_jax.nets.layers import group_norm

POOLS = ("adaptive", "attention", "spatial", "spatial_v2")


class NoisyClassifier(ADM):
    """`EncoderUNetModel` of openai/guided-diffusion: images of any noise level and their times ->
    logits of classes.

    pool: "adaptive" and "attention" look at the lowest feature map, "spatial" and "spatial_v2" at
    the means of all of them.
    """

    num_classes: int = 1000
    pool: str = "attention"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], time: Float[Array, " b"], train: bool = False
    ) -> Float[Array, "b k"]:
        """x [b h w c], as the diffusion model sees it; time [b] -> logits [b num_classes];
        ValueError for an unknown pool.
        """
        if self.pool not in POOLS:
            raise ValueError(f"Unknown pool '{self.pool}'; known are {', '.join(POOLS)}.")
        dtype = jnp.dtype(self.dtype)
        embedding = self.embedded(time)
        maps = self.down(x, embedding, train)
        h = self.middle(maps[-1], embedding, train)
        if self.pool.startswith("spatial"):
            seen = jnp.concatenate([level.mean((1, 2)) for level in (*maps, h)], axis=-1).astype(
                jnp.float32
            )
            hidden = nn.Dense(2048, name="out.0")(seen)
            if self.pool == "spatial":
                return nn.Dense(self.num_classes, name="out.2")(nn.relu(hidden))
            return nn.Dense(self.num_classes, name="out.3")(nn.silu(group_norm("out.1")(hidden)))
        h = nn.silu(group_norm("out.0")(h)).astype(dtype)
        if self.pool == "adaptive":
            return nn.Conv(self.num_classes, (1, 1), dtype=dtype, name="out.3")(
                h.mean((1, 2), keepdims=True)
            )[:, 0, 0]
        heads = (
            self.num_heads
            if self.num_head_channels is None
            else h.shape[-1] // self.num_head_channels
        )
        return AttentionPool(self.num_classes, heads, name="out.2")(h)


class AttentionPool(nn.Module):
    """What the mean of all positions attends to (CLIP's pooling, Radford et al. 2021)."""

    features: int
    heads: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b f"]:
        b, height, width, c = x.shape
        x = x.reshape(b, height * width, c)
        x = jnp.concatenate([x.mean(1, keepdims=True), x], axis=1)
        positions = self.param(
            "positional_embedding", nn.initializers.normal(c**-0.5), (c, height * width + 1)
        )
        qkv = nn.Dense(3 * c, name="qkv_proj")(x + positions.T[None])
        q, k, v = (
            part.reshape(b, -1, self.heads, c // self.heads) for part in jnp.split(qkv, 3, axis=-1)
        )
        h = jax.nn.dot_product_attention(q, k, v).reshape(b, -1, c)
        return nn.Dense(self.features, name="c_proj")(h[:, 0])
