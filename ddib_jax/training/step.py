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
    key: PRNGKey,
    state: TrainState,
    batch: Any,
    shared: Any,
    *,
    grad_fn: GradFn,
    tx: optax.GradientTransformation,
    ema_decay: float,
    axis_name: str | None = None,
) -> tuple[TrainState, Metrics]:
    """One step of `tx` along the gradient averaged over `axis_name`, then the moving average.

    `key` is the training's; the step's own is folded from it, so that a resumed training draws the
    same noise. `shared` is what is the same for all steps and devices and not trained, such as the
    statistics of a domain; as an argument it lets two domains share one compiled program. The
    average's decay rises as (1 + step) / (10 + step) up to `ema_decay`. Where the loss or the
    gradient is not finite the step is skipped: it counts, and nothing else changes. Returns the new
    state and the metrics of `grad_fn` with `grad_norm`, the norm before any clipping, and
    `skipped`, the number of steps skipped so far.
    """
    metrics, grads = grad_fn(state.params, jax.random.fold_in(key, state.step), batch, shared)
    if axis_name is not None:
        metrics, grads = jax.lax.pmean((metrics, grads), axis_name)
    norm = optax.tree.norm(grads)
    good = jnp.isfinite(metrics["loss"]) & jnp.isfinite(norm)
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    step = state.step.astype(jnp.float32)
    decay = jnp.minimum(ema_decay, (1 + step) / (10 + step))
    ema = jax.tree.map(
        lambda average, new: average + (1 - decay) * (new - average), state.ema, params
    )
    before, after = (state.params, state.ema, state.opt_state), (params, ema, opt_state)
    params, ema, opt_state = jax.tree.map(lambda new, old: jnp.where(good, new, old), after, before)
    skipped = state.skipped + ~good
    metrics = {**metrics, "grad_norm": norm, "skipped": skipped}
    state = TrainState(
        step=state.step + 1, params=params, ema=ema, opt_state=opt_state, skipped=skipped
    )
    return state, metrics


def train_steps(
    key: PRNGKey, state: TrainState, batches: Any, shared: Any, **options
) -> tuple[TrainState, Metrics]:
    """`train_step` over batches [steps ...], one after the other, as one program.

    Returns the last state and the metrics [steps] of all steps.
    """

    def stepped(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        return train_step(key, state, batch, shared, **options)

    # A single step is not scanned: inside of a loop XLA's convolutions on a CPU are many times
    # slower (12 times for a DCGAN of 64 images, jax 0.10.2).
    if len(jax.tree.leaves(batches)[0]) > 1:
        return jax.lax.scan(stepped, state, batches)
    state, metrics = stepped(state, jax.tree.map(lambda leaf: leaf[0], batches))
    return state, jax.tree.map(lambda leaf: leaf[None], metrics)


def accumulated(grad_fn: GradFn, parts: int) -> GradFn:
    """A `grad_fn` that takes its batch in `parts`, one after the other, and averages: less memory.

    The step is the same where `grad_fn` averages over images that do not depend on each other, but
    for the masks of dropout. Raises ValueError where the parts do not divide a batch.
    """
    if parts == 1:
        return grad_fn

    def grad_parts(params, key, batch, shared):
        def split(leaf):
            if len(leaf) % parts:
                raise ValueError(
                    f"A device's batch of {len(leaf)} does not divide into {parts} parts; choose a"
                    " multiple."
                )
            return leaf.reshape(parts, len(leaf) // parts, *leaf.shape[1:])

        def add(total, part):
            return jax.tree.map(jnp.add, total, grad_fn(params, key, part, shared)), None

        pieces = jax.tree.map(split, batch)
        piece = jax.tree.map(lambda leaf: leaf[0], pieces)
        shapes = jax.eval_shape(grad_fn, params, key, piece, shared)
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        total, _ = jax.lax.scan(add, zeros, pieces)
        return jax.tree.map(lambda leaf: leaf / parts, total)

    return grad_parts


def gradients(loss_fn: Callable[[Params, PRNGKey, Any, Any], jax.Array]) -> GradFn:
    """The `grad_fn` of a scalar loss."""

    def grad_fn(params, key, batch, shared):
        loss, grads = jax.value_and_grad(loss_fn)(params, key, batch, shared)
        return {"loss": loss}, grads

    return grad_fn
