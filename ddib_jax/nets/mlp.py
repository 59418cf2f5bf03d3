"""A residual multilayer perceptron for points of few dimensions."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ddib_jax.nets.layers import timestep_embedding

_TIME_WIDTH = 64


class MLP(nn.Module):
    """Residual blocks, each normalised, then scaled and shifted by the embedded time.

    The modulation is FiLM (Perez et al. 2018). time_scale multiplies the time before its embedding
    (16 for log(sigma) / 4). dtype is that of the computation; parameters stay float32.
    """

    out_channels: int = 2
    width: int = 128
    blocks: int = 3
    time_scale: float = 1.0
    dtype: str = "float32"

    def condition_spec(self) -> None:
        """None: there are no classes."""

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b d"],
        time: Float[Array, " b"],
        cond: None = None,
        *,
        train: bool = False,
    ) -> Float[Array, "b o"]:
        """Points [b d] at times [b] -> [b out_channels]; there are no classes: cond is None."""
        dtype = jnp.dtype(self.dtype)
        # Every block begins as the identity and the network as 0: the denoiser as its prior.
        zeros = nn.initializers.zeros
        embedding = timestep_embedding(time * self.time_scale, _TIME_WIDTH).astype(dtype)
        embedding = nn.silu(nn.Dense(self.width, dtype=dtype, name="time")(embedding))
        h = nn.Dense(self.width, dtype=dtype, name="in")(x.astype(dtype))
        for index in range(self.blocks):
            film = nn.Dense(2 * self.width, dtype=dtype, name=f"film.{index}")(embedding)
            scale, shift = jnp.split(film, 2, axis=-1)
            norm = nn.LayerNorm(use_scale=False, use_bias=False, dtype=dtype, name=f"norm.{index}")
            inner = nn.silu(norm(h) * (1 + scale) + shift)
            inner = nn.silu(nn.Dense(self.width, dtype=dtype, name=f"wide.{index}")(inner))
            back = nn.Dense(self.width, dtype=dtype, kernel_init=zeros, name=f"back.{index}")
            h = h + back(inner)
        return nn.Dense(self.out_channels, dtype=dtype, kernel_init=zeros, name="out")(nn.silu(h))
