"""Which noise levels a training shows its images at, and with how much of their noise."""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from ddib_jax.types import NoiseSchedule, PRNGKey


@struct.dataclass
class LogNormal:
    """Noise levels for training with log sigma ~ N(mean, std^2) (Karras et al. 2022, table 1)."""

    mean: float = struct.field(pytree_node=False, default=-1.2)
    std: float = struct.field(pytree_node=False, default=1.2)

    def __call__(self, u: Float[Array, " b"]) -> Float[Array, " b"]:
        """The noise levels at the quantiles u in (0, 1)."""
        return jnp.exp(self.mean + self.std * jax.scipy.special.ndtri(u))


@struct.dataclass
class UniformTime:
    """Noise levels for training as DDPM's, with the model's time uniform over [t_min, t_max]."""

    schedule: NoiseSchedule = struct.field(pytree_node=False)
    t_min: float = struct.field(pytree_node=False)
    t_max: float = struct.field(pytree_node=False)

    def __call__(self, u: Float[Array, " b"]) -> Float[Array, " b"]:
        """The noise levels at the quantiles u in (0, 1)."""
        return self.schedule.sigma(self.t_min + (self.t_max - self.t_min) * u)


@struct.dataclass
class OffShell:
    """Some images of a training are shown with less noise than the noise level that is declared.

    An encoder's ODE starts from images without noise, and stays below the deviation that its noise
    levels name: at points that training never shows where each has all of its noise. Of the images
    a `share` is given a level log-uniform in [low, high] and the noise of deviation factor x level,
    factor = max(0, 1.3 u - 0.3) of a uniform u. E[data | x] is defined at those points as at
    others, and `stable_target` gives it.
    """

    share: float = struct.field(pytree_node=False)
    low: float = struct.field(pytree_node=False)
    high: float = struct.field(pytree_node=False)

    def __call__(
        self, key: PRNGKey, index: Int[Array, " b"], sigma: Float[Array, " b"]
    ) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
        """The declared noise levels [b], and the factors [b] of the noise that is shown.

        index, sigma: the images' places in the global batch, by which they draw, and the levels of
        those that are shown all of their noise.
        """
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
        chosen, level, factor = jax.vmap(lambda key: jax.random.uniform(key, (3,)))(keys).T
        chosen = chosen < self.share
        drawn = self.low * (self.high / self.low) ** level
        less = jnp.maximum(0, 1.3 * factor - 0.3)
        return jnp.where(chosen, drawn, sigma), jnp.where(chosen, less, 1.0)
