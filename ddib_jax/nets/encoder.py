"""The classifier of noisy images of Dhariwal and Nichol (2021) in linen, parameter for parameter.

It is the downward half of their U-Net, pooled (see `adm_blocks`).
"""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ddib_jax.nets.adm_blocks import ADM
from ddib_jax.nets.layers import Attending, group_norm

POOLS = ("adaptive", "attention", "spatial", "spatial_v2")
_SPATIAL_WIDTH = 2048


class NoisyClassifier(ADM):
    """`EncoderUNetModel` of openai/guided-diffusion: noisy images and their times -> class logits.

    pool: "adaptive" and "attention" take the lowest feature map, "spatial" and "spatial_v2" the
    means of all of them.
    """

    num_classes: int = 1000
    pool: str = "attention"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], time: Float[Array, " b"], *, train: bool = False
    ) -> Float[Array, "b k"]:
        """Images x_t [b h w c], as the diffusion model takes them, at times [b] -> logits [b k].

        Raises ValueError for an unknown pool.
        """
        if self.pool not in POOLS:
            raise ValueError(f"Unknown pool '{self.pool}'; known are {', '.join(POOLS)}.")
        dtype = jnp.dtype(self.dtype)
        embedding = self.time_embedding(time)
        maps = self.down(x, embedding, train=train)
        h = self.middle(maps[-1], embedding, train=train)
        if self.pool.startswith("spatial"):
            return self._spatial([*maps, h])
        h = nn.silu(group_norm("out.0", groups=self.norm_num_groups)(h)).astype(dtype)
        if self.pool == "attention":
            return AttentionPool(self.num_classes, self.heads(h.shape[-1]), name="out.2")(h)
        # A convolution of width 1, not a dense layer: so is its weight stored.
        classify = nn.Conv(self.num_classes, (1, 1), dtype=dtype, name="out.3")
        return classify(h.mean((1, 2), keepdims=True))[:, 0, 0]

    def _spatial(self, maps: list[Array]) -> Float[Array, "b k"]:
        means = jnp.concatenate([h.mean((1, 2)) for h in maps], axis=-1).astype(jnp.float32)
        hidden = nn.Dense(_SPATIAL_WIDTH, name="out.0")(means)
        if self.pool == "spatial":
            return nn.Dense(self.num_classes, name="out.2")(nn.relu(hidden))
        norm = group_norm("out.1", groups=self.norm_num_groups)
        return nn.Dense(self.num_classes, name="out.3")(nn.silu(norm(hidden)))


class AttentionPool(Attending):
    """Attention of the mean of all positions over these positions (CLIP, Radford et al. 2021)."""

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
        parts = jnp.split(qkv, 3, axis=-1)
        q, k, v = (part.reshape(b, -1, self.heads, c // self.heads) for part in parts)
        h = self.attend(q, k, v).reshape(b, -1, c)
        return nn.Dense(self.features, name="c_proj")(h[:, 0])  # the answer to the mean
