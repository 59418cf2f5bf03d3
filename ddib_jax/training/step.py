"""One optimisation step, a pure function; `parallel.data_parallel` maps it over devices."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ddib_jax.training.state import TrainState
from ddib_jax.types import Metrics, Params, PRNGKey

GradFn = Callable[[Params, PRNGKey, Any, Any], tuple[Metrics, Params]]
"""(params, key, batch, shared) -> (metrics, gradients); metrics hold at least `loss`."""


def train_step(
    state: TrainState,
    key: PRNGKey,
    batch: Any,
    shared: Any = None,
    *,
    grad_fn: GradFn,
    tx: optax.GradientTransformation,
    ema_decay: float,
    axis_name: str | None = None,
) -> tuple[TrainState, Metrics]:
    """One step of `tx` along the gradient averaged over `axis_name`, then the moving average of the parameters.

    `shared` is what every step and device sees alike and nobody trains, such as the statistics of a domain; as an
    argument it lets two domains share one compiled program. `key` is the training's; the step's own is folded from it, so
    that a resumed training draws the same noise. The average's decay rises as (1 + step) / (10 + step) up to `ema_decay`.
    metrics gain `grad_norm`.
    """
    metrics, grads = grad_fn(state.params, jax.random.fold_in(key, state.step), batch, shared)
    if axis_name is not None:
        metrics, grads = jax.lax.pmean((metrics, grads), axis_name)
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    step = state.step.astype(jnp.float32)
    decay = jnp.minimum(ema_decay, (1 + step) / (10 + step))
    ema = jax.tree.map(lambda average, new: average + (1 - decay) * (new - average), state.ema, params)
    metrics = {**metrics, "grad_norm": optax.tree.norm(grads)}
    return TrainState(step=state.step + 1, params=params, ema=ema, opt_state=opt_state), metrics


def gradients(loss_fn: Callable[[Params, PRNGKey, Any, Any], jax.Array]) -> GradFn:
    """The `grad_fn` of a scalar loss."""

    def grad_fn(params, key, batch, shared):
        loss, grads = jax.value_and_grad(loss_fn)(params, key, batch, shared)
        return {"loss": loss}, grads

    return grad_fn
