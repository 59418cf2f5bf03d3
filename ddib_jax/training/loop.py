"""The one training loop: any `grad_fn`, any batches, all devices of all hosts."""

import functools
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from ddib_jax import distributed, parallel
from ddib_jax.training.checkpoint import Checkpoints
from ddib_jax.training.log import TrainingLog
from ddib_jax.training.state import TrainState
from ddib_jax.training.step import GradFn, train_steps
from ddib_jax.types import PRNGKey

_TRACED = 5
"""Calls that a profile shows, after the first three, which compile and warm up."""


class Stopped(Exception):
    """A training that SIGTERM ended after writing a checkpoint; the message says at which step."""


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
    steps_per_call: int = 1,
    max_skipped: int = 10,
    checkpoints: Checkpoints | None = None,
    checkpoint_every: int = 500,
    log: TrainingLog | None = None,
    log_every: int = 20,
    watch: Callable[[int, TrainState], None] | None = None,
    watch_every: int = 500,
    profile: Path | None = None,
) -> TrainState:
    """Train from `state` (on the host) to step `steps`, data-parallel over the devices of all
    hosts; returns host arrays.

    batch_at(step) gives this host's shard of the batch of a step, a pure function of it, called
    ahead in a thread; noise is folded from `key` and the step: a training resumed from a checkpoint
    ends with the same bits as one never interrupted. `shared` goes to `grad_fn` as it is; `watch`
    is handed the host's state every `watch_every` steps (previews). `steps_per_call` steps run as
    one program (lax.scan); a call also ends where something is due, so that with more than one the
    intervals are part of what the bits depend on. With `profile`, a trace of some calls is written
    there. A step whose loss or gradient is not finite is skipped; more than `max_skipped` of them
    raise FloatingPointError, as a parameter about to be saved does that is not finite; no
    checkpoint is written from then on. SIGTERM ends the training after a checkpoint, with
    `Stopped`. Raises ValueError for an interval below one step and a batch that the devices do not
    divide.
    """
    intervals = {"log": log_every, "save": checkpoint_every, "watch": watch_every}
    if min(*intervals.values(), steps_per_call) < 1:
        given = ", ".join(map(str, (*intervals.values(), steps_per_call)))
        raise ValueError(
            f"Intervals and steps per call are whole numbers of steps from 1 up; {given} were"
            " given."
        )
    step_fn = functools.partial(
        train_steps, grad_fn=grad_fn, tx=tx, ema_decay=ema_decay, axis_name=parallel.BATCH_AXIS
    )
    update, start = parallel.data_parallel(step_fn), int(state.step)
    calls = list(_calls(start, steps, (*intervals.values(), steps_per_call)))
    ahead = parallel.prefetch(parallel.to_devices(_stacked(batch_at, *call)) for call in calls)
    replicated, recent, waited = parallel.replicate(state), [], 0.0
    with closing(ahead), _termination() as terminated, _trace(profile) as traced:
        if any(terminated(step) for step in range(start + 1)):  # a list: every step is asked for
            raise Stopped(
                f"The training was told to stop (SIGTERM) before step {start + 1}. The same command"
                " goes on from there."
            )
        for count, (first, done) in enumerate(calls):
            began = time.monotonic()
            batches = next(ahead)
            waited += time.monotonic() - began
            replicated, metrics = update(replicated, key, batches, shared)
            recent.append((first, metrics))
            traced(count, metrics)
            stop = any(terminated(step) for step in range(first + 1, done + 1))
            due = {
                name: stop or done == steps or done % every == 0
                for name, every in intervals.items()
            }
            if not any(due.values()):
                continue
            scalars = _mean(recent, max_skipped)
            if due["log"]:
                if log:
                    log.write(
                        done,
                        {**scalars, "data_seconds": waited / (done - recent[0][0]), **_memory()},
                    )
                recent, waited = [], 0.0
            if (checkpoints and due["save"]) or (watch and due["watch"]):
                host = parallel.unreplicate(replicated)
                if checkpoints and due["save"]:
                    _check_parameters(host, done)
                    checkpoints.save(done, host)
                if watch and due["watch"] and not stop:
                    watch(done, host)
            if stop and done < steps:
                kept = "nothing is saved."
                if checkpoints:
                    checkpoints.wait()
                    kept = (
                        f"its state is saved in {checkpoints.directory}. The same command goes on"
                        " from there."
                    )
                raise Stopped(
                    f"The training was told to stop (SIGTERM) and ended after step {done}; {kept}"
                )
    return parallel.unreplicate(replicated)


def _calls(start: int, steps: int, intervals: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """First step and end of every call; where they end depends on the step alone, not on where a
    training was resumed.
    """
    while start < steps:
        end = min(steps, *(start - start % every + every for every in intervals))
        yield start, end
        start = end


def _stacked(batch_at: Callable[[int], Any], first: int, end: int) -> Any:
    return jax.tree.map(
        lambda *leaves: np.stack(leaves), *[batch_at(step) for step in range(first, end)]
    )


@contextmanager
def _termination() -> Iterator[Callable[[int], bool]]:
    """Within, SIGTERM is noted rather than obeyed; gives what says, after a step, whether to stop:
    to all hosts alike.
    """
    noted = threading.Event()
    handled = threading.current_thread() is threading.main_thread() and jax.process_count() == 1
    before = signal.signal(signal.SIGTERM, lambda *_: noted.set()) if handled else None
    try:
        yield lambda step: noted.is_set() or distributed.told_to_stop(step)
    finally:
        if handled:
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _trace(directory: Path | None) -> Iterator[Callable[[int, Any], None]]:
    """Gives what, told of every call and what it computes, keeps a trace of some of them in
    `directory`, or none.
    """
    running = False

    def told(count: int, computed: Any) -> None:
        nonlocal running
        if directory and count == 2:
            jax.block_until_ready(computed)
            jax.profiler.start_trace(directory)
            running = True
        elif running and count == 2 + _TRACED:
            jax.block_until_ready(computed)
            jax.profiler.stop_trace()
            running = False

    try:
        yield told
    finally:
        if running:
            jax.profiler.stop_trace()


def _mean(recent: list[tuple[int, Any]], max_skipped: int) -> dict[str, float]:
    """Averages over the steps that were not skipped; raises FloatingPointError where
    too many were.
    """
    rows = [(first, parallel.unreplicate(metrics)) for first, metrics in recent]
    skipped = np.concatenate([metrics["skipped"] for _, metrics in rows])
    if skipped[-1] > max_skipped:
        step = rows[0][0] + int(np.argmax(skipped > max_skipped)) + 1
        raise FloatingPointError(
            f"The loss or its gradient was infinite or not a number in {max_skipped + 1} steps, the"
            f" last of them step {step}; they were skipped, and the checkpoints of earlier steps"
            " are still good. Lower the learning rate, or check the images."
        )
    first = rows[0][1]["skipped"][:1]
    taken = np.diff(skipped, prepend=first) == 0
    taken[0] = np.isfinite(rows[0][1]["loss"][0]) and np.isfinite(rows[0][1]["grad_norm"][0])
    values = {
        name: np.concatenate([metrics[name] for _, metrics in rows])[taken] for name in rows[0][1]
    }
    return {
        name: float(np.mean(kept)) if len(kept) else math.nan for name, kept in values.items()
    } | {"skipped": int(skipped[-1])}


def _memory() -> dict[str, float]:
    """The most memory that a device has held, in GB, where the backend counts it."""
    counts = jax.local_devices()[0].memory_stats() or {}
    return (
        {"device_memory_gb": counts["peak_bytes_in_use"] / 1e9}
        if "peak_bytes_in_use" in counts
        else {}
    )


def _check_parameters(state: TrainState, step: int) -> None:
    if not all(
        np.isfinite(np.sum(leaf, dtype=np.float64)) for leaf in jax.tree.leaves(state.params)
    ):
        raise FloatingPointError(
            f"A parameter became infinite or not a number by step {step}; the checkpoints of"
            " earlier steps are still good. Lower the learning rate, or check the images."
        )
