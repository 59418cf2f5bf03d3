"""The one training loop: any `grad_fn`, any batches, all local devices."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from ddib_jax import parallel
from ddib_jax.training.checkpoint import Checkpoints
from ddib_jax.training.log import TrainingLog
from ddib_jax.training.state import TrainState
from ddib_jax.training.step import GradFn, train_step
from ddib_jax.types import PRNGKey


def fit(
    state: TrainState,
    key: PRNGKey,
    batch_at: Callable[[int], Any],
    *,
    grad_fn: GradFn,
    tx: optax.GradientTransformation,
    steps: int,
    shared: Any = None,
    ema_decay: float = 0.999,
    checkpoints: Checkpoints | None = None,
    checkpoint_every: int = 500,
    log: TrainingLog | None = None,
    log_every: int = 20,
    watch: Callable[[int, TrainState], None] | None = None,
    watch_every: int = 500,
) -> TrainState:
    """Train from `state` (on the host) to step `steps`, data-parallel over the local devices; returns host arrays.

    batch_at(step) gives the global batch of a step, a pure function of it, and noise is folded from `key`
    and the step: a training resumed from a checkpoint ends with the same bits as one never interrupted.
    `shared` goes to `grad_fn` as it is; `watch` is handed the host's state every `watch_every` steps (previews).
    Raises FloatingPointError as soon as a loss, a gradient or a parameter about to be saved is not finite; no
    checkpoint is written from then on. Raises ValueError for an interval below one step and a batch that the devices
    do not divide.
    """
    intervals = {"log": log_every, "save": checkpoint_every, "watch": watch_every}
    if min(intervals.values()) < 1:
        raise ValueError(f"Intervals are whole numbers of steps from 1 up; {log_every}, {checkpoint_every}, {watch_every} were given.")
    step_fn = functools.partial(
        train_step, grad_fn=grad_fn, tx=tx, ema_decay=ema_decay, axis_name=parallel.BATCH_AXIS
    )
    update = parallel.data_parallel(step_fn)
    replicated, recent = parallel.replicate(state), []
    for step in range(int(state.step), steps):
        batch = jax.tree.map(np.asarray, batch_at(step))
        replicated, metrics = update(replicated, key, parallel.shard(batch), shared)
        recent.append(metrics)
        done = step + 1
        due = {name: done == steps or done % every == 0 for name, every in intervals.items()}
        if not any(due.values()):
            continue
        scalars = _mean(recent)
        first = done - len(recent) + 1
        _check_finite(scalars, first, done)
        if log and due["log"]:
            log.write(done, scalars)
        if due["log"]:
            recent = []
        if (checkpoints and due["save"]) or (watch and due["watch"]):
            host = parallel.unreplicate(replicated)
            if checkpoints and due["save"]:
                _check_finite({"a parameter": float(sum(np.sum(leaf) for leaf in jax.tree.leaves(host.params)))}, first, done)
                checkpoints.save(done, host)
            if watch and due["watch"]:
                watch(done, host)
    return parallel.unreplicate(replicated)


def _mean(recent: list[Any]) -> dict[str, float]:
    rows = jax.device_get(recent)
    return {name: float(np.mean([row[name][0] for row in rows])) for name in rows[0]}


def _check_finite(values: dict[str, float], first: int, last: int) -> None:
    broken = [name for name, value in values.items() if not math.isfinite(value)]
    if broken:
        raise FloatingPointError(
            f"{' and '.join(broken)} became infinite or not a number between steps {first} and {last}; "
            "the checkpoints of earlier steps are still good. Lower the learning rate, or check the images."
        )
