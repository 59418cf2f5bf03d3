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

_ONE_PRESS = 1.0
"""Seconds within which several SIGINT are one Ctrl-C."""
_TRACED = 5
"""Calls that a profile covers, after the first three, which compile and warm up."""


class Stopped(Exception):
    """A training that a signal ended after writing a checkpoint; the message says at which step.

    code: the exit code of a process that this signal ended, as shells count it.
    """

    def __init__(self, message: str, *, code: int = 128 + signal.SIGTERM):
        super().__init__(message)
        self.code = code


def fit(
    key: PRNGKey,
    state: TrainState,
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
    """Train from `state` (host arrays) to step `steps` on the devices of all hosts; host arrays.

    batch_at(step) gives this host's shard of the batch of a step. It is called in the order of
    steps, ahead, in a thread. As it is a pure function of the step, and noise is folded from `key`
    and the step, a training resumed from a checkpoint ends with the same bits as one that was never
    interrupted. `shared` goes to `grad_fn` as it is. `watch(step, state)` is called with the host's
    state every `watch_every` steps (previews). `steps_per_call` steps run as one program
    (lax.scan); a call also ends where something is due, so with more than one step per call the
    bits depend on the intervals too. With `profile`, a trace of some calls is written there.

    A step whose loss or gradient is not finite is skipped.

    Raises:
        FloatingPointError: more than `max_skipped` steps were skipped, or a parameter to be saved
            is not finite; no checkpoint is written from then on.
        Stopped: SIGTERM, SIGHUP or Ctrl-C was received, and a checkpoint written.
        ValueError: an interval is below one step, or the devices do not divide a batch.
    """
    intervals = {"log": log_every, "save": checkpoint_every, "watch": watch_every}
    if min(*intervals.values(), steps_per_call) < 1:
        numbers = ", ".join(map(str, (*intervals.values(), steps_per_call)))
        raise ValueError(
            f"Intervals and steps per call are whole numbers of steps from 1 up; {numbers} were"
            " given."
        )
    step_fn = functools.partial(
        train_steps, grad_fn=grad_fn, tx=tx, ema_decay=ema_decay, axis_name=parallel.BATCH_AXIS
    )
    update, start = parallel.data_parallel(step_fn), int(state.step)
    calls = list(_calls(start, steps, (*intervals.values(), steps_per_call)))
    ahead = parallel.prefetch(parallel.to_devices(_stacked(batch_at, *call)) for call in calls)
    replicated, recent, waited = parallel.replicate(state), [], 0.0
    compiled: set[int] = set()
    with closing(ahead), _termination() as (terminated, told), _trace(profile) as traced:
        if _any_of_all(terminated, range(start + 1)):
            name, code = told()
            raise Stopped(
                f"The training was told to stop ({name}) before step {start + 1}. The same command"
                " goes on from there.",
                code=code,
            )
        for count, (first, done) in enumerate(calls):
            began = time.monotonic()
            batches = next(ahead)
            waited += time.monotonic() - began
            if done - first not in compiled:
                compiled.add(done - first)
                _compile_everywhere(update, key, replicated, batches, shared)
            replicated, metrics = update(key, replicated, batches, shared)
            recent.append((first, metrics))
            traced(count, metrics)
            stop = _any_of_all(terminated, range(first + 1, done + 1))
            last = stop or done == steps
            due = {name: last or done % every == 0 for name, every in intervals.items()}
            if not any(due.values()):
                continue
            scalars = _mean(recent, max_skipped)
            if due["log"]:
                scalars["data_seconds"] = waited / (done - recent[0][0])
                if log:
                    log.write(done, scalars | _memory())
                recent, waited = [], 0.0
            if (checkpoints and due["save"]) or (watch and due["watch"]):
                host = parallel.unreplicate(replicated)
                if checkpoints and due["save"]:
                    _check_parameters(host, done)
                    checkpoints.save(done, host)
                if watch and due["watch"] and not stop:
                    watch(done, host)
            if due["watch"]:
                distributed.barrier("watched")  # often one host draws, and the others have nothing
            if stop and done < steps:
                outcome = "nothing is saved."
                if checkpoints:
                    checkpoints.wait()
                    outcome = (
                        f"its state is saved in {checkpoints.directory}. The same command goes on"
                        " from there."
                    )
                name, code = told()
                raise Stopped(
                    f"The training was told to stop ({name}) and ended after step {done};"
                    f" {outcome}",
                    code=code,
                )
    return parallel.unreplicate(replicated)


def _compile_everywhere(update: Any, *args: Any) -> None:
    """Compile `update` for `args`, and wait until all hosts have; nothing on a single one.

    Its next call finds the program in JAX's memory, and so starts at the same time everywhere.
    """
    if jax.process_count() > 1:
        update.lower(*args).compile()
        distributed.barrier("compiled")


def _calls(start: int, steps: int, intervals: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """First step and end of every call.

    Calls end at multiples of the intervals, wherever a training was resumed, so that it goes on in
    the same calls, and with the same bits, as one that was never interrupted.
    """
    while start < steps:
        end = min(steps, *(start - start % every + every for every in intervals))
        yield start, end
        start = end


def _stacked(batch_at: Callable[[int], Any], first: int, end: int) -> Any:
    batches = [batch_at(step) for step in range(first, end)]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *batches)


def _any_of_all(terminated: Callable[[int], bool], steps: range) -> bool:
    """Whether `terminated` says so at one of the steps; it is asked for all of them.

    `distributed.told_to_stop` must be asked for every step, so `any` may not end early.
    """
    answers = [terminated(step) for step in steps]
    return any(answers)


@contextmanager
def _termination() -> Iterator[tuple[Callable[[int], bool], Callable[[], tuple[str, int]]]]:
    """Note SIGTERM, SIGHUP (a closed terminal) and Ctrl-C, not obey them; gives two functions.

    The first says, of a step, whether to stop; it says the same at the same step on all hosts. Of
    several, JAX's runtime handles SIGTERM, which the others then are, too. The second says by what,
    and its exit code. A second Ctrl-C raises KeyboardInterrupt.
    """
    received: list[tuple[int, float]] = []
    handled = threading.current_thread() is threading.main_thread()
    alone = jax.process_count() == 1

    def note(number: int, *_: Any) -> None:
        # A terminal and what started this process may both hand one Ctrl-C on.
        again = received and time.monotonic() - received[0][1] > _ONE_PRESS
        if number == signal.SIGINT and again:
            raise KeyboardInterrupt
        received.append((number, time.monotonic()))
        if not alone:
            signal.raise_signal(signal.SIGTERM)

    def told() -> tuple[str, int]:
        number = received[0][0] if received else signal.SIGTERM
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        return name, 128 + number

    # What a shell has switched off for a job in its background, or nohup, stays so.
    numbers = [signal.SIGTERM] * alone
    for name in ("SIGINT", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            numbers.append(number)
    before = {number: signal.signal(number, note) for number in numbers * handled}
    try:
        yield lambda step: (bool(received) and alone) or distributed.told_to_stop(step), told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _trace(directory: Path | None) -> Iterator[Callable[[int, Any], None]]:
    """Trace some calls into `directory`, or none; gives a function to be called after every call.

    It takes the call's number and what the call computes.
    """
    running = False

    def after_call(count: int, computed: Any) -> None:
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
        yield after_call
    finally:
        if running:
            jax.profiler.stop_trace()


def _mean(recent: list[tuple[int, Any]], max_skipped: int) -> dict[str, float]:
    """Averages over the steps that were not skipped, NaN where all were.

    `recent` holds the first step and the metrics [steps] of the calls since the last log. Raises
    FloatingPointError where more than `max_skipped` steps were skipped.
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
    # `skipped` is a running count: where it rises, a step was skipped. Of the first step here the
    # count before is not at hand, so its own loss and gradient decide.
    oldest = rows[0][1]
    taken = np.diff(skipped, prepend=skipped[:1]) == 0
    taken[0] = np.isfinite(oldest["loss"][0]) and np.isfinite(oldest["grad_norm"][0])
    means: dict[str, float] = {}
    for name in oldest:
        values = np.concatenate([metrics[name] for _, metrics in rows])[taken]
        means[name] = float(np.mean(values)) if len(values) else math.nan
    return means | {"skipped": int(skipped[-1])}


def _memory() -> dict[str, float]:
    """The most memory that a device has held, in GB, where the backend counts it."""
    counts = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" not in counts:
        return {}
    return {"device_memory_gb": counts["peak_bytes_in_use"] / 1e9}


def _check_parameters(state: TrainState, step: int) -> None:
    # A sum is finite only if all its terms are, and takes no second array.
    sums = [np.sum(leaf, dtype=np.float64) for leaf in jax.tree.leaves(state.params)]
    if not np.isfinite(sums).all():
        raise FloatingPointError(
            f"A parameter became infinite or not a number by step {step}; the checkpoints of"
            " earlier steps are still good. Lower the learning rate, or check the images."
        )
