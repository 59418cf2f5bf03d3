"""What a training hands from step to step, and its optimiser."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from ddib_jax.types import Params


@struct.dataclass
class TrainState:
    """The state of a training; all fields are pytree leaves or trees of them.

    They are arrays on devices or on the host, or descriptions of these: checkpoints map the tree to
    other things.
    """

    step: Any
    """The number of steps done, int32."""
    params: Any
    ema: Any
    """The parameters' exponential moving average."""
    opt_state: Any
    skipped: Any
    """How many steps were skipped because the loss or the gradient was not finite, int32."""

    @classmethod
    def create(cls, params: Params, tx: optax.GradientTransformation) -> "TrainState":
        """The state before the first step; the average starts at the parameters."""
        ema = jax.tree.map(jnp.copy, params)
        zero = jnp.zeros((), jnp.int32)
        return cls(step=zero, params=params, ema=ema, opt_state=tx.init(params), skipped=zero)


def check_finite(state: TrainState) -> None:
    """Raise FloatingPointError where a parameter of `state`, host arrays, is not finite."""
    # A sum is finite only if all its terms are, and takes no second array.
    sums = [np.sum(leaf, dtype=np.float64) for leaf in jax.tree.leaves(state.params)]
    if not np.isfinite(sums).all():
        raise FloatingPointError(
            f"A parameter became infinite or not a number by step {int(state.step)}; the"
            " checkpoints of earlier steps are still good. Lower the learning rate, or check the"
            " images."
        )


def adamw(
    learning_rate: float,
    steps: int,
    *,
    warmup: int,
    weight_decay: float,
    clip_norm: float,
    final_fraction: float = 0.01,
) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter 2019) after clipping the global norm to `clip_norm`.

    The learning rate rises linearly from 0 over `warmup` steps, then falls as a cosine to
    `final_fraction` of `learning_rate` at step `steps`.
    """
    rate = optax.warmup_cosine_decay_schedule(
        0.0, learning_rate, min(warmup, steps - 1), steps, learning_rate * final_fraction
    )
    return optax.chain(
        optax.clip_by_global_norm(clip_norm),
        optax.adamw(rate, b1=0.9, b2=0.99, weight_decay=weight_decay),
    )
