"""What several networks share: sinusoids of time, the norm in float32, and halving and doubling the
resolution.
"""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float


def timestep_embedding(
    time: Float[Array, " b"],
    width: int,
    max_period: float = 10000.0,
    *,
    shift: float = 0.0,
    cosines_first: bool = True,
) -> Float[Array, "b w"]:
    """Sinusoidal embedding of (fractional) time steps [b] -> [b width] (Vaswani et al. 2017; Ho et
    al. 2020 has shift 1 and sines first).
    """
    half = width // 2
    frequencies = jnp.exp(
        -jnp.log(max_period) * jnp.arange(half, dtype=jnp.float32) / (half - shift)
    )
    angles = time.astype(jnp.float32)[:, None] * frequencies[None]
    waves = [jnp.cos(angles), jnp.sin(angles)]
    embedding = jnp.concatenate(waves if cosines_first else waves[::-1], axis=-1)
    return jnp.pad(embedding, ((0, 0), (0, width % 2)))


def group_norm(name: str, groups: int = 32, eps: float = 1e-5) -> nn.GroupNorm:
    """Group normalisation (Wu and He 2018), in float32 whatever the network computes in."""
    return nn.GroupNorm(num_groups=groups, epsilon=eps, dtype=jnp.float32, name=name)


def halve(x: Float[Array, "b h w c"]) -> Float[Array, "b h/2 w/2 c"]:
    """Means of 2 x 2 pixels."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))


def double(x: Float[Array, "b h w c"]) -> Float[Array, "b 2*h 2*w c"]:
    """Every pixel four times."""
    return x.repeat(2, axis=1).repeat(2, axis=2)
