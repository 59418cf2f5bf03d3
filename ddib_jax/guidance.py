"""Guidance: a model's denoiser turned towards a condition, in encoding and decoding alike.

A guidance is a pytree called with (denoise, x, sigma, time, cond) that returns the guided
denoiser's answer (`types.Guidance`). It belongs to the model, so that encoding and decoding cannot
differ in it.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from ddib_jax.types import Cond, Denoise, NoiseSchedule, NoisyClassifierNetwork, Params


@struct.dataclass
class ClassifierFreeGuidance:
    """D = D_null + scale (D_cond - D_null) (Ho and Salimans 2022).

    null: the condition that means none, or one to be led away from (a negative prompt); like the
    model's own, for all images or one for each. scale: [] or [b 1 ... 1]; at 1 D is the condition's
    own denoiser. rescale: [] or [b 1 ... 1], how far the noise (x - D) / sigma of an image is
    scaled back to the deviation that it has under the condition alone (Lin et al. 2023, equations
    14 to 16, where it is phi): 1 wholly, None not at all; high scales then do not overexpose. All
    are leaves: new ones never retrace. joint: both denoisers in one call of the network on a batch
    of twice the size; without, two calls, one after the other, of half the memory.
    """

    null: Cond
    scale: Any = 1.0
    rescale: Any = None
    joint: bool = struct.field(pytree_node=False, kw_only=True, default=True)

    @property
    def evaluations(self) -> int:
        """Under the condition, and under none."""
        return 2

    def describe(self) -> str:
        """The guidance and its scale in words."""
        words = f"classifier-free guidance of scale {_in_words(self.scale)}"
        if self.rescale is None:
            return words
        return f"{words}, rescaled by {_in_words(self.rescale)}"

    def __call__(
        self,
        denoise: Denoise,
        x: Float[Array, "b ..."],
        sigma: Array,
        time: Float[Array, " b"],
        cond: Cond,
    ) -> Float[Array, "b ..."]:
        """x [b ...] at sigma, a scalar or [b 1 ... 1] -> the guided denoiser's answer [b ...]."""
        if self.joint:
            free, told = denoise(x, self.null, cond)
        else:
            (free,), (told,) = denoise(x, self.null), denoise(x, cond)
        guided = free + self.scale * (told - free)
        if self.rescale is None:
            return guided
        axes = tuple(range(1, x.ndim))
        wanted, found = (jnp.std(x - answer, axis=axes, keepdims=True) for answer in (told, guided))
        # sigma is in both deviations; noise that is nothing stays so.
        excess = 1 - wanted / jnp.where(found > 0, found, 1)
        return guided + self.rescale * excess * (x - guided)


@struct.dataclass
class ClassifierGuidance:
    """D + scale sigma^2 grad_x log p(label | x, sigma), in x = x_t / alpha_t.

    Dhariwal and Nichol (2021), algorithm 2. network and params: a classifier of noisy data, called
    on x_t = x / sqrt(1 + sigma^2) and the model's time [b], that returns logits [b k]. label: [] or
    [b]; scale: [] or [b 1 ... 1]. schedule: that of the classifier's times, where it is not the
    model's.
    """

    params: Params
    label: Int[Array, "..."]
    scale: Any = 1.0
    network: NoisyClassifierNetwork = struct.field(pytree_node=False, kw_only=True)
    schedule: NoiseSchedule | None = struct.field(pytree_node=False, kw_only=True, default=None)

    @property
    def evaluations(self) -> int:
        """One of the model's network, and one of the classifier with its gradient."""
        return 2

    def describe(self) -> str:
        """The guidance and its scale in words."""
        return f"classifier guidance of scale {_in_words(self.scale)}"

    def __call__(
        self,
        denoise: Denoise,
        x: Float[Array, "b ..."],
        sigma: Array,
        time: Float[Array, " b"],
        cond: Cond,
    ) -> Float[Array, "b ..."]:
        """x [b ...] at sigma, a scalar or [b 1 ... 1] -> the guided denoiser's answer [b ...]."""
        label = jnp.broadcast_to(self.label, (len(x),))
        if self.schedule is not None:
            time = jnp.broadcast_to(jnp.reshape(self.schedule.time(sigma), (-1,)), (len(x),))

        def log_probability(x):
            logits = self.network.apply({"params": self.params}, x / jnp.sqrt(1 + sigma**2), time)
            return jnp.sum(jnp.take_along_axis(jax.nn.log_softmax(logits), label[:, None], axis=1))

        (own,) = denoise(x, cond)
        return own + self.scale * sigma**2 * jax.grad(log_probability)(x)


def _in_words(scale: Any) -> str:
    """A scale, or all the different ones of an array: "3", "1, 2.5"."""
    return ", ".join(f"{value:g}" for value in np.unique(jax.device_get(scale)))
