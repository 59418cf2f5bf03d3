"""What a training carries from step to step."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from ddib_jax.types import Params


@struct.dataclass
class TrainState:
    """Step number, parameters, their exponential moving average, the optimiser's state, and how
    many steps were skipped; all leaves.

    Arrays of the device or of the host, or what describes them: a checkpoint maps the tree to other
    things.
    """

    step: Any
    params: Any
    ema: Any
    opt_state: Any
    skipped: Any

    @classmethod
    def create(cls, params: Params, tx: optax.GradientTransformation) -> "TrainState":
        """The state before the first step; the average starts at the parameters."""
        ema = jax.tree.map(jnp.copy, params)
        zero = jnp.zeros((), jnp.int32)
        return cls(step=zero, params=params, ema=ema, opt_state=tx.init(params), skipped=zero)


def adamw(
    learning_rate: float,
    steps: int,
    *,
    warmup: int,
    weight_decay: float,
    clip_norm: float,
    final_share: float = 0.01,
) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter 2019) after clipping the global norm, warmed up linearly, then
    cosine decay.
    """
    rate = optax.warmup_cosine_decay_schedule(
        0.0, learning_rate, min(warmup, steps - 1), steps, learning_rate * final_share
    )
    return optax.chain(
        optax.clip_by_global_norm(clip_norm),
        optax.adamw(rate, b1=0.9, b2=0.99, weight_decay=weight_decay),
    )
