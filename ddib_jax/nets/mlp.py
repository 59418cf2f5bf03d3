"""A residual multilayer perceptron for points of few dimensions."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ddib_jax.nets.layers import timestep_embedding


class MLP(nn.Module):
    """Residual blocks with pre-normalisation, each scaled and shifted by the embedded time (Perez
    et al. 2018, FiLM).

    time_scale multiplies the time before its embedding (16 for log(sigma) / 4). The last layer and
    each block's begin at zero. dtype is that of the computation; parameters stay float32.
    """

    out_channels: int = 2
    width: int = 128
    blocks: int = 3
    time_scale: float = 1.0
    dtype: str = "float32"

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b d"],
        time: Float[Array, " b"],
        cond: None = None,
        train: bool = False,
    ) -> Float[Array, "b o"]:
        """x [b d], time [b] -> [b out_channels]; it has no classes."""
        dtype, zeros = jnp.dtype(self.dtype), nn.initializers.zeros
        embedding = timestep_embedding(time * self.time_scale, 64).astype(dtype)
        embedding = nn.silu(nn.Dense(self.width, dtype=dtype, name="time")(embedding))
        h = nn.Dense(self.width, dtype=dtype, name="in")(x.astype(dtype))
        for number in range(self.blocks):
            scale, shift = jnp.split(
                nn.Dense(2 * self.width, dtype=dtype, name=f"film.{number}")(embedding), 2, axis=-1
            )
            inner = (
                nn.LayerNorm(use_scale=False, use_bias=False, dtype=dtype, name=f"norm.{number}")(h)
                * (1 + scale)
                + shift
            )
            inner = nn.silu(
                nn.Dense(self.width, dtype=dtype, name=f"wide.{number}")(nn.silu(inner))
            )
            h = h + nn.Dense(self.width, dtype=dtype, kernel_init=zeros, name=f"back.{number}")(
                inner
            )
        return nn.Dense(self.out_channels, dtype=dtype, kernel_init=zeros, name="out")(nn.silu(h))
