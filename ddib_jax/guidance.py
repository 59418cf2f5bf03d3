"""Guidance: a model's denoiser turned towards a condition, in encoding and decoding alike.

A guidance is a pytree called with (denoise, x, sigma, time), where `denoise(x)` is the model's own
denoiser under its condition and `denoise(x, cond)` under another one; it returns the guided
denoiser's answer. It belongs to the model, so that encoding and decoding cannot differ in it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from ddib_jax.types import Network, NoiseSchedule, Params


@struct.dataclass
class ClassifierFreeGuidance:
    """D = D_null + scale (D_cond - D_null) (Ho and Salimans 2022).

    null: the label, [] or [b], of no condition. scale: [] or [b 1 ... 1]; at 1 D is the condition's
    own denoiser. Both are leaves: new ones never retrace.
    """

    null: Int[Array, "..."]
    scale: Any = 1.0

    def __call__(
        self, denoise: Callable, x: Float[Array, "b ..."], sigma: Array, time: Float[Array, " b"]
    ) -> Float[Array, "b ..."]:
        """x [b ...] at sigma, a scalar or [b 1 ... 1] -> the guided denoiser's answer [b ...]."""
        unconditional = denoise(x, jnp.broadcast_to(self.null, (len(x),)))
        return unconditional + self.scale * (denoise(x) - unconditional)


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
    network: Network = struct.field(pytree_node=False, kw_only=True)
    schedule: NoiseSchedule | None = struct.field(pytree_node=False, kw_only=True, default=None)

    def __call__(
        self, denoise: Callable, x: Float[Array, "b ..."], sigma: Array, time: Float[Array, " b"]
    ) -> Float[Array, "b ..."]:
        """x [b ...] at sigma, a scalar or [b 1 ... 1] -> the guided denoiser's answer [b ...]."""
        label = jnp.broadcast_to(self.label, (len(x),))
        if self.schedule is not None:
            time = jnp.broadcast_to(jnp.reshape(self.schedule.time(sigma), (-1,)), (len(x),))

        def log_probability(x):
            logits = self.network.apply({"params": self.params}, x / jnp.sqrt(1 + sigma**2), time)
            return jnp.sum(jnp.take_along_axis(jax.nn.log_softmax(logits), label[:, None], axis=1))

        return denoise(x) + self.scale * sigma**2 * jax.grad(log_probability)(x)
