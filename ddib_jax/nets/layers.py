"""What several families of networks use: attention, embeddings of time, norms, resampling by 2."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ddib_jax.nets.attention import attention

ACTIVATIONS: dict[str, Callable] = {
    "silu": nn.silu,
    "swish": nn.silu,
    "mish": lambda x: x * jnp.tanh(nn.softplus(x)),
    "gelu": lambda x: nn.gelu(x, approximate=False),
    "relu": nn.relu,
}
"""Name of an activation in diffusers -> the function."""


class Attending(nn.Module):
    """A module that attends.

    Its attention is a method of its own so that hooks can read and replace what goes into it, what
    comes out and the operation itself, by the same names in every network (`nets.hooks`).
    """

    def attend(
        self,
        q: Float[Array, "b n heads d"],
        k: Float[Array, "b m heads d"],
        v: Float[Array, "b m heads d"],
    ) -> Float[Array, "b n heads d"]:
        """softmax(q k^T / sqrt(d)) v in each head: n queries over m positions."""
        return attention(q, k, v)


def timestep_embedding(
    time: Float[Array, " b"],
    width: int,
    *,
    max_period: float = 10000.0,
    shift: float = 0.0,
    cosines_first: bool = True,
) -> Float[Array, "b w"]:
    """Sinusoidal embedding of time (Vaswani et al. 2017): [b] -> [b width], float32.

    Times may be fractional. The frequencies fall geometrically from 1 to
    max_period^(-(half - 1) / (half - shift)), half = width // 2: shift 1 reaches 1 / max_period
    (Ho et al. 2020, with sines first), shift 0 does not quite (openai/guided-diffusion). An odd
    width is filled with one zero.
    """
    half = width // 2
    steps = jnp.arange(half, dtype=jnp.float32)
    frequencies = jnp.exp(-jnp.log(max_period) * steps / (half - shift))
    angles = time.astype(jnp.float32)[:, None] * frequencies[None]
    waves = [jnp.cos(angles), jnp.sin(angles)]
    embedding = jnp.concatenate(waves if cosines_first else waves[::-1], axis=-1)
    return jnp.pad(embedding, ((0, 0), (0, width % 2)))


def group_norm(name: str, *, groups: int = 32, eps: float = 1e-5) -> nn.GroupNorm:
    """Group normalisation (Wu and He 2018), in float32 whatever the network computes in.

    eps is torch's 1e-5 by default and not flax's 1e-6: the twins in torch have theirs.
    """
    return nn.GroupNorm(num_groups=groups, epsilon=eps, dtype=jnp.float32, name=name)


def layer_norm(name: str, *, eps: float = 1e-5) -> nn.LayerNorm:
    """Layer normalisation (Ba et al. 2016), in float32 whatever the network computes in.

    The variance is that of the centred values: transformers have channels far from the mean, in
    which the mean of squares less the square of the mean would lose its digits.
    """
    return nn.LayerNorm(epsilon=eps, dtype=jnp.float32, use_fast_variance=False, name=name)


def halve(x: Float[Array, "b h w c"]) -> Float[Array, "b h/2 w/2 c"]:
    """Half the resolution: the mean of every 2 x 2 pixels."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))


def double(x: Float[Array, "b h w c"]) -> Float[Array, "b 2*h 2*w c"]:
    """Twice the resolution: nearest-neighbour upsampling."""
    return x.repeat(2, axis=1).repeat(2, axis=2)


def space_to_depth(
    x: Float[Array, "b h w c"], size: int
) -> Float[Array, "b h//{size} w//{size} d"]:
    """Patches of size x size pixels as channels, d = size^2 c of them."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // size, size, w // size, size, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h // size, w // size, size * size * c)


def depth_to_space(x: Float[Array, "b h w d"], size: int) -> Float[Array, "b h*{size} w*{size} c"]:
    """What `space_to_depth` undoes."""
    b, h, w, c = x.shape
    x = x.reshape(b, h, w, size, size, c // size**2).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h * size, w * size, c // size**2)
